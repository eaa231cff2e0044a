/*  fake_server: a CURVE server in a thread, that follows a script and may go astray at any step of it.

    The thread does not assert: a script that cannot go on returns, and the connection is closed. What
    the client makes of that is what a test looks at.
*/
#ifndef CKV_TESTS_FAKE_SERVER_H
#define CKV_TESTS_FAKE_SERVER_H

#include "core/curve.h"
#include "core/properties.h"
#include "core/zmtp.h"
#include "tests/unit/curve_keys.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FAKE_BOUND = 65536 };

struct fake;
typedef void fake_script(struct fake *self);

struct fake {
    fake_script *script;
    int argument;     /* the script's own */
    const char *type; /* Socket-Type of READY */
    uint8_t minor;    /* of the greeting */
    int port, listener, fd;
    pthread_t thread;
    struct ckv_curve_server curve;
    struct ckv_hello hello; /* that came; views into hello_octets */
    struct ckv_hello_octets hello_octets;
    uint8_t in[FAKE_BOUND]; /* the body of the frame that came last */
    size_t in_size;
};

/* ---- octets ---- */

static inline bool fake_send(struct fake *self, const void *octets, size_t size)
{
    return send(self->fd, octets, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static inline bool fake_read(struct fake *self, void *octets, size_t size)
{
    return recv(self->fd, octets, size, MSG_WAITALL) == (ssize_t)size;
}

static inline bool fake_send_frame(struct fake *self, uint8_t flags, const void *body, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, flags, size);
    return fake_send(self, header, header_size) && fake_send(self, body, size);
}

static inline bool fake_read_frame(struct fake *self)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    if (!fake_read(self, header, 2))
        return false;
    self->in_size = header[1];
    if (header[0] & 2) {
        if (!fake_read(self, header + 2, 7))
            return false;
        self->in_size = (size_t)ckv_get64(header + 1);
    }
    return self->in_size <= FAKE_BOUND && fake_read(self, self->in, self->in_size);
}

/*  Until the client has gone.  */
static inline void fake_await_end(struct fake *self)
{
    char octet;
    while (recv(self->fd, &octet, 1, 0) > 0)
        ;
}

/* ---- steps ---- */

static inline bool fake_greet(struct fake *self)
{
    struct ckv_zmtp_greeting_octets greeting;
    ckv_zmtp_greeting_write(&greeting, "CURVE", true);
    greeting.minor = self->minor;
    return fake_send(self, &greeting, sizeof(greeting)) &&
           fake_read(self, &greeting, sizeof(greeting));
}

/*  Reads HELLO and makes the WELCOME that answers it.  */
static inline bool fake_take_hello(struct fake *self, struct ckv_curve_welcome *welcome)
{
    struct fixed_pair own = fixed_pair(FIRST_OF_SERVER), cookie_key = fixed_pair(FIRST_OF_COOKIE);
    struct ckv_curve_server_random random = fixed_random();
    if (!fake_read_frame(self) || self->in_size != CKV_HELLO_SIZE)
        return false;
    memcpy(&self->hello_octets, self->in, CKV_HELLO_SIZE);
    return ckv_hello_parse(&self->hello, &self->hello_octets, CKV_HELLO_SIZE) == CKV_OK &&
           ckv_curve_server_welcome(&self->curve, &self->hello, own.public_key, own.secret_key,
                                    &random, cookie_key.secret_key, welcome) == CKV_OK;
}

/*  Reads INITIATE and makes the READY that answers it, of *SIZE octets.  */
static inline bool fake_take_initiate(struct fake *self, uint8_t *ready, size_t *size)
{
    struct fixed_pair cookie_key = fixed_pair(FIRST_OF_COOKIE);
    const uint8_t *client_key;
    struct ckv_octets metadata;
    uint8_t properties[64];
    size_t properties_size = 0;
    if (!fake_read_frame(self) ||
        ckv_curve_server_initiate(&self->curve, self->in, self->in_size, cookie_key.secret_key,
                                  &client_key, &metadata) != CKV_OK)
        return false;
    if (self->type)
        ckv_properties_put(properties, sizeof(properties), &properties_size,
                           ckv_octets_text("Socket-Type"), ckv_octets_text(self->type));
    *size = CKV_CURVE_READY_OVERHEAD + properties_size;
    return ckv_curve_server_ready(&self->curve, ckv_octets(properties, properties_size), ready) ==
           CKV_OK;
}

/*  All of it, as it should be.  */
static inline bool fake_shake_hands(struct fake *self)
{
    struct ckv_curve_welcome welcome;
    uint8_t ready[CKV_CURVE_READY_OVERHEAD + 64];
    size_t size;
    return fake_greet(self) && fake_take_hello(self, &welcome) &&
           fake_send_frame(self, CKV_ZMTP_COMMAND, &welcome, sizeof(welcome)) &&
           fake_take_initiate(self, ready, &size) &&
           fake_send_frame(self, CKV_ZMTP_COMMAND, ready, size);
}

/*  A frame with a MESSAGE; TEXT may hold zeros.  */
static inline bool fake_send_message(struct fake *self, uint8_t flags, const char *text,
                                     size_t size)
{
    uint8_t *message = malloc(CKV_CURVE_MESSAGE_OVERHEAD + size);
    if (!message)
        return false;
    memcpy(message + CKV_CURVE_MESSAGE_OVERHEAD, text, size);
    bool sent = ckv_curve_message_seal(&self->curve.session, flags, message, size) == CKV_OK &&
                fake_send_frame(self, 0, message, CKV_CURVE_MESSAGE_OVERHEAD + size);
    free(message);
    return sent;
}

/*  Whether the next MESSAGE has these FLAGS and these octets in it.  */
static inline bool fake_expect(struct fake *self, uint8_t flags, const char *text, size_t size)
{
    uint8_t got;
    struct ckv_octets body;
    return fake_read_frame(self) &&
           ckv_curve_message_open(&self->curve.session, self->in, self->in_size, &got, &body) ==
               CKV_OK &&
           got == flags && ckv_octets_equal(body, ckv_octets(text, size));
}

/* ---- its life ---- */

/*  Takes connections one after the other until the listener is shut down.  */
static inline void *fake_run(void *argument)
{
    struct fake *self = argument;
    while ((self->fd = accept(self->listener, NULL, NULL)) >= 0) {
        self->curve = (struct ckv_curve_server){ .session = { .step = 0 } };
        self->script(self);
        close(self->fd);
    }
    return NULL;
}

static inline void fake_start(struct fake *self, fake_script *script, const char *type)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    *self = (struct fake){ .script = script, .type = type, .minor = 1 };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(self->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(self->listener, 8), 0);
    assert_int_equal(getsockname(self->listener, (struct sockaddr *)&address, &size), 0);
    self->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&self->thread, NULL, fake_run, self), 0);
}

/*  After the client has gone.  */
static inline void fake_stop(struct fake *self)
{
    shutdown(self->listener, SHUT_RDWR);
    pthread_join(self->thread, NULL);
    close(self->listener);
}

#endif
