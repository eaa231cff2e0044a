/*  What every engine promises (kv/kv.h), checked over all of them. Storage keys are numbers, so that
    the array engine can take part. The table at the end says which promise is whose.  */
#include "kv/engine.h"
#include "tests/unit/records.h"

#include "core/storage_key.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*  What an engine is, for the tests.  */
enum trait { ANY = 0, DURABLE = 1, IN_MEMORY = 2, ANY_KEY = 4, NUMBERS = 8, SQL = 16 };

struct engine {
    const char *name;
    unsigned traits;
    const char *file;
};

static const struct engine engines[] = {
    { "lmdb", DURABLE | ANY_KEY, "certificates.mdb" },
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

static void open_store(struct fixture *self)
{
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options), CKV_OK);
}

static struct ckv_kv_txn *begin(struct fixture *self, enum ckv_kv_mode mode)
{
    struct ckv_kv_txn *txn;
    assert_int_equal(ckv_kv_begin(self->kv, mode, &txn), CKV_OK);
    return txn;
}

static void commit(struct ckv_kv_txn *txn)
{
    assert_int_equal(ckv_kv_commit(&txn), CKV_OK);
    assert_null(txn);
}

static int merge_plan(struct fixture *self, struct ckv_kv_txn *txn, struct plan plan)
{
    make_record(&self->a, self->key, plan);
    return ckv_kv_merge(txn, &self->a.view);
}

/*  In a transaction of its own.  */
static int merge_alone(struct fixture *self, struct plan plan)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    int rc = merge_plan(self, txn, plan);
    commit(txn);
    return rc;
}

static struct ckv_octets number_key(unsigned number, char text[16])
{
    snprintf(text, 16, "%u", number);
    return ckv_octets_text(text);
}

static int get(struct ckv_kv_txn *txn, unsigned number, struct ckv_certificate *view)
{
    char text[16];
    return ckv_kv_get(txn, number_key(number, text), view);
}

static int find(struct ckv_kv_txn *txn, unsigned client, struct ckv_certificate *view)
{
    uint8_t key[32];
    client_key(client, key);
    return ckv_kv_find(txn, key, view);
}

static void assert_octets(struct ckv_octets a, struct ckv_octets b)
{
    assert_true(ckv_octets_equal(a, b));
}

static void assert_revision(struct ckv_kv_txn *txn, unsigned number, uint64_t revision)
{
    struct ckv_certificate view;
    assert_int_equal(get(txn, number, &view), CKV_OK);
    assert_true(view.revision == revision);
}

static void put_row(struct ckv_kv_txn *txn, enum ckv_kv_table table, const char *key,
                    const char *value)
{
    assert_int_equal(
        ckv_kv_table_put(txn, table, ckv_octets_text(key), ckv_octets_text(value)), CKV_OK);
}

static void assert_row(struct ckv_kv_txn *txn, enum ckv_kv_table table, const char *key,
                       const char *value)
{
    struct ckv_octets found;
    int rc = ckv_kv_table_get(txn, table, ckv_octets_text(key), &found);
    assert_int_equal(rc, value ? CKV_OK : CKV_ERROR_NOT_FOUND);
    if (value)
        assert_octets(found, ckv_octets_text(value));
}

static void assert_next_row(struct ckv_kv_txn *txn, struct ckv_octets *key, const char *expected)
{
    struct ckv_octets value;
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_OUTBOX, key, &value), CKV_OK);
    assert_octets(*key, ckv_octets_text(expected));
}

static uint64_t count_records(struct fixture *self)
{
    struct ckv_kv_stats stats;
    assert_int_equal(ckv_kv_stats(self->kv, &stats), CKV_OK);
    assert_string_equal(stats.engine, self->engine->name);
    return stats.records;
}

/*  ---- reading ----  */

