/*  assembly: the parts of a message, kept until its last one is there.

    Where many share a connection, the parts of one message must not have those of another in between.
    So all parts but the last are collected here, as the frames that they are going to be, and then put
    in one go. Zeros are an empty one, which owns no memory.
*/
#ifndef CKV_ASSEMBLY_H
#define CKV_ASSEMBLY_H

#include "core/zmtp.h"

struct ckv_assembly {
    uint8_t *octets; /* frames */
    size_t size, capacity;
};

/*  Whether a last part of SIZE octets would make a message of at most MAX. The frames' headers of the
    parts before it count, too: else a message of empty parts would have no bound.  */
static inline bool ckv_assembly_fits(const struct ckv_assembly *self, size_t size, size_t max)
{
    return self->size <= max && size <= max - self->size;
}

/*  Appends a part that is not the last one. Returns CKV_ERROR_FRAME_SIZE when the parts come to more
    than MAX octets, or CKV_ERROR_MEMORY.  */
int ckv_assembly_add(struct ckv_assembly *self, struct ckv_octets body, size_t max);

/*  Empties it and frees its memory.  */
void ckv_assembly_drop(struct ckv_assembly *self);

#endif
