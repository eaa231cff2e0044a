/*  The sqlite engine: for who wants to ask questions of the certificates in SQL.

    The table "certificates" shows what its records hold in columns that a person can read; the
    column "record" is the truth, and the others are written from it, never read back but to find a
    row. Questions may be asked while a node runs; changes made by hand to the other columns have no
    effect, or make the certificate read as damaged.

    Write-ahead log, synchronous=FULL: one fsync a commit. A connection for the writer, and one for
    each read transaction, which keeps its snapshot. SQLite's results last until the next step of
    their statement, ours until the transaction ends: so records are copied.
*/
#include "core/storage_key.h"
#include "core/time.h"
#include "core/z85.h"
#include "kv/engine.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char file_name[] = "certificates.sqlite";

enum {
    APPLICATION_ID = 0x434b5653, /* "CKVS" */
    USER_VERSION = 1,
    BUSY_MS = 10000, /* how long a writer waits for one of another process */
};

/*  Pages that one change may need at most: a side table's value of 64 KiB, and splits in every
    tree. Nearer to max_page_count than this, SQLITE_FULL is taken to mean that bound.  */
enum { PAGES_OF_A_CHANGE = 64 };

static const char schema[] =
    "CREATE TABLE certificates ("
    " position INTEGER PRIMARY KEY,"
    " storage_key BLOB NOT NULL UNIQUE,"
    " storage_key_text TEXT NOT NULL,"
    " client_public_key TEXT NOT NULL," /* Z85 */
    " server_public_key TEXT NOT NULL," /* Z85 */
    " organisation TEXT NOT NULL,"
    " number TEXT NOT NULL,"
    " state TEXT NOT NULL," /* active, revoked */
    " dedicated INTEGER NOT NULL,"
    " created TEXT NOT NULL,"
    " not_before TEXT,"
    " not_after TEXT,"
    " revision TEXT NOT NULL," /* 16 hex digits: SQLite's integers have a sign */
    " record BLOB NOT NULL);"
    "CREATE INDEX by_client_public_key ON certificates (client_public_key);"
    "CREATE TABLE side_rows ("
    " side_table TEXT NOT NULL,"
    " key BLOB NOT NULL,"
    " value BLOB NOT NULL,"
    " PRIMARY KEY (side_table, key)) WITHOUT ROWID;";

/*  What side_rows calls them.  */
static const char *const table_names[CKV_KV_TABLES] = { "state", "outbox", "conflicts", "digests",
                                                        "members" };

enum statement {
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    PAGES,
    VERSION,
    GET,
    FIND,
    NEXT,
    LAST,
    TABLE_GET,
    TABLE_NEXT,
    TABLE_COUNT,
    READ_STATEMENTS,
    PUT = READ_STATEMENTS,
    TABLE_PUT,
    TABLE_DEL,
    STATEMENTS,
};

static const char *const statements[STATEMENTS] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [PAGES] = "PRAGMA page_count",
    [VERSION] = "PRAGMA data_version",
    [GET] = "SELECT record FROM certificates WHERE storage_key = ?1",
    [FIND] = "SELECT record FROM certificates WHERE client_public_key = ?1"
             " ORDER BY position LIMIT 1 OFFSET ?2",
    [NEXT] = "SELECT record, position FROM certificates WHERE position > ?1"
             " ORDER BY position LIMIT 1",
    [LAST] = "SELECT ifnull(max(position), 0) FROM certificates",
    [TABLE_GET] = "SELECT value FROM side_rows WHERE side_table = ?1 AND key = ?2",
    [TABLE_NEXT] = "SELECT value, key FROM side_rows WHERE side_table = ?1 AND key > ?2"
                   " ORDER BY key LIMIT 1",
    [TABLE_COUNT] = "SELECT count(*) FROM side_rows WHERE side_table = ?1",
    [PUT] = "INSERT INTO certificates (storage_key, storage_key_text, client_public_key,"
            " server_public_key, organisation, number, state, dedicated, created, not_before,"
            " not_after, revision, record)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
            " ON CONFLICT (storage_key) DO UPDATE SET storage_key_text = ?2,"
            " client_public_key = ?3, server_public_key = ?4, organisation = ?5, number = ?6,"
            " state = ?7, dedicated = ?8, created = ?9, not_before = ?10, not_after = ?11,"
            " revision = ?12, record = ?13",
    [TABLE_PUT] = "INSERT INTO side_rows (side_table, key, value) VALUES (?1, ?2, ?3)"
                  " ON CONFLICT (side_table, key) DO UPDATE SET value = ?3",
    [TABLE_DEL] = "DELETE FROM side_rows WHERE side_table = ?1 AND key = ?2",
};

