/*  The HELLO, stock and modified: core/hello.h. Vectors: tests/data/curve/hello.txt.  */
#include "core/hello.h"
#include "tests/unit/vectors.h"

static struct vectors *vectors;
static struct ckv_hello_octets stock, modified;
static uint8_t hello_key[CKV_HELLO_KEY_SIZE]; /* that MODIFIED was made with */

static int load(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    vectors = vectors_load("hello.txt");
    memcpy(&stock, vector(vectors, "stock").data, sizeof(stock));
    memcpy(&modified, vector(vectors, "modified").data, sizeof(modified));
    memcpy(hello_key, vector(vectors, "hello_key").data, sizeof(hello_key));
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(vectors);
    return 0;
}

/*  Parses SIZE octets from memory of just their size.  */
static int parse_size(const void *octets, size_t size)
{
    struct ckv_hello hello;
    uint8_t *copy = malloc(size + !size);
    assert_non_null(copy);
    if (size)
        memcpy(copy, octets, size);
    int rc = ckv_hello_parse(&hello, copy, size);
    free(copy);
    return rc;
}

static int parse(const struct ckv_hello_octets *octets)
{
    return parse_size(octets, sizeof(*octets));
}

/*  What a server says that knows the storage key: the first refusal.  */
static int let_in(const struct ckv_hello_octets *octets)
{
    struct ckv_hello hello;
    int rc = ckv_hello_parse(&hello, octets, sizeof(*octets));
    return rc == CKV_OK ? ckv_hello_verify(&hello, hello_key) : rc;
}

static void a_stock_hello_of_libzmq_is_read(void **state)
{
    (void)state;
    struct ckv_hello hello;
    assert_int_equal(ckv_hello_parse(&hello, &stock, sizeof(stock)), CKV_OK);
    assert_false(hello.modified);
    assert_int_equal(hello.storage_key.size, 0);
    assert_int_equal(hello.clock, 0);
    assert_int_equal(hello.nonce, 1);
    assert_memory_equal(hello.client_key, stock.client_key, 32);
}

static void a_modified_hello_is_what_another_blake2b_makes_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ckv_octets storage_key = vector_nth(vectors, "storage_key", i);
        struct ckv_octets expected = vector_nth(vectors, "modified", i);
        const uint8_t *key = vector_nth(vectors, "hello_key", i).data;
        uint64_t clock = ckv_get64(vector_nth(vectors, "clock", i).data);
        struct ckv_hello_octets made = stock;
        struct ckv_hello hello;
        assert_int_equal(ckv_hello_modify(&made, storage_key, clock, key), CKV_OK);
        assert_int_equal(expected.size, sizeof(made));
        assert_memory_equal(&made, expected.data, sizeof(made));
        assert_int_equal(ckv_hello_parse(&hello, expected.data, expected.size), CKV_OK);
        assert_true(hello.modified);
        assert_true(ckv_octets_equal(hello.storage_key, storage_key));
        assert_true(hello.clock == clock);
        assert_int_equal(ckv_hello_verify(&hello, key), CKV_OK);
    }
}

static void every_bit_of_a_modified_hello_counts(void **state)
{
    (void)state;
    assert_int_equal(let_in(&modified), CKV_OK);
    for (size_t bit = 0; bit < 8 * sizeof(modified); bit++) {
        struct ckv_hello_octets changed = modified;
        ((uint8_t *)&changed)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(let_in(&changed), CKV_OK);
    }
}

static void the_mac_covers_name_key_nonce_and_box(void **state)
{
    (void)state;
    /*  What the parser lets through must be caught by the MAC.  */
    static const size_t covered[] = {
        offsetof(struct ckv_hello_octets, padding.storage_key),
        offsetof(struct ckv_hello_octets, padding.clock),
        offsetof(struct ckv_hello_octets, padding.mac),
        offsetof(struct ckv_hello_octets, client_key),
        offsetof(struct ckv_hello_octets, nonce),
        offsetof(struct ckv_hello_octets, box),
        CKV_HELLO_SIZE - 1,
    };
    for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++) {
        struct ckv_hello_octets changed = modified;
        ((uint8_t *)&changed)[covered[i]] ^= 1;
        assert_int_equal(let_in(&changed), CKV_ERROR_HELLO_MAC);
    }
}

static void another_hello_key_does_not_verify(void **state)
{
    (void)state;
    struct ckv_hello hello;
    uint8_t other[CKV_HELLO_KEY_SIZE];
    memcpy(other, hello_key, sizeof(other));
    other[31] ^= 0x80;
    assert_int_equal(ckv_hello_parse(&hello, &modified, sizeof(modified)), CKV_OK);
    assert_int_equal(ckv_hello_verify(&hello, other), CKV_ERROR_HELLO_MAC);
}

static void a_stock_hello_verifies_under_no_key_and_has_no_clock(void **state)
{
    (void)state;
    struct ckv_hello hello;
    assert_int_equal(ckv_hello_parse(&hello, &stock, sizeof(stock)), CKV_OK);
    assert_int_equal(ckv_hello_verify(&hello, hello_key), CKV_ERROR_HELLO_MAC);
    assert_int_equal(ckv_hello_check_clock(&hello, 0, UINT64_MAX), CKV_ERROR_HELLO_CLOCK);
}

static void every_other_size_is_refused(void **state)
{
    (void)state;
    uint8_t longer[CKV_HELLO_SIZE + 8] = { 0 };
    memcpy(longer, &modified, sizeof(modified));
    for (size_t size = 0; size <= sizeof(longer); size++)
        assert_int_equal(parse_size(longer, size),
                         size == CKV_HELLO_SIZE ? CKV_OK : CKV_ERROR_CURVE);
}

