#include "core/cluster_key.h"

#include <sodium.h>

static const char context[crypto_kdf_CONTEXTBYTES] = "curvekv1";

enum { IDENTITY = 1, SEAL = 2, STORAGE_KEY = 3, HELLO = 4, INDEX = 5, SERVER = 6, MESSAGE = 7 };

_Static_assert(CKV_CLUSTER_KEY_SIZE == crypto_kdf_KEYBYTES, "crypto_kdf takes the cluster key");
_Static_assert(CKV_INDEX_KEY_SIZE == crypto_shorthash_KEYBYTES, "the index is SipHash's");

static void derive(uint8_t *subkey, size_t size, uint64_t number, const uint8_t *raw)
{
    crypto_kdf_derive_from_key(subkey, size, number, context, raw);
}

int ckv_cluster_key_new(struct ckv_cluster_key **self_p, const uint8_t raw[CKV_CLUSTER_KEY_SIZE])
{
    uint8_t identity[crypto_kdf_BYTES_MIN], seed[crypto_box_SEEDBYTES];
    struct ckv_cluster_key *self;
    *self_p = NULL;
    if (sodium_init() < 0 || !(self = sodium_malloc(sizeof(*self))))
        return CKV_ERROR_MEMORY;

    derive(identity, sizeof(identity), IDENTITY, raw);
    memcpy(self->id, identity, sizeof(self->id));
    derive(self->seal_key, sizeof(self->seal_key), SEAL, raw);
    derive(self->storage_key_key, sizeof(self->storage_key_key), STORAGE_KEY, raw);
    derive(self->hello_root, sizeof(self->hello_root), HELLO, raw);
    derive(self->index_key, sizeof(self->index_key), INDEX, raw);
    derive(self->message_key, sizeof(self->message_key), MESSAGE, raw);
    derive(seed, sizeof(seed), SERVER, raw);
    crypto_box_seed_keypair(self->server_public_key, self->server_secret_key, seed);
    sodium_memzero(seed, sizeof(seed));
    sodium_mprotect_readonly(self);
    *self_p = self;
    return CKV_OK;
}

void ckv_cluster_key_destroy(struct ckv_cluster_key **self_p)
{
    sodium_free(*self_p);
    *self_p = NULL;
}

void ckv_cluster_key_hello(const struct ckv_cluster_key *self, struct ckv_octets storage_key,
                           uint8_t hello_key[CKV_HELLO_KEY_SIZE])
{
    crypto_generichash(hello_key, CKV_HELLO_KEY_SIZE, storage_key.data, storage_key.size,
                       self->hello_root, sizeof(self->hello_root));
}
