#include "core/curve_parts.h"

#include <sodium.h>

_Static_assert(sizeof(struct ckv_curve_client) == 120, "as the header says");

void ckv_curve_client_wipe(struct ckv_curve_client *self)
{
    ckv_curve_kill(&self->session);
    sodium_memzero(self->transient_secret, sizeof(self->transient_secret));
    sodium_memzero(self->transient_public, sizeof(self->transient_public));
}

/*  What a step of the handshake returns. A step that failed has no next one.  */
static int end_step(struct ckv_curve_client *self, int rc)
{
    if (rc != CKV_OK && rc != CKV_ERROR_ARGUMENT)
        ckv_curve_client_wipe(self);
    return rc;
}

/*  Why COMMAND is not the one that was due.  */
static int other_command(const void *command, size_t size)
{
    struct ckv_octets reason;
    return ckv_curve_error_parse(command, size, &reason) == CKV_OK ? CKV_ERROR_REFUSED
                                                                   : CKV_ERROR_CURVE;
}

/* ---- HELLO ---- */

static int write_hello(struct ckv_curve_client *self, struct ckv_hello_octets *hello)
{
    static const uint8_t text[CKV_HELLO_BOX_SIZE - CKV_CURVE_MAC_SIZE];
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    int rc = ckv_curve_next_number(&self->session, hello->nonce);
    if (rc != CKV_OK)
        return rc;
    memset(&hello->padding, 0, sizeof(hello->padding));
    memcpy(hello->command, "\5HELLO", sizeof(hello->command));
    memcpy(hello->version, "\1\0", sizeof(hello->version));
    memcpy(hello->client_key, self->transient_public, sizeof(hello->client_key));
    ckv_curve_short_nonce(nonce, "CurveZMQHELLO---", hello->nonce);
    crypto_box_easy_afternm(hello->box, text, sizeof(text), nonce, self->session.key);
    return CKV_OK;
}

int ckv_curve_client_start(struct ckv_curve_client *self, const struct ckv_curve_identity *identity,
                           uint64_t clock, uint8_t transient_secret[32],
                           struct ckv_hello_octets *hello)
{
    int rc = self->session.step == CKV_CURVE_NEW ? CKV_OK : CKV_ERROR_CURVE;
    if (rc == CKV_OK && identity->storage_key.size && !identity->hello_key)
        rc = CKV_ERROR_ARGUMENT;
    if (rc == CKV_OK) {
        memcpy(self->transient_secret, transient_secret, sizeof(self->transient_secret));
        ckv_curve_public(&self->session, self->transient_public, transient_secret);
        /*  Until the session has its own key, it holds that of HELLO and WELCOME.  */
        rc = ckv_curve_agree(&self->session, self->session.key, identity->server_public_key,
                             transient_secret);
    }
    sodium_memzero(transient_secret, sizeof(self->transient_secret));
    if (rc == CKV_OK)
        rc = write_hello(self, hello);
    if (rc == CKV_OK && identity->storage_key.size)
        rc = ckv_hello_modify(hello, identity->storage_key, clock, identity->hello_key);
    if (rc == CKV_OK)
        self->session.step = CKV_CURVE_GREETED;
    else
        ckv_curve_client_wipe(self);
    return rc;
}

/* ---- WELCOME and INITIATE ---- */

static int open_welcome(const struct ckv_curve_client *self, struct ckv_curve_welcome *welcome)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    ckv_curve_long_nonce(nonce, "WELCOME-", welcome->nonce);
    if (crypto_box_open_detached_afternm(welcome->server_key, welcome->server_key, welcome->mac,
                                         sizeof(welcome->server_key) + sizeof(welcome->cookie),
                                         nonce, self->session.key) != 0)
        return CKV_ERROR_CURVE_BOX;
    return CKV_OK;
}

/*  Box [C',S](C->S').  */
static int seal_vouch(struct ckv_curve_client *self, const struct ckv_curve_identity *identity,
                      const struct ckv_curve_welcome *welcome, struct ckv_curve_initiate *initiate)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE], key[CKV_CURVE_KEY_SIZE], text[64];
    int rc = ckv_curve_agree(&self->session, key, welcome->server_key, identity->secret_key);
    if (rc != CKV_OK)
        return rc;
    memcpy(text, self->transient_public, 32);
    memcpy(text + 32, identity->server_public_key, 32);
    ckv_curve_long_nonce(nonce, "VOUCH---", initiate->vouch_nonce);
    crypto_box_easy_afternm(initiate->vouch_box, text, sizeof(text), nonce, key);
    sodium_memzero(key, sizeof(key));
    return CKV_OK;
}

