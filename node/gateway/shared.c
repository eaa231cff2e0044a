#include "node/gateway/shared.h"

#include "core/properties.h"
#include "kv/log.h"
#include <stdlib.h>
#include <unistd.h>

enum { NO_INDEX = UINT32_MAX, SLOTS_FIRST = 64, RESUMED_AT_ONCE = 64 };

enum state {
    CLOSED,
    REACHING, /* for the backend, until its READY */
    UNFIT,    /* it is not one to share a connection with, and is told so to those who wait */
    UP,
    FINISHING,
};

enum backend { OTHER, ROUTER_OR_REP, DEALER };

/*  Lists that a member may be in.  */
enum list { PAUSED, BEATING, LISTS };

struct link {
    struct ckv_member *previous, *next;
    bool is_in;
};

struct ckv_member {
    struct ckv_shared *shared;
    struct ckv_relay *relay;
    void *argument;
    struct link links[LISTS];
    struct ckv_assembly message;
    uint64_t heard;
    uint32_t ttl_ms; /* 0: it may be silent */
    uint32_t index;
    bool has_moved;
    uint8_t name_size;
    uint8_t name[]; /* the frame that its messages begin with: header and routing id */
};

struct slot {
    struct ckv_member *member;
    uint32_t next_free;
};

struct ckv_shared {
    struct ckv_stream stream;
    struct ckv_shared_options options;
    uint8_t *metadata; /* of the backend's READY */
    size_t metadata_size;
    struct slot *slots;
    uint32_t slot_count, first_free, serial;
    struct {
        struct ckv_member *first, *last;
    } lists[LISTS];
    struct ckv_member *to; /* whom the message is for that is coming; NULL: nobody */
    uint64_t heard;
    uint64_t deadline; /* of reaching for the backend */
    uint32_t ttl_ms;
    uint8_t state, backend;
    uint8_t tried;      /* which of the backend's addresses */
    bool has_dialled;   /* the connection is of our own making */
    bool is_reached;    /* it is connected */
    bool is_in_message; /* its first part has come */
    bool is_introduced; /* our READY was sent */
    bool is_closing;    /* the stream's memory is not ours again yet */
    bool has_complained;
};

/* ---- lists ---- */

static void enlist(struct ckv_member *self, enum list list)
{
    struct link *link = &self->links[list];
    if (link->is_in)
        return;
    *link = (struct link){ self->shared->lists[list].last, NULL, true };
    if (link->previous)
        link->previous->links[list].next = self;
    else
        self->shared->lists[list].first = self;
    self->shared->lists[list].last = self;
}

static void delist(struct ckv_member *self, enum list list)
{
    struct link *link = &self->links[list];
    if (!link->is_in)
        return;
    if (link->previous)
        link->previous->links[list].next = link->next;
    else
        self->shared->lists[list].first = link->next;
    if (link->next)
        link->next->links[list].previous = link->previous;
    else
        self->shared->lists[list].last = link->previous;
    *link = (struct link){ NULL, NULL, false };
}

/* ---- the table ---- */

/*  Doubles it.  */
static int grow(struct ckv_shared *self)
{
    uint32_t count = self->slot_count ? 2 * self->slot_count : SLOTS_FIRST;
    if (count > CKV_ROUTING_ID_INDEXES)
        return CKV_ERROR_MEMORY;
    struct slot *slots = realloc(self->slots, count * sizeof(*slots));
    if (!slots)
        return CKV_ERROR_MEMORY;
    for (uint32_t i = self->slot_count; i < count; i++)
        slots[i] = (struct slot){ NULL, i + 1 < count ? i + 1 : NO_INDEX };
    self->first_free = self->slot_count;
    self->slot_count = count;
    self->slots = slots;
    return CKV_OK;
}

static struct ckv_octets routing_id_of(const struct ckv_member *member)
{
    enum { HEADER = 2 };
    return ckv_octets(member->name + HEADER, (size_t)member->name_size - HEADER);
}

/*  The member of this name, or NULL.  */
static struct ckv_member *find(const struct ckv_shared *self, struct ckv_octets name)
{
    struct ckv_routing_id id;
    if (ckv_routing_id_parse(name, &id) != CKV_OK || id.index >= self->slot_count)
        return NULL;
    struct ckv_member *member = self->slots[id.index].member;
    return member && ckv_octets_equal(routing_id_of(member), name) ? member : NULL;
}

/* ---- members ---- */

