/*  A client's connection with servers that stall, close, lie and babble: node/library/curvekv.h.  */
#include "node/library/curvekv.h"
#include "tests/unit/client_files.h"
#include "tests/unit/fake_server.h"

#include <time.h>

enum { WAIT_MS = 5000, SHORT_MS = 150 };

static struct fake server;
static struct ckv_connection *connection;

static int open_as(enum ckv_socket_type type, const char *file, int timeout_ms)
{
    char endpoint[64], path[128];
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", server.port);
    snprintf(path, sizeof(path), "%s", file_path(file));
    struct ckv_connection_options options = {
        .endpoint = endpoint,
        .certificate_file = path,
        .socket_type = type,
        .message_max = 1000,
        .timeout_ms = timeout_ms,
    };
    return ckv_connection_open(&connection, &options);
}

static int receive(int timeout_ms)
{
    const struct ckv_octets *parts;
    size_t count;
    return ckv_connection_receive(connection, &parts, &count, timeout_ms);
}

static void expect_message(const char *text)
{
    const struct ckv_octets *parts;
    size_t count;
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
    assert_int_equal(count, 1);
    assert_true(ckv_octets_equal(parts[0], ckv_octets_text(text)));
}

/*  A dealer that follows SCRIPT from READY on, and our connection to it.  */
static void meet(fake_script *script, int argument)
{
    fake_start(&server, script, "DEALER");
    server.argument = argument;
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "stock", WAIT_MS), CKV_OK);
}

static void part(void)
{
    ckv_connection_close(&connection);
    fake_stop(&server);
}

/* ---- in the handshake ---- */

enum step { GREETING, HALF_GREETING, WELCOME, HALF_WELCOME, READY, HALF_READY, STEPS };

/*  The handshake up to STEP, without what is due in it; of a half, half of it.  */
static bool go_to(struct fake *self, enum step step)
{
    struct ckv_zmtp_greeting_octets greeting;
    struct ckv_curve_welcome welcome;
    uint8_t ready[CKV_CURVE_READY_OVERHEAD + 64], header[2] = { CKV_ZMTP_COMMAND };
    size_t size;
    ckv_zmtp_greeting_write(&greeting, "CURVE", true);
    if (step == GREETING)
        return true;
    if (step == HALF_GREETING)
        return fake_send(self, &greeting, sizeof(greeting) / 2);
    if (!fake_greet(self) || !fake_take_hello(self, &welcome))
        return false;
    if (step == WELCOME)
        return true;
    header[1] = sizeof(welcome);
    if (step == HALF_WELCOME)
        return fake_send(self, header, 2) && fake_send(self, &welcome, sizeof(welcome) / 2);
    if (!fake_send_frame(self, CKV_ZMTP_COMMAND, &welcome, sizeof(welcome)) ||
        !fake_take_initiate(self, ready, &size))
        return false;
    header[1] = (uint8_t)size;
    return step == READY || (fake_send(self, header, 2) && fake_send(self, ready, size / 2));
}

static void stall(struct fake *self)
{
    if (go_to(self, (enum step)self->argument))
        fake_await_end(self);
}

static void a_server_that_stalls_in_any_step_is_left_in_time(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        fake_start(&server, stall, "DEALER");
        server.argument = step;
        assert_int_equal(open_as(CKV_SOCKET_DEALER, "modified", SHORT_MS), CKV_ERROR_TIMEOUT);
        assert_null(connection);
        part();
    }
}

/*  It is heard all the time, and yet it does not get on.  */
static void drip(struct fake *self)
{
    static const uint8_t header[9] = { CKV_ZMTP_COMMAND | 2, 0, 0, 0, 0, 0, 0, 0x10, 0 };
    if (!go_to(self, READY) || !fake_send(self, header, sizeof(header)))
        return;
    while (fake_send(self, "x", 1))
        poll(NULL, 0, 1);
}

static void a_server_that_drips_is_left_in_time(void **state)
{
    (void)state;
    fake_start(&server, drip, "DEALER");
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "stock", SHORT_MS), CKV_ERROR_TIMEOUT);
    part();
}