static void other_names_and_versions_are_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < 8; at++) {
        struct ckv_hello_octets changed = stock;
        ((uint8_t *)&changed)[at] ^= 0x20; /* also "hELLO", "HeLLO", ... */
        assert_int_equal(parse(&changed), CKV_ERROR_CURVE);
    }
}

static void padding_that_says_nothing_is_zero_to_its_last_octet(void **state)
{
    (void)state;
    for (size_t at = 1; at < sizeof(stock.padding); at++) {
        struct ckv_hello_octets changed = stock;
        ((uint8_t *)&changed.padding)[at] = 1;
        assert_int_equal(parse(&changed), CKV_ERROR_CURVE);
    }
}

static void other_formats_of_padding_are_refused(void **state)
{
    (void)state;
    for (unsigned format = 0; format < 256; format++) {
        struct ckv_hello_octets changed = modified;
        changed.padding.format = (uint8_t)format;
        assert_int_equal(parse(&changed), format == 1 ? CKV_OK : CKV_ERROR_CURVE);
    }
}

static void a_storage_key_has_1_to_40_octets_and_zeros_behind(void **state)
{
    (void)state;
    for (unsigned size = 0; size < 256; size++) {
        struct ckv_hello_octets changed = modified;
        changed.padding.storage_key_size = (uint8_t)size;
        memset(changed.padding.storage_key, 'k', 40);
        if (size < 40)
            memset(changed.padding.storage_key + size, 0, 40 - size);
        assert_int_equal(parse(&changed), size >= 1 && size <= 40 ? CKV_OK : CKV_ERROR_CURVE);
        if (size >= 1 && size < 40)
            for (size_t at = size; at < 40; at++) {
                struct ckv_hello_octets dirty = changed;
                dirty.padding.storage_key[at] = 1;
                assert_int_equal(parse(&dirty), CKV_ERROR_CURVE);
            }
    }
}

static void the_clock_is_good_up_to_the_window_on_both_sides(void **state)
{
    (void)state;
    struct ckv_hello hello = { .modified = true, .clock = 100000 };
    assert_int_equal(ckv_hello_check_clock(&hello, 100000, 0), CKV_OK);
    assert_int_equal(ckv_hello_check_clock(&hello, 100001, 0), CKV_ERROR_HELLO_CLOCK);
    assert_int_equal(ckv_hello_check_clock(&hello, 70000, 30000), CKV_OK);
    assert_int_equal(ckv_hello_check_clock(&hello, 69999, 30000), CKV_ERROR_HELLO_CLOCK);
    assert_int_equal(ckv_hello_check_clock(&hello, 130000, 30000), CKV_OK);
    assert_int_equal(ckv_hello_check_clock(&hello, 130001, 30000), CKV_ERROR_HELLO_CLOCK);
    hello.clock = 0;
    assert_int_equal(ckv_hello_check_clock(&hello, UINT64_MAX, 30000), CKV_ERROR_HELLO_CLOCK);
    hello.clock = CKV_HELLO_CLOCK_MAX;
    assert_int_equal(ckv_hello_check_clock(&hello, 0, 30000), CKV_ERROR_HELLO_CLOCK);
}

static void a_transient_key_that_protects_nothing_is_refused_unopened(void **state)
{
    (void)state;
    struct ckv_hello_octets changed = stock;
    memset(changed.client_key, 0, 32);
    assert_int_equal(parse(&changed), CKV_ERROR_WEAK_KEY);
    changed.client_key[0] = 1;
    assert_int_equal(parse(&changed), CKV_ERROR_WEAK_KEY);
    changed = stock;
    changed.client_key[31] |= 0x80;
    assert_int_equal(parse(&changed), CKV_ERROR_WEAK_KEY);
}

static void what_cannot_be_said_in_a_hello_leaves_it_stock(void **state)
{
    (void)state;
    uint8_t key[41] = { 1 };
    struct ckv_hello_octets octets = stock;
    assert_int_equal(ckv_hello_modify(&octets, ckv_octets(key, 0), 1, hello_key),
                     CKV_ERROR_STORAGE_KEY);
    assert_int_equal(ckv_hello_modify(&octets, ckv_octets(key, 41), 1, hello_key),
                     CKV_ERROR_STORAGE_KEY);
    assert_int_equal(
        ckv_hello_modify(&octets, ckv_octets(key, 1), CKV_HELLO_CLOCK_MAX + 1, hello_key),
        CKV_ERROR_ARGUMENT);
    assert_memory_equal(&octets, &stock, sizeof(octets));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stock_hello_of_libzmq_is_read),
        cmocka_unit_test(a_modified_hello_is_what_another_blake2b_makes_of_it),
        cmocka_unit_test(every_bit_of_a_modified_hello_counts),
        cmocka_unit_test(the_mac_covers_name_key_nonce_and_box),
        cmocka_unit_test(another_hello_key_does_not_verify),
        cmocka_unit_test(a_stock_hello_verifies_under_no_key_and_has_no_clock),
        cmocka_unit_test(every_other_size_is_refused),
        cmocka_unit_test(other_names_and_versions_are_refused),
        cmocka_unit_test(padding_that_says_nothing_is_zero_to_its_last_octet),
        cmocka_unit_test(other_formats_of_padding_are_refused),
        cmocka_unit_test(a_storage_key_has_1_to_40_octets_and_zeros_behind),
        cmocka_unit_test(the_clock_is_good_up_to_the_window_on_both_sides),
        cmocka_unit_test(a_transient_key_that_protects_nothing_is_refused_unopened),
        cmocka_unit_test(what_cannot_be_said_in_a_hello_leaves_it_stock),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
