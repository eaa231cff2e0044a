/*  Errors and their sentences: core/error.h, which the test reads, so that no number can be added
    there and forgotten in core/error.c. Run from the root of the sources.  */
#include "core/error.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LOWEST = -1000 };

#define PREFIX "CKV_ERROR_"

static struct {
    int number;
    char name[64]; /* in snake case, without the prefix */
} declared[128];
static size_t count;

static void take_declaration(const char *line)
{
    line += strspn(line, " ");
    size_t size = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (strncmp(line, PREFIX, strlen(PREFIX)) != 0 || strncmp(line + size, " = ", 3) != 0)
        return;
    assert_true(count < sizeof(declared) / sizeof(declared[0]));
    size -= strlen(PREFIX);
    assert_true(size < sizeof(declared[0].name));
    for (size_t i = 0; i < size; i++)
        declared[count].name[i] = (char)tolower((unsigned char)line[strlen(PREFIX) + i]);
    declared[count++].number = atoi(strchr(line, '=') + 1);
}

static int read_header(void **state)
{
    (void)state;
    char path[1024], line[256];
    const char *slash = strrchr(__FILE__, '/');
    int size = slash ? (int)(slash - __FILE__) : 1;
    snprintf(path, sizeof(path), "%.*s/../../core/error.h", size, slash ? __FILE__ : ".");
    FILE *header = fopen(path, "r");
    if (!header) {
        fprintf(stderr, "%s is not there; run this from the root of the sources\n", path);
        return -1;
    }
    while (fgets(line, sizeof(line), header))
        take_declaration(line);
    fclose(header);
    return 0;
}

static int is_known(int number)
{
    return strcmp(ckv_error_name(number), "unknown") != 0;
}

static void every_number_has_the_name_it_is_declared_with(void **state)
{
    (void)state;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(declared[i].number < 0 && declared[i].number >= LOWEST);
        assert_string_equal(ckv_error_name(declared[i].number), declared[i].name);
    }
}

static void no_number_is_known_that_is_not_declared(void **state)
{
    (void)state;
    size_t known = 0;
    for (int number = -1; number >= LOWEST; number--)
        known += is_known(number) != 0;
    assert_int_equal(known, count);
}

static void no_two_errors_share_a_number_a_name_or_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) {
            int a = declared[i].number, b = declared[j].number;
            assert_int_not_equal(a, b);
            assert_string_not_equal(ckv_error_name(a), ckv_error_name(b));
            assert_string_not_equal(ckv_strerror(a), ckv_strerror(b));
        }
}

static void every_sentence_can_stand_after_a_path_and_a_colon(void **state)
{
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const char *sentence = ckv_strerror(declared[i].number);
        size_t size = strlen(sentence);
        assert_true(size > 10);
        assert_string_not_equal(sentence, ckv_strerror(LOWEST - 1));
        assert_true(sentence[size - 1] != '.' && !isspace((unsigned char)sentence[size - 1]));
        assert_false(isspace((unsigned char)sentence[0]) || isupper((unsigned char)sentence[0]));
        for (size_t at = 0; at < size; at++)
            assert_true(isprint((unsigned char)sentence[at]));
    }
}

static void a_number_unknown_here_still_has_a_name_and_a_sentence(void **state)
{
    (void)state;
    static const int unknown[] = { 1, 42, LOWEST - 1, -0x7fffffff - 1, 0x7fffffff };
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_string_equal(ckv_error_name(unknown[i]), "unknown");
        assert_string_equal(ckv_strerror(unknown[i]), "an error that this version does not know");
    }
}

static void no_error_is_ok(void **state)
{
    (void)state;
    assert_int_equal(CKV_OK, 0);
    assert_string_equal(ckv_error_name(CKV_OK), "ok");
    assert_string_equal(ckv_strerror(CKV_OK), "done");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_has_the_name_it_is_declared_with),
        cmocka_unit_test(no_number_is_known_that_is_not_declared),
        cmocka_unit_test(no_two_errors_share_a_number_a_name_or_a_sentence),
        cmocka_unit_test(every_sentence_can_stand_after_a_path_and_a_colon),
        cmocka_unit_test(a_number_unknown_here_still_has_a_name_and_a_sentence),
        cmocka_unit_test(no_error_is_ok),
    };
    return cmocka_run_group_tests(tests, read_header, NULL);
}
