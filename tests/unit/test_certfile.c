/*  Certificate files: core/certfile.h. The files in tests/data/certfiles were written by CZMQ's
    zcert_save and by pyzmq's zmq.auth.create_certificates. Run from the root of the sources.  */
#include "core/certfile.h"
#include "core/properties.h"
#include "core/z85.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#define PUBLIC "Qqf()JgXJtv&+QjSKpr(l.Z(Y*6gK$=Wro@@xntN"
#define SECRET "NYGR{Etd6FUXb=zvZ7=6++:2s-R)Ht/XwcV3xgu6"
#define OTHER  "0aC3b/[I$+Ij$z4lt@!:AX4?cu(#F5e2]GHnOg>j"
#define ZEROS  "0000000000000000000000000000000000000000"
#define CURVE  "curve\n    public-key = \"" PUBLIC "\"\n"

/*  The cheapest that libsodium allows: the tests are about what is kept, not about how long it
    takes to guess.  */
enum { OPSLIMIT = 1, MEMLIMIT = 8192 };

static const uint8_t salt[16] = "salt";
static const uint8_t nonce[24] = "nonce";

static struct ckv_certfile file;
static unsigned line;
static char written[CKV_CERTFILE_MAX];

static int read_text(const char *text)
{
    line = 4711;
    return ckv_certfile_read(&file, ckv_octets_text(text), &line);
}

static int read_file(const char *name)
{
    static char text[CKV_CERTFILE_MAX];
    char path[256];
    snprintf(path, sizeof(path), "tests/data/certfiles/%s", name);
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("%s is not there; run this from the root of the sources", path);
    size_t size = fread(text, 1, sizeof(text), stream);
    fclose(stream);
    return ckv_certfile_read(&file, ckv_octets(text, size), &line);
}

static const char *write_file(void)
{
    size_t size = 0;
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size), CKV_OK);
    assert_int_equal(size, strlen(written));
    return written;
}

static void write_and_read_back(void)
{
    write_file();
    assert_int_equal(read_text(written), CKV_OK);
    assert_int_equal(line, 0);
}

static void assert_key(const uint8_t key[32], const char *expected)
{
    char text[CKV_Z85_TEXT_SIZE];
    assert_string_equal(ckv_z85_text(key, text), expected);
}

static void assert_metadata(const char *name, const char *expected)
{
    struct ckv_octets value;
    if (!ckv_properties_get(ckv_octets(file.metadata, file.metadata_size), name, &value))
        fail_msg("no %s", name);
    assert_true(ckv_octets_equal(value, ckv_octets_text(expected)));
}

/*  Refused with ERROR, LINE_EXPECTED to blame, and nothing left of it.  */
static void assert_refused(const char *text, int error, unsigned line_expected)
{
    int rc = read_text(text);
    if (rc != error || line != line_expected)
        fail_msg("%d at %u, not %d at %u, for:\n%s", rc, line, error, line_expected, text);
    assert_true(sodium_is_zero((const uint8_t *)&file, sizeof(file)));
}

/*  Everything a file can hold, but protected.  */
static void fill(void)
{
    memset(&file, 0, sizeof(file));
    ckv_z85_read(file.public_key, ckv_octets_text(PUBLIC));
    ckv_z85_read(file.secret_key, ckv_octets_text(SECRET));
    ckv_z85_read(file.server_public_key, ckv_octets_text(OTHER));
    memset(file.hello_key, 0x5a, sizeof(file.hello_key));
    ckv_storage_key_set(&file.storage_key, ckv_octets_text("pump-7"));
    strcpy(file.cluster, "plant");
    memcpy(file.organisation, "ACME", file.organisation_size = 4);
    memcpy(file.number, "42", file.number_size = 2);
    file.not_after = UINT64_C(1798675200000);
    file.has_secret_key = file.has_server_public_key = file.has_hello_key = true;
}

static void put_metadata(const char *name, const char *value)
{
    assert_int_equal(ckv_properties_put(file.metadata, sizeof(file.metadata), &file.metadata_size,
                                        ckv_octets_text(name), ckv_octets_text(value)),
                     CKV_OK);
}

