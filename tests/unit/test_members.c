/*  The members of a cluster, over all engines: who they are, how they are, whether they agree.  */
#include "replication/members.h"
#include "tests/unit/stores.h"

enum { SELF = 11, NOW = 100000, TTL = 3000, EPOCH = 5 };

/*  ---- helpers ----  */

static struct ckv_members *open_members(struct fixture *self)
{
    struct ckv_members *members = malloc(sizeof(*members));
    assert_non_null(members);
    memset(members, 0xff, sizeof(*members));
    assert_int_equal(ckv_members_open(members, self->kv, SELF, "myself"), CKV_OK);
    return members;
}

static void put_member(struct fixture *self, uint64_t id, const char *name)
{
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_members_put(txn, id, 1, name), CKV_OK);
    commit(txn);
}

enum { WALL = 1000000 }; /* when all is heard, ms since 1970 */

static int hear_for(struct ckv_member *member, uint64_t instance, uint64_t number,
                    struct ckv_announcement said, uint32_t ttl_ms, uint64_t now_ms)
{
    struct ckv_message message = { .type = CKV_MESSAGE_ANNOUNCEMENT,
                                   .sender = member->id,
                                   .instance = instance,
                                   .number = number };
    said.name = said.name.size ? said.name : ckv_octets_text("node");
    said.ttl_ms = ttl_ms;
    return ckv_members_hear(member, &message, &said, now_ms, WALL);
}

static int hear(struct ckv_member *member, uint64_t instance, uint64_t number,
                struct ckv_announcement said, uint64_t now_ms)
{
    return hear_for(member, instance, number, said, TTL, now_ms);
}

/*  Its last announcement, when it stops.  */
static int hear_end(struct ckv_member *member, uint64_t instance, uint64_t number, uint64_t started)
{
    return hear_for(member, instance, number, (struct ckv_announcement){ .started = started }, 0,
                    NOW);
}

/*  ---- who ----  */

static void a_node_is_a_member_of_its_own_cluster(void **state)
{
    struct fixture *self = *state;
    for (int round = 0; round < 3; round++) {
        struct ckv_members *members = open_members(self);
        assert_int_equal(members->count, 1);
        assert_true(members->list[0].id == SELF && ckv_members_sum(members) == SELF);
        assert_string_equal(members->list[0].name, "myself");
        assert_false(ckv_members_forgotten_at(members, SELF));
        free(members);
        put_member(self, SELF, round ? "" : "as I was called before");
    }
}

static void members_are_read_from_the_store(void **state)
{
    struct fixture *self = *state;
    char name[CKV_NODE_NAME_MAX + 10];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = 0;
    put_member(self, UINT64_MAX, "another");
    put_member(self, 13, "north");
    put_member(self, 13, "south"); /* it has been renamed */
    put_member(self, 14, name);
    put_member(self, 15, "forgotten");
    put_member(self, 15, "");
    put_member(self, 16, "");
    put_member(self, 16, "came back");
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    put_row(txn, CKV_KV_MEMBERS, "no id", "strange");
    commit(txn);
    struct ckv_members *members = open_members(self);
    assert_int_equal(members->count, 5);
    assert_true(ckv_members_sum(members) == UINT64_MAX + UINT64_C(13) + 14 + 16 + SELF);
    assert_string_equal(ckv_members_find(members, 13)->name, "south");
    assert_int_equal(strlen(ckv_members_find(members, 14)->name), CKV_NODE_NAME_MAX);
    assert_null(ckv_members_find(members, 15));
    assert_true(ckv_members_forgotten_at(members, 15));
    assert_string_equal(ckv_members_find(members, 16)->name, "came back");
    assert_false(ckv_members_forgotten_at(members, 16));
    assert_false(ckv_member_is_live(ckv_members_find(members, 13), NOW));
    free(members);
}

static void a_member_is_found_by_its_name_or_id(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *added = ckv_members_add(members, UINT64_C(0xab));
    assert_ptr_equal(ckv_members_add(members, UINT64_C(0xab)), added);
    assert_int_equal(members->count, 2);
    assert_ptr_equal(ckv_members_named(members, ckv_octets_text("00000000000000ab")), added);
    assert_ptr_equal(ckv_members_named(members, ckv_octets_text("00000000000000AB")), added);
    hear(added, 1, 1, (struct ckv_announcement){ .name = ckv_octets_text("north") }, NOW);
    assert_ptr_equal(ckv_members_named(members, ckv_octets_text("north")), added);
    assert_ptr_equal(ckv_members_named(members, ckv_octets_text("00000000000000ab")), added);
    assert_null(ckv_members_named(members, ckv_octets_text("nort")));
    assert_null(ckv_members_named(members, ckv_octets_text("ab")));
    assert_null(ckv_members_named(members, ckv_octets_text("00000000000000ac")));
    assert_null(ckv_members_named(members, ckv_octets_text("")));
    free(members);
}

