/*  status: how the node is.  */
#include "node/client.h"
#include "node/commands/command.h"
#include "node/present.h"

#include <stdio.h>
#include <unistd.h>

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

/*  ---- the gateway ----  */

/*  Counts by reason, as far as there are any.  */
static void print_reasons(const json_t *gateway, const char *name)
{
    json_t *counts = json_object_get(gateway, name);
    printf("%-18s%s", name, json_object_size(counts) ? "" : " none");
    for (void *i = json_object_iter(counts); i; i = json_object_iter_next(counts, i))
        printf(" %s %lld", json_object_iter_key(i),
               (long long)json_integer_value(json_object_iter_value(i)));
    putchar('\n');
}

static void print_gateway(const json_t *status)
{
    const json_t *self = json_object_get(status, "gateway");
    if (!json_is_object(self))
        return;
    printf("%-18s %s, %lld clients, %lld handshakes pending\n", "gateway", text(self, "listen"),
           number(self, "clients"), number(self, "pending"));
    if (json_object_get(self, "shared_clients"))
        printf("%-18s shared: %lld clients share a connection, %lld messages to them dropped\n",
               "backend mode", number(self, "shared_clients"), number(self, "dropped"));
    printf("%-18s %lld of %lld connections; %lld curve operations\n", "handshakes",
           number(self, "handshakes"), number(self, "accepted"), number(self, "curve_operations"));
    print_reasons(self, "refused");
    print_reasons(self, "ended");
}

/*  ---- the cluster ----  */

static void print_replication(const json_t *status)
{
    const json_t *self = json_object_get(status, "replication"),
                 *repair = json_object_get(self, "repair");
    if (!json_is_object(self))
        return;
    printf("%-18s %s%s%s\n", "replication", text(self, "state"), *text(self, "reason") ? ": " : "",
           text(self, "reason"));
    printf("%-18s %s\n", "redis", text(self, "redis"));
    printf("%-18s %s, at %lld of %lld, %lld in the outbox\n", "log, epoch", text(self, "epoch"),
           number(self, "sequence"), number(self, "head"), number(self, "outbox"));
    printf("%-18s %s\n", "chosen keys",
           json_is_true(json_object_get(self, "chosen_keys"))
               ? "can be registered"
               : "cannot be registered now; every member must have been heard in this epoch");
    if (json_is_object(repair))
        printf("%-18s with %s, %lld of %lld ranges, %lld records\n", "repairing",
               text(repair, "peer"), number(repair, "done"), number(repair, "of"),
               number(repair, "records"));
}

static void print_nodes(const json_t *status)
{
    const json_t *nodes = json_object_get(status, "nodes");
    if (json_array_size(nodes) == 0)
        return;
    printf("\n%-16s  %-16s  %-11s  %9s  %6s  %12s  %6s  %s\n", "NODE", "ID", "STATE", "SEQUENCE",
           "LAG", "CERTIFICATES", "OUTBOX", "DIGEST");
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        const json_t *equal = json_object_get(node, "equal");
        bool is_this = json_is_true(json_object_get(node, "this"));
        printf("%-16s  %-16s  %-11s  %9lld  %6lld  %12lld  %6lld  %s\n", text(node, "node"),
               text(node, "node_id"), text(node, "state"), number(node, "sequence"),
               number(node, "lag"), number(node, "certificates"), number(node, "outbox"),
               is_this               ? "(this node)"
               : json_is_null(equal) ? "-"
               : json_is_true(equal) ? "equal"
                                     : "not equal");
    }
}

/*  The whole of it.  */
static void print_all(const json_t *status)
{
    print_status(status);
    print_gateway(status);
    print_replication(status);
    print_nodes(status);
}

/*  What changes from one second to the next: the cluster, or of a node alone all there is.  */
static void print_watched(const json_t *status)
{
    if (!json_is_object(json_object_get(status, "replication"))) {
        print_all(status);
        return;
    }
    print_replication(status);
    print_nodes(status);
}

/*  Shows it again each second, in place on a terminal.  */
static int watch(const struct ckv_arguments *arguments, struct ckv_client *client)
{
    for (;;) {
        struct ckv_reply reply;
        int rc = ckv_client_call(client, json_pack("{ss}", "command", "status"), &reply);
        if (rc != CKV_OK) {
            ckv_reply_clear(&reply);
            return ckv_complain(arguments, rc, "%s", arguments->data);
        }
        if (arguments->json) {
            ckv_present_object(json_incref(reply.json));
        } else {
            if (isatty(STDOUT_FILENO))
                fputs("\033[H\033[2J", stdout);
            print_watched(reply.json);
        }
        ckv_reply_clear(&reply);
        if (fflush(stdout) != 0)
            return CKV_EXIT_REFUSED;
        sleep(1);
    }
}

static int status(const struct ckv_arguments *arguments)
{
    struct ckv_client *client;
    struct ckv_reply reply;
    int rc = ckv_client_new(&client, arguments->data, ckv_timeout(arguments));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->data);
    if (arguments->watch) {
        int watched = watch(arguments, client);
        ckv_client_destroy(&client);
        return watched;
    }
    rc = ckv_client_call(client, json_pack("{ss}", "command", "status"), &reply);
    int exit_status = CKV_EXIT_DONE;
    if (rc != CKV_OK)
        exit_status = ckv_complain(arguments, rc, "%s", arguments->data);
    else if (arguments->json)
        ckv_present_object(json_incref(reply.json));
    else
        print_all(reply.json);
    ckv_reply_clear(&reply);
    ckv_client_destroy(&client);
    return exit_status;
}

const struct ckv_command ckv_command_status = {
    .name = "status",
    .operands = "",
    .summary = "show how the node is",
    .help = "  --json               one object\n"
            "  --watch              again each second: the cluster, or a node alone\n"
            "  --data DIR, --timeout SECONDS\n"
            "\n"
            "Exit status 3 when the node is not reachable.\n"
            "\n"
            "Example:\n"
            "  curvekv status --json | jq .certificates\n",
    .options = "data json timeout watch",
    .run = status,
};
