/*  passage: one connection of the program, and the one to the server that belongs to it, from
    accept to the end of both.  */
#include "node/tunnel/parts.h"

#include "kv/clock.h"
#include "kv/log.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { FINISH_MS = 2000 }; /* for the side that is told that no more comes */

enum state {
    MEETING,   /* the program's greeting or READY is due */
    WAITING,   /* the server cannot be tried yet */
    GREETING,  /* the server's greeting is due */
    WELCOMING, /* its WELCOME */
    READYING,  /* its READY */
    RELAYING,
    FINISHING, /* one side has ended; the other is told so */
};

struct ckv_passage {
    struct ckv_relay relay; /* outer: the server, inner: the program */
    struct ckv_curve_client curve;
    struct ckv_tunnel *tunnel;
    struct ckv_passage *previous, *next;
    uint64_t deadline;
    uint8_t *metadata; /* of the program's READY, until INITIATE */
    size_t metadata_size;
    uint8_t streams; /* that are not closed yet */
    uint8_t state;
    uint8_t tried;   /* which address of the server's */
    bool is_reached; /* the server is connected */
};

static const struct ckv_curve_identity *identity_of(const struct ckv_passage *self)
{
    return &self->tunnel->options->identity;
}

/* ---- ending ---- */

static void destroy(struct ckv_passage *self)
{
    if (self->previous)
        self->previous->next = self->next;
    else
        self->tunnel->first = self->next;
    if (self->next)
        self->next->previous = self->previous;
    ckv_curve_client_wipe(&self->curve);
    free(self->metadata);
    free(self);
}

static void on_closed(void *argument)
{
    struct ckv_passage *self = argument;
    if (--self->streams == 0)
        destroy(self);
}

static void close_both(struct ckv_passage *self)
{
    self->state = FINISHING;
    self->deadline = UINT64_MAX;
    ckv_stream_close(&self->relay.outer);
    ckv_stream_close(&self->relay.inner);
}

/*  STREAM stays for as long as it takes to say that no more comes.  */
static void finish(struct ckv_passage *self, struct ckv_stream *stream)
{
    self->state = FINISHING;
    self->deadline = uv_now(&self->tunnel->uv) + FINISH_MS;
    ckv_stream_finish(stream);
}

/*  ENDED has ended, and OTHER is the other one.  */
static void end(struct ckv_passage *self, struct ckv_stream *ended, struct ckv_stream *other)
{
    if (self->state != RELAYING) {
        close_both(self);
        return;
    }
    ckv_stream_close(ended);
    finish(self, other);
}

/* ---- the server's side ---- */

static int put_command(struct ckv_stream *stream, const void *command, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, CKV_ZMTP_COMMAND, size);
    int rc = ckv_stream_put(stream, header, header_size);
    return rc == CKV_OK ? ckv_stream_put(stream, command, size) : rc;
}

/*  The greeting goes in two parts, as a client's does that blocks: see node/library/handshake.c.  */
static int put_greeting(struct ckv_passage *self, size_t from, size_t to)
{
    struct ckv_zmtp_greeting_octets greeting;
    ckv_zmtp_greeting_write(&greeting, "CURVE", false);
    return ckv_stream_put(&self->relay.outer, (const uint8_t *)&greeting + from, to - from);
}

static int on_outer_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct ckv_passage *self = argument;
    struct ckv_hello_octets hello;
    uint8_t transient_secret[32];
    if (strcmp(greeting->mechanism, "CURVE") != 0)
        return CKV_ERROR_MECHANISM;
    randombytes_buf(transient_secret, sizeof(transient_secret));
    self->relay.outer_minor = greeting->minor;
    self->state = WELCOMING;
    int rc = ckv_curve_client_start(&self->curve, identity_of(self), ckv_clock_wall(),
                                    transient_secret, &hello);
    if (rc == CKV_OK)
        rc = put_greeting(self, CKV_ZMTP_GREETING_FIRST, CKV_ZMTP_GREETING_SIZE);
    return rc == CKV_OK ? put_command(&self->relay.outer, &hello, sizeof(hello)) : rc;
}

static int answer_welcome(struct ckv_passage *self, const uint8_t *welcome, size_t size)
{
    uint8_t initiate[CKV_CURVE_INITIATE_MAX], vouch_nonce[16];
    struct ckv_octets metadata = ckv_octets(self->metadata, self->metadata_size);
    randombytes_buf(vouch_nonce, sizeof(vouch_nonce));
    int rc = ckv_curve_client_initiate(&self->curve, identity_of(self), welcome, size, metadata,
                                       vouch_nonce, initiate);
    if (rc == CKV_OK)
        rc = put_command(&self->relay.outer, initiate, CKV_CURVE_INITIATE_OVERHEAD + metadata.size);
    self->state = READYING;
    ckv_stream_bound(&self->relay.outer, CKV_CURVE_READY_BOUND);
    return rc;
}

