/*  A client's connection, as node/library/curvekv.h has it: a socket type and whole messages over a wire whose
    hands were shaken.

    A message that comes is put together in `next`, frame by frame, and handed out in `given`, so that
    views live while the next one comes. While `next` is whole and not asked for, nothing is read: the
    server meets that as a full socket. */
#include "core/properties.h"
#include "node/library/curvekv.h"
#include "node/library/dial.h"
#include "node/library/handshake.h"
#include "node/library/identity.h"

#include <poll.h>
#include <sodium.h>
#include <stdlib.h>

enum {
    MESSAGE_MAX = 64 << 20,
    PARTS_MAX = 65536,
    TIMEOUT_MS = 10000,
    ROUTING_ID_MAX = 255,
    COMMAND_MAX = 512,    /* of a command between messages; the longest known has 23 octets */
    PONGS_MAX = 16384,    /* octets that may wait; a peer that does not read needs no more PONGs */
    BODY_MAX = INT32_MAX, /* of a part that we send, so that no sum of sizes overflows */
    KEEP_SIZE = 1 << 20,  /* a buffer larger than this is given back after use */
};

struct socket_type {
    const char *name;
    const char *peers; /* RFC 37, "Socket Semantics" */
    bool sends, receives;
};

static const struct socket_type socket_types[] = {
    [CKV_SOCKET_DEALER] = { "DEALER", " ROUTER DEALER REP ", true, true },
    [CKV_SOCKET_REQ] = { "REQ", " REP ROUTER ", true, true },
    [CKV_SOCKET_SUB] = { "SUB", " PUB XPUB ", false, true },
    [CKV_SOCKET_PUSH] = { "PUSH", " PULL ", true, false },
    [CKV_SOCKET_PULL] = { "PULL", " PUSH ", false, true },
    [CKV_SOCKET_PAIR] = { "PAIR", " PAIR ", true, true },
};
#define SOCKET_TYPES (sizeof(socket_types) / sizeof(socket_types[0]))

/*  A message that comes. Its parts lie one behind the other in BODY.  */
struct message {
    struct ckv_buffer body;
    struct ckv_octets *parts; /* until it is whole and given: sizes only, since BODY moves */
    size_t count, capacity;
    bool whole;
};

struct ckv_connection {
    struct ckv_wire wire;
    struct ckv_curve_client curve;
    enum ckv_socket_type type;
    uint8_t minor; /* of the ZMTP version to talk */
    bool awaits_reply;
    int error; /* what ended it */
    size_t message_max;
    struct message next, given;
};

/* ---- messages that come ---- */

static void message_empty(struct message *self)
{
    if (self->body.capacity > KEEP_SIZE)
        ckv_buffer_clear(&self->body);
    self->body.size = 0;
    self->count = 0;
    self->whole = false;
}

static void message_clear(struct message *self)
{
    ckv_buffer_clear(&self->body);
    free(self->parts);
    *self = (struct message){ .whole = false };
}

static int message_add(struct message *self, struct ckv_octets part, bool more)
{
    if (self->count == self->capacity) {
        size_t capacity = 2 * self->capacity + 4;
        struct ckv_octets *parts = realloc(self->parts, capacity * sizeof(*parts));
        if (!parts)
            return CKV_ERROR_MEMORY;
        self->parts = parts;
        self->capacity = capacity;
    }
    int rc = ckv_buffer_add(&self->body, part);
    if (rc != CKV_OK)
        return rc;
    self->parts[self->count++] = ckv_octets(NULL, part.size);
    self->whole = !more;
    return CKV_OK;
}

/*  Now that it does not move any more.  */
static void message_place_parts(struct message *self)
{
    const uint8_t *at = self->body.data;
    for (size_t i = 0; i < self->count; i++) {
        self->parts[i].data = at;
        at += self->parts[i].size;
    }
}

/*  Whether it is a request or reply as REQ and REP have it: an empty part, then at least one more.  */
static bool message_is_enveloped(const struct message *self)
{
    return self->count > 1 && self->parts[0].size == 0;
}

/* ---- frames that go ---- */

