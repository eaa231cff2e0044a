/*  bench_start: how soon a node over a full store answers.

    A node is started over N certificates, and asked at once, over a socket that was connecting
    before it was there: first for its status, then for a certificate, then for its status again
    until its filter is ready. The clock starts before the fork that makes its process, so all of
    exec, linking and opening is in the figures.

    Warm, the store is in the page cache. Cold, its pages were dropped from there before each start,
    as far as a process may do that that is not root: posix_fadvise on the closed file. What lies
    below the kernel (a hypervisor's cache, the disk's own) stays.

    Beside it, what a bare LMDB takes to open the same records and get one, in a process that runs
    already: not a peer, since it answers nobody, but the floor.
*/
#include "bench/node.h"
#include "node/library/curvekv.h"

enum { ROUNDS_MAX = 99 };

/*  Seconds from the start.  */
struct times {
    double status[ROUNDS_MAX], resolve[ROUNDS_MAX], library[ROUNDS_MAX], filter[ROUNDS_MAX],
        bare[ROUNDS_MAX];
};

struct places {
    struct cell node, store, bare, key_file;
};

/*  A storage key and its text.  */
struct known {
    struct ckv_storage_key key;
    char text[CKV_STORAGE_KEY_TEXT_SIZE];
};

static void drop_from_cache(const char *path)
{
    int fd = open(path, O_RDONLY);
    check_errno(fd >= 0, path);
    check_errno(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
    close(fd);
}

static void resolve_by_library(const struct places *places, const struct known *known)
{
    struct ckv_store *store;
    struct ckv_certificate view;
    check(ckv_store_open(&store, places->node.text), "the store");
    check(ckv_store_resolve(store, known->key.octets, known->key.size, &view), "resolve");
    ckv_store_close(&store);
}

static void time_node(const struct places *places, const struct known *known, struct times *times,
                      unsigned round)
{
    struct node node;
    bool filter_ready = false;
    uint64_t start = now_ns();
    start_node(&node, places->node.text, places->key_file.text);
    json_decref(ask_status(&node));
    times->status[round] = seconds_since(start);
    json_decref(
        ask_node(&node, json_pack("{ssss}", "command", "resolve", "storage_key", known->text)));
    times->resolve[round] = seconds_since(start);
    resolve_by_library(places, known);
    times->library[round] = seconds_since(start);
    while (!filter_ready) {
        json_t *status = ask_status(&node);
        filter_ready = json_is_true(json_object_get(status, "filter_ready"));
        json_decref(status);
        usleep(500);
    }
    times->filter[round] = seconds_since(start);
    stop_node(&node);
}

static double time_bare(const struct places *places, const struct known *known)
{
    struct bare bare;
    MDB_txn *txn;
    MDB_val key = mdb_value(ckv_storage_key_octets(&known->key)), value;
    uint64_t start = now_ns();
    open_bare(&bare, places->bare.text, MDB_RDONLY);
    check_mdb(mdb_txn_begin(bare.env, NULL, MDB_RDONLY, &txn), "begin");
    check_mdb(mdb_get(txn, bare.dbi, &key, &value), "get");
    double seconds = seconds_since(start);
    mdb_txn_abort(txn);
    mdb_env_close(bare.env);
    return seconds;
}

static void report(const char *what, const char *how, double *mine, double *bare, unsigned rounds,
                   bool has_target)
{
    double middle = median(mine, rounds), worst = mine[rounds - 1];
    row(cell("a node starts, %s: %s (median; worst)", how, what).text,
        cell("%.0f ms; %.0f ms", middle * 1e3, worst * 1e3).text,
        bare ? cell("%.1f ms", median(bare, rounds) * 1e3).text : no_target, no_target,
        has_target ? "< 1000 ms" : no_target, has_target ? met(worst < 1) : no_target);
}

static void time_starts(const struct places *places, const struct known *known, unsigned rounds,
                        bool cold)
{
    static struct times times;
    const char *how = cold ? "cold" : "warm";
    for (unsigned i = 0; i < rounds; i++) {
        if (cold) {
            drop_from_cache(places->store.text);
            drop_from_cache(places->bare.text);
        }
        times.bare[i] = time_bare(places, known);
        time_node(places, known, &times, i);
    }
    report("first status answered", how, times.status, NULL, rounds, true);
    report("first resolve answered", how, times.resolve, times.bare, rounds, true);
    report("first resolve by a process with libcurvekv", how, times.library, NULL, rounds, true);
    report("filter ready", how, times.filter, NULL, rounds, false);
}

static void load_all(const struct places *places, const struct fleet *fleet)
{
    enum { BATCH = 50000 };
    struct bare bare;
    struct ckv_kv *kv = open_store(places->node.text, fleet, true);
    load_store(kv, fleet, BATCH);
    ckv_kv_close(&kv);
    open_bare(&bare, places->bare.text, MDB_NOSYNC);
    load_bare(&bare, fleet, BATCH);
    mdb_env_close(bare.env);
    write_bench_cluster_key(places->key_file.text);
}

static void choose_known(struct known *known, const struct fleet *fleet)
{
    struct ckv_certificate view;
    fleet_view(fleet, fleet->count / 2, &view);
    check(ckv_storage_key_set(&known->key, view.storage_key), "a storage key");
    ckv_storage_key_text(view.storage_key, known->text);
}

static void bench(const struct options *options)
{
    struct fleet fleet;
    struct known known;
    struct places places = {
        .node = make_dir_in(options->dir, "node"),
        .store = path_in(options->dir, "node/certificates.mdb"),
        .bare = path_in(options->dir, "bare.mdb"),
        .key_file = path_in(options->dir, "cluster.key"),
    };
    make_fleet(&fleet, options->records);
    choose_known(&known, &fleet);
    load_all(&places, &fleet);
    drop_fleet(&fleet);
    sync();
    tell("cold: pages dropped by posix_fadvise; dropping all caches takes root and is not done");
    time_starts(&places, &known, options->rounds, false);
    time_starts(&places, &known, options->rounds, true);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000000, .rounds = 5 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX)
        fail("bench_start", "that is too much");
    return run_in_directory(&options, bench);
}
