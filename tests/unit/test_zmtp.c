/*  ZMTP on the wire: core/zmtp.h. Octets are read from allocations of just their size, so that
    AddressSanitizer sees a read beyond them.  */
#include "core/zmtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BOUND = 1000 };

/*  What libzmq 4.3 sends, but for as-server, which it never sets. The 8 octets in the signature are a
    size, for peers of ZMTP 1.  */
static const uint8_t from_libzmq[CKV_ZMTP_GREETING_SIZE] = { 0xff, 0, 0, 0,   0,   0,   0,   0,   1,
                                                             0x7f, 3, 1, 'C', 'U', 'R', 'V', 'E', 0,
                                                             0,    0, 0, 0,   0,   0,   0,   0,   0,
                                                             0,    0, 0, 0,   0,   1,   0 };

/*  Octets in memory of their own.  */
static uint8_t *own(const void *octets, size_t size)
{
    uint8_t *copy = malloc(size + !size);
    assert_non_null(copy);
    if (size)
        memcpy(copy, octets, size);
    return copy;
}

static int read_greeting(const uint8_t *octets, size_t size, struct ckv_zmtp_greeting *greeting)
{
    uint8_t *copy = own(octets, size);
    struct ckv_octets input = ckv_octets(copy, size);
    int rc = ckv_zmtp_greeting_next(&input, greeting);
    assert_int_equal(size - input.size, rc == 1 ? CKV_ZMTP_GREETING_SIZE : 0);
    free(copy);
    return rc;
}

static int read_changed(size_t at, uint8_t value)
{
    struct ckv_zmtp_greeting greeting;
    uint8_t octets[CKV_ZMTP_GREETING_SIZE];
    memcpy(octets, from_libzmq, sizeof(octets));
    octets[at] = value;
    return read_greeting(octets, sizeof(octets), &greeting);
}

static int read_frame_bounded(const void *octets, size_t size, size_t max,
                              struct ckv_zmtp_frame *frame)
{
    uint8_t *copy = own(octets, size);
    struct ckv_octets input = ckv_octets(copy, size);
    int rc = ckv_zmtp_frame_next(&input, max, frame);
    assert_int_equal(size - input.size, rc == 1 ? frame->header_size + frame->size : 0);
    if (rc == 1)
        assert_ptr_equal(frame->body.data, copy + frame->header_size);
    free(copy);
    return rc;
}

static int read_frame(const void *octets, size_t size, struct ckv_zmtp_frame *frame)
{
    return read_frame_bounded(octets, size, BOUND, frame);
}

static int parse_command(const char *body, size_t size, struct ckv_zmtp_command *command)
{
    return ckv_zmtp_command_parse(ckv_octets(body, size), command);
}

/* ---- the greeting ---- */

static void a_greeting_of_libzmq_is_read_and_ours_reads_the_same(void **state)
{
    (void)state;
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_greeting_octets ours;
    ckv_zmtp_greeting_write(&ours, "CURVE", true);
    assert_memory_equal((uint8_t *)&ours + 9, from_libzmq + 9, CKV_ZMTP_GREETING_SIZE - 9);
    assert_int_equal(ours.signature[0], 0xff);
    assert_int_equal(read_greeting((uint8_t *)&ours, sizeof(ours), &greeting), 1);
    assert_int_equal(read_greeting(from_libzmq, sizeof(from_libzmq), &greeting), 1);
    assert_string_equal(greeting.mechanism, "CURVE");
    assert_int_equal(greeting.minor, 1);
    assert_true(greeting.as_server);

    ckv_zmtp_greeting_write(&ours, "ABCDEFGHIJKLMNOPQRST", false);
    assert_int_equal(read_greeting((uint8_t *)&ours, sizeof(ours), &greeting), 1);
    assert_string_equal(greeting.mechanism, "ABCDEFGHIJKLMNOPQRST");
    assert_false(greeting.as_server);
}

