/*  What outlives a process, and what other processes may do with it: the engines that keep files.
 */
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void reopen(struct fixture *self)
{
    ckv_kv_close(&self->kv);
    open_store(self);
}

static void path_of(const struct fixture *self, char path[512])
{
    snprintf(path, 512, "%s/%s", self->directory, self->engine->file);
}

static void reopening_keeps_everything(void **state)
{
    enum { COUNT = 500 };
    struct fixture *self = *state;
    struct ckv_certificate view;
    uint64_t position = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    for (unsigned i = 0; i < COUNT; i++)
        merge_plan(self, txn, (struct plan){ .number = COUNT - i });
    merge_plan(self, txn, (struct plan){ .number = 1, .client = 5000, .revision = 2 });
    merge_plan(self, txn, (struct plan){ .number = 2, .created = 2000 });
    put_row(txn, CKV_KV_STATE, "epoch", "12");
    put_row(txn, CKV_KV_OUTBOX, "1", "one");
    commit(txn);
    for (int round = 0; round < 3; round++) {
        reopen(self);
        txn = begin(self, CKV_KV_READ);
        assert_row(txn, CKV_KV_STATE, "epoch", "12");
        assert_row(txn, CKV_KV_OUTBOX, "1", "one");
        assert_int_equal(find(txn, 5000, &view), CKV_OK);
        assert_int_equal(find(txn, 2, &view), CKV_ERROR_NOT_FOUND);
        position = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            char text[16];
            assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_OK);
            assert_octets(view.storage_key, number_key(COUNT - i, text));
            assert_int_equal(ckv_certificate_verify(&view, self->key), CKV_OK);
            assert_int_equal(get(txn, COUNT - i, &view), CKV_OK);
        }
        ckv_kv_abort(&txn);
        struct ckv_kv_stats stats;
        assert_int_equal(ckv_kv_stats(self->kv, &stats), CKV_OK);
        assert_true(stats.records == COUNT && stats.conflicts == 1);
    }
    /*  Positions go on, they do not begin anew.  */
    assert_int_equal(merge_alone(self, (struct plan){ .number = 9999 }), CKV_KV_NEW);
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_OK);
    assert_octets(view.storage_key, ckv_octets_text("9999"));
    ckv_kv_abort(&txn);
}

/*  ---- kill -9 ----  */

enum { ROUNDS = 5, OF_A_COMMIT = 5 };

/*  Commits without end, from batch FIRST on, and reports each to the pipe. Never returns.  */
static void commit_and_report(struct fixture *self, unsigned first, int report)
{
    if (ckv_kv_open(&self->kv, self->engine->name, &self->options) != CKV_OK)
        _exit(1);
    for (unsigned batch = first;; batch++) {
        struct ckv_kv_txn *txn;
        if (ckv_kv_begin(self->kv, CKV_KV_WRITE, &txn) != CKV_OK)
            _exit(2);
        for (unsigned i = 0; i < OF_A_COMMIT; i++) {
            make_record(&self->a, self->key,
                        (struct plan){ .number = batch * OF_A_COMMIT + i, .padding = 700 });
            if (ckv_kv_merge(txn, &self->a.view) < 0)
                _exit(3);
        }
        if (ckv_kv_commit(&txn) != CKV_OK)
            _exit(4);
        if (write(report, &batch, sizeof(batch)) != sizeof(batch))
            _exit(5);
    }
}

/*  Lets a child commit for a while and kills it. Returns how many batches it reported in all.  */
static unsigned kill_while_committing(struct fixture *self, unsigned first)
{
    int ends[2], status;
    unsigned batch, after = 3 + randombytes_uniform(20), reported = first;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        commit_and_report(self, first, ends[1]);
    }
    close(ends[1]);
    while (read(ends[0], &batch, sizeof(batch)) == sizeof(batch)) {
        assert_int_equal(batch, reported);
        reported++;
        if (reported == first + after) {
            usleep(randombytes_uniform(5000));
            kill(child, SIGKILL);
        }
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return reported;
}

