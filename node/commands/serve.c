/*  serve: opens a data directory and runs a node in it until it is told to stop.  */
#include "core/certfile.h"
#include "core/text.h"
#include "core/z85.h"
#include "kv/log.h"
#include "kv/system.h"
#include "node/admin.h"
#include "node/commands/command.h"
#include "node/commands/gateway_options.h"
#include "node/gateway/report.h"
#include "replication/cluster.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    NODE_NAME_MAX = CKV_NODE_NAME_MAX,
    LOG_LENGTH_DEFAULT = 1000000,
    LOG_LENGTH_MIN = 16,
    SIZE_MIN = 1 << 20, /* a store of less has no room for its tables */
};

struct node {
    const struct ckv_arguments *arguments;
    struct ckv_datadir datadir;
    struct ckv_kv *kv;
    struct ckv_registry registry;
    struct ckv_writer *writer;
    struct ckv_outbox outbox;
    struct ckv_url *url; /* NULL: a node alone */
    struct ckv_replicator *replicator;
    struct ckv_gateway *gateway; /* NULL: none */
    struct ckv_admin *admin;
    char endpoint[CKV_PATH_MAX];
    int signals;
};

/*  SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR1 reports; all arrive at the admin service's poll.
    Threads started later inherit the mask.  */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_store(struct node *self, const struct ckv_arguments *arguments, uint64_t max_size)
{
    struct ckv_kv_options options = { .directory = self->datadir.path, .max_size = max_size };
    memcpy(options.index_key, self->datadir.cluster_key->index_key, CKV_INDEX_KEY_SIZE);
    int rc = ckv_kv_open(&self->kv, arguments->store, &options);
    if (rc == CKV_OK)
        rc = ckv_registry_open(&self->registry, self->kv, self->datadir.cluster_key,
                               self->datadir.node_id);
    return rc;
}