/* -- what others write ------------------------------------------------------------------------- */

static void assert_czmq_metadata(void)
{
    assert_metadata("name", "Paula's pump #7");
    assert_metadata("site/unit", "x = y");
    assert_metadata("empty", "");
    assert_metadata("town", "Besan\xc3\xa7on");
    assert_metadata("email", "paula@acme.example");
}

static void what_czmq_saves_is_read_with_its_metadata(void **state)
{
    (void)state;
    assert_int_equal(read_file("czmq_secret"), CKV_OK);
    assert_key(file.public_key, "0aC3b/[I$+Ij$z4lt@!:AX4?cu(#F5e2]GHnOg>j");
    assert_true(file.has_secret_key);
    assert_key(file.secret_key, "XoA@R1Z=eo]P[SD!MZggglu0?=a^uq]sn?2VaM*4");
    assert_czmq_metadata();

    assert_int_equal(read_file("czmq"), CKV_OK);
    assert_key(file.public_key, "0aC3b/[I$+Ij$z4lt@!:AX4?cu(#F5e2]GHnOg>j");
    assert_false(file.has_secret_key);
    assert_czmq_metadata();
}

static void what_pyzmq_creates_is_read_with_its_metadata(void **state)
{
    (void)state;
    assert_int_equal(read_file("pyzmq.key_secret"), CKV_OK);
    assert_key(file.public_key, PUBLIC);
    assert_true(file.has_secret_key);
    assert_key(file.secret_key, SECRET);
    assert_metadata("name", "Paula's pump");
    assert_metadata("unit", "7");

    assert_int_equal(read_file("pyzmq.key"), CKV_OK);
    assert_key(file.public_key, PUBLIC);
    assert_false(file.has_secret_key);
    assert_int_equal(file.metadata_size, 0);
}

static void a_key_of_forty_zeros_is_none(void **state)
{
    (void)state;
    assert_int_equal(read_text(CURVE "    secret-key = \"" ZEROS "\"\n"), CKV_OK);
    assert_false(file.has_secret_key);
    assert_int_equal(read_text(CURVE "curvekv\n    hello-key = " ZEROS "\n"), CKV_OK);
    assert_false(file.has_hello_key);
    assert_refused("curve\n    public-key = \"" ZEROS "\"\n", CKV_ERROR_NO_PUBLIC_KEY, 2);
}

static void unknown_sections_and_names_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(read_text("other\n    public-key = 1\nother\n" CURVE
                               "    colour = red\n    colour = blue\n    more\n"
                               "        public-key = 2\npublic-key = 3\n"),
                     CKV_OK);
    assert_key(file.public_key, PUBLIC);
}

static void dos_line_ends_and_a_byte_order_mark_are_read(void **state)
{
    (void)state;
    assert_int_equal(read_text("\xef\xbb\xbf"
                               "metadata\r\n    name = x\r\ncurve\r\n    public-key = \"" PUBLIC
                               "\"\r\n"),
                     CKV_OK);
    assert_key(file.public_key, PUBLIC);
    assert_metadata("name", "x");
}

/* -- what is refused --------------------------------------------------------------------------- */

static void an_empty_file_is_refused_as_empty(void **state)
{
    (void)state;
    assert_refused("", CKV_ERROR_CERTFILE_EMPTY, 0);
    assert_refused(" \r\n\t\n", CKV_ERROR_CERTFILE_EMPTY, 0);
}

static void a_file_over_64_kib_is_refused(void **state)
{
    static char text[CKV_CERTFILE_MAX + 1];
    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, CURVE, strlen(CURVE));
    assert_int_equal(ckv_certfile_read(&file, ckv_octets(text, sizeof(text) - 1), NULL), CKV_OK);
    assert_int_equal(ckv_certfile_read(&file, ckv_octets(text, sizeof(text)), NULL),
                     CKV_ERROR_CERTFILE_SIZE);
}

