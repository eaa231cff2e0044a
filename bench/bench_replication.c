/*  bench_replication: how soon and how fast a change of one node is on another, and how soon nodes
    are equal again that were not.

    Two nodes and their Redis run on this machine, beside this program that drives them. Four
    things are measured:

    Propagation. Certificates are registered on A one at a time, acknowledged when logged. Then,
    from the moment the answer has come, B's store is resolved through libcurvekv, again every 10 µs,
    until it has the certificate. The peer is a bare PUBLISH of as many octets as an entry of the
    log has, until a subscriber on the same Redis has it; one after each registration.

    Sustained. 64 registrations are in flight at A for some seconds, while B applies them; each round
    begins with empty stores, and once it is done with many certificates in them. The
    client public keys are made beforehand and given, so the node checks each and makes a server key
    pair only where that is dedicated. Storage keys are derived. How far B is behind, is counted in
    its store.

    Joining. A node with an empty directory is started beside one that has all. The clock starts
    before the fork that makes its process and stops when the root digests in the two stores are
    equal and the new node says that it is complete.

    Repair. B is stopped, 1,000 certificates are registered on A, all of the log is trimmed away,
    and B is started; the clock runs as for joining. From where the status of B shows a repair
    (which is up to 50 ms late), the same again.

    Memory is RssAnon, looked at every few milliseconds; what counts is how far it rises above what
    it was before (A), and above what it was at the first answer (B).
*/
#include "bench/cluster.h"
#include "core/z85.h"
#include "node/library/curvekv.h"

enum {
    ROUNDS_MAX = 99,
    PROPAGATED = 2000, /* a round */
    IN_FLIGHT = 64,
    SUSTAINED_SECONDS = 5,
    DIFFERENT = 1000,
    REQUEST_SIZE = 512,
};

/*  Two nodes, A and B.  */
struct pair {
    struct redis redis;
    struct cell dir, key_file, place_a, place_b;
    struct node a, b;
};

static void make_pair(struct pair *self, const char *dir, const char *name)
{
    self->dir = make_dir_in(dir, name);
    self->key_file = path_in(self->dir.text, "cluster.key");
    self->place_a = make_dir_in(self->dir.text, "a");
    self->place_b = make_dir_in(self->dir.text, "b");
    write_bench_cluster_key(self->key_file.text);
    start_redis(&self->redis, self->dir.text);
}

static void start_a(struct pair *self)
{
    start_member(&self->a, "a", self->place_a.text, self->key_file.text, &self->redis);
}

static void start_b(struct pair *self)
{
    start_member(&self->b, "b", self->place_b.text, self->key_file.text, &self->redis);
}

static void start_both(struct pair *self)
{
    start_a(self);
    await_member(&self->a);
    start_b(self);
    await_member(&self->b);
}

static void drop_pair(struct pair *self)
{
    stop_redis(&self->redis);
    remove_tree(self->dir.text);
}

/*  ---- registering ----  */

/*  Client public keys as text, each for one registration. Any 32 octets are one, but for a few that
    do not come by chance.  */
struct keys {
    char (*texts)[CKV_Z85_TEXT_SIZE];
    size_t count, next;
};

static void make_keys(struct keys *self, size_t count)
{
    uint8_t key[32];
    self->texts = take_memory(count * sizeof(*self->texts));
    self->count = count;
    self->next = 0;
    for (size_t i = 0; i < count; i++) {
        randombytes_buf(key, sizeof(key));
        ckv_z85_text(key, self->texts[i]);
    }
}

static void send_registration(struct node *node, struct keys *keys, bool dedicated)
{
    char text[REQUEST_SIZE];
    if (keys->next == keys->count)
        fail("the client keys", "are used up");
    int size = snprintf(text, sizeof(text),
                        "{\"id\":%zu,\"command\":\"register\",\"ack\":\"logged\","
                        "\"organisation\":\"ACME\",\"client_number\":\"%zu\","
                        "\"client_public_key\":\"%s\",\"server_key\":\"%s\"}",
                        keys->next, keys->next, keys->texts[keys->next],
                        dedicated ? "dedicated" : "shared");
    keys->next++;
    check_errno(zmq_send(node->dealer, text, (size_t)size, 0) == size, "asking the node");
}

