#include "node/gateway/rate.h"

#include <sodium.h>
#include <stdlib.h>

enum { WAYS = 4, SETS = CKV_RATE_KEYS / WAYS, US_OF_MS = 1000, US_OF_SECOND = 1000000 };

struct place {
    uint64_t hash;
    uint64_t paid_us; /* when it will have paid for what it got; 0: an empty place */
};

struct ckv_rate {
    uint64_t price_us;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct place sets[SETS][WAYS];
};

int ckv_rate_new(struct ckv_rate **self_p, uint32_t per_second, const uint8_t hash_key[16])
{
    struct ckv_rate *self = calloc(1, sizeof(*self));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    self->price_us = US_OF_SECOND / per_second;
    memcpy(self->hash_key, hash_key, sizeof(self->hash_key));
    return CKV_OK;
}

void ckv_rate_destroy(struct ckv_rate **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

/*  The place of HASH in SET, or the one that it may take over.  */
static struct place *place_of(struct place set[WAYS], uint64_t hash)
{
    struct place *quietest = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].paid_us && set[i].hash == hash)
            return &set[i];
        if (set[i].paid_us < quietest->paid_us)
            quietest = &set[i];
    }
    *quietest = (struct place){ .hash = hash };
    return quietest;
}

bool ckv_rate_take(struct ckv_rate *self, struct ckv_octets key, uint64_t now)
{
    uint8_t octets[crypto_shorthash_BYTES];
    uint64_t now_us = now * US_OF_MS;
    crypto_shorthash(octets, key.data, key.size, self->hash_key);
    uint64_t hash = ckv_get64(octets);
    struct place *place = place_of(self->sets[hash % SETS], hash);
    uint64_t from = place->paid_us > now_us ? place->paid_us : now_us;
    if (from + self->price_us > now_us + US_OF_SECOND)
        return false;
    place->paid_us = from + self->price_us;
    return true;
}
