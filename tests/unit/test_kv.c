/*  What every engine promises (kv/kv.h), checked over all of them. Storage keys are numbers, so
    that the array engine can take part. The table at the end says which promise is whose. What
    outlives the process is in test_kv_files.c.  */
#include "tests/unit/stores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

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

/*  The 24 upper bits of SipHash under a key of zeros, which are what kv/hashes.c keeps of it, and
    the 6 lower ones, which are the place in its first table.  */
static uint32_t tag_of(struct ckv_octets key)
{
    static const uint8_t zeros[crypto_shorthash_KEYBYTES];
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key.data, key.size, zeros);
    return ckv_get32(hash) >> 8 << 6 | (hash[7] & 0x3f);
}

enum { TRIED = 300000, PAIRS = 10 };

struct tagged {
    uint32_t tag;
    unsigned number;
};

static int compare_tags(const void *a, const void *b)
{
    const struct tagged *left = a, *right = b;
    return (left->tag > right->tag) - (left->tag < right->tag);
}

/*  Finds pairs of numbers whose storage keys, or the keys of their clients, have one tag.  */
static void find_pairs(bool clients, unsigned pairs[PAIRS][2])
{
    struct tagged *tags = malloc(TRIED * sizeof(*tags));
    unsigned count = 0;
    assert_non_null(tags);
    for (unsigned i = 0; i < TRIED; i++) {
        char text[16];
        uint8_t key[32];
        client_key(i + 1, key);
        tags[i].tag = tag_of(clients ? ckv_octets(key, sizeof(key)) : number_key(i, text));
        tags[i].number = i;
    }
    qsort(tags, TRIED, sizeof(*tags), compare_tags);
    for (unsigned i = 1; i < TRIED && count < PAIRS; i++)
        if (tags[i - 1].tag == tags[i].tag) {
            pairs[count][0] = tags[i - 1].number;
            pairs[count++][1] = tags[i].number;
        }
    assert_int_equal(count, PAIRS);
    free(tags);
}

static void assert_found(struct fixture *self, bool clients, unsigned number, uint64_t revision)
{
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    int rc = clients ? find(txn, number + 1, &view) : get(txn, number, &view);
    assert_int_equal(rc, revision ? CKV_OK : CKV_ERROR_NOT_FOUND);
    assert_true(!revision || view.revision == revision);
    ckv_kv_abort(&txn);
}

static void keys_with_much_the_same_hash_are_told_apart(void **state)
{
    struct fixture *self = *state;
    for (int clients = 0; clients < 2; clients++) {
        unsigned pairs[PAIRS][2];
        find_pairs(clients, pairs);
        for (unsigned i = 0; i < PAIRS; i++) {
            merge_alone(self, (struct plan){ .number = pairs[i][0] });
            assert_found(self, clients, pairs[i][0], 1);
            assert_found(self, clients, pairs[i][1], 0);
            merge_alone(self, (struct plan){ .number = pairs[i][1], .revision = 2 });
            assert_found(self, clients, pairs[i][0], 1);
            assert_found(self, clients, pairs[i][1], 2);
        }
    }
}

static void only_numbers_are_storage_keys(void **state)
{
    static const char *const good[] = { "0", "9", "10", "16777215" };
    static const char *const bad[] = {
        "00", "01", "16777216", "99999999", "4294967296",          "a",
        "1a", "-1", " 1",       "0x1",      "18446744073709551617"
    };
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

static void a_key_that_is_refused_does_not_spoil_the_transaction(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 1 }), CKV_KV_NEW);
    assert_int_equal(
        merge_plan(self, txn,
                   (struct plan){ .number = 2, .storage_key = ckv_octets_text("no number") }),
        CKV_ERROR_ARRAY_KEY);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 3 }), CKV_KV_NEW);
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 1, &view), CKV_OK);
    assert_int_equal(get(txn, 3, &view), CKV_OK);
    ckv_kv_abort(&txn);
}