struct connection {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS]; /* a reader's lack those that write */
};

struct sqlite {
    struct ckv_kv base;
    char *path;
    bool read_only;
    bool no_sync;
    uint64_t page_size;
    uint64_t max_pages;
    struct connection writer; /* unless read_only; whoever set writing has it */
    pthread_mutex_t lock;     /* over writing */
    pthread_cond_t write_ended;
    bool writing;
};

/*  What a view borrows from.  */
struct copy {
    struct copy *next;
    uint8_t octets[];
};

struct txn {
    struct ckv_kv_txn base;
    struct connection *connection; /* the store's writer, or own */
    struct connection own;
    struct copy *copies;
    bool active; /* not reset */
};

static struct sqlite *sqlite_of(struct ckv_kv *kv)
{
    return (struct sqlite *)kv;
}

static struct txn *txn_of(struct ckv_kv_txn *txn)
{
    return (struct txn *)txn;
}

static int error_of(int rc)
{
    if (rc == SQLITE_IOERR_NOMEM)
        return CKV_ERROR_MEMORY;
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return CKV_OK;
    case SQLITE_NOMEM:
        return CKV_ERROR_MEMORY;
    case SQLITE_FULL:
        return CKV_ERROR_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return CKV_ERROR_IN_USE;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return CKV_ERROR_PERMISSION;
    case SQLITE_ERROR: /* a table or a column that is not there */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return CKV_ERROR_STORE;
    default:
        return CKV_ERROR_IO;
    }
}

/*  ---- connections ----  */

static void disconnect(struct connection *self)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(self->statements[i]);
    sqlite3_close(self->db);
    *self = (struct connection){ 0 };
}

static int prepare(struct connection *self, bool writes)
{
    int count = writes ? STATEMENTS : READ_STATEMENTS, rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < count; i++)
        rc = sqlite3_prepare_v3(self->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &self->statements[i], NULL);
    return error_of(rc);
}

