#include "kv/engine.h"

#include "core/storage_key.h"
#include "kv/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char arrivals_name[] = "certificates.arrivals";

enum { TABLE_KEY_MAX = 128, TABLE_VALUE_MAX = 65536 };

/*  Storage key, created, created_by.  */
enum { CONFLICT_KEY_MAX = CKV_STORAGE_KEY_MAX + 8 + 8 };

static const struct ckv_kv_engine *find_engine(const char *name)
{
    static const struct ckv_kv_engine *const engines[] = { &ckv_kv_lmdb, &ckv_kv_sqlite,
                                                           &ckv_kv_memory, &ckv_kv_array };
    for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

/*  Without a place for arrivals the store goes on: they are read when they are stored.  */
static int open_arrivals(struct ckv_kv *self, const struct ckv_kv_options *options)
{
    struct ckv_arrivals *arrivals = NULL;
    if (self->engine->in_memory)
        return CKV_OK;
    if (asprintf(&self->arrivals_path, "%s/%s", options->directory, arrivals_name) < 0) {
        self->arrivals_path = NULL;
        return CKV_ERROR_MEMORY;
    }
    int rc = options->read_only ? ckv_arrivals_open(&arrivals, self->arrivals_path)
                                : ckv_arrivals_create(&arrivals, self->arrivals_path);
    atomic_store(&self->arrivals, arrivals);
    if (rc != CKV_OK && !options->read_only) {
        ckv_log(CKV_LOG_WARNING,
                "%s: %s; what other nodes register will be resolved when it is on the disk",
                self->arrivals_path, ckv_strerror(rc));
        unlink(self->arrivals_path); /* what an earlier node left is not to be believed */
    }
    return CKV_OK;
}

/*  NULL when there is no place for them. A process that only reads may have opened the store before the
    node did, and looks again now and then.  */
static struct ckv_arrivals *arrivals_of(struct ckv_kv *self)
{
    enum { LOOK_EVERY = 4096 };
    struct ckv_arrivals *arrivals = atomic_load_explicit(&self->arrivals, memory_order_acquire);
    struct ckv_arrivals *found, *none = NULL;
    if (arrivals || !self->arrivals_path || self->digests ||
        atomic_fetch_add_explicit(&self->looks_for_arrivals, 1, memory_order_relaxed) %
                LOOK_EVERY !=
            LOOK_EVERY - 1 ||
        ckv_arrivals_open(&found, self->arrivals_path) != CKV_OK)
        return arrivals;
    if (atomic_compare_exchange_strong(&self->arrivals, &none, found))
        return found;
    ckv_arrivals_close(&found); /* another thread was first */
    return none;
}

int ckv_kv_open(struct ckv_kv **self_p, const char *engine, const struct ckv_kv_options *options)
{
    const struct ckv_kv_engine *found = find_engine(engine);
    *self_p = NULL;
    if (!found || (found->in_memory ? options->read_only : !options->directory))
        return CKV_ERROR_ARGUMENT;
    if (sodium_init() < 0)
        return CKV_ERROR_MEMORY;
    int rc = found->open(self_p, options);
    if (rc == CKV_OK && !options->read_only)
        rc = ckv_digests_open(*self_p);
    if (rc == CKV_OK)
        rc = open_arrivals(*self_p, options);
    if (rc != CKV_OK)
        ckv_kv_close(self_p);
    return rc;
}

void ckv_kv_close(struct ckv_kv **self_p)
{
    struct ckv_kv *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    ckv_digests_close(self);
    struct ckv_arrivals *arrivals = atomic_load(&self->arrivals);
    ckv_arrivals_close(&arrivals);
    free(self->arrivals_path);
    self->engine->close(self);
}

int ckv_kv_stats(struct ckv_kv *self, struct ckv_kv_stats *stats)
{
    return self->engine->stats(self, stats);
}

/*  ---- transactions ----  */

/*  A view of an arrival that was given; its record follows.  */
struct ckv_kv_copy {
    struct ckv_kv_copy *next;
    uint8_t record[];
};

static void drop_copies(struct ckv_kv_txn *txn)
{
    while (txn->copies) {
        struct ckv_kv_copy *copy = txn->copies;
        txn->copies = copy->next;
        free(copy);
    }
    txn->copied = false;
}

/*  How many arrivals have left; asked before a snapshot is taken.  */
static uint64_t count_left(struct ckv_kv *self)
{
    struct ckv_arrivals *arrivals = arrivals_of(self);
    return arrivals ? ckv_arrivals_left(arrivals) : 0;
}

int ckv_kv_begin(struct ckv_kv *self, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p)
{
    uint64_t left = count_left(self);
    *txn_p = NULL;
    if (mode != CKV_KV_READ && mode != CKV_KV_RESOLVE && mode != CKV_KV_WRITE)
        return CKV_ERROR_ARGUMENT;
    int rc = self->engine->begin(self, mode == CKV_KV_WRITE ? CKV_KV_WRITE : CKV_KV_READ, txn_p);
    if (rc != CKV_OK)
        return rc;
    (*txn_p)->holds_snapshot = true;
    (*txn_p)->sees_arrivals = mode == CKV_KV_RESOLVE;
    (*txn_p)->arrivals_left = left;
    if (mode == CKV_KV_WRITE)
        ckv_digests_begin(*txn_p);
    return CKV_OK;
}

void ckv_kv_reset(struct ckv_kv_txn *txn)
{
    if (txn->mode != CKV_KV_READ || !txn->holds_snapshot)
        return;
    drop_copies(txn);
    txn->kv->engine->reset(txn);
    txn->holds_snapshot = false;
}

int ckv_kv_renew(struct ckv_kv_txn *txn)
{
    if (txn->mode != CKV_KV_READ)
        return CKV_ERROR_ARGUMENT;
    ckv_kv_reset(txn);
    if (txn->sees_arrivals)
        txn->arrivals_left = count_left(txn->kv);
    int rc = txn->kv->engine->renew(txn);
    txn->holds_snapshot = rc == CKV_OK;
    return rc;
}

int ckv_kv_refresh(struct ckv_kv_txn *txn)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    if (txn->mode == CKV_KV_READ && txn->holds_snapshot && engine->is_newest) {
        uint64_t left = txn->sees_arrivals ? count_left(txn->kv) : 0;
        if (engine->is_newest(txn)) {
            drop_copies(txn);
            txn->arrivals_left = left;
            return CKV_OK;
        }
    }
    return ckv_kv_renew(txn);
}