static void what_is_merged_is_got_found_and_walked(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    uint64_t position = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(merge_plan(self, txn, (struct plan){ .number = i * 37 }), CKV_KV_NEW);
    commit(txn);
    assert_true(count_records(self) == 100);

    txn = begin(self, CKV_KV_READ);
    for (unsigned i = 0; i < 100; i++) {
        make_record(&self->a, self->key, (struct plan){ .number = i * 37 });
        assert_int_equal(get(txn, i * 37, &view), CKV_OK);
        assert_octets(view.record, self->a.view.record);
        assert_int_equal(find(txn, i * 37 + 1, &view), CKV_OK);
        assert_octets(view.record, self->a.view.record);
        assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_OK);
        assert_octets(view.record, self->a.view.record);
    }
    assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    uint64_t position = 0, far = UINT64_MAX;
    uint8_t octets[41] = { 0 };
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 1, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(find(txn, 1, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);

    assert_int_equal(merge_alone(self, (struct plan){ .number = 1 }), CKV_KV_NEW);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 2, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(get(txn, 11, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(find(txn, 3, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_kv_next(txn, &far, &view), CKV_ERROR_NOT_FOUND);
    for (size_t size = 0; size <= sizeof(octets); size++)
        assert_int_equal(ckv_kv_get(txn, ckv_octets(octets, size), &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
}

static void any_octets_are_a_storage_key(void **state)
{
    struct fixture *self = *state;
    uint8_t octets[CKV_STORAGE_KEY_MAX];
    struct ckv_certificate view;
    memset(octets, 0, sizeof(octets));
    for (size_t size = 1; size <= sizeof(octets); size++)
        assert_int_equal(
            merge_alone(self, (struct plan){ .storage_key = ckv_octets(octets, size) }),
            CKV_KV_NEW);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    for (size_t size = 1; size <= sizeof(octets); size++) {
        assert_int_equal(ckv_kv_get(txn, ckv_octets(octets, size), &view), CKV_OK);
        assert_octets(view.storage_key, ckv_octets(octets, size));
    }
    ckv_kv_abort(&txn);
}

static void only_numbers_are_storage_keys(void **state)
{
    static const char *const good[] = { "0", "9", "10", "16777215" };
    static const char *const bad[] = { "00", "01", "16777216", "99999999", "4294967296", "a",
                                       "1a", "-1", " 1", "0x1", "18446744073709551617" };
    struct fixture *self = *state;
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_int_equal(
            merge_plan(self, txn, (struct plan){ .storage_key = ckv_octets_text(good[i]) }),
            CKV_KV_NEW);
    commit(txn);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        txn = begin(self, CKV_KV_WRITE);
        struct plan plan = { .storage_key = ckv_octets_text(bad[i]) };
        assert_int_equal(ckv_kv_get(txn, plan.storage_key, &view), CKV_ERROR_NOT_FOUND);
        assert_int_equal(merge_plan(self, txn, plan), CKV_ERROR_ARRAY_KEY);
        ckv_kv_abort(&txn);
    }
    assert_true(count_records(self) == sizeof(good) / sizeof(*good));
}

static void the_active_and_newest_certificate_of_a_client_is_found(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    const struct plan plans[] = {
        { .number = 5, .client = 9, .revision = 7 },
        { .number = 6, .client = 9, .revision = 20, .state = CKV_STATE_REVOKED },
        { .number = 3, .client = 9, .revision = 9 },
        { .number = 2, .client = 8, .revision = 30 },
        { .number = 12, .client = 9, .revision = 9 },
        { .number = 4, .client = 9, .revision = 8 },
    };
    const unsigned expected[] = { 5, 5, 3, 3, 3, 3 };
    for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
        merge_alone(self, plans[i]);
        struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
        assert_int_equal(find(txn, 9, &view), CKV_OK);
        make_record(&self->b, self->key, (struct plan){ .number = expected[i] });
        assert_octets(view.storage_key, self->b.view.storage_key);
        ckv_kv_abort(&txn);
    }
    /*  When all are revoked, it is the newest of them.  */
    for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
        struct plan plan = plans[i];
        plan.state = CKV_STATE_REVOKED;
        merge_alone(self, plan);
    }
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(find(txn, 9, &view), CKV_OK);
    assert_true(view.revision == 20 && view.state == CKV_STATE_REVOKED);
    ckv_kv_abort(&txn);
}

static void a_rotated_client_public_key_is_not_found_any_more(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    merge_alone(self, (struct plan){ .number = 5, .client = 1 });
    merge_alone(self, (struct plan){ .number = 6, .client = 1 });
    struct ckv_kv_txn *before = begin(self, CKV_KV_READ);
    assert_int_equal(merge_alone(self, (struct plan){ .number = 5, .client = 2, .revision = 2 }),
                     CKV_KV_NEWER);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(find(txn, 1, &view), CKV_OK);
    assert_octets(view.storage_key, ckv_octets_text("6"));
    assert_int_equal(find(txn, 2, &view), CKV_OK);
    assert_octets(view.storage_key, ckv_octets_text("5"));
    ckv_kv_abort(&txn);
    assert_int_equal(find(before, 2, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&before);

    merge_alone(self, (struct plan){ .number = 6, .client = 2, .revision = 2 });
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(find(txn, 1, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
    assert_true(count_records(self) == 2);
}

/*  ---- transactions ----  */

/*  In one thread: none of this may wait for the other.  */
static void a_reader_sees_the_store_as_it_was_at_its_begin(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate old, view;
    struct ckv_octets row;
    uint64_t position = 0;
    merge_alone(self, (struct plan){ .number = 1 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    put_row(txn, CKV_KV_OUTBOX, "row", "old");
    commit(txn);

    struct ckv_kv_txn *reader = begin(self, CKV_KV_READ);
    for (uint64_t revision = 2; revision < 20; revision++) {
        txn = begin(self, CKV_KV_WRITE);
        struct plan plan = { .number = 1, .client = 50, .revision = revision, .padding = 500 };
        assert_int_equal(merge_plan(self, txn, plan), CKV_KV_NEWER);
        assert_int_equal(merge_plan(self, txn, (struct plan){ .number = (unsigned)revision }),
                         CKV_KV_NEW);
        put_row(txn, CKV_KV_OUTBOX, "row", "new");
        put_row(txn, CKV_KV_OUTBOX, "sow", "new");
        commit(txn);
        if (revision == 10) {
            assert_int_equal(get(reader, 1, &old), CKV_OK);
            assert_int_equal(ckv_kv_table_get(reader, CKV_KV_OUTBOX, ckv_octets_text("row"), &row),
                             CKV_OK);
        }
    }
    /*  Also views that were taken in between.  */
    make_record(&self->a, self->key, (struct plan){ .number = 1 });
    assert_octets(old.record, self->a.view.record);
    assert_octets(row, ckv_octets_text("old"));
    assert_int_equal(find(reader, 2, &view), CKV_OK);
    assert_int_equal(find(reader, 50, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(get(reader, 2, &view), CKV_ERROR_NOT_FOUND);
    assert_row(reader, CKV_KV_OUTBOX, "sow", NULL);
    assert_int_equal(ckv_kv_next(reader, &position, &view), CKV_OK);
    assert_int_equal(ckv_kv_next(reader, &position, &view), CKV_ERROR_NOT_FOUND);

    ckv_kv_reset(reader);
    assert_int_equal(ckv_kv_renew(reader), CKV_OK);
    assert_revision(reader, 1, 19);
    assert_int_equal(find(reader, 50, &view), CKV_OK);
    assert_row(reader, CKV_KV_OUTBOX, "row", "new");
    ckv_kv_abort(&reader);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    merge_alone(self, (struct plan){ .number = 1 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    put_row(txn, CKV_KV_STATE, "kept", "yes");
    commit(txn);

    txn = begin(self, CKV_KV_WRITE);
    merge_plan(self, txn, (struct plan){ .number = 1, .client = 7, .revision = 2 });
    for (unsigned i = 2; i < 300; i++)
        assert_int_equal(merge_plan(self, txn, (struct plan){ .number = i }), CKV_KV_NEW);
    merge_plan(self, txn, (struct plan){ .number = 1, .created = 5000 });
    put_row(txn, CKV_KV_STATE, "kept", "no");
    put_row(txn, CKV_KV_STATE, "other", "no");
    ckv_kv_abort(&txn);
    assert_null(txn);

    txn = begin(self, CKV_KV_READ);
    assert_revision(txn, 1, 1);
    for (unsigned i = 2; i < 300; i++)
        assert_int_equal(get(txn, i, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(find(txn, 7, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(find(txn, 2, &view), CKV_OK);
    assert_row(txn, CKV_KV_STATE, "kept", "yes");
    assert_row(txn, CKV_KV_STATE, "other", NULL);
    ckv_kv_abort(&txn);
    assert_true(count_records(self) == 1);
}

static void a_writer_sees_what_it_has_changed(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    merge_plan(self, txn, (struct plan){ .number = 1 });
    merge_plan(self, txn, (struct plan){ .number = 1, .client = 7, .revision = 2 });
    merge_plan(self, txn, (struct plan){ .number = 1, .client = 8, .revision = 3 });
    assert_revision(txn, 1, 3);
    assert_int_equal(find(txn, 8, &view), CKV_OK);
    assert_int_equal(find(txn, 7, &view), CKV_ERROR_NOT_FOUND);
    put_row(txn, CKV_KV_OUTBOX, "row", "1");
    put_row(txn, CKV_KV_OUTBOX, "row", "2");
    assert_row(txn, CKV_KV_OUTBOX, "row", "2");
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_revision(txn, 1, 3);
    assert_row(txn, CKV_KV_OUTBOX, "row", "2");
    ckv_kv_abort(&txn);
}

struct second {
    struct fixture *fixture;
    atomic_bool done;
    int rc;
};

static void *write_second(void *argument)
{
    struct second *self = argument;
    struct ckv_kv_txn *txn;
    struct sealed *record = malloc(sizeof(*record));
    self->rc = record ? ckv_kv_begin(self->fixture->kv, CKV_KV_WRITE, &txn) : CKV_ERROR_MEMORY;
    atomic_store(&self->done, true);
    if (self->rc == CKV_OK) {
        make_record(record, self->fixture->key, (struct plan){ .number = 1, .revision = 2 });
        self->rc = ckv_kv_merge(txn, &record->view);
        if (ckv_kv_commit(&txn) != CKV_OK)
            self->rc = CKV_ERROR_IO;
    }
    free(record);
    return NULL;
}

static void a_second_writer_waits_for_the_first(void **state)
{
    struct fixture *self = *state;
    struct second second = { .fixture = self };
    pthread_t thread;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(pthread_create(&thread, NULL, write_second, &second), 0);
    usleep(50000);
    assert_false(atomic_load(&second.done));
    merge_plan(self, txn, (struct plan){ .number = 1 });
    commit(txn);
    pthread_join(thread, NULL);
    assert_int_equal(second.rc, CKV_KV_NEWER); /* it saw what the first had written */
}

static void positions_stay_good_across_transactions(void **state)
{
    enum { BEFORE = 200, AFTER = 300 };
    struct fixture *self = *state;
    struct ckv_certificate view;
    uint64_t position = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < BEFORE; i++)
        merge_plan(self, txn, (struct plan){ .number = 1000 - i });
    commit(txn);
    struct ckv_kv_txn *reader = begin(self, CKV_KV_READ);
    for (unsigned i = 0; i < AFTER; i++) {
        char text[16];
        if (i == BEFORE / 2) {
            ckv_kv_reset(reader);
            txn = begin(self, CKV_KV_WRITE);
            for (unsigned j = 0; j < BEFORE; j += 3)
                merge_plan(self, txn,
                           (struct plan){ .number = 1000 - j, .revision = 2, .padding = 100 });
            for (unsigned j = BEFORE; j < AFTER; j++)
                merge_plan(self, txn, (struct plan){ .number = 1000 - j });
            commit(txn);
            assert_int_equal(ckv_kv_renew(reader), CKV_OK);
        }
        assert_int_equal(ckv_kv_next(reader, &position, &view), CKV_OK);
        assert_octets(view.storage_key, number_key(1000 - i, text));
    }
    assert_int_equal(ckv_kv_next(reader, &position, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&reader);
}

static void a_reader_cannot_write(void **state)
{
    struct fixture *self = *state;
    struct ckv_octets octets = ckv_octets_text("x");
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 1 }), CKV_ERROR_READ_ONLY);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, octets, octets), CKV_ERROR_READ_ONLY);
    assert_int_equal(ckv_kv_table_del(txn, CKV_KV_STATE, octets), CKV_ERROR_READ_ONLY);
    commit(txn); /* ends it */
}

/*  ---- merging ----  */

static const struct plan contenders[] = {
    { .number = 7, .created = 100, .revision = 1, .client = 1 },
    { .number = 7, .created = 100, .revision = 5, .client = 2 },
    { .number = 7, .created = 200, .revision = 3, .client = 3 },
    { .number = 7, .created = 200, .revision = 9, .client = 4 },
    { .number = 7, .created = 200, .revision = 2, .client = 5, .state = CKV_STATE_REVOKED },
    { .number = 7, .created = 200, .revision = 2, .client = 5, .created_by = 1 },
};

enum { CONTENDERS = sizeof(contenders) / sizeof(*contenders), STANDS = 1, REVOKED = 4, OTHER = 5 };

static void assert_conflict(struct ckv_kv_txn *txn, struct ckv_octets *key,
                            const struct ckv_certificate *loser)
{
    uint8_t expected[1 + 8 + 8] = "7";
    struct ckv_octets value;
    ckv_put64(expected + 1, loser->created);
    ckv_put64(expected + 9, loser->created_by);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_CONFLICTS, key, &value), CKV_OK);
    assert_octets(*key, ckv_octets(expected, sizeof(expected)));
    assert_octets(value, loser->record);
}

static void assert_outcome(struct ckv_kv_txn *txn, const struct sealed *records)
{
    struct ckv_octets key = { NULL, 0 }, value;
    struct ckv_certificate view;
    assert_int_equal(get(txn, 7, &view), CKV_OK);
    assert_octets(view.record, records[STANDS].view.record);
    assert_conflict(txn, &key, &records[REVOKED].view);
    assert_conflict(txn, &key, &records[OTHER].view);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_CONFLICTS, &key, &value), CKV_ERROR_NOT_FOUND);
    for (unsigned client = 1; client <= 5; client++)
        assert_int_equal(find(txn, client, &view), client == 2 ? CKV_OK : CKV_ERROR_NOT_FOUND);
}

/*  Heap's algorithm.  */
static void permute(unsigned *order, unsigned size, void (*each)(void *, const unsigned *),
                    void *argument)
{
    if (size <= 1) {
        each(argument, order);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        permute(order, size - 1, each, argument);
        unsigned other = size % 2 ? 0 : i, swapped = order[other];
        order[other] = order[size - 1];
        order[size - 1] = swapped;
    }
}

struct permutations {
    struct fixture *fixture;
    struct sealed *records;
    unsigned count;
};

static void merge_in_order(void *argument, const unsigned *order)
{
    struct permutations *self = argument;
    struct ckv_kv_txn *txn = begin(self->fixture, CKV_KV_WRITE);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        int rc = ckv_kv_merge(txn, &self->records[order[i]].view);
        assert_true(rc > 0);
        assert_int_equal(ckv_kv_merge(txn, &self->records[order[i]].view), CKV_KV_UNCHANGED);
    }
    assert_outcome(txn, self->records);
    for (unsigned i = 0; i < CONTENDERS; i++)
        assert_int_equal(ckv_kv_merge(txn, &self->records[i].view), CKV_KV_UNCHANGED);
    ckv_kv_abort(&txn);
    self->count++;
}

static void merging_in_any_order_gives_the_same_octets(void **state)
{
    struct permutations self = { .fixture = *state };
    unsigned order[CONTENDERS];
    self.records = malloc(CONTENDERS * sizeof(*self.records));
    assert_non_null(self.records);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        make_record(&self.records[i], self.fixture->key, contenders[i]);
        order[i] = i;
    }
    permute(order, CONTENDERS, merge_in_order, &self);
    assert_int_equal(self.count, 720);

    /*  Once more with a commit after each.  */
    for (unsigned i = CONTENDERS; i-- > 0;)
        assert_true(merge_alone(self.fixture, contenders[i]) != CKV_KV_UNCHANGED ||
                    contenders[i].created == 200 || i == 0);
    struct ckv_kv_txn *txn = begin(self.fixture, CKV_KV_READ);
    assert_outcome(txn, self.records);
    ckv_kv_abort(&txn);
    free(self.records);
}

static void merging_says_what_became_of_the_record(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_stats stats;
    assert_int_equal(merge_alone(self, contenders[2]), CKV_KV_NEW);
    assert_int_equal(merge_alone(self, contenders[3]), CKV_KV_NEWER);
    assert_int_equal(merge_alone(self, contenders[2]), CKV_KV_UNCHANGED);
    assert_int_equal(merge_alone(self, contenders[5]), CKV_KV_LOST);
    assert_int_equal(merge_alone(self, contenders[5]), CKV_KV_UNCHANGED);
    assert_int_equal(merge_alone(self, contenders[0]), CKV_KV_WON);
    assert_int_equal(merge_alone(self, contenders[4]), CKV_KV_LOST);
    assert_int_equal(merge_alone(self, contenders[3]), CKV_KV_UNCHANGED);
    assert_int_equal(ckv_kv_stats(self->kv, &stats), CKV_OK);
    assert_true(stats.records == 1 && stats.conflicts == 2);
}

static int no_put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                  const struct ckv_certificate *old)
{
    (void)txn, (void)certificate, (void)old;
    return CKV_ERROR_IO;
}

static int no_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                        struct ckv_octets value)
{
    (void)txn, (void)table, (void)key, (void)value;
    return CKV_ERROR_IO;
}

static void what_is_unchanged_is_not_written(void **state)
{
    struct fixture *self = *state;
    const struct ckv_kv_engine *engine = self->kv->engine;
    struct ckv_kv_engine deaf = *engine;
    deaf.put = no_put;
    deaf.table_put = no_table_put;
    for (unsigned i = 0; i < CONTENDERS; i++)
        merge_alone(self, contenders[i]);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    self->kv->engine = &deaf;
    for (unsigned i = 0; i < CONTENDERS; i++)
        assert_int_equal(merge_plan(self, txn, contenders[i]), CKV_KV_UNCHANGED);
    self->kv->engine = engine;
    commit(txn);
}

static void a_transaction_with_an_error_cannot_commit(void **state)
{
    struct fixture *self = *state;
    const struct ckv_kv_engine *engine = self->kv->engine;
    struct ckv_kv_engine deaf = *engine;
    struct ckv_certificate view;
    deaf.table_put = no_table_put;
    merge_alone(self, contenders[2]);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    self->kv->engine = &deaf;
    /*  Half done: the record is in place, the loser is not kept.  */
    assert_int_equal(merge_plan(self, txn, contenders[0]), CKV_ERROR_IO);
    self->kv->engine = engine;
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 8 }), CKV_ERROR_IO);
    assert_int_equal(ckv_kv_commit(&txn), CKV_ERROR_IO);
    assert_null(txn);
    txn = begin(self, CKV_KV_READ);
    assert_revision(txn, 7, 3);
    assert_int_equal(get(txn, 8, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
}
