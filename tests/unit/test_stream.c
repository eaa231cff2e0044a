/*  Streams and relays, over socket pairs: what goes in at one end comes out at the other, whole and in
    order, however the octets come; and who does not read makes nobody's memory grow.  */
#include "node/relay/relay.h"
#include "tests/unit/curve_handshake.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX = 1 << 20, ROUNDS = 100000 };

/*  ---- helpers ----  */

/*  A stream, with the test at the other end; what the stream handed out, in one run of octets: of each
    frame its flags, its size in 4 octets, its body.  */
struct end {
    struct ckv_stream stream;
    int peer;
    uint8_t *got;
    size_t got_size;
    unsigned frames, drained;
    struct ckv_zmtp_greeting greeting;
    struct end *forward; /* frames are put there, if set, instead of being kept */
    bool ended, closed;
    bool unwanted; /* who owns it reads nothing for now */
    int why;
};

struct fixture {
    uv_loop_t loop;
    struct ckv_poller poller;
    struct ckv_stream_room room;
    struct end a, b;
};

static int on_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct end *self = argument;
    self->greeting = *greeting;
    return CKV_OK;
}

static int on_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct end *self = argument;
    self->frames++;
    if (self->forward) {
        uint8_t header[CKV_ZMTP_HEADER_MAX];
        size_t header_size = ckv_zmtp_header_write(header, flags, size);
        memcpy(body - header_size, header, header_size);
        return ckv_stream_put(&self->forward->stream, body - header_size, header_size + size);
    }
    memset(body - CKV_STREAM_HEADROOM, 0xee, CKV_STREAM_HEADROOM); /* as the owner may */
    self->got = realloc(self->got, self->got_size + 5 + size);
    self->got[self->got_size] = flags;
    ckv_put32(self->got + self->got_size + 1, (uint32_t)size);
    memcpy(self->got + self->got_size + 5, body, size);
    self->got_size += 5 + size;
    return CKV_OK;
}

static bool on_wanted(void *argument)
{
    struct end *self = argument;
    if (self->unwanted)
        ckv_stream_read(&self->stream, false);
    return !self->unwanted;
}

static void on_drained(void *argument)
{
    struct end *self = argument;
    self->drained++;
}

static void on_ended(void *argument, int why)
{
    struct end *self = argument;
    self->ended = true;
    self->why = why;
    ckv_stream_close(&self->stream);
}

static void on_closed(void *argument)
{
    struct end *self = argument;
    self->closed = true;
}

static const struct ckv_stream_events events = {
    .greeted = on_greeted,
    .frame = on_frame,
    .wanted = on_wanted,
    .drained = on_drained,
    .ended = on_ended,
    .closed = on_closed,
};

static void open_end(struct fixture *self, struct end *end)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    end->peer = fds[1];
    assert_int_equal(
        ckv_stream_open(&end->stream, &self->poller, &self->room, fds[0], false, &events, end, MAX),
        CKV_OK);
}

static int set_up(void **state)
{
    struct fixture *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    assert_int_equal(uv_loop_init(&self->loop), 0);
    assert_int_equal(ckv_poller_open(&self->poller, &self->loop, NULL, NULL), CKV_OK);
    open_end(self, &self->a);
    open_end(self, &self->b);
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *self = *state;
    ckv_stream_close(&self->a.stream);
    ckv_stream_close(&self->b.stream);
    ckv_poller_close(&self->poller);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    assert_true(self->a.closed && self->b.closed);
    close(self->a.peer);
    close(self->b.peer);
    free(self->a.got);
    free(self->b.got);
    free(self);
    return 0;
}

static void turn(struct fixture *self)
{
    for (int i = 0; i < 4; i++)
        ckv_poller_round(&self->poller, false);
}

/*  Frames of several kinds and sizes, and what a stream should make of them.  */
struct script {
    uint8_t *octets, *expected;
    size_t size, expected_size;
};

static struct script write_script(void)
{
    static const size_t sizes[] = { 0, 1, 255, 256, 257, 1000, 8191, 70000, 3, 131072, 200000, 5 };
    struct script self = { .octets = malloc(MAX), .expected = malloc(MAX) };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint8_t flags = i % 3 == 0 ? 0 : i % 3 == 1 ? CKV_ZMTP_MORE : CKV_ZMTP_COMMAND;
        self.size += ckv_zmtp_header_write(self.octets + self.size, flags, sizes[i]);
        self.expected[self.expected_size] = flags;
        ckv_put32(self.expected + self.expected_size + 1, (uint32_t)sizes[i]);
        self.expected_size += 5;
        for (size_t k = 0; k < sizes[i]; k++)
            self.octets[self.size++] = self.expected[self.expected_size++] = (uint8_t)(k * 7 + i);
    }
    return self;
}

