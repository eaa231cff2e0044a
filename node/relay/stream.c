#include "node/relay/stream.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    IN_FIRST = 1024,       /* octets set aside for a frame that is not whole, at first */
    WRITE_ALONE = 32768,   /* octets from which on a frame is not copied into the batch */
    LONG_BIT_OF_FLAGS = 2, /* the bit of a frame's first octet that says which header it has */
};

static void on_happened(struct ckv_watch *watch, uint32_t events);
static void on_closed(struct ckv_watch *watch);

static const struct ckv_watch_kind kind = { .happened = on_happened, .closed = on_closed };

/* ---- opening and closing ---- */

static struct ckv_stream *stream_of(struct ckv_watch *watch)
{
    return (struct ckv_stream *)((char *)watch - offsetof(struct ckv_stream, watch));
}

static void on_closed(struct ckv_watch *watch)
{
    struct ckv_stream *self = stream_of(watch);
    self->events->closed(self->argument);
}

/*  What is asked for first is EPOLLIN, so it is watched before it is asked for: RC says whether it
    is.  */
static int begin(struct ckv_stream *self, int rc)
{
    if (rc != CKV_OK)
        return rc;
    self->is_open = true;
    ckv_watch_ask(&self->watch, 0);
    return CKV_OK;
}

int ckv_stream_open(struct ckv_stream *self, struct ckv_poller *poller,
                    struct ckv_stream_room *room, int fd, bool connecting,
                    const struct ckv_stream_events *events, void *argument, size_t frame_max)
{
    *self = (struct ckv_stream){ .room = room,
                                 .events = events,
                                 .argument = argument,
                                 .frame_max = frame_max,
                                 .connecting = connecting };
    return begin(self, ckv_watch_open(&self->watch, poller, fd, EPOLLIN, &kind));
}

int ckv_stream_take(struct ckv_stream *self, struct ckv_watch *from, struct ckv_stream_room *room,
                    const struct ckv_stream_events *events, void *argument, size_t frame_max)
{
    *self = (struct ckv_stream){
        .room = room, .events = events, .argument = argument, .frame_max = frame_max
    };
    return begin(self, ckv_watch_take(&self->watch, from, EPOLLIN, &kind));
}

static void drop_out(struct ckv_stream *self)
{
    free(self->out);
    self->out = NULL;
    self->out_at = self->out_size = 0;
}

static void drop_in(struct ckv_stream *self)
{
    free(self->in);
    self->in = NULL;
    self->in_size = self->in_capacity = 0;
}

void ckv_stream_close(struct ckv_stream *self)
{
    if (!self->is_open)
        return;
    self->is_open = false;
    if (self->room->batching == self) {
        self->room->batching = NULL;
        self->room->batch_size = 0;
    }
    if (self->pair)
        self->pair->pair = NULL;
    self->pair = NULL;
    drop_in(self);
    drop_out(self);
    ckv_watch_close(&self->watch);
}

void ckv_stream_bound(struct ckv_stream *self, size_t frame_max)
{
    self->frame_max = frame_max;
}

void ckv_stream_expect_greeting(struct ckv_stream *self)
{
    self->awaits_greeting = true;
}

/* ---- what is asked of the loop ---- */

static void poll_for_what_is_due(struct ckv_stream *self)
{
    uint32_t events = 0;
    bool paused = self->pair && ckv_stream_is_blocked(self->pair);
    if (!self->is_open)
        return;
    if (!self->connecting && self->reading && !paused)
        events |= EPOLLIN;
    if (self->connecting || ckv_stream_is_blocked(self))
        events |= EPOLLOUT;
    ckv_watch_ask(&self->watch, events);
}

/*  What one of a pair does may be what the other waits for.  */
static void poll_pair(struct ckv_stream *self)
{
    poll_for_what_is_due(self);
    if (self->pair)
        poll_for_what_is_due(self->pair);
}

void ckv_stream_pair(struct ckv_stream *a, struct ckv_stream *b)
{
    a->pair = b;
    b->pair = a;
    poll_pair(a);
}

void ckv_stream_read(struct ckv_stream *self, bool on)
{
    self->reading = on;
    poll_for_what_is_due(self);
}

/* ---- writing ---- */

/*  How many octets the socket took. A deaf one takes all.  */
static size_t write_some(struct ckv_stream *self, const uint8_t *octets, size_t size)
{
    size_t written = 0;
    while (!self->deaf && written < size) {
        ssize_t n = send(self->watch.fd, octets + written, size - written, MSG_NOSIGNAL);
        if (n >= 0)
            written += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return written;
        else
            self->deaf = errno != EINTR;
    }
    return size;
}

/*  Octets are lost, so nothing may follow them: the stream ends, by what its socket says.  */
static int give_up(struct ckv_stream *self)
{
    self->deaf = true;
    (void)shutdown(self->watch.fd, SHUT_RDWR);
    return CKV_ERROR_MEMORY;
}