static void hang_up(struct fake *self)
{
    (void)go_to(self, (enum step)self->argument);
}

static void a_server_that_closes_in_any_step_is_said_to(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        fake_start(&server, hang_up, "DEALER");
        server.argument = step;
        assert_int_equal(open_as(CKV_SOCKET_DEALER, "modified", WAIT_MS), CKV_ERROR_HANDSHAKE);
        part();
    }
}

static void babble(struct fake *self)
{
    uint8_t octets[4096];
    randombytes_buf(octets, sizeof(octets));
    octets[0] &= 0x7f; /* nothing that ZMTP begins with */
    octets[0] |= 8;
    if (go_to(self, (enum step)self->argument) && fake_send(self, octets, sizeof(octets)))
        fake_await_end(self);
}

static void garbage_in_any_step_is_found_at_once(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        fake_start(&server, babble, "DEALER");
        server.argument = step;
        int rc = open_as(CKV_SOCKET_DEALER, "stock", WAIT_MS);
        bool half = step == HALF_WELCOME || step == HALF_READY; /* in a box */
        assert_int_equal(rc, half ? CKV_ERROR_CURVE_BOX : CKV_ERROR_ZMTP);
        part();
    }
}

/*  Frames that announce N octets, 2^62 and two that are little too many.  */
static void announce(struct fake *self)
{
    static const uint64_t sizes[] = { UINT64_C(1) << 62, CKV_CURVE_READY_MAX + 1,
                                      CKV_CURVE_ERROR_MAX + 1 };
    uint8_t header[9] = { CKV_ZMTP_COMMAND | 2 };
    ckv_put64(header + 1, sizes[self->argument]);
    if (go_to(self, self->argument == 2 ? WELCOME : READY) &&
        fake_send(self, header, sizeof(header)))
        fake_await_end(self);
}

static void a_frame_longer_than_what_is_due_is_refused_by_its_header(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fake_start(&server, announce, "DEALER");
        server.argument = i;
        assert_int_equal(open_as(CKV_SOCKET_DEALER, "stock", WAIT_MS), CKV_ERROR_FRAME_SIZE);
        part();
    }
}

static void refuse(struct fake *self)
{
    static const char error[] = "\5ERROR\3"
                                "400";
    if (go_to(self, (enum step)self->argument))
        fake_send_frame(self, CKV_ZMTP_COMMAND, error, sizeof(error) - 1);
}

static void an_error_where_an_answer_is_due_is_a_refusal(void **state)
{
    (void)state;
    for (int step = WELCOME; step <= READY; step += READY - WELCOME) {
        fake_start(&server, refuse, "DEALER");
        server.argument = step;
        assert_int_equal(open_as(CKV_SOCKET_DEALER, "modified", WAIT_MS), CKV_ERROR_REFUSED);
        part();
    }
}

static void be_ready(struct fake *self)
{
    if (fake_shake_hands(self))
        fake_await_end(self);
}

static void a_peer_type_that_does_not_go_with_ours_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum ckv_socket_type ours;
        const char *theirs;
        int expected;
    } pairs[] = {
        { CKV_SOCKET_DEALER, "ROUTER", CKV_OK },
        { CKV_SOCKET_DEALER, "DEALER", CKV_OK },
        { CKV_SOCKET_DEALER, "REP", CKV_OK },
        { CKV_SOCKET_DEALER, "PULL", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_REQ, "DEALER", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_SUB, "XPUB", CKV_OK },
        { CKV_SOCKET_SUB, "UB", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_SUB, "PUB XPUB", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_PUSH, "PULL", CKV_OK },
        { CKV_SOCKET_PULL, "PULL", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_PAIR, "", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_PAIR, "PAIRPAIRPAIRPAIR", CKV_ERROR_PEER_TYPE },
        { CKV_SOCKET_PAIR, NULL, CKV_ERROR_PEER_TYPE },
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        fake_start(&server, be_ready, pairs[i].theirs);
        assert_int_equal(open_as(pairs[i].ours, "stock", WAIT_MS), pairs[i].expected);
        part();
    }
}