static void there_is_a_bound_to_members(void **state)
{
    struct ckv_members *members = open_members(*state);
    for (uint64_t id = 1; members->count < CKV_MEMBERS_MAX; id++)
        assert_non_null(ckv_members_add(members, id * 1000));
    assert_null(ckv_members_add(members, 999999));
    assert_non_null(ckv_members_add(members, 1000));
    ckv_members_forget(members, 2000, 1);
    ckv_members_forget(members, 2000, 1);
    assert_int_equal(members->count, CKV_MEMBERS_MAX - 1);
    assert_null(ckv_members_find(members, 2000));
    for (uint64_t id = 1; id < CKV_MEMBERS_MAX; id++)
        assert_true(id == 2 || ckv_members_find(members, id * 1000)->id == id * 1000);
    assert_non_null(ckv_members_add(members, 999999));
    free(members);
}

static void whoever_is_forgotten_is_no_member_until_it_is_added_again(void **state)
{
    struct ckv_members *members = open_members(*state);
    ckv_members_add(members, 12);
    ckv_members_add(members, 13);
    ckv_members_forget(members, 12, 1);
    ckv_members_forget(members, 12, 1);
    ckv_members_forget(members, 99, 1); /* whom this node never knew */
    assert_null(ckv_members_find(members, 12));
    assert_true(ckv_members_sum(members) == SELF + 13);
    assert_true(ckv_members_forgotten_at(members, 12) && ckv_members_forgotten_at(members, 99));
    assert_false(ckv_members_forgotten_at(members, 13));
    assert_int_equal(members->forgotten_count, 2);
    assert_non_null(ckv_members_add(members, 12));
    assert_false(ckv_members_forgotten_at(members, 12));
    assert_true(ckv_members_forgotten_at(members, 99));
    for (uint64_t id = 1000; id < 1000 + 2 * CKV_FORGOTTEN_MAX; id++)
        ckv_members_forget(members, id, 1);
    assert_int_equal(members->forgotten_count, CKV_FORGOTTEN_MAX);
    assert_true(ckv_members_forgotten_at(members, 99) && ckv_members_find(members, 12));
    free(members);
}

static void who_was_heard_after_being_forgotten_elsewhere_stays_a_member(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    assert_int_equal(hear(member, 1, 1, (struct ckv_announcement){ .started = 1 }, 5), 1);
    assert_false(ckv_members_forget(members, 12, WALL - 1));
    assert_non_null(ckv_members_find(members, 12));
    assert_true(ckv_members_forget(members, 12, WALL));
    assert_null(ckv_members_find(members, 12));
    free(members);
}

static void whom_a_node_knows_is_read_as_it_was_written(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_buffer buffer = { 0 };
    struct ckv_membership item;
    unsigned known = 0, forgotten = 0;
    ckv_members_add(members, UINT64_MAX);
    ckv_members_forget(members, 12, 1);
    ckv_members_forget(members, 13, 1);
    assert_int_equal(ckv_members_write(members, &buffer), CKV_OK);
    assert_int_equal(buffer.size, 4 * CKV_MEMBERSHIP_SIZE);
    struct ckv_octets payload = ckv_buffer_octets(&buffer);
    while (ckv_membership_next(&payload, &item) == 1) {
        assert_true(!item.forgotten_at ? item.id == SELF || item.id == UINT64_MAX
                                       : item.id == 12 || item.id == 13);
        known += !item.forgotten_at;
        forgotten += item.forgotten_at == 1;
    }
    assert_true(known == 2 && forgotten == 2 && payload.size == 0);
    ckv_buffer_clear(&buffer);
    free(members);
}

/*  ---- how ----  */

