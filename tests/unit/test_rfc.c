/*  The vectors that docs/rfc-storage-key.md prints are what the code makes and refuses: whoever implements
    from the document alone can talk to us. Run from the root of the sources.  */
#include "core/curve.h"
#include "tests/unit/vectors.h"

#define DOCUMENT "docs/rfc-storage-key.md"

enum { HELLOS = 3, CHANGES_MAX = 64 };

struct change {
    size_t at;
    unsigned value;
    char found[16];
};

static struct vectors *vectors;
static struct change changes[CHANGES_MAX];
static size_t change_count;

static void take_change(const char *line)
{
    struct change *change = &changes[change_count++];
    assert_true(change_count <= CHANGES_MAX);
    assert_int_equal(sscanf(line, "%zu %2x %15s", &change->at, &change->value, change->found), 3);
    assert_true(change->at < CKV_HELLO_SIZE);
}

/*  Reads the blocks that are fenced as vectors and changes.  */
static void take_document(FILE *file)
{
    enum { TEXT, VECTORS_BLOCK, CHANGES_BLOCK, OTHER_BLOCK } within = TEXT;
    char line[512];
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "```", 3) == 0)
            within = within != TEXT                      ? TEXT
                     : strcmp(line, "```vectors\n") == 0 ? VECTORS_BLOCK
                     : strcmp(line, "```changes\n") == 0 ? CHANGES_BLOCK
                                                         : OTHER_BLOCK;
        else if (within == VECTORS_BLOCK)
            vectors_take_line(vectors, line);
        else if (within == CHANGES_BLOCK)
            take_change(line);
    }
    assert_int_equal(within, TEXT);
}

static int load(void **state)
{
    (void)state;
    FILE *file = fopen(DOCUMENT, "r");
    vectors = calloc(1, sizeof(*vectors));
    if (sodium_init() < 0 || !vectors || !file) {
        fprintf(stderr, "%s is not there; run this from the root of the sources\n", DOCUMENT);
        return -1;
    }
    take_document(file);
    fclose(file);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(vectors);
    return 0;
}

/*  The NTH of NAME, which has SIZE octets.  */
static const uint8_t *sized(const char *name, size_t nth, size_t size)
{
    struct ckv_octets octets = vector_nth(vectors, name, nth);
    assert_int_equal(octets.size, size);
    return octets.data;
}

static uint64_t clock_of(size_t nth)
{
    uint8_t octets[8] = { 0 };
    memcpy(octets + 2, sized("clock", nth, 6), 6);
    return ckv_get64(octets);
}

static void the_key_pairs_are_pairs(void **state)
{
    (void)state;
    uint8_t public_key[32];
    crypto_scalarmult_base(public_key, sized("server-secret", 0, 32));
    assert_memory_equal(public_key, sized("server-public", 0, 32), 32);
    for (size_t i = 0; i < HELLOS; i++) {
        crypto_scalarmult_base(public_key, sized("transient-secret", i, 32));
        assert_memory_equal(public_key, sized("transient-public", i, 32), 32);
    }
}

static void our_client_makes_the_hellos_of_the_document(void **state)
{
    (void)state;
    for (size_t i = 0; i < HELLOS; i++) {
        struct ckv_curve_client client = { 0 };
        struct ckv_hello_octets hello;
        uint8_t secret[32];
        struct ckv_curve_identity identity = {
            .server_public_key = sized("server-public", 0, 32),
            .storage_key = vector_nth(vectors, "storage-key", i),
            .hello_key = sized("hello-key", i, CKV_HELLO_KEY_SIZE),
        };
        memcpy(secret, sized("transient-secret", i, 32), sizeof(secret));
        assert_int_equal(ckv_curve_client_start(&client, &identity, clock_of(i), secret, &hello),
                         CKV_OK);
        assert_memory_equal(&hello, sized("hello", i, CKV_HELLO_SIZE), CKV_HELLO_SIZE);
        assert_memory_equal(hello.padding.mac, sized("mac", i, CKV_HELLO_MAC_SIZE),
                            CKV_HELLO_MAC_SIZE);
        ckv_curve_client_wipe(&client);
    }
}

static void our_server_reads_and_welcomes_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < HELLOS; i++) {
        struct ckv_curve_server server = { 0 };
        struct ckv_curve_server_random random = { .transient_secret = { 1 } };
        struct ckv_curve_welcome welcome;
        struct ckv_hello hello;
        uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE] = { 2 };
        assert_int_equal(ckv_hello_parse(&hello, sized("hello", i, CKV_HELLO_SIZE), CKV_HELLO_SIZE),
                         CKV_OK);
        assert_true(ckv_octets_equal(hello.storage_key, vector_nth(vectors, "storage-key", i)));
        assert_true(hello.clock == clock_of(i));
        assert_int_equal(hello.nonce, 1);
        assert_int_equal(ckv_hello_verify(&hello, sized("hello-key", i, CKV_HELLO_KEY_SIZE)),
                         CKV_OK);
        assert_int_equal(ckv_curve_server_welcome(&server, &hello, sized("server-public", 0, 32),
                                                  sized("server-secret", 0, 32), &random,
                                                  cookie_key, &welcome),
                         CKV_OK);
        ckv_curve_server_wipe(&server);
    }
}

static const char *found_first(const uint8_t octets[CKV_HELLO_SIZE])
{
    struct ckv_hello hello;
    if (ckv_hello_parse(&hello, octets, CKV_HELLO_SIZE) != CKV_OK)
        return "format";
    if (ckv_hello_verify(&hello, sized("hello-key", 0, CKV_HELLO_KEY_SIZE)) != CKV_OK)
        return "mac";
    return "nothing";
}

static void our_server_finds_each_change_of_the_document(void **state)
{
    (void)state;
    assert_true(change_count >= 20);
    for (size_t i = 0; i < change_count; i++) {
        uint8_t octets[CKV_HELLO_SIZE];
        memcpy(octets, sized("hello", 0, CKV_HELLO_SIZE), sizeof(octets));
        assert_int_not_equal(octets[changes[i].at], changes[i].value);
        octets[changes[i].at] = (uint8_t)changes[i].value;
        assert_string_equal(found_first(octets), changes[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_pairs_are_pairs),
        cmocka_unit_test(our_client_makes_the_hellos_of_the_document),
        cmocka_unit_test(our_server_reads_and_welcomes_them),
        cmocka_unit_test(our_server_finds_each_change_of_the_document),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