static void a_greeting_is_awaited_until_its_last_octet_and_no_further(void **state)
{
    (void)state;
    struct ckv_zmtp_greeting greeting;
    uint8_t octets[CKV_ZMTP_GREETING_SIZE + 1] = { 0 };
    memcpy(octets, from_libzmq, CKV_ZMTP_GREETING_SIZE);
    for (size_t size = 0; size < CKV_ZMTP_GREETING_SIZE; size++)
        assert_int_equal(read_greeting(octets, size, &greeting), 0);
    assert_int_equal(read_greeting(octets, sizeof(octets), &greeting), 1);
}

static void versions_from_3_0_on_are_accepted_and_older_ones_refused(void **state)
{
    (void)state;
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_greeting_octets octets;
    static const struct {
        uint8_t major, minor;
        int rc, talk;
    } cases[] = { { 3, 0, 1, 0 },
                  { 3, 1, 1, 1 },
                  { 3, 2, 1, 1 },
                  { 4, 0, 1, 1 },
                  { 255, 9, 1, 1 },
                  { 2, 1, CKV_ERROR_ZMTP, 0 },
                  { 1, 0, CKV_ERROR_ZMTP, 0 },
                  { 0, 0, CKV_ERROR_ZMTP, 0 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ckv_zmtp_greeting_write(&octets, "NULL", false);
        octets.major = cases[i].major;
        octets.minor = cases[i].minor;
        assert_int_equal(read_greeting((uint8_t *)&octets, sizeof(octets), &greeting), cases[i].rc);
        if (cases[i].rc == 1)
            assert_int_equal(greeting.minor, cases[i].talk);
    }
}

static void what_is_no_greeting_is_refused_at_its_first_wrong_octet(void **state)
{
    (void)state;
    struct ckv_zmtp_greeting greeting;
    assert_int_equal(read_greeting((const uint8_t *)"GET /", 5, &greeting), CKV_ERROR_ZMTP);
    assert_int_equal(read_greeting((const uint8_t *)"\x16\x03\x01", 3, &greeting), CKV_ERROR_ZMTP);
    assert_int_equal(read_greeting((const uint8_t *)"\xff\0\0\0\0\0\0\0\1\0", 10, &greeting),
                     CKV_ERROR_ZMTP);
    assert_int_equal(read_greeting((const uint8_t *)"\xff\0\0\0\0\0\0\0\1\x7f\2", 11, &greeting),
                     CKV_ERROR_ZMTP);
    assert_int_equal(read_changed(12, 0), CKV_ERROR_ZMTP);
    assert_int_equal(read_changed(12, 'c'), CKV_ERROR_ZMTP);
    assert_int_equal(read_changed(14, 0), CKV_ERROR_ZMTP); /* letters follow */
    assert_int_equal(read_changed(31, 'X'), CKV_ERROR_ZMTP);
    assert_int_equal(read_changed(32, 2), CKV_ERROR_ZMTP);
}

static void padding_and_filler_mean_nothing(void **state)
{
    (void)state;
    for (size_t at = 1; at < 9; at++)
        assert_int_equal(read_changed(at, 0x5a), 1);
    for (size_t at = 33; at < CKV_ZMTP_GREETING_SIZE; at++)
        assert_int_equal(read_changed(at, 0x5a), 1);
}

/* ---- frames ---- */

static void a_frame_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 254, 255, 256, 257, BOUND };
    static const uint8_t flags[] = { 0, CKV_ZMTP_MORE, CKV_ZMTP_COMMAND };
    uint8_t octets[CKV_ZMTP_HEADER_MAX + BOUND + 1];
    struct ckv_zmtp_frame frame;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t j = 0; j < sizeof(flags); j++) {
            size_t header_size = ckv_zmtp_header_write(octets, flags[j], sizes[i]);
            assert_int_equal(header_size, sizes[i] < 256 ? 2 : 9);
            memset(octets + header_size, 'b', sizes[i]);
            for (size_t size = 0; size < header_size + sizes[i]; size++) {
                assert_int_equal(read_frame(octets, size, &frame), 0);
                assert_int_equal(frame.header_size, size < header_size ? 0 : header_size);
                assert_int_equal(frame.size, size < header_size ? 0 : sizes[i]);
            }
            assert_int_equal(read_frame(octets, header_size + sizes[i] + 1, &frame), 1);
            assert_int_equal(frame.flags, flags[j]);
            assert_int_equal(frame.body.size, sizes[i]);
        }
}

