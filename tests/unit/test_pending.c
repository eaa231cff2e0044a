/*  Pending handshakes: who leaves first, and what is counted for whom.  */
#include "node/gateway/pending.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TIMEOUT_MS = 1000, MAX = 4, PER_ADDRESS = 2 };

/*  ---- helpers ----  */

static struct ckv_pending *make(uint32_t max, uint32_t per_address)
{
    static const uint8_t hash_key[16] = "a hash key";
    struct ckv_pending *self;
    assert_int_equal(ckv_pending_new(&self, max, per_address, TIMEOUT_MS, hash_key), CKV_OK);
    return self;
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address address_of(const char *text)
{
    union address address = { .any = { .sa_family = AF_UNIX } };
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1)
        address.any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1)
        address.any.sa_family = AF_INET6;
    return address;
}

/*  Who must leave before one from TEXT comes in: its descriptor, or -1.  */
static int must_leave(struct ckv_pending *self, const char *text)
{
    union address address = address_of(text);
    struct ckv_pending_slot *slot = ckv_pending_must_leave(self, &address.any);
    return slot ? slot->watch.fd : -1;
}

static struct ckv_pending_slot *enter(struct ckv_pending *self, int fd, const char *text,
                                      uint64_t now)
{
    union address address = address_of(text);
    struct ckv_pending_slot *slot = ckv_pending_enter(self, &address.any, now);
    slot->watch.fd = fd;
    return slot;
}

/*  ---- promises ----  */

static void in_a_full_table_the_oldest_of_the_crowd_makes_room(void **state)
{
    (void)state;
    struct ckv_pending *self = make(MAX, MAX);
    static const char *const hosts[MAX] = { "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4" };
    struct ckv_pending_slot *slots[MAX];
    for (int i = 0; i < MAX; i++) {
        assert_int_equal(must_leave(self, hosts[i]), -1);
        slots[i] = enter(self, i, hosts[i], (uint64_t)i);
    }
    assert_int_equal(must_leave(self, "10.0.0.9"), 0);
    ckv_pending_move(self, slots[0], CKV_PENDING_WAITING, 10); /* now the youngest */
    assert_int_equal(must_leave(self, "10.0.0.9"), 1);
    ckv_pending_move(self, slots[1], CKV_PENDING_GREETED, 11);
    ckv_pending_move(self, slots[2], CKV_PENDING_GREETED, 12);
    ckv_pending_move(self, slots[3], CKV_PENDING_GREETED, 13);
    assert_int_equal(must_leave(self, "10.0.0.9"), 0);
    ckv_pending_leave(self, slots[0]);
    assert_int_equal(must_leave(self, "10.0.0.9"), -1);
    ckv_pending_destroy(&self);
}

static void known_ones_leave_only_when_there_is_no_crowd(void **state)
{
    (void)state;
    struct ckv_pending *self = make(MAX, MAX);
    for (int i = 0; i < MAX; i++) {
        struct ckv_pending_slot *slot = enter(self, i, "10.0.0.1", (uint64_t)i);
        if (i != MAX - 1)
            ckv_pending_move(self, slot, CKV_PENDING_KNOWN, (uint64_t)i);
    }
    assert_int_equal(must_leave(self, "10.0.0.9"), MAX - 1);
    ckv_pending_move(self, ckv_pending_first(self, CKV_PENDING_STRANGERS), CKV_PENDING_KNOWN, 9);
    assert_int_equal(must_leave(self, "10.0.0.9"), 0);
    ckv_pending_destroy(&self);
}

static void one_address_pushes_out_its_own_oldest_and_nobody_else(void **state)
{
    (void)state;
    struct ckv_pending *self = make(100, PER_ADDRESS);
    enter(self, 0, "10.0.0.1", 0);
    struct ckv_pending_slot *first = enter(self, 1, "10.0.0.2", 1);
    struct ckv_pending_slot *second = enter(self, 2, "10.0.0.2", 2);
    assert_int_equal(must_leave(self, "10.0.0.2"), 1);
    assert_int_equal(must_leave(self, "10.0.0.1"), -1);
    ckv_pending_move(self, first, CKV_PENDING_KNOWN, 3); /* no longer of the crowd */
    assert_int_equal(must_leave(self, "10.0.0.2"), -1);
    enter(self, 3, "10.0.0.2", 4);
    assert_int_equal(must_leave(self, "10.0.0.2"), 2);
    ckv_pending_leave(self, second);
    assert_int_equal(must_leave(self, "10.0.0.2"), -1);
    ckv_pending_destroy(&self);
}

static void a_host_has_one_count_for_all_its_ipv6_addresses(void **state)
{
    (void)state;
    struct ckv_pending *self = make(100, 1);
    enter(self, 0, "2001:db8:1:2::1", 0);
    enter(self, 1, "::ffff:10.0.0.1", 0);
    assert_int_equal(must_leave(self, "2001:db8:1:2:9:9:9:9"), 0);
    assert_int_equal(must_leave(self, "2001:db8:1:3::1"), -1);
    assert_int_equal(must_leave(self, "10.0.0.1"), 1);
    assert_int_equal(must_leave(self, "::ffff:10.0.0.2"), -1);
    ckv_pending_destroy(&self);
}

static void unix_sockets_are_not_counted_by_address(void **state)
{
    (void)state;
    struct ckv_pending *self = make(MAX, 1);
    for (int i = 0; i < MAX; i++) {
        assert_int_equal(must_leave(self, "unix"), -1);
        enter(self, i, "unix", (uint64_t)i);
    }
    assert_int_equal(must_leave(self, "unix"), 0);
    ckv_pending_destroy(&self);
}

