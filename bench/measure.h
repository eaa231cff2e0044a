/*  measure: what the benchmarks share: a clock, sealed records, and the two stores side by side.

    Every figure is taken on both sides in the same run, in rounds that alternate, and what counts
   is the ratio: the machine's own pace falls out of it. A program prints the rows of a Markdown
   table on standard output (bench/run puts the head on it) and tells on standard error what it
   does.

    The peer is bare LMDB: the same records, in the same order and batches, under their storage key
    in one named database, opened with the same flags, and nothing else.

    The records are sealed truly, with core's functions; only the key pairs in them are random
    octets, since making a million pairs would take half a minute and change no octet's place.
*/
#ifndef CKV_BENCH_MEASURE_H
#define CKV_BENCH_MEASURE_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "kv/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*  ---- failing, telling, counting time ----  */

/*  A benchmark that cannot go on has nothing to say but why.  */
static inline _Noreturn void fail(const char *what, const char *reason)
{
    fprintf(stderr, "%s: %s\n", what, reason);
    exit(1);
}

static inline void check(int rc, const char *what)
{
    if (rc < 0)
        fail(what, ckv_strerror(rc));
}

static inline void check_mdb(int rc, const char *what)
{
    if (rc != MDB_SUCCESS)
        fail(what, mdb_strerror(rc));
}

static inline void check_errno(bool good, const char *what)
{
    if (!good)
        fail(what, strerror(errno));
}

static inline void *take_memory(size_t size)
{
    void *memory = malloc(size);
    check_errno(memory != NULL, "memory");
    return memory;
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline double seconds_since(uint64_t start)
{
    return (double)(now_ns() - start) / 1e9;
}

static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/*  The middle one of COUNT values, which are sorted by this.  */
static inline double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/*  The median of the ratios of pairs, each taken in one round.  */
static inline double median_ratio(const double *mine, const double *bare, size_t count)
{
    double *ratios = take_memory(count * sizeof(*ratios));
    for (size_t i = 0; i < count; i++)
        ratios[i] = mine[i] / bare[i];
    double middle = median(ratios, count);
    free(ratios);
    return middle;
}

/*  ---- the table ----  */

/*  A cell; lives as long as the expression that it is made in.  */
struct cell {
    char text[128];
};

__attribute__((format(printf, 1, 2))) static inline struct cell cell(const char *format, ...)
{
    struct cell self;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self.text, sizeof(self.text), format, arguments);
    va_end(arguments);
    return self;
}

/*  A number as a person reads it: 1234567 is "1,234,567".  */
static inline struct cell grouped(double value)
{
    struct cell plain = cell("%.0f", value), self = { "" };
    size_t size = strlen(plain.text), put = 0;
    for (size_t i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0)
            self.text[put++] = ',';
        self.text[put++] = plain.text[i];
    }
    self.text[put] = 0;
    return self;
}

static const char no_target[] = "";

static inline const char *met(bool is)
{
    return is ? "yes" : "**no**";
}

static inline void row(const char *what, const char *mine, const char *bare, const char *ratio,
                       const char *target, const char *is_met)
{
    printf("| %s | %s | %s | %s | %s | %s |\n", what, mine, bare, ratio, target, is_met);
    fflush(stdout);
}

__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/*  ---- options and the directory ----  */

struct options {
    uint64_t records;
    unsigned rounds;
    char dir[1024];
};

static inline _Noreturn void usage(const char *program, const struct options *defaults)
{
    fprintf(stderr,
            "usage: %s [--records N] [--rounds N] [--dir DIR]\n"
            "  --records N  certificates in the stores (%llu)\n"
            "  --rounds N   of which the median counts (%u)\n"
            "  --dir DIR    where the data lie meanwhile, on a disk (./bench-data.PID)\n",
            program, (unsigned long long)defaults->records, defaults->rounds);
    exit(2);
}