/*  Whole batches, at least those reported, and at most one more. Returns how many.  */
static unsigned assert_whole_batches(struct fixture *self, unsigned reported)
{
    struct ckv_certificate view;
    unsigned there = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    while (get(txn, there, &view) == CKV_OK) {
        assert_int_equal(ckv_certificate_verify(&view, self->key), CKV_OK);
        assert_int_equal(find(txn, there + 1, &view), CKV_OK);
        there++;
    }
    ckv_kv_abort(&txn);
    assert_true(count_records(self) == there);
    assert_int_equal(there % OF_A_COMMIT, 0);
    assert_in_range(there / OF_A_COMMIT, reported, reported + 1);
    return there / OF_A_COMMIT;
}

static void kill_9_loses_no_commit_that_was_reported(void **state)
{
    struct fixture *self = *state;
    unsigned batches = 0;
    self->options.no_sync = false;
    ckv_kv_close(&self->kv);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned reported = kill_while_committing(self, batches);
        open_store(self);
        batches = assert_whole_batches(self, reported);
        ckv_kv_close(&self->kv);
    }
}

/*  ---- another process ----  */

/*  A question and its answer between two processes: one octet each way.  */
struct talk {
    int in, out;
};

static bool tell(const struct talk *self, char what)
{
    return write(self->out, &what, 1) == 1;
}

static bool hear(const struct talk *self, char what)
{
    char heard;
    return read(self->in, &heard, 1) == 1 && heard == what;
}

static int revision_of(struct ckv_kv_txn *txn, uint64_t *revision)
{
    struct ckv_certificate view;
    int rc = find(txn, 2, &view);
    if (rc == CKV_OK)
        rc = get(txn, 1, &view);
    *revision = rc == CKV_OK ? view.revision : 0;
    return rc;
}

/*  Returns the number of the first line that is not as it should be, or 0.  */
static int read_elsewhere(struct fixture *self, const struct talk *talk)
{
    struct ckv_kv_txn *txn, *writer;
    uint64_t revision;
    self->options.read_only = true;
    if (!hear(talk, '1') || ckv_kv_open(&self->kv, self->engine->name, &self->options) != CKV_OK)
        return __LINE__;
    if (ckv_kv_begin(self->kv, CKV_KV_READ, &txn) != CKV_OK)
        return __LINE__;
    if (revision_of(txn, &revision) != CKV_OK || revision != 1 || !tell(talk, '1'))
        return __LINE__;
    if (!hear(talk, '2') || revision_of(txn, &revision) != CKV_OK || revision != 1)
        return __LINE__; /* a snapshot, whoever writes */
    ckv_kv_reset(txn);
    if (ckv_kv_renew(txn) != CKV_OK || revision_of(txn, &revision) != CKV_OK || revision != 2)
        return __LINE__;
    if (ckv_kv_begin(self->kv, CKV_KV_WRITE, &writer) != CKV_ERROR_READ_ONLY)
        return __LINE__;
    ckv_kv_abort(&txn);
    ckv_kv_close(&self->kv);
    return tell(talk, '2') ? 0 : __LINE__;
}

/*  Forked before the parent opens the store: neither LMDB nor SQLite lets a store cross a fork.  */
static pid_t fork_reader(struct fixture *self, struct talk *talk)
{
    int there[2], back[2];
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct talk own = { there[0], back[1] };
        close(there[1]);
        close(back[0]);
        int line = read_elsewhere(self, &own);
        if (line)
            fprintf(stderr, "%s:%d is not as it should be\n", __FILE__, line);
        _exit(line != 0);
    }
    close(there[0]);
    close(back[1]);
    *talk = (struct talk){ back[0], there[1] };
    return child;
}

