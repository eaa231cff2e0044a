#include "core/curve_parts.h"
#include "core/zmtp.h"

#include <sodium.h>

_Static_assert(CKV_CURVE_WELCOME_SIZE == 168, "RFC 26");
_Static_assert(CKV_CURVE_INITIATE_OVERHEAD == 257, "RFC 26");
_Static_assert(CKV_CURVE_READY_OVERHEAD == 30, "RFC 26");
_Static_assert(CKV_CURVE_ERROR_OVERHEAD == 7, "RFC 26");
_Static_assert(sizeof(struct ckv_curve_server) == 104, "as the header says");

/*  What is sealed in a cookie.  */
struct cookie_text {
    uint8_t client_key[32];       /* C' */
    uint8_t transient_secret[32]; /* s' */
};

/*  What is sealed in a vouch.  */
struct vouch_text {
    uint8_t client_key[32]; /* C' */
    uint8_t server_key[32]; /* S */
};

void ckv_curve_server_wipe(struct ckv_curve_server *self)
{
    ckv_curve_kill(&self->session);
    sodium_memzero(self->server_key, sizeof(self->server_key));
    sodium_memzero(self->cookie_nonce, sizeof(self->cookie_nonce));
}

/*  What a step of the handshake returns. A step that failed has no next one.  */
static int end_step(struct ckv_curve_server *self, int rc)
{
    if (rc != CKV_OK && rc != CKV_ERROR_ARGUMENT)
        ckv_curve_server_wipe(self);
    return rc;
}

/* ---- HELLO and WELCOME ---- */

static int open_hello(const struct ckv_hello *hello, const uint8_t key[CKV_CURVE_KEY_SIZE])
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE], text[CKV_HELLO_BOX_SIZE - CKV_CURVE_MAC_SIZE];
    ckv_curve_short_nonce(nonce, "CurveZMQHELLO---", hello->octets->nonce);
    if (crypto_box_open_easy_afternm(text, hello->octets->box, CKV_HELLO_BOX_SIZE, nonce, key) != 0)
        return CKV_ERROR_CURVE_BOX;
    return sodium_is_zero(text, sizeof(text)) ? CKV_OK : CKV_ERROR_CURVE;
}

static void seal_cookie(const struct ckv_hello *hello, const struct ckv_curve_server_random *random,
                        const uint8_t *cookie_key, struct ckv_curve_cookie *cookie)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    struct cookie_text text;
    memcpy(text.client_key, hello->client_key, sizeof(text.client_key));
    memcpy(text.transient_secret, random->transient_secret, sizeof(text.transient_secret));
    memcpy(cookie->nonce, random->cookie_nonce, sizeof(cookie->nonce));
    ckv_curve_long_nonce(nonce, "COOKIE--", cookie->nonce);
    crypto_secretbox_easy(cookie->box, (const uint8_t *)&text, sizeof(text), nonce, cookie_key);
    sodium_memzero(&text, sizeof(text));
}

static void seal_welcome(struct ckv_curve_welcome *welcome, const uint8_t *long_nonce,
                         const uint8_t key[CKV_CURVE_KEY_SIZE])
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    memcpy(welcome->command, "\7WELCOME", sizeof(welcome->command));
    memcpy(welcome->nonce, long_nonce, sizeof(welcome->nonce));
    ckv_curve_long_nonce(nonce, "WELCOME-", welcome->nonce);
    crypto_box_detached_afternm(welcome->server_key, welcome->mac, welcome->server_key,
                                sizeof(welcome->server_key) + sizeof(welcome->cookie), nonce, key);
}

int ckv_curve_server_welcome(struct ckv_curve_server *self, const struct ckv_hello *hello,
                             const uint8_t server_public_key[32],
                             const uint8_t server_secret_key[32],
                             struct ckv_curve_server_random *random,
                             const uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE],
                             struct ckv_curve_welcome *welcome)
{
    uint8_t key[CKV_CURVE_KEY_SIZE];
    int rc = self->session.step == CKV_CURVE_NEW ? CKV_OK : CKV_ERROR_CURVE;
    if (rc == CKV_OK)
        rc = ckv_curve_agree(&self->session, key, hello->client_key, server_secret_key);
    if (rc == CKV_OK)
        rc = open_hello(hello, key);
    if (rc == CKV_OK) {
        ckv_curve_public(&self->session, welcome->server_key, random->transient_secret);
        seal_cookie(hello, random, cookie_key, &welcome->cookie);
        memcpy(self->cookie_nonce, random->cookie_nonce, sizeof(self->cookie_nonce));
        memcpy(self->server_key, server_public_key, sizeof(self->server_key));
        seal_welcome(welcome, random->welcome_nonce, key);
        self->session.peer_nonce = hello->nonce;
        self->session.as_server = true;
        self->session.step = CKV_CURVE_GREETED;
    }
    sodium_memzero(key, sizeof(key));
    sodium_memzero(random, sizeof(*random));
    return end_step(self, rc);
}

/* ---- INITIATE ---- */

/*  The nonce first: a cookie of another connection, under the same key, would open.  */
static int open_cookie(const struct ckv_curve_server *self, const struct ckv_curve_cookie *cookie,
                       const uint8_t *cookie_key, struct cookie_text *text)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    ckv_curve_long_nonce(nonce, "COOKIE--", cookie->nonce);
    if (sodium_memcmp(cookie->nonce, self->cookie_nonce, sizeof(cookie->nonce)) != 0 ||
        crypto_secretbox_open_easy((uint8_t *)text, cookie->box, sizeof(cookie->box), nonce,
                                   cookie_key) != 0)
        return CKV_ERROR_CURVE_BOX;
    return CKV_OK;
}