/*  SELF holds the defaults.  */
static inline void read_options(struct options *self, int argc, char **argv)
{
    snprintf(self->dir, sizeof(self->dir), "bench-data.%d", (int)getpid());
    struct options defaults = *self;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && strcmp(argv[i], "--records") == 0)
            self->records = strtoull(value, NULL, 10);
        else if (value && strcmp(argv[i], "--rounds") == 0)
            self->rounds = (unsigned)strtoul(value, NULL, 10);
        else if (value && strcmp(argv[i], "--dir") == 0)
            snprintf(self->dir, sizeof(self->dir), "%s", value);
        else
            usage(argv[0], &defaults);
    }
    if (self->records < 1000 || !self->rounds)
        usage(argv[0], &defaults);
}

static inline int remove_entry(const char *path, const struct stat *status, int type,
                               struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static inline void remove_tree(const char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/*  For a child: whatever ends the benchmark, ^C or a kill, leaves no process behind.  */
static inline void end_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/*  Runs WORK in a child and a new directory, and removes the directory whatever became of the
    child. Returns the program's exit status.  */
static inline int run_in_directory(const struct options *options,
                                   void (*work)(const struct options *options))
{
    if (sodium_init() < 0)
        fail("libsodium", "cannot be initialised");
    check_errno(mkdir(options->dir, 0700) == 0, options->dir);
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        end_with_parent();
        work(options);
        exit(0);
    }
    signal(SIGINT, SIG_IGN); /* the terminal's: the child ends of it */
    waitpid(child, &status, 0);
    remove_tree(options->dir);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline struct cell path_in(const char *dir, const char *name)
{
    return cell("%.90s/%.30s", dir, name);
}

static inline struct cell make_dir_in(const char *dir, const char *name)
{
    struct cell path = path_in(dir, name);
    check_errno(mkdir(path.text, 0700) == 0, path.text);
    return path;
}

static inline double size_of_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (double)status.st_size : 0;
}

/*  ---- records ----  */

static const uint8_t bench_cluster_key[CKV_CLUSTER_KEY_SIZE + 1] =
    "a cluster key for bench, no more";

/*  All records of a run, sealed, one behind the other in the order of client numbers. Storage keys
    are derived, so to a tree that is sorted by them this order is random.  */
struct fleet {
    struct ckv_cluster_key *cluster_key;
    uint64_t count;
    uint8_t *octets;
    size_t size;
    size_t *begins; /* COUNT + 1 */
};

static inline struct ckv_octets fleet_record(const struct fleet *self, uint64_t i)
{
    return ckv_octets(self->octets + self->begins[i], self->begins[i + 1] - self->begins[i]);
}

static inline void fleet_view(const struct fleet *self, uint64_t i, struct ckv_certificate *view)
{
    struct ckv_octets record = fleet_record(self, i);
    check(ckv_certificate_parse(view, record.data, record.size), "a record");
}

/*  Writes the record of client I at RECORD and returns its size.  */
static inline size_t seal_record(const struct ckv_cluster_key *cluster_key, uint64_t i,
                                 uint8_t *record)
{
    uint8_t metadata[64], nonce[CKV_RECORD_NONCE_SIZE], keys[3][32];
    size_t metadata_size = 0, size;
    struct ckv_storage_key storage_key;
    struct cell number = cell("%llu", (unsigned long long)i);
    struct cell email = cell("client%llu@acme.example", (unsigned long long)i);
    randombytes_buf(keys, sizeof(keys));
    randombytes_buf(nonce, sizeof(nonce));
    check(ckv_properties_put(metadata, sizeof(metadata), &metadata_size, ckv_octets_text("email"),
                             ckv_octets_text(email.text)),
          "metadata");
    struct ckv_certificate certificate = {
        .client_public_key = keys[0],
        .server_public_key = keys[1],
        .organisation = ckv_octets_text("ACME"),
        .number = ckv_octets_text(number.text),
        .metadata = ckv_octets(metadata, metadata_size),
        .revision = (UINT64_C(1700000000000) + i) << 16,
        .revised_by = 1,
        .created = UINT64_C(1700000000000) + i,
        .created_by = 1,
        .not_after = UINT64_C(4000000000000),
        .state = CKV_STATE_ACTIVE,
        .dedicated = 1,
    };
    ckv_storage_key_derive(&storage_key, cluster_key, keys[0], keys[1], certificate.organisation,
                           certificate.number);
    certificate.storage_key = ckv_storage_key_octets(&storage_key);
    check(ckv_certificate_seal(&certificate, keys[2], cluster_key, nonce, record, &size),
          "sealing a record");
    return size;
}

static inline void make_fleet(struct fleet *self, uint64_t count)
{
    enum { ROOM = 512 }; /* more than one record takes */
    uint64_t start = now_ns();
    check(ckv_cluster_key_new(&self->cluster_key, bench_cluster_key), "the cluster key");
    self->count = count;
    self->size = 0;
    self->octets = take_memory(count * ROOM);
    self->begins = take_memory((count + 1) * sizeof(*self->begins));
    for (uint64_t i = 0; i < count; i++) {
        self->begins[i] = self->size;
        self->size += seal_record(self->cluster_key, i, self->octets + self->size);
    }
    self->begins[count] = self->size;
    tell("made %s records of %.1f octets in %.1f s", grouped((double)count).text,
         (double)self->size / (double)count, seconds_since(start));
}

static inline void drop_fleet(struct fleet *self)
{
    ckv_cluster_key_destroy(&self->cluster_key);
    free(self->octets);
    free(self->begins);
}

/*  ---- curvekv's store ----  */

static inline struct ckv_kv *open_store(const char *dir, const struct fleet *fleet, bool no_sync)
{
    struct ckv_kv *self;
    struct ckv_kv_options options = { .directory = dir, .no_sync = no_sync };
    memcpy(options.index_key, fleet->cluster_key->index_key, CKV_INDEX_KEY_SIZE);
    check(ckv_kv_open(&self, "lmdb", &options), dir);
    return self;
}

/*  Merges all records, one commit for BATCH of them. Returns the seconds it took.  */
static inline double load_store(struct ckv_kv *self, const struct fleet *fleet, uint64_t batch)
{
    struct ckv_kv_txn *txn;
    struct ckv_certificate certificate;
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < fleet->count;) {
        check(ckv_kv_begin(self, CKV_KV_WRITE, &txn), "begin");
        for (uint64_t end = i + batch; i < end && i < fleet->count; i++) {
            fleet_view(fleet, i, &certificate);
            check(ckv_kv_merge(txn, &certificate), "merge");
        }
        check(ckv_kv_commit(&txn), "commit");
    }
    return seconds_since(start);
}