static void send_in_pieces(struct fixture *self, int fd, const uint8_t *octets, size_t size,
                           size_t piece)
{
    for (int i = 0; size > 0 && i < 10 * ROUNDS; i++) {
        ssize_t n = send(fd, octets, size < piece ? size : piece, MSG_NOSIGNAL);
        if (n > 0) {
            octets += n;
            size -= (size_t)n;
        }
        ckv_poller_round(&self->poller, false);
    }
    assert_int_equal(size, 0);
    turn(self);
}

/*  ---- streams ----  */

static void frames_come_out_whole_however_their_octets_come(void **state)
{
    struct fixture *self = *state;
    static const size_t pieces[] = { 1, 2, 7, 1000, 65536, 1 << 20 };
    struct script script = write_script();
    ckv_stream_read(&self->a.stream, true);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        self->a.got_size = 0;
        send_in_pieces(self, self->a.peer, script.octets, script.size, pieces[i]);
        assert_int_equal(self->a.got_size, script.expected_size);
        assert_memory_equal(self->a.got, script.expected, script.expected_size);
        assert_null(self->a.stream.in); /* nothing stays behind */
    }
    assert_false(self->a.ended);
    free(script.octets);
    free(script.expected);
}

static void a_greeting_comes_before_frames_and_must_be_one(void **state)
{
    struct fixture *self = *state;
    struct ckv_zmtp_greeting_octets greeting;
    uint8_t octets[CKV_ZMTP_GREETING_SIZE + 3] = { 0 };
    ckv_zmtp_greeting_write(&greeting, "NULL", false);
    memcpy(octets, &greeting, sizeof(greeting));
    octets[CKV_ZMTP_GREETING_SIZE + 1] = 1;
    ckv_stream_expect_greeting(&self->a.stream);
    ckv_stream_read(&self->a.stream, true);
    send_in_pieces(self, self->a.peer, octets, sizeof(octets), 5);
    assert_string_equal(self->a.greeting.mechanism, "NULL");
    assert_int_equal(self->a.frames, 1);
    ckv_stream_expect_greeting(&self->b.stream);
    ckv_stream_read(&self->b.stream, true);
    send_in_pieces(self, self->b.peer, (const uint8_t *)"GET /", 5, 5);
    assert_int_equal(self->b.why, CKV_ERROR_ZMTP);
}

static void a_frame_over_the_bound_ends_the_stream_before_its_body_comes(void **state)
{
    struct fixture *self = *state;
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    ckv_stream_read(&self->a.stream, true);
    ckv_stream_read(&self->b.stream, true);
    send_in_pieces(self, self->a.peer, header, ckv_zmtp_header_write(header, 0, MAX), 9);
    assert_false(self->a.ended);
    send_in_pieces(self, self->b.peer, header, ckv_zmtp_header_write(header, 0, MAX + 1), 9);
    assert_int_equal(self->b.why, CKV_ERROR_FRAME_SIZE);
}

static int on_frame_of_handshake(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct end *self = argument;
    (void)flags;
    (void)body;
    (void)size;
    self->frames++;
    ckv_stream_bound(&self->stream, 10);
    return CKV_OK;
}

static void a_bound_that_is_set_in_a_callback_holds_for_the_frames_behind(void **state)
{
    struct fixture *self = *state;
    static const uint8_t frames[] = { 0, 5, 'f', 'i', 'r', 's', 't', 0, 3, 'e', 'n', 'd', 0, 11 };
    static const struct ckv_stream_events handshake = { .frame = on_frame_of_handshake,
                                                        .ended = on_ended,
                                                        .closed = on_closed };
    self->a.stream.events = &handshake;
    ckv_stream_bound(&self->a.stream, 5);
    ckv_stream_read(&self->a.stream, true);
    send_in_pieces(self, self->a.peer, frames, sizeof(frames), sizeof(frames));
    assert_int_equal(self->a.frames, 2);
    assert_int_equal(self->a.why, CKV_ERROR_FRAME_SIZE);
    self->b.stream.events = &handshake;
    ckv_stream_bound(&self->b.stream, 4);
    ckv_stream_read(&self->b.stream, true);
    send_in_pieces(self, self->b.peer, frames, sizeof(frames), sizeof(frames));
    assert_int_equal(self->b.frames, 0);
    assert_int_equal(self->b.why, CKV_ERROR_FRAME_SIZE);
}

