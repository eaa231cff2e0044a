/*  What becomes of records that are merged into a store, over all engines: in whatever order they
    come, every node ends up with the same octets.  */
#include "tests/unit/stores.h"

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
        merge_alone(self.fixture, contenders[i]);
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

/*  ---- many ----  */

enum { MANY = 20000, BATCH = 500 };

struct model {
    uint64_t *revisions; /* by number; 0: not there */
    unsigned *clients;
};

static struct plan plan_of(unsigned number, uint64_t revision, unsigned client)
{
    return (struct plan){ .number = number,
                          .revision = revision,
                          .client = client,
                          .padding = (number + (unsigned)revision) % 97 };
}

/*  A batch of random merges; every fifth is aborted.  */
static void merge_batch(struct fixture *self, struct model *model)
{
    bool keep = randombytes_uniform(5) != 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < BATCH; i++) {
        unsigned number = randombytes_uniform(MANY), client = 1 + randombytes_uniform(MANY);
        uint64_t revision = 1 + randombytes_uniform(1000);
        int rc = merge_plan(self, txn, plan_of(number, revision, client));
        assert_true(rc > 0);
        if (!keep)
            continue;
        uint64_t old = model->revisions[number];
        if (revision != old)
            assert_int_equal(rc, !old             ? CKV_KV_NEW
                                 : revision > old ? CKV_KV_NEWER
                                                  : CKV_KV_UNCHANGED);
        /*  Of two with one revision the smaller octets stand: ask.  */
        struct ckv_certificate view;
        assert_int_equal(get(txn, number, &view), CKV_OK);
        if (ckv_octets_equal(view.record, self->a.view.record)) {
            model->revisions[number] = revision;
            model->clients[number] = client;
        }
    }
    if (keep)
        commit(txn);
    else
        ckv_kv_abort(&txn);
}

static void assert_model(struct fixture *self, const struct model *model)
{
    struct ckv_certificate view;
    uint64_t position = 0, there = 0, walked = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    for (unsigned number = 0; number < MANY; number++) {
        uint64_t revision = model->revisions[number];
        if (!revision) {
            assert_int_equal(get(txn, number, &view), CKV_ERROR_NOT_FOUND);
            continue;
        }
        there++;
        make_record(&self->b, self->key, plan_of(number, revision, model->clients[number]));
        assert_int_equal(get(txn, number, &view), CKV_OK);
        assert_octets(view.record, self->b.view.record);
        assert_int_equal(find(txn, model->clients[number], &view), CKV_OK);
        assert_true(view.revision >= revision);
    }
    while (ckv_kv_next(txn, &position, &view) == CKV_OK)
        walked++;
    assert_true(walked == there && there > MANY / 3);
    ckv_kv_abort(&txn);
    assert_true(count_records(self) == there);
}

static void twenty_thousand_records_are_as_a_model_has_them(void **state)
{
    struct fixture *self = *state;
    struct model model = { calloc(MANY, sizeof(uint64_t)), calloc(MANY, sizeof(unsigned)) };
    assert_true(model.revisions && model.clients);
    for (unsigned i = 0; i < MANY / BATCH; i++)
        merge_batch(self, &model);
    assert_model(self, &model);
    free(model.revisions);
    free(model.clients);
}

static const struct test tests[] = {
    TEST(merging_in_any_order_gives_the_same_octets, ANY),
    TEST(merging_says_what_became_of_the_record, ANY),
    TEST(what_is_unchanged_is_not_written, ANY),
    TEST(a_transaction_with_an_error_cannot_commit, ANY),
    TEST(twenty_thousand_records_are_as_a_model_has_them, ANY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
