/*  The promises of node/library/curvekv.h that one process can show. What writes is a child: a process opens a
    store once.  */
#include "kv/kv.h"
#include "node/library/curvekv.h"
#include "tests/unit/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/ckv-library-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command); /* NOLINT(cert-env33-c): a name of our own making */
}

enum { RECORDS = 200 };

/*  Writes all records, in COMMITS commits of rising revisions. Returns the size of the store in pages
    of 4096, or 0.  */
static uint64_t write_store(uint64_t first_revision, unsigned commits)
{
    struct ckv_kv_options options = { .directory = directory, .no_sync = true };
    struct ckv_cluster_key *key = make_cluster_key();
    struct ckv_kv_stats stats = { .bytes = 0 };
    struct ckv_kv_txn *txn;
    struct ckv_kv *kv;
    static struct sealed record;
    int rc = ckv_kv_open(&kv, "lmdb", &options);
    for (uint64_t i = 0; rc >= 0 && i < commits; i++) {
        rc = ckv_kv_begin(kv, CKV_KV_WRITE, &txn);
        for (unsigned number = 0; rc >= 0 && number < RECORDS; number++) {
            make_record(&record, key,
                        (struct plan){ .number = number, .revision = first_revision + i });
            rc = ckv_kv_merge(txn, &record.view);
        }
        rc = rc < 0 ? rc : ckv_kv_commit(&txn);
    }
    if (rc < 0 || ckv_kv_stats(kv, &stats) != CKV_OK)
        return 0;
    ckv_kv_close(&kv);
    return stats.bytes / 4096;
}

/*  The same in a child.  */
static uint64_t write_elsewhere(uint64_t first_revision, unsigned commits)
{
    uint64_t pages = 0;
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        pages = write_store(first_revision, commits);
        _exit(write(ends[1], &pages, sizeof(pages)) != sizeof(pages));
    }
    assert_int_equal(read(ends[0], &pages, sizeof(pages)), sizeof(pages));
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    close(ends[1]);
    assert_true(pages > 0);
    return pages;
}

static void stores_of_one_directory_resolve_what_another_process_wrote(void **state)
{
    struct ckv_store *a, *b;
    struct ckv_certificate view;
    uint8_t key[32];
    (void)state;
    write_elsewhere(1, 1);
    assert_int_equal(ckv_store_open(&a, directory), CKV_OK);
    assert_int_equal(ckv_store_open(&b, directory), CKV_OK);
    assert_int_equal(ckv_store_resolve(a, "7", 1, &view), CKV_OK);
    client_key(8, key);
    assert_memory_equal(view.client_public_key, key, 32);
    assert_int_equal(ckv_store_resolve_client(b, key, &view), CKV_OK);
    assert_true(ckv_octets_equal(view.storage_key, ckv_octets_text("7")));
    assert_int_equal(ckv_store_resolve(b, "none", 4, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_store_resolve(b, "", 0, &view), CKV_ERROR_NOT_FOUND);
    ckv_store_close(&a);
    write_elsewhere(2, 1);
    assert_int_equal(ckv_store_resolve(b, "7", 1, &view), CKV_OK); /* sees the commit at once */
    assert_int_equal(view.revision, 2);
    ckv_store_close(&b);
    assert_null(b);
    ckv_store_close(&b);
}

static void what_is_no_store_is_not_opened(void **state)
{
    struct ckv_store *store;
    (void)state;
    assert_int_equal(ckv_store_open(&store, directory), CKV_ERROR_NO_STORE);
    assert_null(store);
    assert_int_equal(ckv_store_open(&store, "/absent"), CKV_ERROR_NO_STORE);
}

static void a_released_store_lets_space_be_used_again(void **state)
{
    enum { COMMITS = 40 };
    struct ckv_store *store;
    struct ckv_certificate view;
    (void)state;
    uint64_t begin = write_elsewhere(1, COMMITS);
    assert_int_equal(ckv_store_open(&store, directory), CKV_OK);
    assert_int_equal(ckv_store_resolve(store, "7", 1, &view), CKV_OK);
    ckv_store_release(store);
    uint64_t released = write_elsewhere(COMMITS + 1, COMMITS);
    assert_int_equal(ckv_store_resolve(store, "7", 1, &view), CKV_OK);
    uint64_t held = write_elsewhere(2 * COMMITS + 1, COMMITS);
    assert_int_equal(view.revision, 2 * COMMITS); /* the view is as it was */
    assert_true(released - begin < held - released);
    assert_int_equal(ckv_store_resolve(store, "7", 1, &view), CKV_OK);
    assert_int_equal(view.revision, 3 * COMMITS);
    ckv_store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stores_of_one_directory_resolve_what_another_process_wrote),
        TEST(what_is_no_store_is_not_opened),
        TEST(a_released_store_lets_space_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
