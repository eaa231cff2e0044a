/*  Storage keys, derived and chosen, and their text: core/storage_key.h.  */
#include "core/storage_key.h"
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

static struct ckv_cluster_key *cluster_key;
static uint8_t client_public_key[32], server_public_key[32];
static struct ckv_storage_key key;

static int make_cluster_key(void **state)
{
    (void)state;
    uint8_t raw[CKV_CLUSTER_KEY_SIZE];
    for (size_t i = 0; i < sizeof(raw); i++) {
        raw[i] = (uint8_t)i;
        client_public_key[i] = (uint8_t)(0x40 + i);
    }
    sodium_hex2bin(server_public_key, 32,
                   "493e82fc74464a59268817623d2053c5eb8e2cc4a988b4fee179ec6b010d531d", 64, NULL,
                   NULL, NULL);
    return ckv_cluster_key_new(&cluster_key, raw);
}

static int destroy_cluster_key(void **state)
{
    (void)state;
    ckv_cluster_key_destroy(&cluster_key);
    return 0;
}

static struct ckv_storage_key derive(struct ckv_octets organisation, struct ckv_octets number)
{
    struct ckv_storage_key derived;
    ckv_storage_key_derive(&derived, cluster_key, client_public_key, server_public_key,
                           organisation, number);
    assert_int_equal(derived.size, CKV_STORAGE_KEY_DERIVED_SIZE);
    return derived;
}

static struct ckv_storage_key derive_texts(const char *organisation, const char *number)
{
    return derive(ckv_octets_text(organisation), ckv_octets_text(number));
}

static bool same(const struct ckv_storage_key *a, const struct ckv_storage_key *b)
{
    return ckv_octets_equal(ckv_storage_key_octets(a), ckv_storage_key_octets(b));
}

/*  Computed with Python's hashlib, not with libsodium.  */
static void the_derived_key_is_that_of_the_specification(void **state)
{
    (void)state;
    char text[CKV_STORAGE_KEY_TEXT_SIZE];
    struct ckv_storage_key derived = derive_texts("ACME", "42");
    assert_string_equal(ckv_storage_key_text(ckv_storage_key_octets(&derived), text),
                        "8598b5c1b4683800f8ef48e96f82ef7ff801bbda3d33920936cda54da2a85d17");
    assert_true(sodium_is_zero(derived.octets + 32, sizeof(derived.octets) - 32));
}

static void the_longest_values_derive_as_specified(void **state)
{
    (void)state;
    /*  Client key, server key, organisation, number, each with its size in front; crypto_kdf's
        subkey 3.  */
    uint8_t buffer[2 * 34 + 2 * 257] = { 0, 32 }, raw[CKV_CLUSTER_KEY_SIZE], subkey[32];
    uint8_t expected[32], organisation[255], number[255];
    memset(organisation, 'o', sizeof(organisation));
    memset(number, 'n', sizeof(number));
    memcpy(buffer + 2, client_public_key, 32);
    buffer[35] = 32;
    memcpy(buffer + 36, server_public_key, 32);
    buffer[69] = 255;
    memcpy(buffer + 70, organisation, 255);
    buffer[326] = 255;
    memcpy(buffer + 327, number, 255);
    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    crypto_kdf_derive_from_key(subkey, sizeof(subkey), 3, "curvekv1", raw);
    crypto_generichash(expected, sizeof(expected), buffer, sizeof(buffer), subkey, sizeof(subkey));

    struct ckv_storage_key derived = derive(ckv_octets(organisation, 255), ckv_octets(number, 255));
    assert_memory_equal(derived.octets, expected, 32);
}