static void an_announcement_says_how_a_member_is(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    struct ckv_announcement said = { .records = 7,
                                     .epoch = EPOCH,
                                     .name = ckv_octets_text("north"),
                                     .endpoint = ckv_octets_text("tcp://north:5670") };
    assert_int_equal(hear(member, 1, 1, said, NOW), 1);
    assert_string_equal(member->name, "north");
    assert_string_equal(member->endpoint, "tcp://north:5670");
    assert_true(member->said.records == 7 && member->heard_ms == NOW);
    assert_null(member->said.name.data);
    assert_null(member->said.endpoint.data);
    assert_true(member->confirmed_epoch == 0);
    said.flags = CKV_ANNOUNCES_CONFIRMED;
    assert_int_equal(hear(member, 1, 2, said, NOW), 1);
    assert_true(member->confirmed_epoch == EPOCH);
    free(members);
}

static void an_announcement_that_is_repeated_or_older_is_ignored(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    struct ckv_announcement said = { .records = 1 }, old = { .records = 99 };
    old.flags = CKV_ANNOUNCES_CONFIRMED;
    old.epoch = EPOCH;
    assert_int_equal(hear(member, 1, 7, said, NOW), 1);
    for (uint64_t number = 0; number <= 7; number++)
        assert_int_equal(hear(member, 1, number, old, NOW + 1000), 0);
    assert_true(member->said.records == 1 && member->heard_ms == NOW && member->number == 7);
    assert_true(member->confirmed_epoch == 0);
    assert_int_equal(hear(member, 1, 8, old, NOW + 1000), 1);
    assert_true(member->said.records == 99);
    /*  A node that was started again counts anew.  */
    assert_int_equal(hear(member, 2, 1, said, NOW + 2000), 1);
    assert_true(member->said.records == 1 && member->number == 1 && member->instance == 2);
    assert_int_equal(hear(member, 2, 1, old, NOW + 2000), 0);
    free(members);
}

static void a_member_that_says_that_it_stops_is_down_at_once(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    struct ckv_announcement said = { .started = 100 };
    hear(member, 1, 7, said, NOW);
    assert_true(ckv_member_is_live(member, NOW));
    assert_int_equal(hear_end(member, 1, 8, 100), 1);
    assert_false(ckv_member_is_live(member, NOW));
    for (uint64_t number = 1; number < 20; number++) /* nothing of that life brings it back */
        assert_int_equal(hear(member, 1, number, said, NOW), 0);
    assert_false(ckv_member_is_live(member, NOW));
    for (uint64_t started = 99; started <= 101; started++) { /* whatever became of its clock */
        said.started = started;
        assert_int_equal(hear(member, started, 1, said, NOW), 1);
        assert_true(ckv_member_is_live(member, NOW));
        assert_int_equal(hear_end(member, started, 2, started), 1);
    }
    free(members);
}

static void the_end_of_another_life_does_not_make_a_member_look_gone(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    hear(member, 1, 7, (struct ckv_announcement){ .started = 100 }, NOW);
    assert_int_equal(hear_end(member, 1, 7, 100), 0); /* what it said before comes again */
    assert_int_equal(hear_end(member, 1, 6, 100), 0);
    for (uint64_t started = 99; started <= 101; started++)
        assert_int_equal(hear_end(member, 2, 8, started), 0);
    assert_true(ckv_member_is_live(member, NOW));
    assert_true(member->instance == 1 && member->number == 7);
    assert_int_equal(hear_end(member, 1, 8, 100), 1);
    hear(member, 3, 1, (struct ckv_announcement){ .started = 50 }, NOW); /* its clock was set */
    hear(member, 1, 9, (struct ckv_announcement){ .started = 100 }, NOW);
    assert_int_equal(hear_end(member, 1, 10, 100), 0);
    assert_true(ckv_member_is_live(member, NOW));
    free(members);
}

static void a_member_that_is_not_heard_in_its_time_is_down(void **state)
{
    struct ckv_members *members = open_members(*state);
    struct ckv_member *member = ckv_members_add(members, 12);
    assert_false(ckv_member_is_live(member, NOW));
    hear(member, 1, 1, (struct ckv_announcement){ 0 }, NOW);
    assert_true(ckv_member_is_live(member, NOW));
    assert_true(ckv_member_is_live(member, NOW + TTL - 1));
    assert_false(ckv_member_is_live(member, NOW + TTL));
    assert_false(ckv_member_is_live(member, NOW + 100 * TTL));
    hear(member, 1, 1, (struct ckv_announcement){ 0 }, NOW + TTL); /* repeated by somebody */
    assert_false(ckv_member_is_live(member, NOW + TTL));
    hear(member, 1, 2, (struct ckv_announcement){ 0 }, NOW + TTL);
    assert_true(ckv_member_is_live(member, NOW + TTL));
    member->heard_ms = 0; /* not since the start, however short that is ago */
    assert_false(ckv_member_is_live(member, 1));
    free(members);
}