int ckv_member_new(struct ckv_member **self_p, struct ckv_shared *shared, struct ckv_relay *relay,
                   struct ckv_octets storage_key, void *argument)
{
    uint8_t name[CKV_ZMTP_HEADER_MAX + CKV_ROUTING_ID_MAX], id[CKV_ROUTING_ID_MAX];
    if (shared->first_free == NO_INDEX && grow(shared) != CKV_OK)
        return CKV_ERROR_MEMORY;
    uint32_t index = shared->first_free;
    struct ckv_routing_id numbers = { shared->options.loop, index, shared->serial };
    size_t id_size = ckv_routing_id_write(id, &numbers, storage_key);
    size_t name_size = ckv_zmtp_header_write(name, CKV_ZMTP_MORE, id_size);
    memcpy(name + name_size, id, id_size);
    name_size += id_size;
    struct ckv_member *self = calloc(1, sizeof(*self) + name_size);
    if (!self)
        return CKV_ERROR_MEMORY;
    self->shared = shared;
    self->relay = relay;
    self->argument = argument;
    self->index = index;
    self->name_size = (uint8_t)name_size;
    memcpy(self->name, name, name_size);
    shared->serial++;
    shared->first_free = shared->slots[index].next_free;
    shared->slots[index].member = self;
    ckv_count_add(&shared->options.counts->joined, 1);
    *self_p = self;
    return CKV_OK;
}

void ckv_member_leave(struct ckv_member **self_p)
{
    struct ckv_member *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    struct ckv_shared *shared = self->shared;
    for (enum list list = PAUSED; list < LISTS; list++)
        delist(self, list);
    if (shared->to == self)
        shared->to = NULL;
    shared->slots[self->index] = (struct slot){ NULL, shared->first_free };
    shared->first_free = self->index;
    ckv_count_add(&shared->options.counts->left, 1);
    ckv_assembly_drop(&self->message);
    free(self);
}

bool ckv_member_has_moved(struct ckv_member *self)
{
    bool has_moved = self->has_moved || ckv_stream_is_blocked(&self->shared->stream);
    self->has_moved = false;
    return has_moved;
}

/* ---- commands ---- */

/*  Returns 1 for a PING, 0 for another command, or CKV_ERROR_ZMTP.  */
static int read_ping(struct ckv_octets body, struct ckv_zmtp_ping *ping)
{
    struct ckv_zmtp_command command;
    if (ckv_zmtp_command_parse(body, &command) != CKV_OK)
        return CKV_ERROR_ZMTP;
    if (!ckv_zmtp_command_is(&command, "PING"))
        return 0;
    return ckv_zmtp_ping_parse(command.data, ping) == CKV_OK ? 1 : CKV_ERROR_ZMTP;
}

static bool is_silent(uint64_t now, uint64_t heard, uint32_t ttl_ms)
{
    return ttl_ms && now > heard && now - heard > ttl_ms;
}

/* ---- inwards ---- */

/*  The backend reads again: some of those who wait go on, and others after them. All at once would be
    all back here after the first few.  */
static void resume(struct ckv_shared *self, unsigned count)
{
    struct ckv_member *member;
    while (count-- > 0 && (member = self->lists[PAUSED].first)) {
        delist(member, PAUSED);
        member->heard = uv_now(self->options.uv);
        ckv_stream_read(&member->relay->outer, true);
    }
}

bool ckv_member_wanted(struct ckv_member *self)
{
    self->heard = uv_now(self->shared->options.uv);
    if (!ckv_stream_is_blocked(&self->shared->stream)) {
        resume(self->shared, 1);
        return true;
    }
    ckv_stream_read(&self->relay->outer, false);
    enlist(self, PAUSED);
    return false;
}

/*  Whether its client takes what is sent to it, or lets it pile up.  */
static bool reads(const struct ckv_member *self)
{
    return self->relay->outer.out_size <= CKV_SHARED_WAITING_MAX;
}

/*  Answers the PING of a member.  */
static int hear_command(struct ckv_member *self, struct ckv_octets body)
{
    uint8_t buffer[CKV_STREAM_HEADROOM + CKV_ZMTP_PONG_MAX];
    struct ckv_zmtp_ping ping;
    int rc = read_ping(body, &ping);
    if (rc != 1)
        return rc;
    self->ttl_ms = ping.ttl_ms;
    if (ping.ttl_ms)
        enlist(self, BEATING);
    else
        delist(self, BEATING);
    if (!reads(self))
        return CKV_OK;
    size_t size = ckv_zmtp_pong_write(buffer + CKV_STREAM_HEADROOM, ping.context);
    return ckv_relay_outwards(self->relay, CKV_ZMTP_COMMAND, buffer + CKV_STREAM_HEADROOM, size);
}

