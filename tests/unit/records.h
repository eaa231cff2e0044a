/*  records: sealed records for tests, made from the few values that a test is about.

        struct sealed a;
        make_record(&a, cluster_key, (struct plan){ .number = 7, .revision = 2 });

    The same plan gives the same bytes.
*/
#ifndef CKV_TESTS_RECORDS_H
#define CKV_TESTS_RECORDS_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/storage_key.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/*  What is 0 becomes: storage key, the text of number; client, number + 1; created, 1000; revision,
    1; state, active.  */
struct plan {
    unsigned number; /* client number and storage key, as decimal text */
    struct ckv_octets storage_key;
    unsigned client; /* which client public key */
    uint64_t created;
    uint64_t created_by;
    uint64_t revision;
    uint64_t not_after;
    enum ckv_state state;
    unsigned padding; /* octets of metadata, up to 8000 */
    unsigned variant; /* to make other bytes of the same values */
    bool dedicated;
};

struct sealed {
    struct ckv_certificate view; /* of record */
    uint8_t record[CKV_RECORD_MAX];
};

/*  A client public key for each number. Nobody has its secret key.  */
static inline void client_key(unsigned client, uint8_t key[32])
{
    uint8_t number[4];
    ckv_put32(number, client);
    crypto_generichash(key, 32, number, sizeof(number), NULL, 0);
}

/*  The cluster key of all tests.  */
static inline struct ckv_cluster_key *make_cluster_key(void)
{
    static const uint8_t raw[CKV_CLUSTER_KEY_SIZE] = "a cluster key for tests, no more";
    struct ckv_cluster_key *self;
    return ckv_cluster_key_new(&self, raw) == CKV_OK ? self : NULL;
}

/*  One property, "padding", of SIZE octets or so.  */
static inline size_t pad(uint8_t metadata[CKV_METADATA_MAX], size_t size)
{
    static const uint8_t name[] = { 7, 'p', 'a', 'd', 'd', 'i', 'n', 'g' };
    if (!size)
        return 0;
    memcpy(metadata, name, sizeof(name));
    ckv_put32(metadata + sizeof(name), (uint32_t)size);
    memset(metadata + sizeof(name) + 4, 'x', size);
    return sizeof(name) + 4 + size;
}

static inline void make_record(struct sealed *self, const struct ckv_cluster_key *cluster_key,
                               struct plan plan)
{
    uint8_t key[32], secret[32] = "a server secret key", metadata[CKV_METADATA_MAX];
    uint8_t nonce[CKV_RECORD_NONCE_SIZE] = { 0 };
    char number[16];
    size_t size;
    snprintf(number, sizeof(number), "%u", plan.number);
    client_key(plan.client ? plan.client : plan.number + 1, key);
    ckv_put32(nonce, plan.number);
    ckv_put64(nonce + 4, plan.revision);
    ckv_put32(nonce + 12, plan.variant);
    self->view = (struct ckv_certificate){
        .storage_key = plan.storage_key.size ? plan.storage_key : ckv_octets_text(number),
        .client_public_key = key,
        .server_public_key = cluster_key->server_public_key,
        .organisation = ckv_octets_text("ACME"),
        .number = ckv_octets_text(number),
        .metadata = ckv_octets(metadata, pad(metadata, plan.padding)),
        .revision = plan.revision ? plan.revision : 1,
        .revised_by = 1,
        .created = plan.created ? plan.created : 1000,
        .created_by = plan.created_by,
        .not_after = plan.not_after,
        .state = plan.state ? plan.state : CKV_STATE_ACTIVE,
        .dedicated = plan.dedicated,
    };
    if (ckv_certificate_seal(&self->view, plan.dedicated ? secret : NULL, cluster_key, nonce,
                             self->record, &size) != CKV_OK ||
        ckv_certificate_parse(&self->view, self->record, size) != CKV_OK)
        abort(); /* a plan that makes no record is the test's own fault */
}

#endif