/*  ---- whether they agree ----  */

struct other {
    uint64_t confirmed;
    bool live, knows_all;
};

/*  Of a node that has CONFIRMED, and two others.  */
static bool agree(struct fixture *self, uint64_t confirmed, const struct other others[2])
{
    struct ckv_members *members = open_members(self);
    ckv_members_find(members, SELF)->confirmed_epoch = confirmed;
    for (unsigned i = 0; i < 2; i++)
        ckv_members_add(members, 12 + i);
    uint64_t sum = ckv_members_sum(members);
    assert_true(sum == SELF + 12 + 13);
    for (unsigned i = 0; i < 2; i++) {
        struct ckv_announcement said = { .members = others[i].knows_all ? sum : sum - SELF };
        struct ckv_member *member = ckv_members_find(members, 12 + i);
        hear(member, 1, 1, said, others[i].live ? NOW : NOW - TTL);
        member->confirmed_epoch = others[i].confirmed;
    }
    bool answer = ckv_members_agree(members, SELF, EPOCH, NOW);
    free(members);
    return answer;
}

static void members_agree_when_all_have_confirmed_and_the_live_know_the_same(void **state)
{
    static const uint64_t epochs[] = { 0, EPOCH - 1, EPOCH, EPOCH + 1 };
    unsigned agreed = 0;
    for (unsigned i = 0; i < 4 * 16 * 16; i++) {
        const struct other others[2] = {
            { epochs[i / 4 % 4], i / 16 % 2, i / 32 % 2 },
            { epochs[i / 64 % 4], i / 256 % 2, i / 512 % 2 },
        };
        bool expected = epochs[i % 4] == EPOCH;
        for (int j = 0; j < 2; j++)
            expected = expected && others[j].confirmed == EPOCH &&
                       (others[j].knows_all || !others[j].live);
        assert_int_equal(agree(*state, epochs[i % 4], others), expected);
        agreed += expected;
    }
    assert_int_equal(agreed, 9);
}

static void a_node_alone_agrees_with_itself_once_it_has_confirmed(void **state)
{
    struct ckv_members *members = open_members(*state);
    assert_false(ckv_members_agree(members, SELF, EPOCH, NOW));
    members->list[0].confirmed_epoch = EPOCH;
    assert_true(ckv_members_agree(members, SELF, EPOCH, NOW));
    /*  What it said of itself may be older than what it knows.  */
    hear(&members->list[0], 1, 1, (struct ckv_announcement){ .members = 1 }, NOW);
    assert_true(ckv_members_agree(members, SELF, EPOCH, NOW));
    ckv_members_add(members, 12); /* a member of whom nothing was ever heard */
    assert_false(ckv_members_agree(members, SELF, EPOCH, NOW));
    ckv_members_forget(members, 12, 1);
    assert_true(ckv_members_agree(members, SELF, EPOCH, NOW));
    free(members);
}

static const struct test tests[] = {
    TEST(who_was_heard_after_being_forgotten_elsewhere_stays_a_member, IN_MEMORY),
    TEST(a_node_is_a_member_of_its_own_cluster, ANY),
    TEST(members_are_read_from_the_store, ANY),
    TEST(a_member_is_found_by_its_name_or_id, IN_MEMORY),
    TEST(there_is_a_bound_to_members, IN_MEMORY),
    TEST(whoever_is_forgotten_is_no_member_until_it_is_added_again, IN_MEMORY),
    TEST(whom_a_node_knows_is_read_as_it_was_written, IN_MEMORY),
    TEST(an_announcement_says_how_a_member_is, IN_MEMORY),
    TEST(an_announcement_that_is_repeated_or_older_is_ignored, IN_MEMORY),
    TEST(a_member_that_says_that_it_stops_is_down_at_once, IN_MEMORY),
    TEST(the_end_of_another_life_does_not_make_a_member_look_gone, IN_MEMORY),
    TEST(a_member_that_is_not_heard_in_its_time_is_down, IN_MEMORY),
    TEST(members_agree_when_all_have_confirmed_and_the_live_know_the_same, IN_MEMORY),
    TEST(a_node_alone_agrees_with_itself_once_it_has_confirmed, IN_MEMORY),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
