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
#include "kv/engine.h"
#include "kv/presence.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char file_name[] = "certificates.mdb";
static const char filter_name[] = "certificates.filter";

enum { READERS_MAX = 1024 };
static const uint64_t max_size_default = UINT64_C(64) << 30;

/*  A reader reserves address space that the node's store will hardly outgrow, so that it need not
    be reopened when the store grows. Tools that limit address space get less.  */
static const uint64_t reader_maps[] = { UINT64_C(1) << 40, UINT64_C(64) << 30, 0 };

/*  The row of CKV_KV_STATE that makes a file ours.  */
static const char store_row[] = "store";
enum { STORE_FORMAT = 1 };
struct store {
    uint8_t format;
    uint8_t index_key[CKV_INDEX_KEY_SIZE];
    uint8_t id[CKV_FILTER_ID_SIZE];
};

struct lmdb {
    struct ckv_kv base;
    MDB_env *env;
    MDB_dbi records, by_storage_key, by_client_public_key;
    MDB_dbi tables[CKV_KV_TABLES];
    struct store store;
    bool read_only;
    uint64_t max_size;
    struct ckv_presence *presence;
    atomic_uint writes; /* write transactions begun */
};

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

static struct lmdb *lmdb_of(struct ckv_kv *kv)
{
    return (struct lmdb *)kv;
}

static struct txn *txn_of(struct ckv_kv_txn *txn)
{
    return (struct txn *)txn;
}

/*  Never CKV_OK for what is not MDB_SUCCESS; clang's analyzer does not see it, and warns of values that
    were never got.  */
static int error_of(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return CKV_OK;
    case MDB_NOTFOUND:
        return CKV_ERROR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return CKV_ERROR_STORE_FULL;
    case MDB_READERS_FULL:
        return CKV_ERROR_READERS;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
    case MDB_PANIC:
        return CKV_ERROR_STORE;
    default:
        return ckv_system_error(rc); /* LMDB's own are negative */
    }
}

static MDB_val value_of(const void *data, size_t size)
{
    return (MDB_val){ size, (void *)data };
}

static struct ckv_octets octets_of(MDB_val value)
{
    return ckv_octets(value.mv_data, value.mv_size);
}

static uint64_t position_of(MDB_val value)
{
    uint64_t position;
    memcpy(&position, value.mv_data, sizeof(position)); /* NOLINT: see error_of */
    return position;
}

static uint64_t hash_of(const struct lmdb *self, struct ckv_octets key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key.data, key.size, self->store.index_key);
    return ckv_get64(hash);
}

/*  ---- open and close ----  */

