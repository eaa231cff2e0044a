/*  curve_handshake: both sides of a CURVE connection in memory, step by step, with fixed keys.  */
#ifndef CKV_TESTS_CURVE_HANDSHAKE_H
#define CKV_TESTS_CURVE_HANDSHAKE_H

#include "core/zmtp.h"
#include "tests/unit/curve_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define METADATA "\13Socket-Type\0\0\0\6DEALER"

enum {
    METADATA_SIZE = sizeof(METADATA) - 1,
    INITIATE_SIZE = CKV_CURVE_INITIATE_OVERHEAD + METADATA_SIZE,
    READY_SIZE = CKV_CURVE_READY_OVERHEAD + METADATA_SIZE,
};

/*  What went over the wire stands here as it went: what is opened in place is a copy.  */
struct handshake {
    struct fixed_pair client_keys, server_keys;
    uint8_t cookie_key[32], hello_key[32];
    struct ckv_curve_identity identity;
    struct ckv_curve_server_random random;
    struct ckv_curve_client client;
    struct ckv_curve_server server;
    struct ckv_hello_octets hello;
    struct ckv_curve_welcome welcome;
    uint8_t initiate[INITIATE_SIZE];
    uint8_t ready[READY_SIZE];
};

/*  A copy in memory of just its size, so that AddressSanitizer sees a read beyond it.  */
static inline uint8_t *copy_of(const void *octets, size_t size)
{
    uint8_t *copy = malloc(size + !size);
    assert_non_null(copy);
    if (size)
        memcpy(copy, octets, size);
    return copy;
}

static inline struct ckv_octets metadata_octets(void)
{
    return ckv_octets(METADATA, METADATA_SIZE);
}

static inline void begin(struct handshake *self)
{
    memset(self, 0, sizeof(*self));
    self->client_keys = fixed_pair(FIRST_OF_CLIENT);
    self->server_keys = fixed_pair(FIRST_OF_SERVER);
    fill(self->cookie_key, sizeof(self->cookie_key), FIRST_OF_COOKIE);
    fill(self->hello_key, sizeof(self->hello_key), FIRST_OF_HELLO);
    self->identity = identity_of(&self->client_keys, &self->server_keys, NULL);
    self->random = fixed_random();
}

static inline int start(struct handshake *self)
{
    uint8_t transient_secret[32];
    fill(transient_secret, sizeof(transient_secret), FIRST_OF_TRANSIENT);
    int rc = ckv_curve_client_start(&self->client, &self->identity, FIXED_CLOCK, transient_secret,
                                    &self->hello);
    assert_true(sodium_is_zero(transient_secret, sizeof(transient_secret)));
    return rc;
}

/*  The server is given OCTETS as a HELLO.  */
static inline int welcome_hello(struct handshake *self, const struct ckv_hello_octets *octets)
{
    struct ckv_hello hello;
    int rc = ckv_hello_parse(&hello, octets, sizeof(*octets));
    if (rc != CKV_OK)
        return rc;
    rc = ckv_curve_server_welcome(&self->server, &hello, self->server_keys.public_key,
                                  self->server_keys.secret_key, &self->random, self->cookie_key,
                                  &self->welcome);
    assert_true(sodium_is_zero((uint8_t *)&self->random, sizeof(self->random)));
    return rc;
}

/*  The client is given SIZE octets as a WELCOME.  */
static inline int answer_welcome(struct handshake *self, const void *octets, size_t size)
{
    uint8_t vouch_nonce[16], *copy = copy_of(octets, size);
    fill(vouch_nonce, sizeof(vouch_nonce), FIRST_OF_VOUCH);
    int rc = ckv_curve_client_initiate(&self->client, &self->identity, copy, size,
                                       metadata_octets(), vouch_nonce, self->initiate);
    free(copy);
    return rc;
}

/*  The server is given SIZE octets as an INITIATE.  */
static inline int open_initiate(struct handshake *self, const void *octets, size_t size)
{
    const uint8_t *client_key;
    struct ckv_octets metadata;
    uint8_t *copy = copy_of(octets, size);
    int rc = ckv_curve_server_initiate(&self->server, copy, size, self->cookie_key, &client_key,
                                       &metadata);
    if (rc == CKV_OK) {
        assert_memory_equal(client_key, self->client_keys.public_key, 32);
        assert_true(ckv_octets_equal(metadata, metadata_octets()));
    }
    free(copy);
    return rc;
}

/*  The client is given SIZE octets as a READY.  */
static inline int open_ready(struct handshake *self, const void *octets, size_t size)
{
    struct ckv_octets metadata;
    uint8_t *copy = copy_of(octets, size);
    int rc = ckv_curve_client_ready(&self->client, copy, size, &metadata);
    if (rc == CKV_OK)
        assert_true(ckv_octets_equal(metadata, metadata_octets()));
    free(copy);
    return rc;
}

/* ---- good handshakes, up to the command that is due next ---- */

static inline void upto_hello(struct handshake *self)
{
    begin(self);
    assert_int_equal(start(self), CKV_OK);
}

static inline void upto_welcome(struct handshake *self)
{
    upto_hello(self);
    assert_int_equal(welcome_hello(self, &self->hello), CKV_OK);
}

static inline void upto_initiate(struct handshake *self)
{
    upto_welcome(self);
    assert_int_equal(answer_welcome(self, &self->welcome, sizeof(self->welcome)), CKV_OK);
}

static inline void upto_ready(struct handshake *self)
{
    upto_initiate(self);
    assert_int_equal(open_initiate(self, self->initiate, INITIATE_SIZE), CKV_OK);
    assert_int_equal(ckv_curve_server_ready(&self->server, metadata_octets(), self->ready), CKV_OK);
}

static inline void upto_messages(struct handshake *self)
{
    upto_ready(self);
    assert_int_equal(open_ready(self, self->ready, READY_SIZE), CKV_OK);
}

#endif