static inline void await_filter(struct ckv_kv *self)
{
    struct ckv_kv_stats stats;
    do {
        usleep(1000);
        check(ckv_kv_stats(self, &stats), "stats");
    } while (!stats.filter_ready);
}

/*  ---- bare LMDB ----  */

struct bare {
    MDB_env *env;
    MDB_dbi dbi;
};

/*  FLAGS: MDB_RDONLY, MDB_NOSYNC.  */
static inline void open_bare(struct bare *self, const char *path, unsigned flags)
{
    MDB_txn *txn;
    check_mdb(mdb_env_create(&self->env), "env");
    mdb_env_set_maxdbs(self->env, 1);
    mdb_env_set_mapsize(self->env, (size_t)64 << 30);
    check_mdb(mdb_env_open(self->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | flags, 0600),
              path);
    check_mdb(mdb_txn_begin(self->env, NULL, flags & MDB_RDONLY, &txn), "begin");
    check_mdb(mdb_dbi_open(txn, "records", flags & MDB_RDONLY ? 0 : MDB_CREATE, &self->dbi),
              "database");
    check_mdb(mdb_txn_commit(txn), "commit");
}

static inline MDB_val mdb_value(struct ckv_octets octets)
{
    return (MDB_val){ octets.size, (void *)octets.data };
}

/*  As load_store.  */
static inline double load_bare(struct bare *self, const struct fleet *fleet, uint64_t batch)
{
    MDB_txn *txn;
    struct ckv_certificate certificate;
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < fleet->count;) {
        check_mdb(mdb_txn_begin(self->env, NULL, 0, &txn), "begin");
        for (uint64_t end = i + batch; i < end && i < fleet->count; i++) {
            fleet_view(fleet, i, &certificate);
            MDB_val key = mdb_value(certificate.storage_key);
            MDB_val value = mdb_value(certificate.record);
            check_mdb(mdb_put(txn, self->dbi, &key, &value, 0), "put");
        }
        check_mdb(mdb_txn_commit(txn), "commit");
    }
    return seconds_since(start);
}

#endif
