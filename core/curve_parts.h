/*  curve_parts: what curve_server, curve_client and curve_message share; see core/curve.h.  */
#ifndef CKV_CURVE_PARTS_H
#define CKV_CURVE_PARTS_H

#include "core/curve.h"

#include <stdbool.h>

/*  What a session has behind it. Zeros are a new one.  */
enum ckv_curve_step {
    CKV_CURVE_NEW = 0,
    CKV_CURVE_GREETED,   /* the client has sent HELLO; the server, WELCOME */
    CKV_CURVE_INITIATED, /* the client has sent INITIATE; the server has opened it */
    CKV_CURVE_CONNECTED,
    CKV_CURVE_DEAD, /* failed or wiped */
};

enum { CKV_CURVE_NONCE_SIZE = 24, CKV_CURVE_KEY_SIZE = 32 };

/*  The nonces of RFC 26: 16 characters and the number of a command, or 8 and 16 random octets.  */
void ckv_curve_short_nonce(uint8_t nonce[CKV_CURVE_NONCE_SIZE], const char *prefix,
                           const uint8_t number[8]);
void ckv_curve_long_nonce(uint8_t nonce[CKV_CURVE_NONCE_SIZE], const char *prefix,
                          const uint8_t octets[16]);

/*  Writes the number of our next command. CKV_ERROR_CURVE_NONCE when there is none left.  */
int ckv_curve_next_number(struct ckv_curve_session *self, uint8_t number[8]);

/*  Whether COMMAND begins with the text OPENING and has at least MIN and at most MAX octets; MIN is at
    least the size of OPENING.  */
bool ckv_curve_is_command(const void *command, size_t size, const char *opening, size_t min,
                          size_t max);

/*  KEY = what boxes between PUBLIC_KEY and SECRET_KEY are made with. The one place where both sides do
    a curve operation with a key of the peer: checks it first, and counts.  */
int ckv_curve_agree(struct ckv_curve_session *self, uint8_t key[CKV_CURVE_KEY_SIZE],
                    const uint8_t public_key[32], const uint8_t secret_key[32]);

/*  PUBLIC_KEY of SECRET_KEY, counted.  */
void ckv_curve_public(struct ckv_curve_session *self, uint8_t public_key[32],
                      const uint8_t secret_key[32]);

/*  Whether METADATA are properties, of any values, in as many octets as a handshake may carry.  */
int ckv_curve_check_metadata(struct ckv_octets metadata);

/*  Wipes the session but for its count; nothing can follow.  */
void ckv_curve_kill(struct ckv_curve_session *self);

#endif