static void a_binary_file_is_refused_as_binary(void **state)
{
    (void)state;
    assert_refused("\x7f"
                   "ELF\2\1\1",
                   CKV_ERROR_CERTFILE_BINARY, 0);
    assert_int_equal(ckv_certfile_read(&file, ckv_octets(CURVE, strlen(CURVE) + 1), &line),
                     CKV_ERROR_CERTFILE_BINARY);
}

static void what_is_no_zpl_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refused("Dear Paula,\nhere is your key.\n", CKV_ERROR_CERTFILE, 1);
    assert_refused("# c\ncurve\n    public-key = \"" PUBLIC "\n", CKV_ERROR_CERTFILE, 3);
    assert_refused(CURVE "  secret-key = 1\n", CKV_ERROR_CERTFILE, 3);
}

static void a_name_without_a_value_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refused("curve\n    public-key\n", CKV_ERROR_CERTFILE, 2);
    assert_refused("metadata\n    admin\n" CURVE, CKV_ERROR_CERTFILE, 2);
}

static void a_file_without_a_public_key_is_refused(void **state)
{
    (void)state;
    assert_refused("metadata\n    name = x\ncurve\n", CKV_ERROR_NO_PUBLIC_KEY, 0);
    assert_refused("public-key = \"" PUBLIC "\"\n", CKV_ERROR_NO_PUBLIC_KEY, 0);
    assert_refused("curve\n    secret-key = \"" SECRET "\"\n", CKV_ERROR_NO_PUBLIC_KEY, 0);
}

static void a_file_with_a_bad_z85_key_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refused("curve\n    public-key = \"tooshort\"\n", CKV_ERROR_Z85, 2);
    assert_refused(CURVE "    secret-key = \"" SECRET "0\"\n", CKV_ERROR_Z85, 3);
    assert_refused(CURVE "curvekv\n    server-public-key = ''\n", CKV_ERROR_Z85, 4);
    assert_refused(CURVE "curvekv\n\n    hello-key = \"~" ZEROS "\"\n", CKV_ERROR_Z85, 5);
}

static void keys_that_are_no_pair_are_refused(void **state)
{
    (void)state;
    assert_refused("curve\n    public-key = \"" OTHER "\"\n    secret-key = \"" SECRET "\"\n",
                   CKV_ERROR_KEY_MISMATCH, 0);
    assert_refused("curve\n    secret-key = \"" SECRET "\"\n    public-key = \"" OTHER "\"\n",
                   CKV_ERROR_KEY_MISMATCH, 0);
}

static void what_comes_twice_is_refused_with_the_second_line(void **state)
{
    (void)state;
    assert_refused(CURVE "    public-key = \"" PUBLIC "\"\n", CKV_ERROR_CERTFILE, 3);
    assert_refused(CURVE CURVE, CKV_ERROR_CERTFILE, 3);
    assert_refused("curvekv\n    cluster = a\n    cluster = a\n" CURVE, CKV_ERROR_CERTFILE, 3);
    assert_refused("metadata\nmetadata\n" CURVE, CKV_ERROR_CERTFILE, 2);
    assert_refused("metadata\n    name = a\n    Name = b\n" CURVE, CKV_ERROR_METADATA, 3);
}

static void a_value_out_of_its_bounds_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *name;
        const char *good;
        size_t repeat_good;
        size_t repeat_bad;
        const char *bad;
        int error;
    } fields[] = {
        { "cluster", "c", CKV_CLUSTER_NAME_MAX, CKV_CLUSTER_NAME_MAX + 1, "\xe2\x80\xae",
          CKV_ERROR_CERTFILE },
        { "organisation", "o", 255, 256, "\xff", CKV_ERROR_ORGANISATION },
        { "number", "7", 255, 256, "\xc2\x9b", CKV_ERROR_NUMBER },
        { "storage-key", "s", 40, 41, "", CKV_ERROR_STORAGE_KEY },
        { "not-after", "2026-12-31", 1, 2, "1970-01-01", CKV_ERROR_CERTFILE },
        { "protected", "0", 2 * CKV_CERTFILE_PROTECTED_SIZE, 2 * CKV_CERTFILE_PROTECTED_SIZE + 2,
          "0x", CKV_ERROR_CERTFILE },
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (size_t repeat = fields[i].repeat_good; repeat <= fields[i].repeat_bad; repeat++) {
            size_t size =
                (size_t)snprintf(text, sizeof(text), CURVE "curvekv\n    %s = \"", fields[i].name);
            for (size_t j = 0; j < repeat; j++)
                size += (size_t)snprintf(text + size, sizeof(text) - size, "%s", fields[i].good);
            snprintf(text + size, sizeof(text) - size, "\"\n");
            if (repeat == fields[i].repeat_good)
                assert_int_equal(read_text(text), CKV_OK);
            else
                assert_refused(text, fields[i].error, 4);
        }
        snprintf(text, sizeof(text), CURVE "curvekv\n    %s = \"%s\"\n", fields[i].name,
                 fields[i].bad);
        assert_refused(text, fields[i].error, 4);
    }
}