static size_t frame_size(struct ckv_octets body)
{
    return CKV_ZMTP_HEADER_MAX + CKV_CURVE_MESSAGE_OVERHEAD + body.size;
}

/*  Seals BODY behind what waits to go.  */
static int put_frame(struct ckv_connection *self, uint8_t flags, struct ckv_octets body)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t size = CKV_CURVE_MESSAGE_OVERHEAD + body.size;
    size_t header_size = ckv_zmtp_header_write(header, 0, size);
    uint8_t *end = ckv_buffer_grow(&self->wire.out, header_size + size);
    if (!end)
        return CKV_ERROR_MEMORY;
    memcpy(end, header, header_size);
    if (body.size)
        memcpy(end + header_size + CKV_CURVE_MESSAGE_OVERHEAD, body.data, body.size);
    return ckv_curve_message_seal(&self->curve.session, flags, end + header_size, body.size);
}

/*  Sets memory aside for all parts, so that a message is taken whole or not.  */
static int reserve(struct ckv_connection *self, const struct ckv_octets *parts, size_t count)
{
    size_t size = frame_size(ckv_octets(NULL, 0)); /* of a REQ's empty part */
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > BODY_MAX || size > SIZE_MAX / 8)
            return CKV_ERROR_ARGUMENT;
        size += frame_size(parts[i]);
    }
    if (!ckv_buffer_grow(&self->wire.out, size))
        return CKV_ERROR_MEMORY;
    self->wire.out.size -= size;
    return CKV_OK;
}

static int put_message(struct ckv_connection *self, const struct ckv_octets *parts, size_t count)
{
    int rc = CKV_OK;
    if (self->type == CKV_SOCKET_REQ)
        rc = put_frame(self, CKV_ZMTP_MORE, ckv_octets(NULL, 0));
    for (size_t i = 0; i < count && rc == CKV_OK; i++)
        rc = put_frame(self, i + 1 < count ? CKV_ZMTP_MORE : 0, parts[i]);
    return rc;
}

/*  Seals what one of the functions of core/zmtp.h has written as a frame.  */
static int put_zmtp(struct ckv_connection *self, const uint8_t *octets, size_t size)
{
    struct ckv_octets input = ckv_octets(octets, size);
    struct ckv_zmtp_frame frame;
    int rc = ckv_zmtp_frame_next(&input, size, &frame);
    return rc == 1 ? put_frame(self, frame.flags, frame.body) : CKV_ERROR_ARGUMENT;
}

/* ---- frames that come ---- */

static int answer_ping(struct ckv_connection *self, struct ckv_octets data)
{
    uint8_t pong[CKV_ZMTP_HEADER_MAX + 5 + CKV_ZMTP_PING_CONTEXT_MAX];
    struct ckv_zmtp_ping ping;
    size_t size = 0;
    int rc = ckv_zmtp_ping_parse(data, &ping);
    if (rc != CKV_OK || self->wire.out.size - self->wire.sent > PONGS_MAX)
        return rc;
    rc = ckv_zmtp_command_put(pong, sizeof(pong), &size, "PONG", ping.context);
    return rc == CKV_OK ? put_zmtp(self, pong, size) : rc;
}

/*  Commands that are not known are passed over, as RFC 37 wants.  */
static int take_command(struct ckv_connection *self, struct ckv_octets body)
{
    struct ckv_zmtp_command command;
    int rc = body.size > COMMAND_MAX ? CKV_ERROR_FRAME_SIZE : CKV_OK;
    if (rc == CKV_OK)
        rc = ckv_zmtp_command_parse(body, &command);
    if (rc != CKV_OK)
        return rc;
    if (ckv_zmtp_command_is(&command, "PING"))
        return answer_ping(self, command.data);
    return ckv_zmtp_command_is(&command, "ERROR") ? CKV_ERROR_REFUSED : CKV_OK;
}

static int take_part(struct ckv_connection *self, struct ckv_octets body, bool more)
{
    if (body.size > self->message_max - self->next.body.size || self->next.count == PARTS_MAX)
        return CKV_ERROR_FRAME_SIZE;
    int rc = message_add(&self->next, body, more);
    if (rc == CKV_OK && self->next.whole && self->type == CKV_SOCKET_REQ &&
        !message_is_enveloped(&self->next))
        message_empty(&self->next); /* RFC 28: a REQ discards what is no reply */
    return rc;
}

