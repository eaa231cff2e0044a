#include "kv/digests.h"
#include "kv/engine.h"

#include <limits.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ROW_SIZE = CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE, RANGE_SHIFT = 64 - 14 };

_Static_assert(CKV_RANGES == 1 << 14, "ranges are 14 bits of the hash");

/*  The row of CKV_KV_STATE that says that the digests are there.  */
static const char digests_row[] = "digests";
static const uint8_t format = 2;

/*  A change, in a row of changes: range 2 octets, what is added to its digest.  */
enum { CHANGE_SIZE = 2 + CKV_DIGEST_SIZE };

/*  Rows of digests have keys of one octet. Rows of changes come behind the last of them, by number.  */
enum { CHANGES_KEY_SIZE = 1 + 8, CHANGES_PREFIX = CKV_DIGEST_ROWS - 1 };
static const uint8_t before_changes = CHANGES_PREFIX;

/*  Changes that pile up before they are added to the digests; a row of them costs who reads it as much
    as some changes do.  */
enum { CHANGES_MAX = 2048, ROW_COST = 7 };

/*  What the write transaction that is open changes: a record more, a range at most once written.
    Belongs to whoever has the write lock.  */
struct ckv_digests {
    struct ckv_digest changes[CKV_RANGES]; /* to be added */
    bool changed[CKV_RANGES];
    uint16_t ranges[CKV_RANGES]; /* that changed */
    unsigned count;
    uint64_t next; /* number of a row of changes */
    /*  These two are looked at between transactions, too.  */
    atomic_uint
        pending; /* changes in the store, and what their rows cost; too high after an abort */
    atomic_bool cramped; /* no room is taken for changes: they go where the digests are */
};

unsigned ckv_kv_range_of(const struct ckv_kv *self, struct ckv_octets storage_key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, storage_key.data, storage_key.size, self->index_key);
    return (unsigned)(ckv_get64(hash) >> RANGE_SHIFT);
}

/*  ---- reading ----  */

static void add_change(struct ckv_digest_table *table, const uint8_t change[CHANGE_SIZE])
{
    ckv_digest_add(&table->ranges[ckv_get16(change)], ckv_digest_get(change + 2), 1);
}

static bool is_changes(struct ckv_octets value)
{
    if (value.size % CHANGE_SIZE != 0)
        return false;
    for (size_t at = 0; at < value.size; at += CHANGE_SIZE)
        if (ckv_get16(value.data + at) >= CKV_RANGES)
            return false;
    return true;
}

/*  Adds the digests of a row, or the changes of one, to TABLE.  */
static int add_row(struct ckv_digest_table *table, struct ckv_octets key, struct ckv_octets value)
{
    if (key.size == 1 && value.size == ROW_SIZE) {
        struct ckv_digest *digests = &table->ranges[(size_t)key.data[0] * CKV_DIGEST_ROW_RANGES];
        for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
            ckv_digest_add(&digests[i], ckv_digest_get(value.data + i * CKV_DIGEST_SIZE), 1);
        return CKV_OK;
    }
    if (key.size != CHANGES_KEY_SIZE || !is_changes(value))
        return CKV_ERROR_STORE;
    for (size_t at = 0; at < value.size; at += CHANGE_SIZE)
        add_change(table, value.data + at);
    return CKV_OK;
}

int ckv_kv_digests(struct ckv_kv_txn *txn, struct ckv_digest_table *table)
{
    struct ckv_octets key = { NULL, 0 }, value;
    int rc;
    memset(table, 0, sizeof(*table));
    while ((rc = txn->kv->engine->table_next(txn, CKV_KV_DIGESTS, &key, &value)) == CKV_OK) {
        rc = add_row(table, key, value);
        if (rc != CKV_OK)
            return rc;
    }
    return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
}

