/*  Reading records. Nobody without the cluster key makes one that is authentic: of all octets, just
    the seeds are. The seeds are sealed under the cluster key 00 01 02 .. 1f; "foreign", and what is
    not listed below, is not.  */
#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "tests/fuzz/cluster.h"

#include <sodium.h>
#include <stdbool.h>

enum { HASH_SIZE = 16 };

/*  b2sum -l 128 tests/fuzz/corpus/record/...  */
static const char *const authentic[] = {
    "80e6e0e09544679696fc1c82ae22b9e6", /* dedicated */
    "836fe7d877232aeef1bc55fb74a25aaf", /* expired */
    "2ebe01c0cfc03f589bfd04056b815d18", /* fullest */
    "fe93cb97ac83f2d3da13ae36db926127", /* key_derived */
    "c6c4c62c37264e8f9d3c918d31342d16", /* key_like_hex */
    "986e636c2add099eff8521aca4fe388b", /* key_of_1_octet */
    "86656af64b367ceedb4a8a0f61cadb51", /* key_of_32_printable */
    "6bf81af3fdea20691de6ab5eae568d31", /* key_of_40_octets */
    "c42381bda571917570c06a03460c18ed", /* metadata_longest */
    "6a58f7145f98cdec92898c5d3b7a17a0", /* metadata_of_20 */
    "a743d433586dde1ab7c9a2d6705e5d82", /* not_yet_valid */
    "f4459ece8b8dbab881ed70e855cf2a3f", /* revoked */
    "7538b2a702cdc465a8057426a0872f43", /* shared */
    "312fb6776b6882d3b2f9bb1f2c1b2361", /* utf8 */
};

static bool is_authentic(struct ckv_octets record)
{
    uint8_t hash[HASH_SIZE];
    char hex[2 * HASH_SIZE + 1];
    crypto_generichash(hash, sizeof(hash), record.data, record.size, NULL, 0);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    for (size_t i = 0; i < sizeof(authentic) / sizeof(authentic[0]); i++)
        if (strcmp(hex, authentic[i]) == 0)
            return true;
    return false;
}

/*  SECRET is the dedicated secret key, of an authentic record.  */
static void open_record(const struct ckv_certificate *view, uint8_t secret[32])
{
    int verified = ckv_certificate_verify(view, cluster_key);
    int unsealed = ckv_certificate_unseal(view, cluster_key, secret);
    require(unsealed == (view->dedicated ? verified : CKV_ERROR_SHARED_KEY));
    require((verified == CKV_OK) == is_authentic(view->record));
    require(verified == CKV_OK || verified == CKV_ERROR_DAMAGED ||
            verified == CKV_ERROR_WRONG_CLUSTER_KEY);
}

static bool same_parts(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    return ckv_octets_equal(a->organisation, b->organisation) &&
           ckv_octets_equal(a->number, b->number) && ckv_octets_equal(a->metadata, b->metadata) &&
           memcmp(a->client_public_key, b->client_public_key, 32) == 0 &&
           memcmp(a->server_public_key, b->server_public_key, 32) == 0 &&
           a->revision == b->revision && a->revised_by == b->revised_by &&
           a->not_before == b->not_before && a->not_after == b->not_after && a->state == b->state &&
           a->dedicated == b->dedicated;
}

/*  What may be in a record can be sealed, and is the same when it is read again.  */
static void seal_again(const struct ckv_certificate *view, const uint8_t secret[32])
{
    static uint8_t record[CKV_RECORD_MAX];
    const struct ckv_record *header = (const struct ckv_record *)view->record.data;
    struct ckv_certificate again;
    uint8_t unsealed[32];
    size_t size = 0;
    int checked = ckv_certificate_check(view);
    int sealed = ckv_certificate_seal(view, view->dedicated ? secret : NULL, cluster_key,
                                      header->nonce, record, &size);
    require(sealed == checked);
    if (checked != CKV_OK) {
        require(!is_authentic(view->record));
        return;
    }
    require(ckv_certificate_parse(&again, record, size) == CKV_OK);
    require(ckv_certificate_same(view, &again) && same_parts(view, &again));
    require(ckv_certificate_verify(&again, cluster_key) == CKV_OK);
    if (again.dedicated) {
        require(ckv_certificate_unseal(&again, cluster_key, unsealed) == CKV_OK);
        require(memcmp(secret, unsealed, sizeof(unsealed)) == 0);
    }
    int order = ckv_certificate_compare(view, &again), back = ckv_certificate_compare(&again, view);
    require((order < 0) == (back > 0) && (order == 0) == (back == 0));
    require((order == 0) == ckv_octets_equal(view->record, again.record));
    if (is_authentic(view->record))
        require(order == 0);
}

/*  What the records of a store are asked for when they are used.  */
static void use(const struct ckv_certificate *view)
{
    static const uint64_t times[] = { 0, UINT64_C(1700000000000), UINT64_MAX };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        int rc = ckv_certificate_valid_at(view, times[i]);
        require((rc == CKV_ERROR_REVOKED) == (view->state == CKV_STATE_REVOKED));
        require(rc == CKV_OK || rc == CKV_ERROR_REVOKED || rc == CKV_ERROR_EXPIRED ||
                rc == CKV_ERROR_NOT_YET_VALID);
    }

    struct ckv_octets rest = view->metadata, value;
    struct ckv_property property;
    size_t seen = 0;
    while (ckv_properties_next(&rest, &property) == 1)
        seen += 5 + property.name.size + property.value.size;
    require(seen + rest.size == view->metadata.size);
    ckv_properties_get(view->metadata, "X-Tier", &value);

    struct ckv_storage_key key;
    char text[CKV_STORAGE_KEY_TEXT_SIZE];
    ckv_storage_key_text(view->storage_key, text);
    require(ckv_storage_key_read(&key, ckv_octets_text(text)) == CKV_OK);
    require(ckv_octets_equal(ckv_storage_key_octets(&key), view->storage_key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_certificate view;
    uint8_t secret[32] = { 0 };
    int rc = ckv_certificate_parse(&view, data, size);
    if (rc != CKV_OK) {
        require(rc == CKV_ERROR_TRUNCATED || rc == CKV_ERROR_FORMAT || rc == CKV_ERROR_DAMAGED);
        require(!is_authentic(ckv_octets(data, size)));
        return 0;
    }
    require(view.record.data == data && view.record.size == size);
    open_record(&view, secret);
    require(ckv_certificate_compare(&view, &view) == 0 && ckv_certificate_same(&view, &view));
    use(&view);
    seal_again(&view, secret);
    return 0;
}