/*  DIRECTORY/NAME, which the caller frees, or NULL.  */
static char *join(const char *directory, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

static void lmdb_close(struct ckv_kv *kv)
{
    struct lmdb *self = lmdb_of(kv);
    ckv_presence_destroy(&self->presence); /* before the env, which its thread reads */
    if (self->env)
        mdb_env_close(self->env);
    free(self);
}

static int open_env(struct lmdb *self, const char *path, uint64_t map_size, unsigned flags)
{
    int rc = mdb_env_create(&self->env);
    if (rc != MDB_SUCCESS)
        return error_of(rc);
    mdb_env_set_maxdbs(self->env, 3 + CKV_KV_TABLES);
    mdb_env_set_maxreaders(self->env, READERS_MAX);
    if (map_size)
        mdb_env_set_mapsize(self->env, map_size);
    rc = mdb_env_open(self->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | flags, 0600);
    if (rc != MDB_SUCCESS) {
        mdb_env_close(self->env);
        self->env = NULL;
    }
    return error_of(rc);
}

static int open_file(struct lmdb *self, const char *path, bool no_sync)
{
    int rc = CKV_ERROR_MEMORY;
    if (!self->read_only)
        return open_env(self, path, self->max_size, no_sync ? MDB_NOSYNC : 0);
    for (size_t i = 0; rc == CKV_ERROR_MEMORY && i < sizeof(reader_maps) / sizeof(*reader_maps);
         i++)
        rc = open_env(self, path, reader_maps[i], MDB_RDONLY);
    return rc;
}

static int open_tables(struct lmdb *self, MDB_txn *txn)
{
    static const char *const names[CKV_KV_TABLES] = { "state", "outbox", "conflicts", "digests",
                                                      "members" };
    unsigned create = self->read_only ? 0 : MDB_CREATE;
    unsigned index = MDB_INTEGERKEY | MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP | create;
    int rc = mdb_dbi_open(txn, "records", MDB_INTEGERKEY | create, &self->records);
    if (rc == MDB_SUCCESS)
        rc = mdb_dbi_open(txn, "by_storage_key", index, &self->by_storage_key);
    if (rc == MDB_SUCCESS)
        rc = mdb_dbi_open(txn, "by_client_public_key", index, &self->by_client_public_key);
    for (int i = 0; rc == MDB_SUCCESS && i < CKV_KV_TABLES; i++) {
        rc = mdb_dbi_open(txn, names[i], create, &self->tables[i]);
        if (rc == MDB_NOTFOUND && self->read_only && i >= CKV_KV_DIGESTS) {
            self->tables[i] = (MDB_dbi)-1; /* a store that no node of this version has opened yet */
            rc = MDB_SUCCESS;
        }
    }
    return rc == MDB_NOTFOUND ? CKV_ERROR_STORE : error_of(rc);
}

/*  Reads the row that makes the store ours, or writes it into a new one.  */
static int open_store(struct lmdb *self, MDB_txn *txn, const struct ckv_kv_options *options)
{
    MDB_val key = value_of(store_row, sizeof(store_row) - 1), value;
    MDB_stat stat;
    int rc = mdb_get(txn, self->tables[CKV_KV_STATE], &key, &value);
    if (rc == MDB_SUCCESS) {
        if (value.mv_size != sizeof(self->store))
            return CKV_ERROR_STORE;
        memcpy(&self->store, value.mv_data, sizeof(self->store));
        memcpy(self->base.index_key, self->store.index_key, CKV_INDEX_KEY_SIZE);
        return self->store.format == STORE_FORMAT ? CKV_OK : CKV_ERROR_STORE;
    }
    if (rc != MDB_NOTFOUND || self->read_only)
        return rc == MDB_NOTFOUND ? CKV_ERROR_STORE : error_of(rc);
    rc = mdb_stat(txn, self->records, &stat);
    if (rc != MDB_SUCCESS || stat.ms_entries)
        return CKV_ERROR_STORE;
    self->store.format = STORE_FORMAT;
    memcpy(self->base.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    memcpy(self->store.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    randombytes_buf(self->store.id, sizeof(self->store.id));
    value = value_of(&self->store, sizeof(self->store));
    return error_of(mdb_put(txn, self->tables[CKV_KV_STATE], &key, &value, 0));
}

static int open_contents(struct lmdb *self, const struct ckv_kv_options *options)
{
    MDB_txn *txn;
    int rc = error_of(mdb_txn_begin(self->env, NULL, self->read_only ? MDB_RDONLY : 0, &txn));
    if (rc != CKV_OK)
        return rc;
    rc = open_tables(self, txn);
    if (rc == CKV_OK)
        rc = open_store(self, txn, options);
    if (rc == CKV_OK)
        return error_of(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return rc;
}

/*  Offers what CURSOR, in the index by storage key, walks over.  */
static int offer_all(MDB_cursor *cursor, struct ckv_presence_builder *builder)
{
    MDB_val hash, position;
    int rc = mdb_cursor_get(cursor, &hash, &position, MDB_FIRST);
    while (rc == MDB_SUCCESS &&
           ckv_presence_offer(builder, position_of(hash), position_of(position)))
        rc = mdb_cursor_get(cursor, &hash, &position, MDB_NEXT);
    return rc == MDB_NOTFOUND ? CKV_OK : error_of(rc);
}

static int walk_index(void *store, struct ckv_presence_builder *builder)
{
    struct lmdb *self = store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = error_of(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn));
    if (rc != CKV_OK)
        return rc;
    rc = error_of(mdb_cursor_open(txn, self->by_storage_key, &cursor));
    if (rc == CKV_OK) {
        rc = offer_all(cursor, builder);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

/*  The id that a filter is bound to: the store's, and this very file's. A copy of the directory has the
    same store id, and may have been copied while the filter lagged behind.  */
static int make_filter_id(const struct lmdb *self, uint8_t id[CKV_FILTER_ID_SIZE])
{
    struct stat file;
    int fd;
    if (mdb_env_get_fd(self->env, &fd) != MDB_SUCCESS || fstat(fd, &file) != 0)
        return CKV_ERROR_IO;
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, CKV_FILTER_ID_SIZE);
    crypto_generichash_update(&hash, self->store.id, sizeof(self->store.id));
    crypto_generichash_update(&hash, (const uint8_t *)&file.st_dev, sizeof(file.st_dev));
    crypto_generichash_update(&hash, (const uint8_t *)&file.st_ino, sizeof(file.st_ino));
    crypto_generichash_final(&hash, id, CKV_FILTER_ID_SIZE);
    return CKV_OK;
}

static int open_presence(struct lmdb *self, const char *directory)
{
    struct ckv_kv_stats stats;
    uint8_t id[CKV_FILTER_ID_SIZE];
    char *path = join(directory, filter_name);
    if (!path)
        return CKV_ERROR_MEMORY;
    int rc = make_filter_id(self, id);
    if (rc == CKV_OK)
        rc = ckv_presence_new(&self->presence, path, id, self->read_only ? NULL : walk_index, self);
    free(path);
    if (rc == CKV_OK && !self->read_only) {
        rc = self->base.engine->stats(&self->base, &stats);
        if (rc == CKV_OK)
            ckv_presence_build(self->presence, stats.records);
    }
    return rc;
}

/*  LMDB leaves the table of readers sparse: on a full disk the first touch of a page of it would kill
    the reader with SIGBUS. To be called before LMDB opens the file, since closing it here would give
    back locks that LMDB had taken on it.  */
static int reserve_lock_file(const char *path)
{
    enum {
        SLOT_SIZE = 64,
        HEAD_SIZE = 4096
    }; /* of LMDB: a cache line a reader, less for the head */
    char *lock_path;
    if (asprintf(&lock_path, "%s-lock", path) < 0)
        return CKV_ERROR_MEMORY;
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(lock_path);
    if (fd < 0)
        return ckv_system_error(errno);
    int number = posix_fallocate(fd, 0, READERS_MAX * SLOT_SIZE + HEAD_SIZE);
    close(fd);
    return number ? ckv_system_error(number) : CKV_OK;
}

static int open_all(struct lmdb *self, const struct ckv_kv_options *options)
{
    int dead;
    char *path = join(options->directory, file_name);
    if (!path)
        return CKV_ERROR_MEMORY;
    int rc = self->read_only ? CKV_OK : reserve_lock_file(path);
    if (rc == CKV_OK)
        rc = open_file(self, path, options->no_sync);
    free(path);
    if (rc == CKV_OK && !self->read_only)
        rc = error_of(mdb_reader_check(self->env, &dead));
    if (rc == CKV_OK)
        rc = open_contents(self, options);
    if (rc == CKV_OK)
        rc = open_presence(self, options->directory);
    return rc;
}

static int lmdb_open(struct ckv_kv **self_p, const struct ckv_kv_options *options)
{
    struct lmdb *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.engine = &ckv_kv_lmdb;
    self->read_only = options->read_only;
    self->max_size = options->max_size ? options->max_size : max_size_default;
    int rc = open_all(self, options);
    if (rc == CKV_OK)
        *self_p = &self->base;
    else
        lmdb_close(&self->base);
    return rc;
}

static int lmdb_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats)
{
    struct lmdb *self = lmdb_of(kv);
    MDB_txn *txn;
    MDB_stat records, conflicts, outbox;
    MDB_envinfo info;
    int rc = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return error_of(rc);
    rc = mdb_stat(txn, self->records, &records);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(txn, self->tables[CKV_KV_CONFLICTS], &conflicts);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(txn, self->tables[CKV_KV_OUTBOX], &outbox);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(self->env, &info);
    mdb_txn_abort(txn);
    if (rc != MDB_SUCCESS)
        return error_of(rc);

    *stats = (struct ckv_kv_stats){
        .engine = self->base.engine->name,
        .records = records.ms_entries,
        .conflicts = conflicts.ms_entries,
        .outbox = outbox.ms_entries,
        .bytes = (uint64_t)(info.me_last_pgno + 1) * records.ms_psize,
        .max_size = info.me_mapsize,
        .filter_ready = self->presence && ckv_presence_ready(self->presence),
    };
    return CKV_OK;
}

/*  ---- transactions ----  */

static int find_last(struct txn *self)
{
    struct lmdb *lmdb = lmdb_of(self->base.kv);
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(self->mdb, lmdb->records, &cursor);
    if (rc != MDB_SUCCESS)
        return error_of(rc);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    self->last = rc == MDB_SUCCESS ? position_of(key) : 0;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? CKV_OK : error_of(rc);
}

/*  New records are refused a little before the store is full: so changes of those that are there, which
    revocations are, find the pages that LMDB needs to put in the place of old ones.  */
static bool has_room(const struct lmdb *self)
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
static void grow_filter(struct lmdb *self)
{
    struct ckv_kv_stats stats = { .records = 0 };
    if (ckv_presence_crowded(self->presence) && lmdb_stats(&self->base, &stats) == CKV_OK)
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
    return error_of(rc);
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
    struct lmdb *lmdb = lmdb_of(self->base.kv);
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
static int begin_mdb(struct lmdb *self, bool writes, MDB_txn **mdb)
{
    enum { CHECK_EVERY = 256 };
    int dead;
    if (writes && atomic_fetch_add(&self->writes, 1) % CHECK_EVERY == CHECK_EVERY - 1)
        mdb_reader_check(self->env, &dead);
    int rc = mdb_txn_begin(self->env, NULL, writes ? 0 : MDB_RDONLY, mdb);
    if (rc == MDB_READERS_FULL && mdb_reader_check(self->env, &dead) == MDB_SUCCESS && dead)
        rc = mdb_txn_begin(self->env, NULL, MDB_RDONLY, mdb);
    return error_of(rc);
}

static int lmdb_begin(struct ckv_kv *kv, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p)
{
    struct lmdb *lmdb = lmdb_of(kv);
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
    return error_of(rc);
}

/*  Keeping the snapshot also saves finding the databases in it, as LMDB does after a renewal.  */
static bool lmdb_is_newest(struct ckv_kv_txn *txn)
{
    MDB_envinfo info;
    mdb_env_info(lmdb_of(txn->kv)->env, &info);
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
static bool is_disk_full(const struct lmdb *self)
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
    if (rc == EIO && is_disk_full(lmdb_of(txn->kv)))
        rc = ENOSPC;
    free(txn);
    return error_of(rc);
}

static void lmdb_abort(struct ckv_kv_txn *txn)
{
    end_walk(&txn_of(txn)->by_storage_key);
    end_walk(&txn_of(txn)->by_client_public_key);
    mdb_txn_abort(txn_of(txn)->mdb);
    free(txn);
}

/*  ---- records ----  */

static int get_at(const struct lmdb *lmdb, MDB_txn *mdb, uint64_t position,
                  struct ckv_octets *record)
{
    MDB_val key = value_of(&position, sizeof(position)), value = { 0, NULL };
    int rc = mdb_get(mdb, lmdb->records, &key, &value);
    if (rc != MDB_SUCCESS)
        return error_of(rc);
    *record = octets_of(value);
    return record->size < CKV_RECORD_MIN ? CKV_ERROR_DAMAGED : CKV_OK;
}

static bool has_storage_key(struct ckv_octets record, struct ckv_octets storage_key)
{
    const struct ckv_record *header = (const struct ckv_record *)record.data;
    return header->storage_key_size == storage_key.size && /* NOLINT: see error_of */
           memcmp(header->storage_key, storage_key.data, storage_key.size) == 0;
}

static bool has_client_public_key(struct ckv_octets record, const uint8_t *client_public_key)
{
    const struct ckv_record *header = (const struct ckv_record *)record.data;
    return memcmp(header->client_public_key, client_public_key, 32) == 0;
}

/*  Tries the positions that the filter named. NOT_FOUND is final only if the filter was sure.  */
static int get_filtered(const struct lmdb *lmdb, MDB_txn *mdb, struct ckv_octets storage_key,
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
    const struct lmdb *lmdb = lmdb_of(self->base.kv);
    struct walk *walk =
        index == lmdb->by_storage_key ? &self->by_storage_key : &self->by_client_public_key;
    MDB_val key = value_of(&hash, sizeof(hash)), value = { 0, NULL };
    int rc = place_walk(self, walk, index);
    if (rc != CKV_OK)
        return rc;
    bool goes_on = nth && walk->given == nth && walk->hash == hash;
    unsigned matched = goes_on ? nth : 0;
    rc = error_of(mdb_cursor_get(walk->cursor, &key, &value, goes_on ? MDB_NEXT_DUP : MDB_SET));
    walk->given = 0;
    while (rc == CKV_OK) {
        *position = position_of(value);
        rc = get_at(lmdb, self->mdb, *position, record);
        if (rc == CKV_ERROR_NOT_FOUND)
            rc = CKV_ERROR_STORE; /* an index that points nowhere */
        if (rc != CKV_OK || (matches(*record, wanted) && matched++ == nth))
            break;
        rc = error_of(mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT_DUP));
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
    struct lmdb *lmdb = lmdb_of(txn->kv);
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
    struct lmdb *lmdb = lmdb_of(txn->kv);
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
        return error_of(rc);
    *row_key = value_of(key.data, key.size);
    rc = mdb_cursor_get(cursor, row_key, row_value, key.size ? MDB_SET_RANGE : MDB_FIRST);
    if (rc == MDB_SUCCESS && key.size && ckv_octets_equal(octets_of(*row_key), key))
        rc = mdb_cursor_get(cursor, row_key, row_value, MDB_NEXT);
    mdb_cursor_close(cursor);
    return error_of(rc);
}

static int lmdb_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record)
{
    MDB_val key = { 0, NULL }, value = key;
    int rc = row_after(txn_of(txn)->mdb, lmdb_of(txn->kv)->records,
                       ckv_octets(position, sizeof(*position)), &key, &value);
    if (rc != CKV_OK)
        return rc;
    *position = position_of(key);
    *record = octets_of(value);
    return CKV_OK;
}

/*  The index by storage key is in the order of hashes, so a range is a piece of it.  */
static int lmdb_walk_range(struct ckv_kv_txn *txn, uint64_t first, uint64_t last,
                           ckv_kv_visit *visit, void *argument, unsigned range)
{
    const struct lmdb *lmdb = lmdb_of(txn->kv);
    MDB_txn *mdb = txn_of(txn)->mdb;
    MDB_cursor *cursor;
    MDB_val hash = value_of(&first, sizeof(first)), position = { 0, NULL };
    struct ckv_octets record = { NULL, 0 };
    struct ckv_certificate certificate;
    int rc = error_of(mdb_cursor_open(mdb, lmdb->by_storage_key, &cursor));
    if (rc != CKV_OK)
        return rc;
    int more = error_of(mdb_cursor_get(cursor, &hash, &position, MDB_SET_RANGE));
    while (rc == CKV_OK && more == CKV_OK && position_of(hash) <= last) {
        int found = get_at(lmdb, mdb, position_of(position), &record);
        if (found == CKV_OK &&
            ckv_certificate_parse(&certificate, record.data, record.size) == CKV_OK &&
            hash_of(lmdb, certificate.storage_key) == position_of(hash))
            rc = visit(argument, range, &certificate);
        else if (found != CKV_OK && found != CKV_ERROR_DAMAGED)
            rc = found == CKV_ERROR_NOT_FOUND ? CKV_ERROR_STORE : found;
        if (rc == CKV_OK)
            more = error_of(mdb_cursor_get(cursor, &hash, &position, MDB_NEXT));
    }
    mdb_cursor_close(cursor);
    return rc == CKV_OK && more != CKV_ERROR_NOT_FOUND ? more : rc;
}

static int index_client_public_key(struct txn *self, const uint8_t *client_public_key,
                                   uint64_t position, bool present)
{
    struct lmdb *lmdb = lmdb_of(self->base.kv);
    uint64_t hash = hash_of(lmdb, ckv_octets(client_public_key, 32));
    MDB_val key = value_of(&hash, sizeof(hash)), value = value_of(&position, sizeof(position));
    if (present)
        return error_of(mdb_put(self->mdb, lmdb->by_client_public_key, &key, &value, 0));
    int rc = mdb_del(self->mdb, lmdb->by_client_public_key, &key, &value);
    return rc == MDB_NOTFOUND ? CKV_OK : error_of(rc); /* a damaged record may name another key */
}

static int put_record(struct txn *self, uint64_t position, struct ckv_octets record, unsigned flags)
{
    MDB_val key = value_of(&position, sizeof(position)), value = value_of(record.data, record.size);
    return error_of(mdb_put(self->mdb, lmdb_of(self->base.kv)->records, &key, &value, flags));
}

static int put_new(struct txn *self, const struct ckv_certificate *certificate)
{
    struct lmdb *lmdb = lmdb_of(self->base.kv);
    uint64_t hash = hash_of(lmdb, certificate->storage_key), position = self->last + 1;
    MDB_val key = value_of(&hash, sizeof(hash)), value = value_of(&position, sizeof(position));
    if (position > CKV_FILTER_POSITION_MAX || !self->has_room)
        return CKV_ERROR_STORE_FULL;
    int rc = put_record(self, position, certificate->record, MDB_APPEND);
    if (rc == CKV_OK)
        rc = error_of(mdb_put(self->mdb, lmdb->by_storage_key, &key, &value, 0));
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
    struct lmdb *lmdb = lmdb_of(self->base.kv);
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
    MDB_val name = value_of(key.data, key.size), found;
    int rc = mdb_get(txn_of(txn)->mdb, lmdb_of(txn->kv)->tables[table], &name, &found);
    if (rc == MDB_SUCCESS)
        *value = octets_of(found);
    return error_of(rc);
}

static int lmdb_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                          struct ckv_octets value)
{
    MDB_val name = value_of(key.data, key.size), content = value_of(value.data, value.size);
    return error_of(mdb_put(txn_of(txn)->mdb, lmdb_of(txn->kv)->tables[table], &name, &content, 0));
}

static int lmdb_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key)
{
    MDB_val name = value_of(key.data, key.size);
    int rc = mdb_del(txn_of(txn)->mdb, lmdb_of(txn->kv)->tables[table], &name, NULL);
    return rc == MDB_NOTFOUND ? CKV_OK : error_of(rc);
}

static int lmdb_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                           struct ckv_octets *value)
{
    MDB_val row_key, row_value;
    int rc =
        row_after(txn_of(txn)->mdb, lmdb_of(txn->kv)->tables[table], *key, &row_key, &row_value);
    if (rc != CKV_OK)
        return rc;
    *key = octets_of(row_key);
    *value = octets_of(row_value);
    return CKV_OK;
}

const struct ckv_kv_engine ckv_kv_lmdb = {
    .name = "lmdb",
    .copies_pages = true,
    .open = lmdb_open,
    .close = lmdb_close,
    .stats = lmdb_stats,
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
