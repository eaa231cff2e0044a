/*  buffer: octets that grow at the end.  */
#ifndef CKV_BUFFER_H
#define CKV_BUFFER_H

#include "core/error.h"
#include "core/octets.h"
#include <stdlib.h>

struct ckv_buffer {
    uint8_t *data;
    size_t size, capacity;
};

/*  Makes room for SIZE octets more and returns where they go, counted in already; NULL when there is
    no memory.  */
static inline uint8_t *ckv_buffer_grow(struct ckv_buffer *self, size_t size)
{
    if (self->size + size > self->capacity || !self->data) {
        size_t capacity = 2 * self->capacity + size + 256;
        uint8_t *data = (uint8_t *)realloc(self->data, capacity);
        if (!data)
            return NULL;
        self->data = data;
        self->capacity = capacity;
    }
    self->size += size;
    return self->data + self->size - size;
}

static inline int ckv_buffer_add(struct ckv_buffer *self, struct ckv_octets octets)
{
    uint8_t *end = ckv_buffer_grow(self, octets.size);
    if (!end)
        return CKV_ERROR_MEMORY;
    if (octets.size)
        memcpy(end, octets.data, octets.size);
    return CKV_OK;
}

static inline struct ckv_octets ckv_buffer_octets(const struct ckv_buffer *self)
{
    return ckv_octets(self->data, self->size);
}

static inline void ckv_buffer_clear(struct ckv_buffer *self)
{
    free(self->data);
    *self = (struct ckv_buffer){ NULL, 0, 0 };
}

#endif
