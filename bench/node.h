/*  node: a node in a process of its own, as a benchmark starts, asks and stops it.

    The command is $CURVEKV, or else the curvekv that was built beside this program.
*/
#ifndef CKV_BENCH_NODE_H
#define CKV_BENCH_NODE_H

#include "bench/measure.h"
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <zmq.h>

struct node {
    pid_t process;
    void *context, *dealer; /* to its admin service */
};

/*  The path of the command, in static storage.  */
static inline const char *curvekv_path(void)
{
    static char path[PATH_MAX];
    const char *given = getenv("CURVEKV");
    ssize_t size = given ? snprintf(path, sizeof(path), "%s", given)
                         : readlink("/proc/self/exe", path, sizeof(path) - 1);
    check_errno(size > 0 && (size_t)size < sizeof(path), "the path of curvekv");
    if (!given) {
        path[size] = 0;
        dirname(dirname(path));
        strncat(path, "/curvekv", sizeof(path) - strlen(path) - 1);
    }
    check_errno(access(path, X_OK) == 0, path);
    return path;
}

/*  Starts the command with ARGUMENTS (the first is its name, the last NULL), quietly. It ends when
    this process does.  */
static inline pid_t start_curvekv(const char *const *arguments)
{
    const char *path = curvekv_path();
    pid_t process = fork();
    if (process == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDOUT_FILENO);
        dup2(quiet, STDERR_FILENO);
        end_with_parent();
        execv(path, (char *const *)arguments);
        _exit(127);
    }
    check_errno(process > 0, "fork");
    return process;
}

static inline void await_curvekv(pid_t process)
{
    int status;
    waitpid(process, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail(curvekv_path(), "did not end well");
}

static inline void write_bench_cluster_key(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    check_errno(fd >= 0 &&
                    write(fd, bench_cluster_key, CKV_CLUSTER_KEY_SIZE) == CKV_CLUSTER_KEY_SIZE,
                path);
    close(fd);
}

/*  Starts a node in DIR by ARGUMENTS, and connects to it. Does not wait: what is asked before the
    node answers is answered then.  */
static inline void start_node_by(struct node *self, const char *dir, const char *const *arguments)
{
    int linger = 0, again_ms = 1;
    char real[PATH_MAX];
    check_errno(realpath(dir, real) != NULL, dir);
    self->process = start_curvekv(arguments);
    self->context = zmq_ctx_new();
    self->dealer = zmq_socket(self->context, ZMQ_DEALER);
    zmq_setsockopt(self->dealer, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(self->dealer, ZMQ_RECONNECT_IVL, &again_ms, sizeof(again_ms));
    check_errno(zmq_connect(self->dealer, cell("ipc://%.100s/admin.sock", real).text) == 0,
                "connecting to the node");
}

/*  A node alone, in DIR under the cluster key in KEY_FILE.  */
static inline void start_node(struct node *self, const char *dir, const char *key_file)
{
    const char *const arguments[] = { "curvekv",       "serve",  "--data", dir,
                                      "--cluster-key", key_file, NULL };
    start_node_by(self, dir, arguments);
}

/*  Sends REQUEST, whose reference it takes, and returns the reply's JSON, which the caller drops.
 */
static inline json_t *ask_node(struct node *self, json_t *request)
{
    enum { PATIENCE_MS = 60000, SPARE = 8192 };
    char reply[SPARE];
    zmq_pollitem_t item = { .socket = self->dealer, .events = ZMQ_POLLIN };
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    check_errno(zmq_send(self->dealer, text, strlen(text), 0) >= 0, "asking the node");
    free(text);
    check_errno(zmq_poll(&item, 1, PATIENCE_MS) == 1, "waiting for the node");
    int size = zmq_recv(self->dealer, reply, sizeof(reply), 0), more = 1;
    size_t more_size = sizeof(more);
    check_errno(size >= 0 && (size_t)size <= sizeof(reply), "the node's reply");
    json_t *json = json_loadb(reply, (size_t)size, 0, NULL);
    if (!json || json_object_get(json, "error"))
        fail("the node refused", json ? json_string_value(json_object_get(json, "error")) : "");
    while (zmq_getsockopt(self->dealer, ZMQ_RCVMORE, &more, &more_size) == 0 && more)
        zmq_recv(self->dealer, reply, sizeof(reply), 0);
    return json;
}

static inline json_t *ask_status(struct node *self)
{
    return ask_node(self, json_pack("{ss}", "command", "status"));
}

static inline void stop_node(struct node *self)
{
    zmq_close(self->dealer);
    zmq_ctx_term(self->context);
    kill(self->process, SIGTERM);
    await_curvekv(self->process);
}

#endif