static bool is_full(int rc)
{
    return rc == CKV_ERROR_STORE_FULL || rc == CKV_ERROR_DISK_FULL;
}

/*  Ends TXN without applying anything. What had no room finds some the next time, if there can be any. */
static void undo(struct ckv_kv_txn *txn)
{
    struct ckv_kv *self = txn->kv;
    bool was_full = is_full(txn->failed);
    drop_copies(txn);
    self->engine->abort(txn);
    if (was_full)
        ckv_digests_cramp(self);
}

int ckv_kv_commit(struct ckv_kv_txn **txn_p)
{
    struct ckv_kv_txn *txn = *txn_p;
    struct ckv_kv *self = txn->kv;
    *txn_p = NULL;
    if (txn->mode == CKV_KV_WRITE && txn->failed == CKV_OK)
        txn->failed = ckv_digests_flush(txn);
    int rc = txn->failed;
    if (txn->mode == CKV_KV_READ || rc != CKV_OK) {
        undo(txn);
        return rc;
    }
    rc = self->engine->commit(txn);
    if (rc == CKV_OK)
        ckv_digests_settle(self);
    else if (is_full(rc))
        ckv_digests_cramp(self);
    return rc;
}

void ckv_kv_abort(struct ckv_kv_txn **txn_p)
{
    struct ckv_kv_txn *txn = *txn_p;
    *txn_p = NULL;
    if (txn)
        undo(txn);
}

/*  A change that failed may have been half done: the transaction remembers, takes no others, and
    cannot commit.  */
static int before_change(const struct ckv_kv_txn *txn)
{
    return txn->mode == CKV_KV_WRITE ? txn->failed : CKV_ERROR_READ_ONLY;
}

static int after_change(struct ckv_kv_txn *txn, int rc)
{
    if (rc < 0 && txn->failed == CKV_OK)
        txn->failed = rc;
    return rc;
}

/*  ---- certificates ----  */

static bool is_storage_key(struct ckv_octets octets)
{
    return octets.size >= CKV_STORAGE_KEY_MIN && octets.size <= CKV_STORAGE_KEY_MAX;
}

