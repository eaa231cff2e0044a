#include "core/storage_key.h"
#include "core/text.h"

#include <sodium.h>

int ckv_storage_key_set(struct ckv_storage_key *self, struct ckv_octets octets)
{
    if (octets.size < CKV_STORAGE_KEY_MIN || octets.size > CKV_STORAGE_KEY_MAX)
        return CKV_ERROR_STORAGE_KEY;
    memset(self, 0, sizeof(*self));
    self->size = (uint8_t)octets.size;
    memcpy(self->octets, octets.data, octets.size);
    return CKV_OK;
}

static void hash_part(crypto_generichash_state *hash, struct ckv_octets part)
{
    uint8_t size[2];
    ckv_put16(size, (uint16_t)part.size);
    crypto_generichash_update(hash, size, sizeof(size));
    crypto_generichash_update(hash, part.data, part.size);
}

void ckv_storage_key_derive(struct ckv_storage_key *self, const struct ckv_cluster_key *cluster_key,
                            const uint8_t client_public_key[32],
                            const uint8_t server_public_key[32], struct ckv_octets organisation,
                            struct ckv_octets number)
{
    crypto_generichash_state hash;
    memset(self, 0, sizeof(*self));
    self->size = CKV_STORAGE_KEY_DERIVED_SIZE;
    crypto_generichash_init(&hash, cluster_key->storage_key_key,
                            sizeof(cluster_key->storage_key_key), CKV_STORAGE_KEY_DERIVED_SIZE);
    hash_part(&hash, ckv_octets(client_public_key, 32));
    hash_part(&hash, ckv_octets(server_public_key, 32));
    hash_part(&hash, organisation);
    hash_part(&hash, number);
    crypto_generichash_final(&hash, self->octets, CKV_STORAGE_KEY_DERIVED_SIZE);
    sodium_memzero(&hash, sizeof(hash));
}

void ckv_storage_key_increment(struct ckv_storage_key *self)
{
    for (size_t i = self->size; i-- > 0;)
        if (++self->octets[i] != 0)
            return;
}

static int has_0x(struct ckv_octets text)
{
    return text.size >= 2 && text.data[0] == '0' && text.data[1] == 'x';
}

/*  Whether TEXT is in one of the two forms that are read as hex.  */
static int reads_as_hex(struct ckv_octets text)
{
    uint8_t octets[CKV_STORAGE_KEY_DERIVED_SIZE];
    return has_0x(text) || (text.size == 2 * CKV_STORAGE_KEY_DERIVED_SIZE &&
                            ckv_text_unhex(octets, sizeof(octets), text));
}

static int read_hex(struct ckv_storage_key *self, struct ckv_octets hex)
{
    uint8_t octets[CKV_STORAGE_KEY_MAX];
    if (hex.size % 2 != 0 || hex.size / 2 > sizeof(octets) ||
        !ckv_text_unhex(octets, hex.size / 2, hex))
        return CKV_ERROR_STORAGE_KEY;
    return ckv_storage_key_set(self, ckv_octets(octets, hex.size / 2));
}

int ckv_storage_key_read(struct ckv_storage_key *self, struct ckv_octets text)
{
    if (has_0x(text))
        return read_hex(self, ckv_octets(text.data + 2, text.size - 2));
    if (reads_as_hex(text))
        return read_hex(self, text);
    if (!ckv_text_valid(text))
        return CKV_ERROR_STORAGE_KEY;
    return ckv_storage_key_set(self, text);
}

/*  Printable, not to be mistaken for hex, and without spaces at the ends, which a reader would
 * lose.  */
static int is_its_own_text(struct ckv_octets key)
{
    return ckv_text_printable(key) && !has_0x(key) && key.data[0] != ' ' &&
           key.data[key.size - 1] != ' ';
}

const char *ckv_storage_key_text(struct ckv_octets storage_key,
                                 char text[CKV_STORAGE_KEY_TEXT_SIZE])
{
    char *hex = text;
    text[0] = 0;
    if (storage_key.size < CKV_STORAGE_KEY_MIN || storage_key.size > CKV_STORAGE_KEY_MAX)
        return text;
    if (is_its_own_text(storage_key)) {
        memcpy(text, storage_key.data, storage_key.size);
        text[storage_key.size] = 0;
        return text;
    }
    if (storage_key.size != CKV_STORAGE_KEY_DERIVED_SIZE) {
        memcpy(text, "0x", 2);
        hex += 2;
    }
    sodium_bin2hex(hex, CKV_STORAGE_KEY_TEXT_SIZE - 2, storage_key.data, storage_key.size);
    return text;
}
