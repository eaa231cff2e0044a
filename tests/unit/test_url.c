/*  Redis URLs: replication/url.h. The text is put at the end of an allocation of its own size, so that
    AddressSanitizer sees a read beyond it.  */
#include "replication/url.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/*  ---- helpers ----  */

static int read_octets(struct ckv_url **url, struct ckv_octets text)
{
    uint8_t *exact = malloc(text.size + !text.size);
    assert_non_null(exact);
    memcpy(exact, text.data, text.size);
    int rc = ckv_url_new(url, ckv_octets(exact + !text.size, text.size));
    free(exact);
    if (rc != CKV_OK)
        assert_null(*url);
    return rc;
}

static struct ckv_url *read_text(const char *text)
{
    struct ckv_url *url;
    assert_int_equal(read_octets(&url, ckv_octets_text(text)), CKV_OK);
    assert_non_null(url);
    return url;
}

static int error_of(const char *text)
{
    struct ckv_url *url;
    int rc = read_octets(&url, ckv_octets_text(text));
    ckv_url_destroy(&url);
    return rc;
}

/*  ---- forms ----  */

struct form {
    const char *text;
    enum ckv_url_kind kind;
    const char *host;
    int port;
    const char *path_or_master;
    int db;
    const char *user, *password;
};

/* clang-format off */
static const struct form forms[] = {
    { "redis://localhost", CKV_URL_TCP, "localhost", 6379, "", 0, "", "" },
    { "redis://10.0.0.7:7000", CKV_URL_TCP, "10.0.0.7", 7000, "", 0, "", "" },
    { "redis://localhost/", CKV_URL_TCP, "localhost", 6379, "", 0, "", "" },
    { "redis://localhost/3", CKV_URL_TCP, "localhost", 6379, "", 3, "", "" },
    { "redis://h:1/65535", CKV_URL_TCP, "h", 1, "", 65535, "", "" },
    { "redis://h:65535", CKV_URL_TCP, "h", 65535, "", 0, "", "" },
    { "redis://ada:pass@h:7000/2", CKV_URL_TCP, "h", 7000, "", 2, "ada", "pass" },
    { "redis://:pass@h", CKV_URL_TCP, "h", 6379, "", 0, "", "pass" },
    { "redis://ada@h", CKV_URL_TCP, "h", 6379, "", 0, "ada", "" },
    { "redis://ada:a:b@h", CKV_URL_TCP, "h", 6379, "", 0, "ada", "a:b" },
    { "redis://a%40b:%3a%2F%25@h", CKV_URL_TCP, "h", 6379, "", 0, "a@b", ":/%" },
    { "redis://[::1]", CKV_URL_TCP, "::1", 6379, "", 0, "", "" },
    { "redis://[fe80::1]:7000/1", CKV_URL_TCP, "fe80::1", 7000, "", 1, "", "" },
    { "redis://a:b@[::1]:7000", CKV_URL_TCP, "::1", 7000, "", 0, "a", "b" },
    { "unix:///run/redis.sock", CKV_URL_UNIX, NULL, 0, "/run/redis.sock", 0, "", "" },
    { "unix:///run/a@b.sock", CKV_URL_UNIX, NULL, 0, "/run/a@b.sock", 0, "", "" },
    { "unix:///r.sock?db=4", CKV_URL_UNIX, NULL, 0, "/r.sock", 4, "", "" },
    { "unix://ada:pass@/r.sock?db=4", CKV_URL_UNIX, NULL, 0, "/r.sock", 4, "ada", "pass" },
    { "sentinel://a/mymaster", CKV_URL_SENTINEL, "a", 26379, "mymaster", 0, "", "" },
    { "sentinel://a:1/mymaster?db=5", CKV_URL_SENTINEL, "a", 1, "mymaster", 5, "", "" },
    { "sentinel://u:p@a:1/m", CKV_URL_SENTINEL, "a", 1, "m", 0, "u", "p" },
};
/* clang-format on */

static void assert_form(const struct form *form)
{
    struct ckv_url *url = read_text(form->text);
    assert_int_equal(url->kind, form->kind);
    assert_int_equal(url->host_count, form->host ? 1 : 0);
    if (form->host) {
        assert_string_equal(url->hosts[0].name, form->host);
        assert_int_equal(url->hosts[0].port, form->port);
    }
    assert_string_equal(form->kind == CKV_URL_SENTINEL ? url->master : url->path,
                        form->path_or_master);
    assert_int_equal(url->db, form->db);
    assert_string_equal(url->user, form->user);
    assert_string_equal(url->password, form->password);
    ckv_url_destroy(&url);
    assert_null(url);
}

static void every_form_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
        assert_form(&forms[i]);
}

