/*  zpl: a reader of the ZeroMQ Property Language (RFC 4), as far as certificates use it.

    Lines are read one at a time; nothing is allocated. Indentation by four spaces (or a tab) opens
    a level, as in RFC 4; "name = value" is a property, a name alone a section. A value stands
    between two " or two ', or bare, up to a comment or the end of the line. A comment is # and what
    follows it. There are no escapes. Lines end with LF or CR LF; a byte order mark in front is
    passed over.

    This reads all that CZMQ's zconfig writes and reads, and no line of it otherwise; besides, it
    takes tabs, and names of any graphic ASCII but = # " and '.
*/
#ifndef CKV_ZPL_H
#define CKV_ZPL_H

#include "core/error.h"
#include "core/octets.h"

struct ckv_zpl {
    struct ckv_octets rest; /* what is still unread */
    unsigned line;          /* number of the last line taken, from 1 */
    unsigned depth_max;     /* the deepest that the next line may stand */
};

/*  A line that says something. NAME and VALUE borrow from the text. A section has a VALUE whose
    data is NULL; an empty value has data that is not. Quotes are taken off the value; whether it
    is UTF-8, and printable, is for the caller to check.  */
struct ckv_zpl_line {
    unsigned depth; /* 0 for what stands at the margin */
    struct ckv_octets name;
    struct ckv_octets value;
};

/*  Starts reading TEXT, which must outlive SELF.  */
void ckv_zpl_start(struct ckv_zpl *self, struct ckv_octets text);

/*  Takes the next line that is neither blank nor comment. Returns 1, 0 at the end, or
    CKV_ERROR_CERTFILE with self->line naming the line: a control character, indentation that is
    not of fours or leads more than one level deeper, no name, a quote left open, or something
    after the value.  */
int ckv_zpl_next(struct ckv_zpl *self, struct ckv_zpl_line *line);

#endif