/*  Puts the message that ends with this part. BODY has room for a header in front. The batch keeps the
    three together; after an error of memory the stream takes nothing more and ends.  */
static int put_message(struct ckv_member *self, uint8_t *body, size_t size)
{
    struct ckv_stream *stream = &self->shared->stream;
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, 0, size);
    memcpy(body - header_size, header, header_size);
    int rc = ckv_stream_put(stream, self->name, self->name_size);
    if (rc == CKV_OK && self->message.size)
        rc = ckv_stream_put(stream, self->message.octets, self->message.size);
    if (rc == CKV_OK)
        rc = ckv_stream_put(stream, body - header_size, header_size + size);
    ckv_assembly_drop(&self->message);
    return rc;
}

int ckv_member_inwards(struct ckv_member *self, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_octets opened;
    size_t max = self->shared->options.max_message;
    int rc = ckv_relay_open(self->relay, &flags, body, size, &opened);
    if (rc != CKV_OK)
        return rc;
    if (flags & CKV_ZMTP_COMMAND)
        return hear_command(self, opened);
    if (flags & CKV_ZMTP_MORE)
        return ckv_assembly_add(&self->message, opened, max);
    if (!ckv_assembly_fits(&self->message, opened.size, max))
        return CKV_ERROR_FRAME_SIZE;
    return put_message(self, body + CKV_CURVE_MESSAGE_OVERHEAD, opened.size);
}

/* ---- outwards ---- */

/*  Whom a message is for that begins with this part; NULL: nobody, or one who does not read.  */
static struct ckv_member *addressee(const struct ckv_shared *self, struct ckv_octets part)
{
    struct ckv_member *member = find(self, part);
    return member && reads(member) ? member : NULL;
}

static int hear_backend_command(struct ckv_shared *self, struct ckv_octets body)
{
    uint8_t frame[2 + CKV_ZMTP_PONG_MAX];
    struct ckv_zmtp_ping ping;
    int rc = read_ping(body, &ping);
    if (rc != 1)
        return rc;
    self->ttl_ms = ping.ttl_ms;
    size_t size = ckv_zmtp_pong_write(frame + 2, ping.context);
    ckv_zmtp_header_write(frame, CKV_ZMTP_COMMAND, size);
    return ckv_stream_put(&self->stream, frame, 2 + size);
}

/*  A part of a message. What a client's own stream does not take is that client's end, by that stream's
    own event, and not the backend's.  */
static void hear_part(struct ckv_shared *self, uint8_t flags, uint8_t *body, size_t size)
{
    bool is_last = !(flags & CKV_ZMTP_MORE);
    if (!self->is_in_message) {
        self->to = is_last ? NULL : addressee(self, ckv_octets(body, size));
        if (!self->to)
            ckv_count_add(&self->options.counts->dropped, 1);
    } else if (self->to) {
        self->to->has_moved = true;
        (void)ckv_relay_outwards(self->to->relay, flags, body, size);
    }
    self->is_in_message = !is_last;
    if (is_last)
        self->to = NULL;
}

/* ---- the handshake ---- */

static int on_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    (void)argument;
    return strcmp(greeting->mechanism, "NULL") == 0 ? CKV_OK : CKV_ERROR_ZMTP;
}

static enum backend kind_of(struct ckv_octets metadata)
{
    struct ckv_octets type;
    if (ckv_properties_get(metadata, "Socket-Type", &type) != 1)
        return OTHER;
    if (ckv_octets_equal(type, ckv_octets_text("ROUTER")) ||
        ckv_octets_equal(type, ckv_octets_text("REP")))
        return ROUTER_OR_REP;
    return ckv_octets_equal(type, ckv_octets_text("DEALER")) ? DEALER : OTHER;
}

bool ckv_shared_deals(struct ckv_octets metadata)
{
    return kind_of(metadata) == DEALER;
}

static int keep_metadata(struct ckv_shared *self, struct ckv_octets metadata)
{
    if (metadata.size > CKV_CURVE_METADATA_MAX)
        return CKV_ERROR_METADATA;
    free(self->metadata);
    self->metadata = malloc(metadata.size + 1);
    self->metadata_size = metadata.size;
    if (!self->metadata)
        return CKV_ERROR_MEMORY;
    memcpy(self->metadata, metadata.data, metadata.size);
    return CKV_OK;
}