static void memory_grows_with_what_came_and_not_with_what_is_claimed(void **state)
{
    struct fixture *self = *state;
    uint8_t octets[10000] = { 0 };
    ckv_zmtp_header_write(octets, 0, MAX);
    ckv_stream_read(&self->a.stream, true);
    send_in_pieces(self, self->a.peer, octets, sizeof(octets), 500);
    assert_int_equal(self->a.stream.in_size, sizeof(octets));
    assert_true(self->a.stream.in_capacity <= 2 * sizeof(octets));
}

static void what_a_peer_sent_before_it_closed_is_read(void **state)
{
    struct fixture *self = *state;
    static const uint8_t frame[] = { 0, 3, 'e', 'n', 'd' };
    assert_int_equal(send(self->a.peer, frame, sizeof(frame), 0), sizeof(frame));
    shutdown(self->a.peer, SHUT_WR);
    ckv_stream_read(&self->a.stream, true);
    turn(self);
    assert_int_equal(self->a.frames, 1);
    assert_true(self->a.ended);
    assert_int_equal(self->a.why, CKV_OK);
}

static void a_peer_that_takes_no_more_is_still_heard(void **state)
{
    struct fixture *self = *state;
    static const uint8_t frame[] = { 0, 3, 'e', 'n', 'd' };
    assert_int_equal(send(self->a.peer, frame, sizeof(frame), 0), sizeof(frame));
    close(self->a.peer);
    self->a.peer = -1;
    assert_int_equal(ckv_stream_put(&self->a.stream, frame, sizeof(frame)), CKV_OK);
    assert_int_equal(ckv_stream_flush(&self->a.stream), CKV_OK);
    ckv_stream_read(&self->a.stream, true);
    turn(self);
    assert_int_equal(self->a.frames, 1);
    assert_true(self->a.ended);
}

static void what_was_put_goes_out_before_the_end(void **state)
{
    struct fixture *self = *state;
    enum { SIZE = 1 << 20 };
    uint8_t *octets = calloc(1, SIZE), buffer[65536];
    size_t got = 0;
    ssize_t n = -1;
    assert_int_equal(ckv_stream_put(&self->a.stream, octets, SIZE), CKV_OK);
    ckv_stream_finish(&self->a.stream);
    assert_true(ckv_stream_is_blocked(&self->a.stream));
    assert_int_equal(ckv_stream_put(&self->a.stream, octets, 1), CKV_ERROR_NOT_REACHABLE);
    for (int i = 0; n != 0 && i < ROUNDS; i++) {
        n = recv(self->a.peer, buffer, sizeof(buffer), 0);
        got += n > 0 ? (size_t)n : 0;
        ckv_poller_round(&self->poller, false);
    }
    assert_int_equal(got, SIZE);
    assert_false(self->a.ended); /* until the peer closes, too */
    shutdown(self->a.peer, SHUT_WR);
    turn(self);
    assert_true(self->a.ended);
    free(octets);
}

static void what_is_not_wanted_stays_in_the_socket_until_it_is(void **state)
{
    struct fixture *self = *state;
    static const uint8_t frame[] = { 0, 1, 'x' };
    self->a.unwanted = true;
    ckv_stream_read(&self->a.stream, true);
    assert_int_equal(send(self->a.peer, frame, sizeof(frame), 0), sizeof(frame));
    close(self->a.peer); /* does not read it, nor end it, either */
    self->a.peer = -1;
    turn(self);
    assert_int_equal(self->a.frames, 0);
    assert_false(self->a.ended);
    self->a.unwanted = false;
    ckv_stream_read(&self->a.stream, true);
    turn(self);
    assert_int_equal(self->a.frames, 1);
    assert_true(self->a.ended);
}

/*  Puts octets that the peer does not read until the socket refuses some.  */
static void block(struct end *end)
{
    static const uint8_t octets[65536];
    for (int i = 0; i < ROUNDS && !ckv_stream_is_blocked(&end->stream); i++) {
        assert_int_equal(ckv_stream_put(&end->stream, octets, sizeof(octets)), CKV_OK);
        assert_int_equal(ckv_stream_flush(&end->stream), CKV_OK);
    }
    assert_true(ckv_stream_is_blocked(&end->stream));
}