/*  Takes the answer, and notes when its first frame had come. The storage key of what was registered
    goes to KEY, if not NULL.  */
static uint64_t take_registration(struct node *node, struct ckv_storage_key *key)
{
    char reply[2048];
    uint8_t record[CKV_RECORD_MAX];
    int more = 1;
    size_t more_size = sizeof(more);
    int size = zmq_recv(node->dealer, reply, sizeof(reply) - 1, 0);
    uint64_t arrived = now_ns();
    check_errno(size > 0, "the node's reply");
    reply[(size_t)size < sizeof(reply) ? (size_t)size : sizeof(reply) - 1] = 0;
    if (!strstr(reply, "\"logged\""))
        fail("a registration was not logged", reply);
    size = zmq_recv(node->dealer, record, sizeof(record), 0);
    while (zmq_getsockopt(node->dealer, ZMQ_RCVMORE, &more, &more_size) == 0 && more)
        zmq_recv(node->dealer, reply, sizeof(reply), 0);
    if (key) {
        struct ckv_certificate certificate;
        check(ckv_certificate_parse(&certificate, record, size > 0 ? (size_t)size : 0), "a record");
        check(ckv_storage_key_set(key, certificate.storage_key), "a storage key");
    }
    return arrived;
}

/*  Registers for SECONDS, or just COUNT if that is not 0, and returns how many. OBSERVE is called
    every now and then.  */
static uint64_t register_many(struct node *node, struct keys *keys, bool dedicated, double seconds,
                              uint64_t count, void (*observe)(void *argument, uint64_t done),
                              void *argument)
{
    enum { OBSERVE_EVERY = 2048 };
    uint64_t start = now_ns(), sent = 0, done = 0;
    while (sent < IN_FLIGHT) {
        send_registration(node, keys, dedicated);
        sent++;
    }
    while (done < sent) {
        take_registration(node, NULL);
        done++;
        if (count ? sent < count : seconds_since(start) < seconds) {
            send_registration(node, keys, dedicated);
            sent++;
        }
        if (observe && done % OBSERVE_EVERY == 0)
            observe(argument, done);
    }
    return done;
}

/*  ---- propagation ----  */

struct latencies {
    double p50[ROUNDS_MAX], p99[ROUNDS_MAX], answer[ROUNDS_MAX], bare[ROUNDS_MAX],
        bare_p99[ROUNDS_MAX];
};

/*  A channel of the same Redis that nobody else has, and what is published there.  */
struct bare_channel {
    redisContext *publisher, *subscriber;
    size_t size;
    char *payload;
};

/*  The octets that an entry of the log has when it is published.  */
static size_t entry_size(redisContext *context)
{
    enum { HEAD = 24 }; /* epoch and sequence */
    redisAppendCommand(context, "XREVRANGE " CLUSTER_LOG " + - COUNT 1");
    redisReply *reply = take_redis_reply(context);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1)
        fail(CLUSTER_LOG, "has no entry");
    size_t size = HEAD + (size_t)reply->element[0]->element[1]->element[1]->len;
    freeReplyObject(reply);
    return size;
}

static void open_bare_channel(struct bare_channel *self, const struct redis *redis)
{
    self->publisher = connect_redis(redis);
    self->subscriber = connect_redis(redis);
    self->size = entry_size(self->publisher);
    self->payload = take_memory(self->size);
    randombytes_buf(self->payload, self->size);
    redisAppendCommand(self->subscriber, "SUBSCRIBE bare");
    freeReplyObject(take_redis_reply(self->subscriber));
}

static void close_bare_channel(struct bare_channel *self)
{
    redisFree(self->publisher);
    redisFree(self->subscriber);
    free(self->payload);
}

/*  Seconds from PUBLISH until the subscriber has it.  */
static double publish_bare(struct bare_channel *self)
{
    int all = 0;
    uint64_t start = now_ns();
    redisAppendCommand(self->publisher, "PUBLISH bare %b", self->payload, self->size);
    while (!all && redisBufferWrite(self->publisher, &all) == REDIS_OK)
        ;
    freeReplyObject(take_redis_reply(self->subscriber));
    double seconds = seconds_since(start);
    freeReplyObject(take_redis_reply(self->publisher));
    return seconds;
}

