/*  Admission: who may come in, in which order of questions; and the memory behind it: replays, rates,
    and the share of stock HELLOs.  */
#include "node/gateway/admission.h"
#include "node/gateway/rate.h"
#include "node/gateway/replay.h"
#include "node/gateway/share.h"
#include "tests/unit/records.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WINDOW_MS = 60000, RATE = 3 };

#define NOW UINT64_C(1785148800000)

/*  A store with the certificate 42, and a HELLO of it.  */
struct fixture {
    struct ckv_cluster_key *key;
    struct ckv_kv *kv;
    struct ckv_kv_txn *txn;
    struct ckv_admission *admission;
    struct ckv_admission_time now;
    struct ckv_hello_octets octets;
    struct ckv_certificate view; /* what was found last */
};

/*  ---- helpers ----  */

static void store_plan(struct fixture *self, struct plan plan)
{
    struct ckv_kv_txn *txn;
    struct sealed record;
    make_record(&record, self->key, plan);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_WRITE, &txn), CKV_OK);
    assert_true(ckv_kv_merge(txn, &record.view) > 0);
    assert_int_equal(ckv_kv_commit(&txn), CKV_OK);
}

static int set_up(void **state)
{
    struct fixture *self = calloc(1, sizeof(*self));
    struct ckv_kv_options store = { .directory = NULL };
    struct ckv_admission_options options = { true, WINDOW_MS, RATE };
    assert_non_null(self);
    self->key = make_cluster_key();
    self->now = (struct ckv_admission_time){ NOW, 5000 };
    assert_int_equal(ckv_kv_open(&self->kv, "memory", &store), CKV_OK);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_RESOLVE, &self->txn), CKV_OK);
    assert_int_equal(ckv_admission_new(&self->admission, &options, self->key), CKV_OK);
    store_plan(self, (struct plan){ .number = 42 });
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *self = *state;
    ckv_admission_destroy(&self->admission);
    ckv_kv_abort(&self->txn);
    ckv_kv_close(&self->kv);
    ckv_cluster_key_destroy(&self->key);
    free(self);
    return 0;
}

/*  A HELLO of STORAGE_KEY at CLOCK; NULL: a stock one. Nothing here looks into its box.  */
static void make_hello(struct fixture *self, const char *storage_key, uint64_t clock)
{
    uint8_t secret[32], hello_key[CKV_HELLO_KEY_SIZE];
    memset(&self->octets, 0, sizeof(self->octets));
    memcpy(self->octets.command, "\5HELLO", 6);
    self->octets.version[0] = 1;
    randombytes_buf(secret, sizeof(secret));
    crypto_scalarmult_base(self->octets.client_key, secret);
    if (!storage_key)
        return;
    ckv_cluster_key_hello(self->key, ckv_octets_text(storage_key), hello_key);
    assert_int_equal(
        ckv_hello_modify(&self->octets, ckv_octets_text(storage_key), clock, hello_key), CKV_OK);
}

static enum ckv_verdict ask(struct fixture *self)
{
    struct ckv_hello hello;
    assert_int_equal(ckv_hello_parse(&hello, &self->octets, sizeof(self->octets)), CKV_OK);
    return ckv_admission_hello(self->admission, self->txn, &hello, self->now, &self->view);
}

static enum ckv_verdict ask_anew(struct fixture *self, const char *storage_key)
{
    make_hello(self, storage_key, self->now.wall);
    return ask(self);
}

/*  ---- promises ----  */

static void a_client_with_the_right_mac_comes_in_and_is_found(void **state)
{
    struct fixture *self = *state;
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    assert_true(ckv_octets_equal(self->view.storage_key, ckv_octets_text("42")));
}

static void a_clock_out_of_the_window_is_refused_before_the_store_is_asked(void **state)
{
    struct fixture *self = *state;
    static const int64_t apart[] = { -WINDOW_MS - 1, WINDOW_MS + 1 };
    for (int i = 0; i < 2; i++) {
        make_hello(self, "unknown", (uint64_t)((int64_t)NOW + apart[i]));
        assert_int_equal(ask(self), CKV_REFUSED_CLOCK);
    }
    make_hello(self, "42", NOW - WINDOW_MS);
    assert_int_equal(ask(self), CKV_ADMITTED);
    make_hello(self, "42", NOW + WINDOW_MS);
    assert_int_equal(ask(self), CKV_ADMITTED);
}

static void an_unknown_storage_key_is_refused(void **state)
{
    struct fixture *self = *state;
    assert_int_equal(ask_anew(self, "43"), CKV_REFUSED_UNKNOWN);
}