static void a_reset_of_who_is_blocked_and_not_wanted_lets_the_loop_sleep(void **state)
{
    struct fixture *self = *state;
    struct epoll_event event;
    static const uint8_t frame[] = { 0, 1, 'x' };
    block(&self->a);
    self->a.unwanted = true;
    ckv_stream_read(&self->a.stream, true);
    assert_int_equal(send(self->a.peer, frame, sizeof(frame), 0), sizeof(frame));
    turn(self);
    close(self->a.peer); /* with something unread: the connection is reset */
    self->a.peer = -1;
    turn(self);
    assert_int_equal(epoll_wait(self->poller.epoll, &event, 1, 0), 0);
    assert_false(self->a.ended);
    self->a.unwanted = false;
    ckv_stream_read(&self->a.stream, true);
    turn(self);
    assert_true(self->a.ended);
}

static void who_does_not_read_stops_the_one_who_writes(void **state)
{
    struct fixture *self = *state;
    enum { FRAME = 1002, BOUND = 2 * (CKV_STREAM_READ_SIZE + FRAME) };
    uint8_t frame[FRAME] = { 0 }, buffer[65536];
    size_t sent = 0, got = 0;
    ckv_zmtp_header_write(frame, 0, FRAME - 9);
    self->a.forward = &self->b;
    ckv_stream_pair(&self->a.stream, &self->b.stream);
    ckv_stream_read(&self->a.stream, true);
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n = send(self->a.peer, frame + sent % FRAME, FRAME - sent % FRAME, 0);
        sent += n > 0 ? (size_t)n : 0;
        ckv_poller_round(&self->poller, false);
        assert_true(self->b.stream.out_size <= BOUND);
    }
    assert_true(ckv_stream_is_blocked(&self->b.stream));
    assert_true(sent < (size_t)ROUNDS * FRAME / 10);
    for (int i = 0; got < sent - sent % FRAME && i < ROUNDS; i++) {
        ssize_t n = recv(self->b.peer, buffer, sizeof(buffer), 0);
        got += n > 0 ? (size_t)n : 0;
        ckv_poller_round(&self->poller, false);
    }
    assert_int_equal(got, sent - sent % FRAME);
    assert_false(ckv_stream_is_blocked(&self->b.stream));
    assert_null(self->b.stream.out);
    assert_true(self->b.drained > 0);
}

/*  ---- relays ----  */

/*  Both ends of a CURVE connection that is done.  */
static void shake_hands(struct handshake *self)
{
    struct ckv_octets metadata;
    const uint8_t *client_key;
    uint8_t initiate[INITIATE_SIZE], ready[READY_SIZE], vouch_nonce[16] = { 1 };
    begin(self);
    assert_int_equal(start(self), CKV_OK);
    assert_int_equal(welcome_hello(self, &self->hello), CKV_OK);
    assert_int_equal(ckv_curve_client_initiate(&self->client, &self->identity, &self->welcome,
                                               sizeof(self->welcome), metadata_octets(),
                                               vouch_nonce, initiate),
                     CKV_OK);
    assert_int_equal(ckv_curve_server_initiate(&self->server, initiate, sizeof(initiate),
                                               self->cookie_key, &client_key, &metadata),
                     CKV_OK);
    assert_int_equal(ckv_curve_server_ready(&self->server, metadata_octets(), ready), CKV_OK);
    assert_int_equal(ckv_curve_client_ready(&self->client, ready, sizeof(ready), &metadata),
                     CKV_OK);
}

struct relayed {
    struct ckv_relay relay;
    struct ckv_relay_counts counts;
    uv_loop_t loop;
    struct ckv_poller poller;
    struct ckv_stream_room room;
    int client, backend;
    int why;
};

static int on_outer_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct relayed *self = argument;
    return ckv_relay_inwards(&self->relay, flags, body, size);
}

static int on_inner_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct relayed *self = argument;
    return ckv_relay_outwards(&self->relay, flags, body, size);
}

static void on_relay_ended(void *argument, int why)
{
    struct relayed *self = argument;
    self->why = why;
    ckv_stream_close(&self->relay.outer);
    ckv_stream_close(&self->relay.inner);
}

