/*  Streams: node/relay/stream.h. Two of them, over socket pairs in a loop that is turned by hand, relay to
    each other what two peers send. The input decides in which pieces octets come and go, when a peer
    reads, stalls, or closes, and when the owner finishes or closes a stream. What comes out is the
    frames that went in, whole and in order; memory is bounded by what has come; and nothing is called
    back after the end.

    Input: an octet of options, then steps: an octet that says what, and on which side, and what that
    needs.  */
#include "node/relay/stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FIRST_BOUND = 300, /* of the first frame, with the option */
    BOUND = 65536,
    SENT_MAX = 1 << 20, /* octets of one peer in all */
    STEPS_MAX = 300,
    REFUSED_BODY = 0xee, /* a frame that begins with it is refused by the owner */
    TURNS_MAX = 100000,
};

enum option {
    GREETS_A = 1,
    GREETS_B = 2,
    CONNECTING = 4,
    SMALL_BUFFERS = 8,
    UNPAIRED = 16,
    ENDS_BOTH = 32,
    BOUNDS_FIRST = 64,
};

enum step { SEND, SEND_FRAME, TURN, RECEIVE, READ, FINISH, SHUT, CLOSE, PUT, STEPS = 16 };

/*  A stream, and the peer at the other end of its socket.  */
struct side {
    struct ckv_stream stream;
    struct side *other;
    int peer;
    uint8_t sent[SENT_MAX];    /* by the peer */
    size_t sent_size, at;      /* at: what comes next out of the stream */
    uint8_t put[2 * SENT_MAX]; /* to the stream */
    size_t put_size, received; /* of that by the peer */
    bool bounds_first, awaits_greeting;
    bool is_shut, is_finished, is_closing, has_ended, is_closed, has_refused;
};

static uv_loop_t loop;
static struct ckv_poller poller;
static struct ckv_stream_room room;
static struct side sides[2];
static uint8_t options;

static void require(bool promise)
{
    if (!promise)
        abort();
}

/* ---- what the owner does ---- */

static struct ckv_octets due(const struct side *self)
{
    return ckv_octets(self->sent + self->at, self->sent_size - self->at);
}

static void require_live(const struct side *self)
{
    require(!self->is_closing && !self->has_ended);
}

static int on_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct side *self = argument;
    struct ckv_octets input = due(self);
    struct ckv_zmtp_greeting expected;
    require_live(self);
    require(self->awaits_greeting && !self->is_finished);
    require(ckv_zmtp_greeting_next(&input, &expected) == 1);
    require(strcmp(expected.mechanism, greeting->mechanism) == 0);
    require(expected.minor == greeting->minor);
    self->at += CKV_ZMTP_GREETING_SIZE;
    self->awaits_greeting = false;
    return CKV_OK;
}

/*  Puts it to the other side, as a relay does.  */
static int pass_on(struct side *to, uint8_t flags, uint8_t *body, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, flags, size);
    memcpy(body - header_size, header, header_size);
    int rc = ckv_stream_put(&to->stream, body - header_size, header_size + size);
    require((rc == CKV_OK) == (!to->is_finished && !to->is_closing));
    if (rc == CKV_OK) {
        memcpy(to->put + to->put_size, body - header_size, header_size + size);
        to->put_size += header_size + size;
    }
    return rc;
}

static int on_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct side *self = argument;
    struct ckv_octets input = due(self);
    struct ckv_zmtp_frame frame;
    require_live(self);
    require(!self->awaits_greeting && !self->is_finished);
    require(ckv_zmtp_frame_next(&input, self->bounds_first ? FIRST_BOUND : BOUND, &frame) == 1);
    require(frame.flags == flags && ckv_octets_equal(frame.body, ckv_octets(body, size)));
    self->at += frame.header_size + size;
    self->bounds_first = false;
    ckv_stream_bound(&self->stream, BOUND);
    memset(body - CKV_STREAM_HEADROOM, 0xdd, CKV_STREAM_HEADROOM);
    self->has_refused = size > 0 && body[0] == REFUSED_BODY;
    int rc = self->has_refused ? CKV_ERROR_CURVE : pass_on(self->other, flags, body, size);
    memset(body, 0xdd, size);
    return rc;
}

static void on_drained(void *argument)
{
    require_live(argument);
}

static void finish(struct side *self)
{
    ckv_stream_finish(&self->stream);
    self->is_finished |= !self->is_closing;
}

