/*  registry: the four things one does with a certificate: register, resolve, revoke, rotate.

    Making keys is dear (27 µs a pair) and needs no store, so it comes apart: prepare, on any
    thread, then the change itself inside the writer's transaction.

    A client public key has at most one active certificate, so that resolving by it has one answer.
*/
#ifndef CKV_REGISTRY_H
#define CKV_REGISTRY_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/storage_key.h"
#include "kv/kv.h"
#include <stdbool.h>

struct ckv_registry {
    const struct ckv_cluster_key *cluster_key;
    uint64_t node_id;
    uint64_t
        last_revision; /* the writer's thread alone changes it; may be ahead of the store's when
                               a transaction was undone, which does no harm */
};

/*  What is asked for.  */
struct ckv_registration {
    bool has_client_public_key; /* else the node makes the client's key pair */
    uint8_t client_public_key[32];
    bool dedicated;
    struct ckv_storage_key storage_key; /* size 0: derive one */
    struct ckv_octets organisation, number, metadata;
    uint64_t not_before, not_after;
    bool only_unknown; /* refuse a client public key that ever had a certificate: for imports, which
                          must not bring back a client that was revoked */
};

/*  What a rotation changes; the storage key stays.  */
struct ckv_rotation {
    bool keeps_client_key; /* else as has_client_public_key says */
    bool has_client_public_key;
    uint8_t client_public_key[32];
    bool changes_server_key; /* to DEDICATED or shared; else a dedicated key is replaced */
    bool dedicated;
    bool changes_not_after;
    uint64_t not_after;
};

/*  Key pairs made beforehand, and what came of it. Holds secrets: keep it in one place and wipe it.
 */
struct ckv_registered {
    bool has_client_secret_key;
    uint8_t client_public_key[32];
    uint8_t client_secret_key[32];
    uint8_t server_public_key[32];
    uint8_t server_secret_key[32];
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];
    uint8_t record[CKV_RECORD_MAX];
    size_t record_size;
};

/*  Reads the last revision from the store, and checks that the store belongs to this cluster key:
    CKV_ERROR_STORE_KEY. A new store is marked as this cluster's.  */
int ckv_registry_open(struct ckv_registry *self, struct ckv_kv *kv,
                      const struct ckv_cluster_key *cluster_key, uint64_t node_id);

/*  Makes the keys that a registration or rotation will need, and checks a client's key from
    outside: CKV_ERROR_WEAK_KEY. CLIENT_PUBLIC_KEY is NULL when a client key pair is to be made;
    DEDICATED says whether a server key pair may be needed.  */
int ckv_registry_prepare(struct ckv_registered *registered, const uint8_t *client_public_key,
                         bool dedicated);

/*  Registers at NOW (ms since 1970), in a write transaction. REGISTERED was prepared; it receives
    record and hello key. Errors: CKV_ERROR_TAKEN for a chosen storage key that is taken,
    CKV_ERROR_CLIENT_KEY_TAKEN (registered->record is then the certificate that has it), with
    only_unknown also CKV_ERROR_REVOKED, _EXPIRED and _NOT_YET_VALID, those of ckv_certificate_check,
    those of ckv_kv_merge.  */
int ckv_registry_register(struct ckv_registry *self, struct ckv_kv_txn *txn,
                          const struct ckv_registration *registration, uint64_t now,
                          struct ckv_registered *registered);

/*  Revokes. Revoking what is revoked is CKV_OK, and changes nothing. CKV_ERROR_NOT_FOUND.  */
int ckv_registry_revoke(struct ckv_registry *self, struct ckv_kv_txn *txn,
                        struct ckv_octets storage_key, uint64_t now,
                        struct ckv_registered *registered);

/*  Gives a certificate new keys. CKV_ERROR_NOT_FOUND, CKV_ERROR_REVOKED,
    CKV_ERROR_CLIENT_KEY_TAKEN.  */
int ckv_registry_rotate(struct ckv_registry *self, struct ckv_kv_txn *txn,
                        struct ckv_octets storage_key, const struct ckv_rotation *rotation,
                        uint64_t now, struct ckv_registered *registered);

/*  Takes note of a record from elsewhere that was merged, so that revisions of this node are
    higher. Writes the clock with the transaction.  */
int ckv_registry_witness(struct ckv_registry *self, struct ckv_kv_txn *txn, uint64_t revision);

#endif