static void another_process_reads_beside_the_writer(void **state)
{
    struct fixture *self = *state;
    struct talk talk;
    int status;
    ckv_kv_close(&self->kv);
    pid_t child = fork_reader(self, &talk);
    open_store(self);
    assert_int_equal(merge_alone(self, (struct plan){ .number = 1 }), CKV_KV_NEW);
    assert_true(tell(&talk, '1'));
    assert_true(hear(&talk, '1'));
    assert_int_equal(merge_alone(self, (struct plan){ .number = 1, .revision = 2 }), CKV_KV_NEWER);
    for (unsigned i = 100; i < 200; i++)
        merge_alone(self, (struct plan){ .number = i });
    assert_true(tell(&talk, '2'));
    assert_true(hear(&talk, '2'));
    close(talk.in);
    close(talk.out);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_store_that_nobody_writes_is_read(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_txn *txn;
    merge_alone(self, (struct plan){ .number = 1 });
    self->options.read_only = true;
    reopen(self);
    assert_true(count_records(self) == 1);
    txn = begin(self, CKV_KV_READ);
    assert_revision(txn, 1, 1);
    ckv_kv_abort(&txn);
    assert_int_equal(ckv_kv_begin(self->kv, CKV_KV_WRITE, &txn), CKV_ERROR_READ_ONLY);
}

/*  ---- files ----  */

static void empty_directory(struct fixture *self)
{
    ckv_kv_close(&self->kv);
    remove_directory(self->directory);
    assert_int_equal(mkdir(self->directory, 0700), 0);
}

static void where_there_is_no_store_a_reader_makes_none(void **state)
{
    struct fixture *self = *state;
    char path[512];
    path_of(self, path);
    empty_directory(self);
    self->options.read_only = true;
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options),
                     CKV_ERROR_NO_STORE);
    assert_int_equal(access(path, F_OK), -1);
    remove_directory(self->directory);
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options),
                     CKV_ERROR_NO_STORE);
    self->options.read_only = false;
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options),
                     CKV_ERROR_NO_STORE);
}

static void files_are_for_their_owner_alone(void **state)
{
    struct fixture *self = *state;
    char path[512];
    struct stat status;
    struct dirent *entry;
    merge_alone(self, (struct plan){ .number = 1 });
    DIR *directory = opendir(self->directory);
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        snprintf(path, sizeof(path), "%s/%s", self->directory, entry->d_name);
        if (entry->d_name[0] != '.' && stat(path, &status) == 0)
            assert_int_equal(status.st_mode & 0077, 0);
    }
    closedir(directory);
}

static void write_file(const char *path, const void *octets, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_true(write(file, octets, size) == (ssize_t)size);
    close(file);
}

static size_t read_file(const char *path, uint8_t *octets, size_t capacity)
{
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    ssize_t size = read(file, octets, capacity);
    close(file);
    assert_true(size >= 0);
    return (size_t)size;
}

static void assert_refused(struct fixture *self, const uint8_t *octets, size_t size)
{
    static uint8_t after[1 << 20];
    char path[512];
    path_of(self, path);
    for (int read_only = 0; read_only < 2; read_only++) {
        empty_directory(self);
        write_file(path, octets, size);
        self->options.read_only = read_only;
        assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options),
                         CKV_ERROR_STORE);
        assert_null(self->kv);
        assert_octets(ckv_octets(after, read_file(path, after, sizeof(after))),
                      ckv_octets(octets, size)); /* it may be somebody's */
    }
}

static void files_that_are_no_store_are_refused_and_left(void **state)
{
    static const char text[] = "This is not a store, it is a letter.\n";
    static uint8_t octets[1 << 20];
    struct fixture *self = *state;
    char path[512];
    path_of(self, path);
    merge_alone(self, (struct plan){ .number = 1 });
    ckv_kv_close(&self->kv);
    size_t size = read_file(path, octets, sizeof(octets));
    assert_true(size > 1000 && size < sizeof(octets));

    assert_refused(self, octets, 100); /* cut off in its header */
    memset(octets, 0, 64);             /* a header of zeros */
    assert_refused(self, octets, size);
    assert_refused(self, (const uint8_t *)text, sizeof(text) - 1);
    randombytes_buf(octets, sizeof(octets) - 1);
    assert_refused(self, octets, sizeof(octets) - 1);
}

/*  ---- SQL ----  */

