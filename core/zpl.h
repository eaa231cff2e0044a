/*  zpl: a reader of the ZeroMQ Property Language (RFC 4), as far as certificates use it.

    Lines are read one at a time; nothing is allocated. Indentation by four spaces (or a tab) opens
   a level, as in RFC 4; "name = value" is a property, a name alone a section.
*/
#ifndef CKV_ZPL_H
#define CKV_ZPL_H

#include "core/error.h"
#include "core/octets.h"

struct ckv_zpl {
    struct ckv_octets rest; /* what is still unread */
    unsigned line;          /* number of the last line taken, from 1 */
};

/*  A line that says something. NAME and VALUE borrow from the text. A section has a VALUE whose
   data is NULL. Quotes are taken off the value.  */
struct ckv_zpl_line {
    unsigned depth; /* 0 for what stands at the margin */
    struct ckv_octets name;
    struct ckv_octets value;
};

/*  Starts reading TEXT, which must outlive SELF.  */
void ckv_zpl_start(struct ckv_zpl *self, struct ckv_octets text);

/*  Takes the next line that is neither blank nor comment. Returns 1, 0 at the end, or
    CKV_ERROR_CERTFILE with self->line naming the line.  */
int ckv_zpl_next(struct ckv_zpl *self, struct ckv_zpl_line *line);

#endif