/*  A record that was stored was once verified: whatever is wrong with it now is damage.  */
static int view_record(struct ckv_octets record, struct ckv_certificate *view)
{
    return ckv_certificate_parse(view, record.data, record.size) == CKV_OK ? CKV_OK
                                                                           : CKV_ERROR_DAMAGED;
}

/*  What the snapshot has.  */
static int get_stored(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                      struct ckv_certificate *view)
{
    struct ckv_octets record;
    int rc = txn->kv->engine->get(txn, storage_key, &record);
    if (rc == CKV_OK)
        rc = view_record(record, view);
    if (rc == CKV_OK && !ckv_octets_equal(view->storage_key, storage_key))
        rc = CKV_ERROR_DAMAGED;
    return rc;
}

/*  The arrivals that TXN sees, if there are any.  */
static struct ckv_arrivals *seen_by(const struct ckv_kv_txn *txn)
{
    struct ckv_arrivals *arrivals =
        txn->sees_arrivals ? atomic_load_explicit(&txn->kv->arrivals, memory_order_acquire) : NULL;
    return arrivals && ckv_arrivals_any(arrivals) ? arrivals : NULL;
}

/*  Makes VIEW one that lives as long as the transaction's: the first without asking for memory.  */
static int keep_copy(struct ckv_kv_txn *txn, struct ckv_certificate *view)
{
    struct ckv_octets record = view->record;
    uint8_t *octets = txn->copy;
    if (txn->copied) {
        struct ckv_kv_copy *copy = malloc(sizeof(*copy) + record.size);
        if (!copy)
            return CKV_ERROR_MEMORY;
        copy->next = txn->copies;
        txn->copies = copy;
        octets = copy->record;
    }
    txn->copied = true;
    memcpy(octets, record.data, record.size);
    return view_record(ckv_octets(octets, record.size), view);
}

/*  FOUND is what the snapshot said of STORAGE_KEY, and VIEW what it has. Takes an arrival instead, if
    merging would.  */
static int get_arrival(struct ckv_kv_txn *txn, struct ckv_octets storage_key, int found,
                       struct ckv_certificate *view)
{
    const struct ckv_arrivals *arrivals = seen_by(txn);
    struct ckv_arrival arrival;
    if (!arrivals || (found != CKV_OK && found != CKV_ERROR_NOT_FOUND))
        return found;
    if (ckv_arrivals_get(arrivals, storage_key, &arrival) != CKV_OK ||
        (found == CKV_OK && ckv_certificate_compare(&arrival.view, view) >= 0))
        return found;
    *view = arrival.view;
    return keep_copy(txn, view);
}

int ckv_kv_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key, struct ckv_certificate *view)
{
    if (!is_storage_key(storage_key))
        return CKV_ERROR_NOT_FOUND;
    return get_arrival(txn, storage_key, get_stored(txn, storage_key, view), view);
}

/*  Storage keys are unique, so no two certificates are equally good, and every node chooses the
    same one.  */
static bool is_better(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    if (a->state != b->state)
        return a->state == CKV_STATE_ACTIVE;
    if (a->revision != b->revision)
        return a->revision > b->revision;
    if (a->storage_key.size != b->storage_key.size)
        return a->storage_key.size < b->storage_key.size;
    return memcmp(a->storage_key.data, b->storage_key.data, a->storage_key.size) < 0;
}

static bool has_client_key(const struct ckv_certificate *certificate, const uint8_t *key)
{
    return memcmp(certificate->client_public_key, key, 32) == 0;
}

/*  The best of those seen so far.  */
struct choice {
    struct ckv_certificate best;
    bool made;
};

static void consider(struct choice *self, const struct ckv_certificate *candidate)
{
    if (!self->made || is_better(candidate, &self->best))
        self->best = *candidate;
    self->made = true;
}

/*  Considers those that the snapshot has, in the state in which they arrived, if they did.  */
static int consider_stored(struct ckv_kv_txn *txn, const uint8_t *client_public_key,
                           struct choice *choice)
{
    struct ckv_octets record;
    struct ckv_certificate candidate;
    int rc, newest = CKV_OK;
    for (unsigned nth = 0; newest == CKV_OK; nth++) {
        rc = txn->kv->engine->find(txn, client_public_key, nth, &record);
        if (rc != CKV_OK)
            return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
        if (view_record(record, &candidate) != CKV_OK ||
            !has_client_key(&candidate, client_public_key))
            return CKV_ERROR_DAMAGED;
        newest = get_arrival(txn, candidate.storage_key, CKV_OK, &candidate);
        if (newest == CKV_OK && has_client_key(&candidate, client_public_key))
            consider(choice, &candidate);
    }
    return newest;
}

