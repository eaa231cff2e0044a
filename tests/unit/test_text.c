/*  Text from outside: core/text.h. Every run of octets is put at the end of an allocation of its
    own size, so that AddressSanitizer sees a read beyond it.  */
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct range {
    uint8_t first, last;
};

/*  UTF8-char of RFC 3629, section 4, line by line; it leaves 0 to the caller.  */
static const struct form {
    size_t size;
    struct range octets[4];
} forms[] = {
    { 1, { { 0x00, 0x7f } } },
    { 2, { { 0xc2, 0xdf }, { 0x80, 0xbf } } },
    { 3, { { 0xe0, 0xe0 }, { 0xa0, 0xbf }, { 0x80, 0xbf } } },
    { 3, { { 0xe1, 0xec }, { 0x80, 0xbf }, { 0x80, 0xbf } } },
    { 3, { { 0xed, 0xed }, { 0x80, 0x9f }, { 0x80, 0xbf } } },
    { 3, { { 0xee, 0xef }, { 0x80, 0xbf }, { 0x80, 0xbf } } },
    { 4, { { 0xf0, 0xf0 }, { 0x90, 0xbf }, { 0x80, 0xbf }, { 0x80, 0xbf } } },
    { 4, { { 0xf1, 0xf3 }, { 0x80, 0xbf }, { 0x80, 0xbf }, { 0x80, 0xbf } } },
    { 4, { { 0xf4, 0xf4 }, { 0x80, 0x8f }, { 0x80, 0xbf }, { 0x80, 0xbf } } },
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static bool has_form(const struct form *form, const uint8_t *octets, size_t size)
{
    for (size_t i = 0; i < form->size; i++)
        if (i == size || octets[i] < form->octets[i].first || octets[i] > form->octets[i].last)
            return false;
    return true;
}

static bool rfc3629_allows(const uint8_t *octets, size_t size)
{
    while (size) {
        size_t form = 0;
        while (form < FORMS && !has_form(&forms[form], octets, size))
            form++;
        if (form == FORMS || octets[0] == 0)
            return false;
        octets += forms[form].size;
        size -= forms[form].size;
    }
    return true;
}

static bool judge(bool (*judgement)(struct ckv_octets), const void *octets, size_t size)
{
    uint8_t *exact = malloc(size + !size);
    assert_non_null(exact);
    memcpy(exact, octets, size);
    bool answer = judgement(ckv_octets(exact + (size ? 0 : 1), size));
    free(exact);
    return answer;
}

static bool valid(const void *octets, size_t size)
{
    return judge(ckv_text_valid, octets, size);
}

static bool printable(const void *octets, size_t size)
{
    return judge(ckv_text_printable, octets, size);
}

static size_t encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = more; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(lead[more] | code);
    return more + 1;
}

static bool code_is_printable(uint32_t code)
{
    uint8_t text[4];
    return ckv_text_printable(ckv_octets(text, encode(code, text)));
}

static void no_text_is_valid_and_printable(void **state)
{
    (void)state;
    assert_true(valid("", 0));
    assert_true(printable("", 0));
    assert_true(ckv_text_valid(ckv_octets(NULL, 0)));
    assert_true(ckv_text_printable(ckv_octets(NULL, 0)));
}

static void every_code_point_but_zero_is_valid(void **state)
{
    (void)state;
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        uint8_t text[4];
        bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
        if (ckv_text_valid(ckv_octets(text, encode(code, text))) == is_surrogate)
            fail_msg("U+%04X", code);
    }
}

static void a_zero_octet_is_refused_anywhere(void **state)
{
    (void)state;
    assert_false(valid("", 1));
    assert_false(valid("\0text", 5));
    assert_false(valid("te\0xt", 5));
    assert_false(valid("text", 5));
}

static void just_the_sequences_of_rfc_3629_are_valid(void **state)
{
    (void)state;
    /*  The borders of every range in the RFC's table.  */
    static const uint8_t borders[] = { 0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                       0xc1, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xef, 0xf0, 0xf4, 0xff };
    enum { BORDERS = sizeof(borders) };
    for (unsigned head = 0; head < 0x10000; head++) {
        uint8_t octets[4] = { (uint8_t)(head >> 8), (uint8_t)head };
        assert_true(ckv_text_valid(ckv_octets(octets, 2)) == rfc3629_allows(octets, 2));
        for (unsigned tail = 0; tail < BORDERS * BORDERS; tail++) {
            octets[2] = borders[tail / BORDERS];
            octets[3] = borders[tail % BORDERS];
            for (size_t size = 3; size <= 4; size++)
                if (ckv_text_valid(ckv_octets(octets, size)) != rfc3629_allows(octets, size))
                    fail_msg("%zu octets %02x%02x%02x%02x", size, octets[0], octets[1], octets[2],
                             octets[3]);
        }
    }
}

static void overlong_forms_surrogates_and_what_is_above_unicode_are_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "\xc0\x80",
        "\xc0\xaf",
        "\xc1\xbf", /* 0, '/', U+7F in two */
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf", /* '/', U+7FF in three */
        "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf", /* '/', U+FFFF in four */
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xed\xa0\xbd\xed\xb8\x80", /* surrogates, CESU-8 */
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf7\xbf\xbf\xbf", /* above U+10FFFF */
        "\xf8\x88\x80\x80",
        "\xfe",
        "\xff",
        "\x80",
        "\xbf",
        "a\x80", /* a tail with no lead */
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_false(valid(refused[i], strlen(refused[i])));
        assert_false(printable(refused[i], strlen(refused[i])));
    }
}

