/*  Metadata as ZMTP encodes it: core/properties.h.  */
#include "core/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <ctype.h>

enum { CAPACITY = 8192 };

static uint8_t buffer[CAPACITY];
static size_t size;

static int put(const char *name, const char *value)
{
    return ckv_properties_put(buffer, sizeof(buffer), &size, ckv_octets_text(name),
                              ckv_octets_text(value));
}

static int check(void)
{
    return ckv_properties_check(ckv_octets(buffer, size));
}

static int start_empty(void **state)
{
    (void)state;
    memset(buffer, 0xaa, sizeof(buffer));
    size = 0;
    return 0;
}

static void properties_are_encoded_as_rfc_23_says(void **state)
{
    static const uint8_t expected[] = "\4Role\0\0\0\5pump7\1a\0\0\0";
    (void)state;
    assert_int_equal(put("Role", "pump7"), CKV_OK);
    assert_int_equal(put("a", ""), CKV_OK);
    assert_int_equal(size, sizeof(expected));
    assert_memory_equal(buffer, expected, sizeof(expected));
    assert_int_equal(check(), CKV_OK);
}

static void properties_come_back_in_their_order(void **state)
{
    struct ckv_property property;
    (void)state;
    put("one", "1");
    put("two", "");
    struct ckv_octets rest = ckv_octets(buffer, size);
    assert_int_equal(ckv_properties_next(&rest, &property), 1);
    assert_true(ckv_octets_equal(property.name, ckv_octets_text("one")));
    assert_true(ckv_octets_equal(property.value, ckv_octets_text("1")));
    assert_int_equal(ckv_properties_next(&rest, &property), 1);
    assert_true(ckv_octets_equal(property.name, ckv_octets_text("two")));
    assert_int_equal(property.value.size, 0);
    assert_int_equal(ckv_properties_next(&rest, &property), 0);
    assert_int_equal(rest.size, 0);
}

static void a_property_is_found_whatever_the_case_of_its_name(void **state)
{
    struct ckv_octets value;
    (void)state;
    put("Role", "pump");
    put("x@y", "z");
    assert_int_equal(ckv_properties_get(ckv_octets(buffer, size), "rOLE", &value), 1);
    assert_true(ckv_octets_equal(value, ckv_octets_text("pump")));
    assert_int_equal(ckv_properties_get(ckv_octets(buffer, size), "rol", &value), 0);
    /*  @ and ` differ by what makes a letter lower case.  */
    assert_int_equal(ckv_properties_get(ckv_octets(buffer, size), "x`y", &value), 0);
}

/*  In memory of just that size, so that the sanitizer sees an octet too far.  */
static void a_property_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    put("Role", "pump7");
    for (size_t cut = 1; cut < size; cut++) {
        uint8_t *octets = test_malloc(cut);
        struct ckv_octets rest = ckv_octets(octets, cut);
        struct ckv_property property;
        memcpy(octets, buffer, cut);
        assert_int_equal(ckv_properties_next(&rest, &property), CKV_ERROR_METADATA);
        assert_int_equal(rest.size, cut);
        assert_int_equal(ckv_properties_check(ckv_octets(octets, cut)), CKV_ERROR_METADATA);
        test_free(octets);
    }
}

static void a_value_longer_than_what_is_left_is_refused(void **state)
{
    (void)state;
    put("a", "b");
    ckv_put32(buffer + 2, UINT32_MAX);
    assert_int_equal(check(), CKV_ERROR_METADATA);
    ckv_put32(buffer + 2, 2);
    assert_int_equal(check(), CKV_ERROR_METADATA);
}

static void names_have_the_characters_that_czmq_reads(void **state)
{
    char name[2] = "";
    (void)state;
    for (int c = 1; c < 256; c++) {
        int is_good = (c < 0x80 && isalnum(c)) || strchr("-_.+$@&", c) != NULL;
        size = 0;
        name[0] = (char)c;
        assert_int_equal(put(name, "v"), is_good ? CKV_OK : CKV_ERROR_METADATA);
        size = 0;
        put("a", "v");
        buffer[1] = (uint8_t)c;
        assert_int_equal(check(), is_good ? CKV_OK : CKV_ERROR_METADATA);
    }
    buffer[1] = 0;
    assert_int_equal(check(), CKV_ERROR_METADATA);
    size = 0;
    assert_int_equal(put("a/b", "v"), CKV_OK);
    assert_int_equal(put("/b", "v"), CKV_ERROR_METADATA);
    assert_int_equal(put("a/", "v"), CKV_ERROR_METADATA);
}

