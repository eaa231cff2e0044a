/*  The outbox, over all engines: a change's row is there just as its change is, and in its turn.  */
#include "replication/outbox.h"
#include "tests/unit/stores.h"

/*  ---- helpers ----  */

static struct ckv_outbox open_outbox(struct fixture *self)
{
    struct ckv_outbox outbox;
    assert_int_equal(ckv_outbox_open(&outbox, self->kv), CKV_OK);
    return outbox;
}

static uint64_t put(struct ckv_outbox *self, struct ckv_kv_txn *txn, uint8_t flags,
                    const char *content)
{
    uint64_t number = 0;
    assert_int_equal(ckv_outbox_put(self, txn, flags, ckv_octets_text(content), &number), CKV_OK);
    assert_true(number == self->last);
    return number;
}

static uint64_t put_alone(struct fixture *self, struct ckv_outbox *outbox, const char *content)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    uint64_t number = put(outbox, txn, 0, content);
    commit(txn);
    return number;
}

static void assert_next(struct ckv_kv_txn *txn, uint64_t after, uint64_t number, uint8_t flags,
                        const char *content)
{
    struct ckv_outbox_row row;
    assert_int_equal(ckv_outbox_next(txn, after, &row), CKV_OK);
    assert_true(row.number == number);
    assert_int_equal(row.flags, flags);
    assert_octets(row.content, ckv_octets_text(content));
}

static void assert_end(struct ckv_kv_txn *txn, uint64_t after)
{
    struct ckv_outbox_row row;
    assert_int_equal(ckv_outbox_next(txn, after, &row), CKV_ERROR_NOT_FOUND);
}

static void forget_memory(struct fixture *self, struct ckv_outbox *outbox)
{
    if (self->engine->traits & DURABLE) {
        ckv_kv_close(&self->kv);
        open_store(self);
    }
    *outbox = open_outbox(self);
}

/*  ---- promises ----  */

static void an_empty_outbox_has_no_rows(void **state)
{
    struct fixture *self = *state;
    assert_true(open_outbox(self).last == 0);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_end(txn, 0);
    assert_end(txn, UINT64_MAX);
    ckv_kv_abort(&txn);
}

static void rows_come_in_the_order_in_which_they_were_put(void **state)
{
    enum { ROWS = 600 }; /* beyond one octet of the number */
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    struct ckv_outbox_row row = { 0 };
    char text[16];
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = ROWS; i-- > 0;) {
        number_key(i, text);
        assert_true(put(&outbox, txn, (uint8_t)(i % 8), text) == ROWS - i);
    }
    assert_next(txn, 0, 1, (ROWS - 1) % 8, "599"); /* the writer sees them already */
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    for (unsigned i = ROWS; i-- > 0;) {
        assert_int_equal(ckv_outbox_next(txn, row.number, &row), CKV_OK);
        assert_true(row.number == ROWS - i);
        assert_int_equal(row.flags, i % 8);
        assert_octets(row.content, number_key(i, text));
    }
    assert_end(txn, row.number);
    ckv_kv_abort(&txn);
}

static void a_row_that_is_removed_is_gone_and_one_that_is_not_there_may_be_removed(void **state)
{
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    put(&outbox, txn, CKV_OUTBOX_NOTIFY, "one");
    put(&outbox, txn, CKV_OUTBOX_RESERVED, "two");
    put(&outbox, txn, CKV_OUTBOX_FORGET, "12345678");
    commit(txn);
    txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_outbox_del(txn, 2), CKV_OK);
    assert_int_equal(ckv_outbox_del(txn, 2), CKV_OK);
    assert_int_equal(ckv_outbox_del(txn, 99), CKV_OK);
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_next(txn, 0, 1, CKV_OUTBOX_NOTIFY, "one");
    assert_next(txn, 1, 3, CKV_OUTBOX_FORGET, "12345678");
    assert_next(txn, 2, 3, CKV_OUTBOX_FORGET, "12345678");
    assert_end(txn, 3);
    ckv_kv_abort(&txn);
}