static void a_deadline_is_for_each_line_anew(void **state)
{
    (void)state;
    struct ckv_pending *self = make(MAX, MAX);
    struct ckv_pending_slot *first = enter(self, 0, "10.0.0.1", 0);
    struct ckv_pending_slot *second = enter(self, 1, "10.0.0.1", 500);
    assert_null(ckv_pending_expired(self, TIMEOUT_MS - 1));
    assert_ptr_equal(ckv_pending_expired(self, TIMEOUT_MS), first);
    ckv_pending_move(self, first, CKV_PENDING_KNOWN, 900);
    assert_null(ckv_pending_expired(self, TIMEOUT_MS + 499));
    assert_ptr_equal(ckv_pending_expired(self, TIMEOUT_MS + 500), second);
    ckv_pending_leave(self, second);
    assert_null(ckv_pending_expired(self, TIMEOUT_MS + 899));
    assert_ptr_equal(ckv_pending_expired(self, TIMEOUT_MS + 900), first);
    ckv_pending_destroy(&self);
}

static void a_line_is_in_order_of_arrival(void **state)
{
    (void)state;
    struct ckv_pending *self = make(MAX, MAX);
    struct ckv_pending_slot *slots[3];
    for (int i = 0; i < 3; i++)
        slots[i] = enter(self, i, "10.0.0.1", 0);
    ckv_pending_move(self, slots[2], CKV_PENDING_WAITING, 1);
    ckv_pending_move(self, slots[0], CKV_PENDING_WAITING, 2);
    ckv_pending_move(self, slots[1], CKV_PENDING_WAITING, 3);
    assert_null(ckv_pending_first(self, CKV_PENDING_STRANGERS));
    assert_ptr_equal(ckv_pending_next(self, slots[2]), slots[0]);
    assert_ptr_equal(ckv_pending_next(self, slots[0]), slots[1]);
    assert_null(ckv_pending_next(self, slots[1]));
    ckv_pending_leave(self, slots[0]); /* out of the middle */
    assert_ptr_equal(ckv_pending_first(self, CKV_PENDING_WAITING), slots[2]);
    ckv_pending_leave(self, slots[2]);
    assert_ptr_equal(ckv_pending_first(self, CKV_PENDING_WAITING), slots[1]);
    assert_int_equal(ckv_pending_count(self), 1);
    ckv_pending_destroy(&self);
}

static void what_has_left_leaves_nothing_behind(void **state)
{
    (void)state;
    struct ckv_pending *self = make(1, 1);
    struct ckv_pending_slot *slot = enter(self, 7, "10.0.0.1", 0);
    memset(&slot->curve, 0xaa, sizeof(slot->curve));
    memset(&slot->storage_key, 0xaa, sizeof(slot->storage_key));
    ckv_pending_leave(self, slot);
    assert_true(sodium_is_zero((const uint8_t *)&slot->curve, sizeof(slot->curve)));
    assert_true(sodium_is_zero((const uint8_t *)&slot->storage_key, sizeof(slot->storage_key)));
    assert_int_equal(slot->line, CKV_PENDING_LINES);
    ckv_pending_destroy(&self);
}

/*  A model of 10000 steps: counts stay what they are.  */
static void any_order_of_coming_and_going_keeps_the_books(void **state)
{
    (void)state;
    enum { STEPS = 10000, SIZE = 16 };
    struct ckv_pending *self = make(SIZE, 5);
    struct ckv_pending_slot *in[SIZE];
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t chance = (uint32_t)step * 2654435761U >> 16;
        char host[16];
        snprintf(host, sizeof(host), "10.0.0.%u", chance % 7);
        union address address = address_of(host);
        struct ckv_pending_slot *leaves;
        if (chance % 3 == 0 && count) {
            uint32_t i = chance / 3 % count;
            ckv_pending_leave(self, in[i]);
            in[i] = in[--count];
        } else if (chance % 3 == 1 && count) {
            ckv_pending_move(self, in[chance / 3 % count],
                             (enum ckv_pending_line)(chance / 7 % CKV_PENDING_LINES),
                             (uint64_t)step);
        } else {
            while ((leaves = ckv_pending_must_leave(self, &address.any))) {
                for (uint32_t i = 0; i < count; i++)
                    if (in[i] == leaves)
                        in[i] = in[--count];
                ckv_pending_leave(self, leaves);
            }
            in[count++] = ckv_pending_enter(self, &address.any, (uint64_t)step);
        }
        assert_int_equal(ckv_pending_count(self), count);
    }
    while (count)
        ckv_pending_leave(self, in[--count]);
    for (int line = 0; line < CKV_PENDING_LINES; line++)
        assert_null(ckv_pending_first(self, (enum ckv_pending_line)line));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(must_leave(self, "10.0.0.1"), -1);
        enter(self, i, "10.0.0.1", 0);
    }
    assert_int_equal(must_leave(self, "10.0.0.1"), 0);
    ckv_pending_destroy(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_full_table_the_oldest_of_the_crowd_makes_room),
        cmocka_unit_test(known_ones_leave_only_when_there_is_no_crowd),
        cmocka_unit_test(one_address_pushes_out_its_own_oldest_and_nobody_else),
        cmocka_unit_test(a_host_has_one_count_for_all_its_ipv6_addresses),
        cmocka_unit_test(unix_sockets_are_not_counted_by_address),
        cmocka_unit_test(a_deadline_is_for_each_line_anew),
        cmocka_unit_test(a_line_is_in_order_of_arrival),
        cmocka_unit_test(what_has_left_leaves_nothing_behind),
        cmocka_unit_test(any_order_of_coming_and_going_keeps_the_books),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
