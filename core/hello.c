#include "core/hello.h"
#include "core/certificate.h"

#include <sodium.h>

_Static_assert(sizeof(struct ckv_hello_octets) == CKV_HELLO_SIZE, "the HELLO has no holes");
_Static_assert(sizeof(((struct ckv_hello_octets *)0)->padding) == 72, "RFC 26 has 72 octets");
_Static_assert(sizeof(((struct ckv_hello_octets *)0)->padding.storage_key) == CKV_STORAGE_KEY_MAX,
               "every storage key fits");

static const uint8_t opening[] = { 5, 'H', 'E', 'L', 'L', 'O', 1, 0 };

/*  The clock has 48 bits.  */
static uint64_t get48(const uint8_t *p)
{
    return ((uint64_t)ckv_get16(p) << 32) | ckv_get32(p + 2);
}

static void put48(uint8_t *p, uint64_t v)
{
    ckv_put16(p, (uint16_t)(v >> 32));
    ckv_put32(p + 2, (uint32_t)v);
}

static int parse_padding(struct ckv_hello *self, const struct ckv_hello_octets *octets)
{
    size_t size = octets->padding.storage_key_size;
    if (octets->padding.format == 0)
        return sodium_is_zero((const uint8_t *)&octets->padding, sizeof(octets->padding))
                   ? CKV_OK
                   : CKV_ERROR_CURVE;
    if (octets->padding.format != CKV_HELLO_FORMAT || size < CKV_STORAGE_KEY_MIN ||
        size > CKV_STORAGE_KEY_MAX ||
        !sodium_is_zero(octets->padding.storage_key + size, CKV_STORAGE_KEY_MAX - size))
        return CKV_ERROR_CURVE;
    self->modified = true;
    self->storage_key = ckv_octets(octets->padding.storage_key, size);
    self->clock = get48(octets->padding.clock);
    return CKV_OK;
}

int ckv_hello_parse(struct ckv_hello *self, const void *command, size_t size)
{
    const struct ckv_hello_octets *octets = command;
    *self = (struct ckv_hello){ 0 };
    if (size != CKV_HELLO_SIZE || memcmp(command, opening, sizeof(opening)) != 0)
        return CKV_ERROR_CURVE;
    int rc = parse_padding(self, octets);
    if (rc != CKV_OK)
        return rc;
    if (octets->client_key[31] & 0x80)
        return CKV_ERROR_WEAK_KEY;
    self->client_key = octets->client_key;
    self->nonce = ckv_get64(octets->nonce);
    self->octets = octets;
    return ckv_public_key_check(octets->client_key);
}

static void compute_mac(const struct ckv_hello_octets *octets,
                        const uint8_t hello_key[CKV_HELLO_KEY_SIZE],
                        uint8_t mac[CKV_HELLO_MAC_SIZE])
{
    struct ckv_hello_octets covered = *octets;
    memset(covered.padding.mac, 0, CKV_HELLO_MAC_SIZE);
    crypto_generichash(mac, CKV_HELLO_MAC_SIZE, (const uint8_t *)&covered, sizeof(covered),
                       hello_key, CKV_HELLO_KEY_SIZE);
}

int ckv_hello_verify(const struct ckv_hello *self, const uint8_t hello_key[CKV_HELLO_KEY_SIZE])
{
    uint8_t mac[CKV_HELLO_MAC_SIZE];
    if (!self->modified)
        return CKV_ERROR_HELLO_MAC;
    compute_mac(self->octets, hello_key, mac);
    int same = sodium_memcmp(mac, self->octets->padding.mac, sizeof(mac)) == 0;
    /*  The right MAC of a forged HELLO would be a forgery, were it left behind.  */
    sodium_memzero(mac, sizeof(mac));
    return same ? CKV_OK : CKV_ERROR_HELLO_MAC;
}

int ckv_hello_check_clock(const struct ckv_hello *self, uint64_t now, uint64_t window_ms)
{
    uint64_t apart = self->clock > now ? self->clock - now : now - self->clock;
    return self->modified && apart <= window_ms ? CKV_OK : CKV_ERROR_HELLO_CLOCK;
}

int ckv_hello_modify(struct ckv_hello_octets *octets, struct ckv_octets storage_key, uint64_t clock,
                     const uint8_t hello_key[CKV_HELLO_KEY_SIZE])
{
    if (storage_key.size < CKV_STORAGE_KEY_MIN || storage_key.size > CKV_STORAGE_KEY_MAX)
        return CKV_ERROR_STORAGE_KEY;
    if (clock > CKV_HELLO_CLOCK_MAX)
        return CKV_ERROR_ARGUMENT;
    memset(&octets->padding, 0, sizeof(octets->padding));
    octets->padding.format = CKV_HELLO_FORMAT;
    octets->padding.storage_key_size = (uint8_t)storage_key.size;
    memcpy(octets->padding.storage_key, storage_key.data, storage_key.size);
    put48(octets->padding.clock, clock);
    compute_mac(octets, hello_key, octets->padding.mac);
    return CKV_OK;
}
