/*  bench_gateway: what a handshake and a refusal cost the gateway, beside a stock libzmq CURVE server.

    The peer is a ROUTER with CURVE and a ZAP handler in a process of its own, as a service has today:
    libzmq asks the handler, which lets everybody in. The gateway has one NULL backend, a ROUTER
    behind ipc in a process of its own; its clients are in its store, each with a server key pair of
    its own. A second one is like it but for --backend-mode shared. The same crowd (bench/crowd.h)
    calls all three, from this process.

    What counts is processor time of the serving process, as the scheduler counts it in nanoseconds
    for each of its threads, by handshake; so it does not matter how busy the machine is.

    The flood is a crowd of strangers in a process of its own, as many as one processor can send. To
    be from elsewhere it needs a processor of its own (bench/processors.h): the known clients, the
    gateway and its backend have two, the flood a third. A machine with fewer plays that at a part
    of the speed, the same for all, which falls out of the ratios. Where shares cannot be made, the
    flood takes its processor away from everybody else; both is measured where both can be.
*/
#include "bench/gateway.h"
#include "bench/processors.h"

#include <math.h>
#include <pthread.h>
#include <sys/resource.h>

enum {
    ROUNDS_MAX = 99,
    CLIENTS = 1000,
    HANDSHAKES = 4000, /* a round */
    REFUSALS = 10000,  /* a round */
    CALLERS = 100,
    FLOODERS = 64,
    FLOODERS_MANY = 1024,
    KNOWN_IN_FLOOD = 100,
    IDLE = 10000,
    AT_ONCE = 2000,
};

/*  ---- servers ----  */

static void *answer_zap(void *socket)
{
    enum { FRAMES = 16, FRAME = 256 };
    for (;;) {
        char frames[FRAMES][FRAME];
        size_t sizes[FRAMES];
        int count = 0, more = 1;
        size_t more_size = sizeof(more);
        while (more && count < FRAMES) {
            int size = zmq_recv(socket, frames[count], FRAME, 0);
            if (size < 0)
                return NULL;
            sizes[count++] = (size_t)size;
            zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_size);
        }
        zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(socket, frames[1], sizes[1], ZMQ_SNDMORE);
        zmq_send(socket, "200", 3, ZMQ_SNDMORE);
        zmq_send(socket, "OK", 2, ZMQ_SNDMORE);
        zmq_send(socket, "client", 6, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, 0);
    }
}

/*  Takes what comes, for ever.  */
static _Noreturn void serve_router(void *router)
{
    char octets[256];
    for (;;)
        zmq_recv(router, octets, sizeof(octets), 0);
}

static void start_stock(struct server *self, const uint8_t secret_key[32])
{
    self->address = free_port();
    self->process = fork_server();
    if (self->process == 0) {
        int as_server = 1, backlog = 4096;
        pthread_t thread;
        void *context = zmq_ctx_new(), *zap = zmq_socket(context, ZMQ_REP);
        void *router = zmq_socket(context, ZMQ_ROUTER);
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65536);
        zmq_bind(zap, "inproc://zeromq.zap.01");
        pthread_create(&thread, NULL, answer_zap, zap);
        zmq_setsockopt(router, ZMQ_CURVE_SERVER, &as_server, sizeof(as_server));
        zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, secret_key, 32);
        zmq_setsockopt(router, ZMQ_ZAP_DOMAIN, "bench", 5);
        zmq_setsockopt(router, ZMQ_BACKLOG, &backlog, sizeof(backlog));
        check_errno(zmq_bind(router, endpoint_of(&self->address).text) == 0, "the stock server");
        serve_router(router);
    }
    await_port(&self->address);
}

static pid_t start_backend(const char *endpoint)
{
    pid_t process = fork_server();
    if (process == 0) {
        int backlog = 4096;
        void *context = zmq_ctx_new();
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65536);
        void *router = zmq_socket(context, ZMQ_ROUTER);
        zmq_setsockopt(router, ZMQ_BACKLOG, &backlog, sizeof(backlog));
        check_errno(zmq_bind(router, endpoint) == 0, endpoint);
        serve_router(router);
    }
    return process;
}

