/*  forget: takes a node that will never come back out of the membership.  */
#include "node/client.h"
#include "node/commands/command.h"
#include "node/present.h"

#include <stdio.h>

static int forget(const struct ckv_arguments *arguments)
{
    struct ckv_client *client;
    struct ckv_reply reply;
    json_t *name = json_string(arguments->operands[0]);
    if (!name)
        return ckv_complain(arguments, CKV_ERROR_NO_NODE, "%s", arguments->operands[0]);
    int rc = ckv_client_new(&client, arguments->data, ckv_timeout(arguments));
    if (rc != CKV_OK) {
        json_decref(name);
        return ckv_complain(arguments, rc, "%s", arguments->data);
    }
    rc = ckv_client_call(client, json_pack("{ssso}", "command", "forget", "node", name), &reply);
    int status = CKV_EXIT_DONE;
    if (rc != CKV_OK)
        status = ckv_complain(arguments, rc, "%s", arguments->operands[0]);
    else if (arguments->json)
        ckv_present_object(json_pack("{ss}", "forgotten", arguments->operands[0]));
    else
        printf("forgot %s\n", arguments->operands[0]);
    ckv_reply_clear(&reply);
    ckv_client_destroy(&client);
    return status;
}

const struct ckv_command ckv_command_forget = {
    .name = "forget",
    .operands = "NODE",
    .summary = "take a node that will never come back out of the cluster",
    .help =
        "  --json               one object\n"
        "  --data DIR, --timeout SECONDS\n"
        "\n"
        "NODE is a name or an id, as 'curvekv status' shows them; it must be down. After Redis\n"
        "has lost its memory, chosen storage keys are given away again only when every member\n"
        "has been heard; so a node whose disk is gone has to be forgotten.\n"
        "\n"
        "Example:\n"
        "  curvekv forget old-node\n",
    .options = "data json timeout",
    .operands_min = 1,
    .operands_max = 1,
    .run = forget,
};
