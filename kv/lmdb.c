/*  The lmdb engine: records in order of arrival, and indexes of positions beside them.

        records               position → record           pages fill wholly, writes are local
        by_storage_key        hash → positions            16 octets a certificate
        by_client_public_key  hash → positions            16 octets a certificate
        state, outbox, conflicts                          side tables

    A record could have been stored under its storage key itself, one tree instead of two. But
    derived storage keys are random: every insertion then rewrites a page of its own, and pages stay
    two thirds full. Measured with 1 M records of 290 octets, in batches of 10,000: 2.5 times the
    octets of the records on disk and 55,000 records/s, against 1.7 times and 140,000/s this way. The
    second lookup that positions cost is the filter's, which knows the position from one cache line
    (kv/filter.h); the index answers while the filter is not ready.

    Hashes are SipHash-2-4 under a key of the store; two keys with one hash are two positions, told
    apart in the record.
*/
#include "kv/lmdb.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/statvfs.h>

/*  A walk over the positions that an index holds under one hash. A read transaction keeps its
    cursors, so that a lookup allocates nothing, and goes on where the last one ended.  */
struct walk {
    MDB_cursor *cursor;
    uint64_t snapshot; /* in which the cursor was last used */
    uint64_t hash;
    unsigned given; /* how many under HASH the lookups before have given; 0: begin anew */
};

struct txn {
    struct ckv_kv_txn base;
    MDB_txn *mdb;
    uint64_t last;     /* position of the newest record, when writing */
    bool has_room;     /* for new records, when writing */
    uint64_t snapshot; /* counts renewals */
    struct walk by_storage_key, by_client_public_key;
};

static struct txn *txn_of(struct ckv_kv_txn *txn)
{
    return (struct txn *)txn;
}

static uint64_t hash_of(const struct ckv_lmdb *self, struct ckv_octets key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key.data, key.size, self->store.index_key);
    return ckv_get64(hash);
}

/*  ---- transactions ----  */

static int find_last(struct txn *self)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(self->mdb, lmdb->records, &cursor);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    self->last = rc == MDB_SUCCESS ? ckv_lmdb_position(key) : 0;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? CKV_OK : ckv_lmdb_error(rc);
}

/*  New records are refused a little before the store is full: so changes of those that are there, which
    revocations are, find the pages that LMDB needs to put in the place of old ones.  */
static bool has_room(const struct ckv_lmdb *self)
{
    enum { PART = 8, MOST = 16 << 20 };
    uint64_t reserve = self->max_size / PART < MOST ? self->max_size / PART : MOST;
    MDB_envinfo info;
    MDB_stat stat;
    return mdb_env_info(self->env, &info) != MDB_SUCCESS ||
           mdb_env_stat(self->env, &stat) != MDB_SUCCESS ||
           ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize + reserve < self->max_size;
}

/*  At the begin of a write transaction, when none has changes.  */
static void grow_filter(struct ckv_lmdb *self)
{
    struct ckv_kv_stats stats = { .records = 0 };
    if (ckv_presence_crowded(self->presence) && ckv_lmdb_stats(&self->base, &stats) == CKV_OK)
        ckv_presence_build(self->presence, stats.records);
}

/*  Makes the cursor of WALK good for this moment.  */
static int place_walk(struct txn *self, struct walk *walk, MDB_dbi index)
{
    int rc = MDB_SUCCESS;
    if (!walk->cursor)
        rc = mdb_cursor_open(self->mdb, index, &walk->cursor);
    else if (walk->snapshot != self->snapshot)
        rc = mdb_cursor_renew(self->mdb, walk->cursor);
    else
        return CKV_OK;
    walk->snapshot = self->snapshot;
    walk->given = 0;
    return ckv_lmdb_error(rc);
}

static void end_walk(struct walk *walk)
{
    if (walk->cursor)
        mdb_cursor_close(walk->cursor);
    *walk = (struct walk){ 0 };
}

/*  Opens both cursors, so that no lookup needs to. On an error the transaction is gone.  */
static int place_walks(struct txn *self)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    int rc = place_walk(self, &self->by_storage_key, lmdb->by_storage_key);
    if (rc == CKV_OK)
        rc = place_walk(self, &self->by_client_public_key, lmdb->by_client_public_key);
    if (rc != CKV_OK) {
        end_walk(&self->by_storage_key);
        end_walk(&self->by_client_public_key);
        mdb_txn_abort(self->mdb);
    }
    return rc;
}