static void the_hello_is_modified_when_the_file_has_a_storage_key_and_a_hello_key(void **state)
{
    (void)state;
    struct ckv_certfile file = client_file(FIRST_OF_CLIENT);
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];
    fill(hello_key, sizeof(hello_key), FIRST_OF_HELLO);
    add_storage_key(&file);
    file.has_hello_key = false;
    write_file("keyless", &file);
    static const char *const files[] = { "modified", "stock", "keyless" };
    for (int i = 0; i < 3; i++) {
        fake_start(&server, be_ready, "DEALER");
        assert_int_equal(open_as(CKV_SOCKET_DEALER, files[i], WAIT_MS), CKV_OK);
        part();
        assert_int_equal(server.hello.modified, i == 0);
        if (i > 0)
            continue;
        assert_true(ckv_octets_equal(server.hello.storage_key, ckv_octets_text(FIXED_STORAGE_KEY)));
        assert_int_equal(ckv_hello_verify(&server.hello, hello_key), CKV_OK);
        uint64_t now = (uint64_t)time(NULL) * 1000;
        assert_int_equal(ckv_hello_check_clock(&server.hello, now, 60000), CKV_OK);
    }
}

/* ---- after it ---- */

enum lie { GARBAGE, TOO_LONG, REPLAY, MALFORMED, MORE_PARTS, LONG_COMMAND, IN_CLEAR, INNER_ERROR };

static void send_parts_without_end(struct fake *self)
{
    while (fake_send_message(self, CKV_ZMTP_MORE, "", 0))
        ;
}

static void replay(struct fake *self)
{
    uint8_t message[CKV_CURVE_MESSAGE_OVERHEAD];
    if (ckv_curve_message_seal(&self->curve.session, 0, message, 0) == CKV_OK)
        fake_send_frame(self, 0, message, sizeof(message));
    fake_send_frame(self, 0, message, sizeof(message));
}

static void lie(struct fake *self)
{
    static const uint8_t zeros[2000], long_header[9] = { 2, 0, 0, 0, 0, 0, 0, 4, 10 };
    static const char command[600] = "\4LONG";
    if (!fake_shake_hands(self))
        return;
    switch ((enum lie)self->argument) {
    case GARBAGE:
        fake_send_frame(self, 0, zeros, 100);
        break;
    case TOO_LONG: /* 1034: one octet more than 1000 and what CURVE adds */
        fake_send(self, long_header, sizeof(long_header));
        break;
    case REPLAY:
        replay(self);
        break;
    case MALFORMED:
        fake_send_message(self, CKV_ZMTP_COMMAND, "\5PI", 3);
        break;
    case MORE_PARTS:
        send_parts_without_end(self);
        return;
    case LONG_COMMAND:
        fake_send_message(self, CKV_ZMTP_COMMAND, command, sizeof(command));
        break;
    case IN_CLEAR:
        fake_send_frame(self, CKV_ZMTP_COMMAND, "\4PING\0\0", 7);
        break;
    case INNER_ERROR:
        fake_send_message(self, CKV_ZMTP_COMMAND, "\5ERROR\0", 7);
        break;
    }
    fake_await_end(self);
}

static void what_breaks_the_protocol_ends_the_connection(void **state)
{
    (void)state;
    static const int expected[] = {
        [GARBAGE] = CKV_ERROR_CURVE,         [TOO_LONG] = CKV_ERROR_FRAME_SIZE,
        [REPLAY] = CKV_ERROR_CURVE_NONCE,    [MALFORMED] = CKV_ERROR_ZMTP,
        [MORE_PARTS] = CKV_ERROR_FRAME_SIZE, [LONG_COMMAND] = CKV_ERROR_FRAME_SIZE,
        [IN_CLEAR] = CKV_ERROR_CURVE,        [INNER_ERROR] = CKV_ERROR_REFUSED,
    };
    for (int i = 0; i < (int)(sizeof(expected) / sizeof(expected[0])); i++) {
        meet(lie, i);
        if (i == REPLAY)
            expect_message("");
        assert_int_equal(receive(WAIT_MS), expected[i]);
        assert_int_equal(receive(WAIT_MS), expected[i]);
        struct ckv_octets text = ckv_octets_text("x");
        assert_int_equal(ckv_connection_send(connection, &text, 1, WAIT_MS), expected[i]);
        assert_int_equal(ckv_connection_flush(connection, WAIT_MS), expected[i]);
        part();
    }
}