static void every_input_changes_the_derived_key(void **state)
{
    (void)state;
    struct ckv_storage_key base = derive_texts("ACME", "42"), other;
    for (size_t bit = 0; bit < 256; bit++) {
        uint8_t mask = (uint8_t)(1u << bit % 8);
        client_public_key[bit / 8] ^= mask;
        other = derive_texts("ACME", "42");
        client_public_key[bit / 8] ^= mask;
        assert_false(same(&base, &other));
        server_public_key[bit / 8] ^= mask;
        other = derive_texts("ACME", "42");
        server_public_key[bit / 8] ^= mask;
        assert_false(same(&base, &other));
    }
    other = derive_texts("ACMF", "42");
    assert_false(same(&base, &other));
    other = derive_texts("ACME", "43");
    assert_false(same(&base, &other));
    other = derive_texts("ACME", "42");
    assert_true(same(&base, &other));
}

static void another_cluster_derives_another_key(void **state)
{
    (void)state;
    static const uint8_t raw[CKV_CLUSTER_KEY_SIZE] = "another cluster";
    struct ckv_storage_key base = derive_texts("ACME", "42"), other;
    struct ckv_cluster_key *mine = cluster_key;
    assert_int_equal(ckv_cluster_key_new(&cluster_key, raw), CKV_OK);
    other = derive_texts("ACME", "42");
    ckv_cluster_key_destroy(&cluster_key);
    cluster_key = mine;
    assert_false(same(&base, &other));
}

static void exchanged_public_keys_derive_another_key(void **state)
{
    (void)state;
    struct ckv_storage_key base = derive_texts("ACME", "42"), other;
    ckv_storage_key_derive(&other, cluster_key, server_public_key, client_public_key,
                           ckv_octets_text("ACME"), ckv_octets_text("42"));
    assert_false(same(&base, &other));
}

static void octets_that_move_between_organisation_and_number_derive_another_key(void **state)
{
    (void)state;
    /*  The last ones imitate the length in front of the number.  */
    static const struct ckv_octets pairs[][2] = {
        { { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"c", 1 } },
        { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"bc", 2 } },
        { { (const uint8_t *)"abc", 3 }, { NULL, 0 } },
        { { NULL, 0 }, { (const uint8_t *)"abc", 3 } },
        { { NULL, 0 }, { NULL, 0 } },
        { { (const uint8_t *)"a\0\1b", 4 }, { NULL, 0 } },
        { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"b\0\0", 3 } },
    };
    enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]) };
    struct ckv_storage_key keys[PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        keys[i] = derive(pairs[i][0], pairs[i][1]);
        for (size_t j = 0; j < i; j++)
            assert_false(same(&keys[i], &keys[j]));
    }
}

static void assert_next(const char *hex, const char *expected)
{
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text(hex)), CKV_OK);
    struct ckv_storage_key next;
    assert_int_equal(ckv_storage_key_read(&next, ckv_octets_text(expected)), CKV_OK);
    ckv_storage_key_increment(&key);
    assert_true(same(&key, &next));
    assert_true(sodium_is_zero(key.octets + key.size, sizeof(key.octets) - key.size));
}

static void adding_one_carries_and_wraps(void **state)
{
    (void)state;
    assert_next("0x00", "0x01");
    assert_next("0xff", "0x00");
    assert_next("0x00ff", "0x0100");
    assert_next("0x00fe", "0x00ff");
    assert_next("0x12ffffff", "0x13000000");
    assert_next("0xffffffff", "0x00000000");
    assert_next("00000000000000000000000000000000000000000000000000000000000000ff",
                "0000000000000000000000000000000000000000000000000000000000000100");
    assert_next("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "8000000000000000000000000000000000000000000000000000000000000000");
    assert_next("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "0000000000000000000000000000000000000000000000000000000000000000");
    assert_next(
        "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0x00000000000000000000000000000000000000000000000000000000000000000000000000000000");
}

static void adding_one_256_times_tries_every_octet(void **state)
{
    (void)state;
    bool seen[256] = { false };
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text("z")), CKV_OK);
    for (size_t i = 0; i < 256; i++, ckv_storage_key_increment(&key)) {
        assert_int_equal(key.size, 1);
        assert_false(seen[key.octets[0]]);
        seen[key.octets[0]] = true;
    }
    assert_int_equal(key.octets[0], 'z');
}