/*  Lets whoever waits for this processor run. Two processors carry both nodes, Redis and this
    program: while it spins (or sleeps so shortly that it is awake again before it has left the
    processor), B's writer waits for its time slice to end, which is milliseconds and not B's.  */
static void pause_briefly(void)
{
    const struct timespec pause = { .tv_nsec = 10000 };
    nanosleep(&pause, NULL);
}

/*  Registers on A. Returns the seconds from the answer until B has it; *ANSWER receives those from the
    question to the answer.  */
static double register_one(struct pair *pair, struct ckv_store *store, struct keys *keys,
                           bool dedicated, double *answer)
{
    struct ckv_storage_key key;
    struct ckv_certificate view;
    int rc;
    uint64_t asked = now_ns();
    send_registration(&pair->a, keys, dedicated);
    uint64_t arrived = take_registration(&pair->a, &key);
    while ((rc = ckv_store_resolve(store, key.octets, key.size, &view)) == CKV_ERROR_NOT_FOUND)
        pause_briefly();
    double seconds = seconds_since(arrived);
    check(rc, "resolve");
    ckv_store_release(store);
    *answer = (double)(arrived - asked) / 1e9;
    return seconds;
}

/*  Of COUNT values, which are sorted by this.  */
static double quantile(double *values, size_t count, double part)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[(size_t)(part * (double)(count - 1))];
}

/*  One round; the two sides take turns.  */
static void propagate(struct pair *pair, struct ckv_store *store, struct bare_channel *bare,
                      bool dedicated, struct latencies *latencies, unsigned round)
{
    static double answers[PROPAGATED], mine[PROPAGATED], theirs[PROPAGATED];
    struct keys keys;
    make_keys(&keys, PROPAGATED);
    for (size_t i = 0; i < PROPAGATED; i++) {
        mine[i] = register_one(pair, store, &keys, dedicated, &answers[i]);
        theirs[i] = publish_bare(bare);
    }
    latencies->answer[round] = quantile(answers, PROPAGATED, 0.5);
    latencies->p50[round] = quantile(mine, PROPAGATED, 0.5);
    latencies->p99[round] = quantile(mine, PROPAGATED, 0.99);
    latencies->bare[round] = quantile(theirs, PROPAGATED, 0.5);
    latencies->bare_p99[round] = quantile(theirs, PROPAGATED, 0.99);
    free(keys.texts);
}

static struct cell microseconds(double seconds)
{
    return cell("%.0f µs", seconds * 1e6);
}

static void report_propagation(struct latencies *latencies, const char *kind, unsigned rounds)
{
    double times = median_ratio(latencies->p50, latencies->bare, rounds);
    double p99 = median(latencies->p99, rounds);
    tell("%s: the answer itself came after %.0f µs (p50)", kind,
         median(latencies->answer, rounds) * 1e6);
    row(cell("registered on A (logged, %s server key), resolvable on B: p50", kind).text,
        microseconds(median(latencies->p50, rounds)).text,
        microseconds(median(latencies->bare, rounds)).text, cell("%.2f", times).text, "≤ 5.00",
        met(times <= 5));
    row(cell("registered on A (logged, %s server key), resolvable on B: p99", kind).text,
        microseconds(p99).text, microseconds(median(latencies->bare_p99, rounds)).text, no_target,
        "≤ 2000 µs", met(p99 <= 2e-3));
}

/*  Something must be in the log, so that the size of an entry is known.  */
static void warm_up(struct pair *pair)
{
    enum { WARM_UP = 100 };
    struct keys keys;
    make_keys(&keys, WARM_UP);
    register_many(&pair->a, &keys, true, 0, WARM_UP, NULL, NULL);
    free(keys.texts);
}