/*  Keeps what the socket did not take, behind what it did not take before.  */
static int keep(struct ckv_stream *self, const uint8_t *octets, size_t size)
{
    if (size == 0)
        return CKV_OK;
    uint8_t *out = self->out_at == 0 ? realloc(self->out, self->out_size + size)
                                     : malloc(self->out_size + size);
    if (!out)
        return give_up(self);
    if (self->out_at) {
        memcpy(out, self->out + self->out_at, self->out_size);
        free(self->out);
        self->out_at = 0;
    }
    memcpy(out + self->out_size, octets, size);
    self->out = out;
    self->out_size += size;
    poll_pair(self);
    return CKV_OK;
}

static int write_or_keep(struct ckv_stream *self, const uint8_t *octets, size_t size)
{
    size_t written = 0;
    if (!self->connecting && !ckv_stream_is_blocked(self))
        written = write_some(self, octets, size);
    return keep(self, octets + written, size - written);
}

int ckv_stream_flush(struct ckv_stream *self)
{
    struct ckv_stream_room *room = self->room;
    size_t size = room->batch_size;
    if (room->batching != self)
        return CKV_OK;
    room->batching = NULL;
    room->batch_size = 0;
    return write_or_keep(self, room->batch, size);
}

int ckv_stream_put(struct ckv_stream *self, const void *octets, size_t size)
{
    struct ckv_stream_room *room = self->room;
    int rc = CKV_OK;
    if (!self->is_open || self->finishing)
        return CKV_ERROR_NOT_REACHABLE;
    if (room->batching && (room->batching != self || size >= WRITE_ALONE ||
                           size > sizeof(room->batch) - room->batch_size))
        rc = ckv_stream_flush(room->batching);
    if (rc != CKV_OK)
        return rc;
    if (size >= WRITE_ALONE)
        return write_or_keep(self, octets, size);
    memcpy(room->batch + room->batch_size, octets, size);
    room->batch_size += size;
    room->batching = self;
    return CKV_OK;
}

/*  The socket takes octets again.  */
static void write_kept(struct ckv_stream *self)
{
    size_t written = write_some(self, self->out + self->out_at, self->out_size);
    self->out_at += written;
    self->out_size -= written;
    if (self->out_size == 0)
        drop_out(self);
}

/* ---- reading ---- */

/*  How many octets the greeting or frame at IN has, as far as its first SIZE octets tell: SIZE or less
    when it is whole, else more. Or an error.  */
static int unit_size(const struct ckv_stream *self, const uint8_t *in, size_t size, size_t *total)
{
    struct ckv_octets input = ckv_octets(in, size);
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_frame frame;
    if (self->awaits_greeting) {
        *total = CKV_ZMTP_GREETING_SIZE;
        int rc = ckv_zmtp_greeting_next(&input, &greeting);
        return rc < 0 ? rc : CKV_OK;
    }
    int rc = ckv_zmtp_frame_next(&input, self->frame_max, &frame);
    if (rc < 0)
        return rc;
    *total = frame.header_size                         ? frame.header_size + frame.size
             : size > 0 && (in[0] & LONG_BIT_OF_FLAGS) ? (size_t)CKV_ZMTP_HEADER_MAX
                                                       : 2;
    return CKV_OK;
}

/*  Hands out the whole greeting or frame of SIZE octets at IN.  */
static int deliver(struct ckv_stream *self, uint8_t *in, size_t size)
{
    struct ckv_octets input = ckv_octets(in, size);
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_frame frame;
    if (self->awaits_greeting) {
        self->awaits_greeting = false;
        int rc = ckv_zmtp_greeting_next(&input, &greeting);
        return rc == 1 ? self->events->greeted(self->argument, &greeting) : rc;
    }
    int rc = ckv_zmtp_frame_next(&input, self->frame_max, &frame);
    if (rc < 0)
        return rc;
    return self->events->frame(self->argument, frame.flags, in + frame.header_size, frame.size);
}

/*  Makes room for CAPACITY octets of a unit that is not whole.  */
static int reserve_in(struct ckv_stream *self, size_t capacity)
{
    uint8_t *in = realloc(self->in, CKV_STREAM_HEADROOM + capacity);
    if (!in)
        return CKV_ERROR_MEMORY;
    self->in = in;
    self->in_capacity = capacity;
    return CKV_OK;
}

/*  Sets aside what has come of a unit of TOTAL octets. The buffer doubles as it fills: a peer must
    have sent half of the memory that it takes.  */
static int set_aside(struct ckv_stream *self, const uint8_t *octets, size_t size, size_t total)
{
    size_t needed = self->in_size + size, capacity = self->in_capacity;
    if (needed > capacity || !self->in) {
        capacity = needed > IN_FIRST / 2 ? 2 * needed : IN_FIRST;
        int rc = reserve_in(self, capacity < total ? capacity : total);
        if (rc != CKV_OK)
            return rc;
    }
    memcpy(self->in + CKV_STREAM_HEADROOM + self->in_size, octets, size);
    self->in_size += size;
    return CKV_OK;
}

