#include "node/library/wire.h"
#include "kv/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 65536,
    KEEP_SIZE = 1 << 20, /* a buffer larger than this is given back when it is empty */
};

void ckv_wire_init(struct ckv_wire *self, int fd)
{
    *self = (struct ckv_wire){ .fd = fd };
}

void ckv_wire_close(struct ckv_wire *self)
{
    if (self->fd >= 0)
        close(self->fd);
    ckv_buffer_clear(&self->in);
    ckv_buffer_clear(&self->out);
    ckv_wire_init(self, -1);
}

/* ---- waiting ---- */

uint64_t ckv_wire_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : ckv_clock_monotonic() + (uint64_t)timeout_ms;
}

static int remaining_ms(uint64_t deadline)
{
    uint64_t now = ckv_clock_monotonic();
    if (deadline == UINT64_MAX)
        return -1;
    if (deadline <= now)
        return 0;
    return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

bool ckv_wire_late(uint64_t deadline)
{
    return deadline != UINT64_MAX && ckv_clock_monotonic() >= deadline;
}

int ckv_wire_poll(int fd, short events, uint64_t deadline)
{
    struct pollfd polled = { .fd = fd, .events = events };
    int count;
    do
        count = poll(&polled, 1, remaining_ms(deadline));
    while ((count < 0 && errno == EINTR) || (count == 0 && remaining_ms(deadline) != 0));
    if (count < 0)
        return CKV_ERROR_MEMORY; /* nothing else is left that poll can say of one good fd */
    return count > 0 ? CKV_OK : CKV_ERROR_TIMEOUT;
}

/* ---- octets ---- */

bool ckv_wire_pending(const struct ckv_wire *self)
{
    return self->sent < self->out.size;
}

/*  An empty buffer begins at its begin again.  */
static void reset(struct ckv_buffer *buffer)
{
    if (buffer->capacity > KEEP_SIZE)
        ckv_buffer_clear(buffer);
    buffer->size = 0;
}

void ckv_wire_write(struct ckv_wire *self)
{
    while (ckv_wire_pending(self) && !self->deaf) {
        ssize_t n = send(self->fd, self->out.data + self->sent, self->out.size - self->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            self->sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else if (errno != EINTR)
            self->deaf = true;
    }
    reset(&self->out);
    self->sent = 0;
}

/*  Drops what the caller has had.  */
static void compact(struct ckv_wire *self)
{
    if (self->taken == 0)
        return;
    self->in.size -= self->taken;
    memmove(self->in.data, self->in.data + self->taken, self->in.size);
    self->taken = 0;
    if (self->in.size == 0)
        reset(&self->in);
}

int ckv_wire_read(struct ckv_wire *self)
{
    ssize_t n;
    compact(self);
    uint8_t *end = ckv_buffer_grow(&self->in, READ_SIZE);
    if (!end)
        return CKV_ERROR_MEMORY;
    do
        n = recv(self->fd, end, READ_SIZE, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    self->in.size -= READ_SIZE - (n > 0 ? (size_t)n : 0);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
        return CKV_OK;
    return CKV_ERROR_CLOSED;
}

int ckv_wire_turn(struct ckv_wire *self, bool reading, uint64_t deadline)
{
    short events = (short)((reading ? POLLIN : 0) | (ckv_wire_pending(self) ? POLLOUT : 0));
    int rc = ckv_wire_poll(self->fd, events, deadline);
    if (rc != CKV_OK)
        return rc;
    ckv_wire_write(self);
    return reading ? ckv_wire_read(self) : CKV_OK;
}

/* ---- what is in them ---- */

static struct ckv_octets unread(const struct ckv_wire *self)
{
    return self->in.data ? ckv_octets(self->in.data + self->taken, self->in.size - self->taken)
                         : ckv_octets(NULL, 0);
}

int ckv_wire_next(struct ckv_wire *self, size_t max, uint8_t **body, size_t *size)
{
    struct ckv_zmtp_frame frame;
    struct ckv_octets input = unread(self);
    int rc = ckv_zmtp_frame_next(&input, max, &frame);
    if (rc != 1)
        return rc;
    *body = self->in.data + self->taken + frame.header_size;
    *size = frame.size;
    self->taken += frame.header_size + frame.size;
    return 1;
}

int ckv_wire_await(struct ckv_wire *self, size_t max, uint8_t **body, size_t *size,
                   uint64_t deadline)
{
    int rc;
    while ((rc = ckv_wire_next(self, max, body, size)) == 0) {
        rc = ckv_wire_turn(self, true, deadline);
        if (rc != CKV_OK)
            return rc;
    }
    return rc == 1 ? CKV_OK : rc;
}

int ckv_wire_greeting(struct ckv_wire *self, struct ckv_zmtp_greeting *greeting, uint64_t deadline)
{
    struct ckv_octets input = unread(self);
    int rc;
    while ((rc = ckv_zmtp_greeting_next(&input, greeting)) == 0) {
        rc = ckv_wire_turn(self, true, deadline);
        if (rc != CKV_OK)
            return rc;
        input = unread(self);
    }
    if (rc == 1)
        self->taken += CKV_ZMTP_GREETING_SIZE;
    return rc == 1 ? CKV_OK : rc;
}