static void a_record_is_replaced_whatever_it_says(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    merge_alone(self, (struct plan){ .number = 1, .revision = 9 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    make_record(&self->a, self->key, (struct plan){ .number = 1, .revision = 3, .client = 77 });
    assert_int_equal(ckv_kv_replace(txn, &self->a.view), CKV_KV_NEWER);
    make_record(&self->b, self->key, (struct plan){ .number = 2 });
    assert_int_equal(ckv_kv_replace(txn, &self->b.view), CKV_KV_NEW);
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 1, &view), CKV_OK);
    assert_octets(view.record, self->a.view.record);
    assert_int_equal(find(txn, 77, &view), CKV_OK);
    assert_int_equal(find(txn, 2, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(get(txn, 2, &view), CKV_OK);
    ckv_kv_abort(&txn);
}

static void the_active_and_newest_certificate_of_a_client_is_found(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    const struct plan plans[] = {
        { .number = 7, .client = 9, .revision = 15, .state = CKV_STATE_REVOKED },
        { .number = 5, .client = 9, .revision = 7 },
        { .number = 6, .client = 9, .revision = 20, .state = CKV_STATE_REVOKED },
        { .number = 3, .client = 9, .revision = 9 },
        { .number = 2, .client = 8, .revision = 30 },
        { .number = 12, .client = 9, .revision = 9 },
        { .number = 4, .client = 9, .revision = 8 },
    };
    const unsigned expected[] = { 7, 5, 5, 3, 3, 3, 3 };
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

static uint64_t changes(struct ckv_kv_txn *txn)
{
    uint64_t number;
    assert_int_equal(ckv_kv_changes(txn, &number), CKV_OK);
    return number;
}

static void the_number_of_changes_is_another_one_after_each_commit_and_no_sooner(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_txn *reader = begin(self, CKV_KV_RESOLVE), *txn;
    uint64_t before = changes(reader);
    for (unsigned i = 1; i < 5; i++) {
        assert_true(changes(reader) == before);
        txn = begin(self, CKV_KV_WRITE);
        merge_plan(self, txn, (struct plan){ .number = 7, .revision = i });
        assert_true(changes(reader) == before);
        commit(txn);
        assert_true(changes(reader) > before);
        before = changes(reader);
        ckv_kv_reset(reader);
    }
    txn = begin(self, CKV_KV_WRITE);
    merge_plan(self, txn, (struct plan){ .number = 7, .revision = 9 });
    ckv_kv_abort(&txn);
    assert_true(changes(reader) == before);
    ckv_kv_abort(&reader);
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

/*  ---- side tables ----  */

static void assert_next_row(struct ckv_kv_txn *txn, struct ckv_octets *key, const char *expected)
{
    struct ckv_octets value;
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_OUTBOX, key, &value), CKV_OK);
    assert_octets(*key, ckv_octets_text(expected));
}

static void rows_are_in_the_order_of_their_keys(void **state)
{
    static const char *const names[] = { "b", "a", "ab", "\xff", "aa", "abc", "B", "\x01" };
    static const char *const order[] = { "\x01", "B", "a", "aa", "ab", "abc", "b", "\xff" };
    enum { COUNT = sizeof(order) / sizeof(*order) };
    struct fixture *self = *state;
    struct ckv_octets key = { NULL, 0 }, value;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (size_t i = 0; i < COUNT; i++)
        put_row(txn, CKV_KV_OUTBOX, names[i], i % 2 ? names[i] : "");
    for (size_t i = 0; i < COUNT; i++)
        assert_row(txn, CKV_KV_OUTBOX, names[i], i % 2 ? names[i] : "");
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    for (size_t i = 0; i < COUNT; i++)
        assert_next_row(txn, &key, order[i]);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_OUTBOX, &key, &value), CKV_ERROR_NOT_FOUND);
    key = ckv_octets_text("abb"); /* not there */
    assert_next_row(txn, &key, "abc");
    key = ckv_octets(NULL, 0);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_CONFLICTS, &key, &value), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
}

/*  As a replicator does: take the first, delete it, with the view for a key.  */
static void rows_can_be_taken_off_one_by_one(void **state)
{
    enum { COUNT = 1000 };
    struct fixture *self = *state;
    struct ckv_octets key, value;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t number[4];
        ckv_put32(number, i * 7919 % COUNT);
        assert_int_equal(
            ckv_kv_table_put(txn, CKV_KV_OUTBOX, ckv_octets(number, 4), ckv_octets(number, 4)),
            CKV_OK);
    }
    commit(txn);
    for (unsigned i = 0; i < COUNT;) {
        txn = begin(self, CKV_KV_WRITE);
        for (unsigned j = 0; j < 100; j++, i++) {
            key = ckv_octets(NULL, 0);
            assert_int_equal(ckv_kv_table_next(txn, CKV_KV_OUTBOX, &key, &value), CKV_OK);
            assert_true(key.size == 4 && ckv_get32(key.data) == i && ckv_get32(value.data) == i);
            assert_int_equal(ckv_kv_table_del(txn, CKV_KV_OUTBOX, key), CKV_OK);
        }
        commit(txn);
    }
    txn = begin(self, CKV_KV_WRITE);
    key = ckv_octets(NULL, 0);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_OUTBOX, &key, &value), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_kv_table_del(txn, CKV_KV_OUTBOX, ckv_octets_text("absent")), CKV_OK);
    commit(txn);
}