static void every_bit_of_the_mac_counts(void **state)
{
    struct fixture *self = *state;
    for (size_t bit = 0; bit < 8 * CKV_HELLO_MAC_SIZE; bit++) {
        make_hello(self, "42", NOW);
        self->octets.padding.mac[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(ask(self), CKV_REFUSED_MAC);
    }
}

static void a_wrong_mac_spends_neither_rate_nor_replay_memory(void **state)
{
    struct fixture *self = *state;
    make_hello(self, "42", NOW);
    struct ckv_hello_octets good = self->octets;
    for (int i = 0; i < 100; i++) {
        self->octets = good;
        self->octets.nonce[0] ^= 1; /* so that its MAC, the good one, is wrong */
        assert_int_equal(ask(self), CKV_REFUSED_MAC);
    }
    self->octets = good;
    assert_int_equal(ask(self), CKV_ADMITTED);
}

static void a_revoked_client_is_told_but_only_with_the_right_mac_and_once(void **state)
{
    struct fixture *self = *state;
    store_plan(self, (struct plan){ .number = 42, .revision = 2, .state = CKV_STATE_REVOKED });
    make_hello(self, "42", NOW);
    self->octets.padding.mac[0] ^= 1;
    assert_int_equal(ask(self), CKV_REFUSED_MAC);
    self->octets.padding.mac[0] ^= 1;
    assert_int_equal(ask(self), CKV_REFUSED_REVOKED);
    assert_true(ckv_verdict_is_told(CKV_REFUSED_REVOKED));
    assert_int_equal(ask(self), CKV_REFUSED_REPLAY);
}

static void a_replay_is_refused_for_as_long_as_its_clock_is_good(void **state)
{
    struct fixture *self = *state;
    make_hello(self, "42", NOW + WINDOW_MS); /* ahead as far as can be */
    assert_int_equal(ask(self), CKV_ADMITTED);
    for (uint64_t ms = 0; ms <= 2 * WINDOW_MS; ms += WINDOW_MS / 8) {
        self->now = (struct ckv_admission_time){ NOW + ms, 5000 + ms };
        assert_int_equal(ask(self), CKV_REFUSED_REPLAY);
    }
    self->now.wall++;
    assert_int_equal(ask(self), CKV_REFUSED_CLOCK);
}

static void a_storage_key_comes_as_often_as_its_rate(void **state)
{
    struct fixture *self = *state;
    store_plan(self, (struct plan){ .number = 7 });
    for (int i = 0; i < RATE; i++)
        assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    assert_int_equal(ask_anew(self, "42"), CKV_REFUSED_RATE);
    assert_int_equal(ask_anew(self, "7"), CKV_ADMITTED);
    self->now.monotonic += 1000 / RATE;
    assert_int_equal(ask_anew(self, "42"), CKV_REFUSED_RATE);
    self->now.monotonic += 1;
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    assert_int_equal(ask_anew(self, "42"), CKV_REFUSED_RATE);
}

static void a_stock_hello_is_let_through_or_not_as_the_policy_says(void **state)
{
    struct fixture *self = *state;
    struct ckv_admission_options deny = { false, WINDOW_MS, RATE };
    assert_int_equal(ask_anew(self, NULL), CKV_ADMITTED);
    ckv_admission_destroy(&self->admission);
    assert_int_equal(ckv_admission_new(&self->admission, &deny, self->key), CKV_OK);
    assert_int_equal(ask_anew(self, NULL), CKV_REFUSED_STOCK);
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
}

/*  ---- after the INITIATE ----  */

static enum ckv_verdict prove(struct fixture *self, const char *storage_key, unsigned client,
                              const uint8_t *server_key)
{
    uint8_t key[32];
    client_key(client, key);
    struct ckv_admission_proof proof = { ckv_octets_text(storage_key), key, server_key };
    return ckv_admission_initiate(self->admission, self->txn, &proof, self->now, &self->view);
}

static void the_client_key_of_the_certificate_has_the_last_word(void **state)
{
    struct fixture *self = *state;
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    uint8_t server_key[32], other[32] = { 1 };
    memcpy(server_key, self->view.server_public_key, 32);
    assert_int_equal(prove(self, "42", 43, server_key), CKV_ADMITTED);
    assert_int_equal(prove(self, "42", 44, server_key), CKV_REFUSED_CLIENT_KEY);
    assert_int_equal(prove(self, "42", 43, other), CKV_REFUSED_CLIENT_KEY);
    assert_int_equal(prove(self, "", 43, NULL), CKV_ADMITTED); /* stock: found by its key */
    assert_true(ckv_octets_equal(self->view.storage_key, ckv_octets_text("42")));
    assert_int_equal(prove(self, "", 44, NULL), CKV_REFUSED_UNKNOWN);
}

static void what_was_revoked_between_hello_and_initiate_is_refused(void **state)
{
    struct fixture *self = *state;
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    uint8_t server_key[32];
    memcpy(server_key, self->view.server_public_key, 32);
    store_plan(self, (struct plan){ .number = 42, .revision = 2, .state = CKV_STATE_REVOKED });
    assert_int_equal(prove(self, "42", 43, server_key), CKV_REFUSED_REVOKED);
    assert_int_equal(prove(self, "", 43, NULL), CKV_REFUSED_REVOKED);
}

/*  ---- of those who are in ----  */

static enum ckv_verdict ask_again(struct fixture *self, unsigned client, const uint8_t *server_key,
                                  uint64_t *until)
{
    uint8_t key[32];
    client_key(client, key);
    struct ckv_admission_proof proof = { ckv_octets_text("42"), key, server_key };
    return ckv_admission_again(self->admission, self->txn, &proof, self->now, until);
}

static void a_client_may_stay_while_it_could_come_in_with_its_keys(void **state)
{
    struct fixture *self = *state;
    uint8_t server_key[32], other[32] = { 1 };
    uint64_t until;
    assert_int_equal(ask_anew(self, "42"), CKV_ADMITTED);
    memcpy(server_key, self->view.server_public_key, 32);
    assert_int_equal(ask_again(self, 43, server_key, &until), CKV_ADMITTED);
    assert_true(until == UINT64_MAX);
    assert_int_equal(ask_again(self, 43, NULL, &until), CKV_ADMITTED);
    assert_int_equal(ask_again(self, 44, server_key, &until), CKV_REFUSED_CLIENT_KEY);
    assert_int_equal(ask_again(self, 44, NULL, &until), CKV_REFUSED_CLIENT_KEY);
    assert_int_equal(ask_again(self, 43, other, &until), CKV_REFUSED_CLIENT_KEY);
    store_plan(self, (struct plan){ .number = 42, .revision = 2, .client = 50 });
    assert_int_equal(ask_again(self, 43, server_key, &until), CKV_REFUSED_CLIENT_KEY);
    store_plan(self, (struct plan){ .number = 42, .revision = 3, .not_after = NOW + 1 });
    assert_int_equal(ask_again(self, 43, server_key, &until), CKV_ADMITTED);
    assert_true(until == NOW + 1);
    self->now.wall = until;
    assert_int_equal(ask_again(self, 43, server_key, &until), CKV_REFUSED_EXPIRED);
    store_plan(self, (struct plan){ .number = 42, .revision = 4, .state = CKV_STATE_REVOKED });
    assert_int_equal(ask_again(self, 43, server_key, &until), CKV_REFUSED_REVOKED);
}

static void nobody_is_ended_on_the_word_of_a_record_that_does_not_verify(void **state)
{
    struct fixture *self = *state;
    uint64_t until;
    assert_int_equal(ask_again(self, 43, NULL, &until), CKV_ADMITTED);
    ckv_admission_destroy(&self->admission);
    ckv_cluster_key_destroy(&self->key);
    static const uint8_t raw[CKV_CLUSTER_KEY_SIZE] = "the key of another cluster";
    struct ckv_admission_options options = { true, WINDOW_MS, RATE };
    assert_int_equal(ckv_cluster_key_new(&self->key, raw), CKV_OK);
    assert_int_equal(ckv_admission_new(&self->admission, &options, self->key), CKV_OK);
    assert_int_equal(ask_again(self, 44, NULL, &until), CKV_REFUSED_STORE);
}

/*  ---- replay ----  */

static bool enter(struct ckv_replay *self, uint64_t number, uint64_t now)
{
    uint8_t octets[8], mac[CKV_HELLO_MAC_SIZE];
    ckv_put64(octets, number);
    crypto_generichash(mac, sizeof(mac), octets, sizeof(octets), NULL, 0);
    return ckv_replay_enter(self, mac, now);
}

static void a_mac_is_remembered_for_one_life_at_least_and_two_at_most(void **state)
{
    (void)state;
    struct ckv_replay *self;
    assert_int_equal(ckv_replay_new(&self, 100), CKV_OK);
    for (uint64_t at = 1000; at < 1400; at += 10) {
        assert_true(enter(self, at, at));
        for (uint64_t earlier = at; earlier >= 1000 && at - earlier <= 100; earlier -= 10)
            assert_false(enter(self, earlier, at));
    }
    assert_true(enter(self, 1000, 1400));
    ckv_replay_destroy(&self);
}

static void a_full_memory_forgets_and_does_not_grow(void **state)
{
    (void)state;
    struct ckv_replay *self;
    assert_int_equal(ckv_replay_new(&self, UINT64_MAX / 2), CKV_OK);
    for (uint64_t i = 0; i < CKV_REPLAY_ENTRIES + 10; i++)
        assert_true(enter(self, i, 1));
    assert_false(enter(self, 0, 1));
    for (uint64_t i = 0; i < CKV_REPLAY_ENTRIES; i++)
        assert_true(enter(self, UINT64_C(1) << 40 | i, 1));
    assert_true(enter(self, 0, 1));
    ckv_replay_destroy(&self);
}

/*  ---- rate ----  */

static void rates_of_many_keys_do_not_touch_each_other(void **state)
{
    (void)state;
    static const uint8_t hash_key[16] = "a hash key";
    struct ckv_rate *self;
    assert_int_equal(ckv_rate_new(&self, 2, hash_key), CKV_OK);
    for (uint32_t i = 0; i < 1000; i++)
        for (int times = 0; times < 3; times++)
            assert_int_equal(ckv_rate_take(self, ckv_octets(&i, sizeof(i)), 1), times < 2);
    ckv_rate_destroy(&self);
}

/*  ---- share ----  */

/*  How many operations stock HELLOs get in ROUNDS in which a known client has a handshake done.  */
static unsigned stock_operations(int64_t percent, unsigned rounds)
{
    struct ckv_share self = { .percent = percent };
    unsigned operations = 0;
    for (unsigned i = 0; i < rounds; i++) {
        ckv_share_known(&self, 4);
        if (ckv_share_may(&self)) {
            ckv_share_stock(&self, 2);
            ckv_share_stock(&self, 2); /* its INITIATE */
            operations += 4;
        }
        ckv_share_next_round(&self);
    }
    return operations;
}

static void under_load_stock_hellos_get_their_share_and_no_more(void **state)
{
    (void)state;
    enum { ROUNDS = 9000, KNOWN = 4 * ROUNDS };
    static const int64_t shares[] = { 0, 1, 10, 25, 50 };
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        unsigned expected = (unsigned)(KNOWN * shares[i] / (100 - shares[i]));
        unsigned got = stock_operations(shares[i], ROUNDS);
        assert_in_range(got, expected - (expected ? CKV_SHARE_BOUND : 0),
                        expected + CKV_SHARE_BOUND);
    }
    assert_int_equal(stock_operations(100, ROUNDS), KNOWN);
}

