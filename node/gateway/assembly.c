#include "node/gateway/assembly.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

/*  The buffer doubles as it fills.  */
static int reserve(struct ckv_assembly *self, size_t size)
{
    size_t capacity = size <= FIRST_CAPACITY / 2 ? FIRST_CAPACITY : 2 * size;
    if (size <= self->capacity)
        return CKV_OK;
    uint8_t *octets = realloc(self->octets, capacity);
    if (!octets)
        return CKV_ERROR_MEMORY;
    self->octets = octets;
    self->capacity = capacity;
    return CKV_OK;
}

int ckv_assembly_add(struct ckv_assembly *self, struct ckv_octets body, size_t max)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, CKV_ZMTP_MORE, body.size);
    if (body.size > max || !ckv_assembly_fits(self, header_size + body.size, max))
        return CKV_ERROR_FRAME_SIZE;
    int rc = reserve(self, self->size + header_size + body.size);
    if (rc != CKV_OK)
        return rc;
    memcpy(self->octets + self->size, header, header_size);
    if (body.size)
        memcpy(self->octets + self->size + header_size, body.data, body.size);
    self->size += header_size + body.size;
    return CKV_OK;
}

void ckv_assembly_drop(struct ckv_assembly *self)
{
    free(self->octets);
    *self = (struct ckv_assembly){ NULL, 0, 0 };
}
