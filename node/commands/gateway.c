/*  gateway: CURVE in front of a stock libzmq server, in a process of its own beside the node.  */
#include "kv/clock.h"
#include "kv/log.h"
#include "node/commands/gateway_options.h"
#include "node/datadir.h"
#include "node/gateway/report.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_S = 1, REPORT_LOOKS = 60 };

/*  What the gateway reads of the node in a directory.  */
struct beside {
    struct ckv_datadir_file file; /* of the store */
    struct ckv_kv *kv;
    struct ckv_cluster_key *cluster_key;
};

static void close_beside(struct beside *self)
{
    ckv_kv_close(&self->kv);
    ckv_cluster_key_destroy(&self->cluster_key);
}

/*  Of the node in DIR as it is now; it may run or not.  */
static int open_beside(struct beside *self, const char *dir)
{
    struct ckv_kv_options options = { .directory = dir, .read_only = true };
    const char *engine;
    *self = (struct beside){ .kv = NULL };
    int rc = ckv_datadir_find_store(dir, &engine);
    self->file = ckv_datadir_store_file(dir);
    if (rc == CKV_OK)
        rc = ckv_kv_open(&self->kv, engine, &options);
    if (rc == CKV_OK)
        rc = ckv_datadir_cluster_key(&self->cluster_key, dir);
    if (rc != CKV_OK)
        close_beside(self);
    return rc;
}

/*  Whether another store has taken the place of this one, as after a restore; then *NEXT is that. While
    it cannot be opened yet, this one goes on.  */
static bool is_replaced(const struct beside *self, const char *dir, struct beside *next)
{
    struct ckv_datadir_file file = ckv_datadir_store_file(dir);
    bool is_other =
        file.inode && (file.inode != self->file.inode || file.device != self->file.device);
    return is_other && open_beside(next, dir) == CKV_OK;
}

/*  Threads started later inherit the mask.  */
static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/*  Reports when REPORTS says so, and each minute in which something happened.  */
static void report(struct ckv_gateway *gateway, bool reports, uint64_t *accepted, unsigned *looks)
{
    struct ckv_gateway_totals totals;
    ckv_gateway_count(gateway, &totals);
    bool is_minute = ++*looks % REPORT_LOOKS == 0;
    if (!reports && !(is_minute && totals.accepted != *accepted))
        return;
    *accepted = totals.accepted;
    ckv_gateway_log_report(gateway);
}

/*  Returns the signal that ends the gateway, or 0 when it is to go on with *NEXT.  */
static int wait_for_end(const struct beside *self, struct ckv_gateway *gateway, const char *dir,
                        const sigset_t *signals, struct beside *next)
{
    uint64_t accepted = 0;
    unsigned looks = 0;
    for (;;) {
        struct timespec second = { .tv_sec = LOOK_S };
        int number = sigtimedwait(signals, NULL, &second);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (number == SIGHUP)
            ckv_log(CKV_LOG_INFO, "nothing to reload: certificates are read as they change");
        report(gateway, number == SIGUSR1, &accepted, &looks);
        if (is_replaced(self, dir, next))
            return 0;
    }
}

static void announce(const struct ckv_gateway *gateway, const struct ckv_gateway_options *options)
{
    char listen[CKV_ENDPOINT_TEXT_SIZE], backend[CKV_ENDPOINT_TEXT_SIZE];
    ckv_log(CKV_LOG_INFO, "ready: gateway at %s, backend %s, %u loops",
            ckv_endpoint_text(ckv_gateway_endpoint(gateway), listen),
            ckv_endpoint_text(ckv_host_address(&options->backend), backend), options->loops);
}

/*  Runs over this store until its end, which is told by *NUMBER as wait_for_end does.  */
static int run_over(const struct beside *self, struct ckv_gateway_options *options, const char *dir,
                    const sigset_t *signals, int *number, struct beside *next)
{
    struct ckv_gateway *gateway;
    options->kv = self->kv;
    options->cluster_key = self->cluster_key;
    int rc = ckv_gateway_start(&gateway, options);
    if (rc != CKV_OK)
        return rc;
    options->listen = *ckv_gateway_endpoint(gateway); /* the port that was found */
    announce(gateway, options);
    *number = wait_for_end(self, gateway, dir, signals, next);
    if (*number)
        ckv_log(CKV_LOG_INFO, "stopping on %s: clients finish what is in flight",
                strsignal(*number));
    else
        ckv_log(CKV_LOG_WARNING, "another store is in %s: clients are let go, and come again to it",
                dir);
    ckv_gateway_log_report(gateway);
    ckv_gateway_stop(&gateway);
    return CKV_OK;
}

static int run_gateway(const struct ckv_arguments *arguments, struct ckv_gateway_options *options)
{
    struct beside self, next = { .kv = NULL };
    sigset_t signals;
    block_signals(&signals);
    int number = 0, rc = open_beside(&self, arguments->data);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->data);
    do {
        rc = run_over(&self, options, arguments->data, &signals, &number, &next);
        close_beside(&self);
        self = next;
    } while (rc == CKV_OK && !number);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "%s", arguments->listen);
}

static int gateway(const struct ckv_arguments *arguments)
{
    enum ckv_log_level level = CKV_LOG_INFO;
    struct ckv_gateway_options options;
    if (arguments->log_level && ckv_log_read_level(arguments->log_level, &level) != CKV_OK)
        return ckv_complain_usage("--log-level %s: it is error, warning, info or debug",
                                  arguments->log_level);
    ckv_log_set_level(level);
    int status = ckv_gateway_options_read(&options, arguments, arguments->listen);
    return status == CKV_EXIT_DONE ? run_gateway(arguments, &options) : status;
}

const struct ckv_command ckv_command_gateway = {
    .name = "gateway",
    .operands = "",
    .summary = "put CURVE in front of a stock libzmq server",
    .help = "  --listen ENDPOINT    where clients connect: tcp://*:5555, tcp://10.0.0.5:5555,\n"
            "                       ipc:///run/app.sock; port * is any free one, which the\n"
            "                       log tells\n" CKV_GATEWAY_OPTION_HELP
            "  --data DIR           the directory of the node whose certificates count; the\n"
            "                       node itself may be down\n"
            "  --log-level LEVEL    error, warning, info or debug (info)\n"
            "\n"
            "The backend may be any socket: REP, ROUTER, PUB, PULL, ... It reads who a client\n"
            "is with zmq_msg_gets: X-Curvekv-Key, X-Curvekv-Organisation, X-Curvekv-Number, and\n"
            "the metadata of the certificate.\n"
            "\n"
            "Runs in the foreground and logs to standard error; on SIGUSR1, and each minute in\n"
            "which somebody came, its counters. SIGTERM and SIGINT let clients finish what is in\n"
            "flight, then stop it.\n"
            "\n"
            "When another store takes the place of the one in DIR, as in a restore, it goes over\n"
            "to that, and its clients come again.\n"
            "\n"
            "A second gateway on the same tcp port shares it, so a new one can be started before\n"
            "the old one is stopped. 'curvekv serve' has one in its own process.\n"
            "\n"
            "Examples:\n"
            "  curvekv gateway --listen 'tcp://*:5555' --backend tcp://127.0.0.1:6000\n"
            "  curvekv gateway --data /var/lib/curvekv --listen 'tcp://*:5555' \\\n"
            "                  --backend ipc:///run/app.sock --stock-hello deny\n",
    .options = "listen data log-level " CKV_GATEWAY_OPTION_NAMES,
    .run = gateway,
};