static void metadata_out_of_its_bounds_is_refused_with_its_line(void **state)
{
    char text[CKV_METADATA_MAX + 256];
    (void)state;
    assert_refused(CURVE "metadata\n    a\\b = 1\n", CKV_ERROR_METADATA, 4);
    assert_refused(CURVE "metadata\n    a = \xff\n", CKV_ERROR_METADATA, 4);
    assert_refused(CURVE "metadata\n    a = Paula's \"pump\"\n", CKV_ERROR_METADATA, 4);
    for (int size = CKV_METADATA_MAX - 6; size <= CKV_METADATA_MAX - 5; size++) {
        snprintf(text, sizeof(text), CURVE "metadata\n    a = \"%0*d\"\n", size, 0);
        if (size + 6 <= CKV_METADATA_MAX)
            assert_int_equal(read_text(text), CKV_OK);
        else
            assert_refused(text, CKV_ERROR_METADATA, 4);
    }
}

static void secrets_in_clear_beside_protected_ones_are_refused(void **state)
{
    char text[2048];
    (void)state;
    snprintf(text, sizeof(text),
             CURVE "    secret-key = \"" SECRET "\"\ncurvekv\n    protected = \"%0*d\"\n",
             2 * CKV_CERTFILE_PROTECTED_SIZE, 0);
    assert_refused(text, CKV_ERROR_CERTFILE, 0);
    snprintf(text, sizeof(text),
             CURVE "curvekv\n    hello-key = \"" OTHER "\"\n    protected = \"%0*d\"\n",
             2 * CKV_CERTFILE_PROTECTED_SIZE, 0);
    assert_refused(text, CKV_ERROR_CERTFILE, 0);
}

/* -- writing ----------------------------------------------------------------------------------- */

static void what_is_written_reads_back_the_same(void **state)
{
    static struct ckv_certfile before;
    (void)state;
    fill();
    put_metadata("name", "Paula's pump #7");
    put_metadata("say", "\"hi\"");
    put_metadata("empty", "");
    put_metadata("blanks", "  x  ");
    before = file;
    write_and_read_back();
    assert_memory_equal(&file, &before, sizeof(file));
    sodium_memzero(&before, sizeof(before));
}

static void a_public_file_reads_as_a_person_expects(void **state)
{
    (void)state;
    assert_int_equal(read_text(CURVE "metadata\n    say = '\"hi\"'\ncurvekv\n    number = 42\n"
                                     "    not-after = 2026-12-31\n"),
                     CKV_OK);
    assert_string_equal(write_file(),
                        "#   ****  Written by curvekv  ****\n"
                        "#   ZeroMQ CURVE Public Certificate\n"
                        "#   It holds no secret. Compare the fingerprint after an exchange.\n"
                        "#   Fingerprint of the client public key: ETTS-W37W-T1ZR-JY1F-V59C\n"
                        "\n"
                        "metadata\n"
                        "    say = '\"hi\"'\n" CURVE "curvekv\n"
                        "    number = \"42\"\n"
                        "    not-after = \"2026-12-31T00:00:00Z\"\n");
    assert_false(ckv_certfile_is_secret(&file));
}