/*  --alone: NAME counts no more here.  */
static int leave_cluster(struct node *self, const char *name)
{
    struct ckv_kv_txn *txn;
    uint64_t unsent = 0;
    int rc = ckv_kv_begin(self->kv, CKV_KV_WRITE, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_cluster_leave(txn, &unsent);
    if (rc == CKV_OK)
        rc = ckv_kv_commit(&txn);
    else
        ckv_kv_abort(&txn);
    if (rc != CKV_OK)
        return rc;
    ckv_log(CKV_LOG_INFO,
            "no member of the cluster '%s' any more; say so there, too: 'curvekv forget %016llx'",
            name, (unsigned long long)self->datadir.node_id);
    if (unsent)
        ckv_log(CKV_LOG_WARNING, "changes of this node that the cluster '%s' does not have: %llu",
                name, (unsigned long long)unsent);
    return CKV_OK;
}

/*  Refuses to start a member of a cluster without it (replication/cluster.h). NAME receives the
    cluster's name; empty: none.  */
static int check_cluster(struct node *self, char name[CKV_CLUSTER_NAME_MAX + 1])
{
    struct ckv_kv_txn *txn;
    int rc = ckv_kv_begin(self->kv, CKV_KV_READ, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_cluster_get(name, txn);
    ckv_kv_abort(&txn);
    if (rc != CKV_OK || !name[0])
        return rc;
    if (self->arguments->alone)
        return leave_cluster(self, name);
    if (!self->url)
        return CKV_ERROR_MEMBER;
    return strcmp(name, self->arguments->cluster) == 0 ? CKV_OK : CKV_ERROR_OTHER_CLUSTER;
}

static int witness(void *registry, struct ckv_kv_txn *txn, uint64_t revision)
{
    return ckv_registry_witness(registry, txn, revision);
}

static int start_replication(struct node *self, const struct ckv_arguments *arguments,
                             uint64_t log_length)
{
    if (!self->url)
        return CKV_OK;
    char *real = realpath(self->datadir.path, NULL); /* others are told where it is */
    int rc = real ? ckv_datadir_admin_endpoint(real, self->endpoint) : CKV_ERROR_IO;
    free(real);
    if (rc == CKV_ERROR_PATH) { /* too long to be bound like this; it is bound as given */
        self->endpoint[0] = 0;
        rc = CKV_OK;
    }
    struct ckv_replicator_options options = {
        .url = self->url,
        .cluster_key = self->datadir.cluster_key,
        .kv = self->kv,
        .writer = self->writer,
        .outbox = &self->outbox,
        .cluster = arguments->cluster,
        .name = arguments->node,
        .endpoint = strlen(self->endpoint) <= CKV_ENDPOINT_MAX ? self->endpoint : "",
        .node_id = self->datadir.node_id,
        .log_length = log_length,
        .witness = witness,
        .witness_argument = &self->registry,
    };
    return rc == CKV_OK ? ckv_replicator_new(&self->replicator, &options) : rc;
}

/*  Reads the first line of FILE.  */
static int read_password(struct ckv_url *url, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? CKV_ERROR_NO_FILE : ckv_system_error(errno);
    bool whole = fgets(url->password, sizeof(url->password), file) != NULL &&
                 (strchr(url->password, '\n') || feof(file));
    fclose(file);
    url->password[strcspn(url->password, "\r\n")] = 0;
    return whole && url->password[0] ? CKV_OK : CKV_ERROR_PASSWORD_FILE;
}

/*  SIGHUP: the one file that is read while a node runs.  */
static void reload(void *argument)
{
    struct node *self = argument;
    const char *path = self->arguments->redis_password_file;
    struct ckv_url *url;
    if (!path) {
        ckv_log(CKV_LOG_INFO, "SIGHUP: there is no --redis-password-file to read again");
        return;
    }
    int rc = ckv_url_new(&url, ckv_octets_text(self->arguments->redis));
    if (rc == CKV_OK)
        rc = read_password(url, path);
    if (rc != CKV_OK) {
        ckv_url_destroy(&url);
        ckv_log(CKV_LOG_ERROR, "SIGHUP: %s: %s; the password stays as it was", path,
                ckv_strerror(rc));
        return;
    }
    ckv_replicator_set_password(self->replicator, url);
    ckv_log(CKV_LOG_INFO, "SIGHUP: %s was read; its password is for the next connection", path);
}

/*  SIGUSR1.  */
static void report(void *argument)
{
    struct node *self = argument;
    if (self->gateway)
        ckv_gateway_log_report(self->gateway);
    else
        ckv_log(CKV_LOG_INFO,
                "SIGUSR1: this node has no gateway to report of; see 'curvekv status'");
}

/*  OPTIONS is NULL for a node without a gateway.  */
static int start_gateway(struct node *self, struct ckv_gateway_options *options)
{
    char listen[CKV_ENDPOINT_TEXT_SIZE], backend[CKV_ENDPOINT_TEXT_SIZE];
    if (!options)
        return CKV_OK;
    options->kv = self->kv;
    options->cluster_key = self->datadir.cluster_key;
    int rc = ckv_gateway_start(&self->gateway, options);
    if (rc == CKV_OK)
        ckv_log(CKV_LOG_INFO, "gateway at %s, backend %s, %u loops",
                ckv_endpoint_text(ckv_gateway_endpoint(self->gateway), listen),
                ckv_endpoint_text(ckv_host_address(&options->backend), backend), options->loops);
    return rc;
}

static int start_services(struct node *self, const struct ckv_arguments *arguments,
                          uint64_t log_length, struct ckv_gateway_options *gateway)
{
    int rc = ckv_outbox_open(&self->outbox, self->kv);
    if (rc == CKV_OK)
        rc = ckv_writer_new(&self->writer, self->kv);
    if (rc == CKV_OK)
        rc = start_replication(self, arguments, log_length);
    if (rc == CKV_OK)
        rc = start_gateway(self, gateway);
    if (rc != CKV_OK)
        return rc;
    struct ckv_admin_parts parts = {
        .datadir = &self->datadir,
        .kv = self->kv,
        .registry = &self->registry,
        .writer = self->writer,
        .replicator = self->replicator,
        .outbox = &self->outbox,
        .gateway = self->gateway,
        .name = arguments->node,
        .cluster = arguments->cluster,
        .reload = reload,
        .report = report,
        .signal_argument = self,
    };
    return ckv_admin_new(&self->admin, &parts);
}

static void stop(struct node *self)
{
    ckv_gateway_stop(&self->gateway);
    ckv_replicator_destroy(&self->replicator); /* it waits for what it gave the writer */
    ckv_writer_destroy(&self->writer);
    ckv_admin_destroy(&self->admin);
    if (self->kv)
        ckv_kv_close(&self->kv);
    ckv_datadir_close(&self->datadir);
    ckv_url_destroy(&self->url);
    if (self->signals >= 0)
        close(self->signals);
}

/*  What was made, at once: a start that fails later has made it all the same, and the next one finds
    it.  */
static void announce_made(const struct ckv_datadir *datadir)
{
    char z85[CKV_Z85_TEXT_SIZE];
    if (datadir->made_cluster_key)
        ckv_log(CKV_LOG_INFO,
                "made a cluster key, %s/cluster.key: keep it secret, and copy it to the other "
                "nodes of this cluster",
                datadir->path);
    if (datadir->made_node_id)
        ckv_log(CKV_LOG_INFO, "made the node id %016llx", (unsigned long long)datadir->node_id);
    if (datadir->made_cluster_key)
        ckv_log(CKV_LOG_INFO, "made the default server key pair; its public key: %s",
                ckv_z85_text(datadir->cluster_key->server_public_key, z85));
}

static void announce(const struct node *self)
{
    char endpoint[CKV_PATH_MAX] = "";
    struct ckv_kv_stats stats = { .engine = "" };
    ckv_kv_stats(self->kv, &stats);
    ckv_datadir_admin_endpoint(self->datadir.path, endpoint);
    ckv_log(CKV_LOG_INFO, "ready: %llu certificates in %s, admin service at %s",
            (unsigned long long)stats.records, stats.engine, endpoint);
}

/*  Says why the node in --data does not start; CLUSTER is the one that it is a member of.  */
static int complain_of_start(const struct ckv_arguments *arguments, int rc, const char *cluster)
{
    if (rc == CKV_ERROR_MEMBER || rc == CKV_ERROR_OTHER_CLUSTER)
        return ckv_complain(arguments, rc, "%s is a member of the cluster '%s'", arguments->data,
                            cluster);
    bool listening = rc == CKV_ERROR_PORT_IN_USE || rc == CKV_ERROR_HOST;
    return ckv_complain(arguments, rc, "%s", listening ? arguments->gateway : arguments->data);
}

static int run_node(const struct ckv_arguments *arguments, uint64_t max_size, uint64_t log_length,
                    struct ckv_url *url, struct ckv_gateway_options *gateway)
{
    struct node self = { .arguments = arguments, .signals = take_signals(), .url = url };
    char blame[CKV_PATH_MAX], cluster[CKV_CLUSTER_NAME_MAX + 1] = "";
    int rc = ckv_datadir_open(&self.datadir, arguments->data, arguments->cluster_key, blame);
    if (rc == CKV_ERROR_NO_STORE) /* what is absent is a directory or a key file, not a store */
        rc = CKV_ERROR_NO_FILE;
    if (rc != CKV_OK) {
        ckv_url_destroy(&self.url);
        return ckv_complain(arguments, rc, "%s", blame);
    }
    announce_made(&self.datadir);
    rc = open_store(&self, arguments, max_size);
    if (rc == CKV_OK)
        rc = check_cluster(&self, cluster);
    if (rc == CKV_OK)
        rc = start_services(&self, arguments, log_length, gateway);
    if (rc == CKV_ERROR_STORE_KEY)
        ckv_datadir_withdraw_cluster_key(&self.datadir);
    if (rc != CKV_OK) {
        stop(&self);
        return complain_of_start(arguments, rc, cluster);
    }
    announce(&self);
    int signal_number = ckv_admin_run(self.admin, self.signals);
    ckv_log(CKV_LOG_INFO, "stopping on %s: what was begun is done",
            signal_number > 0 ? strsignal(signal_number) : "an error");
    stop(&self);
    return signal_number > 0 ? CKV_EXIT_DONE : CKV_EXIT_REFUSED;
}

/*  The engine whose store is in DIR, or NULL.  */
static const char *found_store(const char *dir)
{
    return ckv_datadir_has_store(dir, "lmdb")     ? "lmdb"
           : ckv_datadir_has_store(dir, "sqlite") ? "sqlite"
                                                  : NULL;
}

static bool is_cluster_name(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t size = strspn(name, allowed);
    return size >= 1 && size <= CKV_CLUSTER_NAME_MAX && !name[size];
}

static bool is_node_name(const char *name)
{
    struct ckv_octets octets = ckv_octets_text(name);
    return octets.size >= 1 && octets.size <= NODE_NAME_MAX && ckv_text_printable(octets);
}

/*  Blots SECRET out of the arguments, which others can see.  */
static void blot_out(struct ckv_octets secret)
{
    if (secret.size)
        memset((char *)(uintptr_t)secret.data, '*', secret.size);
}

/*  TEXT is no URL: what is wrong in it may be what shows where its password is.  */
static int refuse_redis(const struct ckv_arguments *arguments, int rc, struct ckv_octets text)
{
    struct ckv_octets scheme = ckv_url_scheme(text);
    blot_out(ckv_octets(text.data + scheme.size, text.size - scheme.size));
    return ckv_complain(arguments, rc, "--redis %.*s...", (int)scheme.size,
                        (const char *)scheme.data);
}

/*  Reads --redis, and the password from its file. Sets *URL to NULL for a node alone.  */
static int read_redis(const struct ckv_arguments *arguments, struct ckv_url **url)
{
    *url = NULL;
    if (arguments->alone && arguments->redis)
        return ckv_complain_usage("--alone and --redis exclude each other");
    if (!arguments->redis)
        return arguments->redis_password_file
                   ? ckv_complain_usage("--redis-password-file needs --redis")
                   : CKV_EXIT_DONE;
    struct ckv_octets text = ckv_octets_text(arguments->redis);
    int rc = ckv_url_new(url, text);
    if (rc != CKV_OK)
        return refuse_redis(arguments, rc, text);
    blot_out(ckv_url_password(text));
    if (!arguments->redis_password_file)
        return CKV_EXIT_DONE;
    rc = read_password(*url, arguments->redis_password_file);
    if (rc == CKV_OK)
        return CKV_EXIT_DONE;
    ckv_url_destroy(url);
    return ckv_complain(arguments, rc, "--redis-password-file %s", arguments->redis_password_file);
}

/*  Reads the options of a gateway, if there is to be one; sets *OPTIONS to NULL if not.  */
static int read_gateway(const struct ckv_arguments *arguments, struct ckv_gateway_options **options)
{
    if (arguments->gateway)
        return ckv_gateway_options_read(*options, arguments, arguments->gateway);
    *options = NULL;
    const char *idle = ckv_gateway_option_given(arguments);
    return idle ? ckv_complain_usage("--%s needs --gateway", idle) : CKV_EXIT_DONE;
}

static int serve(const struct ckv_arguments *given)
{
    struct ckv_arguments arguments = *given;
    enum ckv_log_level level = CKV_LOG_INFO;
    char host[256] = "";
    uint64_t max_size = 0, log_length = LOG_LENGTH_DEFAULT;
    struct ckv_gateway_options options, *gateway = &options;
    struct ckv_url *url;
    if (arguments.max_size &&
        (ckv_read_size(arguments.max_size, &max_size) != CKV_OK || max_size < SIZE_MIN))
        return ckv_complain_usage(
            "--max-size %s: give a size such as 512M, 64G or 1T, of at least 1M",
            arguments.max_size);
    if (arguments.log_level && ckv_log_read_level(arguments.log_level, &level) != CKV_OK)
        return ckv_complain_usage("--log-level %s: it is error, warning, info or debug",
                                  arguments.log_level);
    const char *found = found_store(arguments.data);
    if (!arguments.store)
        arguments.store = found ? found : "lmdb";
    if (found && strcmp(found, arguments.store) != 0)
        return ckv_complain_usage("%s holds a %s store; to change it, export, begin a new "
                                  "directory with the same cluster key, and import",
                                  arguments.data, found);
    if (strcmp(arguments.store, "lmdb") != 0 && strcmp(arguments.store, "sqlite") != 0 &&
        strcmp(arguments.store, "memory") != 0 && strcmp(arguments.store, "array") != 0)
        return ckv_complain_usage("--store %s: it is lmdb, sqlite, memory or array",
                                  arguments.store);
    if (!arguments.cluster)
        arguments.cluster = "default";
    if (!is_cluster_name(arguments.cluster))
        return ckv_complain_usage("--cluster %s: a cluster's name has 1 to 64 of A-Z a-z 0-9 . _ -",
                                  arguments.cluster);
    if (!arguments.node)
        arguments.node =
            gethostname(host, sizeof(host) - 1) == 0 && is_node_name(host) ? host : "node";
    if (!is_node_name(arguments.node))
        return ckv_complain_usage(
            "--node %s: a node's name has 1 to 64 octets of UTF-8 text, without "
            "control characters",
            arguments.node);
    ckv_log_set_level(level);
    if (arguments.log_length && ckv_read_size(arguments.log_length, &log_length) != CKV_OK)
        return ckv_complain_usage("--log-length %s: give a number of entries, such as 1000000",
                                  arguments.log_length);
    if (log_length < LOG_LENGTH_MIN)
        return ckv_complain_usage("--log-length: at least %d entries", LOG_LENGTH_MIN);
    int status = read_gateway(&arguments, &gateway);
    if (status == CKV_EXIT_DONE)
        status = read_redis(&arguments, &url);
    return status == CKV_EXIT_DONE ? run_node(&arguments, max_size, log_length, url, gateway)
                                   : status;
}

const struct ckv_command ckv_command_serve = {
    .name = "serve",
    .operands = "",
    .summary = "run a node in a data directory",
    .help =
        "  --data DIR           the node's directory, made if absent (./curvekv-data)\n"
        "  --cluster-key FILE   the cluster's key, 32 octets or 64 hex digits, mode 0600;\n"
        "                       copied into DIR (default: the one in DIR, else a new one)\n"
        "  --cluster NAME       the cluster's name (default)\n"
        "  --node NAME          this node's name (the host's)\n"
        "  --store ENGINE       lmdb, sqlite, memory or array (the one in DIR,\n"
        "                       else lmdb)\n"
        "  --max-size SIZE      bound of the store, such as 512M or 64G (64G)\n"
        "  --redis URL          the cluster's Redis: redis://[user:password@]host[:port][/db],\n"
        "                       unix:///path.sock or sentinel://host:port,host:port/master\n"
        "                       (default: a node alone)\n"
        "  --alone              take the node of DIR out of its cluster, for good: what it\n"
        "                       knows of the cluster but the certificates is forgotten. If it\n"
        "                       joins again it does so as a new member, and of a storage key\n"
        "                       that was chosen here and there the older certificate keeps it\n"
        "  --redis-password-file FILE   the password, in its first line\n"
        "  --log-length N       entries that the log in Redis keeps (1000000)\n"
        "  --log-level LEVEL    error, warning, info or debug (info)\n"
        "  --gateway ENDPOINT   run a gateway, too: see 'curvekv gateway "
        "--help'\n" CKV_GATEWAY_OPTION_HELP "\n"
        "Runs in the foreground and logs to standard error. SIGTERM and SIGINT finish what\n"
        "was begun, then stop it; SIGHUP reads the password file again; SIGUSR1 logs the counters\n"
        "of the gateway, which are in 'curvekv status', too.\n"
        "\n"
        "A directory that has joined a cluster is not served without it any more, nor as a\n"
        "member of another one: it would give chosen storage keys that were given already.\n"
        "\n"
        "Examples:\n"
        "  curvekv serve\n"
        "  curvekv serve --data /var/lib/curvekv --cluster-key /etc/curvekv/cluster.key \\\n"
        "                --cluster fleet --node a --redis redis://10.0.0.5\n"
        "  curvekv serve --gateway 'tcp://*:5555' --backend tcp://127.0.0.1:6000\n",
    .options = "data cluster-key cluster node store max-size redis alone "
               "redis-password-file log-length log-level gateway " CKV_GATEWAY_OPTION_NAMES,
    .run = serve,
};