/*  Takes a frame out of what was read. Returns 1, 0 when none is whole, or an error.  */
static int take_frame(struct ckv_connection *self)
{
    uint8_t *frame, flags;
    struct ckv_octets body;
    size_t size, room = self->message_max - self->next.body.size;
    size_t bound = CKV_CURVE_MESSAGE_OVERHEAD + (room > COMMAND_MAX ? room : COMMAND_MAX);
    int rc = ckv_wire_next(&self->wire, bound, &frame, &size);
    if (rc != 1)
        return rc;
    rc = ckv_curve_message_open(&self->curve.session, frame, size, &flags, &body);
    if (rc == CKV_OK)
        rc = flags & CKV_ZMTP_COMMAND ? take_command(self, body)
                                      : take_part(self, body, flags & CKV_ZMTP_MORE);
    return rc == CKV_OK ? 1 : rc;
}

/*  Takes frames until a message is whole or none is left.  */
static int take_frames(struct ckv_connection *self)
{
    int rc = 1;
    while (rc == 1 && !self->next.whole)
        rc = take_frame(self);
    return rc == 1 ? CKV_OK : rc;
}

/* ---- waiting ---- */

/*  What ended the connection, if RC did.  */
static int finish(struct ckv_connection *self, int rc)
{
    if (rc != CKV_OK && rc != CKV_ERROR_TIMEOUT)
        self->error = rc;
    return rc;
}

/*  Waits until the wire can do something, and takes what came.  */
static int turn(struct ckv_connection *self, uint64_t deadline)
{
    bool reading = !self->next.whole;
    int rc = ckv_wire_turn(&self->wire, reading, deadline);
    if (rc == CKV_OK && reading)
        rc = take_frames(self);
    return finish(self, rc);
}

/*  Sees what has come, without waiting: one who only sends must answer heartbeats, too.  */
static int look(struct ckv_connection *self)
{
    int rc = turn(self, 0);
    return rc == CKV_ERROR_TIMEOUT ? CKV_OK : rc;
}

/*  Waits until all that was taken has left.  */
static int drain(struct ckv_connection *self, uint64_t deadline)
{
    int rc = CKV_OK;
    ckv_wire_write(&self->wire);
    while (rc == CKV_OK && ckv_wire_pending(&self->wire))
        rc = ckv_wire_late(deadline) ? CKV_ERROR_TIMEOUT : turn(self, deadline);
    return rc == CKV_OK && self->wire.deaf ? CKV_ERROR_CLOSED : rc;
}

/*  Waits until a message is whole. With a deadline that has passed it takes what is here, but not what
    comes meanwhile: a server could send for ever.  */
static int await_message(struct ckv_connection *self, uint64_t deadline)
{
    int rc = finish(self, take_frames(self));
    if (rc == CKV_OK && !self->next.whole)
        rc = turn(self, deadline);
    while (rc == CKV_OK && !self->next.whole)
        rc = ckv_wire_late(deadline) ? CKV_ERROR_TIMEOUT : turn(self, deadline);
    return rc;
}

/* ---- what a caller asks ---- */

/*  A second reply to a request that was answered is not the reply to the next one.  */
static int drop_stale_replies(struct ckv_connection *self, uint64_t deadline)
{
    int rc;
    while ((rc = await_message(self, 0)) == CKV_OK) {
        message_empty(&self->next);
        if (ckv_wire_late(deadline))
            return CKV_ERROR_TIMEOUT;
    }
    return rc == CKV_ERROR_TIMEOUT ? CKV_OK : rc;
}

