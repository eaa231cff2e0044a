/*  lmdb_file: the files of an lmdb store, and how they are opened: for the one who writes, or for any
    number of readers in other processes.

        certificates.mdb        the store: LMDB's file, MDB_NOSUBDIR
        certificates.mdb-lock   LMDB's table of readers
        certificates.filter     the filter (kv/presence.h)
*/
#include "kv/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char file_name[] = "certificates.mdb";
static const char filter_name[] = "certificates.filter";

enum { READERS_MAX = 1024 };
static const uint64_t max_size_default = UINT64_C(64) << 30;

/*  A reader reserves address space that the node's store will hardly outgrow, so that it need not
    be reopened when the store grows. Tools that limit address space get less.  */
static const uint64_t reader_maps[] = { UINT64_C(1) << 40, UINT64_C(64) << 30, 0 };

/*  The name of its row.  */
static const char store_row[] = "store";
enum { STORE_FORMAT = 1 };

/*  DIRECTORY/NAME, which the caller frees, or NULL.  */
static char *join(const char *directory, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

void ckv_lmdb_close(struct ckv_kv *kv)
{
    struct ckv_lmdb *self = ckv_lmdb_of(kv);
    ckv_presence_destroy(&self->presence); /* before the env, which its thread reads */
    if (self->env)
        mdb_env_close(self->env);
    free(self);
}

static int open_env(struct ckv_lmdb *self, const char *path, uint64_t map_size, unsigned flags)
{
    int rc = mdb_env_create(&self->env);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);
    mdb_env_set_maxdbs(self->env, 3 + CKV_KV_TABLES);
    mdb_env_set_maxreaders(self->env, READERS_MAX);
    if (map_size)
        mdb_env_set_mapsize(self->env, map_size);
    rc = mdb_env_open(self->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | flags, 0600);
    if (rc != MDB_SUCCESS) {
        mdb_env_close(self->env);
        self->env = NULL;
    }
    return ckv_lmdb_error(rc);
}

static int open_file(struct ckv_lmdb *self, const char *path, bool no_sync)
{
    int rc = CKV_ERROR_MEMORY;
    if (!self->read_only)
        return open_env(self, path, self->max_size, no_sync ? MDB_NOSYNC : 0);
    for (size_t i = 0; rc == CKV_ERROR_MEMORY && i < sizeof(reader_maps) / sizeof(*reader_maps);
         i++)
        rc = open_env(self, path, reader_maps[i], MDB_RDONLY);
    return rc;
}

static int open_tables(struct ckv_lmdb *self, MDB_txn *txn)
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
    return rc == MDB_NOTFOUND ? CKV_ERROR_STORE : ckv_lmdb_error(rc);
}

/*  Reads the row that makes the store ours, or writes it into a new one.  */
static int open_store(struct ckv_lmdb *self, MDB_txn *txn, const struct ckv_kv_options *options)
{
    MDB_val key = ckv_lmdb_value(store_row, sizeof(store_row) - 1), value;
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
        return rc == MDB_NOTFOUND ? CKV_ERROR_STORE : ckv_lmdb_error(rc);
    rc = mdb_stat(txn, self->records, &stat);
    if (rc != MDB_SUCCESS || stat.ms_entries)
        return CKV_ERROR_STORE;
    self->store.format = STORE_FORMAT;
    memcpy(self->base.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    memcpy(self->store.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    randombytes_buf(self->store.id, sizeof(self->store.id));
    value = ckv_lmdb_value(&self->store, sizeof(self->store));
    return ckv_lmdb_error(mdb_put(txn, self->tables[CKV_KV_STATE], &key, &value, 0));
}

static int open_contents(struct ckv_lmdb *self, const struct ckv_kv_options *options)
{
    MDB_txn *txn;
    int rc = ckv_lmdb_error(mdb_txn_begin(self->env, NULL, self->read_only ? MDB_RDONLY : 0, &txn));
    if (rc != CKV_OK)
        return rc;
    rc = open_tables(self, txn);
    if (rc == CKV_OK)
        rc = open_store(self, txn, options);
    if (rc == CKV_OK)
        return ckv_lmdb_error(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return rc;
}

/*  Offers what CURSOR, in the index by storage key, walks over.  */
static int offer_all(MDB_cursor *cursor, struct ckv_presence_builder *builder)
{
    MDB_val hash, position;
    int rc = mdb_cursor_get(cursor, &hash, &position, MDB_FIRST);
    while (rc == MDB_SUCCESS &&
           ckv_presence_offer(builder, ckv_lmdb_position(hash), ckv_lmdb_position(position)))
        rc = mdb_cursor_get(cursor, &hash, &position, MDB_NEXT);
    return rc == MDB_NOTFOUND ? CKV_OK : ckv_lmdb_error(rc);
}

static int walk_index(void *store, struct ckv_presence_builder *builder)
{
    struct ckv_lmdb *self = store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = ckv_lmdb_error(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn));
    if (rc != CKV_OK)
        return rc;
    rc = ckv_lmdb_error(mdb_cursor_open(txn, self->by_storage_key, &cursor));
    if (rc == CKV_OK) {
        rc = offer_all(cursor, builder);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

/*  The id that a filter is bound to: the store's, and this very file's. A copy of the directory has the
    same store id, and may have been copied while the filter lagged behind.  */
static int make_filter_id(const struct ckv_lmdb *self, uint8_t id[CKV_FILTER_ID_SIZE])
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

static int open_presence(struct ckv_lmdb *self, const char *directory)
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

static int open_all(struct ckv_lmdb *self, const struct ckv_kv_options *options)
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
        rc = ckv_lmdb_error(mdb_reader_check(self->env, &dead));
    if (rc == CKV_OK)
        rc = open_contents(self, options);
    if (rc == CKV_OK)
        rc = open_presence(self, options->directory);
    return rc;
}

int ckv_lmdb_open(struct ckv_kv **self_p, const struct ckv_kv_options *options)
{
    struct ckv_lmdb *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.engine = &ckv_kv_lmdb;
    self->read_only = options->read_only;
    self->max_size = options->max_size ? options->max_size : max_size_default;
    int rc = open_all(self, options);
    if (rc == CKV_OK)
        *self_p = &self->base;
    else
        ckv_lmdb_close(&self->base);
    return rc;
}

int ckv_lmdb_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats)
{
    struct ckv_lmdb *self = ckv_lmdb_of(kv);
    MDB_txn *txn;
    MDB_stat records, conflicts, outbox;
    MDB_envinfo info;
    int rc = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);
    rc = mdb_stat(txn, self->records, &records);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(txn, self->tables[CKV_KV_CONFLICTS], &conflicts);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(txn, self->tables[CKV_KV_OUTBOX], &outbox);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(self->env, &info);
    mdb_txn_abort(txn);
    if (rc != MDB_SUCCESS)
        return ckv_lmdb_error(rc);

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
