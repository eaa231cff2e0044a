/*  z85: the text form of 32-octet keys, as everything else in ZeroMQ writes them (RFC 32).  */
#ifndef CKV_Z85_H
#define CKV_Z85_H

#include "core/error.h"
#include "core/octets.h"

enum {
    CKV_Z85_SIZE = 40,
    CKV_Z85_TEXT_SIZE = 41, /* with the terminating zero */
};

/*  Writes KEY as 40 characters and a terminating zero into TEXT and returns TEXT.  */
CKV_EXPORT char *ckv_z85_text(const uint8_t key[32], char text[CKV_Z85_TEXT_SIZE]);

/*  Reads 40 characters. Returns CKV_ERROR_Z85 for any other length, a character outside the
    alphabet, or a group that exceeds 32 bits (libzmq accepts those; two texts would name one key).
 */
CKV_EXPORT int ckv_z85_read(uint8_t key[32], struct ckv_octets text);

#endif