int ckv_kv_digest_root(struct ckv_kv_txn *txn, struct ckv_digest *root)
{
    struct ckv_digest_table *table = malloc(sizeof(*table));
    *root = (struct ckv_digest){ { 0, 0 } };
    int rc = table ? ckv_kv_digests(txn, table) : CKV_ERROR_MEMORY;
    for (unsigned range = 0; rc == CKV_OK && range < CKV_RANGES; range++)
        ckv_digest_add(root, table->ranges[range], 1);
    free(table);
    return rc;
}

/*  ---- within a write transaction ----  */

void ckv_digests_begin(struct ckv_kv_txn *txn)
{
    struct ckv_digests *self = txn->kv->digests;
    for (unsigned i = 0; i < self->count; i++) {
        self->changes[self->ranges[i]] = (struct ckv_digest){ { 0, 0 } };
        self->changed[self->ranges[i]] = false;
    }
    self->count = 0;
}

/*  What is added to the digest of RANGE, to be changed.  */
static struct ckv_digest *take(struct ckv_digests *self, unsigned range)
{
    if (!self->changed[range])
        self->ranges[self->count++] = (uint16_t)range;
    self->changed[range] = true;
    return &self->changes[range];
}

int ckv_digests_change(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                       const struct ckv_digest *before)
{
    struct ckv_digest *change =
        take(txn->kv->digests, ckv_kv_range_of(txn->kv, certificate->storage_key));
    if (before)
        ckv_digest_add(change, *before, -1);
    ckv_digest_add(change, ckv_digest_of(certificate->record), 1);
    return CKV_OK;
}

static int write_changes(struct ckv_kv_txn *txn)
{
    struct ckv_digests *self = txn->kv->digests;
    uint8_t key[CHANGES_KEY_SIZE] = { CHANGES_PREFIX }, value[CHANGES_MAX * CHANGE_SIZE];
    ckv_put64(key + 1, self->next++);
    for (unsigned i = 0; i < self->count; i++) {
        uint8_t *change = value + (size_t)i * CHANGE_SIZE;
        ckv_put16(change, self->ranges[i]);
        ckv_digest_put(change + 2, self->changes[self->ranges[i]]);
    }
    self->pending += self->count + ROW_COST;
    return txn->kv->engine->table_put(txn, CKV_KV_DIGESTS, ckv_octets(key, sizeof(key)),
                                      ckv_octets(value, (size_t)self->count * CHANGE_SIZE));
}

/*  Adds to the digests of ROW what CHANGES has for its ranges.  */
static int add_to_row(struct ckv_kv_txn *txn, unsigned row, const struct ckv_digest *changes)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    uint8_t key = (uint8_t)row, value[ROW_SIZE] = { 0 };
    struct ckv_octets old;
    int rc = engine->table_get(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1), &old);
    if (rc == CKV_OK && old.size != ROW_SIZE)
        return CKV_ERROR_STORE;
    if (rc == CKV_OK)
        memcpy(value, old.data, ROW_SIZE);
    else if (rc != CKV_ERROR_NOT_FOUND)
        return rc;
    for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++) {
        struct ckv_digest digest = ckv_digest_get(value + i * CKV_DIGEST_SIZE);
        ckv_digest_add(&digest, changes[(size_t)row * CKV_DIGEST_ROW_RANGES + i], 1);
        ckv_digest_put(value + i * CKV_DIGEST_SIZE, digest);
    }
    return engine->table_put(txn, CKV_KV_DIGESTS, ckv_octets(&key, 1),
                             ckv_octets(value, sizeof(value)));
}

/*  The same for all rows in which one of COUNT RANGES lies.  */
static int add_to_rows(struct ckv_kv_txn *txn, const struct ckv_digest *changes,
                       const uint16_t *ranges, unsigned count)
{
    bool touched[CKV_DIGEST_ROWS] = { false };
    int rc = CKV_OK;
    for (unsigned i = 0; i < count; i++)
        touched[ranges[i] / CKV_DIGEST_ROW_RANGES] = true;
    for (unsigned row = 0; rc == CKV_OK && row < CKV_DIGEST_ROWS; row++)
        if (touched[row])
            rc = add_to_row(txn, row, changes);
    return rc;
}