/*  Now and then, and when all slots seem taken, the slots of readers that died are freed: a snapshot
    that nobody reads any more keeps old pages from being used again.  */
static int begin_mdb(struct ckv_lmdb *self, bool writes, MDB_txn **mdb)
{
    enum { CHECK_EVERY = 256 };
    int dead;
    if (writes && atomic_fetch_add(&self->writes, 1) % CHECK_EVERY == CHECK_EVERY - 1)
        mdb_reader_check(self->env, &dead);
    int rc = mdb_txn_begin(self->env, NULL, writes ? 0 : MDB_RDONLY, mdb);
    if (rc == MDB_READERS_FULL && mdb_reader_check(self->env, &dead) == MDB_SUCCESS && dead)
        rc = mdb_txn_begin(self->env, NULL, MDB_RDONLY, mdb);
    return ckv_lmdb_error(rc);
}

static int lmdb_begin(struct ckv_kv *kv, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(kv);
    bool writes = mode == CKV_KV_WRITE;
    if (writes && lmdb->read_only)
        return CKV_ERROR_READ_ONLY;
    struct txn *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.kv = kv;
    self->base.mode = mode;
    int rc = begin_mdb(lmdb, writes, &self->mdb);
    if (rc == CKV_OK && writes) {
        grow_filter(lmdb);
        self->has_room = has_room(lmdb);
        rc = find_last(self);
        if (rc != CKV_OK)
            mdb_txn_abort(self->mdb);
    }
    if (rc == CKV_OK && !writes)
        rc = place_walks(self);
    if (rc == CKV_OK)
        *txn_p = &self->base;
    else
        free(self);
    return rc;
}

static void lmdb_reset(struct ckv_kv_txn *txn)
{
    mdb_txn_reset(txn_of(txn)->mdb);
}

static int lmdb_renew(struct ckv_kv_txn *txn)
{
    txn_of(txn)->snapshot++;
    int rc = mdb_txn_renew(txn_of(txn)->mdb);
    /*  What a commit of this snapshot entered in the filter must be seen by the probes that follow;
        LMDB reads the number of the snapshot with a plain load.  */
    atomic_thread_fence(memory_order_acquire);
    return ckv_lmdb_error(rc);
}

/*  Keeping the snapshot also saves finding the databases in it, as LMDB does after a renewal.  */
static bool lmdb_is_newest(struct ckv_kv_txn *txn)
{
    MDB_envinfo info;
    mdb_env_info(ckv_lmdb_of(txn->kv)->env, &info);
    bool newest = info.me_last_txnid == mdb_txn_id(txn_of(txn)->mdb);
    atomic_thread_fence(memory_order_acquire);
    return newest;
}

static int lmdb_commits(struct ckv_kv_txn *txn, uint64_t *number)
{
    *number = mdb_txn_id(txn_of(txn)->mdb);
    return CKV_OK;
}

/*  LMDB calls it EIO when a write was cut short, which is what a disk that fills up does first.  */
static bool is_disk_full(const struct ckv_lmdb *self)
{
    enum { SPARE = 1048576 };
    struct statvfs disk;
    int fd;
    return mdb_env_get_fd(self->env, &fd) == MDB_SUCCESS && fstatvfs(fd, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize < SPARE;
}

static int lmdb_commit(struct ckv_kv_txn *txn)
{
    int rc = mdb_txn_commit(txn_of(txn)->mdb);
    if (rc == EIO && is_disk_full(ckv_lmdb_of(txn->kv)))
        rc = ENOSPC;
    free(txn);
    return ckv_lmdb_error(rc);
}

static void lmdb_abort(struct ckv_kv_txn *txn)
{
    end_walk(&txn_of(txn)->by_storage_key);
    end_walk(&txn_of(txn)->by_client_public_key);
    mdb_txn_abort(txn_of(txn)->mdb);
    free(txn);
}

/*  ---- records ----  */

static int get_at(const struct ckv_lmdb *lmdb, MDB_txn *mdb, uint64_t position,
                  struct ckv_octets *record)
{
    MDB_val key = ckv_lmdb_value(&position, sizeof(position)), value = { 0, NULL };
    int rc = mdb_get(mdb, lmdb->records, &key, &value);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);
    *record = ckv_lmdb_octets(value);
    return record->size < CKV_RECORD_MIN ? CKV_ERROR_DAMAGED : CKV_OK;
}

