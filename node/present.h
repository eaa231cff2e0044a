/*  present: a certificate as a person or a program reads it.  */
#ifndef CKV_PRESENT_H
#define CKV_PRESENT_H

#include "core/certificate.h"
#include <jansson.h>
#include <stdint.h>

/*  The object that --json prints. The caller owns it. Names are the design's words.  */
json_t *ckv_present_json(const struct ckv_certificate *certificate, uint64_t now);

/*  Properties as an object, which the caller owns.  */
json_t *ckv_present_metadata(struct ckv_octets metadata);

/*  "active", "revoked", "expired" or "not yet valid".  */
const char *ckv_present_state(const struct ckv_certificate *certificate, uint64_t now);

/*  Prints the certificate in full, a field a line, or its line in a list. Octets from outside are
    printable by the record's own rules.  */
void ckv_present_text(const struct ckv_certificate *certificate, uint64_t now);
void ckv_present_line(const struct ckv_certificate *certificate, uint64_t now);
void ckv_present_heading(void);

/*  Prints OBJECT on one line and releases it.  */
void ckv_present_object(json_t *object);

#endif
