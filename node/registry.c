#include "node/registry.h"
#include "core/revision.h"

#include <sodium.h>

/*  Rows of CKV_KV_STATE.  */
static const char clock_row[] = "clock";
static const char cluster_row[] = "cluster-key-id";

/*  Derived keys tried before giving up: the chance of one collision is 2^-256.  */
enum { INCREMENTS_MAX = 1000 };

static int mark_store(struct ckv_kv *kv, const struct ckv_cluster_key *cluster_key)
{
    struct ckv_kv_txn *txn;
    int rc = ckv_kv_begin(kv, CKV_KV_WRITE, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(cluster_row),
                          ckv_octets(cluster_key->id, sizeof(cluster_key->id)));
    if (rc == CKV_OK)
        return ckv_kv_commit(&txn);
    ckv_kv_abort(&txn);
    return rc;
}

/*  Returns CKV_ERROR_NOT_FOUND for a store that has no mark yet.  */
static int read_state(struct ckv_registry *self, struct ckv_kv_txn *txn)
{
    struct ckv_octets value;
    int rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(clock_row), &value);
    if (rc == CKV_OK && value.size == sizeof(uint64_t))
        self->last_revision = ckv_get64(value.data);
    rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(cluster_row), &value);
    if (rc == CKV_OK &&
        !ckv_octets_equal(value, ckv_octets(self->cluster_key->id, sizeof(self->cluster_key->id))))
        return CKV_ERROR_STORE_KEY;
    return rc;
}

int ckv_registry_open(struct ckv_registry *self, struct ckv_kv *kv,
                      const struct ckv_cluster_key *cluster_key, uint64_t node_id)
{
    struct ckv_kv_txn *txn;
    *self = (struct ckv_registry){ .cluster_key = cluster_key, .node_id = node_id };
    int rc = ckv_kv_begin(kv, CKV_KV_READ, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = read_state(self, txn);
    ckv_kv_abort(&txn);
    return rc == CKV_ERROR_NOT_FOUND ? mark_store(kv, cluster_key) : rc;
}

int ckv_registry_prepare(struct ckv_registered *registered, const uint8_t *client_public_key,
                         bool dedicated)
{
    if (dedicated)
        crypto_box_keypair(registered->server_public_key, registered->server_secret_key);
    registered->has_client_secret_key = !client_public_key;
    if (!client_public_key) {
        crypto_box_keypair(registered->client_public_key, registered->client_secret_key);
        return CKV_OK;
    }
    memcpy(registered->client_public_key, client_public_key, 32);
    return ckv_public_key_check(client_public_key);
}

/*  The next revision after *REVISION, which is the certificate's last one, from whatever node; durable
    with the transaction that it goes into.  */
static int next_revision(struct ckv_registry *self, struct ckv_kv_txn *txn, uint64_t now,
                         uint64_t *revision)
{
    uint64_t last = *revision > self->last_revision ? *revision : self->last_revision;
    *revision = ckv_revision_next(last, now);
    return ckv_registry_witness(self, txn, *revision);
}

int ckv_registry_witness(struct ckv_registry *self, struct ckv_kv_txn *txn, uint64_t revision)
{
    uint8_t value[sizeof(revision)];
    if (revision > self->last_revision)
        self->last_revision = revision;
    /*  Also when it is not the higher one: the transaction that wrote that may have been undone.  */
    ckv_put64(value, self->last_revision);
    return ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(clock_row),
                            ckv_octets(value, sizeof(value)));
}

/*  Before anything is looked at to be changed: what has come from other nodes and can be resolved is
    there, and this node's next revisions are higher.  */
static int catch_up(struct ckv_registry *self, struct ckv_kv_txn *txn,
                    struct ckv_octets storage_key, const uint8_t *client_public_key)
{
    uint64_t revision;
    int rc = ckv_kv_merge_arrivals(txn, storage_key, client_public_key, &revision);
    return rc == CKV_OK && revision ? ckv_registry_witness(self, txn, revision) : rc;
}

static void keep_record(struct ckv_registered *registered, struct ckv_octets record)
{
    memcpy(registered->record, record.data, record.size);
    registered->record_size = record.size;
}

/*  Refuses a client public key that has a certificate other than the one of EXCEPT which is active and
    has not expired, or with ONLY_UNKNOWN any other.  */