int ckv_connection_send(struct ckv_connection *self, const struct ckv_octets *parts, size_t count,
                        int timeout_ms)
{
    uint64_t deadline = ckv_wire_deadline(timeout_ms);
    if (self->error)
        return self->error;
    if (!socket_types[self->type].sends || self->awaits_reply)
        return CKV_ERROR_TURN;
    if (count == 0)
        return CKV_ERROR_ARGUMENT;
    int rc = look(self);
    if (rc == CKV_OK)
        rc = drain(self, deadline);
    if (rc == CKV_OK && self->type == CKV_SOCKET_REQ)
        rc = drop_stale_replies(self, deadline);
    if (rc == CKV_OK)
        rc = reserve(self, parts, count);
    if (rc != CKV_OK)
        return rc;
    rc = finish(self, put_message(self, parts, count));
    if (rc != CKV_OK)
        return rc;
    self->awaits_reply = self->type == CKV_SOCKET_REQ;
    rc = drain(self, deadline);
    return rc == CKV_ERROR_TIMEOUT ? CKV_OK : rc;
}

int ckv_connection_receive(struct ckv_connection *self, const struct ckv_octets **parts,
                           size_t *count, int timeout_ms)
{
    if (self->error)
        return self->error;
    if (!socket_types[self->type].receives || (self->type == CKV_SOCKET_REQ && !self->awaits_reply))
        return CKV_ERROR_TURN;
    ckv_wire_write(&self->wire);
    int rc = await_message(self, ckv_wire_deadline(timeout_ms));
    if (rc != CKV_OK)
        return rc;

    struct message given = self->next;
    self->next = self->given;
    self->given = given;
    message_empty(&self->next);
    message_place_parts(&self->given);
    size_t envelope = self->type == CKV_SOCKET_REQ ? 1 : 0;
    *parts = self->given.parts + envelope;
    *count = self->given.count - envelope;
    self->awaits_reply = false;
    return CKV_OK;
}

static int subscribe(struct ckv_connection *self, bool cancel, struct ckv_octets topic,
                     int timeout_ms)
{
    const struct ckv_zmtp_subscription subscription = { cancel, topic };
    uint64_t deadline = ckv_wire_deadline(timeout_ms);
    size_t size = 0, capacity = frame_size(topic);
    if (self->error)
        return self->error;
    if (self->type != CKV_SOCKET_SUB)
        return CKV_ERROR_TURN;
    if (topic.size > BODY_MAX)
        return CKV_ERROR_ARGUMENT;
    int rc = look(self);
    if (rc == CKV_OK)
        rc = drain(self, deadline);
    if (rc != CKV_OK)
        return rc;
    uint8_t *frame = malloc(capacity);
    if (!frame)
        return CKV_ERROR_MEMORY;
    rc = ckv_zmtp_subscription_put(frame, capacity, &size, self->minor, &subscription);
    if (rc == CKV_OK)
        rc = finish(self, put_zmtp(self, frame, size));
    free(frame);
    if (rc == CKV_OK)
        rc = drain(self, deadline);
    return rc == CKV_ERROR_TIMEOUT ? CKV_OK : rc;
}

int ckv_connection_subscribe(struct ckv_connection *self, struct ckv_octets topic, int timeout_ms)
{
    return subscribe(self, false, topic, timeout_ms);
}

int ckv_connection_unsubscribe(struct ckv_connection *self, struct ckv_octets topic, int timeout_ms)
{
    return subscribe(self, true, topic, timeout_ms);
}

int ckv_connection_flush(struct ckv_connection *self, int timeout_ms)
{
    int rc = self->error ? self->error : look(self);
    return rc == CKV_OK ? drain(self, ckv_wire_deadline(timeout_ms)) : rc;
}

int ckv_connection_fd(const struct ckv_connection *self)
{
    return self->wire.fd;
}

short ckv_connection_events(const struct ckv_connection *self)
{
    return (short)(POLLIN | (ckv_wire_pending(&self->wire) ? POLLOUT : 0));
}

/* ---- open and close ---- */

static int check_options(const struct ckv_connection_options *options)
{
    bool good = options->endpoint && options->certificate_file && options->socket_type >= 1 &&
                (size_t)options->socket_type < SOCKET_TYPES &&
                options->routing_id.size <= ROUTING_ID_MAX && options->message_max <= SIZE_MAX / 8;
    return good ? CKV_OK : CKV_ERROR_ARGUMENT;
}