static int connect_file(struct connection *self, const char *path, bool writes)
{
    int flags = SQLITE_OPEN_NOMUTEX | (writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    int rc = sqlite3_open_v2(path, &self->db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_extended_result_codes(self->db, 1);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(self->db, BUSY_MS);
    return error_of(rc);
}

static int connect_reader(const struct sqlite *store, struct connection *self)
{
    int rc = connect_file(self, store->path, false);
    if (rc == CKV_OK)
        rc = prepare(self, false);
    if (rc != CKV_OK)
        disconnect(self);
    return rc;
}

/*  Asks a question that has one number for an answer. The text is ours, never from outside.  */
static int ask(sqlite3 *db, const char *question, uint64_t *answer)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(db, question, -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return error_of(rc);
    rc = sqlite3_step(statement);
    *answer = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return error_of(rc);
}

/*  Runs one of SELF's statements that give no rows.  */
static int run(struct connection *self, enum statement which)
{
    int rc = sqlite3_step(self->statements[which]);
    sqlite3_reset(self->statements[which]);
    return error_of(rc);
}

/*  The same, for one number.  */
static int count(struct connection *self, enum statement which, uint64_t *number)
{
    int rc = sqlite3_step(self->statements[which]);
    *number = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(self->statements[which], 0) : 0;
    sqlite3_reset(self->statements[which]);
    return error_of(rc);
}

/*  ---- open and close ----  */

/*  Makes the file, or sees why it cannot be opened: SQLite would not say, and would not make it
    ours alone.  */
static int make_file(const struct sqlite *self)
{
    int file = open(self->path, (self->read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600);
    if (file >= 0) {
        close(file);
        return CKV_OK;
    }
    return ckv_system_error(errno);
}

static int begin_schema(sqlite3 *db)
{
    char text[128];
    snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %d",
             APPLICATION_ID, USER_VERSION);
    int rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    return error_of(rc);
}

/*  Looks whether the database is ours; makes it ours when it is new. Within a transaction, so that
    two processes that open it at once make it once.  */
static int check_schema(const struct sqlite *self, sqlite3 *db)
{
    uint64_t application = 0, version = 0, tables = 0;
    int rc = ask(db, "PRAGMA application_id", &application);
    if (rc == CKV_OK)
        rc = ask(db, "PRAGMA user_version", &version);
    if (rc == CKV_OK)
        rc = ask(db, "SELECT count(*) FROM sqlite_master", &tables);
    if (rc != CKV_OK)
        return rc;
    if (application == 0 && version == 0 && tables == 0 && !self->read_only)
        return begin_schema(db);
    return application == APPLICATION_ID && version == USER_VERSION ? CKV_OK : CKV_ERROR_STORE;
}

static int open_schema(const struct sqlite *self, sqlite3 *db)
{
    int rc =
        error_of(sqlite3_exec(db, self->read_only ? "BEGIN" : "BEGIN IMMEDIATE", NULL, NULL, NULL));
    if (rc != CKV_OK)
        return rc;
    rc = check_schema(self, db);
    if (rc == CKV_OK)
        return error_of(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/*  After the schema is known to be ours: the mode of the log is written into the file.  */
static int set_modes(const struct sqlite *self, sqlite3 *db)
{
    const char *modes = self->no_sync ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF"
                                      : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
    return error_of(sqlite3_exec(db, modes, NULL, NULL, NULL));
}

static int bound_pages(struct sqlite *self, sqlite3 *db, uint64_t max_size)
{
    char text[64] = "PRAGMA max_page_count";
    int rc = ask(db, "PRAGMA page_size", &self->page_size);
    if (rc == CKV_OK && max_size && self->page_size) {
        uint64_t pages = max_size / self->page_size;
        if (pages < 1)
            return CKV_ERROR_ARGUMENT;
        if (pages < UINT32_MAX - 1)
            snprintf(text, sizeof(text), "PRAGMA max_page_count = %llu", (unsigned long long)pages);
    }
    return rc == CKV_OK ? ask(db, text, &self->max_pages) : rc;
}

static int open_database(struct sqlite *self, const struct ckv_kv_options *options)
{
    struct connection reader = { 0 }, *connection = self->read_only ? &reader : &self->writer;
    int rc = make_file(self);
    if (rc == CKV_OK)
        rc = connect_file(connection, self->path, !self->read_only);
    if (rc == CKV_OK)
        rc = open_schema(self, connection->db);
    if (rc == CKV_OK && !self->read_only)
        rc = set_modes(self, connection->db);
    if (rc == CKV_OK)
        rc = bound_pages(self, connection->db, options->max_size);
    if (rc == CKV_OK)
        rc = prepare(connection, !self->read_only);
    disconnect(&reader);
    return rc;
}

static void sqlite_close(struct ckv_kv *kv)
{
    struct sqlite *self = sqlite_of(kv);
    disconnect(&self->writer);
    free(self->path);
    pthread_cond_destroy(&self->write_ended);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static int sqlite_open(struct ckv_kv **self_p, const struct ckv_kv_options *options)
{
    struct sqlite *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.engine = &ckv_kv_sqlite;
    memcpy(self->base.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    self->read_only = options->read_only;
    self->no_sync = options->no_sync;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->write_ended, NULL);
    int rc = CKV_ERROR_MEMORY;
    if (asprintf(&self->path, "%s/%s", options->directory, file_name) < 0)
        self->path = NULL;
    else
        rc = open_database(self, options);
    if (rc == CKV_OK)
        *self_p = &self->base;
    else
        sqlite_close(&self->base);
    return rc;
}

/*  ---- transactions ----  */

static void forget_copies(struct txn *self)
{
    while (self->copies) {
        struct copy *next = self->copies->next;
        free(self->copies);
        self->copies = next;
    }
}

/*  SQLite takes the snapshot with the first read, not with BEGIN.  */
static int take_snapshot(struct connection *connection)
{
    uint64_t last;
    int rc = run(connection, BEGIN_READ);
    if (rc != CKV_OK)
        return rc;
    rc = count(connection, LAST, &last);
    if (rc != CKV_OK)
        run(connection, ROLLBACK);
    return rc;
}

static int sqlite_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats)
{
    struct sqlite *self = sqlite_of(kv);
    struct connection connection = { 0 };
    uint64_t pages = 0;
    *stats = (struct ckv_kv_stats){ .engine = kv->engine->name,
                                    .max_size = self->max_pages * self->page_size,
                                    .filter_ready = true };
    int rc = connect_reader(self, &connection);
    if (rc == CKV_OK)
        rc = run(&connection, BEGIN_READ);
    if (rc == CKV_OK) /* positions are dense: the last one is how many there are */
        rc = count(&connection, LAST, &stats->records);
    if (rc == CKV_OK) {
        sqlite3_bind_text(connection.statements[TABLE_COUNT], 1, table_names[CKV_KV_CONFLICTS], -1,
                          SQLITE_STATIC);
        rc = count(&connection, TABLE_COUNT, &stats->conflicts);
        sqlite3_bind_text(connection.statements[TABLE_COUNT], 1, table_names[CKV_KV_OUTBOX], -1,
                          SQLITE_STATIC);
    }
    if (rc == CKV_OK)
        rc = count(&connection, TABLE_COUNT, &stats->outbox);
    if (rc == CKV_OK)
        rc = count(&connection, PAGES, &pages);
    stats->bytes = pages * self->page_size;
    disconnect(&connection);
    return rc;
}

static void lock_writer(struct sqlite *self)
{
    pthread_mutex_lock(&self->lock);
    while (self->writing)
        pthread_cond_wait(&self->write_ended, &self->lock);
    self->writing = true;
    pthread_mutex_unlock(&self->lock);
}

static void unlock_writer(struct sqlite *self)
{
    pthread_mutex_lock(&self->lock);
    self->writing = false;
    pthread_cond_signal(&self->write_ended);
    pthread_mutex_unlock(&self->lock);
}

static int begin_write(struct sqlite *store, struct txn *self)
{
    if (store->read_only)
        return CKV_ERROR_READ_ONLY;
    lock_writer(store);
    self->connection = &store->writer;
    int rc = run(self->connection, BEGIN_WRITE);
    if (rc != CKV_OK)
        unlock_writer(store);
    return rc;
}

static int begin_read(struct sqlite *store, struct txn *self)
{
    self->connection = &self->own;
    int rc = connect_reader(store, &self->own);
    if (rc == CKV_OK)
        rc = take_snapshot(&self->own);
    self->active = rc == CKV_OK;
    return rc;
}

static int sqlite_begin(struct ckv_kv *kv, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p)
{
    struct txn *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.kv = kv;
    self->base.mode = mode;
    int rc =
        mode == CKV_KV_WRITE ? begin_write(sqlite_of(kv), self) : begin_read(sqlite_of(kv), self);
    if (rc == CKV_OK) {
        *txn_p = &self->base;
    } else {
        disconnect(&self->own);
        free(self);
    }
    return rc;
}

static void sqlite_reset(struct ckv_kv_txn *txn)
{
    struct txn *self = txn_of(txn);
    if (self->active)
        run(self->connection, ROLLBACK);
    self->active = false;
    forget_copies(self);
}

static int sqlite_renew(struct ckv_kv_txn *txn)
{
    struct txn *self = txn_of(txn);
    sqlite_reset(txn);
    int rc = take_snapshot(self->connection);
    self->active = rc == CKV_OK;
    return rc;
}

static void end_write(struct txn *self)
{
    /*  After some errors SQLite has rolled back by itself.  */
    if (!sqlite3_get_autocommit(self->connection->db))
        run(self->connection, ROLLBACK);
    forget_copies(self);
    unlock_writer(sqlite_of(self->base.kv));
    free(self);
}

/*  SQLite counts what others have committed; a reader's connection commits nothing itself.  */
static int sqlite_commits(struct ckv_kv_txn *txn, uint64_t *number)
{
    return count(txn_of(txn)->connection, VERSION, number);
}

static int sqlite_commit(struct ckv_kv_txn *txn)
{
    struct txn *self = txn_of(txn);
    int rc = run(self->connection, COMMIT);
    end_write(self);
    return rc;
}

static void sqlite_abort(struct ckv_kv_txn *txn)
{
    struct txn *self = txn_of(txn);
    if (txn->mode == CKV_KV_WRITE) {
        end_write(self);
        return;
    }
    forget_copies(self);
    disconnect(&self->own);
    free(self);
}

/*  ---- reading ----  */

/*  Binds OCTETS; an empty run is a blob of no octets, not NULL.  */
static void bind(sqlite3_stmt *statement, int at, struct ckv_octets octets)
{
    sqlite3_bind_blob64(statement, at, octets.size ? octets.data : (const uint8_t *)"", octets.size,
                        SQLITE_STATIC);
}

static void bind_text(sqlite3_stmt *statement, int at, struct ckv_octets text)
{
    sqlite3_bind_text64(statement, at, text.size ? (const char *)text.data : "", text.size,
                        SQLITE_STATIC, SQLITE_UTF8);
}

/*  Copies a column of the row that STATEMENT stands on.  */
static int copy_column(struct txn *self, sqlite3_stmt *statement, int column,
                       struct ckv_octets *octets)
{
    const void *data = sqlite3_column_blob(statement, column);
    size_t size = (size_t)sqlite3_column_bytes(statement, column);
    struct copy *copy = malloc(sizeof(*copy) + size);
    if (!copy)
        return CKV_ERROR_MEMORY;
    if (size)
        memcpy(copy->octets, data, size);
    copy->next = self->copies;
    self->copies = copy;
    *octets = ckv_octets(copy->octets, size);
    return CKV_OK;
}

/*  Steps STATEMENT, bound, to its only row, if any. What it was bound to is let go by finish.  */
static int step(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    return rc == SQLITE_DONE ? CKV_ERROR_NOT_FOUND : error_of(rc);
}

static void finish(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

/*  Steps to the row and copies its first column.  */
static int give(struct txn *self, sqlite3_stmt *statement, struct ckv_octets *octets)
{
    int rc = step(statement);
    if (rc == CKV_OK)
        rc = copy_column(self, statement, 0, octets);
    finish(statement);
    return rc;
}

static int sqlite_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                      struct ckv_octets *record)
{
    struct txn *self = txn_of(txn);
    sqlite3_stmt *statement = self->connection->statements[GET];
    bind(statement, 1, storage_key);
    return give(self, statement, record);
}

static int sqlite_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32], unsigned nth,
                       struct ckv_octets *record)
{
    char text[CKV_Z85_TEXT_SIZE];
    struct txn *self = txn_of(txn);
    sqlite3_stmt *statement = self->connection->statements[FIND];
    bind_text(statement, 1, ckv_octets_text(ckv_z85_text(client_public_key, text)));
    sqlite3_bind_int64(statement, 2, nth);
    return give(self, statement, record);
}

static int sqlite_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record)
{
    struct txn *self = txn_of(txn);
    sqlite3_stmt *statement = self->connection->statements[NEXT];
    if (*position > INT64_MAX)
        return CKV_ERROR_NOT_FOUND;
    sqlite3_bind_int64(statement, 1, (int64_t)*position);
    int rc = step(statement);
    if (rc == CKV_OK)
        rc = copy_column(self, statement, 0, record);
    if (rc == CKV_OK)
        *position = (uint64_t)sqlite3_column_int64(statement, 1);
    finish(statement);
    return rc;
}

/*  ---- writing ----  */

/*  Runs a bound statement that changes something. SQLite says SQLITE_FULL of a full disk and of the
    bound on pages alike; before the change the pages tell them apart, afterwards SQLite may have
    rolled back.  */
static int change(struct txn *self, enum statement which)
{
    const struct sqlite *store = sqlite_of(self->base.kv);
    sqlite3_stmt *statement = self->connection->statements[which];
    uint64_t pages;
    int rc = count(self->connection, PAGES, &pages);
    if (rc == CKV_OK)
        rc = error_of(sqlite3_step(statement));
    finish(statement);
    if (rc == CKV_ERROR_DISK_FULL && pages + PAGES_OF_A_CHANGE > store->max_pages)
        rc = CKV_ERROR_STORE_FULL;
    return rc;
}

/*  0 stands for no time, NULL.  */
static void bind_time(sqlite3_stmt *statement, int at, uint64_t time)
{
    char text[CKV_TIME_TEXT_SIZE];
    if (time)
        sqlite3_bind_text(statement, at, ckv_time_text(time, text), -1, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(statement, at);
}

static void bind_key(sqlite3_stmt *statement, int at, const uint8_t key[32])
{
    char text[CKV_Z85_TEXT_SIZE];
    sqlite3_bind_text(statement, at, ckv_z85_text(key, text), -1, SQLITE_TRANSIENT);
}

static void bind_certificate(sqlite3_stmt *statement, const struct ckv_certificate *certificate)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE], revision[2 * 8 + 1], created[CKV_TIME_TEXT_SIZE];
    const char *state = certificate->state == CKV_STATE_ACTIVE ? "active" : "revoked";
    snprintf(revision, sizeof(revision), "%016llx", (unsigned long long)certificate->revision);
    bind(statement, 1, certificate->storage_key);
    sqlite3_bind_text(statement, 2, ckv_storage_key_text(certificate->storage_key, key), -1,
                      SQLITE_TRANSIENT);
    bind_key(statement, 3, certificate->client_public_key);
    bind_key(statement, 4, certificate->server_public_key);
    bind_text(statement, 5, certificate->organisation);
    bind_text(statement, 6, certificate->number);
    sqlite3_bind_text(statement, 7, state, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 8, certificate->dedicated);
    sqlite3_bind_text(statement, 9, ckv_time_text(certificate->created, created), -1,
                      SQLITE_TRANSIENT);
    bind_time(statement, 10, certificate->not_before);
    bind_time(statement, 11, certificate->not_after);
    sqlite3_bind_text(statement, 12, revision, -1, SQLITE_TRANSIENT);
    bind(statement, 13, certificate->record);
}