/*  Considers those that arrived, if they stand under their storage keys.  */
static int consider_arrivals(struct ckv_kv_txn *txn, const uint8_t *client_public_key,
                             struct choice *choice)
{
    const struct ckv_arrivals *arrivals = seen_by(txn);
    struct ckv_arrival arrival;
    struct ckv_certificate standing;
    unsigned position = 0;
    while (arrivals &&
           ckv_arrivals_find(arrivals, client_public_key, &position, &arrival) == CKV_OK) {
        int rc = ckv_kv_get(txn, arrival.view.storage_key, &standing);
        if (rc != CKV_OK && rc != CKV_ERROR_NOT_FOUND)
            return rc;
        if (rc == CKV_OK && has_client_key(&standing, client_public_key))
            consider(choice, &standing);
    }
    return CKV_OK;
}

int ckv_kv_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32],
                struct ckv_certificate *view)
{
    struct choice choice = { .made = false };
    int rc = consider_stored(txn, client_public_key, &choice);
    if (rc == CKV_OK)
        rc = consider_arrivals(txn, client_public_key, &choice);
    if (rc != CKV_OK)
        return rc;
    *view = choice.best;
    return choice.made ? CKV_OK : CKV_ERROR_NOT_FOUND;
}

/*  Whether an arrival has left since before the snapshot was taken: the snapshot may lack it, and those
    who looked after it left did not see it.  */
static bool is_overtaken(const struct ckv_kv_txn *txn)
{
    struct ckv_arrivals *arrivals = atomic_load_explicit(&txn->kv->arrivals, memory_order_acquire);
    return txn->sees_arrivals && arrivals && ckv_arrivals_left(arrivals) != txn->arrivals_left;
}

int ckv_kv_resolve(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                   struct ckv_certificate *view)
{
    int rc;
    do {
        rc = ckv_kv_refresh(txn);
        if (rc == CKV_OK)
            rc = ckv_kv_get(txn, storage_key, view);
    } while (is_overtaken(txn));
    return rc;
}

int ckv_kv_resolve_client(struct ckv_kv_txn *txn, const uint8_t client_public_key[32],
                          struct ckv_certificate *view)
{
    int rc;
    do {
        rc = ckv_kv_refresh(txn);
        if (rc == CKV_OK)
            rc = ckv_kv_find(txn, client_public_key, view);
    } while (is_overtaken(txn));
    return rc;
}

/*  Both numbers only rise, so their sum stands still only while both do.  */
int ckv_kv_changes(struct ckv_kv_txn *txn, uint64_t *number)
{
    struct ckv_arrivals *arrivals = arrivals_of(txn->kv);
    uint64_t entered = arrivals ? ckv_arrivals_entered(arrivals) : 0;
    int rc = ckv_kv_refresh(txn);
    if (rc == CKV_OK)
        rc = txn->kv->engine->commits(txn, number);
    if (rc == CKV_OK)
        *number += entered;
    return rc;
}

int ckv_kv_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_certificate *view)
{
    struct ckv_octets record;
    int rc = txn->kv->engine->next(txn, position, &record);
    return rc == CKV_OK ? view_record(record, view) : rc;
}

/*  ---- arrivals ----  */

uint64_t ckv_kv_enter_arrival(struct ckv_kv *self, const struct ckv_certificate *certificate)
{
    struct ckv_arrivals *arrivals = atomic_load(&self->arrivals);
    return arrivals ? ckv_arrivals_enter(arrivals, certificate) : 0;
}

void ckv_kv_leave_arrival(struct ckv_kv *self, uint64_t ticket)
{
    struct ckv_arrivals *arrivals = atomic_load(&self->arrivals);
    if (arrivals)
        ckv_arrivals_leave(arrivals, ticket);
}

/*  Merges one; *REVISION becomes its revision, if that is higher.  */
static int merge_arrival(struct ckv_kv_txn *txn, const struct ckv_certificate *view,
                         uint64_t *revision)
{
    if (view->revision > *revision)
        *revision = view->revision;
    int rc = ckv_kv_merge(txn, view);
    return rc < 0 ? rc : CKV_OK;
}