static void several_sentinels_are_read_in_order(void **state)
{
    (void)state;
    struct ckv_url *url = read_text("sentinel://a:1,b,[::1]:3,d:4,e:5,f:6,g:7,h:8/mymaster?db=1");
    assert_int_equal(url->host_count, 8);
    assert_string_equal(url->hosts[0].name, "a");
    assert_string_equal(url->hosts[1].name, "b");
    assert_int_equal(url->hosts[1].port, 26379);
    assert_string_equal(url->hosts[2].name, "::1");
    assert_int_equal(url->hosts[2].port, 3);
    assert_string_equal(url->hosts[7].name, "h");
    assert_int_equal(url->hosts[7].port, 8);
    assert_string_equal(url->master, "mymaster");
    assert_int_equal(url->db, 1);
    ckv_url_destroy(&url);
    assert_int_equal(error_of("sentinel://a,b,c,d,e,f,g,h,i/mymaster"), CKV_ERROR_URL);
}

static void any_octet_but_zero_can_be_written_in_percent(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++)
        for (int upper = 0; upper < 2; upper++) {
            char text[64];
            struct ckv_url *url;
            snprintf(text, sizeof(text),
                     upper ? "redis://u%%%02X:p%%%02X@h" : "redis://u%%%02x:p%%%02x@h", octet,
                     octet);
            int rc = read_octets(&url, ckv_octets_text(text));
            assert_int_equal(rc, octet ? CKV_OK : CKV_ERROR_URL);
            if (rc != CKV_OK)
                continue;
            assert_true(url->user[0] == 'u' && (uint8_t)url->user[1] == octet && !url->user[2]);
            assert_true(url->password[0] == 'p' && (uint8_t)url->password[1] == octet &&
                        !url->password[2]);
            ckv_url_destroy(&url);
        }
}

/*  ---- refused ----  */

static void what_is_no_redis_url_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "localhost",
        "localhost:6379",
        "redis:",
        "redis:/h",
        "redis://",
        "redis:///1",
        "REDIS://h",
        " redis://h",
        "http://h",
        "tcp://h",
        "redis://:6379",
        "redis://h:",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:70000",
        "redis://h:-1",
        "redis://h:+1",
        "redis://h:6379x",
        "redis://h:000006379",
        "redis://h:4294973675", /* 6379 + 2^32 */
        "redis://h:1:2",
        "redis://::1",
        "redis://[::1",
        "redis://[]",
        "redis://[::1]7000",
        "redis://[::1]:",
        "redis://a,b",
        "redis://a:1,b:2/0",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/65536",
        "redis://h/1/2",
        "redis://h/1x",
        "redis://h?x=1",
        "redis://u:p@",
        "redis://u:p@ss@h", /* %40 is meant */
        "redis://u:p/w@h",
        "redis://h/1@x",
        "sentinel://a:1/m@x",
        "redis://u:p@/1",
        "redis://u:p%@",
        "redis://u:p%4@",
        "redis://u:p%@h",
        "redis://u:p%4@h",
        "redis://u:p%4g@h",
        "redis://u:p%g4@h",
        "redis://u%:p@h",
        "redis://u:p%00@h",
        "redis://h\n",
        "redis://h\x7f",
        "redis://\xff",
        "unix://",
        "unix://run/redis.sock",
        "unix://u:p@run/redis.sock",
        "unix://u:p@",
        "unix://?db=1",
        "unix:///r.sock?db=",
        "unix:///r.sock?db=x",
        "unix:///r.sock?db=65536",
        "unix:///r.sock?d=1",
        "unix:///r.sock?db=1&db=2",
        "sentinel://",
        "sentinel://a",
        "sentinel://a/",
        "sentinel:///mymaster",
        "sentinel://a,/mymaster",
        "sentinel://,a/mymaster",
        "sentinel://a,,b/mymaster",
        "sentinel://a:0/mymaster",
        "sentinel://a:70000,b/mymaster",
        "sentinel://a/mymaster?db=x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (error_of(texts[i]) != CKV_ERROR_URL)
            fail_msg("'%s' was not refused", texts[i]);
}

static void tls_is_refused_with_an_error_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(error_of("rediss://localhost"), CKV_ERROR_URL_TLS);
    assert_int_equal(error_of("rediss://u:p@localhost:6379/1"), CKV_ERROR_URL_TLS);
}

/*  PREFIX, SIZE times 'x', SUFFIX.  */
static int error_of_long(const char *prefix, size_t size, const char *suffix)
{
    static char text[4096];
    size_t before = strlen(prefix);
    assert_true(before + size + strlen(suffix) < sizeof(text));
    memcpy(text, prefix, before);
    memset(text + before, 'x', size);
    strcpy(text + before + size, suffix);
    return error_of(text);
}