/*  ---- what is there ----  */

struct place {
    struct cell dir, key_file, backend_endpoint, shared_backend_endpoint;
    struct client *clients;
    struct node node;
    struct server gateway, shared, stock;
    pid_t backend, shared_backend;
    uint8_t stock_public_key[32];
    struct client *stock_clients; /* the same, as the stock server knows them */
};

static void open_place(struct place *self, const char *dir)
{
    char real[PATH_MAX];
    uint8_t stock_secret_key[32];
    check_errno(realpath(dir, real) != NULL, dir);
    self->dir = make_dir_in(real, "node");
    self->key_file = path_in(real, "cluster.key");
    self->backend_endpoint = cell("ipc://%.100s/backend", real);
    self->shared_backend_endpoint = cell("ipc://%.100s/shared", real);
    self->clients = take_memory(CLIENTS * sizeof(*self->clients));
    self->stock_clients = take_memory(CLIENTS * sizeof(*self->clients));
    write_bench_cluster_key(self->key_file.text);
    register_clients(self->dir.text, self->clients, CLIENTS);
    start_node(&self->node, self->dir.text, self->key_file.text);
    json_decref(ask_status(&self->node));
    self->backend = start_backend(self->backend_endpoint.text);
    self->shared_backend = start_backend(self->shared_backend_endpoint.text);
    start_gateway(&self->gateway, self->dir.text, self->backend_endpoint.text, "client");
    start_gateway(&self->shared, self->dir.text, self->shared_backend_endpoint.text, "shared");
    crypto_box_keypair(self->stock_public_key, stock_secret_key);
    start_stock(&self->stock, stock_secret_key);
    memcpy(self->stock_clients, self->clients, CLIENTS * sizeof(*self->clients));
    for (unsigned i = 0; i < CLIENTS; i++)
        memcpy(self->stock_clients[i].server_public_key, self->stock_public_key, 32);
}

static void close_place(struct place *self)
{
    stop_process(self->gateway.process);
    stop_process(self->shared.process);
    stop_process(self->stock.process);
    stop_process(self->backend);
    stop_process(self->shared_backend);
    stop_node(&self->node);
    free(self->clients);
    free(self->stock_clients);
}

/*  ---- handshakes and refusals ----  */

/*  Runs PLAN at the gateway and fails when not every call ended as it should.  */
static void call(const struct crowd_plan *plan, struct crowd *crowd)
{
    crowd_come(crowd, plan);
    if (crowd->failed || (plan->kind == CROWD_STRANGER && crowd->turned_away != crowd->begun))
        fail("calls", cell("%llu of %llu failed", (unsigned long long)crowd->failed,
                           (unsigned long long)crowd->begun)
                          .text);
}

/*  Seconds a call.  */
struct costs {
    double gateway[ROUNDS_MAX], both[ROUNDS_MAX], shared[ROUNDS_MAX], stock[ROUNDS_MAX];
};

/*  Runs PLAN at SERVER, and counts what it and its BACKEND (0: none) spend on a call. */
static void count_cost(struct crowd_plan *plan, const struct server *server, pid_t backend,
                       double *alone, double *both)
{
    struct crowd crowd;
    plan->to = server->address;
    double before = processor_time(server->process), behind = backend ? processor_time(backend) : 0;
    call(plan, &crowd);
    double spent = processor_time(server->process) - before;
    double spent_behind = backend ? processor_time(backend) - behind : 0;
    *alone = spent / (double)plan->calls;
    *both = (spent + spent_behind) / (double)plan->calls;
    crowd_go(&crowd);
}