static void a_file_with_any_secret_says_to_keep_it(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        fill();
        file.has_secret_key = which == 0;
        file.has_hello_key = which == 1;
        file.is_protected = which == 2;
        assert_true(ckv_certfile_is_secret(&file));
        assert_non_null(strstr(write_file(), "Keep it secret, mode 0600"));
        assert_int_equal(strstr(written, "\n    secret-key =") != NULL, which == 0);
        assert_int_equal(strstr(written, "\n    hello-key =") != NULL, which == 1);
        assert_int_equal(strstr(written, "\n    protected =") != NULL, which == 2);
    }
}

static void texts_with_both_quotes_are_written_bare_or_refused(void **state)
{
    static const char both[] = "O'Neil \"Bob\"", worse[] = "O'Neil \"Bob\" #1";
    size_t size;
    (void)state;
    fill();
    memcpy(file.organisation, both, file.organisation_size = sizeof(both) - 1);
    write_and_read_back();
    assert_int_equal(file.organisation_size, sizeof(both) - 1);
    assert_memory_equal(file.organisation, both, sizeof(both) - 1);

    memcpy(file.organisation, worse, file.organisation_size = sizeof(worse) - 1);
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size),
                     CKV_ERROR_ORGANISATION);
    assert_true(sodium_is_zero((uint8_t *)written, sizeof(written)));
    file.organisation_size = 0;
    memcpy(file.number, worse, file.number_size = sizeof(worse) - 1);
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size), CKV_ERROR_NUMBER);
    file.number_size = 0;
    strcpy(file.cluster, worse);
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size),
                     CKV_ERROR_ARGUMENT);
}

static void no_value_can_make_lines_of_its_own(void **state)
{
    static const char evil[] = "a\nsecret-key = 1";
    size_t size;
    (void)state;
    fill();
    memcpy(file.number, evil, file.number_size = sizeof(evil) - 1);
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size), CKV_ERROR_NUMBER);
    fill();
    put_metadata("a", evil);
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size),
                     CKV_ERROR_METADATA);
}

static void every_storage_key_reads_back_as_the_same_octets(void **state)
{
    static const char *const keys[] = {
        "\1",
        "pump #7",
        " blank ",
        "it's \"7\" #",
        "32 octets with it's \"7\" # quotes",
        "'",
        "0x12",
        "Besan\xc3\xa7on",
        "a\nb",
        "1234567890123456789012345678901234567890",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fill();
        assert_int_equal(ckv_storage_key_set(&file.storage_key, ckv_octets_text(keys[i])), CKV_OK);
        write_and_read_back();
        assert_true(
            ckv_octets_equal(ckv_storage_key_octets(&file.storage_key), ckv_octets_text(keys[i])));
    }
}

/*  It takes the first thing on any line for the key.  */
static void no_metadata_is_taken_for_a_key_by_pyzmq(void **state)
{
    (void)state;
    fill();
    put_metadata("public-key", "a");
    put_metadata("secret-key-of", "b");
    assert_null(strstr(write_file(), "    secret-key-of"));
    assert_null(strstr(written, "    public-key = \"a"));
    write_and_read_back();
    assert_metadata("public-key", "a");
    assert_metadata("secret-key-of", "b");
}

static void a_time_in_the_first_second_does_not_become_for_ever(void **state)
{
    (void)state;
    fill();
    file.not_after = 1;
    write_and_read_back();
    assert_true(file.not_after == 1000);
}

static void a_text_that_does_not_fit_is_refused_and_wiped(void **state)
{
    size_t size, ignored;
    (void)state;
    fill();
    assert_int_equal(ckv_certfile_write(&file, written, sizeof(written), &size), CKV_OK);
    for (size_t capacity = 0; capacity <= size; capacity++) {
        char *text = test_malloc(capacity + 1);
        assert_int_equal(ckv_certfile_write(&file, text, capacity, &ignored), CKV_ERROR_ARGUMENT);
        assert_true(sodium_is_zero((uint8_t *)text, capacity));
        test_free(text);
    }
    assert_int_equal(ckv_certfile_write(&file, written, size + 1, &ignored), CKV_OK);
}

