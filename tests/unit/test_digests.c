/*  Range digests, over all engines: whatever happens to records, the digests are those of the records
    that are there.  */
#include "kv/digests.h"
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { COUNT = 300 };

/*  ---- helpers ----  */

/*  As kv/digests.h says it, worked out once more.  */
static unsigned range_of(const struct ckv_kv *kv, struct ckv_octets storage_key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, storage_key.data, storage_key.size, kv->index_key);
    return (unsigned)hash[0] << 6 | hash[1] >> 2;
}

static void add_tag(struct ckv_digest *sum, struct ckv_octets record)
{
    const uint8_t *tag = record.data + record.size - CKV_RECORD_TAG_SIZE;
    sum->lanes[0] += ckv_get64(tag);
    sum->lanes[1] += ckv_get64(tag + 8);
}

static void assert_digest(struct ckv_digest a, struct ckv_digest b)
{
    assert_true(a.lanes[0] == b.lanes[0] && a.lanes[1] == b.lanes[1]);
}

static struct ckv_digest root_of(struct fixture *self)
{
    struct ckv_digest root;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_kv_digest_root(txn, &root), CKV_OK);
    ckv_kv_abort(&txn);
    return root;
}

/*  Every digest is the sum over the records of its range, and the root the sum of all.  */
static void assert_digests(struct fixture *self)
{
    struct ckv_digest *expected = calloc(CKV_RANGES, sizeof(*expected)), all = { { 0, 0 } };
    struct ckv_digest_table *table = calloc(1, sizeof(*table));
    struct ckv_certificate view;
    uint64_t position = 0;
    assert_non_null(expected);
    assert_non_null(table);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    while (ckv_kv_next(txn, &position, &view) == CKV_OK) {
        add_tag(&expected[range_of(self->kv, view.storage_key)], view.record);
        add_tag(&all, view.record);
    }
    assert_int_equal(ckv_kv_digests(txn, table), CKV_OK);
    for (size_t i = 0; i < CKV_RANGES; i++)
        assert_digest(table->ranges[i], expected[i]);
    ckv_kv_abort(&txn);
    assert_digest(root_of(self), all);
    free(table);
    free(expected);
}

static void merge_many(struct fixture *self, unsigned count, uint64_t revision)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < count; i++)
        assert_true(merge_plan(self, txn, (struct plan){ .number = i, .revision = revision }) > 0);
    commit(txn);
}

static void begin_anew(struct fixture *self)
{
    ckv_kv_close(&self->kv);
    remove_directory(self->directory);
    assert_int_equal(mkdir(self->directory, 0700), 0);
    open_store(self);
}

/*  ---- kept ----  */

static void an_empty_store_has_digests_of_zeros(void **state)
{
    struct fixture *self = *state;
    assert_digest(root_of(self), (struct ckv_digest){ { 0, 0 } });
    assert_digests(self);
}

static void a_digest_is_the_sum_over_the_records_of_its_range(void **state)
{
    struct fixture *self = *state;
    struct ckv_digest sum = { { 0, 0 } };
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(merge_plan(self, txn, (struct plan){ .number = i }), CKV_KV_NEW);
        assert_int_equal(ckv_kv_range_of(self->kv, self->a.view.storage_key),
                         range_of(self->kv, self->a.view.storage_key));
        add_tag(&sum, self->a.view.record);
    }
    commit(txn);
    assert_digests(self);
    assert_digest(root_of(self), sum);
    for (unsigned i = 0; i < COUNT; i += 7) /* one by one, where rows are there already */
        assert_int_equal(merge_alone(self, (struct plan){ .number = i, .revision = 2 }),
                         CKV_KV_NEWER);
    assert_digests(self);
}