static void bench_propagation(struct pair *pair, unsigned rounds)
{
    static struct latencies latencies[2];
    struct ckv_store *store;
    struct bare_channel bare;
    warm_up(pair);
    open_bare_channel(&bare, &pair->redis);
    check(ckv_store_open(&store, pair->place_b.text), "the store of B");
    prctl(PR_SET_TIMERSLACK, 1); /* ns: a pause is as long as it is meant to be */
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned j = 0; j < 2; j++) {
            bool dedicated = (i + j) % 2 == 0; /* who begins alternates */
            propagate(pair, store, &bare, dedicated, &latencies[dedicated], i);
        }
    prctl(PR_SET_TIMERSLACK, 0); /* as it was */
    ckv_store_close(&store);
    close_bare_channel(&bare);
    report_propagation(&latencies[true], "dedicated", rounds);
    report_propagation(&latencies[false], "shared", rounds);
}

/*  ---- sustained ----  */

struct sustained {
    double per_second[ROUNDS_MAX], by_commit[ROUNDS_MAX], by_commit_b[ROUNDS_MAX],
        behind[ROUNDS_MAX], most_behind[ROUNDS_MAX], caught_up[ROUNDS_MAX];
};

/*  How many registrations of DONE are not in B's store.  */
static double behind(struct ckv_kv *b, uint64_t before, uint64_t done)
{
    return (double)done - (double)(record_count(b) - before);
}

struct follower {
    struct ckv_kv *kv;
    uint64_t before;
    double most;
};

static void observe_follower(void *argument, uint64_t done)
{
    struct follower *self = argument;
    double now = behind(self->kv, self->before, done);
    self->most = now > self->most ? now : self->most;
}

static void sustain(struct pair *pair, struct ckv_kv *store, bool dedicated,
                    struct sustained *results, unsigned round)
{
    enum { KEYS_PER_SECOND = 60000 };
    struct keys keys;
    struct follower follower = { .kv = store, .before = record_count(store) };
    make_keys(&keys, (size_t)KEYS_PER_SECOND * SUSTAINED_SECONDS);
    struct member_status a = ask_member(&pair->a), b = ask_member(&pair->b);
    uint64_t start = now_ns();
    uint64_t done = register_many(&pair->a, &keys, dedicated, SUSTAINED_SECONDS, 0,
                                  observe_follower, &follower);
    results->per_second[round] = (double)done / seconds_since(start);
    results->behind[round] = behind(store, follower.before, done);
    results->most_behind[round] = follower.most;
    start = now_ns();
    while (behind(store, follower.before, done) > 0)
        usleep(100);
    results->caught_up[round] = seconds_since(start);
    struct member_status a_then = ask_member(&pair->a), b_then = ask_member(&pair->b);
    results->by_commit[round] = (double)done / (double)(a_then.commits - a.commits);
    results->by_commit_b[round] = (double)done / (double)(b_then.commits - b.commits);
    free(keys.texts);
    tell("%s: %.0f/s, %.1f a commit, B %.0f behind (at most %.0f), caught up in %.1f ms",
         dedicated ? "dedicated" : "shared", results->per_second[round], results->by_commit[round],
         results->behind[round], follower.most, results->caught_up[round] * 1e3);
}

static void report_sustained(struct sustained *results, const char *kind, double target,
                             unsigned rounds)
{
    double per_second = median(results->per_second, rounds);
    row(cell("registers from empty stores, 64 in flight, logged, client key given, %s server key",
             kind)
            .text,
        cell("%s/s", grouped(per_second).text).text, no_target, no_target,
        cell("≥ %s/s", grouped(target).text).text, met(per_second >= target));
    row("… registrations in a commit of A; of B",
        cell("%.0f; %.0f", median(results->by_commit, rounds), median(results->by_commit_b, rounds))
            .text,
        no_target, no_target, no_target, no_target);
    row("… B behind at the end (at most meanwhile); caught up after",
        cell("%s (%s); %.0f ms", grouped(median(results->behind, rounds)).text,
             grouped(median(results->most_behind, rounds)).text,
             median(results->caught_up, rounds) * 1e3)
            .text,
        no_target, no_target, no_target, no_target);
}

static void sustain_on(struct pair *pair, bool dedicated, struct sustained *results, unsigned round)
{
    struct ckv_kv *store = view_store(pair->place_b.text);
    sustain(pair, store, dedicated, results, round);
    ckv_kv_close(&store);
}