static void the_fullest_file_fits(void **state)
{
    char name[3] = "";
    (void)state;
    fill();
    file.storage_key.size = 40;
    for (unsigned i = 0; file.metadata_size + 7 <= sizeof(file.metadata); i++) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_@.&+$";
        name[0] = letters[i % (sizeof(letters) - 1)];
        name[1] = letters[i / (sizeof(letters) - 1)];
        put_metadata(name, "");
    }
    write_and_read_back();
    assert_in_range(file.metadata_size, sizeof(file.metadata) - 6, sizeof(file.metadata));
}

/* -- protection -------------------------------------------------------------------------------- */

static struct ckv_octets passphrase(void)
{
    return ckv_octets_text("correct horse battery staple");
}

static void protect(void)
{
    fill();
    assert_int_equal(ckv_certfile_protect(&file, passphrase(), salt, nonce, OPSLIMIT, MEMLIMIT),
                     CKV_OK);
}

static void protected_secrets_come_back_with_the_passphrase(void **state)
{
    static struct ckv_certfile before;
    (void)state;
    fill();
    before = file;
    protect();
    assert_true(file.is_protected && !file.has_secret_key && !file.has_hello_key);
    assert_true(sodium_is_zero(file.secret_key, 32) && sodium_is_zero(file.hello_key, 32));
    write_and_read_back();
    assert_null(strstr(written, SECRET));
    assert_int_equal(ckv_certfile_unprotect(&file, passphrase()), CKV_OK);
    assert_memory_equal(&file, &before, sizeof(file));
}

static void a_file_without_a_hello_key_can_be_protected(void **state)
{
    (void)state;
    fill();
    file.has_hello_key = false;
    assert_int_equal(ckv_certfile_protect(&file, passphrase(), salt, nonce, OPSLIMIT, MEMLIMIT),
                     CKV_OK);
    assert_int_equal(ckv_certfile_unprotect(&file, passphrase()), CKV_OK);
    assert_key(file.secret_key, SECRET);
    assert_false(file.has_hello_key);
}

/*  Whatever goes wrong, the file stays as it was and gives away nothing.  */
static void assert_unprotect_fails(int error, struct ckv_octets with)
{
    static struct ckv_certfile before;
    before = file;
    assert_int_equal(ckv_certfile_unprotect(&file, with), error);
    assert_memory_equal(&file, &before, sizeof(file));
}

static void a_wrong_passphrase_is_refused(void **state)
{
    (void)state;
    protect();
    assert_unprotect_fails(CKV_ERROR_PASSPHRASE, ckv_octets_text("incorrect horse"));
    assert_unprotect_fails(CKV_ERROR_PASSPHRASE, ckv_octets("", 0));
}

static void changed_protected_octets_are_refused(void **state)
{
    (void)state;
    for (size_t i = 12; i < CKV_CERTFILE_PROTECTED_SIZE; i++) {
        protect();
        file.protected_secrets[i] ^= 1;
        assert_unprotect_fails(CKV_ERROR_PASSPHRASE, passphrase());
    }
}

static void hostile_limits_are_refused_before_they_cost_anything(void **state)
{
    static const struct {
        uint32_t opslimit;
        uint64_t memlimit;
    } limits[] = { { 0, MEMLIMIT },  { 5, MEMLIMIT }, { UINT32_MAX, MEMLIMIT },
                   { 1, 0 },         { 1, 8191 },     { 1, (UINT64_C(1) << 30) + 1 },
                   { 1, UINT64_MAX } };
    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        protect();
        ckv_put32(file.protected_secrets, limits[i].opslimit);
        ckv_put64(file.protected_secrets + 4, limits[i].memlimit);
        assert_unprotect_fails(CKV_ERROR_CERTFILE, passphrase());
        fill();
        assert_int_equal(ckv_certfile_protect(&file, passphrase(), salt, nonce, limits[i].opslimit,
                                              limits[i].memlimit),
                         CKV_ERROR_ARGUMENT);
        assert_key(file.secret_key, SECRET);
    }
}

static void protected_secrets_of_another_public_key_are_refused(void **state)
{
    (void)state;
    protect();
    ckv_z85_read(file.public_key, ckv_octets_text(OTHER));
    assert_unprotect_fails(CKV_ERROR_KEY_MISMATCH, passphrase());
}

