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

enum { REPORT_S = 60 };

struct beside {
    struct ckv_kv *kv;
    struct ckv_cluster_key *cluster_key;
    struct ckv_gateway *gateway;
};

/*  The store of the node in DIR, as it is now; the node may run or not.  */
static int open_store(struct beside *self, const char *dir)
{
    struct ckv_kv_options options = { .directory = dir, .read_only = true };
    const char *engine;
    int rc = ckv_datadir_find_store(dir, &engine);
    return rc == CKV_OK ? ckv_kv_open(&self->kv, engine, &options) : rc;
}

static void log_report(struct ckv_gateway *gateway)
{
    json_t *report = ckv_gateway_report(gateway);
    char *text = json_dumps(report, JSON_COMPACT);
    ckv_log(CKV_LOG_INFO, "%s", text ? text : "");
    free(text);
    json_decref(report);
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

/*  Reports each minute in which something happened, and when it is asked to. Returns the signal that
    ends it.  */
static int wait_for_end(struct ckv_gateway *gateway, const sigset_t *signals)
{
    struct ckv_gateway_totals totals;
    uint64_t accepted = 0;
    for (;;) {
        struct timespec minute = { .tv_sec = REPORT_S };
        int number = sigtimedwait(signals, NULL, &minute);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (number == SIGHUP)
            ckv_log(CKV_LOG_INFO, "nothing to reload: certificates are read as they change");
        ckv_gateway_count(gateway, &totals);
        if (number == SIGUSR1 || (number < 0 && errno == EAGAIN && totals.accepted != accepted)) {
            accepted = totals.accepted;
            log_report(gateway);
        }
    }
}

static int run_gateway(const struct ckv_arguments *arguments, struct ckv_gateway_options *options)
{
    struct beside self = { NULL, NULL, NULL };
    char listen[CKV_ENDPOINT_TEXT_SIZE], backend[CKV_ENDPOINT_TEXT_SIZE];
    sigset_t signals;
    block_signals(&signals);
    int rc = open_store(&self, arguments->data);
    if (rc == CKV_OK)
        rc = ckv_datadir_cluster_key(&self.cluster_key, arguments->data);
    options->kv = self.kv;
    options->cluster_key = self.cluster_key;
    const char *about = arguments->data;
    if (rc == CKV_OK) {
        about = arguments->listen;
        rc = ckv_gateway_start(&self.gateway, options);
    }
    if (rc == CKV_OK) {
        ckv_log(CKV_LOG_INFO, "ready: gateway at %s, backend %s, %u loops",
                ckv_endpoint_text(ckv_gateway_endpoint(self.gateway), listen),
                ckv_endpoint_text(ckv_host_address(&options->backend), backend), options->loops);
        int number = wait_for_end(self.gateway, &signals);
        ckv_log(CKV_LOG_INFO, "stopping on %s: clients finish what is in flight",
                strsignal(number));
        log_report(self.gateway);
    }
    ckv_gateway_stop(&self.gateway);
    ckv_kv_close(&self.kv);
    ckv_cluster_key_destroy(&self.cluster_key);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "%s", about);
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
