/*  text: which octets from outside are text, and which of it may be shown as it is.  */
#ifndef CKV_TEXT_H
#define CKV_TEXT_H

#include "core/octets.h"
#include <stdbool.h>

/*  Whether OCTETS are valid UTF-8 (RFC 3629) without a zero octet.  */
bool ckv_text_valid(struct ckv_octets octets);

/*  Whether OCTETS are valid UTF-8 that cannot disturb a terminal, a log or a reader: no control
    characters (C0, DEL, C1), no line or paragraph separators, no invisible characters or changes of
    direction. An empty run is printable.  */
bool ckv_text_printable(struct ckv_octets octets);

/*  Reads SIZE pairs of hex digits, either case. Returns false unless HEX holds just those.  */
bool ckv_text_unhex(uint8_t *out, size_t size, struct ckv_octets hex);

#endif