/*  What a commit writes grows with the store, so each kind begins each round with empty ones.  */
static void bench_sustained(const char *dir, unsigned rounds)
{
    static struct sustained results[2];
    for (unsigned i = 0; i < 2 * rounds; i++) {
        bool dedicated = i % 2 == 0;
        struct pair pair;
        make_pair(&pair, dir, "sustained");
        start_both(&pair);
        sustain_on(&pair, dedicated, &results[dedicated], i / 2);
        stop_node(&pair.b);
        stop_node(&pair.a);
        drop_pair(&pair);
    }
    report_sustained(&results[true], "dedicated", 10000, rounds);
    report_sustained(&results[false], "shared", 20000, rounds);
}

/*  The same on two nodes that have many.  */
static void bench_sustained_full(struct pair *pair, uint64_t records)
{
    static struct sustained results[2];
    for (unsigned dedicated = 0; dedicated < 2; dedicated++)
        sustain_on(pair, dedicated, &results[dedicated], 0);
    row(cell("… the same with %s in the store: dedicated; shared", grouped((double)records).text)
            .text,
        cell("%s/s; %s/s", grouped(results[true].per_second[0]).text,
             grouped(results[false].per_second[0]).text)
            .text,
        no_target, no_target, no_target, no_target);
}

/*  ---- becoming equal ----  */

struct healing {
    double all[ROUNDS_MAX], repair[ROUNDS_MAX]; /* seconds from the fork; from the repair's begin */
    double octets[ROUNDS_MAX], records[ROUNDS_MAX];
    double memory_a[ROUNDS_MAX], memory_b[ROUNDS_MAX]; /* octets above before */
};

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/*  Starts B and waits until it has what A has.  */
static void heal(struct pair *pair, struct healing *results, unsigned round)
{
    enum { LOOK_EVERY_US = 4000, PATIENCE = 300 };
    struct ckv_kv *a = view_store(pair->place_a.text), *b;
    struct ckv_digest goal = root_digest(a);
    struct member_status status;
    struct member_status a_before = ask_member(&pair->a);
    double before_a = own_memory(pair->a.process), most_a = before_a, most_b = 0, repairing = 0;
    ckv_kv_close(&a);
    uint64_t start = now_ns();
    start_b(pair);
    status = ask_member(&pair->b);
    double before_b = own_memory(pair->b.process);
    double answered = seconds_since(start), equal = 0, seconds = 0;
    b = view_store(pair->place_b.text);
    while (equal == 0 || !status.complete) {
        most_a = larger(most_a, own_memory(pair->a.process));
        most_b = larger(most_b, own_memory(pair->b.process));
        status = ask_member(&pair->b);
        seconds = seconds_since(start);
        if (repairing == 0 && status.repairs)
            repairing = seconds;
        if (equal == 0 && ckv_digest_equal(root_digest(b), goal))
            equal = seconds;
        if (seconds > PATIENCE)
            fail("repair", "does not come to an end");
        usleep(LOOK_EVERY_US);
    }
    ckv_kv_close(&b);
    struct member_status a_then = ask_member(&pair->a);
    if (a_then.repairs > a_before.repairs)
        tell("A began %llu repairs of its own meanwhile, and appended %llu entries to the log",
             (unsigned long long)(a_then.repairs - a_before.repairs),
             (unsigned long long)(a_then.appended - a_before.appended));
    results->all[round] = seconds;
    results->repair[round] = seconds - repairing;
    results->octets[round] = (double)status.octets_repaired;
    results->records[round] = (double)status.records_received;
    results->memory_a[round] = most_a - before_a;
    results->memory_b[round] = most_b - before_b;
    tell("B answered after %.3f s, showed a repair at %.3f s, had A's digest at %.3f s, "
         "said that it is complete at %.3f s; %.0f records, %.0f octets; memory +%.1f MiB A, "
         "+%.1f MiB B (from %.1f)",
         answered, repairing, equal, seconds, results->records[round], results->octets[round],
         results->memory_a[round] / 1048576, results->memory_b[round] / 1048576,
         before_b / 1048576);
}