int ckv_digests_flush(struct ckv_kv_txn *txn)
{
    const struct ckv_digests *self = txn->kv->digests;
    int rc = CKV_OK;
    if (self->cramped || self->count > CHANGES_MAX)
        rc = add_to_rows(txn, self->changes, self->ranges, self->count);
    else if (self->count)
        rc = write_changes(txn);
    ckv_digests_begin(txn); /* what was written is not to be written again */
    return rc;
}

/*  ---- changes that have piled up ----  */

/*  Takes the oldest row of changes out of the store, and adds it to CHANGES. Returns what it weighs, or
    an error.  */
static int take_oldest(struct ckv_kv_txn *txn, struct ckv_digests *changes)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    struct ckv_octets key = ckv_octets(&before_changes, 1), value;
    uint8_t name[CHANGES_KEY_SIZE];
    int rc = engine->table_next(txn, CKV_KV_DIGESTS, &key, &value);
    if (rc != CKV_OK)
        return rc;
    if (key.size != CHANGES_KEY_SIZE || !is_changes(value))
        return CKV_ERROR_STORE;
    for (size_t at = 0; at < value.size; at += CHANGE_SIZE)
        ckv_digest_add(take(changes, ckv_get16(value.data + at)),
                       ckv_digest_get(value.data + at + 2), 1);
    int weight = (int)(value.size / CHANGE_SIZE) + ROW_COST;
    memcpy(name, key.data, sizeof(name)); /* the key is the store's, which is about to change */
    rc = engine->table_del(txn, CKV_KV_DIGESTS, ckv_octets(name, sizeof(name)));
    return rc == CKV_OK ? weight : rc;
}

/*  Adds the changes of the ROWS oldest rows to the digests. *WEIGHT is what they weighed.  */
static int add_oldest(struct ckv_kv_txn *txn, unsigned rows, unsigned *weight)
{
    struct ckv_digests *changes = calloc(1, sizeof(*changes));
    int rc = changes ? 1 : CKV_ERROR_MEMORY;
    *weight = 0;
    for (unsigned i = 0; rc > 0 && i < rows; i++) {
        rc = take_oldest(txn, changes);
        *weight += rc > 0 ? (unsigned)rc : 0;
    }
    if (rc > 0 || rc == CKV_ERROR_NOT_FOUND)
        rc = add_to_rows(txn, changes->changes, changes->ranges, changes->count);
    free(changes);
    return rc;
}

