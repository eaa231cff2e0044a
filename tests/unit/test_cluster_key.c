/*  The cluster key and what is derived from it: core/cluster_key.h. The vectors were computed with
    Python's hashlib (keyed BLAKE2b with salt and person, SHA-512) and an X25519 of RFC 7748, not
    with libsodium: a changed one locks every cluster out of its own records.  */
#include "core/cluster_key.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

/*  Octets 00 01 02 .. 1f.  */
static uint8_t raw[CKV_CLUSTER_KEY_SIZE];
static struct ckv_cluster_key *key;

static int make_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    return ckv_cluster_key_new(&key, raw);
}

static int destroy_key(void **state)
{
    (void)state;
    ckv_cluster_key_destroy(&key);
    return 0;
}

static void assert_hex(const uint8_t *octets, size_t size, const char *expected)
{
    char hex[129];
    assert_string_equal(sodium_bin2hex(hex, sizeof(hex), octets, size), expected);
}

static void the_subkeys_are_those_of_the_specification(void **state)
{
    (void)state;
    assert_hex(key->id, 4, "adb341d1");
    assert_hex(key->seal_key, 32,
               "5b7edb676485f0478f0d6f8aec3202b7ae7521984f1f8499a0df84b8ab79ba5d");
    assert_hex(key->storage_key_key, 32,
               "d5b7000705bb4290bf8f846a2a21356ace30025277195ec538463f642adc6ee7");
    assert_hex(key->hello_root, 32,
               "44f704ff384f3d13d1fa0fcae761fadce925a89c0a7f73cfc0bf11c732609bbe");
    assert_hex(key->index_key, 16, "56c94816ad3d8ef514e22d298d991686");
    assert_hex(key->server_public_key, 32,
               "79dd567d132093e0aa66523cd88f1743ac32352fc4e6f3f352cf892710e42a14");
    assert_hex(key->server_secret_key, 32,
               "2ffa6e07bd0d0ee1ae9410361828dfe2834c0c683a085de8eef1606cfce63cc2");
}

static void assert_hello(const void *storage_key, size_t size, const char *expected)
{
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];
    ckv_cluster_key_hello(key, ckv_octets(storage_key, size), hello_key);
    assert_hex(hello_key, sizeof(hello_key), expected);
}

static void the_hello_keys_are_those_of_the_specification(void **state)
{
    (void)state;
    uint8_t longest[40];
    memset(longest, 0xff, sizeof(longest));
    assert_hello("client-7", 8, "54de33668699215670db40f41fd0427755903a6ba03b964127908196551c02b0");
    assert_hello("", 1, "2e779e234dd15335336f46b8f6873b02ed2d0cefe7637e8c3142dbb2100edd0e");
    assert_hello(longest, sizeof(longest),
                 "3a1263d9eee627bd6a5502f1f49169267442f0356a7451109f29b07c1a6d1f0d");
}

/*  The subkeys of SELF of 16 octets or more; each as its first 16.  */
enum { SUBKEYS = 6 };

static void list_subkeys(const struct ckv_cluster_key *self, const uint8_t *list[SUBKEYS])
{
    list[0] = self->seal_key;
    list[1] = self->storage_key_key;
    list[2] = self->hello_root;
    list[3] = self->index_key;
    list[4] = self->server_public_key;
    list[5] = self->server_secret_key;
}

static void no_two_subkeys_are_the_same(void **state)
{
    (void)state;
    const uint8_t *list[SUBKEYS];
    list_subkeys(key, list);
    for (size_t i = 0; i < SUBKEYS; i++) {
        assert_memory_not_equal(list[i], key->id, 4);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(list[i], list[j], 16);
    }
}

static void the_raw_key_is_in_no_subkey(void **state)
{
    (void)state;
    for (size_t at = 0; at + 4 <= sizeof(raw); at++)
        assert_null(memmem(key, sizeof(*key), raw + at, 4));
}

static void every_bit_of_the_cluster_key_changes_every_subkey(void **state)
{
    (void)state;
    const uint8_t *mine[SUBKEYS], *others[SUBKEYS];
    list_subkeys(key, mine);
    for (size_t bit = 0; bit < 8 * sizeof(raw); bit++) {
        struct ckv_cluster_key *other;
        uint8_t changed[sizeof(raw)];
        memcpy(changed, raw, sizeof(raw));
        changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ckv_cluster_key_new(&other, changed), CKV_OK);
        list_subkeys(other, others);
        assert_memory_not_equal(other->id, key->id, sizeof(key->id));
        for (size_t i = 0; i < SUBKEYS; i++)
            assert_memory_not_equal(others[i], mine[i], 16);
        ckv_cluster_key_destroy(&other);
    }
}

