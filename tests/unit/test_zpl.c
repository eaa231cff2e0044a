/*  The lines of a certificate file: core/zpl.h.  */
#include "core/zpl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/*  Reads TEXT, from memory of just its size so that the sanitizer sees an octet too far, and writes
    what it says as "depth name [value]" with | after each line, or "error at line".  */
static const char *said_by(struct ckv_octets text)
{
    static char said[1024];
    uint8_t *copy = test_malloc(text.size + 1);
    struct ckv_zpl_line line;
    struct ckv_zpl zpl;
    size_t size = 0;
    int rc;
    memcpy(copy + 1, text.data, text.size);
    ckv_zpl_start(&zpl, ckv_octets(copy + 1, text.size));
    for (said[0] = 0; (rc = ckv_zpl_next(&zpl, &line)) == 1; size = strlen(said)) {
        snprintf(said + size, sizeof(said) - size, "%u %.*s", line.depth, (int)line.name.size,
                 (const char *)line.name.data);
        size = strlen(said);
        snprintf(said + size, sizeof(said) - size, line.value.data ? " [%.*s]|" : "|",
                 (int)line.value.size, (const char *)line.value.data);
    }
    if (rc < 0)
        snprintf(said + size, sizeof(said) - size, rc == CKV_ERROR_CERTFILE ? "error at %u" : "?",
                 zpl.line);
    test_free(copy);
    return said;
}

static void assert_says(const char *text, const char *expected)
{
    assert_string_equal(said_by(ckv_octets_text(text)), expected);
}

static void sections_and_properties_are_told_by_their_indentation(void **state)
{
    (void)state;
    assert_says("a\n    b = 1\n    c\n        d = 2\n    e = 3\nf\n",
                "0 a|1 b [1]|1 c|2 d [2]|1 e [3]|0 f|");
    assert_says("a = 1\n    b = 2", "0 a [1]|1 b [2]|");
}

static void values_are_read_with_either_quotes_or_none(void **state)
{
    (void)state;
    assert_says("a = \"say 'hi'\"\n", "0 a [say 'hi']|");
    assert_says("a = 'say \"hi\"'\n", "0 a [say \"hi\"]|");
    assert_says("a = Paula's \"pump\"  \n", "0 a [Paula's \"pump\"]|");
    assert_says("a=1\nb =2\nc= 3\nd  \t=\t 4\n", "0 a [1]|0 b [2]|0 c [3]|0 d [4]|");
    assert_says("a = \"  x  \"\n", "0 a [  x  ]|");
    assert_says("a = x = y\n", "0 a [x = y]|");
    assert_says("a = \"back\\\"\n", "0 a [back\\]|");
}

static void an_empty_value_is_not_a_section(void **state)
{
    (void)state;
    assert_says("a =\nb = \"\"\nc = ''\nd = # comment\ne", "0 a []|0 b []|0 c []|0 d []|0 e|");
}

static void comments_end_a_line_but_not_inside_quotes(void **state)
{
    (void)state;
    assert_says("# one\n   # two\n\na # three\n    b = \"x # y\" # four\n    c = x # y\n    d#e\n",
                "0 a|1 b [x # y]|1 c [x]|1 d|");
}

static void blank_lines_say_nothing(void **state)
{
    (void)state;
    assert_says("", "");
    assert_says("\n \n\t\n   \r\n", "");
    assert_says("\n\na", "0 a|");
}

static void cr_lf_tabs_and_a_byte_order_mark_are_read(void **state)
{
    (void)state;
    assert_says("a\r\n    b = 1\r\n    c = \"2\"\r\n", "0 a|1 b [1]|1 c [2]|");
    assert_says("a\n\tb = 1\n\t    c = 2\n    \td = 3", "0 a|1 b [1]|2 c [2]|2 d [3]|");
    assert_says("\xef\xbb\xbf"
                "a = 1\n",
                "0 a [1]|");
    assert_says("a = 1\n\xef\xbb\xbf"
                "b = 1\n",
                "0 a [1]|error at 2");
}

static void indentation_that_fits_no_section_is_refused(void **state)
{
    (void)state;
    assert_says("    a = 1\n", "error at 1");
    assert_says("a\n        b = 1\n", "0 a|error at 2");
    assert_says("a\n  b = 1\n", "0 a|error at 2");
    assert_says("a\n  \tb = 1\n", "0 a|error at 2");
    assert_says("a\n     b = 1\n", "0 a|error at 2");
    assert_says("a\n    b = 1\nc\n        d = 1\n", "0 a|1 b [1]|0 c|error at 4");
    assert_says("a\n  bbbbbb = 1\n", "0 a|error at 2");
    assert_says("a\n   \t bbbbbb = 1\n", "0 a|error at 2");
    assert_says(" a", "error at 1");
}

static void a_quote_left_open_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_says("a\n\n    b = \"1\n\"", "0 a|error at 3");
    assert_says("a = '1\"\n", "error at 1");
    assert_says("a = \"", "error at 1");
}

static void what_stands_after_a_value_or_a_name_is_refused(void **state)
{
    (void)state;
    assert_says("name = \"Paula's \"pump\"\"\n", "error at 1");
    assert_says("hello world\n", "error at 1");
    assert_says("a \"1\"\n", "error at 1");
}

static void a_line_without_a_name_is_refused(void **state)
{
    (void)state;
    assert_says("= 1\n", "error at 1");
    assert_says("\"a\" = 1\n", "error at 1");
    assert_says("caf\xc3\xa9 = 1\n", "error at 1");
}

static void control_characters_are_refused_wherever_they_stand(void **state)
{
    static const char *const patterns[] = { "a%cb = 1", "a = 1%c2", "a = \"1%c2\"",
                                            "# %c",     "a%c",      "%ca" };
    char text[32];
    (void)state;
    for (int c = 0; c < 0x80; c++)
        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
            int size = snprintf(text, sizeof(text), patterns[i], c);
            const char *said = said_by(ckv_octets(text, (size_t)size));
            int at_end = patterns[i][strlen(patterns[i]) - 1] == 'c';
            if ((c < 0x20 && c != '\t' && c != '\n' && !(c == '\r' && at_end)) || c == 0x7f)
                assert_string_equal(said, "error at 1");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_and_properties_are_told_by_their_indentation),
        cmocka_unit_test(values_are_read_with_either_quotes_or_none),
        cmocka_unit_test(an_empty_value_is_not_a_section),
        cmocka_unit_test(comments_end_a_line_but_not_inside_quotes),
        cmocka_unit_test(blank_lines_say_nothing),
        cmocka_unit_test(cr_lf_tabs_and_a_byte_order_mark_are_read),
        cmocka_unit_test(indentation_that_fits_no_section_is_refused),
        cmocka_unit_test(a_quote_left_open_is_refused_with_its_line),
        cmocka_unit_test(what_stands_after_a_value_or_a_name_is_refused),
        cmocka_unit_test(a_line_without_a_name_is_refused),
        cmocka_unit_test(control_characters_are_refused_wherever_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
