/*  Times as text: core/time.h.  */
#include "core/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int read_text(const char *text, uint64_t *ms)
{
    return ckv_time_read(ms, ckv_octets_text(text));
}

static void assert_pair(uint64_t expected, const char *text)
{
    char written[CKV_TIME_TEXT_SIZE];
    uint64_t ms = 1;
    assert_int_equal(read_text(text, &ms), CKV_OK);
    assert_true(ms == expected);
    assert_string_equal(ckv_time_text(expected, written), text);
}

/*  The numbers are those of date -u -d TEXT +%s.  */
static void known_times_are_read_and_written(void **state)
{
    (void)state;
    assert_pair(0, "1970-01-01T00:00:00Z");
    assert_pair(UINT64_C(951782400000), "2000-02-29T00:00:00Z");
    assert_pair(UINT64_C(1382745599000), "2013-10-25T23:59:59Z");
    assert_pair(UINT64_C(1798675200000), "2026-12-31T00:00:00Z");
    assert_pair(UINT64_C(4107542399000), "2100-02-28T23:59:59Z");
    assert_pair(UINT64_C(253402300799000), "9999-12-31T23:59:59Z");
}

static void a_date_alone_is_the_begin_of_that_day(void **state)
{
    uint64_t ms;
    (void)state;
    assert_int_equal(read_text("2026-12-31", &ms), CKV_OK);
    assert_true(ms == UINT64_C(1798675200000));
}

/*  Every day from 1970 to 9999, counted up by the calendar's own rule.  */
static void every_day_has_a_text_of_its_own(void **state)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    uint64_t expected = 0;
    char text[64];
    (void)state;
    for (int year = 1970; year <= 9999; year++)
        for (int month = 1; month <= 12; month++) {
            int leap = month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0);
            for (int day = 1; day <= days[month - 1] + leap; day++, expected += 86400000) {
                snprintf(text, sizeof(text), "%04d-%02d-%02dT00:00:00Z", year, month, day);
                assert_pair(expected, text);
            }
        }
    assert_true(expected == CKV_TIME_MAX + 1);
}

static void milliseconds_are_left_out_and_later_times_are_the_last(void **state)
{
    char text[CKV_TIME_TEXT_SIZE];
    (void)state;
    assert_string_equal(ckv_time_text(1999, text), "1970-01-01T00:00:01Z");
    assert_string_equal(ckv_time_text(CKV_TIME_MAX + 1, text), "9999-12-31T23:59:59Z");
    assert_string_equal(ckv_time_text(UINT64_MAX, text), "9999-12-31T23:59:59Z");
}

static void what_is_no_time_is_refused_and_changes_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "2026",
        "2026-12",
        "2026-12-3",
        "2026-12-031",
        "26-12-31",
        "2026/12/31",
        "2026-00-10",
        "2026-13-10",
        "2026-12-00",
        "2026-12-32",
        "2026-04-31",
        "2026-02-29",
        "2100-02-29",
        "1969-12-31",
        "0000-01-01",
        "2026-12-31T",
        "2026-12-31T00:00Z",
        "2026-12-31T00:00:00",
        "2026-12-31T24:00:00Z",
        "2026-12-31T00:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-12-31T00:00:00Z ",
        " 2026-12-31",
        "2026-12-31T00:00:00+00:00",
        "2026-12-31t00:00:00z",
        "2026-12-31 00:00:00Z",
        "2026-12-+1",
        "-026-12-31",
    };
    uint64_t ms = 42;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (read_text(texts[i], &ms) != CKV_ERROR_ARGUMENT)
            fail_msg("'%s' was read", texts[i]);
        assert_true(ms == 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times_are_read_and_written),
        cmocka_unit_test(a_date_alone_is_the_begin_of_that_day),
        cmocka_unit_test(every_day_has_a_text_of_its_own),
        cmocka_unit_test(milliseconds_are_left_out_and_later_times_are_the_last),
        cmocka_unit_test(what_is_no_time_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