static void close_stream(struct side *self)
{
    ckv_stream_close(&self->stream);
    self->is_closing = true;
    require(room.batching != &self->stream); /* its memory may go soon */
}

/*  Whether what is due is wrong in this way.  */
static bool is_wrong(const struct side *self, int why)
{
    struct ckv_octets input = due(self);
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_frame frame;
    size_t bound = self->bounds_first ? FIRST_BOUND : BOUND;
    return (self->awaits_greeting ? ckv_zmtp_greeting_next(&input, &greeting)
                                  : ckv_zmtp_frame_next(&input, bound, &frame)) == why;
}

static void on_ended(void *argument, int why)
{
    struct side *self = argument;
    bool other_takes_nothing = self->other->is_finished || self->other->is_closing;
    require_live(self);
    if (why == CKV_OK)
        require(self->is_shut);
    else if (why == CKV_ERROR_NOT_REACHABLE)
        require(self->is_shut || other_takes_nothing);
    else if (why == CKV_ERROR_CURVE)
        require(self->has_refused);
    else
        require(why < 0 && is_wrong(self, why));
    self->has_ended = true;
    close_stream(self);
    if (options & ENDS_BOTH)
        finish(self->other);
}

static void on_closed(void *argument)
{
    struct side *self = argument;
    require(self->is_closing && !self->is_closed);
    self->is_closed = true;
}

static const struct ckv_stream_events events = {
    .greeted = on_greeted,
    .frame = on_frame,
    .drained = on_drained,
    .ended = on_ended,
    .closed = on_closed,
};

/* ---- what the peers do ---- */

static void require_bounds(const struct side *self)
{
    const struct ckv_stream *stream = &self->stream;
    require(stream->in_size <= stream->in_capacity);
    require(stream->in_capacity <= 1024 || stream->in_capacity <= 2 * stream->in_size);
    require(stream->in_size <= CKV_ZMTP_HEADER_MAX + BOUND);
    if (!(options & UNPAIRED)) /* one read of the other's, and what it had begun before */
        require(stream->out_size <= 2 * (CKV_STREAM_READ_SIZE + CKV_ZMTP_HEADER_MAX + BOUND));
}

static void turn(void)
{
    ckv_poller_round(&poller, false);
    for (int i = 0; i < 2; i++)
        require_bounds(&sides[i]);
}

static size_t send_octets(struct side *self, const uint8_t *octets, size_t size)
{
    if (self->is_shut || size > sizeof(self->sent) - self->sent_size)
        return 0;
    ssize_t n = send(self->peer, octets, size, MSG_NOSIGNAL);
    if (n <= 0)
        return 0;
    memcpy(self->sent + self->sent_size, octets, (size_t)n);
    self->sent_size += (size_t)n;
    return (size_t)n;
}

/*  Returns false when nothing was there.  */
static bool receive(struct side *self, size_t size)
{
    static uint8_t octets[BOUND];
    ssize_t n = self->peer < 0 ? 0 : recv(self->peer, octets, size, 0);
    if (n <= 0)
        return false;
    require((size_t)n <= self->put_size - self->received);
    require(memcmp(octets, self->put + self->received, (size_t)n) == 0);
    self->received += (size_t)n;
    return true;
}

/*  A frame that need not be in the input; the socket may take a part of it.  */
static void send_frame(struct side *self, uint8_t kind)
{
    static const size_t lengths[] = { 0, 1, 255, 256, 3000, 20000, BOUND, BOUND + 1 };
    static const uint8_t flags[] = { 0, CKV_ZMTP_MORE, CKV_ZMTP_COMMAND, 0 };
    static uint8_t octets[CKV_ZMTP_HEADER_MAX + BOUND + 1];
    size_t length = lengths[kind % 8];
    size_t size = ckv_zmtp_header_write(octets, flags[kind / 8 % 4], length);
    for (size_t i = 0; i < length; i += 97)
        octets[size + i] = (uint8_t)(kind + i);
    send_octets(self, octets, size + length);
}

/* ---- steps ---- */

static uint8_t take_octet(struct ckv_octets *input)
{
    uint8_t octet = input->size ? input->data[0] : 0;
    if (input->size)
        *input = ckv_octets(input->data + 1, input->size - 1);
    return octet;
}

static void send_from(struct side *self, struct ckv_octets *input)
{
    size_t size = take_octet(input);
    size = size < input->size ? size : input->size;
    send_octets(self, input->data, size);
    *input = ckv_octets(input->data + size, input->size - size);
}