/*  Opens the box between C' and s' in place, and keeps its key: messages are sealed with it, too.  */
static int open_initiate(struct ckv_curve_server *self, struct ckv_curve_initiate *initiate,
                         size_t size, const struct cookie_text *cookie)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    uint64_t number = ckv_get64(initiate->nonce);
    if (number <= self->session.peer_nonce)
        return CKV_ERROR_CURVE_NONCE;
    int rc = ckv_curve_agree(&self->session, self->session.key, cookie->client_key,
                             cookie->transient_secret);
    if (rc != CKV_OK)
        return rc;
    ckv_curve_short_nonce(nonce, "CurveZMQINITIATE", initiate->nonce);
    if (crypto_box_open_detached_afternm(initiate->client_key, initiate->client_key, initiate->mac,
                                         size - offsetof(struct ckv_curve_initiate, client_key),
                                         nonce, self->session.key) != 0)
        return CKV_ERROR_CURVE_BOX;
    self->session.peer_nonce = number;
    return CKV_OK;
}

/*  Whoever has c vouches for C', and means S: without S in it, a server that this client also talks
    to could pass the vouch on as its own.  */
static int check_vouch(struct ckv_curve_server *self, const struct ckv_curve_initiate *initiate,
                       const struct cookie_text *cookie)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE], key[CKV_CURVE_KEY_SIZE];
    struct vouch_text text;
    if (initiate->client_key[31] & 0x80)
        return CKV_ERROR_WEAK_KEY;
    int rc = ckv_curve_agree(&self->session, key, initiate->client_key, cookie->transient_secret);
    if (rc != CKV_OK)
        return rc;
    ckv_curve_long_nonce(nonce, "VOUCH---", initiate->vouch_nonce);
    if (crypto_box_open_easy_afternm((uint8_t *)&text, initiate->vouch_box,
                                     sizeof(initiate->vouch_box), nonce, key) != 0 ||
        sodium_memcmp(text.client_key, cookie->client_key, sizeof(text.client_key)) != 0 ||
        sodium_memcmp(text.server_key, self->server_key, sizeof(text.server_key)) != 0)
        rc = CKV_ERROR_CURVE_BOX;
    sodium_memzero(key, sizeof(key));
    return rc;
}

int ckv_curve_server_initiate(struct ckv_curve_server *self, uint8_t *command, size_t size,
                              const uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE],
                              const uint8_t **client_key, struct ckv_octets *metadata)
{
    struct ckv_curve_initiate *initiate = (struct ckv_curve_initiate *)command;
    struct cookie_text cookie;
    if (self->session.step != CKV_CURVE_GREETED ||
        !ckv_curve_is_command(command, size, "\10INITIATE", CKV_CURVE_INITIATE_OVERHEAD,
                              CKV_CURVE_INITIATE_MAX))
        return end_step(self, CKV_ERROR_CURVE);

    int rc = open_cookie(self, &initiate->cookie, cookie_key, &cookie);
    if (rc == CKV_OK)
        rc = open_initiate(self, initiate, size, &cookie);
    if (rc == CKV_OK)
        rc = check_vouch(self, initiate, &cookie);
    sodium_memzero(&cookie, sizeof(cookie));
    *client_key = initiate->client_key;
    *metadata = ckv_octets(initiate->metadata, size - CKV_CURVE_INITIATE_OVERHEAD);
    if (rc == CKV_OK)
        rc = ckv_curve_check_metadata(*metadata);
    if (rc == CKV_OK)
        self->session.step = CKV_CURVE_INITIATED;
    return end_step(self, rc);
}

/* ---- READY or ERROR ---- */

int ckv_curve_server_ready(struct ckv_curve_server *self, struct ckv_octets metadata,
                           uint8_t *ready)
{
    struct ckv_curve_ready *octets = (struct ckv_curve_ready *)ready;
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    if (self->session.step != CKV_CURVE_INITIATED)
        return end_step(self, CKV_ERROR_CURVE);
    if (ckv_curve_check_metadata(metadata) != CKV_OK)
        return CKV_ERROR_ARGUMENT;
    int rc = ckv_curve_next_number(&self->session, octets->nonce);
    if (rc != CKV_OK)
        return end_step(self, rc);
    memcpy(octets->command, "\5READY", sizeof(octets->command));
    ckv_curve_short_nonce(nonce, "CurveZMQREADY---", octets->nonce);
    crypto_box_detached_afternm(octets->metadata, octets->mac, metadata.data, metadata.size, nonce,
                                self->session.key);
    self->session.step = CKV_CURVE_CONNECTED;
    return CKV_OK;
}

int ckv_curve_server_error(struct ckv_curve_server *self, const char *reason, uint8_t *error)
{
    size_t size = strlen(reason);
    struct ckv_octets read;
    if (self->session.step >= CKV_CURVE_CONNECTED)
        return end_step(self, CKV_ERROR_CURVE);
    if (size > CKV_CURVE_REASON_MAX)
        return CKV_ERROR_ARGUMENT;
    struct ckv_curve_error *octets = (struct ckv_curve_error *)error;
    memcpy(octets->command, "\5ERROR", sizeof(octets->command));
    octets->reason_size = (uint8_t)size;
    memcpy(octets->reason, reason, size);
    if (ckv_curve_error_parse(error, CKV_CURVE_ERROR_OVERHEAD + size, &read) != CKV_OK)
        return CKV_ERROR_ARGUMENT;
    ckv_curve_server_wipe(self);
    return CKV_OK;
}
