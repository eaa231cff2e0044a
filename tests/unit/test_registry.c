/*  The promises of node/registry.h, over a store in memory.  */
#include "node/registry.h"
#include "tests/unit/records.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
    struct ckv_cluster_key *cluster_key;
    struct ckv_kv *kv;
    struct ckv_registry registry;
    struct ckv_kv_txn *txn;
    struct ckv_registered registered;
    struct ckv_certificate view; /* of registered.record */
};

enum { NODE = 7, NOW = 1000000 };

static int begin_world(void **state)
{
    struct world *self = calloc(1, sizeof(*self));
    struct ckv_kv_options options = { .directory = NULL };
    *state = self;
    self->cluster_key = make_cluster_key();
    return ckv_kv_open(&self->kv, "memory", &options) != CKV_OK ||
           ckv_registry_open(&self->registry, self->kv, self->cluster_key, NODE) != CKV_OK ||
           ckv_kv_begin(self->kv, CKV_KV_WRITE, &self->txn) != CKV_OK;
}

static int end_world(void **state)
{
    struct world *self = *state;
    if (self->txn)
        ckv_kv_abort(&self->txn);
    ckv_kv_close(&self->kv);
    ckv_cluster_key_destroy(&self->cluster_key);
    free(self);
    return 0;
}

/*  Registers, with the client key of CLIENT or, when that is 0, one that the node makes.  */
static int do_register(struct world *self, struct ckv_registration registration, unsigned client)
{
    uint8_t key[32];
    client_key(client, key);
    int rc = ckv_registry_prepare(&self->registered, client ? key : NULL, registration.dedicated);
    if (rc == CKV_OK)
        rc = ckv_registry_register(&self->registry, self->txn, &registration, NOW,
                                   &self->registered);
    if (self->registered.record_size)
        ckv_certificate_parse(&self->view, self->registered.record, self->registered.record_size);
    return rc;
}

static struct ckv_storage_key chosen(const char *text)
{
    struct ckv_storage_key key;
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text(text)), CKV_OK);
    return key;
}

static void a_dedicated_server_key_is_a_pair_that_only_the_cluster_can_open(void **state)
{
    struct world *self = *state;
    uint8_t secret[32], public[32];
    struct ckv_registration registration = { .dedicated = true };
    assert_int_equal(do_register(self, registration, 0), CKV_OK);
    assert_int_equal(ckv_certificate_unseal(&self->view, self->cluster_key, secret), CKV_OK);
    crypto_scalarmult_base(public, secret);
    assert_memory_equal(public, self->view.server_public_key, 32);
    assert_memory_not_equal(public, self->cluster_key->server_public_key, 32);
}

static void a_shared_server_key_is_the_clusters(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .dedicated = false };
    assert_int_equal(do_register(self, registration, 0), CKV_OK);
    assert_memory_equal(self->view.server_public_key, self->cluster_key->server_public_key, 32);
    assert_false(self->view.dedicated);
}

static void the_node_makes_the_clients_pair_only_when_none_is_given(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .dedicated = false };
    uint8_t public[32];
    assert_int_equal(do_register(self, registration, 0), CKV_OK);
    assert_true(self->registered.has_client_secret_key);
    crypto_scalarmult_base(public, self->registered.client_secret_key);
    assert_memory_equal(public, self->view.client_public_key, 32);

    memset(&self->registered, 0, sizeof(self->registered));
    assert_int_equal(do_register(self, registration, 5), CKV_OK);
    assert_false(self->registered.has_client_secret_key);
    assert_true(sodium_is_zero(self->registered.client_secret_key, 32));
}

static void a_derived_key_that_is_taken_has_one_added_until_it_is_free(void **state)
{
    enum { COLLISIONS = 3 };
    struct world *self = *state;
    struct ckv_storage_key expected;
    uint8_t key[32];
    struct ckv_registration registration = { .organisation = ckv_octets_text("ACME"),
                                             .number = ckv_octets_text("42") };
    client_key(9, key);
    ckv_storage_key_derive(&expected, self->cluster_key, key, self->cluster_key->server_public_key,
                           registration.organisation, registration.number);
    for (unsigned i = 0; i < COLLISIONS; i++) {
        struct ckv_registration squatter = { .storage_key = expected };
        assert_int_equal(do_register(self, squatter, 100 + i), CKV_OK);
        ckv_storage_key_increment(&expected);
    }
    assert_int_equal(do_register(self, registration, 9), CKV_OK);
    assert_true(ckv_octets_equal(self->view.storage_key, ckv_storage_key_octets(&expected)));
}

static void a_chosen_key_that_is_taken_is_refused_and_its_owner_stays(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("42") };
    struct ckv_certificate found;
    uint8_t first[32];
    client_key(1, first);
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    assert_int_equal(do_register(self, registration, 2), CKV_ERROR_TAKEN);
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &found), CKV_OK);
    assert_memory_equal(found.client_public_key, first, 32);
}