static void frames_follow_each_other(void **state)
{
    (void)state;
    struct ckv_octets input = ckv_octets("\1\2ab\0\1c\4\1", 9);
    struct ckv_zmtp_frame frame;
    assert_int_equal(ckv_zmtp_frame_next(&input, BOUND, &frame), 1);
    assert_int_equal(frame.flags, CKV_ZMTP_MORE);
    assert_memory_equal(frame.body.data, "ab", 2);
    assert_int_equal(ckv_zmtp_frame_next(&input, BOUND, &frame), 1);
    assert_int_equal(frame.flags, 0);
    assert_memory_equal(frame.body.data, "c", 1);
    assert_int_equal(ckv_zmtp_frame_next(&input, BOUND, &frame), 0);
    assert_int_equal(input.size, 2);
}

static void a_frame_over_the_bound_is_refused_by_its_header_alone(void **state)
{
    (void)state;
    struct ckv_zmtp_frame frame;
    assert_int_equal(read_frame_bounded("\0\5", 2, 5, &frame), 0);
    assert_int_equal(read_frame_bounded("\0\6", 2, 5, &frame), CKV_ERROR_FRAME_SIZE);
    assert_int_equal(read_frame_bounded("\2\0\0\0\0\0\0\3\xe9", 9, BOUND, &frame),
                     CKV_ERROR_FRAME_SIZE);
    assert_int_equal(read_frame_bounded("\2\0\0\0\0\0\0\3\xe8", 9, BOUND, &frame), 0);
    assert_int_equal(frame.size, BOUND);
}

static void sizes_of_2_to_63_and_more_are_refused_under_any_bound(void **state)
{
    (void)state;
    struct ckv_zmtp_frame frame;
    assert_int_equal(read_frame_bounded("\2\x80\0\0\0\0\0\0\0", 9, SIZE_MAX, &frame),
                     CKV_ERROR_FRAME_SIZE);
    assert_int_equal(read_frame_bounded("\2\xff\xff\xff\xff\xff\xff\xff\xff", 9, SIZE_MAX, &frame),
                     CKV_ERROR_FRAME_SIZE);
    assert_int_equal(read_frame_bounded("\2\x7f\xff\xff\xff\xff\xff\xff\xff", 9, SIZE_MAX, &frame),
                     0);
}

static void a_short_body_in_a_long_frame_is_read(void **state)
{
    (void)state;
    struct ckv_zmtp_frame frame;
    assert_int_equal(read_frame("\6\0\0\0\0\0\0\0\1x", 10, &frame), 1);
    assert_int_equal(frame.flags, CKV_ZMTP_COMMAND);
    assert_int_equal(frame.body.size, 1);
}

static void flags_that_the_rfc_does_not_have_are_refused(void **state)
{
    (void)state;
    struct ckv_zmtp_frame frame;
    for (unsigned flags = 0; flags < 256; flags++) {
        uint8_t octets[9] = { (uint8_t)flags };
        bool good = flags < 8 && (flags & 5) != 5;
        assert_int_equal(read_frame(octets, sizeof(octets), &frame), good ? 1 : CKV_ERROR_ZMTP);
        assert_int_equal(read_frame(octets, 1, &frame), good ? 0 : CKV_ERROR_ZMTP);
    }
}

/* ---- commands ---- */