/*  The server is ready: so is the program's side, and frames go both ways.  */
static int connect_both(struct ckv_passage *self, uint8_t *ready, size_t size)
{
    uint8_t command[CKV_ZMTP_HEADER_MAX + 6 + CKV_CURVE_METADATA_MAX];
    struct ckv_octets metadata;
    size_t command_size = 0;
    int rc = ckv_curve_client_ready(&self->curve, ready, size, &metadata);
    if (rc == CKV_OK)
        rc = ckv_zmtp_command_put(command, sizeof(command), &command_size, "READY", metadata);
    if (rc == CKV_OK)
        rc = ckv_stream_put(&self->relay.inner, command, command_size);
    if (rc != CKV_OK)
        return rc;
    free(self->metadata);
    self->metadata = NULL;
    self->relay.outer_subscribes = ckv_relay_subscribes(metadata);
    self->state = RELAYING;
    self->deadline = UINT64_MAX;
    ckv_relay_begin(&self->relay, self->tunnel->options->max_message);
    ckv_tunnel_tried(self->tunnel, self->tried, CKV_OK);
    return CKV_OK;
}

static int on_outer_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_passage *self = argument;
    switch (self->state) {
    case WELCOMING:
        return answer_welcome(self, body, size);
    case READYING:
        return connect_both(self, body, size);
    case RELAYING:
        return ckv_relay_inwards(&self->relay, flags, body, size);
    default:
        return CKV_ERROR_CURVE;
    }
}

static void on_reached(void *argument)
{
    struct ckv_passage *self = argument;
    self->is_reached = true;
}

/*  The program is told so, too; it cannot be told more than a number.  */
static void pass_on_refusal(struct ckv_passage *self)
{
    uint8_t error[32];
    size_t size = 0;
    if (ckv_zmtp_command_put(error, sizeof(error), &size, "ERROR",
                             ckv_octets("\3"
                                        "400",
                                        4)) == CKV_OK)
        (void)ckv_stream_put(&self->relay.inner, error, size);
    ckv_stream_close(&self->relay.outer);
    finish(self, &self->relay.inner);
    ckv_tunnel_close(self->tunnel, CKV_ERROR_REFUSED);
}

/*  A server that could not be reached is tried again at a later tick; the program's side stays.  */
static void on_outer_ended(void *argument, int why)
{
    struct ckv_passage *self = argument;
    if (self->state >= RELAYING) {
        if (why != CKV_OK && why != CKV_ERROR_NOT_REACHABLE)
            ckv_log(CKV_LOG_WARNING, "server %s: %s", self->tunnel->options->server.text,
                    ckv_strerror(why));
        end(self, &self->relay.outer, &self->relay.inner);
    } else if (why == CKV_ERROR_REFUSED) {
        pass_on_refusal(self);
    } else if (!self->is_reached) {
        ckv_tunnel_tried(self->tunnel, self->tried, CKV_ERROR_NO_SERVER);
        self->state = WAITING;
        ckv_stream_close(&self->relay.outer);
    } else {
        bool silent = why == CKV_OK || why == CKV_ERROR_NOT_REACHABLE;
        ckv_tunnel_tried(self->tunnel, self->tried, silent ? CKV_ERROR_HANDSHAKE : why);
        close_both(self);
    }
}

static const struct ckv_stream_events outer_events = {
    .greeted = on_outer_greeted,
    .frame = on_outer_frame,
    .drained = on_reached,
    .ended = on_outer_ended,
    .closed = on_closed,
};

static int open_outer(struct ckv_passage *self, int fd, bool connecting)
{
    struct ckv_stream *outer = &self->relay.outer;
    int rc = ckv_stream_open(outer, &self->tunnel->poller, self->tunnel->room, fd, connecting,
                             &outer_events, self, CKV_CURVE_WELCOME_BOUND);
    if (rc != CKV_OK)
        return rc;
    self->streams++;
    self->is_reached = !connecting;
    self->state = GREETING;
    ckv_stream_expect_greeting(outer);
    ckv_stream_read(outer, true);
    rc = put_greeting(self, 0, CKV_ZMTP_GREETING_FIRST);
    return rc == CKV_OK ? ckv_stream_flush(outer) : rc;
}

/*  Tries the server, if it is time to.  */
static void reach(struct ckv_passage *self)
{
    struct ckv_tunnel *tunnel = self->tunnel;
    bool connecting;
    int fd;
    if (uv_now(&tunnel->uv) < tunnel->not_before)
        return;
    self->tried = (uint8_t)tunnel->options->server.current;
    int rc = ckv_endpoint_connect(ckv_host_address(&tunnel->options->server), &fd, &connecting);
    if (rc != CKV_OK) {
        ckv_tunnel_tried(tunnel, self->tried,
                         rc == CKV_ERROR_NOT_REACHABLE ? CKV_ERROR_NO_SERVER : rc);
        return;
    }
    rc = open_outer(self, fd, connecting);
    if (rc != CKV_OK && self->relay.outer.is_open)
        ckv_stream_close(&self->relay.outer);
    else if (rc != CKV_OK)
        close(fd);
    if (rc != CKV_OK)
        self->state = WAITING;
}