static void a_name_has_1_to_255_octets(void **state)
{
    char name[257];
    (void)state;
    memset(name, 'n', sizeof(name));
    name[256] = 0;
    assert_int_equal(put("", "v"), CKV_ERROR_METADATA);
    assert_int_equal(put(name, "v"), CKV_ERROR_METADATA);
    assert_int_equal(size, 0);
    assert_int_equal(put(name + 1, "v"), CKV_OK);
    assert_int_equal(check(), CKV_OK);
    buffer[0] = 0;
    assert_int_equal(check(), CKV_ERROR_METADATA);
}

static void a_property_without_a_name_is_not_taken(void **state)
{
    static const uint8_t octets[] = { 0, 0, 0, 0, 1, 'v' };
    struct ckv_octets rest = ckv_octets(octets, sizeof(octets));
    struct ckv_property property;
    (void)state;
    assert_int_equal(ckv_properties_next(&rest, &property), CKV_ERROR_METADATA);
}

static void a_property_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    put("a", "b");
    size_t before = size;
    for (size_t capacity = before; capacity < before + 9; capacity++)
        assert_int_equal(ckv_properties_put(buffer, capacity, &size, ckv_octets_text("cd"),
                                            ckv_octets_text("ef")),
                         CKV_ERROR_METADATA);
    assert_int_equal(size, before);
    assert_int_equal(buffer[before], 0xaa);
    assert_int_equal(
        ckv_properties_put(buffer, before + 9, &size, ckv_octets_text("cd"), ckv_octets_text("ef")),
        CKV_OK);
    assert_int_equal(size, before + 9);
}

static void a_name_comes_only_once_whatever_its_case(void **state)
{
    (void)state;
    put("Role", "a");
    put("other", "b");
    assert_int_equal(check(), CKV_OK);
    put("rOLE", "c");
    assert_int_equal(check(), CKV_ERROR_METADATA);
}

static void values_are_printable_and_have_one_kind_of_quotes(void **state)
{
    static const char *const good[] = { "", "Besan\xc3\xa7on", "say \"hi\"", "Paula's", "a # b=c" };
    static const char *const bad[] = { "a\nb", "\x1b[2J", "\xff", "Paula's \"pump\"" };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        size = 0;
        put("a", good[i]);
        assert_int_equal(check(), CKV_OK);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size = 0;
        put("a", bad[i]);
        assert_int_equal(check(), CKV_ERROR_METADATA);
    }
}

static void as_many_properties_as_fit_are_checked(void **state)
{
    char name[16];
    unsigned count = 0;
    (void)state;
    while (snprintf(name, sizeof(name), "%c%02u", 'a' + (char)(count % 26), count / 26),
           size + 16 <= sizeof(buffer) && put(name, "") == CKV_OK)
        count++;
    assert_in_range(count, 300, CAPACITY);
    assert_int_equal(check(), CKV_OK);
    assert_int_equal(put("A00", ""), CKV_OK);
    assert_int_equal(check(), CKV_ERROR_METADATA);
}

static void no_metadata_is_fine(void **state)
{
    struct ckv_octets value;
    (void)state;
    assert_int_equal(ckv_properties_check(ckv_octets(NULL, 0)), CKV_OK);
    assert_int_equal(ckv_properties_get(ckv_octets(NULL, 0), "a", &value), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(properties_are_encoded_as_rfc_23_says, start_empty),
        cmocka_unit_test_setup(properties_come_back_in_their_order, start_empty),
        cmocka_unit_test_setup(a_property_is_found_whatever_the_case_of_its_name, start_empty),
        cmocka_unit_test_setup(a_property_cut_short_anywhere_is_refused, start_empty),
        cmocka_unit_test_setup(a_value_longer_than_what_is_left_is_refused, start_empty),
        cmocka_unit_test_setup(names_have_the_characters_that_czmq_reads, start_empty),
        cmocka_unit_test_setup(a_name_has_1_to_255_octets, start_empty),
        cmocka_unit_test_setup(a_property_without_a_name_is_not_taken, start_empty),
        cmocka_unit_test_setup(a_property_that_does_not_fit_changes_nothing, start_empty),
        cmocka_unit_test_setup(a_name_comes_only_once_whatever_its_case, start_empty),
        cmocka_unit_test_setup(values_are_printable_and_have_one_kind_of_quotes, start_empty),
        cmocka_unit_test_setup(as_many_properties_as_fit_are_checked, start_empty),
        cmocka_unit_test_setup(no_metadata_is_fine, start_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