static void every_part_has_a_longest_size(void **state)
{
    static const struct {
        const char *prefix;
        size_t most;
        const char *suffix;
    } parts[] = {
        { "redis://", CKV_URL_HOST_MAX - 1, "" },
        { "redis://", CKV_URL_HOST_MAX - 1, ":1/1" },
        { "redis://[", CKV_URL_HOST_MAX - 1, "]:1" },
        { "redis://", CKV_URL_HOST_MAX - 1, ":p@h" },
        { "redis://u:", CKV_URL_SECRET_MAX - 1, "@h" },
        { "unix:///", 107 - 1, "?db=1" },
        { "sentinel://a,", CKV_URL_HOST_MAX - 1, "/m" },
        { "sentinel://a/", CKV_URL_HOST_MAX - 1, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        size_t most = parts[i].most;
        assert_int_equal(error_of_long(parts[i].prefix, most, parts[i].suffix), CKV_OK);
        assert_int_equal(error_of_long(parts[i].prefix, most + 1, parts[i].suffix), CKV_ERROR_URL);
        assert_int_equal(error_of_long(parts[i].prefix, 3000, parts[i].suffix), CKV_ERROR_URL);
    }
}

static void a_url_that_is_cut_off_is_read_or_refused_and_not_read_beyond(void **state)
{
    static const char text[] = "sentinel://ad%61:p%61ss@[::1]:7000,b:70/mymaster?db=12";
    (void)state;
    for (size_t size = 0; size < sizeof(text); size++) {
        struct ckv_url *url;
        int rc = read_octets(&url, ckv_octets(text, size));
        assert_true(rc == CKV_OK || rc == CKV_ERROR_URL);
        ckv_url_destroy(&url);
    }
}

/*  ---- the password ----  */

static void the_text_for_logs_has_all_but_the_password(void **state)
{
    static const char *const texts[][2] = {
        { "redis://ada:secret@h:7000/2", "redis://ada:***@h:7000/2" },
        { "redis://:secret@h", "redis://:***@h" },
        { "redis://ada:s%65cret@h", "redis://ada:***@h" },
        { "redis://ada:se:cret@h", "redis://ada:***@h" },
        { "redis://secret:secret@secret", "redis://secret:***@secret" },
        { "unix://ada:secret@/r.sock?db=4", "unix://ada:***@/r.sock?db=4" },
        { "sentinel://u:secret@a:1,b:2/m?db=1", "sentinel://u:***@a:1,b:2/m?db=1" },
        { "redis://ada@h", "redis://ada@h" },
        { "redis://ada:@h", "redis://ada:@h" },
        { "redis://h:7000/2", "redis://h:7000/2" },
        { "redis://[::1]:7000", "redis://[::1]:7000" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct ckv_url *url = read_text(texts[i][0]);
        assert_string_equal(url->text, texts[i][1]);
        ckv_url_destroy(&url);
    }
}

static void the_password_is_found_where_it_stands(void **state)
{
    static const struct {
        const char *text, *password;
        size_t at;
    } places[] = {
        { "redis://ada:secret@h:7000/2", "secret", 12 },
        { "redis://:s@h", "s", 9 },
        { "redis://ada:s%65c@h", "s%65c", 12 },
        { "redis://a:b:c@h", "b:c", 10 },
        { "unix://ada:secret@/r.sock?db=4", "secret", 11 },
        { "sentinel://u:secret@a:1,b:2/m", "secret", 13 },
        { "rediss://ada:secret@h", "secret", 13 }, /* also of a URL that is refused */
        { "http://ada:secret@h:x", "secret", 11 },
        { "redis://ada:se@cret@h", "se@cret", 12 },
        { "unix:///run:x/a@b.sock", "", 0 },
        { "redis://ada:@h", "", 0 },
        { "redis://ada@h", "", 0 },
        { "redis://h:7000/2", "", 0 },
        { "redis://[::1]:7000", "", 0 },
        { "localhost:6379", "", 0 },
        { "://", "", 0 },
        { "", "", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        struct ckv_octets text = ckv_octets_text(places[i].text);
        struct ckv_octets password = ckv_url_password(text);
        assert_int_equal(password.size, strlen(places[i].password));
        assert_true(ckv_octets_equal(password, ckv_octets_text(places[i].password)));
        if (password.size)
            assert_ptr_equal(password.data, text.data + places[i].at);
    }
}

static void of_what_is_no_url_only_the_scheme_is_named(void **state)
{
    static const char *const texts[][2] = {
        { "redis//u:secret@h", "redis" },
        { "redis:/u:secret@h", "redis" },
        { "redis:u:secret@h", "redis" },
        { "rediss://u:secret@h", "rediss" },
        { "unix:/u:secret@/p", "unix" },
        { "sentinel", "sentinel" },
        { "redissecret@h", "" },
        { "redis-secret@h", "" },
        { "u:secret@redis://h", "" },
        { "http://u:secret@h", "" },
        { "unixsecret", "" },
        { "", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct ckv_octets text = ckv_octets_text(texts[i][0]), scheme = ckv_url_scheme(text);
        assert_true(ckv_octets_equal(scheme, ckv_octets_text(texts[i][1])));
        assert_ptr_equal(scheme.data, text.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_read),
        cmocka_unit_test(several_sentinels_are_read_in_order),
        cmocka_unit_test(any_octet_but_zero_can_be_written_in_percent),
        cmocka_unit_test(what_is_no_redis_url_is_refused),
        cmocka_unit_test(tls_is_refused_with_an_error_of_its_own),
        cmocka_unit_test(every_part_has_a_longest_size),
        cmocka_unit_test(a_url_that_is_cut_off_is_read_or_refused_and_not_read_beyond),
        cmocka_unit_test(the_text_for_logs_has_all_but_the_password),
        cmocka_unit_test(the_password_is_found_where_it_stands),
        cmocka_unit_test(of_what_is_no_url_only_the_scheme_is_named),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
