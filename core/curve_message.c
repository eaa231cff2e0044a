#include "core/certificate.h"
#include "core/curve_parts.h"
#include "core/properties.h"
#include "core/zmtp.h"

#include <sodium.h>

_Static_assert(sizeof(struct ckv_curve_message) == CKV_CURVE_MESSAGE_OVERHEAD, "no holes");
_Static_assert(CKV_CURVE_NONCE_SIZE == crypto_box_NONCEBYTES,
               "nonces of RFC 26 are those of boxes");
_Static_assert(CKV_CURVE_KEY_SIZE == crypto_box_BEFORENMBYTES, "keys of boxes");
_Static_assert(CKV_CURVE_MAC_SIZE == crypto_box_MACBYTES, "MACs of boxes");
_Static_assert(sizeof(struct ckv_curve_session) == 56, "as the header says");

/* ---- what the handshake needs, too ---- */

void ckv_curve_short_nonce(uint8_t nonce[CKV_CURVE_NONCE_SIZE], const char *prefix,
                           const uint8_t number[8])
{
    memcpy(nonce, prefix, 16);
    memcpy(nonce + 16, number, 8);
}

void ckv_curve_long_nonce(uint8_t nonce[CKV_CURVE_NONCE_SIZE], const char *prefix,
                          const uint8_t octets[16])
{
    memcpy(nonce, prefix, 8);
    memcpy(nonce + 8, octets, 16);
}

int ckv_curve_next_number(struct ckv_curve_session *self, uint8_t number[8])
{
    if (self->nonce == UINT64_MAX)
        return CKV_ERROR_CURVE_NONCE;
    ckv_put64(number, ++self->nonce);
    return CKV_OK;
}

bool ckv_curve_is_command(const void *command, size_t size, const char *opening, size_t min,
                          size_t max)
{
    return size >= min && size <= max && memcmp(command, opening, strlen(opening)) == 0;
}

int ckv_curve_agree(struct ckv_curve_session *self, uint8_t key[CKV_CURVE_KEY_SIZE],
                    const uint8_t public_key[32], const uint8_t secret_key[32])
{
    if (ckv_public_key_check(public_key) != CKV_OK)
        return CKV_ERROR_WEAK_KEY;
    self->curve_operations++;
    return crypto_box_beforenm(key, public_key, secret_key) == 0 ? CKV_OK : CKV_ERROR_WEAK_KEY;
}

void ckv_curve_public(struct ckv_curve_session *self, uint8_t public_key[32],
                      const uint8_t secret_key[32])
{
    self->curve_operations++;
    (void)crypto_scalarmult_base(public_key, secret_key); /* it has nothing to refuse */
}

int ckv_curve_check_metadata(struct ckv_octets metadata)
{
    struct ckv_property property;
    int rc;
    if (metadata.size > CKV_CURVE_METADATA_MAX)
        return CKV_ERROR_METADATA;
    while ((rc = ckv_properties_next(&metadata, &property)) == 1)
        ;
    return rc;
}

void ckv_curve_kill(struct ckv_curve_session *self)
{
    uint16_t curve_operations = self->curve_operations;
    sodium_memzero(self, sizeof(*self));
    self->curve_operations = curve_operations;
    self->step = CKV_CURVE_DEAD;
}

int ckv_curve_error_parse(const void *command, size_t size, struct ckv_octets *reason)
{
    const size_t name_size = 6;
    if (!ckv_curve_is_command(command, size, "\5ERROR", CKV_CURVE_ERROR_OVERHEAD,
                              CKV_CURVE_ERROR_MAX) ||
        ckv_zmtp_error_parse(ckv_octets((const uint8_t *)command + name_size, size - name_size),
                             reason) != CKV_OK)
        return CKV_ERROR_CURVE;
    return CKV_OK;
}

/* ---- messages ---- */

/*  Flags in the box: those of libzmq's messages, not those of its frames.  */
enum { BOX_MORE = 1, BOX_COMMAND = 2 };

static const char *prefix(bool from_server)
{
    return from_server ? "CurveZMQMESSAGES" : "CurveZMQMESSAGEC";
}

int ckv_curve_message_seal(struct ckv_curve_session *self, uint8_t flags, uint8_t *message,
                           size_t size)
{
    struct ckv_curve_message *octets = (struct ckv_curve_message *)message;
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    if (flags != 0 && flags != CKV_ZMTP_MORE && flags != CKV_ZMTP_COMMAND)
        return CKV_ERROR_ARGUMENT;
    int rc = self->step == CKV_CURVE_CONNECTED ? ckv_curve_next_number(self, octets->nonce)
                                               : CKV_ERROR_CURVE;
    if (rc != CKV_OK) {
        ckv_curve_kill(self);
        return rc;
    }
    memcpy(octets->command, "\7MESSAGE", sizeof(octets->command));
    octets->flags = (uint8_t)((flags & CKV_ZMTP_MORE ? BOX_MORE : 0) |
                              (flags & CKV_ZMTP_COMMAND ? BOX_COMMAND : 0));
    ckv_curve_short_nonce(nonce, prefix(self->as_server), octets->nonce);
    crypto_box_detached_afternm(&octets->flags, octets->mac, &octets->flags,
                                sizeof(octets->flags) + size, nonce, self->key);
    return CKV_OK;
}

static int open_message(struct ckv_curve_session *self, uint8_t *message, size_t size,
                        uint8_t *flags, struct ckv_octets *body)
{
    struct ckv_curve_message *octets = (struct ckv_curve_message *)message;
    uint8_t nonce[CKV_CURVE_NONCE_SIZE];
    if (self->step != CKV_CURVE_CONNECTED ||
        !ckv_curve_is_command(message, size, "\7MESSAGE", CKV_CURVE_MESSAGE_OVERHEAD, SIZE_MAX))
        return CKV_ERROR_CURVE;
    uint64_t number = ckv_get64(octets->nonce);
    if (number <= self->peer_nonce)
        return CKV_ERROR_CURVE_NONCE;
    size_t body_size = size - CKV_CURVE_MESSAGE_OVERHEAD;
    ckv_curve_short_nonce(nonce, prefix(!self->as_server), octets->nonce);
    if (crypto_box_open_detached_afternm(&octets->flags, &octets->flags, octets->mac,
                                         sizeof(octets->flags) + body_size, nonce, self->key) != 0)
        return CKV_ERROR_CURVE_BOX;
    if (octets->flags > BOX_COMMAND)
        return CKV_ERROR_CURVE;
    self->peer_nonce = number;
    *flags = (uint8_t)((octets->flags & BOX_MORE ? CKV_ZMTP_MORE : 0) |
                       (octets->flags & BOX_COMMAND ? CKV_ZMTP_COMMAND : 0));
    *body = ckv_octets(message + CKV_CURVE_MESSAGE_OVERHEAD, body_size);
    return CKV_OK;
}

int ckv_curve_message_open(struct ckv_curve_session *self, uint8_t *message, size_t size,
                           uint8_t *flags, struct ckv_octets *body)
{
    int rc = open_message(self, message, size, flags, body);
    if (rc != CKV_OK)
        ckv_curve_kill(self);
    return rc;
}