static bool has_storage_key(struct ckv_octets record, struct ckv_octets storage_key)
{
    const struct ckv_record *header = (const struct ckv_record *)record.data;
    return header->storage_key_size == storage_key.size && /* NOLINT: see ckv_lmdb_error */
           memcmp(header->storage_key, storage_key.data, storage_key.size) == 0;
}

static bool has_client_public_key(struct ckv_octets record, const uint8_t *client_public_key)
{
    const struct ckv_record *header = (const struct ckv_record *)record.data;
    return memcmp(header->client_public_key, client_public_key, 32) == 0;
}

/*  Tries the positions that the filter named. NOT_FOUND is final only if the filter was sure.  */
static int get_filtered(const struct ckv_lmdb *lmdb, MDB_txn *mdb, struct ckv_octets storage_key,
                        uint64_t hash, struct ckv_octets *record, bool *sure)
{
    uint64_t positions[CKV_FILTER_WIDTH];
    unsigned count = ckv_presence_probe(lmdb->presence, hash, positions, sure);
    for (unsigned i = 0; i < count; i++) {
        int rc = get_at(lmdb, mdb, positions[i], record);
        if (rc == CKV_OK && has_storage_key(*record, storage_key))
            return CKV_OK;
        if (rc != CKV_OK && rc != CKV_ERROR_NOT_FOUND)
            return rc;
    }
    return CKV_ERROR_NOT_FOUND;
}

/*  Walks the records at the positions that INDEX holds under HASH, until MATCHES says yes for the
    NTH time. Sets *RECORD and *POSITION.  */
static int get_indexed(struct txn *self, MDB_dbi index, uint64_t hash, unsigned nth,
                       bool (*matches)(struct ckv_octets record, const void *wanted),
                       const void *wanted, struct ckv_octets *record, uint64_t *position)
{
    const struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    struct walk *walk =
        index == lmdb->by_storage_key ? &self->by_storage_key : &self->by_client_public_key;
    MDB_val key = ckv_lmdb_value(&hash, sizeof(hash)), value = { 0, NULL };
    int rc = place_walk(self, walk, index);
    if (rc != CKV_OK)
        return rc;
    bool goes_on = nth && walk->given == nth && walk->hash == hash;
    unsigned matched = goes_on ? nth : 0;
    rc = ckv_lmdb_error(
        mdb_cursor_get(walk->cursor, &key, &value, goes_on ? MDB_NEXT_DUP : MDB_SET));
    walk->given = 0;
    while (rc == CKV_OK) {
        *position = ckv_lmdb_position(value);
        rc = get_at(lmdb, self->mdb, *position, record);
        if (rc == CKV_ERROR_NOT_FOUND)
            rc = CKV_ERROR_STORE; /* an index that points nowhere */
        if (rc != CKV_OK || (matches(*record, wanted) && matched++ == nth))
            break;
        rc = ckv_lmdb_error(mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT_DUP));
    }
    if (rc == CKV_OK) {
        walk->hash = hash;
        walk->given = nth + 1;
    }
    if (self->base.mode == CKV_KV_WRITE)
        end_walk(walk); /* what is written next would move it */
    return rc;
}

static bool matches_storage_key(struct ckv_octets record, const void *wanted)
{
    return has_storage_key(record, *(const struct ckv_octets *)wanted);
}

static bool matches_client_public_key(struct ckv_octets record, const void *wanted)
{
    return has_client_public_key(record, wanted);
}

static int lmdb_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                    struct ckv_octets *record)
{
    struct txn *self = txn_of(txn);
    struct ckv_lmdb *lmdb = ckv_lmdb_of(txn->kv);
    uint64_t hash = hash_of(lmdb, storage_key), position;
    bool sure;
    int rc = get_filtered(lmdb, self->mdb, storage_key, hash, record, &sure);
    if (rc != CKV_ERROR_NOT_FOUND || sure)
        return rc;
    return get_indexed(self, lmdb->by_storage_key, hash, 0, matches_storage_key, &storage_key,
                       record, &position);
}

static int lmdb_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32], unsigned nth,
                     struct ckv_octets *record)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(txn->kv);
    uint64_t hash = hash_of(lmdb, ckv_octets(client_public_key, 32)), position;
    return get_indexed(txn_of(txn), lmdb->by_client_public_key, hash, nth,
                       matches_client_public_key, client_public_key, record, &position);
}