static void query(struct fixture *self, const char *question, const char *expected)
{
    char path[512];
    sqlite3 *db;
    sqlite3_stmt *statement;
    path_of(self, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, question, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), expected ? SQLITE_ROW : SQLITE_DONE);
    if (expected)
        assert_string_equal((const char *)sqlite3_column_text(statement, 0), expected);
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_person_can_ask_in_sql(void **state)
{
    struct fixture *self = *state;
    uint8_t raw[] = { 1, 2, 3 };
    merge_alone(self, (struct plan){ .number = 7, .revision = 255, .created = 1382745599000 });
    merge_alone(self, (struct plan){ .number = 8, .state = CKV_STATE_REVOKED, .dedicated = true });
    merge_alone(self, (struct plan){ .number = 9, .storage_key = ckv_octets(raw, sizeof(raw)) });
    query(self, "SELECT count(*) FROM certificates WHERE organisation = 'ACME'", "3");
    query(self, "SELECT number FROM certificates WHERE state = 'revoked' AND dedicated", "8");
    query(self, "SELECT created FROM certificates WHERE storage_key_text = '7'",
          "2013-10-25T23:59:59Z");
    query(self, "SELECT revision FROM certificates WHERE number = '7'", "00000000000000ff");
    query(self, "SELECT storage_key_text FROM certificates WHERE number = '9'", "0x010203");
    query(self, "SELECT 1 FROM certificates WHERE length(client_public_key) <> 40", NULL);
    query(self, "SELECT count(*) FROM certificates WHERE not_after IS NULL", "3");
    merge_alone(self, (struct plan){ .number = 7, .revision = 256, .state = CKV_STATE_REVOKED });
    query(self, "SELECT count(*) FROM certificates WHERE state = 'revoked'", "2");
}

static void change(struct fixture *self, const char *statement)
{
    char path[512];
    sqlite3 *db;
    path_of(self, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void rows_changed_by_hand_are_damaged_not_believed(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    merge_alone(self, (struct plan){ .number = 7, .state = CKV_STATE_REVOKED });
    merge_alone(self, (struct plan){ .number = 8 });
    change(self, "UPDATE certificates SET state = 'active'");
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 7, &view), CKV_OK);
    assert_int_equal(view.state, CKV_STATE_REVOKED);
    ckv_kv_abort(&txn);
    change(self, "UPDATE certificates SET storage_key = cast('9' AS BLOB) WHERE number = '7';"
                 "UPDATE certificates SET record = x'0102' WHERE number = '8'");
    txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 9, &view), CKV_ERROR_DAMAGED);
    assert_int_equal(get(txn, 8, &view), CKV_ERROR_DAMAGED);
    ckv_kv_abort(&txn);
}

static void somebody_else_writes_before_or_after_a_transaction(void **state)
{
    struct fixture *self = *state;
    char path[512];
    sqlite3 *db;
    path_of(self, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM side_rows", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(merge_plan(self, txn, (struct plan){ .number = 1 }), CKV_KV_NEW);
    commit(txn);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM side_rows", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void another_version_of_the_file_is_refused(void **state)
{
    struct fixture *self = *state;
    ckv_kv_close(&self->kv);
    change(self, "PRAGMA user_version = 2");
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options), CKV_ERROR_STORE);
    empty_directory(self);
    change(self, "CREATE TABLE shopping (item TEXT)"); /* somebody else's */
    assert_int_equal(ckv_kv_open(&self->kv, self->engine->name, &self->options), CKV_ERROR_STORE);
    query(self, "SELECT count(*) FROM sqlite_master", "1");
    query(self, "PRAGMA journal_mode", "delete");
}

static const struct test tests[] = {
    TEST(reopening_keeps_everything, DURABLE),
    TEST(kill_9_loses_no_commit_that_was_reported, DURABLE),
    TEST(another_process_reads_beside_the_writer, DURABLE),
    TEST(a_store_that_nobody_writes_is_read, DURABLE),
    TEST(where_there_is_no_store_a_reader_makes_none, DURABLE),
    TEST(files_are_for_their_owner_alone, DURABLE),
    TEST(files_that_are_no_store_are_refused_and_left, DURABLE),
    TEST(a_person_can_ask_in_sql, SQL),
    TEST(rows_changed_by_hand_are_damaged_not_believed, SQL),
    TEST(somebody_else_writes_before_or_after_a_transaction, SQL),
    TEST(another_version_of_the_file_is_refused, SQL),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