static void shut(struct side *self)
{
    if (self->peer >= 0)
        shutdown(self->peer, SHUT_WR);
    self->is_shut = true;
}

static void close_peer(struct side *self)
{
    if (self->peer >= 0)
        close(self->peer);
    self->peer = -1;
    self->is_shut = true;
}

/*  The owner puts a frame of its own, and may leave it to the next read to send that.  */
static void put(struct side *self, uint8_t length)
{
    uint8_t octets[CKV_STREAM_HEADROOM + UINT8_MAX];
    memset(octets, length, sizeof(octets));
    (void)pass_on(self, 0, octets + CKV_STREAM_HEADROOM, length);
    if (length & 1)
        require(ckv_stream_flush(&self->stream) == CKV_OK);
}

static void take_step(struct ckv_octets *input)
{
    uint8_t octet = take_octet(input);
    struct side *self = &sides[octet & 1];
    switch ((enum step)(octet / 2 % STEPS)) {
    case SEND:
        send_from(self, input);
        break;
    case SEND_FRAME:
        send_frame(self, take_octet(input));
        break;
    case RECEIVE:
        receive(self, (size_t)1 << take_octet(input) % 17);
        break;
    case READ:
        ckv_stream_read(&self->stream, take_octet(input) & 1);
        break;
    case FINISH:
        finish(self);
        break;
    case SHUT:
        shut(self);
        break;
    case CLOSE:
        if (octet & 0x80)
            close_peer(self);
        else
            close_stream(self);
        break;
    case PUT:
        put(self, take_octet(input));
        break;
    case TURN:
    default:
        turn();
    }
}

/* ---- a run ---- */

static void open_side(struct side *self, struct side *other, bool greets)
{
    int fds[2], small = 1;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    if (options & SMALL_BUFFERS)
        require(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    self->other = other;
    self->peer = fds[1];
    self->sent_size = self->at = self->put_size = self->received = 0;
    self->is_shut = self->is_finished = self->is_closing = false;
    self->has_ended = self->is_closed = self->has_refused = false;
    self->bounds_first = options & BOUNDS_FIRST;
    self->awaits_greeting = greets;
    require(ckv_stream_open(&self->stream, &poller, &room, fds[0], options & CONNECTING, &events,
                            self, self->bounds_first ? FIRST_BOUND : BOUND) == CKV_OK);
    if (greets)
        ckv_stream_expect_greeting(&self->stream);
}

static bool is_whole(const struct side *self)
{
    return !self->is_shut && !self->is_finished && !self->is_closing;
}

/*  While both sides live: all that was sent comes, and all that was put.  */
static void settle(void)
{
    size_t before;
    int turns = 0;
    for (int i = 0; i < 2; i++)
        ckv_stream_read(&sides[i].stream, true);
    if (room.batching)
        require(ckv_stream_flush(room.batching) == CKV_OK);
    do {
        before = sides[0].at + sides[1].at + sides[0].received + sides[1].received;
        turn();
        for (int i = 0; i < 2; i++)
            while (receive(&sides[i], BOUND))
                ;
        turn();
        require(++turns < TURNS_MAX);
    } while (sides[0].at + sides[1].at + sides[0].received + sides[1].received != before);
    if (!is_whole(&sides[0]) || !is_whole(&sides[1]))
        return;
    for (int i = 0; i < 2; i++) {
        require(is_wrong(&sides[i], 0) && sides[i].received == sides[i].put_size);
        require(!ckv_stream_is_blocked(&sides[i].stream));
    }
}

static void end(void)
{
    for (int i = 0; i < 2; i++)
        close_stream(&sides[i]);
    turn();
    for (int i = 0; i < 2; i++) {
        require(sides[i].is_closed && !sides[i].stream.in && !sides[i].stream.out);
        close_peer(&sides[i]);
    }
    require(room.batching == NULL && room.batch_size == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(uv_loop_init(&loop) == 0);
    require(ckv_poller_open(&poller, &loop, NULL, NULL) == CKV_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets input = ckv_octets(data, size);
    options = take_octet(&input);
    open_side(&sides[0], &sides[1], options & GREETS_A);
    open_side(&sides[1], &sides[0], options & GREETS_B);
    if (!(options & UNPAIRED))
        ckv_stream_pair(&sides[0].stream, &sides[1].stream);
    for (int i = 0; i < 2; i++)
        ckv_stream_read(&sides[i].stream, true);
    for (int i = 0; i < STEPS_MAX && input.size; i++)
        take_step(&input);
    settle();
    end();
    return 0;
}
