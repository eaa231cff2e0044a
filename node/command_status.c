/*  status: how the node is.  */
#include "node/client.h"
#include "node/command.h"
#include "node/present.h"

#include <stdio.h>

static long long number(const json_t *status, const char *name)
{
    return json_integer_value(json_object_get(status, name));
}

static const char *text(const json_t *status, const char *name)
{
    const char *value = json_string_value(json_object_get(status, name));
    return value ? value : "";
}

static void print_duration(long long ms)
{
    long long s = ms / 1000;
    printf("%-18s %lldd %02lld:%02lld:%02lld\n", "up for", s / 86400, s / 3600 % 24, s / 60 % 60,
           s % 60);
}

static void print_status(const json_t *status)
{
    printf("%-18s %s, cluster %s, version %s\n", "node", text(status, "node"),
           text(status, "cluster"), text(status, "version"));
    printf("%-18s %s\n", "node id", text(status, "node_id"));
    printf("%-18s %s\n", "cluster key id", text(status, "cluster_key_id"));
    printf("%-18s %s\n", "server public key", text(status, "server_public_key"));
    print_duration(number(status, "uptime_ms"));
    printf("%-18s %lld\n", "process", number(status, "process"));
    printf("%-18s %lld\n", "certificates", number(status, "certificates"));
    printf("%-18s %lld\n", "conflicts", number(status, "conflicts"));
    printf("%-18s %s, %.1f MiB of at most %.0f MiB, filter %s\n", "store", text(status, "store"),
           (double)number(status, "bytes") / 1048576, (double)number(status, "max_size") / 1048576,
           json_is_true(json_object_get(status, "filter_ready")) ? "ready" : "being built");
    printf("%-18s %lld in %lld commits, largest batch %lld\n", "writes", number(status, "writes"),
           number(status, "commits"), number(status, "largest_batch"));
    printf("%-18s %lld, %lld at work\n", "requests", number(status, "requests"),
           number(status, "running"));
}

static int status(const struct ckv_arguments *arguments)
{
    struct ckv_client *client;
    struct ckv_reply reply;
    int rc = ckv_client_new(&client, arguments->data, ckv_timeout(arguments));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->data);
    rc = ckv_client_call(client, json_pack("{ss}", "command", "status"), &reply);
    int exit_status = CKV_EXIT_DONE;
    if (rc != CKV_OK)
        exit_status = ckv_complain(arguments, rc, "%s", arguments->data);
    else if (arguments->json)
        ckv_present_object(json_incref(reply.json));
    else
        print_status(reply.json);
    ckv_reply_clear(&reply);
    ckv_client_destroy(&client);
    return exit_status;
}

const struct ckv_command ckv_command_status = {
    .name = "status",
    .operands = "",
    .summary = "show how the node is",
    .help = "  --json               one object\n"
            "  --data DIR, --timeout SECONDS\n"
            "\n"
            "Exit status 3 when the node is not reachable.\n"
            "\n"
            "Example:\n"
            "  curvekv status --json | jq .certificates\n",
    .options = "data json timeout",
    .run = status,
};
