/*  bench_import: how fast records go into a store, durably, and how large it is then.

    All records are sealed in memory beforehand, in an order that is random to their storage keys.
    Each side puts them into a new store, one commit (and so one fsync) for each batch: ckv_kv_merge
    with all its indexes and its filter here, mdb_put under the storage key and nothing else there.
    The largest batch is the one that counts, and runs in every round; the others run once.

    Then end to end: `curvekv import DUMP` into a running node, which verifies each record before it
    merges it. What it costs to start the command and read the dump is in the figure.
*/
#include "bench/node.h"
#include "node/dump.h"

enum { BATCH_THAT_COUNTS = 50000, ROUNDS_MAX = 99 };

struct result {
    double per_second, file, filter; /* octets */
};

static struct result import_store(const char *dir, const struct fleet *fleet, uint64_t batch)
{
    struct cell place = make_dir_in(dir, "store");
    struct ckv_kv *kv = open_store(place.text, fleet, false);
    struct result result = { .per_second = (double)fleet->count / load_store(kv, fleet, batch) };
    await_filter(kv);
    ckv_kv_close(&kv);
    result.file = size_of_file(path_in(place.text, "certificates.mdb").text);
    result.filter = size_of_file(path_in(place.text, "certificates.filter").text);
    remove_tree(place.text);
    return result;
}

static struct result import_bare(const char *dir, const struct fleet *fleet, uint64_t batch)
{
    struct bare bare;
    struct cell place = make_dir_in(dir, "bare");
    struct cell file = path_in(place.text, "bare.mdb");
    open_bare(&bare, file.text, 0);
    struct result result = { .per_second = (double)fleet->count / load_bare(&bare, fleet, batch) };
    mdb_env_close(bare.env);
    result.file = size_of_file(file.text);
    remove_tree(place.text);
    return result;
}

static void report_sizes(const struct fleet *fleet, uint64_t batch, const struct result *mine,
                         const struct result *bare)
{
    double octets = (double)fleet->size, count = (double)fleet->count;
    double times = (mine->file + mine->filter) / octets;
    struct cell batches = grouped((double)batch);
    row(cell("octets on disk by octet of record, filter included, batches of %s", batches.text)
            .text,
        cell("%.2f", times).text, cell("%.2f", bare->file / octets).text,
        cell("%.2f", (mine->file + mine->filter) / bare->file).text, "≤ 2.20", met(times <= 2.2));
    row(cell("a certificate on disk (record %.0f octets), batches of %s", octets / count,
             batches.text)
            .text,
        cell("%.0f + %.0f octets", mine->file / count, mine->filter / count).text,
        cell("%.0f octets", bare->file / count).text, no_target, no_target, no_target);
}

static void compare_batch(const char *dir, const struct fleet *fleet, uint64_t batch,
                          unsigned rounds, bool counts)
{
    double mine[ROUNDS_MAX], bare[ROUNDS_MAX];
    struct result my_result, bare_result;
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned j = 0; j < 2; j++) { /* who begins alternates */
            if ((i + j) % 2)
                bare_result = import_bare(dir, fleet, batch);
            else
                my_result = import_store(dir, fleet, batch);
        }
        mine[i] = my_result.per_second;
        bare[i] = bare_result.per_second;
    }
    /*  100,000/s where bare LMDB does 150,000/s, the middle of what the target names.  */
    double ratio = median_ratio(mine, bare, rounds), target = 100.0 / 150;
    row(cell("import, batches of %s", grouped((double)batch).text).text,
        cell("%s/s", grouped(median(mine, rounds)).text).text,
        cell("%s/s", grouped(median(bare, rounds)).text).text, cell("%.2f", ratio).text,
        counts ? cell("≥ %.2f", target).text : no_target,
        counts ? met(ratio >= target) : no_target);
    report_sizes(fleet, batch, &my_result, &bare_result);
}

/*  ---- through a node ----  */

static void write_dump(const char *path, const struct fleet *fleet)
{
    uint8_t head[CKV_DUMP_HEAD_SIZE], count[8];
    FILE *file = fopen(path, "w");
    check_errno(file != NULL, path);
    fputs(CKV_DUMP_MAGIC, file);
    for (uint64_t i = 0; i < fleet->count; i++) {
        struct ckv_octets record = fleet_record(fleet, i);
        ckv_dump_head(head, CKV_DUMP_RECORD, record.size);
        fwrite(head, sizeof(head), 1, file);
        fwrite(record.data, record.size, 1, file);
    }
    ckv_dump_head(head, CKV_DUMP_END, sizeof(count));
    ckv_put64(count, fleet->count);
    fwrite(head, sizeof(head), 1, file);
    fwrite(count, sizeof(count), 1, file);
    check_errno(fflush(file) == 0 && fsync(fileno(file)) == 0 && fclose(file) == 0, path);
}

static void import_through_node(const char *dir, const struct fleet *fleet)
{
    struct node node;
    struct cell place = make_dir_in(dir, "node"), dump = path_in(dir, "dump"),
                key_file = path_in(dir, "cluster.key");
    const char *const arguments[] = { "curvekv", "import", "--data", place.text, dump.text, NULL };
    write_dump(dump.text, fleet);
    write_bench_cluster_key(key_file.text);
    start_node(&node, place.text, key_file.text);
    json_decref(ask_status(&node));
    uint64_t start = now_ns();
    await_curvekv(start_curvekv(arguments));
    double seconds = seconds_since(start);
    json_t *status = ask_status(&node);
    if (json_integer_value(json_object_get(status, "certificates")) != (json_int_t)fleet->count)
        fail("curvekv import", "did not import everything");
    row("`curvekv import` of a dump into a running node",
        cell("%s/s, %lld commits", grouped((double)fleet->count / seconds).text,
             (long long)json_integer_value(json_object_get(status, "commits")))
            .text,
        no_target, no_target, no_target, no_target);
    double octets = size_of_file(path_in(place.text, "certificates.mdb").text) +
                    size_of_file(path_in(place.text, "certificates.filter").text);
    row("octets on disk by octet of record after that",
        cell("%.2f", octets / (double)fleet->size).text, no_target, no_target, "≤ 2.20",
        met(octets <= 2.2 * (double)fleet->size));
    json_decref(status);
    stop_node(&node);
}

static void bench(const struct options *options)
{
    struct fleet fleet;
    make_fleet(&fleet, options->records);
    compare_batch(options->dir, &fleet, BATCH_THAT_COUNTS, options->rounds, true);
    compare_batch(options->dir, &fleet, 10000, 1, false);
    compare_batch(options->dir, &fleet, 1000, 1, false);
    import_through_node(options->dir, &fleet);
    drop_fleet(&fleet);
}

int main(int argc, char **argv)
{
    struct options options = { .records = 1000000, .rounds = 3 };
    read_options(&options, argc, argv);
    if (options.rounds > ROUNDS_MAX)
        fail("bench_import", "that is too much");
    return run_in_directory(&options, bench);
}