static void the_root_is_the_sum_of_all_rows(void **state)
{
    struct fixture *self = *state;
    struct ckv_digest_table *table = calloc(1, sizeof(*table));
    struct ckv_digest sum = { { 0, 0 } };
    merge_many(self, COUNT, 1);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_kv_digests(txn, table), CKV_OK);
    for (unsigned row = 0; row < CKV_DIGEST_ROWS; row++)
        ckv_digest_add(&sum, ckv_digest_of_row(table, row), 1);
    ckv_kv_abort(&txn);
    free(table);
    assert_false(sum.lanes[0] == 0 && sum.lanes[1] == 0);
    assert_digest(root_of(self), sum);
}

static void the_order_of_arrival_does_not_matter(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    merge_many(self, COUNT / 2, 3);
    struct ckv_digest root = root_of(self);
    begin_anew(self);
    for (unsigned i = COUNT; i-- > 0;) {
        uint64_t last = i < COUNT / 2 ? 3 : 1;
        assert_int_equal(merge_alone(self, (struct plan){ .number = i, .revision = last }),
                         CKV_KV_NEW);
        assert_int_equal(merge_alone(self, (struct plan){ .number = i, .revision = 1 }),
                         CKV_KV_UNCHANGED);
    }
    assert_digest(root_of(self), root);
    assert_digests(self);
}

static void each_change_of_a_record_changes_the_digest(void **state)
{
    static const struct {
        struct plan plan;
        int merged;
        bool changes;
    } steps[] = {
        { { .number = 7, .created = 200 }, CKV_KV_NEW, true },
        { { .number = 7, .created = 200 }, CKV_KV_UNCHANGED, false },
        { { .number = 7, .created = 200, .revision = 2, .client = 99 }, CKV_KV_NEWER, true },
        { { .number = 7, .created = 200, .revision = 3, .state = CKV_STATE_REVOKED },
          CKV_KV_NEWER,
          true },
        { { .number = 7, .created = 300, .revision = 9 }, CKV_KV_LOST, false },
        { { .number = 7, .created = 100 }, CKV_KV_WON, true },
        { { .number = 7, .created = 200, .revision = 3, .state = CKV_STATE_REVOKED },
          CKV_KV_UNCHANGED,
          false },
    };
    struct fixture *self = *state;
    merge_many(self, 5, 1);
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct ckv_digest before = root_of(self), after;
        assert_int_equal(merge_alone(self, steps[i].plan), steps[i].merged);
        after = root_of(self);
        assert_int_equal(!ckv_digest_equal(before, after), steps[i].changes);
        assert_digests(self);
    }
}

static void changes_of_one_record_in_one_transaction_count_once(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (uint64_t revision = 1; revision < 9; revision++)
        merge_plan(self, txn, (struct plan){ .number = 7, .revision = revision });
    commit(txn);
    assert_digest(root_of(self), ckv_digest_of(self->a.view.record));
    assert_digests(self);
}

/*  ---- not kept ----  */

static void an_aborted_transaction_leaves_the_digests(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < 2 * COUNT; i++)
        merge_plan(self, txn, (struct plan){ .number = i, .revision = 2 });
    ckv_kv_abort(&txn);
    assert_digest(root_of(self), root);
    /*  And nothing of it comes along with the next.  */
    assert_int_equal(merge_alone(self, (struct plan){ .number = 1, .revision = 3 }), CKV_KV_NEWER);
    assert_digests(self);
}

static int no_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                        struct ckv_octets value)
{
    (void)txn, (void)table, (void)key, (void)value;
    return CKV_ERROR_IO;
}

static void digests_that_cannot_be_written_undo_the_commit(void **state)
{
    struct fixture *self = *state;
    const struct ckv_kv_engine *engine = self->kv->engine;
    struct ckv_kv_engine deaf = *engine;
    deaf.table_put = no_table_put;
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 1, .revision = 2 }),
                     CKV_KV_NEWER);
    self->kv->engine = &deaf;
    assert_int_equal(ckv_kv_commit(&txn), CKV_ERROR_IO);
    self->kv->engine = engine;
    assert_null(txn);
    assert_digest(root_of(self), root);
    txn = begin(self, CKV_KV_READ);
    assert_revision(txn, 1, 1);
    ckv_kv_abort(&txn);
    assert_int_equal(merge_alone(self, (struct plan){ .number = 2, .revision = 2 }), CKV_KV_NEWER);
    assert_digests(self);
}