static void count_costs(struct place *place, enum crowd_kind kind, uint64_t calls,
                        struct costs *costs, unsigned round)
{
    enum { SIDES = 3 };
    double ignored;
    struct crowd_plan plan = {
        .kind = kind, .client_count = CLIENTS, .callers = CALLERS, .calls = calls
    };
    for (unsigned i = 0; i < SIDES; i++) {
        unsigned side = (i + round) % SIDES; /* who begins alternates */
        plan.clients = side == 0 ? place->stock_clients : place->clients;
        if (side == 0)
            count_cost(&plan, &place->stock, 0, &costs->stock[round], &ignored);
        else if (side == 1)
            count_cost(&plan, &place->gateway, place->backend, &costs->gateway[round],
                       &costs->both[round]);
        else
            count_cost(&plan, &place->shared, place->shared_backend, &ignored,
                       &costs->shared[round]);
    }
    tell("processor time a call: gateway %.1f µs, with its backend %.1f µs, shared mode with its "
         "backend %.1f µs, stock server %.1f µs",
         costs->gateway[round] * 1e6, costs->both[round] * 1e6, costs->shared[round] * 1e6,
         costs->stock[round] * 1e6);
}

static void report_cost(const char *what, const double *mine, const double *stock, unsigned rounds,
                        double target)
{
    double values[2][ROUNDS_MAX];
    memcpy(values[0], mine, rounds * sizeof(*mine));
    memcpy(values[1], stock, rounds * sizeof(*stock));
    double ratio = median_ratio(mine, stock, rounds);
    row(what, cell("%.1f µs", median(values[0], rounds) * 1e6).text,
        cell("%.1f µs", median(values[1], rounds) * 1e6).text, cell("%.2f", ratio).text,
        cell("≤ %.2f", target).text, met(ratio <= target));
}

static void bench_costs(struct place *place, unsigned rounds)
{
    static struct costs handshakes, refusals;
    for (unsigned i = 0; i < rounds; i++) {
        count_costs(place, CROWD_KNOWN, HANDSHAKES, &handshakes, i);
        count_costs(place, CROWD_STRANGER, REFUSALS, &refusals, i);
    }
    report_cost("processor time a handshake, at the gateway", handshakes.gateway, handshakes.stock,
                rounds, 0.4);
    report_cost("… at the gateway and its NULL backend over ipc", handshakes.both, handshakes.stock,
                rounds, 1.0);
    report_cost("… the same with --backend-mode shared", handshakes.shared, handshakes.stock,
                rounds, 0.5);
    report_cost("processor time a refused stranger", refusals.gateway, refusals.stock, rounds,
                0.35);
}

/*  ---- the flood ----  */

/*  Who calls has the fleet's share, with gateway and backend, and the flood another one.  */
struct shares {
    pid_t of;
    bool are;
    struct processors fleet, flood;
};

/*  Of the parent process, which outlives the benchmark.  */
static struct shares shares;

/*  When the process that has opened them exits; a kill leaves the groups there, empty.  */
static void close_shares(void)
{
    if (getpid() != shares.of)
        return;
    processors_destroy(&shares.fleet);
    processors_destroy(&shares.flood);
}

static void open_shares(void)
{
    double online = (double)sysconf(_SC_NPROCESSORS_ONLN);
    shares.of = getpid();
    atexit(close_shares);
    double speed = online < 3 ? online / 4 : 1; /* a rest is for everything else on the machine */
    shares.are = processors_new(&shares.fleet, "curvekv-bench-fleet", 2 * speed) &&
                 processors_new(&shares.flood, "curvekv-bench-flood", speed);
}

static void share_fleet(const struct place *place, bool entered)
{
    const pid_t processes[] = { getpid(), place->gateway.process, place->backend };
    for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++) {
        if (entered)
            processors_enter(&shares.fleet, processes[i]);
        else
            processors_leave(&shares.fleet, processes[i]);
    }
}

struct flood {
    const char *beside;
    const struct sockaddr_in *to; /* NULL: there is none */
    unsigned callers;
    bool shared; /* it has the flood's share */
    bool impatient;
};

struct known {
    double per_second[ROUNDS_MAX], p99[ROUNDS_MAX];
};

