/*  stores: what the tests of kv/ share. The engines, what is said of each, and a store in a
    directory of its own for each test.

        static void a_promise(void **state)
        {
            struct fixture *self = *state;
            assert_int_equal(merge_alone(self, (struct plan){ .number = 1 }), CKV_KV_NEW);
        }

        static const struct test tests[] = { TEST(a_promise, ANY) };

        int main(void)
        {
            return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
        }
*/
#ifndef CKV_TESTS_STORES_H
#define CKV_TESTS_STORES_H

#include "kv/engine.h"
#include "tests/unit/records.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

/*  What an engine is, for the tests.  */
enum trait { ANY = 0, DURABLE = 1, IN_MEMORY = 2, ANY_KEY = 4, NUMBERS = 8, SQL = 16, PILES = 32 };

/*  A promise, and which traits an engine has that makes it. Other engines are not tested for it. */
struct test {
    const char *name;
    void (*function)(void **state);
    unsigned traits;
};

/* clang-format off */
#define TEST(name, traits) { #name, name, traits }
/* clang-format on */

struct engine {
    const char *name;
    unsigned traits;
    const char *file;
};

static const struct engine engines[] = {
    { "lmdb", DURABLE | ANY_KEY | PILES, "certificates.mdb" },
    { "sqlite", DURABLE | ANY_KEY | SQL, "certificates.sqlite" },
    { "memory", IN_MEMORY | ANY_KEY, NULL },
    { "array", IN_MEMORY | NUMBERS, NULL },
};

struct fixture {
    const struct engine *engine;
    struct ckv_cluster_key *key;
    struct ckv_kv_options options;
    struct ckv_kv *kv;
    char directory[256];
    struct sealed a, b; /* room for records */
};

/*  ---- helpers ----  */

static inline void open_store(struct fixture *self)
{
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options), CKV_OK);
}

static inline struct ckv_kv_txn *begin(struct fixture *self, enum ckv_kv_mode mode)
{
    struct ckv_kv_txn *txn;
    assert_int_equal(ckv_kv_begin(self->kv, mode, &txn), CKV_OK);
    return txn;
}

static inline void commit(struct ckv_kv_txn *txn)
{
    assert_int_equal(ckv_kv_commit(&txn), CKV_OK);
    assert_null(txn);
}

static inline int merge_plan(struct fixture *self, struct ckv_kv_txn *txn, struct plan plan)
{
    make_record(&self->a, self->key, plan);
    return ckv_kv_merge(txn, &self->a.view);
}

/*  In a transaction of its own.  */
static inline int merge_alone(struct fixture *self, struct plan plan)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    int rc = merge_plan(self, txn, plan);
    commit(txn);
    return rc;
}

static inline struct ckv_octets number_key(unsigned number, char text[16])
{
    snprintf(text, 16, "%u", number);
    return ckv_octets_text(text);
}

static inline int get(struct ckv_kv_txn *txn, unsigned number, struct ckv_certificate *view)
{
    char text[16];
    return ckv_kv_get(txn, number_key(number, text), view);
}

static inline int find(struct ckv_kv_txn *txn, unsigned client, struct ckv_certificate *view)
{
    uint8_t key[32];
    client_key(client, key);
    return ckv_kv_find(txn, key, view);
}

static inline void assert_octets(struct ckv_octets a, struct ckv_octets b)
{
    assert_true(ckv_octets_equal(a, b));
}

static inline void assert_revision(struct ckv_kv_txn *txn, unsigned number, uint64_t revision)
{
    struct ckv_certificate view;
    assert_int_equal(get(txn, number, &view), CKV_OK);
    assert_true(view.revision == revision);
}

static inline void put_row(struct ckv_kv_txn *txn, enum ckv_kv_table table, const char *key,
                           const char *value)
{
    assert_int_equal(ckv_kv_table_put(txn, table, ckv_octets_text(key), ckv_octets_text(value)),
                     CKV_OK);
}

static inline void assert_row(struct ckv_kv_txn *txn, enum ckv_kv_table table, const char *key,
                              const char *value)
{
    struct ckv_octets found;
    int rc = ckv_kv_table_get(txn, table, ckv_octets_text(key), &found);
    assert_int_equal(rc, value ? CKV_OK : CKV_ERROR_NOT_FOUND);
    if (value)
        assert_octets(found, ckv_octets_text(value));
}

static inline uint64_t count_records(struct fixture *self)
{
    struct ckv_kv_stats stats;
    assert_int_equal(ckv_kv_stats(self->kv, &stats), CKV_OK);
    assert_string_equal(stats.engine, self->engine->name);
    return stats.records;
}

/*  ---- a store for each test ----  */

static inline void remove_directory(const char *path)
{
    char name[512];
    struct dirent *entry;
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory))) {
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        unlink(name);
    }
    if (directory)
        closedir(directory);
    rmdir(path);
}

static inline int set_up(void **state)
{
    struct fixture *self = calloc(1, sizeof(*self));
    const char *temporary = getenv("TMPDIR");
    if (!self)
        return -1;
    self->engine = *state;
    self->key = make_cluster_key();
    snprintf(self->directory, sizeof(self->directory), "%s/curvekv-kv-XXXXXX",
             temporary ? temporary : "/tmp");
    if (!self->key || !mkdtemp(self->directory))
        return -1;
    self->options.directory = self->directory;
    self->options.max_size = (uint64_t)64 << 20;
    self->options.no_sync = true;
    *state = self;
    return ckv_kv_open(&self->kv, self->engine->name, &self->options);
}

static inline int tear_down(void **state)
{
    struct fixture *self = *state;
    ckv_kv_close(&self->kv);
    remove_directory(self->directory);
    ckv_cluster_key_destroy(&self->key);
    free(self);
    return 0;
}

/*  Runs every test over every engine that has its traits, as "engine: test".  */
static inline int run_over_engines(const struct test *tests, size_t count)
{
    enum { ENGINES = sizeof(engines) / sizeof(*engines), NAME_SIZE = 128 };
    struct CMUnitTest *units = calloc(count * ENGINES, sizeof(*units));
    char(*names)[NAME_SIZE] = calloc(count * ENGINES, NAME_SIZE);
    size_t used = 0;
    int failed = -1;
    for (size_t i = 0; units && names && i < count * ENGINES; i++) {
        const struct engine *engine = &engines[i / count];
        const struct test *test = &tests[i % count];
        if ((test->traits & ~engine->traits) != 0)
            continue;
        snprintf(names[used], NAME_SIZE, "%s: %s", engine->name, test->name);
        units[used] = (struct CMUnitTest){ names[used], test->function, set_up, tear_down,
                                           (void *)(uintptr_t)engine };
        used++;
    }
    if (units && names)
        failed = _cmocka_run_group_tests("stores", units, used, NULL, NULL);
    free(units);
    free(names);
    return failed;
}

#endif
