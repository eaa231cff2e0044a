/*  cluster_key: the one secret of a cluster, and the keys for each purpose derived from it.

    The cluster key is 32 octets. It is never used raw: crypto_kdf (BLAKE2b) derives a key for each
    purpose, under the context "curvekv1" and the subkey numbers below. Every node of a cluster
    derives the same ones, so nothing of this travels.

    | number | subkey            | protects                                                       |
    |--------|-------------------|----------------------------------------------------------------|
    | 1      | identity          | first 4 octets name the cluster key inside a record; public    |
    | 2      | seal_key          | records: XChaCha20-Poly1305                                    |
    | 3      | storage_key_key   | derived storage keys: keyed BLAKE2b-256                        |
    | 4      | hello_root        | hello keys: keyed BLAKE2b-256 over the storage key             |
    | 5      | index_key         | where a storage key lies in the index: SipHash-2-4             |
    | 6      | (seed)            | the default server key pair: crypto_box_seed_keypair           |
    | 7      | message_key       | messages between nodes: keyed BLAKE2b-128                      |
*/
#ifndef CKV_CLUSTER_KEY_H
#define CKV_CLUSTER_KEY_H

#include "core/error.h"
#include "core/octets.h"

enum {
    CKV_CLUSTER_KEY_SIZE = 32,
    CKV_CLUSTER_KEY_ID_SIZE = 4,
    CKV_INDEX_KEY_SIZE = 16,
    CKV_HELLO_KEY_SIZE = 32,
};

struct ckv_cluster_key {
    uint8_t id[CKV_CLUSTER_KEY_ID_SIZE];
    uint8_t seal_key[32];
    uint8_t storage_key_key[32];
    uint8_t hello_root[32];
    uint8_t index_key[CKV_INDEX_KEY_SIZE];
    uint8_t message_key[32];
    uint8_t server_public_key[32]; /* the default server key pair, for certificates that share */
    uint8_t server_secret_key[32];
};

/*  Derives all subkeys of the cluster key RAW into memory of sodium_malloc: locked, guarded, and
    left out of core dumps. The caller wipes RAW. Returns CKV_ERROR_MEMORY when the memory cannot
    be had. The caller destroys *SELF_P.  */
int ckv_cluster_key_new(struct ckv_cluster_key **self_p, const uint8_t raw[CKV_CLUSTER_KEY_SIZE]);

/*  Wipes and frees; *SELF_P becomes NULL. A NULL *SELF_P is allowed.  */
void ckv_cluster_key_destroy(struct ckv_cluster_key **self_p);

/*  The hello key of a storage key: what its client proves itself with in the HELLO. Secret.  */
void ckv_cluster_key_hello(const struct ckv_cluster_key *self, struct ckv_octets storage_key,
                           uint8_t hello_key[CKV_HELLO_KEY_SIZE]);

#endif