static pid_t start_flood(const struct flood *flood, double seconds)
{
    pid_t process = fork_server();
    if (process == 0) {
        struct crowd_plan plan = { .kind = CROWD_STRANGER,
                                   .to = *flood->to,
                                   .callers = flood->callers,
                                   .seconds = seconds,
                                   .impatient = flood->impatient };
        struct crowd crowd;
        if (flood->shared)
            processors_enter(&shares.flood, getpid());
        crowd_come(&crowd, &plan);
        tell("the flood: %.0f strangers a second, of %.2f processors",
             (double)crowd.begun / crowd.seconds, processor_time(getpid()) / crowd.seconds);
        _exit(0);
    }
    return process;
}

/*  The known clients for a while, beside FLOOD.  */
static void count_known(struct place *place, const struct flood *flood, struct known *results,
                        unsigned round)
{
    enum { ROOM = 1000000, WARM_UP_US = 300000 };
    static double latencies[ROOM];
    const double seconds = 4;
    struct crowd_plan plan = { .kind = CROWD_KNOWN,
                               .to = place->gateway.address,
                               .clients = place->clients,
                               .client_count = CLIENTS,
                               .callers = KNOWN_IN_FLOOD,
                               .seconds = seconds,
                               .latencies = latencies,
                               .latency_room = ROOM };
    struct crowd crowd;
    pid_t process = flood->to ? start_flood(flood, seconds + 1) : 0;
    usleep(WARM_UP_US);
    crowd_come(&crowd, &plan);
    crowd_go(&crowd);
    if (process)
        waitpid(process, NULL, 0);
    qsort(latencies, crowd.latency_count, sizeof(*latencies), by_value);
    results->per_second[round] = (double)crowd.succeeded / crowd.seconds;
    results->p99[round] =
        crowd.latency_count ? latencies[(crowd.latency_count - 1) * 99 / 100] : INFINITY;
    tell("beside %s%s: %.0f handshakes/s, p99 %.1f ms, %llu failed", flood->beside,
         flood->shared ? ", each with its share" : "", results->per_second[round],
         results->p99[round] * 1e3, (unsigned long long)crowd.failed);
}

static void report_flood(const char *what, const struct known *flooded, const struct known *before,
                         unsigned rounds, bool judged)
{
    double part = median_ratio(flooded->per_second, before->per_second, rounds);
    double times = median_ratio(flooded->p99, before->p99, rounds);
    struct known a = *flooded, b = *before;
    row(cell("%s: handshakes/s", what).text,
        cell("%s/s", grouped(median(a.per_second, rounds)).text).text,
        cell("%s/s before", grouped(median(b.per_second, rounds)).text).text,
        cell("%.2f", part).text, judged ? "≥ 0.70" : no_target,
        judged ? met(part >= 0.7) : no_target);
    row("… p99", cell("%.1f ms", median(a.p99, rounds) * 1e3).text,
        cell("%.1f ms before", median(b.p99, rounds) * 1e3).text, cell("%.2f", times).text,
        judged ? "≤ 3.00" : no_target, judged ? met(times <= 3) : no_target);
}

enum beside { ALONE, ELSEWHERE, FEW, MANY, IMPATIENT, SITUATIONS };

/*  The known clients in each situation, in rounds.  */
static void count_flood(struct place *place, bool shared, unsigned rounds,
                        struct known results[SITUATIONS])
{
    struct sockaddr_in nobody = free_port(), *gateway = &place->gateway.address;
    const struct flood floods[SITUATIONS] = {
        [ALONE] = { "nobody else", NULL, 0, shared },
        [ELSEWHERE] = { "a flood elsewhere", &nobody, FLOODERS, shared },
        [FEW] = { "a flood", gateway, FLOODERS, shared },
        [MANY] = { "a flood of many connections", gateway, FLOODERS_MANY, shared },
        [IMPATIENT] = { "a flood that does not wait for a greeting", gateway, FLOODERS_MANY, shared,
                        .impatient = true },
    };
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned j = 0; j < SITUATIONS; j++)
            count_known(place, &floods[j], &results[j], i);
}

