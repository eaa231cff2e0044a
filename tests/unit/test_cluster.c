/*  Of which cluster a store is a member, over all engines.  */
#include "replication/cluster.h"
#include "replication/members.h"
#include "replication/outbox.h"
#include "replication/position.h"
#include "tests/unit/stores.h"

static void assert_cluster(struct fixture *self, const char *expected)
{
    char name[CKV_CLUSTER_NAME_MAX + 1];
    memset(name, 'x', sizeof(name));
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_cluster_get(name, txn), CKV_OK);
    assert_string_equal(name, expected);
    ckv_kv_abort(&txn);
}

static void put_cluster(struct fixture *self, const char *name)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_cluster_put(name, txn), CKV_OK);
    commit(txn);
}

static void a_new_store_is_a_member_of_no_cluster(void **state)
{
    assert_cluster(*state, "");
}

static void a_store_remembers_its_cluster(void **state)
{
    struct fixture *self = *state;
    char longest[CKV_CLUSTER_NAME_MAX + 1];
    memset(longest, 'c', CKV_CLUSTER_NAME_MAX);
    longest[CKV_CLUSTER_NAME_MAX] = 0;
    const char *const names[] = { "c", "fleet", longest };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        put_cluster(self, names[i]);
        assert_cluster(self, names[i]);
        if (self->engine->traits & DURABLE) {
            ckv_kv_close(&self->kv);
            open_store(self);
            assert_cluster(self, names[i]);
        }
    }
}

static void a_name_that_cannot_be_read_is_an_error(void **state)
{
    struct fixture *self = *state;
    char name[CKV_CLUSTER_NAME_MAX + 1], octets[CKV_CLUSTER_NAME_MAX + 1];
    const struct ckv_octets values[] = { { NULL, 0 },
                                         ckv_octets(octets, sizeof(octets)),
                                         ckv_octets("a\0b", 3) };
    memset(octets, 'c', sizeof(octets));
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        assert_int_equal(ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text("cluster"), values[i]),
                         CKV_OK);
        assert_int_equal(ckv_cluster_get(name, txn), CKV_ERROR_STORE);
    }
    ckv_kv_abort(&txn);
}

/*  A store that is a member, with rows of all that goes when it is none any more.  */
static void join(struct fixture *self, struct ckv_outbox *outbox)
{
    struct ckv_position position = { .epoch = 5, .sequence = 7, .complete = true, .settled = true };
    uint64_t number;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_cluster_put("fleet", txn), CKV_OK);
    assert_int_equal(ckv_position_put(&position, txn), CKV_OK);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(ckv_members_put(txn, id, 1, id == 3 ? "" : "node"), CKV_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ckv_outbox_put(outbox, txn, 0, ckv_octets_text("key"), &number), CKV_OK);
    put_row(txn, CKV_KV_STATE, "another", "row");
    commit(txn);
}

static void who_leaves_keeps_its_certificates_and_forgets_the_rest(void **state)
{
    struct fixture *self = *state;
    struct ckv_outbox outbox = { 0 };
    struct ckv_outbox_row row;
    struct ckv_position position;
    struct ckv_octets key = ckv_octets(NULL, 0), value;
    uint64_t unsent = 0;
    merge_alone(self, (struct plan){ .number = 1, .revision = 1 });
    join(self, &outbox);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_cluster_leave(txn, &unsent), CKV_OK);
    commit(txn);
    assert_int_equal(unsent, 4);
    assert_cluster(self, "");
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_position_get(&position, txn), CKV_OK);
    assert_true(position.epoch == 0 && !position.settled);
    assert_int_equal(ckv_kv_table_next(txn, CKV_KV_MEMBERS, &key, &value), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_outbox_next(txn, 0, &row), CKV_ERROR_NOT_FOUND);
    assert_row(txn, CKV_KV_STATE, "another", "row");
    ckv_kv_abort(&txn);
    assert_int_equal(count_records(self), 1);
    /*  Numbers only grow: an entry of before, read again from the log, is not taken for a new one.  */
    assert_int_equal(ckv_outbox_open(&outbox, self->kv), CKV_OK);
    assert_int_equal(outbox.last, 4);
}

static const struct test tests[] = {
    TEST(a_new_store_is_a_member_of_no_cluster, ANY),
    TEST(a_store_remembers_its_cluster, ANY),
    TEST(a_name_that_cannot_be_read_is_an_error, ANY),
    TEST(who_leaves_keeps_its_certificates_and_forgets_the_rest, ANY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