static void a_reader_sees_digests_and_records_of_one_moment(void **state)
{
    struct fixture *self = *state;
    struct ckv_digest root, later;
    merge_many(self, COUNT, 1);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_kv_digest_root(txn, &root), CKV_OK);
    merge_many(self, COUNT, 2);
    assert_int_equal(ckv_kv_digest_root(txn, &later), CKV_OK);
    assert_digest(later, root);
    ckv_kv_reset(txn);
    assert_int_equal(ckv_kv_renew(txn), CKV_OK);
    assert_int_equal(ckv_kv_digest_root(txn, &later), CKV_OK);
    assert_false(ckv_digest_equal(later, root));
    ckv_kv_abort(&txn);
}

/*  ---- walking ----  */

struct visits {
    const struct fixture *fixture;
    struct ckv_ranges ranges;
    unsigned seen[COUNT];
    unsigned left; /* visits until an error */
    int error;
};

static int see(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    struct visits *self = argument;
    char number[16] = "";
    assert_true(certificate->storage_key.size < sizeof(number));
    memcpy(number, certificate->storage_key.data, certificate->storage_key.size);
    assert_int_equal(range, range_of(self->fixture->kv, certificate->storage_key));
    assert_true(ckv_ranges_has(&self->ranges, range));
    assert_int_equal(ckv_certificate_verify(certificate, self->fixture->key), CKV_OK);
    self->seen[atoi(number)]++;
    return self->left-- ? CKV_OK : self->error;
}

/*  Of ranges, those where RANGE % OF == 0; 0: none.  */
static void assert_walk(struct fixture *self, enum ckv_kv_mode mode, unsigned of)
{
    struct visits visits = { .fixture = self, .left = COUNT };
    char text[16];
    for (unsigned range = 0; of && range < CKV_RANGES; range += of)
        ckv_ranges_add(&visits.ranges, range);
    struct ckv_kv_txn *txn = begin(self, mode);
    if (mode == CKV_KV_WRITE) /* it sees what it has changed */
        merge_plan(self, txn, (struct plan){ .number = COUNT - 1 });
    assert_int_equal(ckv_kv_walk_ranges(txn, &visits.ranges, see, &visits), CKV_OK);
    ckv_kv_abort(&txn);
    for (unsigned i = 0; i < COUNT - 1 + (mode == CKV_KV_WRITE); i++) {
        unsigned range = range_of(self->kv, number_key(i, text));
        assert_int_equal(visits.seen[i], of && range % of == 0);
    }
}

static void a_walk_gives_the_records_of_the_ranges_asked_for_and_no_others(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT - 1, 1);
    for (unsigned of = 0; of < 6; of++) {
        assert_walk(self, CKV_KV_READ, of);
        assert_walk(self, CKV_KV_WRITE, of);
    }
}

static void a_walk_finds_the_records_of_one_range(void **state)
{
    struct fixture *self = *state;
    char text[16];
    merge_many(self, COUNT, 1);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    for (unsigned i = 0; i < COUNT; i += 11) {
        struct visits visits = { .fixture = self, .left = COUNT };
        ckv_ranges_add(&visits.ranges, range_of(self->kv, number_key(i, text)));
        assert_int_equal(ckv_kv_walk_ranges(txn, &visits.ranges, see, &visits), CKV_OK);
        assert_int_equal(visits.seen[i], 1);
    }
    ckv_kv_abort(&txn);
}