/*  One statement puts anew and again: a row that is there keeps its position.  */
static int sqlite_put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                      const struct ckv_certificate *old)
{
    struct txn *self = txn_of(txn);
    (void)old;
    bind_certificate(self->connection->statements[PUT], certificate);
    int rc = change(self, PUT);
    forget_copies(self);
    return rc;
}

/*  ---- side tables ----  */

static sqlite3_stmt *bind_row(struct txn *self, enum statement which, enum ckv_kv_table table,
                              struct ckv_octets key)
{
    sqlite3_stmt *statement = self->connection->statements[which];
    sqlite3_bind_text(statement, 1, table_names[table], -1, SQLITE_STATIC);
    bind(statement, 2, key);
    return statement;
}

static int sqlite_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                            struct ckv_octets *value)
{
    struct txn *self = txn_of(txn);
    return give(self, bind_row(self, TABLE_GET, table, key), value);
}

/*  Copies are forgotten last: KEY and VALUE may be views.  */
static int sqlite_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                            struct ckv_octets value)
{
    struct txn *self = txn_of(txn);
    bind(bind_row(self, TABLE_PUT, table, key), 3, value);
    int rc = change(self, TABLE_PUT);
    forget_copies(self);
    return rc;
}

static int sqlite_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key)
{
    struct txn *self = txn_of(txn);
    bind_row(self, TABLE_DEL, table, key);
    int rc = change(self, TABLE_DEL);
    forget_copies(self);
    return rc;
}

static int sqlite_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table,
                             struct ckv_octets *key, struct ckv_octets *value)
{
    struct txn *self = txn_of(txn);
    sqlite3_stmt *statement = bind_row(self, TABLE_NEXT, table, *key);
    int rc = step(statement);
    if (rc == CKV_OK)
        rc = copy_column(self, statement, 0, value);
    if (rc == CKV_OK)
        rc = copy_column(self, statement, 1, key);
    finish(statement);
    return rc;
}

const struct ckv_kv_engine ckv_kv_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .stats = sqlite_stats,
    .begin = sqlite_begin,
    .reset = sqlite_reset,
    .renew = sqlite_renew,
    .commits = sqlite_commits,
    .commit = sqlite_commit,
    .abort = sqlite_abort,
    .get = sqlite_get,
    .find = sqlite_find,
    .next = sqlite_next,
    .put = sqlite_put,
    .table_get = sqlite_table_get,
    .table_put = sqlite_table_put,
    .table_del = sqlite_table_del,
    .table_next = sqlite_table_next,
};
