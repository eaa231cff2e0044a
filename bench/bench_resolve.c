/*  bench_resolve: what a resolve costs beside a bare mdb_get of the same records.

    A child writes both stores; this process reads them, through libcurvekv on one side and in one
    long read transaction on the other: first while the writer lives, then after it has closed. Both
    sides look up the same random keys, laid out beforehand in the order in which they are asked
   for, and read the same fields of what they find. The libcurvekv side takes a new snapshot for
   each resolve, as ckv_store_resolve promises; the bare side keeps its one.

    A sample is one call between two clock_gettime; what the clock itself costs is told, and is in
    the samples of both sides. Both stores were read through once before, so that no figure holds a
    page fault.

    That a resolve takes no memory, no lock and no system call is counted, not timed: the allocator
    and the lock functions of this program count their calls, and a child under strict seccomp,
   which the kernel kills at its first system call, does the same resolves and lives.
*/
#include "bench/measure.h"
#include "node/library/curvekv.h"

#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/syscall.h>

enum { SAMPLES = 200000, PROOFS = 100000, LOAD_BATCH = 50000 };

/*  ---- counting calls ----  */

static uint64_t allocations, locks;

/*  What libcurvekv and liblmdb call is found here first; libc's own are behind.  */
#define COUNTED __attribute__((visibility("default")))
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

COUNTED void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

COUNTED void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

COUNTED void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}

COUNTED void free(void *old)
{
    allocations++;
    __libc_free(old);
}

typedef int lock_function(pthread_mutex_t *mutex);

static int lock_with(const char *name, pthread_mutex_t *mutex)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    lock_function *lock;
    memcpy(&lock, &symbol, sizeof(lock));
    locks++;
    return lock(mutex);
}

COUNTED int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return lock_with("pthread_mutex_lock", mutex);
}

COUNTED int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return lock_with("pthread_mutex_trylock", mutex);
}

/*  ---- the operations ----  */

/*  Both sides of the comparison, open for reading, and the sum of what was read of the records, so
    that no reading can be left out.  */
struct sides {
    struct ckv_store *store;
    struct bare bare;
    MDB_txn *txn;
    uint64_t sum;
};

static uint64_t fold(const uint8_t *octets, size_t size)
{
    uint64_t sum = 0, part;
    for (; size >= sizeof(part); size -= sizeof(part), octets += sizeof(part)) {
        memcpy(&part, octets, sizeof(part));
        sum ^= part;
    }
    while (size--)
        sum += octets[size];
    return sum;
}

static uint64_t read_view(const struct ckv_certificate *view)
{
    return (uint64_t)view->state + view->not_after + fold(view->client_public_key, 32) +
           fold(view->server_public_key, 32) +
           fold(view->organisation.data, view->organisation.size) +
           fold(view->number.data, view->number.size);
}

/*  The same fields without a check.  */
static uint64_t read_record(const struct ckv_record *record)
{
    const uint8_t *parts = (const uint8_t *)(record + 1);
    size_t organisation_size = ckv_get16(record->organisation_size);
    return (uint64_t)record->state + ckv_get64(record->not_after) +
           fold(record->client_public_key, 32) + fold(record->server_public_key, 32) +
           fold(parts, organisation_size) +
           fold(parts + organisation_size, ckv_get16(record->number_size));
}

/*  Looks up the 32 octets at KEY. Returns whether they were found.  */
typedef bool operation(struct sides *sides, const uint8_t *key);

static bool resolve(struct sides *sides, const uint8_t *key)
{
    struct ckv_certificate view;
    if (ckv_store_resolve(sides->store, key, 32, &view) != CKV_OK)
        return false;
    sides->sum += read_view(&view);
    return true;
}

static bool resolve_client(struct sides *sides, const uint8_t *key)
{
    struct ckv_certificate view;
    if (ckv_store_resolve_client(sides->store, key, &view) != CKV_OK)
        return false;
    sides->sum += read_view(&view);
    return true;
}

static bool get_bare(struct sides *sides, const uint8_t *key)
{
    MDB_val name = { 32, (void *)key }, value;
    if (mdb_get(sides->txn, sides->bare.dbi, &name, &value) != MDB_SUCCESS)
        return false;
    sides->sum += read_record(value.mv_data);
    return true;
}

static bool nothing(struct sides *sides, const uint8_t *key)
{
    sides->sum += *key;
    return true;
}

static void open_sides(struct sides *self, const char *dir)
{
    memset(self, 0, sizeof(*self));
    check(ckv_store_open(&self->store, path_in(dir, "curvekv").text), "the store");
    open_bare(&self->bare, path_in(dir, "bare.mdb").text, MDB_RDONLY);
    check_mdb(mdb_txn_begin(self->bare.env, NULL, MDB_RDONLY, &self->txn), "begin");
}

static void close_sides(struct sides *self)
{
    ckv_store_close(&self->store);
    mdb_txn_abort(self->txn);
    mdb_env_close(self->bare.env);
}

/*  ---- keys, in the order in which they are asked for ----  */

typedef uint8_t key[32];