static void a_walk_ends_when_the_visitor_says_so(void **state)
{
    static const int errors[] = { CKV_ERROR_MEMORY, CKV_ERROR_DAMAGED, CKV_ERROR_NOT_FOUND, 1 };
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        struct visits visits = { .fixture = self, .left = 9, .error = errors[i] };
        unsigned seen = 0;
        memset(&visits.ranges, 0xff, sizeof(visits.ranges));
        assert_int_equal(ckv_kv_walk_ranges(txn, &visits.ranges, see, &visits), errors[i]);
        for (unsigned j = 0; j < COUNT; j++)
            seen += visits.seen[j];
        assert_int_equal(seen, 10);
    }
    ckv_kv_abort(&txn);
}

/*  ---- changes that pile up ----  */

static unsigned count_rows(struct fixture *self, size_t key_size)
{
    struct ckv_octets key = { NULL, 0 }, value;
    unsigned count = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    while (ckv_kv_table_next(txn, CKV_KV_DIGESTS, &key, &value) == CKV_OK)
        count += key.size == key_size;
    ckv_kv_abort(&txn);
    return count;
}

static void small_changes_pile_up_and_are_added_to_the_digests_now_and_then(void **state)
{
    enum { CHANGES = 700, LOOK_EVERY = 50 };
    struct fixture *self = *state;
    unsigned most = 0, last = 0, added = 0;
    for (unsigned i = 0; i < CHANGES; i++) {
        assert_true(merge_alone(self, (struct plan){ .number = i % COUNT, .revision = 1 + i }) > 0);
        unsigned rows = count_rows(self, 9);
        most = rows > most ? rows : most;
        added += rows < last;
        last = rows;
        if (i % LOOK_EVERY == 0)
            assert_digests(self);
        if (i % 177 == 0 && !(self->engine->traits & IN_MEMORY)) {
            ckv_kv_close(&self->kv);
            open_store(self);
        }
    }
    assert_digests(self);
    assert_in_range(most, 100, 300);
    assert_in_range(added, 2, 7);
}

static void a_large_change_is_added_to_the_digests_at_once(void **state)
{
    enum { MANY = 3000 };
    struct fixture *self = *state;
    merge_many(self, 10, 1);
    assert_int_equal(count_rows(self, 9), 1);
    merge_many(self, MANY, 2);
    assert_int_equal(count_rows(self, 9), 1);
    assert_in_range(count_rows(self, 1), CKV_DIGEST_ROWS / 2, CKV_DIGEST_ROWS);
    assert_digests(self);
}

static void what_is_undone_changes_no_digest_even_when_it_was_added_already(void **state)
{
    enum { MANY = 3000 };
    struct fixture *self = *state;
    merge_many(self, 10, 1);
    struct ckv_digest root = root_of(self);
    for (unsigned count = 1; count <= MANY; count += MANY - 1) {
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        for (unsigned i = 0; i < count; i++)
            merge_plan(self, txn, (struct plan){ .number = i, .revision = 2 });
        assert_int_equal(ckv_digests_flush(txn), CKV_OK); /* as a commit does that then fails */
        ckv_kv_abort(&txn);
        assert_digest(root_of(self), root);
        assert_digests(self);
        assert_true(merge_alone(self, (struct plan){ .number = 4, .revision = 3 + count }) > 0);
        assert_digests(self);
        root = root_of(self);
    }
}

/*  The numbers of records that fit, added one by one.  */
static unsigned fill_one_by_one(struct fixture *self)
{
    for (unsigned i = 0;; i++) {
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        int rc = merge_plan(self, txn, (struct plan){ .number = i });
        int committed = ckv_kv_commit(&txn);
        if (rc < 0 || committed != CKV_OK)
            return i;
    }
}

static bool revokes(struct fixture *self, unsigned number, uint64_t revision)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    int rc = merge_plan(
        self, txn,
        (struct plan){ .number = number, .revision = revision, .state = CKV_STATE_REVOKED });
    return ckv_kv_commit(&txn) == CKV_OK && rc == CKV_KV_NEWER;
}

/*  A revocation takes the place of what is there, so a full store goes on taking them; but for a few in
    sqlite, which has to move them to where there is no room.  */
