#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "core/text.h"

#include <sodium.h>

_Static_assert(CKV_RECORD_HEADER_SIZE == 192, "the header has no holes");
_Static_assert(CKV_RECORD_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(CKV_RECORD_TAG_SIZE == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

enum { KEY_SIZE = 32 };

/*  Octets after the associated data: the sealed secret, if any, and the tag.  */
static size_t trailer_size(int dedicated)
{
    return (dedicated ? KEY_SIZE : 0) + CKV_RECORD_TAG_SIZE;
}

int ckv_certificate_parse(struct ckv_certificate *self, const void *record, size_t size)
{
    const struct ckv_record *header = record;
    if (size < 1)
        return CKV_ERROR_TRUNCATED;
    if (header->format != CKV_RECORD_FORMAT)
        return CKV_ERROR_FORMAT;
    if (size < CKV_RECORD_MIN)
        return CKV_ERROR_TRUNCATED;

    size_t organisation_size = ckv_get16(header->organisation_size);
    size_t number_size = ckv_get16(header->number_size);
    size_t metadata_size = ckv_get16(header->metadata_size);
    int dedicated = (header->flags & CKV_RECORD_DEDICATED) != 0;
    const uint8_t *part = (const uint8_t *)record + CKV_RECORD_HEADER_SIZE;
    if ((header->flags & ~CKV_RECORD_DEDICATED) != 0 ||
        (header->state != CKV_STATE_ACTIVE && header->state != CKV_STATE_REVOKED) ||
        header->storage_key_size < CKV_STORAGE_KEY_MIN ||
        header->storage_key_size > CKV_STORAGE_KEY_MAX ||
        organisation_size > CKV_ORGANISATION_MAX || number_size > CKV_NUMBER_MAX ||
        metadata_size > CKV_METADATA_MAX || ckv_get16(header->reserved) != 0)
        return CKV_ERROR_DAMAGED;
    if (size != CKV_RECORD_HEADER_SIZE + organisation_size + number_size + metadata_size +
                    trailer_size(dedicated))
        return CKV_ERROR_TRUNCATED;

    self->storage_key = ckv_octets(header->storage_key, header->storage_key_size);
    self->client_public_key = header->client_public_key;
    self->server_public_key = header->server_public_key;
    self->organisation = ckv_octets(part, organisation_size);
    self->number = ckv_octets(part + organisation_size, number_size);
    self->metadata = ckv_octets(part + organisation_size + number_size, metadata_size);
    self->revision = ckv_get64(header->revision);
    self->revised_by = ckv_get64(header->revised_by);
    self->created = ckv_get64(header->created);
    self->created_by = ckv_get64(header->created_by);
    self->not_before = ckv_get64(header->not_before);
    self->not_after = ckv_get64(header->not_after);
    self->state = (enum ckv_state)header->state;
    self->dedicated = dedicated;
    self->record = ckv_octets(record, size);
    return CKV_OK;
}

int ckv_certificate_valid_at(const struct ckv_certificate *self, uint64_t now)
{
    if (self->state != CKV_STATE_ACTIVE)
        return CKV_ERROR_REVOKED;
    if (now < self->not_before)
        return CKV_ERROR_NOT_YET_VALID;
    if (self->not_after && now >= self->not_after)
        return CKV_ERROR_EXPIRED;
    return CKV_OK;
}

/*  All encodings of points of low order on Curve25519 and its twist, but for the highest bit, which
    does not count (D. J. Bernstein, https://cr.yp.to/ecdh.html#validate). They are what
    crypto_scalarmult refuses, at a thousandth of what it costs: see the test.  */
static const uint8_t low_order[][32] = {
    { 0 },
    { 1 },
    { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
      0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
      0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
    { 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
      0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
      0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
    { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    { 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    { 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
};

int ckv_public_key_check(const uint8_t public_key[32])
{
    uint8_t masked[32];
    memcpy(masked, public_key, sizeof(masked));
    masked[31] &= 0x7f;
    for (size_t i = 0; i < sizeof(low_order) / sizeof(*low_order); i++)
        if (memcmp(masked, low_order[i], sizeof(masked)) == 0)
            return CKV_ERROR_WEAK_KEY;
    return CKV_OK;
}

int ckv_certificate_check(const struct ckv_certificate *self)
{
    if (self->storage_key.size < CKV_STORAGE_KEY_MIN ||
        self->storage_key.size > CKV_STORAGE_KEY_MAX)
        return CKV_ERROR_STORAGE_KEY;
    if (self->organisation.size > CKV_ORGANISATION_MAX || !ckv_text_printable(self->organisation))
        return CKV_ERROR_ORGANISATION;
    if (self->number.size > CKV_NUMBER_MAX || !ckv_text_printable(self->number))
        return CKV_ERROR_NUMBER;
    if (self->metadata.size > CKV_METADATA_MAX || ckv_properties_check(self->metadata) != CKV_OK)
        return CKV_ERROR_METADATA;
    if (self->not_after && self->not_before >= self->not_after)
        return CKV_ERROR_VALIDITY;
    return CKV_OK;
}

static void write_header(const struct ckv_certificate *self, const uint8_t *cluster_key_id,
                         const uint8_t *nonce, struct ckv_record *header)
{
    memset(header, 0, sizeof(*header));
    header->format = CKV_RECORD_FORMAT;
    header->flags = self->dedicated ? CKV_RECORD_DEDICATED : 0;
    header->state = (uint8_t)self->state;
    header->storage_key_size = (uint8_t)self->storage_key.size;
    memcpy(header->cluster_key_id, cluster_key_id, sizeof(header->cluster_key_id));
    ckv_put64(header->revision, self->revision);
    ckv_put64(header->revised_by, self->revised_by);
    ckv_put64(header->created, self->created);
    ckv_put64(header->created_by, self->created_by);
    ckv_put64(header->not_before, self->not_before);
    ckv_put64(header->not_after, self->not_after);
    memcpy(header->storage_key, self->storage_key.data, self->storage_key.size);
    memcpy(header->client_public_key, self->client_public_key, KEY_SIZE);
    memcpy(header->server_public_key, self->server_public_key, KEY_SIZE);
    ckv_put16(header->organisation_size, (uint16_t)self->organisation.size);
    ckv_put16(header->number_size, (uint16_t)self->number.size);
    ckv_put16(header->metadata_size, (uint16_t)self->metadata.size);
    memcpy(header->nonce, nonce, CKV_RECORD_NONCE_SIZE);
}

static uint8_t *append(uint8_t *end, struct ckv_octets part)
{
    if (part.size)
        memcpy(end, part.data, part.size);
    return end + part.size;
}

int ckv_certificate_seal(const struct ckv_certificate *self, const uint8_t *server_secret_key,
                         const struct ckv_cluster_key *cluster_key,
                         const uint8_t nonce[CKV_RECORD_NONCE_SIZE], uint8_t *record, size_t *size)
{
    unsigned long long trailer;
    if (!self->dedicated != !server_secret_key ||
        (self->state != CKV_STATE_ACTIVE && self->state != CKV_STATE_REVOKED))
        return CKV_ERROR_ARGUMENT;
    int rc = ckv_certificate_check(self);
    if (rc != CKV_OK)
        return rc;

    write_header(self, cluster_key->id, nonce, (struct ckv_record *)record);
    uint8_t *end = record + CKV_RECORD_HEADER_SIZE;
    end = append(end, self->organisation);
    end = append(end, self->number);
    end = append(end, self->metadata);
    size_t associated = (size_t)(end - record);
    crypto_aead_xchacha20poly1305_ietf_encrypt(end, &trailer, server_secret_key,
                                               self->dedicated ? KEY_SIZE : 0, record, associated,
                                               NULL, nonce, cluster_key->seal_key);
    *size = associated + (size_t)trailer;
    return CKV_OK;
}

/*  Authenticates, and decrypts into SECRET, which holds 32 octets.  */
static int open_record(const struct ckv_certificate *self,
                       const struct ckv_cluster_key *cluster_key, uint8_t *secret)
{
    const struct ckv_record *header = (const struct ckv_record *)self->record.data;
    size_t trailer = trailer_size(self->dedicated);
    size_t associated = self->record.size - trailer;
    if (memcmp(header->cluster_key_id, cluster_key->id, sizeof(cluster_key->id)) != 0)
        return CKV_ERROR_WRONG_CLUSTER_KEY;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            secret, NULL, NULL, self->record.data + associated, trailer, self->record.data,
            associated, header->nonce, cluster_key->seal_key) != 0)
        return CKV_ERROR_DAMAGED;
    return CKV_OK;
}

int ckv_certificate_verify(const struct ckv_certificate *self,
                           const struct ckv_cluster_key *cluster_key)
{
    uint8_t secret[KEY_SIZE];
    int rc = open_record(self, cluster_key, secret);
    sodium_memzero(secret, sizeof(secret));
    return rc;
}

int ckv_certificate_unseal(const struct ckv_certificate *self,
                           const struct ckv_cluster_key *cluster_key, uint8_t server_secret_key[32])
{
    return self->dedicated ? open_record(self, cluster_key, server_secret_key)
                           : CKV_ERROR_SHARED_KEY;
}

int ckv_certificate_same(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    return a->created == b->created && a->created_by == b->created_by &&
           ckv_octets_equal(a->storage_key, b->storage_key);
}

static int lower_first(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int ckv_certificate_compare(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    int order = lower_first(a->created, b->created);
    if (!order)
        order = lower_first(a->created_by, b->created_by);
    if (!order)
        order = lower_first(b->state, a->state); /* CKV_STATE_REVOKED is the higher */
    if (!order)
        order = lower_first(b->revision, a->revision);
    if (!order)
        order = lower_first(b->revised_by, a->revised_by);
    if (!order)
        order = lower_first(a->record.size, b->record.size);
    return order ? order : memcmp(a->record.data, b->record.data, a->record.size);
}