struct keys {
    key *known, *clients, *unknown; /* SAMPLES for each round */
    key *all;                       /* every storage key once, shuffled */
};

static void choose_keys(struct keys *self, const struct fleet *fleet, unsigned rounds)
{
    struct ckv_certificate view;
    size_t count = (size_t)SAMPLES * rounds;
    self->known = take_memory(count * sizeof(key));
    self->clients = take_memory(count * sizeof(key));
    self->unknown = take_memory(count * sizeof(key));
    self->all = take_memory(fleet->count * sizeof(key));
    randombytes_buf(self->unknown, count * sizeof(key));
    for (size_t i = 0; i < count; i++) {
        fleet_view(fleet, randombytes_uniform((uint32_t)fleet->count), &view);
        memcpy(self->known[i], view.storage_key.data, sizeof(key));
        memcpy(self->clients[i], view.client_public_key, sizeof(key));
    }
    for (uint64_t i = 0; i < fleet->count; i++) {
        uint64_t other = randombytes_uniform((uint32_t)(i + 1));
        memcpy(self->all[i], self->all[other], sizeof(key));
        fleet_view(fleet, i, &view);
        memcpy(self->all[other], view.storage_key.data, sizeof(key));
    }
}

/*  ---- measuring ----  */

struct figures {
    double p50, p99, per_second; /* nanoseconds; the last without a clock around each call */
};

static void expect(bool found, bool wanted)
{
    if (found != wanted)
        fail("bench_resolve", wanted ? "a known key was not found" : "an unknown key was found");
}

static struct figures measure(struct sides *sides, operation *run, key *keys, bool found)
{
    static double samples[SAMPLES];
    uint64_t start = now_ns();
    for (size_t i = 0; i < SAMPLES; i++)
        expect(run(sides, keys[i]), found);
    double seconds = seconds_since(start);
    for (size_t i = 0; i < SAMPLES; i++) {
        uint64_t before = now_ns();
        bool was_found = run(sides, keys[i]);
        samples[i] = (double)(now_ns() - before);
        expect(was_found, found);
    }
    struct figures figures = { .p50 = median(samples, SAMPLES), .per_second = SAMPLES / seconds };
    figures.p99 = samples[SAMPLES / 100 * 99];
    return figures;
}

/*  A comparison: one operation of ours against one of theirs, over the same or like keys.  */
struct comparison {
    const char *what;
    operation *mine, *bare;
    key *my_keys, *bare_keys;
    bool found;
    double target; /* of the p50, as a ratio; 0: none */
};

enum { ROUNDS_MAX = 99 };

/*  With BRIEF, only what has a target is in the table.  */
static void compare(struct sides *sides, const struct comparison *what, const char *when,
                    unsigned rounds, bool brief)
{
    double mine[3][ROUNDS_MAX], bare[3][ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++) {
        struct figures figures[2];
        for (unsigned j = 0; j < 2; j++) { /* who begins alternates */
            bool ours = (i + j) % 2 == 0;
            figures[ours] = measure(sides, ours ? what->mine : what->bare,
                                    (ours ? what->my_keys : what->bare_keys) + (size_t)i * SAMPLES,
                                    what->found);
        }
        mine[0][i] = figures[1].p50, bare[0][i] = figures[0].p50;
        mine[1][i] = figures[1].p99, bare[1][i] = figures[0].p99;
        mine[2][i] = figures[1].per_second, bare[2][i] = figures[0].per_second;
    }
    double ratios[3];
    for (int i = 0; i < 3; i++) /* before median sorts */
        ratios[i] = median_ratio(mine[i], bare[i], rounds);
    row(cell("%s%s, p50", what->what, when).text, cell("%.0f ns", median(mine[0], rounds)).text,
        cell("%.0f ns", median(bare[0], rounds)).text, cell("%.2f", ratios[0]).text,
        what->target > 0 ? cell("≤ %.2f", what->target).text : no_target,
        what->target > 0 ? met(ratios[0] <= what->target) : no_target);
    if (brief)
        return;
    row(cell("%s%s, p99", what->what, when).text, cell("%.0f ns", median(mine[1], rounds)).text,
        cell("%.0f ns", median(bare[1], rounds)).text, cell("%.2f", ratios[1]).text, no_target,
        no_target);
    row(cell("%s%s, one thread", what->what, when).text,
        cell("%s/s", grouped(median(mine[2], rounds)).text).text,
        cell("%s/s", grouped(median(bare[2], rounds)).text).text, cell("%.2f", ratios[2]).text,
        no_target, no_target);
}

/*  Reads both stores through once.  */
static void warm(struct sides *sides, const struct keys *keys, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        expect(resolve(sides, keys->all[i]) && get_bare(sides, keys->all[i]), true);
}