static void what_nobody_else_wants_is_theirs(void **state)
{
    (void)state;
    struct ckv_share self = { .percent = 0 };
    for (int i = 0; i < 1000; i++) {
        assert_true(ckv_share_may(&self));
        ckv_share_stock(&self, 4);
        ckv_share_next_round(&self);
    }
    ckv_share_known(&self, 2);
    assert_false(ckv_share_may(&self));
    ckv_share_next_round(&self);
    assert_true(ckv_share_may(&self));
}

static void every_verdict_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < CKV_VERDICTS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ckv_verdict_name((enum ckv_verdict)i),
                                    ckv_verdict_name((enum ckv_verdict)j));
}

#define WITH_STORE(promise) cmocka_unit_test_setup_teardown(promise, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_client_with_the_right_mac_comes_in_and_is_found),
        WITH_STORE(a_clock_out_of_the_window_is_refused_before_the_store_is_asked),
        WITH_STORE(an_unknown_storage_key_is_refused),
        WITH_STORE(every_bit_of_the_mac_counts),
        WITH_STORE(a_wrong_mac_spends_neither_rate_nor_replay_memory),
        WITH_STORE(a_revoked_client_is_told_but_only_with_the_right_mac_and_once),
        WITH_STORE(a_replay_is_refused_for_as_long_as_its_clock_is_good),
        WITH_STORE(a_storage_key_comes_as_often_as_its_rate),
        WITH_STORE(a_stock_hello_is_let_through_or_not_as_the_policy_says),
        WITH_STORE(the_client_key_of_the_certificate_has_the_last_word),
        WITH_STORE(what_was_revoked_between_hello_and_initiate_is_refused),
        WITH_STORE(a_client_may_stay_while_it_could_come_in_with_its_keys),
        WITH_STORE(nobody_is_ended_on_the_word_of_a_record_that_does_not_verify),
        cmocka_unit_test(a_mac_is_remembered_for_one_life_at_least_and_two_at_most),
        cmocka_unit_test(a_full_memory_forgets_and_does_not_grow),
        cmocka_unit_test(rates_of_many_keys_do_not_touch_each_other),
        cmocka_unit_test(under_load_stock_hellos_get_their_share_and_no_more),
        cmocka_unit_test(what_nobody_else_wants_is_theirs),
        cmocka_unit_test(every_verdict_has_a_name_of_its_own),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