static void report_healing(struct healing *results, const char *what, double seconds, double octets,
                           unsigned rounds)
{
    enum { MEMORY = 64 }; /* MiB */
    double all = median(results->all, rounds), sent = median(results->octets, rounds);
    double memory_a = median(results->memory_a, rounds) / 1048576,
           memory_b = median(results->memory_b, rounds) / 1048576;
    row(cell("%s: from its start (from the begin of repair)", what).text,
        cell("%.2f s (%.2f s)", all, median(results->repair, rounds)).text, no_target, no_target,
        seconds > 0 ? cell("≤ %.0f s", seconds).text : no_target,
        seconds > 0 ? met(all <= seconds) : no_target);
    row("… octets of repair, sent and received", grouped(sent).text, no_target, no_target,
        octets > 0 ? cell("< %s", grouped(octets).text).text : no_target,
        octets > 0 ? met(sent < octets) : no_target);
    row("… memory above before: the node that had all; the other",
        cell("%.1f MiB; %.1f MiB", memory_a, memory_b).text, no_target, no_target,
        cell("≤ %d MiB", MEMORY).text, met(larger(memory_a, memory_b) <= MEMORY));
}

static void load_a(const struct pair *pair, uint64_t records)
{
    enum { BATCH = 50000 };
    struct fleet fleet;
    make_fleet(&fleet, records);
    struct ckv_kv *kv = open_store(pair->place_a.text, &fleet, true);
    load_store(kv, &fleet, BATCH);
    await_filter(kv);
    ckv_kv_close(&kv);
    drop_fleet(&fleet);
    sync();
}

static void bench_joining(struct pair *pair, uint64_t records, unsigned rounds)
{
    static struct healing results;
    double target = records == 1000000 ? 15 : records == 100000 ? 2 : 0;
    for (unsigned i = 0; i < rounds; i++) {
        if (i) {
            stop_node(&pair->b);
            remove_tree(pair->place_b.text);
            check_errno(mkdir(pair->place_b.text, 0700) == 0, pair->place_b.text);
        }
        heal(pair, &results, i);
    }
    report_healing(&results,
                   cell("an empty node joins a cluster of %s", grouped((double)records).text).text,
                   target, 0, rounds);
}

static void trim_log(const struct pair *pair)
{
    redisContext *context = connect_redis(&pair->redis);
    redisAppendCommand(context, "XTRIM " CLUSTER_LOG " MAXLEN 0");
    freeReplyObject(take_redis_reply(context));
    redisFree(context);
}

static void bench_difference(struct pair *pair, uint64_t records, unsigned rounds)
{
    static struct healing results;
    struct keys keys;
    make_keys(&keys, (size_t)DIFFERENT * rounds);
    for (unsigned i = 0; i < rounds; i++) {
        stop_node(&pair->b);
        register_many(&pair->a, &keys, false, 0, DIFFERENT, NULL, NULL);
        trim_log(pair);
        heal(pair, &results, i);
        if (results.records[i] < DIFFERENT)
            fail("repair", "brought less than the difference");
    }
    free(keys.texts);
    report_healing(&results,
                   cell("two nodes that differ in %s of %s become equal", grouped(DIFFERENT).text,
                        grouped((double)records).text)
                       .text,
                   records == 1000000 ? 1 : 0, 2e6, rounds);
}

/*  ---- all of it ----  */

static void bench_changes(const char *dir, unsigned rounds)
{
    struct pair pair;
    make_pair(&pair, dir, "changes");
    start_both(&pair);
    bench_propagation(&pair, rounds);
    stop_node(&pair.b);
    stop_node(&pair.a);
    drop_pair(&pair);
}

static void bench_repairs(const char *dir, uint64_t records, unsigned rounds, bool differ)
{
    struct pair pair;
    make_pair(&pair, dir, "repairs");
    load_a(&pair, records);
    start_a(&pair);
    await_member(&pair.a);
    bench_joining(&pair, records, rounds);
    if (differ)
        bench_difference(&pair, records, rounds);
    if (differ)
        bench_sustained_full(&pair, records);
    stop_node(&pair.b);
    stop_node(&pair.a);
    drop_pair(&pair);
}

static void bench(const struct options *options)
{
    bench_changes(options->dir, options->rounds);
    bench_sustained(options->dir, options->rounds);
    bench_repairs(options->dir, options->records / 10, options->rounds, false);
    bench_repairs(options->dir, options->records, options->rounds, true);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000000, .rounds = 3 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX)
        fail("bench_replication", "that is too much");
    return run_in_directory(&options, bench);
}