static void a_full_store_goes_on_taking_revocations(void **state)
{
    enum { REVOCATIONS = 1000, TRIES = 20 };
    struct fixture *self = *state;
    for (uint64_t size = 2 << 20; size <= 8 << 20; size += 512 << 10) {
        self->options.max_size = size;
        begin_anew(self);
        unsigned records = fill_one_by_one(self), taken = 0;
        for (unsigned i = 0; i < REVOCATIONS; i++) {
            bool is_taken = false;
            for (int tries = 0; !is_taken && tries < TRIES; tries++) {
                if (tries)
                    usleep(500); /* until whoever builds the filter lets go of the store */
                is_taken = revokes(self, i % records, 2 + i);
            }
            taken += is_taken;
        }
        assert_true(taken >= (self->engine->traits & SQL ? REVOCATIONS * 98 / 100 : REVOCATIONS));
        assert_digests(self);
    }
}

static void digests_of_another_form_are_counted_anew(void **state)
{
    static const uint8_t old = 1;
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(
        ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text("digests"), ckv_octets(&old, 1)),
        CKV_OK);
    put_row(txn, CKV_KV_DIGESTS,
            "\xff"
            "12345678",
            "what a newer one may mean, or nothing");
    commit(txn);
    ckv_kv_close(&self->kv);
    open_store(self);
    assert_digest(root_of(self), root);
    assert_digests(self);
}

static void a_row_that_is_none_is_an_error(void **state)
{
    static const struct {
        const char *key;
        size_t key_size, value_size;
        uint8_t fill;
    } rows[] = { { "\x07", 1, 1023, 0 },
                 { "\xff\0\0\0\0\0\0\0\1", 9, 17, 0 },
                 { "\xff\0\0\0\0\0\0\0\1", 9, 18, 0xff }, /* a range that there is not */
                 { "\xff\0", 2, 18, 0 } };
    static uint8_t value[2048];
    struct fixture *self = *state;
    struct ckv_digest root;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        struct ckv_octets key = ckv_octets(rows[i].key, rows[i].key_size);
        memset(value, rows[i].fill, sizeof(value));
        assert_int_equal(
            ckv_kv_table_put(txn, CKV_KV_DIGESTS, key, ckv_octets(value, rows[i].value_size)),
            CKV_OK);
        assert_int_equal(ckv_kv_digest_root(txn, &root), CKV_ERROR_STORE);
        ckv_kv_abort(&txn);
    }
}

/*  ---- wrong, and mended ----  */

/*  As a version left it that had no digests.  */
static void forget_digests(struct fixture *self)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_table_del(txn, CKV_KV_STATE, ckv_octets_text("digests")), CKV_OK);
    struct ckv_octets key = { NULL, 0 }, value;
    while (ckv_kv_table_next(txn, CKV_KV_DIGESTS, &key, &value) == CKV_OK) {
        assert_int_equal(ckv_kv_table_del(txn, CKV_KV_DIGESTS, key), CKV_OK);
        key.size = 0;
    }
    commit(txn);
    assert_digest(root_of(self), (struct ckv_digest){ { 0, 0 } });
}

static void a_store_without_digests_is_counted_when_it_is_opened(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    merge_many(self, COUNT / 3, 2);
    struct ckv_digest root = root_of(self);
    forget_digests(self);
    for (int round = 0; round < 2; round++) { /* and not again the next time */
        ckv_kv_close(&self->kv);
        open_store(self);
        assert_digest(root_of(self), root);
        assert_digests(self);
    }
    assert_int_equal(merge_alone(self, (struct plan){ .number = 5, .revision = 3 }), CKV_KV_NEWER);
    assert_digests(self);
}

static void a_reader_elsewhere_reads_the_digests(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    ckv_kv_close(&self->kv);
    self->options.read_only = true;
    open_store(self);
    assert_digest(root_of(self), root);
    assert_digests(self);
}

