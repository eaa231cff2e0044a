#include "kv/digests.h"
#include "kv/engine.h"

#include <sodium.h>
#include <stdlib.h>

enum { ROW_SIZE = CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE, RANGE_SHIFT = 64 - 14 };

_Static_assert(CKV_RANGES == 1 << 14, "ranges are 14 bits of the hash");

/*  The row of CKV_KV_STATE that says that the digests are there.  */
static const char digests_row[] = "digests";
static const uint8_t format = 1;

/*  Rows of the write transaction that is open: a record more, a row at most once read and once
    written. Belongs to whoever has the write lock.  */
struct ckv_digests {
    struct ckv_digest ranges[CKV_RANGES];
    bool loaded[CKV_DIGEST_ROWS];
    bool dirty[CKV_DIGEST_ROWS];
};

unsigned ckv_kv_range_of(const struct ckv_kv *self, struct ckv_octets storage_key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, storage_key.data, storage_key.size, self->index_key);
    return (unsigned)(ckv_get64(hash) >> RANGE_SHIFT);
}

int ckv_kv_digests(struct ckv_kv_txn *txn, unsigned row,
                   struct ckv_digest digests[CKV_DIGEST_ROW_RANGES])
{
    uint8_t key = (uint8_t)row;
    struct ckv_octets value;
    memset(digests, 0, CKV_DIGEST_ROW_RANGES * sizeof(*digests));
    int rc = txn->kv->engine->table_get(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1), &value);
    if (rc != CKV_OK)
        return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
    if (value.size != ROW_SIZE)
        return CKV_ERROR_STORE;
    for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
        digests[i] = ckv_digest_get(value.data + i * CKV_DIGEST_SIZE);
    return CKV_OK;
}

int ckv_kv_digest_root(struct ckv_kv_txn *txn, struct ckv_digest *root)
{
    struct ckv_digest digests[CKV_DIGEST_ROW_RANGES];
    *root = (struct ckv_digest){ { 0, 0 } };
    for (unsigned row = 0; row < CKV_DIGEST_ROWS; row++) {
        int rc = ckv_kv_digests(txn, row, digests);
        if (rc != CKV_OK)
            return rc;
        for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
            ckv_digest_add(root, digests[i], 1);
    }
    return CKV_OK;
}

/*  ---- within a write transaction ----  */

void ckv_digests_begin(struct ckv_kv_txn *txn)
{
    struct ckv_digests *self = txn->kv->digests;
    memset(self->loaded, 0, sizeof(self->loaded));
    memset(self->dirty, 0, sizeof(self->dirty));
}

/*  The digest of RANGE, to be changed.  */
static int take(struct ckv_kv_txn *txn, unsigned range, struct ckv_digest **digest)
{
    struct ckv_digests *self = txn->kv->digests;
    unsigned row = range / CKV_DIGEST_ROW_RANGES;
    if (!self->loaded[row]) {
        int rc = ckv_kv_digests(txn, row, &self->ranges[(size_t)row * CKV_DIGEST_ROW_RANGES]);
        if (rc != CKV_OK)
            return rc;
    }
    self->loaded[row] = self->dirty[row] = true;
    *digest = &self->ranges[range];
    return CKV_OK;
}

int ckv_digests_change(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                       const struct ckv_digest *before)
{
    struct ckv_digest *digest;
    int rc = take(txn, ckv_kv_range_of(txn->kv, certificate->storage_key), &digest);
    if (rc != CKV_OK)
        return rc;
    if (before)
        ckv_digest_add(digest, *before, -1);
    ckv_digest_add(digest, ckv_digest_of(certificate->record), 1);
    return CKV_OK;
}

static int write_row(struct ckv_kv_txn *txn, unsigned row)
{
    const struct ckv_digest *digests =
        &txn->kv->digests->ranges[(size_t)row * CKV_DIGEST_ROW_RANGES];
    uint8_t key = (uint8_t)row, value[ROW_SIZE];
    for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
        ckv_digest_put(value + i * CKV_DIGEST_SIZE, digests[i]);
    return txn->kv->engine->table_put(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1),
                                      ckv_octets(value, sizeof(value)));
}

