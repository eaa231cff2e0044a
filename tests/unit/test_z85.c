/*  Keys as Z85 text: core/z85.h. Texts are those of RFC 32 and of zmq_curve(7); the octets beside
    them were computed with Python from the RFC's alphabet, not with this code.  */
#include "core/z85.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#define CLIENT_PUBLIC "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define CLIENT_SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
#define SERVER_PUBLIC "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define SERVER_SECRET "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"

static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               ".-:+=^!/*?&<>()[]{}@%$#";

static const struct {
    const char *text;
    const char *hex;
} vectors[] = {
    { "HelloWorldHelloWorldHelloWorldHelloWorld", /* RFC 32's test case, four times */
      "864fd26fb559f75b864fd26fb559f75b864fd26fb559f75b864fd26fb559f75b" },
    { CLIENT_PUBLIC, "bb88471d65e2659b30c55a5321cebb5aab2b70a398645c26dca2b2fcb43fc518" },
    { CLIENT_SECRET, "7bb864b489afa3671fbe69101f94b38972f24816dfb01b51656b3fec8dfd0888" },
    { SERVER_PUBLIC, "54fcba24e93249969316fb617c872bb0c1d1ff14800427c594cbfacf1bc2d652" },
    { SERVER_SECRET, "8e0bdd697628b91d8f245587ee95c5b04d48963f79259877b49cd9063aead3b7" },
    { "0000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000000" },
    { "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0",
      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff" },
};

static uint8_t key[32];
static char text[CKV_Z85_TEXT_SIZE];

/*  Reads TEXT from the end of an allocation.  */
static int read_exact(const void *octets, size_t size)
{
    uint8_t *exact = malloc(size + !size);
    assert_non_null(exact);
    memcpy(exact, octets, size);
    int rc = ckv_z85_read(key, ckv_octets(exact, size));
    free(exact);
    return rc;
}

static void the_vectors_of_rfc_32_and_zmq_curve_are_read_and_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint8_t octets[32];
        assert_int_equal(sodium_hex2bin(octets, 32, vectors[i].hex, 64, NULL, NULL, NULL), 0);
        assert_string_equal(ckv_z85_text(octets, text), vectors[i].text);
        assert_int_equal(read_exact(vectors[i].text, CKV_Z85_SIZE), CKV_OK);
        assert_memory_equal(key, octets, 32);
    }
}

static void assert_pair(const char *secret, const char *public)
{
    uint8_t computed[32];
    assert_int_equal(read_exact(secret, CKV_Z85_SIZE), CKV_OK);
    crypto_scalarmult_base(computed, key);
    assert_string_equal(ckv_z85_text(computed, text), public);
}

static void the_pairs_of_zmq_curve_are_pairs(void **state)
{
    (void)state;
    assert_pair(CLIENT_SECRET, CLIENT_PUBLIC);
    assert_pair(SERVER_SECRET, SERVER_PUBLIC);
}

static void every_key_reads_back(void **state)
{
    (void)state;
    static const uint8_t seed[randombytes_SEEDBYTES] = "z85";
    static uint8_t keys[10000][32];
    randombytes_buf_deterministic(keys, sizeof(keys), seed);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_ptr_equal(ckv_z85_text(keys[i], text), text);
        assert_int_equal(strlen(text), CKV_Z85_SIZE);
        assert_int_equal(strspn(text, alphabet), CKV_Z85_SIZE);
        assert_int_equal(read_exact(text, CKV_Z85_SIZE), CKV_OK);
        assert_memory_equal(key, keys[i], 32);
    }
}

static void any_other_length_is_refused(void **state)
{
    (void)state;
    static const char many[] = CLIENT_PUBLIC CLIENT_PUBLIC;
    for (size_t size = 0; size < sizeof(many); size++)
        assert_int_equal(read_exact(many, size), size == CKV_Z85_SIZE ? CKV_OK : CKV_ERROR_Z85);
}

static void a_character_outside_the_alphabet_is_refused_anywhere(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x100; c++)
        for (size_t at = 0; at < CKV_Z85_SIZE; at++) {
            char changed[] = "0000000000000000000000000000000000000000";
            changed[at] = (char)c;
            bool in_alphabet = c && strchr(alphabet, (int)c);
            /*  Those whose weight takes the group over 32 bits are none of this test.  */
            if (in_alphabet && at % 5 == 0 && strchr(alphabet, (int)c) - alphabet > 81)
                continue;
            if (read_exact(changed, CKV_Z85_SIZE) != (in_alphabet ? CKV_OK : CKV_ERROR_Z85))
                fail_msg("octet %02x at %zu", c, at);
        }
}

static void a_group_over_32_bits_is_refused_anywhere(void **state)
{
    (void)state;
    /*  2^32, and other groups that are one too many in one place; 2^32 would read as 0.  */
    static const char *const groups[] = { "%nSc1", "%nSd0", "%nT00", "%o000",
                                          "$0000", "#0000", "#####" };
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        for (size_t at = 0; at < CKV_Z85_SIZE; at += 5) {
            char changed[] = CLIENT_PUBLIC;
            memcpy(changed + at, groups[i], 5);
            assert_int_equal(read_exact(changed, CKV_Z85_SIZE), CKV_ERROR_Z85);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_32_and_zmq_curve_are_read_and_written),
        cmocka_unit_test(the_pairs_of_zmq_curve_are_pairs),
        cmocka_unit_test(every_key_reads_back),
        cmocka_unit_test(any_other_length_is_refused),
        cmocka_unit_test(a_character_outside_the_alphabet_is_refused_anywhere),
        cmocka_unit_test(a_group_over_32_bits_is_refused_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