/*  Hands out the unit that was set aside and is whole now.  */
static int deliver_in(struct ckv_stream *self)
{
    uint8_t *in = self->in;
    size_t size = self->in_size;
    self->in = NULL;
    self->in_size = self->in_capacity = 0;
    int rc = deliver(self, in + CKV_STREAM_HEADROOM, size);
    free(in);
    return rc;
}

/*  Completes the unit that was set aside with octets off the front of *OCTETS, and hands it out.  */
static int complete_in(struct ckv_stream *self, uint8_t **octets, size_t *size)
{
    while (self->in) {
        size_t total;
        int rc = unit_size(self, self->in + CKV_STREAM_HEADROOM, self->in_size, &total);
        if (rc == CKV_OK && total <= self->in_size)
            return deliver_in(self);
        if (rc != CKV_OK || *size == 0)
            return rc;
        size_t n = total - self->in_size < *size ? total - self->in_size : *size;
        rc = set_aside(self, *octets, n, total);
        if (rc != CKV_OK)
            return rc;
        *octets += n;
        *size -= n;
    }
    return CKV_OK;
}

/*  Takes SIZE octets that have come, behind those that were set aside.  */
static int take(struct ckv_stream *self, uint8_t *octets, size_t size)
{
    int rc = complete_in(self, &octets, &size);
    while (rc == CKV_OK && size > 0) {
        size_t total;
        rc = unit_size(self, octets, size, &total);
        if (rc != CKV_OK)
            return rc;
        if (total > size)
            return set_aside(self, octets, size, total);
        rc = deliver(self, octets, total);
        octets += total;
        size -= total;
    }
    return rc;
}

/*  Reads once: into the rest of the room for a unit that was set aside, then into the loop's buffer.
    Returns CKV_OK, or 1 when the peer has closed, or an error.  */
static int read_once(struct ckv_stream *self)
{
    uint8_t *octets = self->room->read + CKV_STREAM_HEADROOM;
    size_t missing = self->in ? self->in_capacity - self->in_size : 0;
    struct iovec parts[2] = {
        { missing ? self->in + CKV_STREAM_HEADROOM + self->in_size : NULL, missing },
        { octets, CKV_STREAM_READ_SIZE },
    };
    ssize_t n = missing ? readv(self->watch.fd, parts, 2)
                        : recv(self->watch.fd, octets, parts[1].iov_len, 0);
    if (n == 0)
        return 1;
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? CKV_OK
                                                                         : CKV_ERROR_NOT_REACHABLE;
    size_t size = (size_t)n, set_aside_now = size < missing ? size : missing;
    if (self->finishing)
        return CKV_OK;
    self->in_size += set_aside_now;
    return take(self, octets, size - set_aside_now);
}

/* ---- what the loop says ---- */

static int check_connected(struct ckv_stream *self)
{
    int failed = 0;
    socklen_t size = sizeof(failed);
    self->connecting = false;
    if (getsockopt(self->watch.fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed != 0)
        return CKV_ERROR_NOT_REACHABLE;
    return CKV_OK;
}

static int on_writable(struct ckv_stream *self)
{
    int rc = self->connecting ? check_connected(self) : CKV_OK;
    if (rc != CKV_OK)
        return rc;
    if (ckv_stream_is_blocked(self))
        write_kept(self);
    if (ckv_stream_is_blocked(self))
        return CKV_OK;
    if (self->finishing)
        (void)shutdown(self->watch.fd, SHUT_WR);
    else
        self->events->drained(self->argument);
    return CKV_OK;
}

static int on_readable(struct ckv_stream *self)
{
    struct ckv_stream_room *room = self->room;
    if (self->events->wanted && !self->finishing && !self->events->wanted(self->argument))
        return CKV_OK;
    int rc = read_once(self);
    if (room->batching) {
        int flushed = ckv_stream_flush(room->batching);
        rc = rc == CKV_OK ? flushed : rc;
    }
    return rc;
}

static void on_happened(struct ckv_watch *watch, uint32_t events)
{
    struct ckv_stream *self = stream_of(watch);
    int rc = CKV_OK;
    if (events & EPOLLOUT)
        rc = on_writable(self);
    if (rc == CKV_OK && self->is_open && (events & EPOLLIN) && !self->connecting)
        rc = on_readable(self);
    if (!self->is_open)
        return;
    if (rc != CKV_OK)
        self->events->ended(self->argument, rc == 1 ? CKV_OK : rc);
    else
        poll_pair(self);
}

void ckv_stream_finish(struct ckv_stream *self)
{
    if (!self->is_open || self->finishing)
        return;
    (void)ckv_stream_flush(self);
    if (self->pair)
        self->pair->pair = NULL;
    self->pair = NULL;
    self->finishing = true;
    drop_in(self);
    if (!ckv_stream_is_blocked(self))
        (void)shutdown(self->watch.fd, SHUT_WR);
    ckv_stream_read(self, true);
}