/*  The first row after KEY, or with an empty KEY the first of all.  */
static int row_after(MDB_txn *mdb, MDB_dbi dbi, struct ckv_octets key, MDB_val *row_key,
                     MDB_val *row_value)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(mdb, dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);
    *row_key = ckv_lmdb_value(key.data, key.size);
    rc = mdb_cursor_get(cursor, row_key, row_value, key.size ? MDB_SET_RANGE : MDB_FIRST);
    if (rc == MDB_SUCCESS && key.size && ckv_octets_equal(ckv_lmdb_octets(*row_key), key))
        rc = mdb_cursor_get(cursor, row_key, row_value, MDB_NEXT);
    mdb_cursor_close(cursor);
    return ckv_lmdb_error(rc);
}

static int lmdb_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record)
{
    MDB_val key = { 0, NULL }, value = key;
    int rc = row_after(txn_of(txn)->mdb, ckv_lmdb_of(txn->kv)->records,
                       ckv_octets(position, sizeof(*position)), &key, &value);
    if (rc != CKV_OK)
        return rc;
    *position = ckv_lmdb_position(key);
    *record = ckv_lmdb_octets(value);
    return CKV_OK;
}

/*  The index by storage key is in the order of hashes, so a range is a piece of it.  */
static int lmdb_walk_range(struct ckv_kv_txn *txn, uint64_t first, uint64_t last,
                           ckv_kv_visit *visit, void *argument, unsigned range)
{
    const struct ckv_lmdb *lmdb = ckv_lmdb_of(txn->kv);
    MDB_txn *mdb = txn_of(txn)->mdb;
    MDB_cursor *cursor;
    MDB_val hash = ckv_lmdb_value(&first, sizeof(first)), position = { 0, NULL };
    struct ckv_octets record = { NULL, 0 };
    struct ckv_certificate certificate;
    int rc = ckv_lmdb_error(mdb_cursor_open(mdb, lmdb->by_storage_key, &cursor));
    if (rc != CKV_OK)
        return rc;
    int more = ckv_lmdb_error(mdb_cursor_get(cursor, &hash, &position, MDB_SET_RANGE));
    while (rc == CKV_OK && more == CKV_OK && ckv_lmdb_position(hash) <= last) {
        int found = get_at(lmdb, mdb, ckv_lmdb_position(position), &record);
        if (found == CKV_OK &&
            ckv_certificate_parse(&certificate, record.data, record.size) == CKV_OK &&
            hash_of(lmdb, certificate.storage_key) == ckv_lmdb_position(hash))
            rc = visit(argument, range, &certificate);
        else if (found != CKV_OK && found != CKV_ERROR_DAMAGED)
            rc = found == CKV_ERROR_NOT_FOUND ? CKV_ERROR_STORE : found;
        if (rc == CKV_OK)
            more = ckv_lmdb_error(mdb_cursor_get(cursor, &hash, &position, MDB_NEXT));
    }
    mdb_cursor_close(cursor);
    return rc == CKV_OK && more != CKV_ERROR_NOT_FOUND ? more : rc;
}

static int index_client_public_key(struct txn *self, const uint8_t *client_public_key,
                                   uint64_t position, bool present)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    uint64_t hash = hash_of(lmdb, ckv_octets(client_public_key, 32));
    MDB_val key = ckv_lmdb_value(&hash, sizeof(hash)),
            value = ckv_lmdb_value(&position, sizeof(position));
    if (present)
        return ckv_lmdb_error(mdb_put(self->mdb, lmdb->by_client_public_key, &key, &value, 0));
    int rc = mdb_del(self->mdb, lmdb->by_client_public_key, &key, &value);
    return rc == MDB_NOTFOUND ? CKV_OK
                              : ckv_lmdb_error(rc); /* a damaged record may name another key */
}

static int put_record(struct txn *self, uint64_t position, struct ckv_octets record, unsigned flags)
{
    MDB_val key = ckv_lmdb_value(&position, sizeof(position)),
            value = ckv_lmdb_value(record.data, record.size);
    return ckv_lmdb_error(
        mdb_put(self->mdb, ckv_lmdb_of(self->base.kv)->records, &key, &value, flags));
}