/* ---- the program's side ---- */

static int on_inner_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct ckv_passage *self = argument;
    self->relay.inner_minor = greeting->minor;
    if (strcmp(greeting->mechanism, "NULL") == 0)
        return CKV_OK;
    ckv_log(CKV_LOG_WARNING, "a program uses %s; it is to connect here without security",
            greeting->mechanism);
    return CKV_ERROR_MECHANISM;
}

/*  What the program says of itself is kept for INITIATE.  */
static int take_ready(struct ckv_passage *self, uint8_t flags, struct ckv_octets body)
{
    struct ckv_zmtp_command command;
    if (flags != CKV_ZMTP_COMMAND || ckv_zmtp_command_parse(body, &command) != CKV_OK ||
        !ckv_zmtp_command_is(&command, "READY") || command.data.size > CKV_CURVE_METADATA_MAX)
        return CKV_ERROR_ZMTP;
    self->metadata = malloc(command.data.size + 1);
    if (!self->metadata)
        return CKV_ERROR_MEMORY;
    if (command.data.size)
        memcpy(self->metadata, command.data.data, command.data.size);
    self->metadata_size = command.data.size;
    self->relay.inner_subscribes = ckv_relay_subscribes(command.data);
    self->state = WAITING;
    reach(self);
    return CKV_OK;
}

static int on_inner_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_passage *self = argument;
    if (self->state == RELAYING)
        return ckv_relay_outwards(&self->relay, flags, body, size);
    return self->state == MEETING ? take_ready(self, flags, ckv_octets(body, size))
                                  : CKV_ERROR_ZMTP;
}

static void on_inner_ended(void *argument, int why)
{
    struct ckv_passage *self = argument;
    bool has_left = self->state == MEETING && (why == CKV_OK || why == CKV_ERROR_NOT_REACHABLE);
    if (has_left && ckv_log_is_due(&self->tunnel->pace, CKV_ERROR_MECHANISM))
        ckv_log(CKV_LOG_INFO,
                "a program has left before it was ready, as one does that uses CURVE or "
                "PLAIN; it is to connect here without security");
    end(self, &self->relay.inner, &self->relay.outer);
}

static void on_drained(void *argument)
{
    (void)argument;
}

static const struct ckv_stream_events inner_events = {
    .greeted = on_inner_greeted,
    .frame = on_inner_frame,
    .drained = on_drained,
    .ended = on_inner_ended,
    .closed = on_closed,
};

static int open_inner(struct ckv_passage *self, int fd)
{
    struct ckv_stream *inner = &self->relay.inner;
    struct ckv_zmtp_greeting_octets greeting;
    int rc = ckv_stream_open(inner, &self->tunnel->poller, self->tunnel->room, fd, false,
                             &inner_events, self, CKV_RELAY_INNER_HANDSHAKE_MAX);
    if (rc != CKV_OK)
        return rc;
    self->streams++;
    ckv_zmtp_greeting_write(&greeting, "NULL", false);
    ckv_stream_expect_greeting(inner);
    ckv_stream_read(inner, true);
    if (ckv_stream_put(inner, &greeting, sizeof(greeting)) != CKV_OK ||
        ckv_stream_flush(inner) != CKV_OK)
        close_both(self);
    return CKV_OK;
}

int ckv_passage_begin(struct ckv_tunnel *tunnel, int fd)
{
    struct ckv_passage *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->tunnel = tunnel;
    self->relay.session = &self->curve.session;
    self->relay.counts = &tunnel->counts;
    self->deadline = uv_now(&tunnel->uv) + tunnel->options->handshake_ms;
    self->next = tunnel->first;
    if (tunnel->first)
        tunnel->first->previous = self;
    tunnel->first = self;
    int rc = open_inner(self, fd);
    if (rc != CKV_OK)
        destroy(self);
    return rc;
}

/* ---- all of them ---- */

/*  A server that stalls counts as one that cannot be reached; a program that stalls does not.  */
static void give_up(struct ckv_passage *self)
{
    if (self->state >= GREETING && self->state <= READYING)
        ckv_tunnel_tried(self->tunnel, self->tried, CKV_ERROR_TIMEOUT);
    close_both(self);
}

void ckv_passages_tick(struct ckv_tunnel *tunnel)
{
    uint64_t now = uv_now(&tunnel->uv);
    struct ckv_passage *next;
    for (struct ckv_passage *self = tunnel->first; self; self = next) {
        next = self->next;
        bool outer_is_closed = self->streams == 1;
        if (self->deadline <= now)
            give_up(self);
        else if (self->state == WAITING && outer_is_closed)
            reach(self);
    }
}

void ckv_passages_end(struct ckv_tunnel *tunnel)
{
    struct ckv_passage *next;
    for (struct ckv_passage *self = tunnel->first; self; self = next) {
        next = self->next;
        if (self->state == RELAYING) {
            ckv_stream_finish(&self->relay.inner);
            finish(self, &self->relay.outer);
        } else if (self->state != FINISHING) {
            close_both(self);
        }
    }
}