static void a_key_has_1_to_40_octets(void **state)
{
    (void)state;
    uint8_t octets[300];
    memset(octets, 'k', sizeof(octets));
    for (size_t size = 0; size <= sizeof(octets); size++) {
        memset(&key, 0xff, sizeof(key));
        int rc = ckv_storage_key_set(&key, ckv_octets(octets, size));
        assert_int_equal(rc, size >= 1 && size <= 40 ? CKV_OK : CKV_ERROR_STORAGE_KEY);
        if (rc != CKV_OK)
            continue;
        assert_true(ckv_octets_equal(ckv_storage_key_octets(&key), ckv_octets(octets, size)));
        assert_true(sodium_is_zero(key.octets + size, sizeof(key.octets) - size));
    }
    assert_int_equal(ckv_storage_key_set(&key, ckv_octets(octets, SIZE_MAX)),
                     CKV_ERROR_STORAGE_KEY);
    assert_int_equal(ckv_storage_key_set(&key, ckv_octets(NULL, 0)), CKV_ERROR_STORAGE_KEY);
}

/*  The text of OCTETS, which must be in one of the three forms, and read back as OCTETS. In memory
    of its own, of just the size that the header names.  */
static char *text_of(struct ckv_octets octets)
{
    char *text = malloc(CKV_STORAGE_KEY_TEXT_SIZE), hex[2 * CKV_STORAGE_KEY_MAX + 1];
    assert_non_null(text);
    assert_ptr_equal(ckv_storage_key_text(octets, text), text);
    sodium_bin2hex(hex, sizeof(hex), octets.data, octets.size);
    if (!ckv_octets_equal(ckv_octets_text(text), octets)) {
        bool short_form = octets.size == CKV_STORAGE_KEY_DERIVED_SIZE;
        assert_true(short_form || strncmp(text, "0x", 2) == 0);
        assert_string_equal(short_form ? text : text + 2, hex);
    }
    assert_true(ckv_text_printable(ckv_octets_text(text)));
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text(text)), CKV_OK);
    if (!ckv_octets_equal(ckv_storage_key_octets(&key), octets))
        fail_msg("%s does not read back as %s", text, hex);
    assert_true(sodium_is_zero(key.octets + key.size, sizeof(key.octets) - key.size));
    return text;
}

/*  A random key of SIZE octets, of what people choose, and of what looks like a text form.  */
static void make_key(uint8_t *octets, size_t size, size_t kind)
{
    static const char *const alphabets[] = {
        NULL, /* any octets */
        " !#$%&()*+,-./0123456789:;<=>?@ABCXYZ[]^_abcxyz{|}~'\"\\",
        "0123456789abcdef",
        "0123456789ABCDEF",
        "0x",
        "é€🔑ñשع株", /* cut anywhere, so that most is not UTF-8 */
        " a",
        "a\n",
    };
    const char *alphabet = alphabets[kind % (sizeof(alphabets) / sizeof(alphabets[0]))];
    if (alphabet)
        for (size_t i = 0; i < size; i++)
            octets[i] = (uint8_t)alphabet[octets[i] % strlen(alphabet)];
    if (kind % 16 >= 8 && size >= 2)
        memcpy(octets, "0x", 2);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void random_keys_read_back_and_no_two_have_one_text(void **state)
{
    (void)state;
    enum { COUNT = 10240, KINDS = 16 };
    static const uint8_t seed[randombytes_SEEDBYTES] = "storage keys";
    static uint8_t octets[COUNT][CKV_STORAGE_KEY_MAX];
    static char *texts[COUNT];
    randombytes_buf_deterministic(octets, sizeof(octets), seed);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + i / KINDS % CKV_STORAGE_KEY_MAX;
        make_key(octets[i], size, i % KINDS);
        texts[i] = text_of(ckv_octets(octets[i], size));
    }
    /*  Short keys repeat; equal texts must then come from equal keys, and do: each text was read
        back as its key, and reading gives one key. What is left to see is that it gives it
        whatever was read before.  */
    qsort(texts, COUNT, sizeof(texts[0]), by_text);
    for (size_t i = 1; i < COUNT; i++) {
        struct ckv_storage_key before;
        assert_int_equal(ckv_storage_key_read(&before, ckv_octets_text(texts[i - 1])), CKV_OK);
        assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text(texts[i])), CKV_OK);
        assert_true(same(&before, &key) == (strcmp(texts[i - 1], texts[i]) == 0));
        free(texts[i - 1]);
    }
    free(texts[COUNT - 1]);
}

