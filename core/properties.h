/*  properties: names and values, encoded as ZMTP encodes metadata (RFC 23).

        property = name value
        name     = OCTET 1*255name-char     ; length, then the name, case-insensitive
        value    = 4OCTET *VCHAR            ; length in network order, then octets

    A certificate's metadata is stored in this form, so that it can go into a READY command or a ZAP
    reply as it is. Names have the characters of RFC 23 and those that CZMQ's certificates allow
    besides, A-Z a-z 0-9 - _ . + $ @ & / (the last not at an end). Values are printable UTF-8 text;
    one that holds both kinds of quotes is refused, since no certificate file could hold it (ZPL has
    no escapes).
*/
#ifndef CKV_PROPERTIES_H
#define CKV_PROPERTIES_H

#include "core/error.h"
#include "core/octets.h"

struct ckv_property {
    struct ckv_octets name;
    struct ckv_octets value;
};

/*  Takes the next property off the front of PROPERTIES. Returns 1 with *PROPERTY set, 0 at the end,
    or CKV_ERROR_METADATA when what is left is not a property, in which case PROPERTIES stays as it
    was. Checks lengths only. Views borrow from PROPERTIES.  */
CKV_EXPORT int ckv_properties_next(struct ckv_octets *properties, struct ckv_property *property);

/*  Appends a property to the *SIZE octets at BUFFER. Returns CKV_ERROR_METADATA, and changes
    nothing, when the name is empty, too long, or has other characters, or when CAPACITY is not
    enough. VALUE may be any octets, as in RFC 23.  */
int ckv_properties_put(uint8_t *buffer, size_t capacity, size_t *size, struct ckv_octets name,
                       struct ckv_octets value);

/*  Checks a whole encoding: well-formed, names of the right characters and each only once, values
    printable text without one of the two kinds of quotes. Returns CKV_OK or CKV_ERROR_METADATA.  */
int ckv_properties_check(struct ckv_octets properties);

/*  Finds the value of NAME (case-insensitive). Returns 1 or 0.  */
CKV_EXPORT int ckv_properties_get(struct ckv_octets properties, const char *name,
                                  struct ckv_octets *value);

#endif