static void a_command_comes_out_as_it_went_in(void **state)
{
    (void)state;
    uint8_t buffer[32] = "keep", data[] = { 0, 1, 2 };
    size_t size = 4;
    struct ckv_zmtp_frame frame;
    struct ckv_zmtp_command command;
    assert_int_equal(ckv_zmtp_command_put(buffer, 15, &size, "READY", ckv_octets(data, 3)), CKV_OK);
    assert_int_equal(size, 15);
    assert_memory_equal(buffer, "keep\4\x9\5READY\0\1\2", 15);
    assert_int_equal(read_frame(buffer + 4, size - 4, &frame), 1);
    assert_int_equal(ckv_zmtp_command_parse(ckv_octets(buffer + 6, 9), &command), CKV_OK);
    assert_true(ckv_zmtp_command_is(&command, "READY"));
    assert_false(ckv_zmtp_command_is(&command, "READ"));
    assert_false(ckv_zmtp_command_is(&command, "READYY"));
    assert_memory_equal(command.data.data, data, sizeof(data));
}

static void a_command_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    uint8_t buffer[600] = { 0 };
    uint8_t data[300] = { 1 };
    size_t size = 0;
    for (size_t capacity = 0; capacity < 9 + 6 + 300; capacity++)
        assert_int_equal(
            ckv_zmtp_command_put(buffer, capacity, &size, "READY", ckv_octets(data, 300)),
            CKV_ERROR_ARGUMENT);
    assert_int_equal(size, 0);
    assert_int_equal(buffer[0], 0);
    assert_int_equal(ckv_zmtp_command_put(buffer, 315, &size, "READY", ckv_octets(data, 300)),
                     CKV_OK);
    assert_int_equal(ckv_zmtp_command_put(buffer, 600, &size, "", ckv_octets(data, 1)),
                     CKV_ERROR_ARGUMENT);
}

static void a_command_without_a_name_of_letters_is_refused(void **state)
{
    (void)state;
    struct ckv_zmtp_command command;
    assert_int_equal(parse_command("", 0, &command), CKV_ERROR_ZMTP);
    assert_int_equal(parse_command("\0", 1, &command), CKV_ERROR_ZMTP);
    for (size_t size = 0; size < 6; size++)
        assert_int_equal(parse_command("\5READY", size, &command), CKV_ERROR_ZMTP);
    assert_int_equal(parse_command("\5REA\0Y", 6, &command), CKV_ERROR_ZMTP);
    assert_int_equal(parse_command("\2A1", 3, &command), CKV_ERROR_ZMTP);
    assert_int_equal(parse_command("\4PING", 5, &command), CKV_OK);
    assert_int_equal(command.data.size, 0);
}

static void an_error_has_a_reason_of_just_its_size(void **state)
{
    (void)state;
    struct ckv_octets reason;
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\3"
                                                     "400",
                                                     4),
                                          &reason),
                     CKV_OK);
    assert_true(ckv_octets_equal(reason, ckv_octets_text("400")));
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\0", 1), &reason), CKV_OK);
    assert_int_equal(reason.size, 0);
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("", 0), &reason), CKV_ERROR_ZMTP);
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\4"
                                                     "400",
                                                     4),
                                          &reason),
                     CKV_ERROR_ZMTP);
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\2"
                                                     "400",
                                                     4),
                                          &reason),
                     CKV_ERROR_ZMTP);
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\3"
                                                     "4\n0",
                                                     4),
                                          &reason),
                     CKV_ERROR_ZMTP);
    assert_int_equal(ckv_zmtp_error_parse(ckv_octets("\1\x7f", 2), &reason), CKV_ERROR_ZMTP);
}

static void a_ping_tells_its_ttl_in_milliseconds_and_at_most_16_octets_of_context(void **state)
{
    (void)state;
    struct ckv_zmtp_ping ping;
    uint8_t data[2 + 17] = { 0xff, 0xff, 'c' };
    assert_int_equal(ckv_zmtp_ping_parse(ckv_octets(data, 18), &ping), CKV_OK);
    assert_int_equal(ping.ttl_ms, 6553500);
    assert_int_equal(ping.context.size, 16);
    assert_int_equal(ping.context.data[0], 'c');
    assert_int_equal(ckv_zmtp_ping_parse(ckv_octets(data, 2), &ping), CKV_OK);
    assert_int_equal(ping.context.size, 0);
    assert_int_equal(ckv_zmtp_ping_parse(ckv_octets(data, 1), &ping), CKV_ERROR_ZMTP);
    assert_int_equal(ckv_zmtp_ping_parse(ckv_octets(data, 19), &ping), CKV_ERROR_ZMTP);
}