/*  What INITIATE tells the server of the socket; as libzmq does, an Identity only from those that a
    ROUTER answers.  */
static int put_metadata(const struct ckv_connection_options *options, uint8_t *buffer,
                        size_t capacity, size_t *size)
{
    enum ckv_socket_type type = options->socket_type;
    int rc = ckv_properties_put(buffer, capacity, size, ckv_octets_text("Socket-Type"),
                                ckv_octets_text(socket_types[type].name));
    if (rc == CKV_OK && (type == CKV_SOCKET_DEALER || type == CKV_SOCKET_REQ))
        rc = ckv_properties_put(buffer, capacity, size, ckv_octets_text("Identity"),
                                options->routing_id);
    return rc;
}

/*  RFC 37: a peer of a type that does not go with ours is left.  */
static int check_peer(enum ckv_socket_type type, struct ckv_octets metadata)
{
    enum { NAME_MAX_SIZE = 8 };
    char name[NAME_MAX_SIZE + 3];
    struct ckv_octets value;
    if (ckv_properties_get(metadata, "Socket-Type", &value) != 1 || value.size < 1 ||
        value.size > NAME_MAX_SIZE || memchr(value.data, ' ', value.size) ||
        memchr(value.data, 0, value.size))
        return CKV_ERROR_PEER_TYPE;
    name[0] = ' ';
    memcpy(name + 1, value.data, value.size);
    memcpy(name + 1 + value.size, " ", 2);
    return strstr(socket_types[type].peers, name) ? CKV_OK : CKV_ERROR_PEER_TYPE;
}

static int shake_hands(struct ckv_connection *self, const struct ckv_connection_options *options,
                       const struct ckv_certfile *file, uint64_t deadline)
{
    struct ckv_curve_identity identity = ckv_identity_of(file);
    uint8_t metadata[64 + ROUTING_ID_MAX];
    size_t size = 0;
    struct ckv_octets theirs;
    int rc = put_metadata(options, metadata, sizeof(metadata), &size);
    if (rc == CKV_OK)
        rc = ckv_handshake(&self->wire, &self->curve, &identity, ckv_octets(metadata, size),
                           deadline, &self->minor, &theirs);
    return rc == CKV_OK ? check_peer(self->type, theirs) : rc;
}

static int open_connection(struct ckv_connection *self,
                           const struct ckv_connection_options *options, struct ckv_certfile *file)
{
    int fd;
    int rc = ckv_identity_load(file, options->certificate_file, options->passphrase,
                               options->server_public_key);
    /*  A passphrase takes its own time.  */
    uint64_t deadline = ckv_wire_deadline(options->timeout_ms ? options->timeout_ms : TIMEOUT_MS);
    if (rc == CKV_OK)
        rc = ckv_dial(options->endpoint, deadline, &fd);
    if (rc != CKV_OK)
        return rc;
    ckv_wire_init(&self->wire, fd);
    self->type = options->socket_type;
    self->message_max = options->message_max ? options->message_max : MESSAGE_MAX;
    return shake_hands(self, options, file, deadline);
}

int ckv_connection_open(struct ckv_connection **self_p,
                        const struct ckv_connection_options *options)
{
    *self_p = NULL;
    int rc = check_options(options);
    if (rc != CKV_OK)
        return rc;
    if (sodium_init() < 0)
        return CKV_ERROR_MEMORY;
    struct ckv_certfile *file = sodium_malloc(sizeof(*file));
    struct ckv_connection *self = calloc(1, sizeof(*self));
    if (self)
        ckv_wire_init(&self->wire, -1);
    rc = file && self ? open_connection(self, options, file) : CKV_ERROR_MEMORY;
    sodium_free(file);
    if (rc != CKV_OK)
        ckv_connection_close(&self);
    *self_p = self;
    return rc;
}

void ckv_connection_close(struct ckv_connection **self_p)
{
    struct ckv_connection *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    ckv_wire_close(&self->wire);
    ckv_curve_client_wipe(&self->curve);
    message_clear(&self->next);
    message_clear(&self->given);
    free(self);
}
