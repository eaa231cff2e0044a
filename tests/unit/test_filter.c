/*  The promises of kv/filter.h and kv/presence.h.  */
#include "kv/presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t store_id[CKV_FILTER_ID_SIZE] = "the store's id.";
static char directory[64], path[96];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/ckv-filter-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof(path), "%s/filter", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

/*  Hashes that look random and are the same each time (splitmix64).  */
static uint64_t hash_of(uint64_t number)
{
    uint64_t z = number * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool holds(const struct ckv_filter *filter, uint64_t hash, uint64_t position, bool *sure)
{
    uint64_t positions[CKV_FILTER_WIDTH];
    unsigned count = ckv_filter_probe(filter, hash, positions, sure);
    for (unsigned i = 0; i < count; i++)
        if (positions[i] == position)
            return true;
    return false;
}

static void no_key_that_was_entered_is_ever_denied(void **state)
{
    enum { KEYS = 40000 }; /* ten times what it was made for: buckets overflow */
    struct ckv_filter *filter;
    unsigned doubtful = 0;
    (void)state;
    assert_int_equal(ckv_filter_create(&filter, path, store_id, KEYS / 10), CKV_OK);
    for (uint64_t i = 1; i <= KEYS; i++)
        ckv_filter_insert(filter, hash_of(i), i);
    assert_true(ckv_filter_crowded(filter));
    assert_int_equal(ckv_filter_complete(filter), CKV_OK);
    for (uint64_t i = 1; i <= KEYS; i++) {
        bool sure;
        bool found = holds(filter, hash_of(i), i, &sure);
        assert_true(found || !sure);
        doubtful += !sure;
    }
    assert_true(doubtful > 0);
    ckv_filter_close(&filter);
}

static void unknown_keys_are_denied_for_sure(void **state)
{
    enum { KEYS = 100000 };
    struct ckv_filter *filter;
    unsigned denied = 0;
    (void)state;
    assert_int_equal(ckv_filter_create(&filter, path, store_id, KEYS), CKV_OK);
    for (uint64_t i = 1; i <= KEYS; i++)
        ckv_filter_insert(filter, hash_of(i), i);
    assert_int_equal(ckv_filter_complete(filter), CKV_OK);
    for (uint64_t i = 1; i <= KEYS; i++) {
        uint64_t positions[CKV_FILTER_WIDTH];
        bool sure;
        denied += ckv_filter_probe(filter, hash_of(KEYS + i), positions, &sure) == 0 && sure;
    }
    assert_true(denied > KEYS * 99 / 100);
    ckv_filter_close(&filter);
}

static void a_filter_being_built_or_replaced_proves_nothing(void **state)
{
    struct ckv_filter *filter, *reader;
    uint64_t positions[CKV_FILTER_WIDTH];
    bool sure = true;
    (void)state;
    assert_int_equal(ckv_filter_create(&filter, path, store_id, 10), CKV_OK);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_ERROR_NOT_FOUND);
    assert_int_equal(ckv_filter_probe(filter, hash_of(1), positions, &sure), 0);
    assert_false(sure);
    assert_int_equal(ckv_filter_complete(filter), CKV_OK);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_OK);
    ckv_filter_probe(reader, hash_of(1), positions, &sure);
    assert_true(sure);
    ckv_filter_retire(filter);
    ckv_filter_probe(reader, hash_of(1), positions, &sure);
    assert_false(sure);
    ckv_filter_close(&reader);
    ckv_filter_close(&filter);
}

static void what_an_earlier_writer_left_is_trusted_no_more(void **state)
{
    struct ckv_filter *filter, *reader;
    (void)state;
    assert_int_equal(ckv_filter_create(&filter, path, store_id, 10), CKV_OK);
    assert_int_equal(ckv_filter_complete(filter), CKV_OK);
    ckv_filter_close(&filter);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_OK);
    assert_true(ckv_filter_ready(reader));
    assert_int_equal(ckv_filter_retire_file(path), CKV_OK);
    assert_false(ckv_filter_ready(reader));
    ckv_filter_close(&reader);
    assert_int_equal(ckv_filter_retire_file(path), CKV_OK);
}

static void a_file_of_another_store_or_of_rubbish_is_not_opened(void **state)
{
    static const uint8_t other[CKV_FILTER_ID_SIZE] = "another store";
    struct ckv_filter *filter, *reader;
    (void)state;
    assert_int_equal(ckv_filter_create(&filter, path, store_id, 10), CKV_OK);
    assert_int_equal(ckv_filter_complete(filter), CKV_OK);
    ckv_filter_close(&filter);
    assert_int_equal(ckv_filter_open(&reader, path, other), CKV_ERROR_NOT_FOUND);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_ERROR_NOT_FOUND);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 100000; i++)
        fputc(i * 7, file);
    fclose(file);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_ERROR_NOT_FOUND);
}