static void what_is_cut_off_at_the_end_is_refused_and_not_read_beyond(void **state)
{
    (void)state;
    static const char *const whole[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\x91" };
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        size_t size = strlen(whole[i]);
        assert_true(valid(whole[i], size));
        assert_true(printable(whole[i], size));
        for (size_t cut = 1; cut < size; cut++) {
            assert_false(valid(whole[i], cut));
            assert_false(printable(whole[i], cut));
        }
    }
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        uint8_t octet = (uint8_t)lead;
        assert_false(valid(&octet, 1));
        assert_false(printable(&octet, 1));
    }
}

static void text_of_people_is_printable(void **state)
{
    (void)state;
    static const char *const texts[] = { "ACME, Inc.", "Nº 42", "Müller & Söhne", "Ελλάς",
                                         "株式会社",   "עברית", "العربية",        "🔑" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(printable(texts[i], strlen(texts[i])));
}

static void what_disturbs_a_terminal_or_a_reader_is_not_printable(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, last;
    } refused[] = {
        { 0x00, 0x1f },       { 0x7f, 0x9f },       /* control characters */
        { 0xad, 0xad },       { 0x61c, 0x61c },     /* soft hyphen, Arabic letter mark */
        { 0x180e, 0x180e },   { 0x200b, 0x200f },   /* zero width, direction marks */
        { 0x2028, 0x2029 },   { 0x202a, 0x202e },   /* separators, overrides */
        { 0x2060, 0x206f },   { 0xfeff, 0xfeff },   /* isolates, byte order mark */
        { 0xfff9, 0xfffb },   { 0xd800, 0xdfff },   /* annotations, surrogates */
        { 0xe0000, 0xe007f }, { 0xe0100, 0xe01ef }, /* tags, variation selectors */
        { 0x34f, 0x34f },     { 0x115f, 0x1160 },   /* joiner and fillers that nobody sees */
        { 0x3164, 0x3164 },   { 0xffa0, 0xffa0 },   /* Hangul fillers */
        { 0x2800, 0x2800 },   { 0xfe00, 0xfe0f },   /* blank Braille, variation selectors */
        { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, /* shorthand and musical formats */
        { 0xfffe, 0xffff },   { 0x1fffe, 0x1ffff }, /* noncharacters */
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        for (uint32_t code = refused[i].first; code <= refused[i].last; code++)
            if (code_is_printable(code))
                fail_msg("U+%04X", code);
    }
    assert_true(code_is_printable(0x7e) && code_is_printable(0xa0) && code_is_printable(0xae));
    assert_true(code_is_printable(0x2010) && code_is_printable(0x202f));
    assert_true(code_is_printable(0x205f) && code_is_printable(0x2070));
    assert_true(code_is_printable(0x34e) && code_is_printable(0x350));
    assert_true(code_is_printable(0x3163) && code_is_printable(0x3165));
    assert_true(code_is_printable(0x27ff) && code_is_printable(0xfffd));
}

static void one_bad_character_among_good_ones_is_found(void **state)
{
    (void)state;
    assert_false(printable("user\xe2\x80\xaetxt.exe", 14));
    assert_false(printable("\x1b[2Jtext", 8));
    assert_false(printable("line\n", 5));
    assert_true(valid("line\n", 5));
    assert_true(valid("\x1b[2Jtext", 8));
}

static void hex_is_read_in_either_case(void **state)
{
    (void)state;
    uint8_t out[4] = { 0 };
    assert_true(ckv_text_unhex(out, 4, ckv_octets_text("00fFAa9b")));
    assert_memory_equal(out, "\x00\xff\xaa\x9b", 4);
    assert_true(ckv_text_unhex(out, 0, ckv_octets(NULL, 0)));
}

static void what_is_not_just_so_many_hex_digits_is_refused(void **state)
{
    (void)state;
    uint8_t out[2];
    assert_false(ckv_text_unhex(out, 2, ckv_octets_text("")));
    assert_false(ckv_text_unhex(out, 2, ckv_octets_text("abc")));
    assert_false(ckv_text_unhex(out, 2, ckv_octets_text("abcde")));
    assert_false(ckv_text_unhex(out, 0, ckv_octets_text("a")));
    for (unsigned c = 0; c < 0x100; c++)
        for (size_t at = 0; at < 4; at++) {
            uint8_t hex[4] = { 'a', '0', 'F', '9' };
            hex[at] = (uint8_t)c;
            bool is_digit = c && strchr("0123456789abcdefABCDEF", (int)c);
            if (ckv_text_unhex(out, 2, ckv_octets(hex, 4)) != is_digit)
                fail_msg("octet %02x at %zu", c, at);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_text_is_valid_and_printable),
        cmocka_unit_test(every_code_point_but_zero_is_valid),
        cmocka_unit_test(a_zero_octet_is_refused_anywhere),
        cmocka_unit_test(just_the_sequences_of_rfc_3629_are_valid),
        cmocka_unit_test(overlong_forms_surrogates_and_what_is_above_unicode_are_refused),
        cmocka_unit_test(what_is_cut_off_at_the_end_is_refused_and_not_read_beyond),
        cmocka_unit_test(text_of_people_is_printable),
        cmocka_unit_test(what_disturbs_a_terminal_or_a_reader_is_not_printable),
        cmocka_unit_test(one_bad_character_among_good_ones_is_found),
        cmocka_unit_test(hex_is_read_in_either_case),
        cmocka_unit_test(what_is_not_just_so_many_hex_digits_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