int ckv_kv_merge_arrivals(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                          const uint8_t *client_public_key, uint64_t *revision)
{
    const struct ckv_arrivals *arrivals = atomic_load(&txn->kv->arrivals);
    struct ckv_arrival arrival;
    unsigned position = 0;
    int rc = CKV_OK;
    *revision = 0;
    if (!arrivals || !ckv_arrivals_any(arrivals))
        return CKV_OK;
    if (storage_key.size && ckv_arrivals_get(arrivals, storage_key, &arrival) == CKV_OK)
        rc = merge_arrival(txn, &arrival.view, revision);
    while (rc == CKV_OK && client_public_key &&
           ckv_arrivals_find(arrivals, client_public_key, &position, &arrival) == CKV_OK)
        rc = merge_arrival(txn, &arrival.view, revision);
    return rc;
}

/*  ---- merging ----  */

static struct ckv_octets conflict_key(const struct ckv_certificate *loser,
                                      uint8_t key[CONFLICT_KEY_MAX])
{
    size_t size = loser->storage_key.size;
    memcpy(key, loser->storage_key.data, size);
    ckv_put64(key + size, loser->created);
    ckv_put64(key + size + 8, loser->created_by);
    return ckv_octets(key, size + 16);
}

/*  Keeps LOSER among the conflicts, unless the same or a better state of it is there. Its record
    is the caller's, not the store's. Returns 1 when it was written, else 0.  */
static int keep_loser(struct ckv_kv_txn *txn, const struct ckv_certificate *loser)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    uint8_t octets[CONFLICT_KEY_MAX];
    struct ckv_octets key = conflict_key(loser, octets), record;
    struct ckv_certificate kept;
    int rc = engine->table_get(txn, CKV_KV_CONFLICTS, key, &record);
    if (rc == CKV_OK && view_record(record, &kept) == CKV_OK &&
        ckv_certificate_compare(&kept, loser) <= 0)
        return 0;
    if (rc != CKV_OK && rc != CKV_ERROR_NOT_FOUND)
        return rc;
    rc = engine->table_put(txn, CKV_KV_CONFLICTS, key, loser->record);
    return rc == CKV_OK ? 1 : rc;
}

/*  Puts CERTIFICATE in the place of OLD (NULL: anew), whose view ends. The digests change with it.  */
static int store(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                 const struct ckv_certificate *old)
{
    struct ckv_digest before = { { 0, 0 } };
    if (old)
        before = ckv_digest_of(old->record);
    int rc = txn->kv->engine->put(txn, certificate, old);
    return rc == CKV_OK ? ckv_digests_change(txn, certificate, old ? &before : NULL) : rc;
}

/*  CERTIFICATE takes the storage key of LOSER, another one. LOSER's view ends with the first write,
    so it is copied.  */
static int displace(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                    const struct ckv_certificate *loser)
{
    uint8_t record[CKV_RECORD_MAX];
    struct ckv_certificate copy;
    memcpy(record, loser->record.data, loser->record.size);
    int rc = view_record(ckv_octets(record, loser->record.size), &copy);
    if (rc == CKV_OK)
        rc = store(txn, certificate, loser);
    if (rc == CKV_OK)
        rc = keep_loser(txn, &copy);
    return rc < 0 ? rc : CKV_KV_WON;
}

static int put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
               const struct ckv_certificate *old, enum ckv_kv_merged merged)
{
    int rc = store(txn, certificate, old);
    return rc == CKV_OK ? (int)merged : rc;
}

/*  FOUND is what ckv_kv_get said of OLD.  */
static int merge(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate, int found,
                 const struct ckv_certificate *old)
{
    if (found == CKV_ERROR_NOT_FOUND)
        return put(txn, certificate, NULL, CKV_KV_NEW);
    if (found != CKV_OK)
        return found;
    bool same = ckv_certificate_same(certificate, old);
    int order = ckv_certificate_compare(certificate, old);
    if (order < 0)
        return same ? put(txn, certificate, old, CKV_KV_NEWER) : displace(txn, certificate, old);
    if (same)
        return CKV_KV_UNCHANGED;
    int rc = keep_loser(txn, certificate);
    if (rc < 0)
        return rc;
    return rc ? CKV_KV_LOST : CKV_KV_UNCHANGED;
}