static int put_new(struct txn *self, const struct ckv_certificate *certificate)
{
    struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    uint64_t hash = hash_of(lmdb, certificate->storage_key), position = self->last + 1;
    MDB_val key = ckv_lmdb_value(&hash, sizeof(hash)),
            value = ckv_lmdb_value(&position, sizeof(position));
    if (position > CKV_FILTER_POSITION_MAX || !self->has_room)
        return CKV_ERROR_STORE_FULL;
    int rc = put_record(self, position, certificate->record, MDB_APPEND);
    if (rc == CKV_OK)
        rc = ckv_lmdb_error(mdb_put(self->mdb, lmdb->by_storage_key, &key, &value, 0));
    if (rc == CKV_OK)
        rc = index_client_public_key(self, certificate->client_public_key, position, true);
    if (rc == CKV_OK) {
        self->last = position;
        ckv_presence_enter(lmdb->presence, hash, position);
    }
    return rc;
}

static int put_again(struct txn *self, const struct ckv_certificate *certificate,
                     const struct ckv_certificate *old)
{
    uint64_t position = 0;
    uint8_t old_key[32]; /* OLD lies in a page that the first change may move */
    memcpy(old_key, old->client_public_key, sizeof(old_key));
    bool moves = memcmp(old_key, certificate->client_public_key, sizeof(old_key)) != 0;
    struct ckv_lmdb *lmdb = ckv_lmdb_of(self->base.kv);
    struct ckv_octets record = { NULL, 0 };
    int rc = get_indexed(self, lmdb->by_storage_key, hash_of(lmdb, certificate->storage_key), 0,
                         matches_storage_key, &certificate->storage_key, &record, &position);
    if (rc == CKV_OK)
        rc = put_record(self, position, certificate->record, 0);
    if (rc == CKV_OK && moves)
        rc = index_client_public_key(self, old_key, position, false);
    if (rc == CKV_OK && moves)
        rc = index_client_public_key(self, certificate->client_public_key, position, true);
    return rc;
}

static int lmdb_put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                    const struct ckv_certificate *old)
{
    return old ? put_again(txn_of(txn), certificate, old) : put_new(txn_of(txn), certificate);
}

/*  ---- side tables ----  */

static int lmdb_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                          struct ckv_octets *value)
{
    MDB_val name = ckv_lmdb_value(key.data, key.size), found;
    int rc = mdb_get(txn_of(txn)->mdb, ckv_lmdb_of(txn->kv)->tables[table], &name, &found);
    if (rc == MDB_SUCCESS)
        *value = ckv_lmdb_octets(found);
    return ckv_lmdb_error(rc);
}

static int lmdb_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                          struct ckv_octets value)
{
    MDB_val name = ckv_lmdb_value(key.data, key.size),
            content = ckv_lmdb_value(value.data, value.size);
    return ckv_lmdb_error(
        mdb_put(txn_of(txn)->mdb, ckv_lmdb_of(txn->kv)->tables[table], &name, &content, 0));
}

static int lmdb_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key)
{
    MDB_val name = ckv_lmdb_value(key.data, key.size);
    int rc = mdb_del(txn_of(txn)->mdb, ckv_lmdb_of(txn->kv)->tables[table], &name, NULL);
    return rc == MDB_NOTFOUND ? CKV_OK : ckv_lmdb_error(rc);
}

static int lmdb_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                           struct ckv_octets *value)
{
    MDB_val row_key, row_value;
    int rc = row_after(txn_of(txn)->mdb, ckv_lmdb_of(txn->kv)->tables[table], *key, &row_key,
                       &row_value);
    if (rc != CKV_OK)
        return rc;
    *key = ckv_lmdb_octets(row_key);
    *value = ckv_lmdb_octets(row_value);
    return CKV_OK;
}

const struct ckv_kv_engine ckv_kv_lmdb = {
    .name = "lmdb",
    .copies_pages = true,
    .open = ckv_lmdb_open,
    .close = ckv_lmdb_close,
    .stats = ckv_lmdb_stats,
    .begin = lmdb_begin,
    .reset = lmdb_reset,
    .renew = lmdb_renew,
    .is_newest = lmdb_is_newest,
    .commits = lmdb_commits,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .get = lmdb_get,
    .find = lmdb_find,
    .next = lmdb_next,
    .put = lmdb_put,
    .walk_range = lmdb_walk_range,
    .table_get = lmdb_table_get,
    .table_put = lmdb_table_put,
    .table_del = lmdb_table_del,
    .table_next = lmdb_table_next,
};