static void complain(struct ckv_shared *self)
{
    if (!self->has_complained)
        ckv_log(CKV_LOG_ERROR,
                "the backend is a DEALER, which would deal its answers to all loops: "
                "make it a ROUTER or REP, or run the gateway with --loops 1");
    self->has_complained = true;
}

/*  Says that we are a DEALER. The backend speaks first, or has had its time: libzmq, when it finds a
    type that does not go with its own, closes without having said what that is.  */
static int introduce(struct ckv_shared *self)
{
    uint8_t ready[64], properties[32];
    size_t size = 0, properties_size = 0;
    if (self->is_introduced)
        return CKV_OK;
    self->is_introduced = true;
    int rc = ckv_properties_put(properties, sizeof(properties), &properties_size,
                                ckv_octets_text("Socket-Type"), ckv_octets_text("DEALER"));
    if (rc == CKV_OK)
        rc = ckv_zmtp_command_put(ready, sizeof(ready), &size, "READY",
                                  ckv_octets(properties, properties_size));
    if (rc == CKV_OK)
        rc = ckv_stream_put(&self->stream, ready, size);
    return rc == CKV_OK ? ckv_stream_flush(&self->stream) : rc;
}

/*  The backend has said what it is.  */
static int meet_backend(struct ckv_shared *self, struct ckv_octets metadata)
{
    self->backend = (uint8_t)kind_of(metadata);
    bool fits =
        self->backend == ROUTER_OR_REP || (self->backend == DEALER && self->options.is_only_loop);
    int rc = keep_metadata(self, metadata);
    if (rc == CKV_OK && fits)
        rc = introduce(self);
    if (rc != CKV_OK)
        return rc;
    if (self->backend == DEALER && !fits)
        complain(self);
    ckv_stream_bound(&self->stream, self->options.max_message);
    self->state = fits ? UP : UNFIT;
    self->options.events->told(self->options.argument);
    return fits ? CKV_OK : CKV_ERROR_PEER_TYPE;
}

static int hear_handshake(struct ckv_shared *self, uint8_t flags, struct ckv_octets body)
{
    struct ckv_zmtp_command command;
    if (flags != CKV_ZMTP_COMMAND || ckv_zmtp_command_parse(body, &command) != CKV_OK)
        return CKV_ERROR_ZMTP;
    if (ckv_zmtp_command_is(&command, "READY"))
        return meet_backend(self, command.data);
    if (!ckv_zmtp_command_is(&command, "ERROR"))
        return CKV_ERROR_ZMTP;
    self->options.events->refused(self->options.argument, command.data);
    return CKV_ERROR_REFUSED;
}

/* ---- the connection ---- */

static int on_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_shared *self = argument;
    self->heard = uv_now(self->options.uv);
    if (self->state != UP)
        return hear_handshake(self, flags, ckv_octets(body, size));
    if (flags & CKV_ZMTP_COMMAND)
        return hear_backend_command(self, ckv_octets(body, size));
    hear_part(self, flags, body, size);
    return CKV_OK;
}

static void on_drained(void *argument)
{
    struct ckv_shared *self = argument;
    self->is_reached = true;
    resume(self, RESUMED_AT_ONCE);
}

/*  The backend could not be reached, or has ended the handshake, because of WHY.  */
static void count_failure(struct ckv_shared *self, int why)
{
    ckv_host_failed(self->options.backend, self->tried, uv_now(self->options.uv));
    if (why != CKV_ERROR_REFUSED)
        ckv_outage_tried(self->options.outage, ckv_outage_error(why, self->is_reached));
}

static void on_ended(void *argument, int why)
{
    struct ckv_shared *self = argument;
    bool was_up = self->state == UP;
    if (self->state == REACHING && self->has_dialled)
        count_failure(self, why);
    ckv_shared_close(self);
    if (!was_up)
        return;
    ckv_log(CKV_LOG_WARNING, "the backend's connection has ended, and its clients with it: %s",
            why == CKV_OK ? "the backend closed it" : ckv_strerror(why));
    self->options.events->down(self->options.argument);
}

static void on_closed(void *argument)
{
    struct ckv_shared *self = argument;
    self->is_closing = false;
}

static const struct ckv_stream_events events = {
    .greeted = on_greeted,
    .frame = on_frame,
    .drained = on_drained,
    .ended = on_ended,
    .closed = on_closed,
};