/*  Closes after N of the octets of a message of two parts.  */
static void break_off(struct fake *self)
{
    uint8_t frames[2][2 + CKV_CURVE_MESSAGE_OVERHEAD + 5];
    if (!fake_shake_hands(self))
        return;
    for (int i = 0; i < 2; i++) {
        uint8_t *body = frames[i] + 2;
        ckv_zmtp_header_write(frames[i], 0, sizeof(frames[i]) - 2);
        memcpy(body + CKV_CURVE_MESSAGE_OVERHEAD, "words", 5);
        if (ckv_curve_message_seal(&self->curve.session, i ? 0 : CKV_ZMTP_MORE, body, 5) != CKV_OK)
            return;
    }
    fake_send(self, frames, (size_t)self->argument);
}

static void a_message_that_is_not_whole_is_none(void **state)
{
    (void)state;
    enum { WHOLE = 2 * (2 + CKV_CURVE_MESSAGE_OVERHEAD + 5) };
    static const int sizes[] = { 0, 1, 2, 20, 39, 40, 41, 79, WHOLE };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        meet(break_off, sizes[i]);
        if (sizes[i] == WHOLE)
            assert_int_equal(receive(WAIT_MS), CKV_OK);
        assert_int_equal(receive(WAIT_MS), CKV_ERROR_CLOSED);
        part();
    }
}

/*  Sends all in pieces of an octet.  */
static void crumble(struct fake *self)
{
    uint8_t frame[2 + CKV_CURVE_MESSAGE_OVERHEAD + 5];
    if (!fake_shake_hands(self))
        return;
    ckv_zmtp_header_write(frame, 0, sizeof(frame) - 2);
    memcpy(frame + 2 + CKV_CURVE_MESSAGE_OVERHEAD, "piece", 5);
    if (ckv_curve_message_seal(&self->curve.session, 0, frame + 2, 5) != CKV_OK)
        return;
    for (size_t i = 0; i < sizeof(frame); i++) {
        fake_send(self, frame + i, 1);
        poll(NULL, 0, 2);
    }
    fake_await_end(self);
}

static void a_message_in_pieces_is_put_together_over_many_calls(void **state)
{
    (void)state;
    int rc, calls = 0;
    meet(crumble, 0);
    while ((rc = receive(1)) == CKV_ERROR_TIMEOUT)
        assert_true(++calls < WAIT_MS);
    assert_int_equal(rc, CKV_OK);
    assert_true(calls > 5);
    part();
}

static void ping(struct fake *self)
{
    bool good = fake_shake_hands(self) &&
                fake_send_message(self, CKV_ZMTP_COMMAND,
                                  "\4PING\0\xa"
                                  "context",
                                  14) &&
                fake_expect(self, CKV_ZMTP_COMMAND, "\4PONGcontext", 12) &&
                fake_send_message(self, CKV_ZMTP_COMMAND, "\7UNKNOWN", 8) &&
                fake_send_message(self, CKV_ZMTP_COMMAND, "\4PONG", 5);
    fake_send_message(self, 0, good ? "good" : "bad", good ? 4 : 3);
    fake_await_end(self);
}

static void a_ping_is_answered_with_its_context_and_other_commands_are_passed_over(void **state)
{
    (void)state;
    meet(ping, 0);
    expect_message("good");
    part();
}

enum { PINGS = 6000 }; /* more than two reads take: one could have come with READY */

static void ping_and_say(struct fake *self)
{
    bool good = fake_shake_hands(self);
    for (int i = 0; i < PINGS && good; i++)
        good = fake_send_message(self, CKV_ZMTP_COMMAND, "\4PING\0\0", 7);
    fake_send_message(self, 0, "end", 3);
    fake_await_end(self);
}

