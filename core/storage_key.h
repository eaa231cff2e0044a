/*  storage_key: the name under which a certificate is stored, and which may travel in plain text.

    1 to 40 octets, opaque. A derived key has 32: it is keyed BLAKE2b-256 over client public key,
    server public key, organisation and client number, each with its length in front (16 bits,
    network order), under a key of the cluster. It tells nothing about the keys, and nobody outside
    the cluster can compute it. When it is taken, one is added, as to a 256-bit big-endian number,
    until it is free. A chosen key is anything else: a client number, any text.

    Text form. Reading: 64 hex digits, or "0x" and hex digits, are octets; any other text is itself.
    Writing: a key that is printable text, and would be read back as itself, is that text; else 32
    octets are 64 lower-case hex digits, and any other number "0x" and hex. What is written reads
    back as the same octets.
*/
#ifndef CKV_STORAGE_KEY_H
#define CKV_STORAGE_KEY_H

#include "core/cluster_key.h"
#include "core/error.h"
#include "core/octets.h"

enum {
    CKV_STORAGE_KEY_MIN = 1,
    CKV_STORAGE_KEY_MAX = 40,
    CKV_STORAGE_KEY_DERIVED_SIZE = 32,
    CKV_STORAGE_KEY_TEXT_SIZE = 2 + 2 * CKV_STORAGE_KEY_MAX + 1, /* with the terminating zero */
};

/*  A storage key that owns its octets.  */
struct ckv_storage_key {
    uint8_t size;
    uint8_t octets[CKV_STORAGE_KEY_MAX];
};

static inline struct ckv_octets ckv_storage_key_octets(const struct ckv_storage_key *self)
{
    return ckv_octets(self->octets, self->size);
}

/*  Copies OCTETS. Returns CKV_ERROR_STORAGE_KEY unless there are 1 to 40.  */
CKV_EXPORT int ckv_storage_key_set(struct ckv_storage_key *self, struct ckv_octets octets);

/*  Derives a key. ORGANISATION and NUMBER hold at most 255 octets each (the bound of a record).  */
void ckv_storage_key_derive(struct ckv_storage_key *self, const struct ckv_cluster_key *cluster_key,
                            const uint8_t client_public_key[32],
                            const uint8_t server_public_key[32], struct ckv_octets organisation,
                            struct ckv_octets number);

/*  Adds one, modulo 2^(8*size): the next candidate when a derived key is taken.  */
void ckv_storage_key_increment(struct ckv_storage_key *self);

/*  Reads the text form. Returns CKV_ERROR_STORAGE_KEY for an empty text, an odd number of digits or
    a non-digit after "0x", invalid UTF-8, or more than 40 octets.  */
CKV_EXPORT int ckv_storage_key_read(struct ckv_storage_key *self, struct ckv_octets text);

/*  Writes the text form with a terminating zero into TEXT and returns it. Returns "" for octets
    that are no storage key.  */
CKV_EXPORT const char *ckv_storage_key_text(struct ckv_octets storage_key,
                                            char text[CKV_STORAGE_KEY_TEXT_SIZE]);

#endif