static void a_revoked_certificate_keeps_its_storage_key(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("42") };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets_text("42"), NOW,
                                         &self->registered),
                     CKV_OK);
    assert_int_equal(do_register(self, registration, 2), CKV_ERROR_TAKEN);
}

static void a_client_has_one_active_certificate(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("1") };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    registration.storage_key = chosen("2");
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_CLIENT_KEY_TAKEN);
    assert_true(ckv_octets_equal(self->view.storage_key, ckv_octets_text("1")));
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets_text("1"), NOW,
                                         &self->registered),
                     CKV_OK);
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
}

static void a_weak_client_key_is_refused(void **state)
{
    struct world *self = *state;
    uint8_t zero[32] = { 0 };
    assert_int_equal(ckv_registry_prepare(&self->registered, zero, false), CKV_ERROR_WEAK_KEY);
}

static void what_a_record_cannot_hold_is_refused(void **state)
{
    struct world *self = *state;
    uint8_t text[10000];
    memset(text, 'x', sizeof(text));
    struct ckv_registration registration = { .organisation = ckv_octets(text, sizeof(text)) };
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_ORGANISATION);
    registration.organisation = ckv_octets("\xff", 1);
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_ORGANISATION);
    registration.organisation = ckv_octets(NULL, 0);
    registration.number = ckv_octets("a\nb", 3);
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_NUMBER);
}

static void an_import_does_not_bring_back_a_client_that_was_revoked(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .only_unknown = true };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    uint8_t key[CKV_STORAGE_KEY_MAX];
    size_t size = self->view.storage_key.size;
    memcpy(key, self->view.storage_key.data, size);
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_CLIENT_KEY_TAKEN);
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets(key, size), NOW,
                                         &self->registered),
                     CKV_OK);
    assert_int_equal(do_register(self, registration, 1), CKV_ERROR_REVOKED);
    registration.only_unknown = false; /* said explicitly, it may come back, as another one */
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
}

static void an_expired_certificate_does_not_block_its_client(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("1"), .not_after = NOW };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    registration = (struct ckv_registration){ .storage_key = chosen("2") };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
}

static void a_change_survives_although_a_batch_before_it_was_undone(void **state)
{
    /*  The certificate comes from a node whose clock is far ahead.  */
    struct world *self = *state;
    struct ckv_rotation rotation = { .keeps_client_key = false };
    struct sealed ahead;
    struct ckv_certificate now;
    make_record(&ahead, self->cluster_key,
                (struct plan){ .number = 42, .revision = UINT64_C(1) << 60 });
    assert_int_equal(ckv_kv_merge(self->txn, &ahead.view), CKV_KV_NEW);
    assert_int_equal(ckv_kv_commit(&self->txn), CKV_OK);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_WRITE, &self->txn), CKV_OK);
    assert_int_equal(ckv_registry_witness(&self->registry, self->txn, ahead.view.revision), CKV_OK);
    ckv_kv_abort(&self->txn);
    assert_int_equal(ckv_registry_open(&self->registry, self->kv, self->cluster_key, NODE), CKV_OK);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_WRITE, &self->txn), CKV_OK);
    assert_int_equal(ckv_registry_prepare(&self->registered, NULL, true), CKV_OK);
    assert_int_equal(ckv_registry_rotate(&self->registry, self->txn, ckv_octets_text("42"),
                                         &rotation, NOW, &self->registered),
                     CKV_OK);
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &now), CKV_OK);
    assert_memory_equal(now.client_public_key, self->registered.client_public_key, 32);
}

static void revoking_is_for_ever_and_twice_is_once(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("42"), .dedicated = true };
    struct ckv_rotation rotation = { .keeps_client_key = true };
    struct ckv_certificate found;
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets_text("42"), NOW,
                                         &self->registered),
                     CKV_OK);
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &found), CKV_OK);
    uint64_t revision = found.revision;
    assert_int_equal(found.state, CKV_STATE_REVOKED);
    assert_int_equal(ckv_certificate_verify(&found, self->cluster_key), CKV_OK);
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets_text("42"), NOW + 9,
                                         &self->registered),
                     CKV_OK);
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &found), CKV_OK);
    assert_int_equal(found.revision, revision);
    assert_int_equal(ckv_registry_rotate(&self->registry, self->txn, ckv_octets_text("42"),
                                         &rotation, NOW, &self->registered),
                     CKV_ERROR_REVOKED);
    assert_int_equal(ckv_registry_revoke(&self->registry, self->txn, ckv_octets_text("none"), NOW,
                                         &self->registered),
                     CKV_ERROR_NOT_FOUND);
}