static void assert_text(const void *octets, size_t size, const char *expected)
{
    char *text = text_of(ckv_octets(octets, size));
    assert_string_equal(text, expected);
    free(text);
}

static void every_key_of_one_or_two_octets_reads_back(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 0x10000; value++) {
        uint8_t octets[2] = { (uint8_t)(value >> 8), (uint8_t)value };
        if (value < 0x100)
            free(text_of(ckv_octets(octets + 1, 1)));
        free(text_of(ckv_octets(octets, 2)));
    }
}

static void a_key_that_is_printable_is_its_own_text(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "7",
        "client-7",
        "pump 7",
        "é",
        "株式会社",
        "🔑",
        "deadbeef",
        "DEADBEEF",
        "0",
        "x",
        "0X41",
        "x0",
        "00x41",
        "a=b",
        "\"#'\\\"",
        "-v",
        "--key",
        "0123456789abcdef0123456789abcdef",
        "0123456789012345678901234567890123456789", /* 40 */
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_text(texts[i], strlen(texts[i]), texts[i]);
}

static void a_key_that_looks_like_hex_or_ends_in_spaces_is_shown_as_hex(void **state)
{
    (void)state;
    assert_text("0x", 2, "0x3078");
    assert_text("0x41", 4, "0x30783431");
    assert_text("0xzz", 4, "0x30787a7a");
    assert_text(" ", 1, "0x20");
    assert_text(" a", 2, "0x2061");
    assert_text("a ", 2, "0x6120");
    assert_text("0x345678901234567890123456789012", 32,
                "3078333435363738393031323334353637383930313233343536373839303132");
}

static void what_disturbs_a_reader_is_shown_as_hex(void **state)
{
    (void)state;
    assert_text("", 1, "0x00");
    assert_text("a\0b", 3, "0x610062");
    assert_text("a\n", 2, "0x610a");
    assert_text("\x1b[2J", 4, "0x1b5b324a");
    assert_text("\x7f", 1, "0x7f");
    assert_text("\xc2\x85", 2, "0xc285"); /* a C1 control character */
    assert_text("a\xe2\x80\xae"
                "b",
                5, "0x61e280ae62");                /* right-to-left override */
    assert_text("\xe2\x81\xa6", 3, "0xe281a6");    /* left-to-right isolate */
    assert_text("a\xe2\x80\x8b", 4, "0x61e2808b"); /* zero width space */
    assert_text("\xef\xbb\xbf", 3, "0xefbbbf");    /* byte order mark */
    assert_text("\xe9", 1, "0xe9");                /* Latin-1 */
    assert_text("\xed\xa0\x80", 3, "0xeda080");    /* a surrogate */
    assert_text("\xff\xfe", 2, "0xfffe");
}

static void assert_reads_as(const char *text, const void *octets, size_t size)
{
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets_text(text)), CKV_OK);
    assert_true(ckv_octets_equal(ckv_storage_key_octets(&key), ckv_octets(octets, size)));
}

static void hex_is_read_as_octets_in_either_case(void **state)
{
    (void)state;
    uint8_t octets[32];
    memset(octets, 0xab, sizeof(octets));
    assert_reads_as("0xab", octets, 1);
    assert_reads_as("0xAB", octets, 1);
    assert_reads_as("0xaBAb", octets, 2);
    assert_reads_as("abababababababababababababababababababababababababababababababab", octets, 32);
    assert_reads_as("ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB", octets, 32);
    assert_reads_as("0xabababababababababababababababababababababababababababababababab", octets,
                    32);
    assert_reads_as("0x636c69656e742d37", "client-7", 8);
}

