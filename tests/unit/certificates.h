/*  certificates: a dedicated and a shared certificate for tests of core/certificate.h, the keys that
    they are sealed with, and their records, each in an allocation of just its size, so that
    AddressSanitizer sees a read beyond it.
*/
#ifndef CKV_TESTS_CERTIFICATES_H
#define CKV_TESTS_CERTIFICATES_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

static struct ckv_cluster_key *cluster_key; /* of octets 00 01 02 .. 1f */
static struct ckv_cluster_key *other_key;

static const uint8_t nonce[CKV_RECORD_NONCE_SIZE] = { 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5,
                                                      0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb,
                                                      0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1,
                                                      0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7 };

static uint8_t client_public_key[32]; /* 40 41 42 .. 5f */
static uint8_t dedicated_secret[32];  /* 80 81 82 .. 9f */
static uint8_t dedicated_public[32];

static inline int make_keys(void **state)
{
    (void)state;
    uint8_t raw[CKV_CLUSTER_KEY_SIZE];
    for (size_t i = 0; i < 32; i++) {
        raw[i] = (uint8_t)i;
        client_public_key[i] = (uint8_t)(0x40 + i);
        dedicated_secret[i] = (uint8_t)(0x80 + i);
    }
    int rc = ckv_cluster_key_new(&cluster_key, raw);
    crypto_scalarmult_base(dedicated_public, dedicated_secret);
    raw[31] ^= 1;
    return rc ? rc : ckv_cluster_key_new(&other_key, raw);
}

static inline int destroy_keys(void **state)
{
    (void)state;
    ckv_cluster_key_destroy(&cluster_key);
    ckv_cluster_key_destroy(&other_key);
    return 0;
}

static inline struct ckv_certificate dedicated(void)
{
    return (struct ckv_certificate){
        .storage_key = ckv_octets_text("client-7"),
        .client_public_key = client_public_key,
        .server_public_key = dedicated_public,
        .organisation = ckv_octets_text("ACME"),
        .number = ckv_octets_text("Nº 42"),
        .metadata = ckv_octets("\6X-Tier\0\0\0\4gold", 15),
        .revision = UINT64_C(0x0123456789abcdef),
        .revised_by = UINT64_C(0x1112131415161718),
        .created = UINT64_C(0x0022446688aaccee),
        .created_by = UINT64_C(0x2122232425262728),
        .not_before = 1000,
        .not_after = UINT64_C(4102444800000),
        .state = CKV_STATE_ACTIVE,
        .dedicated = 1,
    };
}

static inline struct ckv_certificate shared(void)
{
    static const uint8_t storage_key[40] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                             15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
                                             29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40 };
    return (struct ckv_certificate){
        .storage_key = ckv_octets(storage_key, sizeof(storage_key)),
        .client_public_key = client_public_key,
        .server_public_key = cluster_key->server_public_key,
        .revision = 2,
        .revised_by = 3,
        .created = 4,
        .created_by = 5,
        .state = CKV_STATE_REVOKED,
    };
}

/*  A record in memory of its own.  */
struct record {
    uint8_t *octets;
    size_t size;
};

static inline struct record copy_of(const uint8_t *octets, size_t size)
{
    struct record copy = { malloc(size + !size), size };
    assert_non_null(copy.octets);
    if (size)
        memcpy(copy.octets, octets, size);
    return copy;
}

static inline struct record seal_with(const struct ckv_certificate *certificate,
                                      const uint8_t *with)
{
    uint8_t *buffer = malloc(CKV_RECORD_MAX);
    size_t size = 0;
    assert_non_null(buffer);
    assert_int_equal(ckv_certificate_seal(certificate,
                                          certificate->dedicated ? dedicated_secret : NULL,
                                          cluster_key, with, buffer, &size),
                     CKV_OK);
    struct record sealed = copy_of(buffer, size);
    free(buffer);
    return sealed;
}

static inline struct record seal(const struct ckv_certificate *certificate)
{
    return seal_with(certificate, nonce);
}

static inline void drop(struct record *self)
{
    free(self->octets);
    self->octets = NULL;
}

static inline struct ckv_certificate parse(const struct record *record)
{
    struct ckv_certificate view;
    memset(&view, 0xff, sizeof(view));
    assert_int_equal(ckv_certificate_parse(&view, record->octets, record->size), CKV_OK);
    return view;
}

#endif