static void rotating_changes_the_keys_and_keeps_the_rest(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("42"),
                                             .dedicated = true,
                                             .organisation = ckv_octets_text("ACME"),
                                             .not_after = NOW + 5000 };
    struct ckv_rotation rotation = { .keeps_client_key = false };
    uint8_t old_client[32], old_server[32];
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    struct ckv_certificate old = self->view;
    memcpy(old_client, old.client_public_key, 32);
    memcpy(old_server, old.server_public_key, 32);

    assert_int_equal(ckv_registry_prepare(&self->registered, NULL, true), CKV_OK);
    assert_int_equal(ckv_registry_rotate(&self->registry, self->txn, ckv_octets_text("42"),
                                         &rotation, NOW + 1, &self->registered),
                     CKV_OK);
    struct ckv_certificate now;
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &now), CKV_OK);
    assert_memory_not_equal(now.client_public_key, old_client, 32);
    assert_memory_not_equal(now.server_public_key, old_server, 32);
    assert_true(now.revision > old.revision);
    assert_int_equal(now.created, old.created);
    assert_int_equal(now.not_after, NOW + 5000);
    assert_true(ckv_octets_equal(now.organisation, ckv_octets_text("ACME")));
    assert_int_equal(ckv_kv_find(self->txn, old_client, &now), CKV_ERROR_NOT_FOUND);
}

static void rotating_the_server_key_alone_keeps_the_clients(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("42") };
    struct ckv_rotation rotation = { .keeps_client_key = true,
                                     .changes_server_key = true,
                                     .dedicated = true };
    struct ckv_certificate now;
    uint8_t key[32];
    client_key(1, key);
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    assert_int_equal(ckv_registry_prepare(&self->registered, NULL, true), CKV_OK);
    assert_int_equal(ckv_registry_rotate(&self->registry, self->txn, ckv_octets_text("42"),
                                         &rotation, NOW, &self->registered),
                     CKV_OK);
    assert_int_equal(ckv_kv_get(self->txn, ckv_octets_text("42"), &now), CKV_OK);
    assert_memory_equal(now.client_public_key, key, 32);
    assert_true(now.dedicated);
}

static void revisions_grow_also_when_the_clock_steps_back_and_the_node_restarts(void **state)
{
    struct world *self = *state;
    struct ckv_registration registration = { .storage_key = chosen("1") };
    assert_int_equal(do_register(self, registration, 1), CKV_OK);
    uint64_t revision = self->view.revision;
    assert_int_equal(ckv_registry_witness(&self->registry, self->txn, revision + (1U << 30)),
                     CKV_OK);
    assert_int_equal(ckv_kv_commit(&self->txn), CKV_OK);
    assert_int_equal(ckv_registry_open(&self->registry, self->kv, self->cluster_key, NODE), CKV_OK);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_WRITE, &self->txn), CKV_OK);
    registration.storage_key = chosen("2");
    assert_int_equal(do_register(self, registration, 2), CKV_OK);
    assert_true(self->view.revision > revision + (1U << 30));
}

static void the_store_of_another_cluster_is_refused(void **state)
{
    struct world *self = *state;
    static const uint8_t raw[CKV_CLUSTER_KEY_SIZE] = "another one";
    struct ckv_cluster_key *other;
    struct ckv_registry registry;
    assert_int_equal(ckv_cluster_key_new(&other, raw), CKV_OK);
    assert_int_equal(ckv_registry_open(&registry, self->kv, other, NODE), CKV_ERROR_STORE_KEY);
    ckv_cluster_key_destroy(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dedicated_server_key_is_a_pair_that_only_the_cluster_can_open),
        TEST(a_shared_server_key_is_the_clusters),
        TEST(the_node_makes_the_clients_pair_only_when_none_is_given),
        TEST(a_derived_key_that_is_taken_has_one_added_until_it_is_free),
        TEST(a_chosen_key_that_is_taken_is_refused_and_its_owner_stays),
        TEST(a_revoked_certificate_keeps_its_storage_key),
        TEST(a_client_has_one_active_certificate),
        TEST(a_weak_client_key_is_refused),
        TEST(what_a_record_cannot_hold_is_refused),
        TEST(an_import_does_not_bring_back_a_client_that_was_revoked),
        TEST(an_expired_certificate_does_not_block_its_client),
        TEST(a_change_survives_although_a_batch_before_it_was_undone),
        TEST(revoking_is_for_ever_and_twice_is_once),
        TEST(rotating_changes_the_keys_and_keeps_the_rest),
        TEST(rotating_the_server_key_alone_keeps_the_clients),
        TEST(revisions_grow_also_when_the_clock_steps_back_and_the_node_restarts),
        TEST(the_store_of_another_cluster_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