static void ignore(void *argument)
{
    (void)argument;
}

static const struct ckv_stream_events outer_events = {
    .frame = on_outer_frame, .drained = ignore, .ended = on_relay_ended, .closed = ignore
};
static const struct ckv_stream_events inner_events = {
    .frame = on_inner_frame, .drained = ignore, .ended = on_relay_ended, .closed = ignore
};

static struct relayed *relay_new(struct ckv_curve_session *session)
{
    struct relayed *self = calloc(1, sizeof(*self));
    int outer[2], inner[2];
    assert_non_null(self);
    assert_int_equal(uv_loop_init(&self->loop), 0);
    assert_int_equal(ckv_poller_open(&self->poller, &self->loop, NULL, NULL), CKV_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, outer), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, inner), 0);
    self->client = outer[1];
    self->backend = inner[1];
    self->relay.session = session;
    self->relay.counts = &self->counts;
    self->relay.outer_minor = self->relay.inner_minor = 1;
    assert_int_equal(ckv_stream_open(&self->relay.outer, &self->poller, &self->room, outer[0],
                                     false, &outer_events, self, CKV_RELAY_OUTER_MAX(MAX)),
                     CKV_OK);
    assert_int_equal(ckv_stream_open(&self->relay.inner, &self->poller, &self->room, inner[0],
                                     false, &inner_events, self, MAX),
                     CKV_OK);
    ckv_stream_pair(&self->relay.outer, &self->relay.inner);
    ckv_stream_read(&self->relay.outer, true);
    ckv_stream_read(&self->relay.inner, true);
    return self;
}

static void relay_destroy(struct relayed *self)
{
    ckv_stream_close(&self->relay.outer);
    ckv_stream_close(&self->relay.inner);
    ckv_poller_close(&self->poller);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    close(self->client);
    close(self->backend);
    free(self);
}

static void run_relay(struct relayed *self)
{
    for (int i = 0; i < 4; i++)
        ckv_poller_round(&self->poller, false);
}

/*  Sends BODY from the client's end, sealed.  */
static void send_sealed(struct relayed *self, struct ckv_curve_session *session, uint8_t flags,
                        struct ckv_octets body)
{
    uint8_t octets[CKV_ZMTP_HEADER_MAX + CKV_CURVE_MESSAGE_OVERHEAD + 1000];
    uint8_t *message = octets + CKV_ZMTP_HEADER_MAX, header[CKV_ZMTP_HEADER_MAX];
    memcpy(message + CKV_CURVE_MESSAGE_OVERHEAD, body.data, body.size);
    assert_int_equal(ckv_curve_message_seal(session, flags, message, body.size), CKV_OK);
    size_t header_size = ckv_zmtp_header_write(header, 0, CKV_CURVE_MESSAGE_OVERHEAD + body.size);
    memcpy(message - header_size, header, header_size);
    size_t size = header_size + CKV_CURVE_MESSAGE_OVERHEAD + body.size;
    assert_int_equal(send(self->client, message - header_size, size, 0), size);
}

/*  What is there at FD is one frame; opens it with SESSION, if that is given.  */
static void expect_frame(int fd, struct ckv_curve_session *session, uint8_t flags,
                         struct ckv_octets expected)
{
    uint8_t octets[2000], got;
    struct ckv_zmtp_frame frame;
    ssize_t n = recv(fd, octets, sizeof(octets), 0);
    assert_true(n > 0);
    struct ckv_octets input = ckv_octets(octets, (size_t)n), body;
    assert_int_equal(ckv_zmtp_frame_next(&input, sizeof(octets), &frame), 1);
    assert_int_equal(input.size, 0);
    got = frame.flags;
    body = frame.body;
    if (session)
        assert_int_equal(
            ckv_curve_message_open(session, octets + frame.header_size, frame.size, &got, &body),
            CKV_OK);
    assert_int_equal(got, flags);
    assert_true(ckv_octets_equal(body, expected));
}

