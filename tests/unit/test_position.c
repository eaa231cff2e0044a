/*  The position in the log, over all engines.  */
#include "replication/position.h"
#include "tests/unit/stores.h"

static struct ckv_position read_position(struct fixture *self)
{
    struct ckv_position position;
    memset(&position, 0xff, sizeof(position)); /* all of it is set */
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_position_get(&position, txn), CKV_OK);
    ckv_kv_abort(&txn);
    return position;
}

static void assert_position(struct fixture *self, const struct ckv_position *expected)
{
    struct ckv_position position = read_position(self);
    assert_true(position.epoch == expected->epoch && position.sequence == expected->sequence);
    assert_memory_equal(position.mark, expected->mark, CKV_MARK_SIZE);
    assert_int_equal(position.complete, expected->complete);
}

static struct ckv_position a_position(uint64_t sequence)
{
    struct ckv_position position = { .epoch = UINT64_C(0x1122334455667788),
                                     .sequence = sequence,
                                     .complete = sequence % 2 };
    ckv_position_mark(position.mark, ckv_octets(&sequence, sizeof(sequence)));
    return position;
}

static void put_position(struct fixture *self, const struct ckv_position *position)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_position_put(position, txn), CKV_OK);
    commit(txn);
}

static void a_new_store_has_no_epoch_yet(void **state)
{
    assert_position(*state, &(struct ckv_position){ 0 });
}

static void a_position_is_read_as_it_was_put(void **state)
{
    static const uint64_t sequences[] = { 0, 1, 2, 256, UINT64_MAX - 1, UINT64_MAX };
    struct fixture *self = *state;
    for (size_t i = 0; i < sizeof(sequences) / sizeof(*sequences); i++) {
        struct ckv_position position = a_position(sequences[i]);
        put_position(self, &position);
        assert_position(self, &position);
        if (self->engine->traits & DURABLE) {
            ckv_kv_close(&self->kv);
            open_store(self);
            assert_position(self, &position);
        }
    }
}

static void a_position_is_where_the_last_commit_left_it(void **state)
{
    struct fixture *self = *state;
    struct ckv_position kept = a_position(7), lost = a_position(8), seen;
    put_position(self, &kept);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_position_put(&lost, txn), CKV_OK);
    assert_int_equal(ckv_position_get(&seen, txn), CKV_OK);
    assert_true(seen.sequence == lost.sequence);
    ckv_kv_abort(&txn);
    assert_position(self, &kept);
}

static void entries_that_differ_have_different_marks(void **state)
{
    uint8_t a[CKV_MARK_SIZE], b[CKV_MARK_SIZE];
    (void)state;
    ckv_position_mark(a, ckv_octets_text("an entry"));
    ckv_position_mark(b, ckv_octets_text("an entry"));
    assert_memory_equal(a, b, CKV_MARK_SIZE);
    ckv_position_mark(b, ckv_octets_text("an entrz"));
    assert_memory_not_equal(a, b, CKV_MARK_SIZE);
    assert_false(sodium_is_zero(a, sizeof(a)));
}

static void a_position_that_cannot_be_read_is_an_error(void **state)
{
    struct fixture *self = *state;
    struct ckv_position position = a_position(7);
    uint8_t octets[64];
    struct ckv_octets value;
    put_position(self, &position);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text("position"), &value),
                     CKV_OK);
    size_t size = value.size;
    assert_true(size + 1 < sizeof(octets));
    memcpy(octets, value.data, size);
    for (size_t i = 0; i <= size + 1; i++) {
        assert_int_equal(
            ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text("position"), ckv_octets(octets, i)),
            CKV_OK);
        assert_int_equal(ckv_position_get(&position, txn), i == size ? CKV_OK : CKV_ERROR_STORE);
    }
    ckv_kv_abort(&txn);
}

static const struct test tests[] = {
    TEST(a_new_store_has_no_epoch_yet, ANY),
    TEST(a_position_is_read_as_it_was_put, ANY),
    TEST(a_position_is_where_the_last_commit_left_it, ANY),
    TEST(entries_that_differ_have_different_marks, ANY),
    TEST(a_position_that_cannot_be_read_is_an_error, ANY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