static void every_node_derives_the_same(void **state)
{
    (void)state;
    struct ckv_cluster_key *other;
    assert_int_equal(ckv_cluster_key_new(&other, raw), CKV_OK);
    assert_ptr_not_equal(other, key);
    assert_memory_equal(other, key, sizeof(*key));
    ckv_cluster_key_destroy(&other);
}

static void the_default_server_keys_are_a_pair(void **state)
{
    (void)state;
    uint8_t public_key[32];
    crypto_scalarmult_base(public_key, key->server_secret_key);
    assert_memory_equal(public_key, key->server_public_key, 32);
}

static void hello_keys_differ_by_storage_key_and_by_cluster(void **state)
{
    (void)state;
    static const struct ckv_octets keys[] = {
        { (const uint8_t *)"a", 1 },    { (const uint8_t *)"b", 1 }, { (const uint8_t *)"a\0", 2 },
        { (const uint8_t *)"\0a", 2 },  { (const uint8_t *)"", 1 },  { (const uint8_t *)"\0", 2 },
        { (const uint8_t *)"\1\0", 2 },
    };
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    uint8_t hello_keys[KEYS][CKV_HELLO_KEY_SIZE], foreign[CKV_HELLO_KEY_SIZE];
    static const uint8_t other_raw[CKV_CLUSTER_KEY_SIZE] = "another cluster";
    struct ckv_cluster_key *other;
    assert_int_equal(ckv_cluster_key_new(&other, other_raw), CKV_OK);
    for (size_t i = 0; i < KEYS; i++) {
        ckv_cluster_key_hello(key, keys[i], hello_keys[i]);
        ckv_cluster_key_hello(other, keys[i], foreign);
        assert_memory_not_equal(hello_keys[i], foreign, sizeof(foreign));
        assert_memory_not_equal(hello_keys[i], key->hello_root, sizeof(foreign));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(hello_keys[i], hello_keys[j], sizeof(foreign));
    }
    ckv_cluster_key_destroy(&other);
}

/*  The kernel reads or writes ADDRESS on behalf of the test, and answers EFAULT where the test
    itself would be killed.  */
static bool can_read(const void *address)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    ssize_t written = write(ends[1], address, 1);
    assert_true(written == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return written == 1;
}

static bool can_write(void *address)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    ssize_t taken = read(ends[0], address, 1);
    assert_true(taken == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return taken == 1;
}

static void a_living_key_cannot_be_changed_or_overread(void **state)
{
    (void)state;
    assert_true(can_read(key));
    assert_false(can_write(key));
    assert_false(can_read((const uint8_t *)key + sizeof(*key) + 16)); /* 16: its alignment */
}

static void a_destroyed_key_is_gone_from_memory(void **state)
{
    (void)state;
    struct ckv_cluster_key *other;
    assert_int_equal(ckv_cluster_key_new(&other, raw), CKV_OK);
    const void *was = other;
    assert_true(can_read(was));
    ckv_cluster_key_destroy(&other);
    assert_null(other);
    assert_false(can_read(was));
}

static void destroying_none_is_allowed(void **state)
{
    (void)state;
    struct ckv_cluster_key *none = NULL;
    ckv_cluster_key_destroy(&none);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_subkeys_are_those_of_the_specification),
        cmocka_unit_test(the_hello_keys_are_those_of_the_specification),
        cmocka_unit_test(no_two_subkeys_are_the_same),
        cmocka_unit_test(the_raw_key_is_in_no_subkey),
        cmocka_unit_test(every_bit_of_the_cluster_key_changes_every_subkey),
        cmocka_unit_test(every_node_derives_the_same),
        cmocka_unit_test(the_default_server_keys_are_a_pair),
        cmocka_unit_test(hello_keys_differ_by_storage_key_and_by_cluster),
        cmocka_unit_test(a_living_key_cannot_be_changed_or_overread),
        cmocka_unit_test(a_destroyed_key_is_gone_from_memory),
        cmocka_unit_test(destroying_none_is_allowed),
    };
    return cmocka_run_group_tests(tests, make_key, destroy_key);
}