static int seal_initiate(struct ckv_curve_client *self, struct ckv_curve_initiate *initiate,
                         size_t metadata_size)
{
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    int rc = ckv_curve_next_number(&self->session, initiate->nonce);
    if (rc != CKV_OK)
        return rc;
    memcpy(initiate->command, "\10INITIATE", sizeof(initiate->command));
    ckv_curve_short_nonce(nonce, "CurveZMQINITIATE", initiate->nonce);
    crypto_box_detached_afternm(initiate->client_key, initiate->mac, initiate->client_key,
                                CKV_CURVE_INITIATE_OVERHEAD + metadata_size -
                                    offsetof(struct ckv_curve_initiate, client_key),
                                nonce, self->session.key);
    return CKV_OK;
}

/*  Answers a WELCOME that is open.  */
static int answer_welcome(struct ckv_curve_client *self, const struct ckv_curve_identity *identity,
                          const struct ckv_curve_welcome *welcome, struct ckv_octets metadata,
                          const uint8_t vouch_nonce[16], struct ckv_curve_initiate *initiate)
{
    int rc = ckv_curve_agree(&self->session, self->session.key, welcome->server_key,
                             self->transient_secret);
    if (rc != CKV_OK)
        return rc;
    initiate->cookie = welcome->cookie;
    memcpy(initiate->client_key, identity->public_key, sizeof(initiate->client_key));
    memcpy(initiate->vouch_nonce, vouch_nonce, sizeof(initiate->vouch_nonce));
    if (metadata.size)
        memcpy(initiate->metadata, metadata.data, metadata.size);
    rc = seal_vouch(self, identity, welcome, initiate);
    return rc == CKV_OK ? seal_initiate(self, initiate, metadata.size) : rc;
}

int ckv_curve_client_initiate(struct ckv_curve_client *self,
                              const struct ckv_curve_identity *identity, const void *welcome,
                              size_t size, struct ckv_octets metadata,
                              const uint8_t vouch_nonce[16], uint8_t *initiate)
{
    struct ckv_curve_welcome open;
    if (self->session.step != CKV_CURVE_GREETED)
        return end_step(self, CKV_ERROR_CURVE);
    if (ckv_curve_check_metadata(metadata) != CKV_OK)
        return CKV_ERROR_ARGUMENT;
    if (!ckv_curve_is_command(welcome, size, "\7WELCOME", sizeof(open), sizeof(open)))
        return end_step(self, other_command(welcome, size));

    memcpy(&open, welcome, sizeof(open));
    int rc = open_welcome(self, &open);
    if (rc == CKV_OK)
        rc = answer_welcome(self, identity, &open, metadata, vouch_nonce,
                            (struct ckv_curve_initiate *)initiate);
    sodium_memzero(&open, sizeof(open));
    sodium_memzero(self->transient_secret, sizeof(self->transient_secret));
    if (rc == CKV_OK)
        self->session.step = CKV_CURVE_INITIATED;
    return end_step(self, rc);
}

/* ---- READY ---- */

int ckv_curve_client_ready(struct ckv_curve_client *self, uint8_t *command, size_t size,
                           struct ckv_octets *metadata)
{
    struct ckv_curve_ready *ready = (struct ckv_curve_ready *)command;
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    if (self->session.step != CKV_CURVE_INITIATED)
        return end_step(self, CKV_ERROR_CURVE);
    if (!ckv_curve_is_command(command, size, "\5READY", CKV_CURVE_READY_OVERHEAD,
                              CKV_CURVE_READY_MAX))
        return end_step(self, other_command(command, size));

    *metadata = ckv_octets(ready->metadata, size - CKV_CURVE_READY_OVERHEAD);
    ckv_curve_short_nonce(nonce, "CurveZMQREADY---", ready->nonce);
    if (crypto_box_open_detached_afternm(ready->metadata, ready->metadata, ready->mac,
                                         metadata->size, nonce, self->session.key) != 0)
        return end_step(self, CKV_ERROR_CURVE_BOX);
    int rc = ckv_curve_check_metadata(*metadata);
    if (rc == CKV_OK) {
        self->session.peer_nonce = ckv_get64(ready->nonce);
        self->session.step = CKV_CURVE_CONNECTED;
    }
    return end_step(self, rc);
}