static int check_client_key(struct ckv_registry *self, struct ckv_kv_txn *txn,
                            struct ckv_registered *registered, struct ckv_octets except,
                            bool only_unknown, uint64_t now)
{
    struct ckv_certificate found;
    int rc = catch_up(self, txn, ckv_octets(NULL, 0), registered->client_public_key);
    if (rc == CKV_OK)
        rc = ckv_kv_find(txn, registered->client_public_key, &found);
    if (rc == CKV_ERROR_NOT_FOUND)
        return CKV_OK;
    if (rc != CKV_OK)
        return rc;
    rc = ckv_certificate_valid_at(&found, now);
    bool is_free = rc == CKV_ERROR_REVOKED || rc == CKV_ERROR_EXPIRED;
    if (ckv_octets_equal(found.storage_key, except) || (is_free && !only_unknown))
        return CKV_OK;
    keep_record(registered, found.record);
    return is_free ? rc : CKV_ERROR_CLIENT_KEY_TAKEN;
}

/*  Finds a free storage key: the chosen one, or a derived one and those after it.  */
static int choose_storage_key(struct ckv_registry *self, struct ckv_kv_txn *txn,
                              const struct ckv_registration *registration,
                              const struct ckv_certificate *certificate,
                              struct ckv_storage_key *storage_key)
{
    struct ckv_certificate found;
    bool chosen = registration->storage_key.size != 0;
    *storage_key = registration->storage_key;
    if (!chosen)
        ckv_storage_key_derive(storage_key, self->cluster_key, certificate->client_public_key,
                               certificate->server_public_key, certificate->organisation,
                               certificate->number);
    for (int i = 0; i < INCREMENTS_MAX; i++) {
        int rc = catch_up(self, txn, ckv_storage_key_octets(storage_key), NULL);
        if (rc == CKV_OK)
            rc = ckv_kv_get(txn, ckv_storage_key_octets(storage_key), &found);
        if (rc != CKV_OK)
            return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
        if (chosen)
            return CKV_ERROR_TAKEN;
        ckv_storage_key_increment(storage_key);
    }
    return CKV_ERROR_TAKEN;
}

/*  Seals CERTIFICATE and merges it. SECRET is its dedicated server secret key, or NULL.  */
static int store(struct ckv_registry *self, struct ckv_kv_txn *txn,
                 const struct ckv_certificate *certificate, const uint8_t *secret,
                 struct ckv_registered *registered)
{
    struct ckv_certificate view;
    uint8_t nonce[CKV_RECORD_NONCE_SIZE]; /* fresh also when the writer runs this again */
    randombytes_buf(nonce, sizeof(nonce));
    int rc = ckv_certificate_seal(certificate, secret, self->cluster_key, nonce, registered->record,
                                  &registered->record_size);
    if (rc == CKV_OK)
        rc = ckv_certificate_parse(&view, registered->record, registered->record_size);
    if (rc == CKV_OK)
        rc = ckv_kv_merge(txn, &view);
    if (rc < 0)
        return rc;
    if (rc != CKV_KV_NEW && rc != CKV_KV_NEWER)
        return CKV_ERROR_TAKEN; /* what stands there is not what was looked at */
    ckv_cluster_key_hello(self->cluster_key, certificate->storage_key, registered->hello_key);
    return CKV_OK;
}

int ckv_registry_register(struct ckv_registry *self, struct ckv_kv_txn *txn,
                          const struct ckv_registration *registration, uint64_t now,
                          struct ckv_registered *registered)
{
    struct ckv_storage_key storage_key = { .size = 1 }; /* until the fields before it are checked */
    struct ckv_certificate certificate = {
        .storage_key = ckv_storage_key_octets(&storage_key),
        .client_public_key = registered->client_public_key,
        .server_public_key = registration->dedicated ? registered->server_public_key
                                                     : self->cluster_key->server_public_key,
        .organisation = registration->organisation,
        .number = registration->number,
        .metadata = registration->metadata,
        .created = now,
        .created_by = self->node_id,
        .revised_by = self->node_id,
        .not_before = registration->not_before,
        .not_after = registration->not_after,
        .state = CKV_STATE_ACTIVE,
        .dedicated = registration->dedicated,
    };
    int rc = ckv_certificate_check(&certificate);
    if (rc == CKV_OK)
        rc = check_client_key(self, txn, registered, ckv_octets(NULL, 0),
                              registration->only_unknown, now);
    if (rc == CKV_OK)
        rc = choose_storage_key(self, txn, registration, &certificate, &storage_key);
    if (rc == CKV_OK)
        rc = next_revision(self, txn, now, &certificate.revision);
    if (rc != CKV_OK)
        return rc;
    certificate.storage_key = ckv_storage_key_octets(&storage_key);
    return store(self, txn, &certificate,
                 registration->dedicated ? registered->server_secret_key : NULL, registered);
}