static int put_greeting(struct ckv_stream *stream)
{
    struct ckv_zmtp_greeting_octets greeting;
    ckv_zmtp_greeting_write(&greeting, "NULL", false);
    int rc = ckv_stream_put(stream, &greeting, sizeof(greeting));
    return rc == CKV_OK ? ckv_stream_flush(stream) : rc;
}

int ckv_shared_open(struct ckv_shared *self, int fd, bool connecting)
{
    int rc = ckv_stream_open(&self->stream, self->options.poller, self->options.room, fd,
                             connecting, &events, self, CKV_RELAY_INNER_HANDSHAKE_MAX);
    if (rc != CKV_OK)
        return rc;
    self->is_closing = true; /* until its callback closed */
    self->state = REACHING;
    self->is_reached = !connecting;
    self->deadline = uv_now(self->options.uv) + self->options.reach_ms;
    self->to = NULL;
    self->is_in_message = self->is_introduced = self->has_dialled = false;
    self->ttl_ms = 0;
    ckv_stream_expect_greeting(&self->stream);
    ckv_stream_read(&self->stream, true);
    if (put_greeting(&self->stream) != CKV_OK)
        ckv_shared_close(self);
    return CKV_OK;
}

void ckv_shared_want(struct ckv_shared *self)
{
    bool connecting;
    int fd;
    if (self->is_closing || self->state != CLOSED)
        return;
    self->tried = (uint8_t)self->options.backend->current;
    int rc = ckv_endpoint_connect(ckv_host_address(self->options.backend), &fd, &connecting);
    self->is_reached = false;
    if (rc == CKV_ERROR_NOT_REACHABLE)
        count_failure(self, rc);
    if (rc != CKV_OK)
        return;
    if (ckv_shared_open(self, fd, connecting) == CKV_OK)
        self->has_dialled = true;
    else
        close(fd);
}

void ckv_shared_finish(struct ckv_shared *self)
{
    if (self->state == FINISHING)
        return;
    if (self->state != UP) {
        ckv_shared_close(self);
        return;
    }
    self->state = FINISHING;
    ckv_stream_finish(&self->stream);
}

void ckv_shared_close(struct ckv_shared *self)
{
    self->state = CLOSED;
    self->to = NULL;
    self->metadata_size = 0;
    ckv_stream_close(&self->stream);
}

bool ckv_shared_is_open(const struct ckv_shared *self)
{
    return self->state != CLOSED;
}

struct ckv_octets ckv_shared_metadata(const struct ckv_shared *self)
{
    return ckv_octets(self->metadata, self->metadata_size);
}

enum ckv_shared_answer ckv_shared_answer(const struct ckv_shared *self, bool is_req)
{
    if (self->state != UP && self->state != UNFIT)
        return CKV_SHARED_UNKNOWN;
    if (self->backend == OTHER)
        return CKV_SHARED_OWN;
    bool takes = self->state == UP && !(self->backend == DEALER && is_req);
    return takes ? CKV_SHARED_TAKES : CKV_SHARED_NEITHER;
}

void ckv_shared_tick(struct ckv_shared *self, uint64_t now)
{
    struct ckv_member *next;
    for (struct ckv_member *member = self->lists[BEATING].first; member; member = next) {
        next = member->links[BEATING].next;
        if (!member->links[PAUSED].is_in && is_silent(now, member->heard, member->ttl_ms))
            self->options.events->silent(member->argument);
    }
    if (!ckv_stream_is_blocked(&self->stream))
        resume(self, RESUMED_AT_ONCE); /* in case those who were to go on have left instead */
    if (self->state == REACHING && self->deadline <= now)
        on_ended(self, CKV_ERROR_TIMEOUT); /* an address that has gone may not even say no */
    else if (self->state == REACHING)
        (void)introduce(self);
    if (self->state == UP && is_silent(now, self->heard, self->ttl_ms))
        on_ended(self, CKV_ERROR_TIMEOUT);
}

/* ---- all of it ---- */

int ckv_shared_new(struct ckv_shared **self_p, const struct ckv_shared_options *options)
{
    struct ckv_shared *self = calloc(1, sizeof(*self));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    self->options = *options;
    self->first_free = NO_INDEX;
    return CKV_OK;
}

void ckv_shared_destroy(struct ckv_shared **self_p)
{
    struct ckv_shared *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    free(self->slots);
    free(self->metadata);
    free(self);
}