static void compare_all(const struct options *options, const struct keys *keys, const char *when,
                        bool brief)
{
    struct sides sides;
    const struct comparison comparisons[] = {
        { "resolve a known key", resolve, get_bare, keys->known, keys->known, true, 1.15 },
        { "resolve an unknown key", resolve, get_bare, keys->unknown, keys->unknown, false, 0.2 },
        { "resolve by client public key (bare: by storage key)", resolve_client, get_bare,
          keys->clients, keys->known, true, 0 },
    };
    open_sides(&sides, options->dir);
    warm(&sides, keys, options->records);
    tell("a sample of nothing takes %.0f ns, which is in every p50 and p99",
         measure(&sides, nothing, keys->known, true).p50);
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(*comparisons); i++)
        if (!brief || comparisons[i].target > 0)
            compare(&sides, &comparisons[i], when, options->rounds, brief);
    close_sides(&sides);
}

/*  ---- proving ----  */

static void resolve_many(struct sides *sides, operation *run, key *keys, bool found)
{
    for (size_t i = 0; i < PROOFS; i++)
        expect(run(sides, keys[i]), found);
}

/*  Whether PROOFS resolves, in a child that may make no system call, end well. A NULL RUN makes
   one, to show that the child is killed for it.  */
static bool makes_no_system_call(const char *dir, operation *run, key *keys, bool found)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct sides sides;
        open_sides(&sides, dir); /* a store is no good across a fork */
        check_errno(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0, "seccomp");
        if (run)
            resolve_many(&sides, run, keys, found);
        else
            syscall(SYS_getppid);
        syscall(SYS_exit, 0); /* exit_group, which exit makes, is forbidden too */
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void prove(const char *dir, const char *what, operation *run, key *keys, bool found,
                  bool has_target)
{
    struct sides sides;
    open_sides(&sides, dir);
    resolve_many(&sides, run, keys, found);
    uint64_t allocated = allocations, locked = locks;
    resolve_many(&sides, run, keys, found);
    allocated = allocations - allocated;
    locked = locks - locked;
    close_sides(&sides);
    bool silent = makes_no_system_call(dir, run, keys, found);
    row(cell("%s: calls of the allocator, locks, system calls, in %s", what, grouped(PROOFS).text)
            .text,
        cell("%s, %s, %s", grouped((double)allocated).text, grouped((double)locked).text,
             silent ? "0" : "some")
            .text,
        no_target, no_target, has_target ? "0, 0, 0" : no_target,
        has_target ? met(!allocated && !locked && silent) : no_target);
}

static void prove_all(const char *dir, const struct keys *keys)
{
    if (!allocations || !locks)
        fail("bench_resolve", "the counters of calls do not count");
    if (makes_no_system_call(dir, NULL, NULL, false))
        fail("bench_resolve", "strict seccomp lets system calls pass");
    prove(dir, "resolve a known key", resolve, keys->known, true, true);
    prove(dir, "resolve an unknown key", resolve, keys->unknown, false, true);
    prove(dir, "resolve by client public key", resolve_client, keys->clients, true, false);
}

/*  ---- the writer ----  */

struct writer {
    pid_t process;
    int reports, orders; /* pipes */
};

/*  Writes both stores, says so, and holds them open until it is told to close.  */
static void write_stores(const char *dir, const struct fleet *fleet, int report, int order)
{
    struct bare bare;
    char octet = 0;
    struct ckv_kv *kv = open_store(make_dir_in(dir, "curvekv").text, fleet, true);
    double seconds = load_store(kv, fleet, LOAD_BATCH);
    await_filter(kv);
    open_bare(&bare, path_in(dir, "bare.mdb").text, MDB_NOSYNC);
    tell("loaded both stores without fsync, in %.1f s and %.1f s", seconds,
         load_bare(&bare, fleet, LOAD_BATCH));
    mdb_env_sync(bare.env, 1);
    check_errno(write(report, &octet, 1) == 1, "pipe");
    if (read(order, &octet, 1) < 0)
        fail("pipe", strerror(errno));
    ckv_kv_close(&kv);
    mdb_env_close(bare.env);
}

static void start_writer(struct writer *self, const char *dir, const struct fleet *fleet)
{
    int reports[2], orders[2];
    char octet;
    check_errno(pipe(reports) == 0 && pipe(orders) == 0, "pipe");
    self->process = fork();
    if (self->process == 0) {
        end_with_parent();
        close(orders[1]);
        write_stores(dir, fleet, reports[1], orders[0]);
        exit(0);
    }
    close(reports[1]);
    close(orders[0]);
    self->reports = reports[0];
    self->orders = orders[1];
    if (read(self->reports, &octet, 1) != 1)
        fail("the writer", "ended early");
}

static void stop_writer(struct writer *self)
{
    int status;
    close(self->orders);
    close(self->reports);
    waitpid(self->process, &status, 0);
}

static void bench(const struct options *options)
{
    struct fleet fleet;
    struct keys keys;
    struct writer writer;
    make_fleet(&fleet, options->records);
    choose_keys(&keys, &fleet, options->rounds);
    start_writer(&writer, options->dir, &fleet);
    drop_fleet(&fleet);
    compare_all(options, &keys, "", false);
    prove_all(options->dir, &keys);
    stop_writer(&writer);
    compare_all(options, &keys, ", node closed", true);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000000, .rounds = 5 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX || options.records > UINT32_MAX)
        fail("bench_resolve", "that is too much");
    return run_in_directory(&options, bench);
}