static void any_other_text_is_read_as_itself(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0X41", "abab", " a ", "a\n", "\xe2\x80\xae", "é", "x", "0"
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_reads_as(texts[i], texts[i], strlen(texts[i]));
}

/*  Refused, from the end of an allocation, and the key left as it was.  */
static void assert_refused(const void *text, size_t size)
{
    uint8_t *exact = malloc(size + !size);
    struct ckv_storage_key before;
    assert_non_null(exact);
    memcpy(exact, text, size);
    memset(&key, 0x5a, sizeof(key));
    before = key;
    if (ckv_storage_key_read(&key, ckv_octets(exact, size)) != CKV_ERROR_STORAGE_KEY)
        fail_msg("%.*s is read", (int)size, (const char *)text);
    assert_memory_equal(&key, &before, sizeof(key));
    free(exact);
}

static void what_is_no_text_of_a_key_is_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "",
        "0x",
        "0xa",
        "0xabc",
        "0xzz",
        "0xa ",
        "0x-1",
        "0x0x41",
        "\xff",
        "\xc0\x80",
        "a\xe2\x82",
        "\xed\xa0\x80",
        "01234567890123456789012345678901234567890",                        /* 41 */
        "abababababababababababababababababababababababababababababababa",  /* 63 digits */
        "abababababababababababababababababababababababababababababababaz", /* 63 and another */
        "ababababababababababababababababababababababababababababababababa",
        "0xabababababababababababababababababababababababababababababababababababababababababab",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_refused(refused[i], strlen(refused[i]));
    assert_refused("\0", 1);
    assert_refused("a\0b", 3);
    assert_refused("0x41\0", 5);
    assert_int_equal(ckv_storage_key_read(&key, ckv_octets(NULL, 0)), CKV_ERROR_STORAGE_KEY);
}

static void octets_that_are_no_key_have_no_text(void **state)
{
    (void)state;
    char text[CKV_STORAGE_KEY_TEXT_SIZE] = "not yet written";
    uint8_t octets[41] = { 0 };
    assert_string_equal(ckv_storage_key_text(ckv_octets(octets, 0), text), "");
    assert_string_equal(ckv_storage_key_text(ckv_octets(octets, sizeof(octets)), text), "");
    assert_string_equal(ckv_storage_key_text(ckv_octets(NULL, 0), text), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_derived_key_is_that_of_the_specification),
        cmocka_unit_test(the_longest_values_derive_as_specified),
        cmocka_unit_test(every_input_changes_the_derived_key),
        cmocka_unit_test(another_cluster_derives_another_key),
        cmocka_unit_test(exchanged_public_keys_derive_another_key),
        cmocka_unit_test(octets_that_move_between_organisation_and_number_derive_another_key),
        cmocka_unit_test(adding_one_carries_and_wraps),
        cmocka_unit_test(adding_one_256_times_tries_every_octet),
        cmocka_unit_test(a_key_has_1_to_40_octets),
        cmocka_unit_test(random_keys_read_back_and_no_two_have_one_text),
        cmocka_unit_test(every_key_of_one_or_two_octets_reads_back),
        cmocka_unit_test(a_key_that_is_printable_is_its_own_text),
        cmocka_unit_test(a_key_that_looks_like_hex_or_ends_in_spaces_is_shown_as_hex),
        cmocka_unit_test(what_disturbs_a_reader_is_shown_as_hex),
        cmocka_unit_test(hex_is_read_as_octets_in_either_case),
        cmocka_unit_test(any_other_text_is_read_as_itself),
        cmocka_unit_test(what_is_no_text_of_a_key_is_refused),
        cmocka_unit_test(octets_that_are_no_key_have_no_text),
    };
    return cmocka_run_group_tests(tests, make_cluster_key, destroy_cluster_key);
}
