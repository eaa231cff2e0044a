/*  What the backend is told of a client: first what the cluster says, and of the client's own words no
    more than it may say.  */
#include "core/properties.h"
#include "core/zmtp.h"
#include "node/gateway/introduction.h"
#include "tests/unit/records.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/*  ---- helpers ----  */

/*  Properties: name, value, name, value, ..., NULL.  */
struct properties {
    uint8_t octets[CKV_CURVE_METADATA_MAX];
    size_t size;
};

static struct ckv_octets list(struct properties *self, const char *name, ...)
{
    va_list values;
    va_start(values, name);
    self->size = 0;
    for (; name; name = va_arg(values, const char *))
        assert_int_equal(ckv_properties_put(self->octets, sizeof(self->octets), &self->size,
                                            ckv_octets_text(name),
                                            ckv_octets_text(va_arg(values, const char *))),
                         CKV_OK);
    va_end(values);
    return ckv_octets(self->octets, self->size);
}

static struct ckv_certificate certificate_of(struct ckv_octets metadata)
{
    return (struct ckv_certificate){
        .storage_key = ckv_octets_text("client-7"),
        .organisation = ckv_octets_text("ACME"),
        .number = ckv_octets_text("42"),
        .metadata = metadata,
    };
}

/*  Introduces, and compares with what is expected, in that order.  */
static void assert_introduced(const struct ckv_certificate *certificate, struct ckv_octets client,
                              struct ckv_octets expected)
{
    uint8_t frame[CKV_INTRODUCTION_MAX];
    struct ckv_zmtp_frame read;
    struct ckv_zmtp_command command;
    int size = ckv_introduction_write(frame, certificate, client);
    assert_true(size > 0);
    struct ckv_octets input = ckv_octets(frame, (size_t)size);
    assert_int_equal(ckv_zmtp_frame_next(&input, sizeof(frame), &read), 1);
    assert_int_equal(input.size, 0);
    assert_int_equal(read.flags, CKV_ZMTP_COMMAND);
    assert_int_equal(ckv_zmtp_command_parse(read.body, &command), CKV_OK);
    assert_true(ckv_zmtp_command_is(&command, "READY"));
    assert_true(ckv_octets_equal(command.data, expected));
}

/*  ---- promises ----  */

static void the_backend_learns_what_the_cluster_knows_before_what_the_client_says(void **state)
{
    (void)state;
    struct properties metadata, client, expected;
    struct ckv_certificate certificate = certificate_of(list(&metadata, "role", "admin", NULL));
    assert_introduced(&certificate,
                      list(&client, "X-Own", "mine", "Socket-Type", "DEALER", "Identity", "me",
                           "Resource", "r", NULL),
                      list(&expected, "Socket-Type", "DEALER", "Identity", "me", "Resource", "r",
                           "X-Curvekv-Key", "client-7", "X-Curvekv-Organisation", "ACME",
                           "X-Curvekv-Number", "42", "role", "admin", "X-Own", "mine", NULL));
}

static void no_client_says_what_the_cluster_would_say(void **state)
{
    (void)state;
    struct properties metadata, client, expected;
    struct ckv_certificate certificate = certificate_of(list(&metadata, "X-Level", "1", NULL));
    certificate.number = certificate.organisation = ckv_octets(NULL, 0);
    assert_introduced(&certificate,
                      list(&client, "X-Curvekv-Key", "root", "x-CURVEKV-number", "1", "X-Curvekv-",
                           "", "x-level", "9", "User-Id", "root", "role", "admin", "Peer-Address",
                           "10.0.0.1", "socket-TYPE", "REQ", "X-curvek", "passes", NULL),
                      list(&expected, "socket-TYPE", "REQ", "X-Curvekv-Key", "client-7", "X-Level",
                           "1", "X-curvek", "passes", NULL));
}

static void no_certificate_makes_its_client_another_socket_or_user(void **state)
{
    (void)state;
    struct properties metadata, client, expected;
    struct ckv_certificate certificate = certificate_of(list(
        &metadata, "socket-type", "PUB", "Identity", "x", "RESOURCE", "x", "user-id", "root",
        "Routing-Id", "x", "Peer-Address", "x", "X-Curvekv-Key", "other", "e-mail", "a@b", NULL));
    assert_introduced(&certificate, list(&client, "Socket-Type", "REQ", NULL),
                      list(&expected, "Socket-Type", "REQ", "X-Curvekv-Key", "client-7",
                           "X-Curvekv-Organisation", "ACME", "X-Curvekv-Number", "42", "e-mail",
                           "a@b", NULL));
}

static void the_largest_certificate_and_the_largest_client_fit(void **state)
{
    (void)state;
    static uint8_t metadata[CKV_METADATA_MAX], client[CKV_CURVE_METADATA_MAX];
    static uint8_t frame[CKV_INTRODUCTION_MAX], long_text[255], key[40];
    static const char name[] = "X-Padding", other[] = "X-Other";
    size_t size = 0, client_size = 0, around = 1 + 9 + 4;
    memset(long_text, 'o', sizeof(long_text));
    memset(key, 0xff, sizeof(key));
    struct ckv_octets value = ckv_octets(frame, sizeof(metadata) - around);
    assert_int_equal(
        ckv_properties_put(metadata, sizeof(metadata), &size, ckv_octets_text(name), value),
        CKV_OK);
    value.size += 2;
    assert_int_equal(
        ckv_properties_put(client, sizeof(client), &client_size, ckv_octets_text(other), value),
        CKV_OK);
    struct ckv_certificate certificate = {
        .storage_key = ckv_octets(key, sizeof(key)),
        .organisation = ckv_octets(long_text, sizeof(long_text)),
        .number = ckv_octets(long_text, sizeof(long_text)),
        .metadata = ckv_octets(metadata, size),
    };
    int written = ckv_introduction_write(frame, &certificate, ckv_octets(client, client_size));
    assert_true(written > CKV_METADATA_MAX + CKV_CURVE_METADATA_MAX);
}

static void a_name_that_cannot_be_passed_on_is_refused(void **state)
{
    (void)state;
    static const char wrong[] = "\3X-\1\0\0\0\0";
    struct properties metadata;
    uint8_t frame[CKV_INTRODUCTION_MAX];
    struct ckv_certificate certificate = certificate_of(list(&metadata, NULL));
    assert_int_equal(
        ckv_introduction_write(frame, &certificate, ckv_octets(wrong, sizeof(wrong) - 1)),
        CKV_ERROR_METADATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_backend_learns_what_the_cluster_knows_before_what_the_client_says),
        cmocka_unit_test(no_client_says_what_the_cluster_would_say),
        cmocka_unit_test(no_certificate_makes_its_client_another_socket_or_user),
        cmocka_unit_test(the_largest_certificate_and_the_largest_client_fit),
        cmocka_unit_test(a_name_that_cannot_be_passed_on_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