/*  Else a server that can send faster than we read would never let a caller go.  */
static void a_call_that_must_not_wait_takes_one_read_and_no_more(void **state)
{
    (void)state;
    meet(ping_and_say, 0);
    poll(NULL, 0, 500);
    assert_int_equal(receive(0), CKV_ERROR_TIMEOUT);
    expect_message("end");
    part();
}

/*  Never reads a PONG.  */
static void ping_without_end(struct fake *self)
{
    if (!fake_shake_hands(self))
        return;
    while (fake_send_message(self, CKV_ZMTP_COMMAND, "\4PING\0\0", 7))
        ;
}

static void a_server_that_only_pings_is_left_in_time(void **state)
{
    (void)state;
    meet(ping_without_end, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(receive(SHORT_MS), CKV_ERROR_TIMEOUT);
    assert_int_equal(receive(0), CKV_ERROR_TIMEOUT);
    part();
}

static void hear_subscriptions(struct fake *self)
{
    bool commands = self->minor > 0;
    uint8_t flags = commands ? CKV_ZMTP_COMMAND : 0;
    bool good = fake_shake_hands(self) &&
                (commands ? fake_expect(self, flags, "\x9SUBSCRIBEnews", 14)
                          : fake_expect(self, flags, "\1news", 5)) &&
                (commands ? fake_expect(self, flags, "\6CANCELnews", 11)
                          : fake_expect(self, flags, "\0news", 5));
    fake_send_message(self, 0, good ? "good" : "bad", good ? 4 : 3);
    fake_await_end(self);
}

static void subscriptions_are_commands_in_zmtp_3_1_and_messages_in_3_0(void **state)
{
    (void)state;
    struct ckv_octets topic = ckv_octets_text("news");
    for (uint8_t minor = 0; minor < 2; minor++) {
        fake_start(&server, hear_subscriptions, "PUB");
        server.minor = minor;
        assert_int_equal(open_as(CKV_SOCKET_SUB, "stock", WAIT_MS), CKV_OK);
        assert_int_equal(ckv_connection_subscribe(connection, topic, WAIT_MS), CKV_OK);
        assert_int_equal(ckv_connection_unsubscribe(connection, topic, WAIT_MS), CKV_OK);
        expect_message("good");
        part();
    }
}

/* ---- nobody there ---- */

static void where_nobody_listens_is_said_at_once(void **state)
{
    (void)state;
    fake_start(&server, be_ready, "DEALER");
    part();
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "stock", WAIT_MS), CKV_ERROR_NO_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_stalls_in_any_step_is_left_in_time),
        cmocka_unit_test(a_server_that_drips_is_left_in_time),
        cmocka_unit_test(a_server_that_closes_in_any_step_is_said_to),
        cmocka_unit_test(garbage_in_any_step_is_found_at_once),
        cmocka_unit_test(a_frame_longer_than_what_is_due_is_refused_by_its_header),
        cmocka_unit_test(an_error_where_an_answer_is_due_is_a_refusal),
        cmocka_unit_test(a_peer_type_that_does_not_go_with_ours_is_refused),
        cmocka_unit_test(the_hello_is_modified_when_the_file_has_a_storage_key_and_a_hello_key),
        cmocka_unit_test(what_breaks_the_protocol_ends_the_connection),
        cmocka_unit_test(a_message_that_is_not_whole_is_none),
        cmocka_unit_test(a_message_in_pieces_is_put_together_over_many_calls),
        cmocka_unit_test(a_ping_is_answered_with_its_context_and_other_commands_are_passed_over),
        cmocka_unit_test(a_call_that_must_not_wait_takes_one_read_and_no_more),
        cmocka_unit_test(a_server_that_only_pings_is_left_in_time),
        cmocka_unit_test(subscriptions_are_commands_in_zmtp_3_1_and_messages_in_3_0),
        cmocka_unit_test(where_nobody_listens_is_said_at_once),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