/*  Adds 1 to the digest of RANGE, in its row.  */
static void spoil(struct fixture *self, unsigned range)
{
    uint8_t key = (uint8_t)(range / CKV_DIGEST_ROW_RANGES);
    uint8_t octets[CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE] = { 0 };
    struct ckv_octets value;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    if (ckv_kv_table_get(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1), &value) == CKV_OK) {
        assert_int_equal(value.size, sizeof(octets));
        memcpy(octets, value.data, sizeof(octets));
    }
    octets[range % CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE + 7]++;
    assert_int_equal(ckv_kv_table_put(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1),
                                      ckv_octets(octets, sizeof(octets))),
                     CKV_OK);
    commit(txn);
}

static void mending_counts_a_range_anew(void **state)
{
    struct fixture *self = *state;
    char text[16];
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    for (unsigned i = 0; i < COUNT; i += 29) {
        unsigned range = range_of(self->kv, number_key(i, text));
        unsigned neighbour = range ^ 1; /* of the same row; without records, most likely */
        spoil(self, range);
        spoil(self, neighbour);
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        assert_int_equal(ckv_kv_mend_range(txn, range), CKV_OK);
        commit(txn);
        assert_false(ckv_digest_equal(root_of(self), root));
        txn = begin(self, CKV_KV_WRITE);
        assert_int_equal(ckv_kv_mend_range(txn, neighbour), CKV_OK);
        commit(txn);
        assert_digest(root_of(self), root);
    }
    assert_digests(self);
}

static void mending_counts_what_the_transaction_has_changed(void **state)
{
    struct fixture *self = *state;
    char text[16];
    merge_many(self, COUNT, 1);
    unsigned range = range_of(self->kv, number_key(5, text));
    spoil(self, range);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    merge_plan(self, txn, (struct plan){ .number = 5, .revision = 2 });
    assert_int_equal(ckv_kv_mend_range(txn, range), CKV_OK);
    merge_plan(self, txn, (struct plan){ .number = 5, .revision = 3 });
    commit(txn);
    assert_digests(self);
}

/*  ---- damage ----  */

/*  Changes an octet in the file, wherever RECORD lies in it.  */
static void damage_file(const struct fixture *self, struct ckv_octets record, size_t offset)
{
    static uint8_t octets[4 << 20];
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", self->directory, self->engine->file);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    ssize_t size = read(file, octets, sizeof(octets));
    assert_true(size > 0 && (size_t)size < sizeof(octets));
    unsigned found = 0;
    uint8_t *at = octets;
    while ((at = memmem(at, (size_t)(octets + size - at), record.data, record.size))) {
        uint8_t changed = at[offset] ^ 0x10;
        assert_int_equal(pwrite(file, &changed, 1, at - octets + (off_t)offset), 1);
        at += record.size;
        found++;
    }
    assert_true(found > 0);
    close(file);
}

/*  Flips a bit at OFFSET of the stored record of NUMBER, behind the store's back.  */
static void damage(struct fixture *self, unsigned number, size_t offset)
{
    struct ckv_certificate view;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, number, &view), CKV_OK);
    memcpy(self->b.record, view.record.data, view.record.size);
    struct ckv_octets record = ckv_octets(self->b.record, view.record.size);
    if (self->engine->traits & IN_MEMORY)
        ((uint8_t *)(uintptr_t)view.record.data)[offset] ^= 0x10;
    ckv_kv_abort(&txn);
    if (self->engine->traits & DURABLE) {
        ckv_kv_close(&self->kv);
        damage_file(self, record, offset);
        open_store(self);
    }
}

static void assert_healed(struct fixture *self, unsigned number, struct ckv_digest root)
{
    struct ckv_certificate view;
    make_record(&self->a, self->key, (struct plan){ .number = number, .revision = 1 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_merge_verified(txn, &self->a.view, self->key), CKV_KV_NEWER);
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, number, &view), CKV_OK);
    assert_int_equal(ckv_certificate_verify(&view, self->key), CKV_OK);
    ckv_kv_abort(&txn);
    assert_digest(root_of(self), root);
    assert_digests(self);
}

