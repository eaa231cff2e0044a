/*  octets: a borrowed run of bytes, and the numbers inside it.

    Every length and number on the wire and on disk is in network order, as in ZMTP (RFC 23).
    Readers of a record load them in place, whatever the alignment.
*/
#ifndef CKV_OCTETS_H
#define CKV_OCTETS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*  Borrowed, never owned: valid as long as what it points into. Not zero-terminated.  */
struct ckv_octets {
    const uint8_t *data;
    size_t size;
};

static inline struct ckv_octets ckv_octets(const void *data, size_t size)
{
    return (struct ckv_octets){ (const uint8_t *)data, size };
}

static inline struct ckv_octets ckv_octets_text(const char *text)
{
    return ckv_octets(text, strlen(text));
}

static inline int ckv_octets_equal(struct ckv_octets a, struct ckv_octets b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline uint16_t ckv_get16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t ckv_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline uint64_t ckv_get64(const uint8_t *p)
{
    return ((uint64_t)ckv_get32(p) << 32) | ckv_get32(p + 4);
}

static inline void ckv_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void ckv_put32(uint8_t *p, uint32_t v)
{
    ckv_put16(p, (uint16_t)(v >> 16));
    ckv_put16(p + 2, (uint16_t)v);
}

static inline void ckv_put64(uint8_t *p, uint64_t v)
{
    ckv_put32(p, (uint32_t)(v >> 32));
    ckv_put32(p + 4, (uint32_t)v);
}

#endif