static void only_what_has_a_secret_in_clear_can_be_protected(void **state)
{
    (void)state;
    fill();
    file.has_secret_key = false;
    assert_int_equal(ckv_certfile_protect(&file, passphrase(), salt, nonce, OPSLIMIT, MEMLIMIT),
                     CKV_ERROR_ARGUMENT);
    fill();
    assert_int_equal(
        ckv_certfile_protect(&file, ckv_octets("", 0), salt, nonce, OPSLIMIT, MEMLIMIT),
        CKV_ERROR_ARGUMENT);
    assert_unprotect_fails(CKV_ERROR_ARGUMENT, passphrase());
    protect();
    file.has_secret_key = true;
    assert_int_equal(ckv_certfile_protect(&file, passphrase(), salt, nonce, OPSLIMIT, MEMLIMIT),
                     CKV_ERROR_ARGUMENT);
}

/*  The hash computed, and its first 100 bits written in base 32, by Python's hashlib.  */
static void the_fingerprint_is_100_bits_of_blake2b(void **state)
{
    static const uint8_t zeros[32] = { 0 };
    char text[CKV_FINGERPRINT_TEXT_SIZE];
    (void)state;
    assert_string_equal(ckv_fingerprint_text(zeros, text), "H7NG-TTMA-D4ET-WB6H-BV83");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_czmq_saves_is_read_with_its_metadata),
        cmocka_unit_test(what_pyzmq_creates_is_read_with_its_metadata),
        cmocka_unit_test(a_key_of_forty_zeros_is_none),
        cmocka_unit_test(unknown_sections_and_names_are_passed_over),
        cmocka_unit_test(dos_line_ends_and_a_byte_order_mark_are_read),
        cmocka_unit_test(an_empty_file_is_refused_as_empty),
        cmocka_unit_test(a_file_over_64_kib_is_refused),
        cmocka_unit_test(a_binary_file_is_refused_as_binary),
        cmocka_unit_test(what_is_no_zpl_is_refused_with_its_line),
        cmocka_unit_test(a_name_without_a_value_is_refused_with_its_line),
        cmocka_unit_test(a_file_without_a_public_key_is_refused),
        cmocka_unit_test(a_file_with_a_bad_z85_key_is_refused_with_its_line),
        cmocka_unit_test(keys_that_are_no_pair_are_refused),
        cmocka_unit_test(what_comes_twice_is_refused_with_the_second_line),
        cmocka_unit_test(a_value_out_of_its_bounds_is_refused_with_its_line),
        cmocka_unit_test(metadata_out_of_its_bounds_is_refused_with_its_line),
        cmocka_unit_test(secrets_in_clear_beside_protected_ones_are_refused),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(a_public_file_reads_as_a_person_expects),
        cmocka_unit_test(a_file_with_any_secret_says_to_keep_it),
        cmocka_unit_test(texts_with_both_quotes_are_written_bare_or_refused),
        cmocka_unit_test(no_value_can_make_lines_of_its_own),
        cmocka_unit_test(every_storage_key_reads_back_as_the_same_octets),
        cmocka_unit_test(no_metadata_is_taken_for_a_key_by_pyzmq),
        cmocka_unit_test(a_time_in_the_first_second_does_not_become_for_ever),
        cmocka_unit_test(a_text_that_does_not_fit_is_refused_and_wiped),
        cmocka_unit_test(the_fullest_file_fits),
        cmocka_unit_test(protected_secrets_come_back_with_the_passphrase),
        cmocka_unit_test(a_file_without_a_hello_key_can_be_protected),
        cmocka_unit_test(a_wrong_passphrase_is_refused),
        cmocka_unit_test(changed_protected_octets_are_refused),
        cmocka_unit_test(hostile_limits_are_refused_before_they_cost_anything),
        cmocka_unit_test(protected_secrets_of_another_public_key_are_refused),
        cmocka_unit_test(only_what_has_a_secret_in_clear_can_be_protected),
        cmocka_unit_test(the_fingerprint_is_100_bits_of_blake2b),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
