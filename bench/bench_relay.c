/*  bench_relay: how fast messages go through the tunnel and the gateway, beside a stock libzmq proxy with
    CURVE on the outside.

        curvekv    PUSH  ipc>  tunnel  tcp, CURVE>  gateway  ipc>  PULL
        libzmq     PUSH        tcp, CURVE>          zmq_proxy  ipc>  PULL

    The sender and each relay are processes of their own, and this process takes what arrives. In the
    second way the sender's own I/O thread does what the tunnel does in the first. The clock runs
    from the first message to the last.
*/
#include "bench/gateway.h"

enum { ROUNDS_MAX = 99, SMALL = 64, SMALL_COUNT = 400000, LARGE = 65536, LARGE_COUNT = 12000 };

struct place {
    struct cell dir, key_file, certificate, tunnel_endpoint, sink_endpoint[2];
    struct node node;
    struct server gateway, proxy;
    pid_t tunnel;
    void *context, *sinks[2]; /* the gateway's, the proxy's */
    uint8_t proxy_public_key[32];
};

/*  ---- what stands between ----  */

static void start_proxy(struct place *self, const uint8_t secret_key[32])
{
    self->proxy.address = free_port();
    self->proxy.process = fork_server();
    if (self->proxy.process == 0) {
        int as_server = 1;
        void *context = zmq_ctx_new();
        void *outside = zmq_socket(context, ZMQ_PULL), *inside = zmq_socket(context, ZMQ_PUSH);
        zmq_setsockopt(outside, ZMQ_CURVE_SERVER, &as_server, sizeof(as_server));
        zmq_setsockopt(outside, ZMQ_CURVE_SECRETKEY, secret_key, 32);
        check_errno(zmq_bind(outside, endpoint_of(&self->proxy.address).text) == 0, "the proxy");
        check_errno(zmq_connect(inside, self->sink_endpoint[1].text) == 0, "the proxy's sink");
        zmq_proxy(outside, inside, NULL);
        _exit(0);
    }
    await_port(&self->proxy.address);
}

static void await_file(const char *path)
{
    enum { PATIENCE = 5000 };
    for (int i = 0; i < PATIENCE && access(path, F_OK) != 0; i++)
        usleep(1000);
    check_errno(access(path, F_OK) == 0, path);
}

static void start_tunnel(struct place *self)
{
    struct cell to = endpoint_of(&self->gateway.address);
    const char *const arguments[] = {
        "curvekv", "connect", "--certificate", self->certificate.text,
        "--to",    to.text,   "--listen",      self->tunnel_endpoint.text,
        NULL
    };
    self->tunnel = start_curvekv(arguments);
    await_file(self->tunnel_endpoint.text + strlen("ipc://"));
}

/*  Registers a client at the node, as a person does.  */
static void register_client(struct place *self)
{
    const char *const arguments[] = { "curvekv", "register", "--data", self->dir.text,
                                      "--key",   "bench",    "--out",  self->certificate.text,
                                      NULL };
    await_curvekv(start_curvekv(arguments));
}

static void open_place(struct place *self, const char *dir)
{
    char real[PATH_MAX];
    uint8_t secret_key[32];
    check_errno(realpath(dir, real) != NULL, dir);
    self->dir = make_dir_in(real, "node");
    self->key_file = path_in(real, "cluster.key");
    self->certificate = path_in(real, "bench.cert");
    self->tunnel_endpoint = cell("ipc://%.100s/tunnel", real);
    write_bench_cluster_key(self->key_file.text);
    start_node(&self->node, self->dir.text, self->key_file.text);
    json_decref(ask_status(&self->node));
    register_client(self);
    crypto_box_keypair(self->proxy_public_key, secret_key);
    for (int i = 0; i < 2; i++)
        self->sink_endpoint[i] = cell("ipc://%.100s/sink%d", real, i);
    start_proxy(self, secret_key); /* before there are threads here */
    start_gateway(&self->gateway, self->dir.text, self->sink_endpoint[0].text, "client");
    start_tunnel(self);
    self->context = zmq_ctx_new();
    for (int i = 0; i < 2; i++) {
        self->sinks[i] = zmq_socket(self->context, ZMQ_PULL);
        check_errno(zmq_bind(self->sinks[i], self->sink_endpoint[i].text) == 0, "a sink");
    }
}