/* ---- subscriptions ---- */

static void a_subscription_is_the_same_in_3_0_and_in_3_1(void **state)
{
    (void)state;
    static const char *const topics[] = { "", "A", "weather.de" };
    for (unsigned i = 0; i < 3; i++)
        for (uint8_t minor = 0; minor < 2; minor++)
            for (int cancel = 0; cancel < 2; cancel++) {
                uint8_t buffer[32];
                size_t size = 0;
                struct ckv_zmtp_frame frame;
                struct ckv_zmtp_subscription in = { cancel, ckv_octets_text(topics[i]) }, out;
                assert_int_equal(
                    ckv_zmtp_subscription_put(buffer, sizeof(buffer), &size, minor, &in), CKV_OK);
                struct ckv_octets input = ckv_octets(buffer, size);
                assert_int_equal(ckv_zmtp_frame_next(&input, BOUND, &frame), 1);
                assert_int_equal(frame.flags, minor ? CKV_ZMTP_COMMAND : 0);
                assert_int_equal(ckv_zmtp_subscription_parse(frame.flags, frame.body, &out), 1);
                assert_int_equal(out.cancel, cancel);
                assert_true(ckv_octets_equal(out.topic, in.topic));
            }
}

static void what_is_no_subscription_is_left_to_the_application(void **state)
{
    (void)state;
    struct ckv_zmtp_subscription out;
    assert_int_equal(ckv_zmtp_subscription_parse(0, ckv_octets("", 0), &out), 0);
    assert_int_equal(ckv_zmtp_subscription_parse(0, ckv_octets("\2x", 2), &out), 0);
    assert_int_equal(ckv_zmtp_subscription_parse(CKV_ZMTP_MORE, ckv_octets("\1x", 2), &out), 0);
    assert_int_equal(ckv_zmtp_subscription_parse(CKV_ZMTP_COMMAND, ckv_octets("\1x", 2), &out), 0);
    assert_int_equal(
        ckv_zmtp_subscription_parse(CKV_ZMTP_COMMAND, ckv_octets("\4PING\0\0", 7), &out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_greeting_of_libzmq_is_read_and_ours_reads_the_same),
        cmocka_unit_test(a_greeting_is_awaited_until_its_last_octet_and_no_further),
        cmocka_unit_test(versions_from_3_0_on_are_accepted_and_older_ones_refused),
        cmocka_unit_test(what_is_no_greeting_is_refused_at_its_first_wrong_octet),
        cmocka_unit_test(padding_and_filler_mean_nothing),
        cmocka_unit_test(a_frame_comes_out_as_it_went_in),
        cmocka_unit_test(frames_follow_each_other),
        cmocka_unit_test(a_frame_over_the_bound_is_refused_by_its_header_alone),
        cmocka_unit_test(sizes_of_2_to_63_and_more_are_refused_under_any_bound),
        cmocka_unit_test(a_short_body_in_a_long_frame_is_read),
        cmocka_unit_test(flags_that_the_rfc_does_not_have_are_refused),
        cmocka_unit_test(a_command_comes_out_as_it_went_in),
        cmocka_unit_test(a_command_that_does_not_fit_changes_nothing),
        cmocka_unit_test(a_command_without_a_name_of_letters_is_refused),
        cmocka_unit_test(an_error_has_a_reason_of_just_its_size),
        cmocka_unit_test(a_ping_tells_its_ttl_in_milliseconds_and_at_most_16_octets_of_context),
        cmocka_unit_test(a_subscription_is_the_same_in_3_0_and_in_3_1),
        cmocka_unit_test(what_is_no_subscription_is_left_to_the_application),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