/*  Copies what is stored under STORAGE_KEY into *COPY, so that a view of it outlives the change. */
static int get_copy(struct ckv_registry *self, struct ckv_kv_txn *txn,
                    struct ckv_octets storage_key, uint8_t copy[CKV_RECORD_MAX],
                    struct ckv_certificate *view)
{
    int rc = catch_up(self, txn, storage_key, NULL);
    if (rc == CKV_OK)
        rc = ckv_kv_get(txn, storage_key, view);
    if (rc != CKV_OK)
        return rc;
    memcpy(copy, view->record.data, view->record.size);
    return ckv_certificate_parse(view, copy, view->record.size);
}

int ckv_registry_revoke(struct ckv_registry *self, struct ckv_kv_txn *txn,
                        struct ckv_octets storage_key, uint64_t now,
                        struct ckv_registered *registered)
{
    uint8_t copy[CKV_RECORD_MAX], secret[32];
    struct ckv_certificate certificate;
    int rc = get_copy(self, txn, storage_key, copy, &certificate);
    if (rc != CKV_OK)
        return rc;
    if (certificate.state == CKV_STATE_REVOKED) {
        keep_record(registered, certificate.record);
        return CKV_OK;
    }
    if (certificate.dedicated)
        rc = ckv_certificate_unseal(&certificate, self->cluster_key, secret);
    else
        rc = ckv_certificate_verify(&certificate, self->cluster_key);
    if (rc == CKV_OK)
        rc = next_revision(self, txn, now, &certificate.revision);
    if (rc == CKV_OK) {
        certificate.state = CKV_STATE_REVOKED;
        certificate.revised_by = self->node_id;
        rc = store(self, txn, &certificate, certificate.dedicated ? secret : NULL, registered);
    }
    sodium_memzero(secret, sizeof(secret));
    return rc;
}

/*  Puts the rotated keys into CERTIFICATE.  */
static void turn_keys(const struct ckv_registry *self, const struct ckv_rotation *rotation,
                      struct ckv_certificate *certificate, struct ckv_registered *registered)
{
    if (rotation->keeps_client_key) {
        memcpy(registered->client_public_key, certificate->client_public_key, 32);
        registered->has_client_secret_key = false;
    }
    certificate->client_public_key = registered->client_public_key;
    if (rotation->changes_server_key)
        certificate->dedicated = rotation->dedicated;
    certificate->server_public_key = certificate->dedicated ? registered->server_public_key
                                                            : self->cluster_key->server_public_key;
    if (rotation->changes_not_after)
        certificate->not_after = rotation->not_after;
}

int ckv_registry_rotate(struct ckv_registry *self, struct ckv_kv_txn *txn,
                        struct ckv_octets storage_key, const struct ckv_rotation *rotation,
                        uint64_t now, struct ckv_registered *registered)
{
    uint8_t copy[CKV_RECORD_MAX];
    struct ckv_certificate certificate;
    int rc = get_copy(self, txn, storage_key, copy, &certificate);
    if (rc == CKV_OK)
        rc = ckv_certificate_verify(&certificate, self->cluster_key);
    if (rc == CKV_OK && certificate.state == CKV_STATE_REVOKED)
        rc = CKV_ERROR_REVOKED;
    if (rc != CKV_OK)
        return rc;
    turn_keys(self, rotation, &certificate, registered);
    rc = ckv_certificate_check(&certificate);
    if (rc == CKV_OK)
        rc = check_client_key(self, txn, registered, certificate.storage_key, false, now);
    if (rc == CKV_OK)
        rc = next_revision(self, txn, now, &certificate.revision);
    if (rc != CKV_OK)
        return rc;
    certificate.revised_by = self->node_id;
    return store(self, txn, &certificate,
                 certificate.dedicated ? registered->server_secret_key : NULL, registered);
}