/*  Refuses what would leave the transaction as it is.  */
static int check_record(const struct ckv_kv_txn *txn, const struct ckv_certificate *certificate)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    if (!is_storage_key(certificate->storage_key) || !certificate->record.data ||
        certificate->record.size < CKV_RECORD_MIN || certificate->record.size > CKV_RECORD_MAX)
        return CKV_ERROR_ARGUMENT;
    return engine->accepts ? engine->accepts(certificate->storage_key) : CKV_OK;
}

/*  Whether TXN may be changed by CERTIFICATE.  */
static int before_merge(const struct ckv_kv_txn *txn, const struct ckv_certificate *certificate)
{
    int rc = before_change(txn);
    return rc == CKV_OK ? check_record(txn, certificate) : rc;
}

int ckv_kv_merge(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate)
{
    struct ckv_certificate old = { .record = { NULL, 0 } };
    int rc = before_merge(txn, certificate);
    if (rc != CKV_OK)
        return rc;
    int found = ckv_kv_get(txn, certificate->storage_key, &old);
    return after_change(txn, merge(txn, certificate, found, &old));
}

/*  What is replaced may be damaged anywhere, so nothing is read of it but where the client public key
    lies, for the index.  */
static int replace(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate)
{
    struct ckv_octets record;
    int rc = txn->kv->engine->get(txn, certificate->storage_key, &record);
    if (rc == CKV_ERROR_NOT_FOUND)
        return put(txn, certificate, NULL, CKV_KV_NEW);
    if (rc != CKV_OK)
        return rc;
    const struct ckv_record *header = (const struct ckv_record *)record.data;
    struct ckv_certificate old = { .storage_key = certificate->storage_key,
                                   .client_public_key = header->client_public_key,
                                   .record = record };
    rc = put(txn, certificate, &old, CKV_KV_NEWER);
    if (rc > 0) { /* the digest was of what the damaged record once was */
        int mended = ckv_kv_mend_range(txn, ckv_kv_range_of(txn->kv, certificate->storage_key));
        rc = mended == CKV_OK ? rc : mended;
    }
    return rc;
}

int ckv_kv_replace(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate)
{
    int rc = before_merge(txn, certificate);
    return rc == CKV_OK ? after_change(txn, replace(txn, certificate)) : rc;
}

int ckv_kv_merge_verified(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                          const struct ckv_cluster_key *cluster_key)
{
    struct ckv_certificate old = { .record = { NULL, 0 } };
    int rc = before_merge(txn, certificate);
    if (rc != CKV_OK)
        return rc;
    int found = ckv_kv_get(txn, certificate->storage_key, &old);
    if (found == CKV_OK && ckv_octets_equal(old.record, certificate->record))
        return CKV_KV_UNCHANGED;
    int verified = found == CKV_OK ? ckv_certificate_verify(&old, cluster_key) : found;
    bool heals = verified == CKV_ERROR_DAMAGED || verified == CKV_ERROR_WRONG_CLUSTER_KEY;
    return after_change(txn,
                        heals ? replace(txn, certificate) : merge(txn, certificate, found, &old));
}

/*  ---- side tables ----  */

static bool is_row(enum ckv_kv_table table, struct ckv_octets key)
{
    return (unsigned)table < CKV_KV_TABLES && key.size >= 1 && key.size <= TABLE_KEY_MAX;
}

int ckv_kv_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets *value)
{
    if (!is_row(table, key))
        return CKV_ERROR_ARGUMENT;
    return txn->kv->engine->table_get(txn, table, key, value);
}

int ckv_kv_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets value)
{
    int rc = before_change(txn);
    if (rc != CKV_OK)
        return rc;
    if (!is_row(table, key) || value.size > TABLE_VALUE_MAX)
        return CKV_ERROR_ARGUMENT;
    return after_change(txn, txn->kv->engine->table_put(txn, table, key, value));
}

int ckv_kv_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key)
{
    int rc = before_change(txn);
    if (rc != CKV_OK)
        return rc;
    if (!is_row(table, key))
        return CKV_ERROR_ARGUMENT;
    return after_change(txn, txn->kv->engine->table_del(txn, table, key));
}

int ckv_kv_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                      struct ckv_octets *value)
{
    if ((unsigned)table >= CKV_KV_TABLES || key->size > TABLE_KEY_MAX)
        return CKV_ERROR_ARGUMENT;
    return txn->kv->engine->table_next(txn, table, key, value);
}