static void numbers_grow_also_when_all_rows_are_gone_and_the_outbox_is_opened_again(void **state)
{
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    uint64_t last = 0;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t number = put_alone(self, &outbox, "content");
        assert_true(number > last);
        last = number;
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        assert_int_equal(ckv_outbox_del(txn, number), CKV_OK);
        commit(txn);
        if (i % 100 == 50)
            forget_memory(self, &outbox);
    }
    forget_memory(self, &outbox);
    assert_true(outbox.last == last);
}

static void a_transaction_that_is_aborted_leaves_no_row_and_no_number_is_used_twice(void **state)
{
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    uint64_t first = put_alone(self, &outbox, "kept");
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    uint64_t lost = put(&outbox, txn, 0, "lost");
    ckv_kv_abort(&txn);
    uint64_t second = put_alone(self, &outbox, "kept, too");
    assert_true(first < lost && lost < second);
    txn = begin(self, CKV_KV_WRITE);
    put(&outbox, txn, 0, "lost");
    ckv_kv_abort(&txn);
    forget_memory(self, &outbox);
    uint64_t third = put_alone(self, &outbox, "kept as well");
    assert_true(third > second);
    txn = begin(self, CKV_KV_READ);
    assert_next(txn, 0, first, 0, "kept");
    assert_next(txn, first, second, 0, "kept, too");
    assert_next(txn, second, third, 0, "kept as well");
    assert_end(txn, third);
    ckv_kv_abort(&txn);
}

static void content_has_the_bounds_of_a_storage_key(void **state)
{
    static const uint8_t octets[CKV_STORAGE_KEY_MAX + 1];
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    struct ckv_outbox_row row;
    uint64_t number = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_outbox_put(&outbox, txn, 0, ckv_octets(octets, 0), &number),
                     CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_outbox_put(&outbox, txn, 0, ckv_octets(octets, sizeof(octets)), &number),
                     CKV_ERROR_ARGUMENT);
    for (size_t size = 1; size <= CKV_STORAGE_KEY_MAX; size++) {
        assert_int_equal(ckv_outbox_put(&outbox, txn, 0, ckv_octets(octets, size), &number),
                         CKV_OK);
        assert_true(number == size); /* what was refused took none */
        assert_int_equal(ckv_outbox_next(txn, number - 1, &row), CKV_OK);
        assert_octets(row.content, ckv_octets(octets, size));
    }
    commit(txn);
}

static void rows_that_cannot_be_read_are_passed_over(void **state)
{
    struct fixture *self = *state;
    struct ckv_outbox outbox = open_outbox(self);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    const uint8_t second[8] = { 0, 0, 0, 0, 0, 0, 0, 2 };
    put(&outbox, txn, 0, "one");
    put(&outbox, txn, 0, "two");
    put(&outbox, txn, 0, "three");
    assert_int_equal(
        ckv_kv_table_put(txn, CKV_KV_OUTBOX, ckv_octets(second, sizeof(second)), ckv_octets("", 1)),
        CKV_OK);
    for (size_t size = 1; size <= 9; size++) /* before, between and behind them */
        if (size != 8) {
            const uint8_t key[9] = { 0, 0, 0, 0, 0, 0, 0, 1, 1 };
            assert_int_equal(ckv_kv_table_put(txn, CKV_KV_OUTBOX, ckv_octets(key, size),
                                              ckv_octets_text("strange")),
                             CKV_OK);
        }
    put_row(txn, CKV_KV_OUTBOX, "strange", "strange");
    commit(txn);
    txn = begin(self, CKV_KV_READ);
    assert_next(txn, 0, 1, 0, "one");
    assert_next(txn, 1, 3, 0, "three");
    assert_end(txn, 3);
    ckv_kv_abort(&txn);
}

static const struct test tests[] = {
    TEST(an_empty_outbox_has_no_rows, ANY),
    TEST(rows_come_in_the_order_in_which_they_were_put, ANY),
    TEST(a_row_that_is_removed_is_gone_and_one_that_is_not_there_may_be_removed, ANY),
    TEST(numbers_grow_also_when_all_rows_are_gone_and_the_outbox_is_opened_again, ANY),
    TEST(a_transaction_that_is_aborted_leaves_no_row_and_no_number_is_used_twice, ANY),
    TEST(content_has_the_bounds_of_a_storage_key, ANY),
    TEST(rows_that_cannot_be_read_are_passed_over, ANY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