static void rows_have_bounds(void **state)
{
    enum { KEY_MAX = 128, VALUE_MAX = 65536 };
    struct fixture *self = *state;
    uint8_t *octets = malloc(VALUE_MAX + 1);
    struct ckv_octets value;
    assert_non_null(octets);
    memset(octets, 'x', VALUE_MAX + 1);
    struct ckv_octets largest = ckv_octets(octets, KEY_MAX), tiny = ckv_octets(octets, 1),
                      none = ckv_octets(octets, 0), over = ckv_octets(octets, KEY_MAX + 1);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, none, tiny), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, over, tiny), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, tiny, ckv_octets(octets, VALUE_MAX + 1)),
                     CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_TABLES, tiny, tiny), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, largest, ckv_octets(octets, VALUE_MAX)),
                     CKV_OK);
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_kv_table_get(txn, CKV_KV_STATE, none, &value), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_kv_table_get(txn, CKV_KV_STATE, largest, &value), CKV_OK);
    assert_octets(value, ckv_octets(octets, VALUE_MAX));
    ckv_kv_abort(&txn);
    free(octets);
}

/*  ---- bounds ----  */

/*  Merges batches of ten until one is refused. Returns how many batches are in.  */
static unsigned fill(struct fixture *self, int *error)
{
    for (unsigned batch = 0;; batch++) {
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        int rc = CKV_KV_NEW;
        for (unsigned i = 0; i < 10 && rc == CKV_KV_NEW; i++)
            rc = merge_plan(self, txn, (struct plan){ .number = batch * 10 + i, .padding = 4000 });
        *error = ckv_kv_commit(&txn);
        if (rc < 0)
            assert_int_equal(*error, rc); /* it cannot commit the rest */
        if (*error != CKV_OK)
            return batch;
        assert_true(batch < 1000);
    }
}

static void assert_batches(struct fixture *self, unsigned batches)
{
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    for (unsigned i = 0; i < batches * 10; i++) {
        assert_int_equal(get(txn, i, &view), CKV_OK);
        assert_int_equal(ckv_certificate_verify(&view, self->key), CKV_OK);
        assert_int_equal(find(txn, i + 1, &view), CKV_OK);
    }
    for (unsigned i = batches * 10; i < batches * 10 + 10; i++) {
        assert_int_equal(get(txn, i, &view), CKV_ERROR_NOT_FOUND);
        assert_int_equal(find(txn, i + 1, &view), CKV_ERROR_NOT_FOUND);
    }
    ckv_kv_abort(&txn);
}

static uint64_t count_bytes(struct fixture *self)
{
    struct ckv_kv_stats stats;
    assert_int_equal(ckv_kv_stats(self->kv, &stats), CKV_OK);
    assert_true(stats.bytes <= stats.max_size);
    return stats.bytes;
}

static void a_full_store_says_so_loses_nothing_and_goes_on(void **state)
{
    struct fixture *self = *state;
    int error;
    ckv_kv_close(&self->kv);
    remove_directory(self->directory);
    assert_int_equal(mkdir(self->directory, 0700), 0);
    self->options.max_size = 2 << 20;
    open_store(self);
    unsigned batches = fill(self, &error);
    assert_int_equal(error, CKV_ERROR_STORE_FULL);
    assert_true(batches >= 10);
    assert_true(count_records(self) == batches * 10);
    assert_batches(self, batches);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 1, .padding = 4000 }),
                     CKV_KV_UNCHANGED);
    commit(txn);
    if (self->engine->traits & DURABLE) {
        ckv_kv_close(&self->kv);
        self->options.max_size = 4 << 20;
        open_store(self);
        assert_batches(self, batches);
        assert_int_equal(merge_alone(self, (struct plan){ .number = batches * 10 }), CKV_KV_NEW);
    } else {
        /*  A smaller state of what is there makes room.  */
        uint64_t bytes = count_bytes(self);
        assert_int_equal(merge_alone(self, (struct plan){ .number = 0, .revision = 2 }),
                         CKV_KV_NEWER);
        assert_true(count_bytes(self) < bytes - 3500); /* the digests' row of the change is there */
        assert_int_equal(merge_alone(self, (struct plan){ .number = batches * 10 }), CKV_KV_NEW);
    }
}

static void an_unknown_engine_is_refused(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv *kv;
    assert_int_equal(ckv_kv_open(&kv, "tape", &self->options), CKV_ERROR_ARGUMENT);
    assert_null(kv);
}

static void memory_has_no_readers_elsewhere(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv *kv;
    self->options.read_only = true;
    assert_int_equal(ckv_kv_open(&kv, self->engine->name, &self->options), CKV_ERROR_ARGUMENT);
}

/*  ---- threads ----  */