/*  In a transaction of its own.  */
static int settle(struct ckv_kv *kv, unsigned rows)
{
    struct ckv_kv_txn *txn;
    unsigned weight;
    int rc = ckv_kv_begin(kv, CKV_KV_WRITE, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = add_oldest(txn, rows, &weight);
    if (rc == CKV_OK)
        rc = kv->engine->commit(txn);
    else
        kv->engine->abort(txn);
    if (rc == CKV_OK)
        atomic_fetch_sub(&kv->digests->pending, weight);
    return rc;
}

/*  Whether changes had better not pile up: there is not much room left, or nothing to be gained.  */
static bool is_cramped(struct ckv_kv *kv)
{
    enum { SPARE = 2 << 20 };
    struct ckv_kv_stats stats;
    return !kv->engine->copies_pages || kv->engine->stats(kv, &stats) != CKV_OK ||
           stats.bytes + SPARE >= stats.max_size;
}

/*  Takes what has piled up out of the store, a few rows at a time where there is no room for more.  */
void ckv_digests_settle(struct ckv_kv *kv)
{
    enum { A_FEW = 4 };
    struct ckv_digests *self = kv->digests;
    if (self->pending > CHANGES_MAX && !self->cramped)
        self->cramped = settle(kv, UINT_MAX) != CKV_OK || is_cramped(kv);
    if (self->cramped && self->pending)
        settle(kv, A_FEW);
}

void ckv_digests_cramp(struct ckv_kv *kv)
{
    kv->digests->cramped = true;
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

/*  The digest of RANGE as the transaction has it.  */
static int read_digest(struct ckv_kv_txn *txn, unsigned range, struct ckv_digest *digest)
{
    struct ckv_digest_table *table = malloc(sizeof(*table));
    int rc = table ? ckv_kv_digests(txn, table) : CKV_ERROR_MEMORY;
    if (rc == CKV_OK) {
        *digest = table->ranges[range];
        ckv_digest_add(digest, txn->kv->digests->changes[range], 1);
    }
    free(table);
    return rc;
}

int ckv_kv_mend_range(struct ckv_kv_txn *txn, unsigned range)
{
    struct ckv_ranges *one = calloc(1, sizeof(*one));
    struct ckv_digest digest = { { 0, 0 } }, sum = digest;
    if (!one)
        return CKV_ERROR_MEMORY;
    ckv_ranges_add(one, range);
    int rc = ckv_kv_walk_ranges(txn, one, add_record, &sum);
    free(one);
    if (rc == CKV_OK)
        rc = read_digest(txn, range, &digest);
    if (rc != CKV_OK)
        return rc;
    struct ckv_digest *change = take(txn->kv->digests, range);
    ckv_digest_add(change, sum, 1);
    ckv_digest_add(change, digest, -1);
    return CKV_OK;
}

/*  ---- a store without ----  */

static int count_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    (void)range;
    return ckv_digests_change(argument, certificate, NULL);
}

static int drop_all(struct ckv_kv_txn *txn)
{
    const struct ckv_kv_engine *engine = txn->kv->engine;
    struct ckv_octets key, value;
    for (;;) {
        key = ckv_octets(NULL, 0);
        int rc = engine->table_next(txn, CKV_KV_DIGESTS, &key, &value);
        if (rc == CKV_OK)
            rc = engine->table_del(txn, CKV_KV_DIGESTS, key);
        if (rc != CKV_OK)
            return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
    }
}

static int count_all(struct ckv_kv_txn *txn)
{
    struct ckv_ranges all;
    memset(&all, 0xff, sizeof(all));
    int rc = drop_all(txn);
    if (rc == CKV_OK)
        rc = walk_all(txn, &all, count_record, txn);
    if (rc != CKV_OK)
        return rc;
    return ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(digests_row),
                            ckv_octets(&format, sizeof(format)));
}

/*  CKV_ERROR_NOT_FOUND also for digests of another form, which are counted anew.  */
static int find_digests(struct ckv_kv_txn *txn)
{
    struct ckv_octets value;
    int rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(digests_row), &value);
    if (rc == CKV_OK && !ckv_octets_equal(value, ckv_octets(&format, sizeof(format))))
        rc = CKV_ERROR_NOT_FOUND;
    return rc;
}

/*  Goes on where whoever had the store before has stopped.  */
static int count_changes(struct ckv_digests *self, struct ckv_kv_txn *txn)
{
    struct ckv_octets key = ckv_octets(&before_changes, 1), value;
    int rc;
    while ((rc = ckv_kv_table_next(txn, CKV_KV_DIGESTS, &key, &value)) == CKV_OK) {
        if (key.size != CHANGES_KEY_SIZE)
            return CKV_ERROR_STORE;
        self->next = ckv_get64(key.data + 1) + 1;
        self->pending += (unsigned)(value.size / CHANGE_SIZE) + ROW_COST;
    }
    return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
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
    int found = find_digests(txn);
    if (found == CKV_OK)
        rc = count_changes(kv->digests, txn);
    ckv_kv_abort(&txn);
    kv->digests->cramped = is_cramped(kv);
    if (found != CKV_ERROR_NOT_FOUND)
        return found == CKV_OK ? rc : found;
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