static void close_place(struct place *self)
{
    stop_process(self->tunnel);
    stop_process(self->gateway.process);
    stop_process(self->proxy.process);
    for (int i = 0; i < 2; i++)
        zmq_close(self->sinks[i]);
    zmq_ctx_term(self->context);
    stop_node(&self->node);
}

/*  ---- messages ----  */

/*  Sends COUNT messages of SIZE octets, in a process of its own.  */
static pid_t start_sender(const struct place *place, bool stock, size_t size, unsigned count)
{
    pid_t process = fork_server();
    if (process != 0)
        return process;
    uint8_t public_key[32], secret_key[32];
    void *context = zmq_ctx_new(), *push = zmq_socket(context, ZMQ_PUSH);
    char *octets = calloc(1, size);
    if (stock) {
        crypto_box_keypair(public_key, secret_key);
        zmq_setsockopt(push, ZMQ_CURVE_SERVERKEY, place->proxy_public_key, 32);
        zmq_setsockopt(push, ZMQ_CURVE_PUBLICKEY, public_key, 32);
        zmq_setsockopt(push, ZMQ_CURVE_SECRETKEY, secret_key, 32);
    }
    zmq_connect(push,
                stock ? endpoint_of(&place->proxy.address).text : place->tunnel_endpoint.text);
    for (unsigned i = 0; i < count; i++)
        if (zmq_send(push, octets, size, 0) != (int)size)
            _exit(1);
    zmq_close(push);
    zmq_ctx_term(context); /* waits until all have left */
    _exit(0);
}

/*  Messages a second.  */
static double count_messages(struct place *place, bool stock, size_t size, unsigned count)
{
    enum { PATIENCE_MS = 60000 };
    static char octets[LARGE];
    const int patience = PATIENCE_MS;
    void *sink = place->sinks[stock];
    uint64_t start = 0;
    zmq_setsockopt(sink, ZMQ_RCVTIMEO, &patience, sizeof(patience));
    pid_t sender = start_sender(place, stock, size, count);
    for (unsigned i = 0; i < count; i++) {
        check_errno(zmq_recv(sink, octets, sizeof(octets), 0) == (int)size, "a message");
        if (i == 0)
            start = now_ns();
    }
    double seconds = seconds_since(start);
    waitpid(sender, NULL, 0);
    return (count - 1) / seconds;
}

static void bench_messages(struct place *place, size_t size, unsigned count, unsigned rounds,
                           double mine[], double stock[])
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned side = 0; side < 2; side++) {
            bool is_stock = side == i % 2; /* who begins alternates */
            (is_stock ? stock : mine)[i] = count_messages(place, is_stock, size, count);
        }
        tell("%zu octets: tunnel and gateway %.0f/s, stock proxy %.0f/s", size, mine[i], stock[i]);
    }
}

static void bench(const struct options *options)
{
    static struct place place;
    double mine[ROUNDS_MAX], stock[ROUNDS_MAX];
    open_place(&place, options->dir);
    bench_messages(&place, SMALL, SMALL_COUNT, options->rounds, mine, stock);
    double ratio = median_ratio(mine, stock, options->rounds);
    row("messages of 64 octets through tunnel and gateway; a stock proxy with CURVE",
        cell("%s/s", grouped(median(mine, options->rounds)).text).text,
        cell("%s/s", grouped(median(stock, options->rounds)).text).text, cell("%.2f", ratio).text,
        "≥ 1.00", met(ratio >= 1));
    bench_messages(&place, LARGE, LARGE_COUNT, options->rounds, mine, stock);
    ratio = median_ratio(mine, stock, options->rounds);
    row("… of 64 KiB", cell("%.0f MB/s", median(mine, options->rounds) * LARGE / 1e6).text,
        cell("%.0f MB/s", median(stock, options->rounds) * LARGE / 1e6).text,
        cell("%.2f", ratio).text, "≥ 1.00", met(ratio >= 1));
    close_place(&place);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000, .rounds = 3 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX)
        fail("bench_relay", "that is too much");
    return run_in_directory(&options, bench);
}