int ckv_digests_flush(struct ckv_kv_txn *txn)
{
    struct ckv_digests *self = txn->kv->digests;
    for (unsigned row = 0; row < CKV_DIGEST_ROWS; row++) {
        int rc = self->dirty[row] ? write_row(txn, row) : CKV_OK;
        if (rc != CKV_OK)
            return rc;
        self->dirty[row] = false;
    }
    return CKV_OK;
}

/*  ---- walking ----  */

/*  For an engine that cannot find a range by itself.  */
static int walk_all(struct ckv_kv_txn *txn, const struct ckv_ranges *ranges, ckv_kv_visit *visit,
                    void *argument)
{
    struct ckv_certificate certificate;
    uint64_t position = 0, last;
    for (;;) {
        last = position;
        int rc = ckv_kv_next(txn, &position, &certificate);
        if (rc == CKV_ERROR_NOT_FOUND)
            return CKV_OK;
        if (rc != CKV_OK && position == last)
            return rc;
        if (rc != CKV_OK)
            continue;
        unsigned range = ckv_kv_range_of(txn->kv, certificate.storage_key);
        if (ckv_ranges_has(ranges, range) && (rc = visit(argument, range, &certificate)) != CKV_OK)
            return rc;
    }
}

int ckv_kv_walk_ranges(struct ckv_kv_txn *txn, const struct ckv_ranges *ranges, ckv_kv_visit *visit,
                       void *argument)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    if (!engine->walk_range)
        return walk_all(txn, ranges, visit, argument);
    for (unsigned range = 0; range < CKV_RANGES; range++) {
        if (!ckv_ranges_has(ranges, range))
            continue;
        uint64_t first = (uint64_t)range << RANGE_SHIFT;
        int rc = engine->walk_range(txn, first, first + ((UINT64_C(1) << RANGE_SHIFT) - 1), visit,
                                    argument, range);
        if (rc != CKV_OK)
            return rc;
    }
    return CKV_OK;
}

bool ckv_kv_ranges_in_order(const struct ckv_kv *self)
{
    return self->engine->walk_range != NULL;
}

static int add_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    (void)range;
    ckv_digest_add(argument, ckv_digest_of(certificate->record), 1);
    return CKV_OK;
}

int ckv_kv_mend_range(struct ckv_kv_txn *txn, unsigned range)
{
    struct ckv_ranges *one = calloc(1, sizeof(*one));
    struct ckv_digest *digest, sum = { { 0, 0 } };
    if (!one)
        return CKV_ERROR_MEMORY;
    ckv_ranges_add(one, range);
    int rc = ckv_kv_walk_ranges(txn, one, add_record, &sum);
    free(one);
    if (rc == CKV_OK)
        rc = take(txn, range, &digest);
    if (rc == CKV_OK)
        *digest = sum;
    return rc;
}

/*  ---- a store without ----  */

static int count_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    (void)range;
    return ckv_digests_change(argument, certificate, NULL);
}

static int count_all(struct ckv_kv_txn *txn)
{
    struct ckv_ranges all;
    memset(&all, 0xff, sizeof(all));
    int rc = walk_all(txn, &all, count_record, txn);
    if (rc != CKV_OK)
        return rc;
    return ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(digests_row),
                            ckv_octets(&format, sizeof(format)));
}

static bool has_digests(struct ckv_kv_txn *txn)
{
    struct ckv_octets value;
    return ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(digests_row), &value) == CKV_OK;
}

int ckv_digests_open(struct ckv_kv *kv)
{
    struct ckv_kv_txn *txn;
    kv->digests = calloc(1, sizeof(*kv->digests));
    if (!kv->digests)
        return CKV_ERROR_MEMORY;
    int rc = ckv_kv_begin(kv, CKV_KV_READ, &txn);
    if (rc != CKV_OK)
        return rc;
    bool present = has_digests(txn);
    ckv_kv_abort(&txn);
    if (present)
        return CKV_OK;
    rc = ckv_kv_begin(kv, CKV_KV_WRITE, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = count_all(txn);
    if (rc == CKV_OK)
        return ckv_kv_commit(&txn);
    ckv_kv_abort(&txn);
    return rc;
}

void ckv_digests_close(struct ckv_kv *kv)
{
    free(kv->digests);
    kv->digests = NULL;
}
