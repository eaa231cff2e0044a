/*  live: our side of a connection with a libzmq socket over TCP, blocking, for tests.

    What comes and goes is handed to a recorder, when there is one, in the order of the wire: the
    greeting and the bodies of frames.
*/
#ifndef CKV_TESTS_LIVE_H
#define CKV_TESTS_LIVE_H

#include "core/curve.h"
#include "core/zmtp.h"
#include "tests/unit/curve_keys.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIVE_TIMEOUT_S = 5, LIVE_BOUND = 16384 };

typedef void live_recorder(void *to, bool theirs, const char *name, struct ckv_octets octets);

struct live {
    int fd;
    live_recorder *record;
    void *record_to;
    uint8_t in[2 * LIVE_BOUND];
    size_t in_size;
    size_t taken; /* octets of the frame that was read last */
};

static inline void live_record(struct live *self, bool theirs, const char *name,
                               struct ckv_octets octets)
{
    if (self->record)
        self->record(self->record_to, theirs, name, octets);
}

static inline void live_take_fd(struct live *self, int fd)
{
    struct timeval timeout = { LIVE_TIMEOUT_S, 0 };
    assert_true(fd >= 0);
    self->fd = fd;
    self->in_size = self->taken = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

/*  A listening socket on a port that the system chooses; *PORT is that.  */
static inline int live_listen(int *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    struct timeval timeout = { LIVE_TIMEOUT_S, 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)); /* of accept, too */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void live_connect(struct live *self, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    live_take_fd(self, socket(AF_INET, SOCK_STREAM, 0));
    assert_int_equal(connect(self->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static inline void live_close(struct live *self)
{
    close(self->fd);
}

static inline void live_write(struct live *self, const void *octets, size_t size)
{
    assert_int_equal(send(self->fd, octets, size, MSG_NOSIGNAL), size);
}

/*  Reads what there is; false at the end of the connection.  */
static inline bool live_read(struct live *self)
{
    ssize_t n = recv(self->fd, self->in + self->in_size, sizeof(self->in) - self->in_size, 0);
    if (n > 0)
        self->in_size += (size_t)n;
    return n > 0;
}

static inline void live_drop(struct live *self, size_t size)
{
    self->in_size -= size;
    memmove(self->in, self->in + size, self->in_size);
}

static inline void live_greet(struct live *self, bool as_server)
{
    struct ckv_zmtp_greeting_octets ours;
    struct ckv_zmtp_greeting greeting;
    struct ckv_octets input;
    int rc = 0;
    ckv_zmtp_greeting_write(&ours, "CURVE", as_server);
    live_write(self, &ours, sizeof(ours));
    while (rc == 0) {
        assert_true(live_read(self));
        input = ckv_octets(self->in, self->in_size);
        rc = ckv_zmtp_greeting_next(&input, &greeting);
    }
    assert_int_equal(rc, 1);
    assert_string_equal(greeting.mechanism, "CURVE");
    assert_false(greeting.as_server); /* libzmq says so even when it is the server */
    assert_int_equal(greeting.minor, 1);
    live_record(self, true, "greeting", ckv_octets(self->in, CKV_ZMTP_GREETING_SIZE));
    live_drop(self, CKV_ZMTP_GREETING_SIZE);
}

/*  The next frame's body, to be changed in place, until the next call. False at the end of the
    connection.  */
static inline bool live_next(struct live *self, const char *name, uint8_t **body, size_t *size)
{
    struct ckv_zmtp_frame frame;
    int rc;
    *body = NULL;
    *size = 0;
    live_drop(self, self->taken);
    self->taken = 0;
    for (;;) {
        struct ckv_octets input = ckv_octets(self->in, self->in_size);
        rc = ckv_zmtp_frame_next(&input, LIVE_BOUND, &frame);
        assert_true(rc >= 0);
        if (rc == 1)
            break;
        if (!live_read(self))
            return false;
    }
    live_record(self, true, name, frame.body);
    self->taken = frame.header_size + frame.size;
    *body = self->in + frame.header_size;
    *size = frame.size;
    return true;
}

static inline void live_send(struct live *self, const char *name, uint8_t flags, const void *body,
                             size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    live_record(self, false, name, ckv_octets(body, size));
    live_write(self, header, ckv_zmtp_header_write(header, flags, size));
    live_write(self, body, size);
}

static inline void live_send_message(struct live *self, struct ckv_curve_session *session,
                                     const char *name, uint8_t flags, const char *text)
{
    uint8_t message[CKV_CURVE_MESSAGE_OVERHEAD + 256];
    size_t size = strlen(text);
    memcpy(message + CKV_CURVE_MESSAGE_OVERHEAD, text, size);
    assert_int_equal(ckv_curve_message_seal(session, flags, message, size), CKV_OK);
    live_send(self, name, 0, message, CKV_CURVE_MESSAGE_OVERHEAD + size);
}

/*  The next message, which is no command; its body is TEXT.  */
static inline void live_expect_message(struct live *self, struct ckv_curve_session *session,
                                       const char *name, uint8_t flags, const char *text)
{
    uint8_t *body, got;
    size_t size;
    struct ckv_octets read;
    assert_true(live_next(self, name, &body, &size));
    assert_int_equal(ckv_curve_message_open(session, body, size, &got, &read), CKV_OK);
    assert_int_equal(got, flags);
    assert_true(ckv_octets_equal(read, ckv_octets_text(text)));
}

#endif