static void a_healed_record_leaves_the_digest_that_it_had(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    make_record(&self->a, self->key, (struct plan){ .number = 42 });
    const size_t size = self->a.view.record.size;
    const size_t offsets[] = {
        size - 1,                                            /* tag */
        size - CKV_RECORD_TAG_SIZE,                          /* tag */
        offsetof(struct ckv_record, client_public_key),      /* sealed with the tag */
        offsetof(struct ckv_record, client_public_key) + 31, /* the same */
        offsetof(struct ckv_record, nonce),                  /* the same */
    };
    struct ckv_digest root = root_of(self);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
        damage(self, 42, offsets[i]);
        assert_digest(root_of(self), root); /* a digest remembers */
        assert_healed(self, 42, root);
    }
}

static void a_record_whose_storage_key_is_damaged_is_mended_out_of_the_digest(void **state)
{
    struct fixture *self = *state;
    merge_many(self, COUNT, 1);
    struct ckv_digest root = root_of(self);
    damage(self, 42, offsetof(struct ckv_record, storage_key));
    make_record(&self->a, self->key, (struct plan){ .number = 42, .revision = 1 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_true(ckv_kv_merge_verified(txn, &self->a.view, self->key) > 0);
    commit(txn);
    txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_mend_range(txn, range_of(self->kv, self->a.view.storage_key)), CKV_OK);
    commit(txn);
    assert_digest(root_of(self), root);
}

static void a_sound_record_is_not_taken_for_a_damaged_one(void **state)
{
    struct fixture *self = *state;
    merge_alone(self, (struct plan){ .number = 42, .revision = 2 });
    struct ckv_digest root = root_of(self);
    make_record(&self->a, self->key, (struct plan){ .number = 42 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_merge_verified(txn, &self->a.view, self->key), CKV_KV_UNCHANGED);
    commit(txn);
    assert_digest(root_of(self), root);
    assert_digests(self);
}

static const struct test tests[] = {
    TEST(an_empty_store_has_digests_of_zeros, ANY),
    TEST(a_digest_is_the_sum_over_the_records_of_its_range, ANY),
    TEST(the_root_is_the_sum_of_all_rows, ANY),
    TEST(the_order_of_arrival_does_not_matter, ANY),
    TEST(each_change_of_a_record_changes_the_digest, ANY),
    TEST(changes_of_one_record_in_one_transaction_count_once, ANY),
    TEST(an_aborted_transaction_leaves_the_digests, ANY),
    TEST(digests_that_cannot_be_written_undo_the_commit, ANY),
    TEST(a_reader_sees_digests_and_records_of_one_moment, ANY),
    TEST(a_walk_gives_the_records_of_the_ranges_asked_for_and_no_others, ANY),
    TEST(a_walk_finds_the_records_of_one_range, ANY),
    TEST(a_walk_ends_when_the_visitor_says_so, ANY),
    TEST(a_store_without_digests_is_counted_when_it_is_opened, DURABLE),
    TEST(a_reader_elsewhere_reads_the_digests, DURABLE),
    TEST(mending_counts_a_range_anew, ANY),
    TEST(mending_counts_what_the_transaction_has_changed, ANY),
    TEST(a_healed_record_leaves_the_digest_that_it_had, ANY),
    TEST(a_record_whose_storage_key_is_damaged_is_mended_out_of_the_digest, ANY),
    TEST(a_sound_record_is_not_taken_for_a_damaged_one, ANY),
    TEST(small_changes_pile_up_and_are_added_to_the_digests_now_and_then, PILES),
    TEST(a_large_change_is_added_to_the_digests_at_once, PILES),
    TEST(what_is_undone_changes_no_digest_even_when_it_was_added_already, ANY_KEY),
    TEST(a_full_store_goes_on_taking_revocations, DURABLE),
    TEST(digests_of_another_form_are_counted_anew, DURABLE),
    TEST(a_row_that_is_none_is_an_error, ANY_KEY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