/*  A store of so many keys, to be walked.  */
struct keys {
    uint64_t count;
};

static int walk(void *store, struct ckv_presence_builder *builder)
{
    const struct keys *self = store;
    for (uint64_t i = 1; i <= self->count; i++)
        if (!ckv_presence_offer(builder, hash_of(i), i))
            break;
    return CKV_OK;
}

static void wait_until_ready(const struct ckv_presence *presence)
{
    for (int i = 0; i < 10000 && !ckv_presence_ready(presence); i++)
        usleep(1000);
    assert_true(ckv_presence_ready(presence));
}

static void keys_entered_while_a_filter_is_built_are_in_it(void **state)
{
    enum { OLD = 50000, NEW = 50000 };
    struct keys keys = { .count = OLD };
    struct ckv_presence *presence;
    uint64_t positions[CKV_FILTER_WIDTH];
    bool sure;
    (void)state;
    assert_int_equal(ckv_presence_new(&presence, path, store_id, walk, &keys), CKV_OK);
    ckv_presence_build(presence, OLD);
    for (uint64_t i = OLD + 1; i <= OLD + NEW; i++)
        ckv_presence_enter(presence, hash_of(i), i);
    wait_until_ready(presence);
    for (uint64_t i = 1; i <= OLD + NEW; i++)
        assert_true(ckv_presence_probe(presence, hash_of(i), positions, &sure) > 0 || !sure);
    ckv_presence_destroy(&presence);
}

static void a_reader_finds_the_filter_that_replaces_its_own(void **state)
{
    enum { KEYS = 1500 }; /* no bucket overflows, even of the smallest filter */
    struct keys keys = { .count = KEYS };
    struct ckv_presence *writer, *reader;
    uint64_t positions[CKV_FILTER_WIDTH];
    bool sure = false;
    (void)state;
    assert_int_equal(ckv_presence_new(&reader, path, store_id, NULL, NULL), CKV_OK);
    ckv_presence_probe(reader, hash_of(KEYS + 1), positions, &sure);
    assert_false(sure);
    assert_int_equal(ckv_presence_new(&writer, path, store_id, walk, &keys), CKV_OK);
    for (uint64_t size = KEYS; size <= 100 * KEYS; size *= 10) { /* the second replaces the first */
        ckv_presence_build(writer, size);
        for (int i = 0; i < 10000; i++) {
            wait_until_ready(writer);
            ckv_presence_probe(reader, hash_of(KEYS + 1), positions, &sure);
            if (sure)
                break;
        }
        assert_true(sure);
    }
    ckv_presence_destroy(&reader);
    ckv_presence_destroy(&writer);
}

/*  Were the writer killed while a filter takes the place of another, nobody would enter keys in the old
    one any more. So it must be out of use before the new one has its name; here it never gets one.  */
static void the_old_filter_is_out_of_use_before_the_new_one_has_its_name(void **state)
{
    enum { KEYS = 1000 };
    struct keys keys = { .count = KEYS };
    struct ckv_presence *writer;
    struct ckv_filter *reader;
    (void)state;
    assert_int_equal(ckv_presence_new(&writer, path, store_id, walk, &keys), CKV_OK);
    ckv_presence_build(writer, KEYS);
    wait_until_ready(writer);
    assert_int_equal(ckv_filter_open(&reader, path, store_id), CKV_OK);
    assert_true(ckv_filter_ready(reader));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    ckv_presence_build(writer, KEYS);
    for (int i = 0; i < 10000 && ckv_filter_ready(reader); i++)
        usleep(1000);
    assert_false(ckv_filter_ready(reader));
    ckv_presence_destroy(&writer);
    ckv_filter_close(&reader);
    assert_int_equal(rmdir(path), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_key_that_was_entered_is_ever_denied),
        TEST(unknown_keys_are_denied_for_sure),
        TEST(a_filter_being_built_or_replaced_proves_nothing),
        TEST(what_an_earlier_writer_left_is_trusted_no_more),
        TEST(a_file_of_another_store_or_of_rubbish_is_not_opened),
        TEST(keys_entered_while_a_filter_is_built_are_in_it),
        TEST(a_reader_finds_the_filter_that_replaces_its_own),
        TEST(the_old_filter_is_out_of_use_before_the_new_one_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
