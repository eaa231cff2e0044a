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

/*  Writes OCTETS as text that can be shown: printable characters as they are, any other octet as \xNN.
    Ends with a zero; what does not fit in CAPACITY (at least 1) is left out. Returns OUT.  */
char *ckv_text_escape(struct ckv_octets octets, char *out, size_t capacity);

/*  Reads SIZE pairs of hex digits, either case. Returns false unless HEX holds just those.  */
bool ckv_text_unhex(uint8_t *out, size_t size, struct ckv_octets hex);

#endif