enum { SHARED = 10, COMMITS = 300, READERS = 3 };

struct reader {
    struct fixture *fixture;
    atomic_bool *stop;
    unsigned seed;
    unsigned failures;
    unsigned rounds;
};

/*  Each commit gives all records one revision, and writes it down beside them.  */
static bool sees_one_commit(const struct reader *self, struct ckv_kv_txn *txn, uint64_t *last)
{
    struct ckv_octets value;
    struct ckv_certificate view;
    if (ckv_kv_table_get(txn, CKV_KV_OUTBOX, ckv_octets_text("revision"), &value) != CKV_OK)
        return false;
    uint64_t revision = ckv_get64(value.data);
    if (revision < *last)
        return false;
    *last = revision;
    for (unsigned i = 0; i < SHARED; i++) {
        unsigned number = (i + self->seed) % SHARED;
        int rc = (self->seed + i) % 2 ? get(txn, number, &view) : find(txn, number + 1, &view);
        if (rc != CKV_OK || view.revision != revision ||
            ckv_certificate_verify(&view, self->fixture->key) != CKV_OK)
            return false;
    }
    return true;
}

static void *read_along(void *argument)
{
    struct reader *self = argument;
    struct ckv_kv_txn *txn;
    uint64_t last = 0;
    if (ckv_kv_begin(self->fixture->kv, CKV_KV_READ, &txn) != CKV_OK) {
        self->failures++;
        return NULL;
    }
    do { /* at least once, however late the thread began */
        ckv_kv_reset(txn);
        if (ckv_kv_renew(txn) != CKV_OK || !sees_one_commit(self, txn, &last))
            self->failures++;
        self->rounds++;
        self->seed++;
    } while (!atomic_load(self->stop) && !self->failures);
    ckv_kv_abort(&txn);
    return NULL;
}

static void write_shared(struct fixture *self, uint64_t revision)
{
    uint8_t number[8];
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < SHARED; i++)
        merge_plan(self, txn,
                   (struct plan){ .number = i,
                                  .revision = revision,
                                  .padding = (unsigned)revision % 400,
                                  .dedicated = i % 2 });
    /*  And others, so that trees and indexes grow meanwhile.  */
    merge_plan(self, txn, (struct plan){ .number = 1000 + (unsigned)revision });
    ckv_put64(number, revision);
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_OUTBOX, ckv_octets_text("revision"),
                                      ckv_octets(number, sizeof(number))),
                     CKV_OK);
    commit(txn);
}

static void readers_see_whole_commits_beside_a_writer(void **state)
{
    struct fixture *self = *state;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    atomic_bool stop = false;
    write_shared(self, 1);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .fixture = self, .stop = &stop, .seed = i };
        assert_int_equal(pthread_create(&threads[i], NULL, read_along, &readers[i]), 0);
    }
    for (uint64_t revision = 2; revision <= COMMITS; revision++)
        write_shared(self, revision);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].failures, 0);
        assert_true(readers[i].rounds > 0);
    }
}

static const struct test tests[] = {
    TEST(what_is_merged_is_got_found_and_walked, ANY),
    TEST(what_is_not_there_is_not_found, ANY),
    TEST(any_octets_are_a_storage_key, ANY_KEY),
    TEST(keys_with_much_the_same_hash_are_told_apart, ANY),
    TEST(only_numbers_are_storage_keys, NUMBERS),
    TEST(a_key_that_is_refused_does_not_spoil_the_transaction, NUMBERS),
    TEST(a_record_is_replaced_whatever_it_says, ANY),
    TEST(the_active_and_newest_certificate_of_a_client_is_found, ANY),
    TEST(a_rotated_client_public_key_is_not_found_any_more, ANY),
    TEST(a_reader_sees_the_store_as_it_was_at_its_begin, ANY),
    TEST(an_aborted_transaction_leaves_nothing, ANY),
    TEST(a_writer_sees_what_it_has_changed, ANY),
    TEST(the_number_of_changes_is_another_one_after_each_commit_and_no_sooner, ANY),
    TEST(a_second_writer_waits_for_the_first, ANY),
    TEST(positions_stay_good_across_transactions, ANY),
    TEST(a_reader_cannot_write, ANY),
    TEST(rows_are_in_the_order_of_their_keys, ANY),
    TEST(rows_can_be_taken_off_one_by_one, ANY),
    TEST(rows_have_bounds, ANY),
    TEST(a_full_store_says_so_loses_nothing_and_goes_on, ANY),
    TEST(an_unknown_engine_is_refused, ANY),
    TEST(memory_has_no_readers_elsewhere, IN_MEMORY),
    TEST(readers_see_whole_commits_beside_a_writer, ANY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
