#include "node/gateway/admission.h"

#include "node/gateway/rate.h"
#include "node/gateway/replay.h"
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

struct ckv_admission {
    struct ckv_admission_options options;
    const struct ckv_cluster_key *cluster_key;
    pthread_mutex_t lock; /* of the two below */
    struct ckv_replay *replay;
    struct ckv_rate *rate; /* NULL: no bound */
};

const char *ckv_verdict_name(enum ckv_verdict verdict)
{
    static const char *const names[CKV_VERDICTS] = {
        "admitted",   "zmtp",     "format",        "stock", "clock",   "unknown",    "store",
        "revoked",    "expired",  "not_yet_valid", "mac",   "replay",  "rate",       "box",
        "client_key", "deadline", "crowd",         "left",  "backend", "by_backend", "limit",
    };
    return names[verdict];
}

int ckv_admission_new(struct ckv_admission **self_p, const struct ckv_admission_options *options,
                      const struct ckv_cluster_key *cluster_key)
{
    uint8_t hash_key[16];
    struct ckv_admission *self = calloc(1, sizeof(*self));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    pthread_mutex_init(&self->lock, NULL);
    self->options = *options;
    self->cluster_key = cluster_key;
    randombytes_buf(hash_key, sizeof(hash_key));
    int rc = ckv_replay_new(&self->replay, 2 * options->clock_window_ms);
    if (rc == CKV_OK && options->rate)
        rc = ckv_rate_new(&self->rate, options->rate, hash_key);
    if (rc != CKV_OK)
        ckv_admission_destroy(self_p);
    return rc;
}

void ckv_admission_destroy(struct ckv_admission **self_p)
{
    struct ckv_admission *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    ckv_replay_destroy(&self->replay);
    ckv_rate_destroy(&self->rate);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static enum ckv_verdict verdict_of(int error)
{
    switch (error) {
    case CKV_OK:
        return CKV_ADMITTED;
    case CKV_ERROR_NOT_FOUND:
        return CKV_REFUSED_UNKNOWN;
    case CKV_ERROR_REVOKED:
        return CKV_REFUSED_REVOKED;
    case CKV_ERROR_EXPIRED:
        return CKV_REFUSED_EXPIRED;
    case CKV_ERROR_NOT_YET_VALID:
        return CKV_REFUSED_NOT_YET_VALID;
    default:
        return CKV_REFUSED_STORE;
    }
}

static bool has_right_mac(const struct ckv_admission *self, const struct ckv_hello *hello)
{
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];
    ckv_cluster_key_hello(self->cluster_key, hello->storage_key, hello_key);
    int rc = ckv_hello_verify(hello, hello_key);
    sodium_memzero(hello_key, sizeof(hello_key));
    return rc == CKV_OK;
}

/*  What only known clients come to.  */
static enum ckv_verdict remember(struct ckv_admission *self, const struct ckv_hello *hello,
                                 uint64_t now)
{
    enum ckv_verdict verdict = CKV_ADMITTED;
    pthread_mutex_lock(&self->lock);
    if (!ckv_replay_enter(self->replay, hello->octets->padding.mac, now))
        verdict = CKV_REFUSED_REPLAY;
    else if (self->rate && !ckv_rate_take(self->rate, hello->storage_key, now))
        verdict = CKV_REFUSED_RATE;
    pthread_mutex_unlock(&self->lock);
    return verdict;
}

enum ckv_verdict ckv_admission_hello(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                     const struct ckv_hello *hello, struct ckv_admission_time now,
                                     struct ckv_certificate *view)
{
    if (!hello->modified)
        return self->options.allow_stock ? CKV_ADMITTED : CKV_REFUSED_STOCK;
    if (ckv_hello_check_clock(hello, now.wall, self->options.clock_window_ms) != CKV_OK)
        return CKV_REFUSED_CLOCK;
    int rc = ckv_kv_resolve(txn, hello->storage_key, view);
    if (rc != CKV_OK)
        return verdict_of(rc);
    enum ckv_verdict valid = verdict_of(ckv_certificate_valid_at(view, now.wall));
    /*  One that is told must be known to be our client first.  */
    if (valid != CKV_ADMITTED && !ckv_verdict_is_told(valid))
        return valid;
    if (!has_right_mac(self, hello))
        return CKV_REFUSED_MAC;
    enum ckv_verdict known = remember(self, hello, now.monotonic);
    return known == CKV_ADMITTED ? valid : known;
}

/*  Whether a client with this proof is the certificate's. A stock client is met with the default key
    whatever its certificate says.  */
static bool is_proof_of(const struct ckv_admission_proof *proof, const struct ckv_certificate *view)
{
    return sodium_memcmp(view->client_public_key, proof->client_key, 32) == 0 &&
           (!proof->server_key ||
            sodium_memcmp(view->server_public_key, proof->server_key, 32) == 0);
}

static bool is_whole(const struct ckv_admission *self, const struct ckv_certificate *view)
{
    return ckv_certificate_verify(view, self->cluster_key) == CKV_OK;
}

enum ckv_verdict ckv_admission_initiate(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                        const struct ckv_admission_proof *proof,
                                        struct ckv_admission_time now, struct ckv_certificate *view)
{
    int rc = proof->storage_key.size ? ckv_kv_resolve(txn, proof->storage_key, view)
                                     : ckv_kv_resolve_client(txn, proof->client_key, view);
    if (rc != CKV_OK)
        return verdict_of(rc);
    if (!is_proof_of(proof, view))
        return CKV_REFUSED_CLIENT_KEY;
    return is_whole(self, view) ? verdict_of(ckv_certificate_valid_at(view, now.wall))
                                : CKV_REFUSED_STORE;
}

/*  Verifies only what would end a client: it is asked for so often, and the record was verified when it
    was stored.  */
enum ckv_verdict ckv_admission_again(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                     const struct ckv_admission_proof *proof,
                                     struct ckv_admission_time now, uint64_t *until)
{
    struct ckv_certificate view;
    int rc = ckv_kv_resolve(txn, proof->storage_key, &view);
    if (rc != CKV_OK)
        return verdict_of(rc);
    *until = view.not_after ? view.not_after : UINT64_MAX;
    enum ckv_verdict verdict = is_proof_of(proof, &view)
                                   ? verdict_of(ckv_certificate_valid_at(&view, now.wall))
                                   : CKV_REFUSED_CLIENT_KEY;
    return verdict == CKV_ADMITTED || is_whole(self, &view) ? verdict : CKV_REFUSED_STORE;
}
