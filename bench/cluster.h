/*  cluster: nodes that replicate, and the Redis between them, as a benchmark starts and watches them.

    Redis is private: a redis-server on a unix socket in the benchmark's directory, which keeps nothing
    on disk. What a node's store holds is read from the store itself, through a view of this
    process, since what a node says of it in its status may be half a second old.
*/
#ifndef CKV_BENCH_CLUSTER_H
#define CKV_BENCH_CLUSTER_H

#include "bench/node.h"
#include "kv/digests.h"
#include <hiredis/hiredis.h>

#define CLUSTER_NAME "bench"
#define CLUSTER_LOG  "{curvekv:" CLUSTER_NAME "}:log" /* the stream's key, and the channel */

/*  ---- Redis ----  */

struct redis {
    pid_t process;
    struct cell socket, url;
};

static inline redisContext *connect_redis(const struct redis *self)
{
    redisContext *context = redisConnectUnix(self->socket.text);
    check_errno(context != NULL, "hiredis");
    if (context->err)
        fail(self->socket.text, context->errstr);
    return context;
}

static inline void await_redis(const struct redis *self)
{
    enum { PATIENCE = 5000 };
    redisContext *context = NULL;
    for (int i = 0; i < PATIENCE; i++) {
        context = redisConnectUnix(self->socket.text);
        if (context && !context->err)
            break;
        redisFree(context);
        context = NULL;
        usleep(1000);
    }
    if (!context)
        fail("redis-server", "does not start");
    redisFree(context);
}

/*  Runs redis-server, found by PATH, in DIR. It ends when this process does.  */
static inline void start_redis(struct redis *self, const char *dir)
{
    char real[PATH_MAX];
    check_errno(realpath(dir, real) != NULL, dir);
    self->socket = cell("%.90s/redis.sock", real);
    self->url = cell("unix://%.110s", self->socket.text);
    self->process = fork();
    if (self->process == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDOUT_FILENO);
        end_with_parent();
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", self->socket.text,
               "--save", "", "--appendonly", "no", "--dir", real, (char *)NULL);
        _exit(127);
    }
    check_errno(self->process > 0, "fork");
    await_redis(self);
}

static inline void stop_redis(struct redis *self)
{
    kill(self->process, SIGTERM);
    waitpid(self->process, NULL, 0);
}

/*  Gives the reply, which the caller frees, or fails.  */
static inline redisReply *take_redis_reply(redisContext *context)
{
    void *reply = NULL;
    if (redisGetReply(context, &reply) != REDIS_OK || !reply)
        fail("Redis", context->errstr);
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        fail("Redis", ((redisReply *)reply)->str);
    return reply;
}

/*  ---- nodes ----  */

/*  Starts a node of the cluster, named NAME; otherwise as start_node.  */
static inline void start_member(struct node *self, const char *name, const char *dir,
                                const char *key_file, const struct redis *redis)
{
    const char *const arguments[] = { "curvekv",
                                      "serve",
                                      "--data",
                                      dir,
                                      "--node",
                                      name,
                                      "--cluster",
                                      CLUSTER_NAME,
                                      "--redis",
                                      redis->url.text,
                                      "--cluster-key",
                                      key_file,
                                      NULL };
    start_node_by(self, dir, arguments);
}

/*  What a node says in its status.  */
struct member_status {
    bool live, complete;
    uint64_t writes, commits, appended, repairs, records_received, octets_repaired;
};

static inline uint64_t number_in(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static inline struct member_status ask_member(struct node *self)
{
    json_t *json = ask_status(self);
    const json_t *replication = json_object_get(json, "replication");
    const json_t *counters = json_object_get(replication, "counters");
    const char *state = json_string_value(json_object_get(replication, "state"));
    struct member_status status = {
        .live = state && strcmp(state, "live") == 0,
        .complete = json_is_true(json_object_get(replication, "complete")),
        .writes = number_in(json, "writes"),
        .commits = number_in(json, "commits"),
        .appended = number_in(counters, "appended"),
        .repairs = number_in(counters, "repairs"),
        .records_received = number_in(counters, "repair_records_received"),
        .octets_repaired = number_in(counters, "repair_octets_received") +
                           number_in(counters, "repair_octets_sent"),
    };
    json_decref(json);
    return status;
}

/*  Until it has all of the cluster and follows the log.  */
static inline void await_member(struct node *self)
{
    enum { PATIENCE = 60 };
    uint64_t start = now_ns();
    for (;;) {
        struct member_status status = ask_member(self);
        if (status.live && status.complete)
            return;
        if (seconds_since(start) > PATIENCE)
            fail("a node", "does not come into its cluster");
        usleep(5000);
    }
}

/*  The memory of a process that is its own, in octets.  */
static inline double own_memory(pid_t process)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen(cell("/proc/%d/status", (int)process).text, "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "RssAnon: %lu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return (double)kib * 1024;
}

/*  ---- a store, seen from here ----  */

/*  Opens the store of a node that was started, as soon as it is there.  */
static inline struct ckv_kv *view_store(const char *dir)
{
    enum { PATIENCE = 10000 };
    struct ckv_kv *self = NULL;
    struct ckv_kv_options options = { .directory = dir, .read_only = true };
    int rc = CKV_ERROR_NO_STORE;
    for (int i = 0; i < PATIENCE && (rc = ckv_kv_open(&self, "lmdb", &options)) != CKV_OK; i++)
        usleep(1000);
    check(rc, dir);
    return self;
}

static inline struct ckv_digest root_digest(struct ckv_kv *kv)
{
    struct ckv_kv_txn *txn;
    struct ckv_digest root;
    check(ckv_kv_begin(kv, CKV_KV_READ, &txn), "begin");
    check(ckv_kv_digest_root(txn, &root), "the root digest");
    ckv_kv_abort(&txn);
    return root;
}

static inline uint64_t record_count(struct ckv_kv *kv)
{
    struct ckv_kv_stats stats;
    check(ckv_kv_stats(kv, &stats), "stats");
    return stats.records;
}

#endif
