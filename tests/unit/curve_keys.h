/*  curve_keys: the fixed keys and randomness of the CURVE tests, vectors and seeds. Nothing else is
    random on our side, so what was recorded once (tests/data/curve) can be replayed.  */
#ifndef CKV_TESTS_CURVE_KEYS_H
#define CKV_TESTS_CURVE_KEYS_H

#include "core/curve.h"

#include <sodium.h>

/*  A key pair, or any 32 octets: FIRST, FIRST + 1, ...  */
struct fixed_pair {
    uint8_t public_key[32];
    uint8_t secret_key[32];
};

static inline void fill(uint8_t *octets, size_t size, uint8_t first)
{
    for (size_t i = 0; i < size; i++)
        octets[i] = (uint8_t)(first + i);
}

static inline struct fixed_pair fixed_pair(uint8_t first)
{
    struct fixed_pair pair;
    fill(pair.secret_key, sizeof(pair.secret_key), first);
    crypto_scalarmult_base(pair.public_key, pair.secret_key);
    return pair;
}

enum {
    FIRST_OF_CLIENT = 0x10,    /* c */
    FIRST_OF_SERVER = 0x30,    /* s */
    FIRST_OF_COOKIE = 0x50,    /* K */
    FIRST_OF_RANDOM = 0x70,    /* s', nonces of cookie and WELCOME, one after the other */
    FIRST_OF_TRANSIENT = 0xb0, /* c' */
    FIRST_OF_VOUCH = 0xd0,     /* the vouch's nonce */
    FIRST_OF_HELLO = 0xe0,     /* the hello key */
};

/*  What a modified HELLO of the tests says: 2026-07-27T10:40:00.123Z.  */
#define FIXED_STORAGE_KEY "client-42"
#define FIXED_CLOCK       UINT64_C(1785148800123)

static inline struct ckv_curve_server_random fixed_random(void)
{
    struct ckv_curve_server_random random;
    fill((uint8_t *)&random, sizeof(random), FIRST_OF_RANDOM);
    return random;
}

/*  IDENTITY borrows from PAIR, SERVER and HELLO_KEY.  */
static inline struct ckv_curve_identity identity_of(const struct fixed_pair *pair,
                                                    const struct fixed_pair *server,
                                                    const uint8_t *hello_key)
{
    return (struct ckv_curve_identity){
        .public_key = pair->public_key,
        .secret_key = pair->secret_key,
        .server_public_key = server->public_key,
        .storage_key = hello_key ? ckv_octets_text(FIXED_STORAGE_KEY) : ckv_octets(NULL, 0),
        .hello_key = hello_key,
    };
}

#endif