static void frames_of_all_kinds_pass_both_ways_as_they_are(void **state)
{
    (void)state;
    static const uint8_t kinds[] = { 0, CKV_ZMTP_MORE, CKV_ZMTP_COMMAND };
    static const size_t sizes[] = { 0, 1, 222, 223, 255, 256, 999 };
    static uint8_t body[1000];
    struct handshake handshake;
    shake_hands(&handshake);
    struct relayed *self = relay_new(&handshake.server.session);
    for (size_t i = 0; i < sizeof(kinds); i++)
        for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
            struct ckv_octets octets = ckv_octets(body, sizes[k]);
            uint8_t header[CKV_ZMTP_HEADER_MAX];
            fill(body, sizeof(body), (uint8_t)k);
            send_sealed(self, &handshake.client.session, kinds[i], octets);
            run_relay(self);
            expect_frame(self->backend, NULL, kinds[i], octets);
            size_t size = ckv_zmtp_header_write(header, kinds[i], sizes[k]);
            assert_int_equal(send(self->backend, header, size, 0), size);
            assert_int_equal(send(self->backend, body, sizes[k], 0), sizes[k]);
            run_relay(self);
            expect_frame(self->client, &handshake.client.session, kinds[i], octets);
        }
    assert_int_equal(ckv_count_read(&self->counts.frames_in), 21);
    assert_int_equal(ckv_count_read(&self->counts.octets_out),
                     3 * (0 + 1 + 222 + 223 + 255 + 256 + 999));
    relay_destroy(self);
}

static void a_replayed_message_passes_once_and_ends_the_connection(void **state)
{
    (void)state;
    struct handshake handshake;
    shake_hands(&handshake);
    struct relayed *self = relay_new(&handshake.server.session);
    struct ckv_curve_session before = handshake.client.session;
    send_sealed(self, &before, 0, ckv_octets_text("once"));
    send_sealed(self, &handshake.client.session, 0, ckv_octets_text("once"));
    run_relay(self);
    expect_frame(self->backend, NULL, 0, ckv_octets_text("once"));
    assert_int_equal(self->why, CKV_ERROR_CURVE_NONCE);
    relay_destroy(self);
}

static void only_subscribers_are_translated_and_only_between_versions(void **state)
{
    (void)state;
    static const char cancel[] = "\6CANCELtopic", old_cancel[] = "\0topic";
    struct ckv_octets new = ckv_octets(cancel, 12), old = ckv_octets(old_cancel, 6);
    struct handshake handshake;
    shake_hands(&handshake);
    struct relayed *self = relay_new(&handshake.server.session);
    self->relay.outer_subscribes = true;
    send_sealed(self, &handshake.client.session, CKV_ZMTP_COMMAND, new);
    run_relay(self);
    expect_frame(self->backend, NULL, CKV_ZMTP_COMMAND, new);
    self->relay.inner_minor = 0;
    send_sealed(self, &handshake.client.session, CKV_ZMTP_COMMAND, new);
    run_relay(self);
    expect_frame(self->backend, NULL, 0, old);
    self->relay.inner_minor = 1;
    self->relay.outer_minor = 0;
    send_sealed(self, &handshake.client.session, 0, old);
    run_relay(self);
    expect_frame(self->backend, NULL, CKV_ZMTP_COMMAND, new);
    self->relay.outer_subscribes = false;
    send_sealed(self, &handshake.client.session, 0, old);
    run_relay(self);
    expect_frame(self->backend, NULL, 0, old);
    relay_destroy(self);
}

#define WITH_ENDS(promise) cmocka_unit_test_setup_teardown(promise, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ENDS(frames_come_out_whole_however_their_octets_come),
        WITH_ENDS(a_greeting_comes_before_frames_and_must_be_one),
        WITH_ENDS(a_frame_over_the_bound_ends_the_stream_before_its_body_comes),
        WITH_ENDS(a_bound_that_is_set_in_a_callback_holds_for_the_frames_behind),
        WITH_ENDS(memory_grows_with_what_came_and_not_with_what_is_claimed),
        WITH_ENDS(what_a_peer_sent_before_it_closed_is_read),
        WITH_ENDS(a_peer_that_takes_no_more_is_still_heard),
        WITH_ENDS(what_was_put_goes_out_before_the_end),
        WITH_ENDS(what_is_not_wanted_stays_in_the_socket_until_it_is),
        WITH_ENDS(a_reset_of_who_is_blocked_and_not_wanted_lets_the_loop_sleep),
        WITH_ENDS(who_does_not_read_stops_the_one_who_writes),
        cmocka_unit_test(frames_of_all_kinds_pass_both_ways_as_they_are),
        cmocka_unit_test(a_replayed_message_passes_once_and_ends_the_connection),
        cmocka_unit_test(only_subscribers_are_translated_and_only_between_versions),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