static void report_floods(const char *where, const struct known results[SITUATIONS],
                          unsigned rounds, bool judged)
{
    report_flood(cell("100 clients that reconnect, flooded %s", where).text, &results[FEW],
                 &results[ALONE], rounds, judged);
    report_flood("the same, flooded over 1,024 connections at a time instead of 64", &results[MANY],
                 &results[ALONE], rounds, judged);
    report_flood("the same, and none of the flood waits for the gateway's greeting",
                 &results[IMPATIENT], &results[ALONE], rounds, judged);
    report_flood("the same, the flood at a port where nobody listens", &results[ELSEWHERE],
                 &results[ALONE], rounds, false);
}

static void bench_flood(struct place *place, unsigned rounds)
{
    static struct known apart[SITUATIONS], together[SITUATIONS];
    if (shares.are) {
        share_fleet(place, true);
        count_flood(place, true, rounds, apart);
        share_fleet(place, false);
        report_floods("from a processor beside their two", apart, rounds, true);
    } else
        tell("a flood from a processor of its own is not measured: it takes root, and control "
             "groups in /sys/fs/cgroup");
    count_flood(place, false, rounds, together);
    report_floods("from one of this machine's processors", together, rounds, !shares.are);
}

/*  ---- many ----  */

/*  Of what is started from here, too.  */
static void take_all_descriptors(void)
{
    struct rlimit limit;
    check_errno(getrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit of descriptors");
    limit.rlim_cur = limit.rlim_max;
    check_errno(setrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit of descriptors");
}

/*  As many as there may be, when each takes EACH descriptors of one process.  */
static unsigned idle_clients(unsigned each)
{
    enum { SPARE = 500 };
    struct rlimit limit;
    check_errno(getrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit of descriptors");
    return limit.rlim_max < each * IDLE + SPARE ? (unsigned)(limit.rlim_max - SPARE) / each : IDLE;
}

/*  At a gateway of their own: what others have left in its heap would hide what these take.  */
static void bench_idle(struct place *place, const char *backend, const char *mode, unsigned count)
{
    struct server server;
    start_gateway(&server, place->dir.text, backend, mode);
    struct crowd_plan plan = { .kind = CROWD_STAYS,
                               .to = server.address,
                               .clients = place->clients,
                               .client_count = CLIENTS,
                               .callers = count,
                               .width = CALLERS,
                               .calls = count };
    struct crowd crowd;
    double before = memory_of(server.process);
    call(&plan, &crowd);
    double each = (memory_of(server.process) - before) / count;
    tell("%u clients came in %.2f s", count, crowd.seconds);
    crowd_go(&crowd);
    stop_process(server.process);
    row(cell("memory of the gateway a client, %s idle ones, --backend-mode %s", grouped(count).text,
             mode)
            .text,
        cell("%s octets", grouped(each).text).text, no_target, no_target, "≤ 8,192",
        met(each <= 8192));
}

static void bench_at_once(struct place *place, unsigned rounds)
{
    double seconds[ROUNDS_MAX];
    struct crowd_plan plan = { .kind = CROWD_STAYS,
                               .to = place->gateway.address,
                               .clients = place->clients,
                               .client_count = CLIENTS,
                               .callers = AT_ONCE,
                               .calls = AT_ONCE };
    for (unsigned i = 0; i < rounds; i++) {
        struct crowd crowd;
        call(&plan, &crowd);
        seconds[i] = crowd.seconds;
        crowd_go(&crowd);
    }
    row("2,000 clients that connect at once are all served after",
        cell("%.2f s", median(seconds, rounds)).text, no_target, no_target, no_target, no_target);
}

static void bench(const struct options *options)
{
    static struct place place;
    take_all_descriptors(); /* before the servers are there */
    open_place(&place, options->dir);
    bench_costs(&place, options->rounds);
    bench_flood(&place, options->rounds);
    bench_at_once(&place, options->rounds);
    bench_idle(&place, place.backend_endpoint.text, "client",
               idle_clients(2)); /* one of them the backend's */
    bench_idle(&place, place.shared_backend_endpoint.text, "shared", idle_clients(1));
    close_place(&place);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000, .rounds = 3 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX)
        fail("bench_gateway", "that is too much");
    open_shares();
    return run_in_directory(&options, bench);
}
