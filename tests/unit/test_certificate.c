/*  Certificates and their records: core/certificate.h.  */
#include "tests/unit/certificates.h"

/*  What reading and authenticating RECORD says, the first refusal. The secret of a refused record
    must not come out.  */
static int read_record(const struct record *record)
{
    struct ckv_certificate view;
    uint8_t secret[32] = { 0 };
    int rc = ckv_certificate_parse(&view, record->octets, record->size);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_certificate_verify(&view, cluster_key);
    if (view.dedicated) {
        assert_int_equal(ckv_certificate_unseal(&view, cluster_key, secret), rc);
        assert_true(rc == CKV_OK || memcmp(secret, dedicated_secret, sizeof(secret)) != 0);
    }
    return rc;
}

static void assert_same_values(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    assert_true(ckv_octets_equal(a->storage_key, b->storage_key));
    assert_memory_equal(a->client_public_key, b->client_public_key, 32);
    assert_memory_equal(a->server_public_key, b->server_public_key, 32);
    assert_true(ckv_octets_equal(a->organisation, b->organisation));
    assert_true(ckv_octets_equal(a->number, b->number));
    assert_true(ckv_octets_equal(a->metadata, b->metadata));
    assert_true(a->revision == b->revision && a->revised_by == b->revised_by);
    assert_true(a->created == b->created && a->created_by == b->created_by);
    assert_true(a->not_before == b->not_before && a->not_after == b->not_after);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->dedicated, b->dedicated);
}

static void assert_round_trip(const struct ckv_certificate *certificate)
{
    struct record record = seal(certificate);
    struct ckv_certificate view = parse(&record);
    uint8_t secret[32] = { 0 };
    assert_same_values(&view, certificate);
    assert_ptr_equal(view.record.data, record.octets);
    assert_int_equal(view.record.size, record.size);
    assert_int_equal(ckv_certificate_verify(&view, cluster_key), CKV_OK);
    if (certificate->dedicated) {
        assert_int_equal(ckv_certificate_unseal(&view, cluster_key, secret), CKV_OK);
        assert_memory_equal(secret, dedicated_secret, sizeof(secret));
    } else {
        assert_int_equal(ckv_certificate_unseal(&view, cluster_key, secret), CKV_ERROR_SHARED_KEY);
        assert_true(sodium_is_zero(secret, sizeof(secret)));
    }
    drop(&record);
}

static void what_is_sealed_is_read_verified_and_unsealed(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_round_trip(&certificate);
    certificate.state = CKV_STATE_REVOKED;
    assert_round_trip(&certificate);
    certificate.storage_key.size = 1;
    assert_round_trip(&certificate);
    certificate = shared();
    assert_round_trip(&certificate);
    certificate.revision = certificate.revised_by = certificate.created = UINT64_MAX;
    certificate.created_by = certificate.not_after = UINT64_MAX;
    certificate.not_before = UINT64_MAX - 1;
    assert_round_trip(&certificate);
}

static void the_fullest_record_has_the_size_that_the_header_names(void **state)
{
    (void)state;
    uint8_t text[CKV_ORGANISATION_MAX], metadata[CKV_METADATA_MAX], value[CKV_METADATA_MAX];
    size_t metadata_size = 0;
    struct ckv_certificate certificate = dedicated();
    memset(text, 'x', sizeof(text));
    memset(value, 'v', sizeof(value));
    assert_int_equal(ckv_properties_put(metadata, sizeof(metadata), &metadata_size,
                                        ckv_octets_text("X"), ckv_octets(value, sizeof(value) - 6)),
                     CKV_OK);
    assert_int_equal(metadata_size, CKV_METADATA_MAX);
    certificate.organisation = certificate.number = ckv_octets(text, sizeof(text));
    certificate.metadata = ckv_octets(metadata, metadata_size);
    assert_round_trip(&certificate);
    struct record record = seal(&certificate);
    assert_int_equal(record.size, CKV_RECORD_MAX);
    drop(&record);
}

static void the_smallest_record_has_the_size_that_the_header_names(void **state)
{
    (void)state;
    struct ckv_certificate certificate = shared();
    struct record record = seal(&certificate);
    assert_int_equal(record.size, CKV_RECORD_MIN);
    drop(&record);
}

static void a_record_is_read_at_any_alignment(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated(), view;
    struct record record = seal(&certificate);
    for (size_t shift = 0; shift < 8; shift++) {
        uint8_t *at = malloc(shift + record.size);
        assert_non_null(at);
        memcpy(at + shift, record.octets, record.size);
        assert_int_equal(ckv_certificate_parse(&view, at + shift, record.size), CKV_OK);
        assert_same_values(&view, &certificate);
        assert_int_equal(ckv_certificate_verify(&view, cluster_key), CKV_OK);
        free(at);
    }
    drop(&record);
}

/*  The format, octet by octet. Computed with Python: BLAKE2b of hashlib, and XChaCha20-Poly1305 and
    X25519 written out from their RFCs, without libsodium and without this code. A change here
    means that nodes cannot read the records of before: it takes a new CKV_RECORD_FORMAT.  */
static const char dedicated_hex[] =
    "01010108adb341d10123456789abcdef11121314151617180022446688aaccee"
    "212223242526272800000000000003e8000003bb2cc3d800636c69656e742d37"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
    "493e82fc74464a59268817623d2053c5eb8e2cc4a988b4fee179ec6b010d531d"
    "00040006000f0000c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
    "41434d454ec2ba20343206582d5469657200000004676f6c64bc6a899f761a2c"
    "a9901bfd0b0fb92beaf7e4df00a10314dfd3fa9df6f6f2ad5744b519b232f458"
    "d5dabc211a14645794";
static const char shared_hex[] = "01000228adb341d1000000000000000200000000000000030000000000000004"
                                 "0000000000000005000000000000000000000000000000000102030405060708"
                                 "090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728"
                                 "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
                                 "79dd567d132093e0aa66523cd88f1743ac32352fc4e6f3f352cf892710e42a14"
                                 "0000000000000000c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
                                 "d27c7a9d79d28b0e94b7ad1d9f53a628";

static void assert_vector(const struct ckv_certificate *certificate, const char *expected)
{
    char hex[1024];
    struct record record = seal(certificate);
    assert_string_equal(sodium_bin2hex(hex, sizeof(hex), record.octets, record.size), expected);
    drop(&record);

    uint8_t octets[512];
    size_t size;
    assert_int_equal(
        sodium_hex2bin(octets, sizeof(octets), expected, strlen(expected), NULL, &size, NULL), 0);
    record = copy_of(octets, size);
    struct ckv_certificate view = parse(&record);
    assert_same_values(&view, certificate);
    assert_int_equal(read_record(&record), CKV_OK);
    drop(&record);
}

static void fixed_values_give_the_records_of_the_specification(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_vector(&certificate, dedicated_hex);
    certificate = shared();
    assert_vector(&certificate, shared_hex);
}

static void the_secret_key_is_nowhere_in_the_record(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    struct record record = seal(&certificate);
    for (size_t at = 0; at + 4 <= sizeof(dedicated_secret); at++)
        assert_null(memmem(record.octets, record.size, dedicated_secret + at, 4));
    drop(&record);
}

/*  A record that is all zero where seal has not written would show what was in memory before.  */
static void a_record_does_not_depend_on_what_was_in_its_memory(void **state)
{
    (void)state;
    static uint8_t first[CKV_RECORD_MAX], second[CKV_RECORD_MAX];
    size_t first_size, second_size;
    struct ckv_certificate certificate = dedicated();
    memset(second, 0xff, sizeof(second));
    ckv_certificate_seal(&certificate, dedicated_secret, cluster_key, nonce, first, &first_size);
    ckv_certificate_seal(&certificate, dedicated_secret, cluster_key, nonce, second, &second_size);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
}

static bool within(size_t at, size_t field, size_t size)
{
    return at >= field && at < field + size;
}

/*  Whether ERROR is the right one for a record that was changed at AT.  */
static bool names_the_damage(int error, size_t at)
{
    if (at == offsetof(struct ckv_record, format))
        return error == CKV_ERROR_FORMAT;
    if (within(at, offsetof(struct ckv_record, cluster_key_id), CKV_CLUSTER_KEY_ID_SIZE))
        return error == CKV_ERROR_WRONG_CLUSTER_KEY;
    /*  The dedicated flag and the three sizes say how large the record is.  */
    if (at == offsetof(struct ckv_record, flags) ||
        within(at, offsetof(struct ckv_record, organisation_size), 6))
        return error == CKV_ERROR_TRUNCATED || error == CKV_ERROR_DAMAGED;
    return error == CKV_ERROR_DAMAGED;
}

static void assert_no_bit_can_change(const struct ckv_certificate *certificate)
{
    struct record record = seal(certificate);
    for (size_t bit = 0; bit < 8 * record.size; bit++) {
        record.octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = read_record(&record);
        if (!names_the_damage(rc, bit / 8))
            fail_msg("bit %zu of octet %zu: %s", bit % 8, bit / 8, ckv_error_name(rc));
        record.octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(read_record(&record), CKV_OK);
    drop(&record);
}

static void a_record_with_any_one_bit_changed_is_refused(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_no_bit_can_change(&certificate);
    certificate.state = CKV_STATE_REVOKED; /* no revocation can be taken back */
    assert_no_bit_can_change(&certificate);
    certificate.dedicated = 0;
    assert_no_bit_can_change(&certificate);
    certificate = shared();
    assert_no_bit_can_change(&certificate);
}

static void assert_no_other_size_is_read(const struct ckv_certificate *certificate)
{
    uint8_t longer[CKV_RECORD_MAX + 64] = { 0 };
    struct record whole = seal(certificate);
    memcpy(longer, whole.octets, whole.size);
    for (size_t size = 0; size <= sizeof(longer); size++) {
        /*  All that could be read by mistake, then some.  */
        if (size == whole.size || (size > whole.size + 600 && size < CKV_RECORD_MAX - 3))
            continue;
        struct record changed = copy_of(longer, size);
        if (read_record(&changed) != CKV_ERROR_TRUNCATED)
            fail_msg("%zu of %zu octets: %s", size, whole.size,
                     ckv_error_name(read_record(&changed)));
        drop(&changed);
    }
    drop(&whole);
}

static void a_record_cut_or_extended_anywhere_is_refused(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_no_other_size_is_read(&certificate);
    certificate = shared();
    assert_no_other_size_is_read(&certificate);
}

static void no_octets_are_no_record(void **state)
{
    (void)state;
    struct ckv_certificate view;
    assert_int_equal(ckv_certificate_parse(&view, NULL, 0), CKV_ERROR_TRUNCATED);
}

static void octets_that_move_between_parts_are_refused(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    struct record record = seal(&certificate);
    struct ckv_record *header = (struct ckv_record *)record.octets;

    /*  "ACMEN" and "º 42".  */
    header->organisation_size[1]++;
    header->number_size[1]--;
    assert_int_equal(read_record(&record), CKV_ERROR_DAMAGED);
    header->organisation_size[1]--;
    header->number_size[1]++;

    /*  A shared key, and the sealed secret as the end of the metadata.  */
    header->flags = 0;
    header->metadata_size[1] = (uint8_t)(header->metadata_size[1] + 32);
    assert_int_equal(read_record(&record), CKV_ERROR_DAMAGED);
    drop(&record);
}

static void parts_of_two_records_do_not_make_a_third(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    struct record active = seal(&certificate);
    certificate.revision++;
    certificate.state = CKV_STATE_REVOKED;
    struct record revoked = seal_with(&certificate, dedicated_secret /* any other nonce */);
    assert_int_equal(active.size, revoked.size);
    size_t associated = active.size - 32 - CKV_RECORD_TAG_SIZE;
    static const size_t cuts[] = { 3, 8, 16, 168, CKV_RECORD_HEADER_SIZE };
    struct record mixed = copy_of(active.octets, active.size);
    for (size_t i = 0; i <= sizeof(cuts) / sizeof(cuts[0]); i++) {
        size_t cut = i < sizeof(cuts) / sizeof(cuts[0]) ? cuts[i] : associated;
        memcpy(mixed.octets, active.octets, cut);
        memcpy(mixed.octets + cut, revoked.octets + cut, revoked.size - cut);
        assert_int_equal(read_record(&mixed), CKV_ERROR_DAMAGED);
    }
    drop(&mixed);
    drop(&active);
    drop(&revoked);
}

static void another_cluster_key_is_said_to_be_another(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    struct record record = seal(&certificate);
    struct ckv_certificate view = parse(&record);
    uint8_t secret[32] = { 0 };
    assert_int_equal(ckv_certificate_verify(&view, other_key), CKV_ERROR_WRONG_CLUSTER_KEY);
    assert_int_equal(ckv_certificate_unseal(&view, other_key, secret), CKV_ERROR_WRONG_CLUSTER_KEY);
    assert_true(sodium_is_zero(secret, sizeof(secret)));
    drop(&record);
}

static void another_cluster_key_of_the_same_id_opens_nothing(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    struct record record = seal(&certificate);
    struct ckv_certificate view = parse(&record);
    struct ckv_cluster_key twin = *other_key;
    uint8_t secret[32] = { 0 };
    memcpy(twin.id, cluster_key->id, sizeof(twin.id));
    assert_int_equal(ckv_certificate_verify(&view, &twin), CKV_ERROR_DAMAGED);
    assert_int_equal(ckv_certificate_unseal(&view, &twin, secret), CKV_ERROR_DAMAGED);
    assert_memory_not_equal(secret, dedicated_secret, sizeof(secret));
    drop(&record);
}

/*  Neither checked nor sealed, and the record's size left alone.  */
static void assert_refused(const struct ckv_certificate *certificate, int error)
{
    static uint8_t record[CKV_RECORD_MAX];
    size_t size = 4711;
    assert_int_equal(ckv_certificate_check(certificate), error);
    assert_int_equal(ckv_certificate_seal(certificate,
                                          certificate->dedicated ? dedicated_secret : NULL,
                                          cluster_key, nonce, record, &size),
                     error);
    assert_int_equal(size, 4711);
}

static void a_storage_key_out_of_bounds_is_refused(void **state)
{
    (void)state;
    static const uint8_t octets[66000] = { 0 };
    static const size_t sizes[] = { 0, 41, 255, 256, 257, 296, 65536 + 8 };
    struct ckv_certificate certificate = dedicated();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        certificate.storage_key = ckv_octets(octets, sizes[i]);
        assert_refused(&certificate, CKV_ERROR_STORAGE_KEY);
    }
    certificate.storage_key = ckv_octets(octets, 40);
    assert_round_trip(&certificate);
}

/*  FIELD of CERTIFICATE takes text of up to 255 octets, and refuses all else with ERROR.  */
static void assert_text_field(struct ckv_certificate *certificate, struct ckv_octets *field,
                              int error)
{
    static const char *const bad[] = {
        "\xff", "\xc3",   "a\xe2\x82", "\xc0\xaf", "\xed\xa0\x80", "a\nb",
        "a\tb", "\x1b[m", "\x7f",      "\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8",
    };
    static const size_t sizes[] = { 256, 257, 10000, 65535, 65536, 65536 + 4 };
    static uint8_t text[66000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        *field = ckv_octets(text, sizes[i]);
        assert_refused(certificate, error);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        *field = ckv_octets_text(bad[i]);
        assert_refused(certificate, error);
    }
    *field = ckv_octets("a\0b", 3);
    assert_refused(certificate, error);
    for (size_t size = 0; size <= 255; size += 51) {
        *field = ckv_octets(text, size);
        assert_round_trip(certificate);
    }
}

static void an_organisation_is_at_most_255_octets_of_printable_text(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_text_field(&certificate, &certificate.organisation, CKV_ERROR_ORGANISATION);
}

static void a_number_is_at_most_255_octets_of_printable_text(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_text_field(&certificate, &certificate.number, CKV_ERROR_NUMBER);
}

static void metadata_is_at_most_8192_octets_of_good_properties(void **state)
{
    (void)state;
    static const struct ckv_octets bad[] = {
        { (const uint8_t *)"x", 1 },
        { (const uint8_t *)"\0\0\0\0\0", 5 },     /* no name */
        { (const uint8_t *)"\1X\0\0\0\2v", 7 },   /* value cut off */
        { (const uint8_t *)"\1X\0\0\0\1v\0", 8 }, /* something left over */
        { (const uint8_t *)"\1X\377\377\377\377v", 7 } /* a value of 4 GiB */,
        { (const uint8_t *)"\1=\0\0\0\1v", 7 },
        { (const uint8_t *)"\1X\0\0\0\1\n", 7 },
        { (const uint8_t *)"\1X\0\0\0\1v\1x\0\0\0\1w", 14 }, /* one name twice */
    };
    static uint8_t metadata[CKV_METADATA_MAX + 70000], value[CKV_METADATA_MAX + 70000];
    static const size_t sizes[] = { CKV_METADATA_MAX + 1, 10000, 65536, 65536 + 15 };
    struct ckv_certificate certificate = dedicated();
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        certificate.metadata = bad[i];
        assert_refused(&certificate, CKV_ERROR_METADATA);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = 0;
        assert_int_equal(ckv_properties_put(metadata, sizeof(metadata), &size, ckv_octets_text("X"),
                                            ckv_octets(value, sizes[i] - 6)),
                         CKV_OK);
        assert_int_equal(size, sizes[i]);
        certificate.metadata = ckv_octets(metadata, size);
        assert_refused(&certificate, CKV_ERROR_METADATA);
    }
}

static void a_validity_that_ends_before_it_begins_is_refused(void **state)
{
    (void)state;
    static const uint64_t bad[][2] = {
        { 2, 1 }, { 1, 1 }, { UINT64_MAX, UINT64_MAX }, { 2000, 1 }
    };
    static const uint64_t good[][2] = { { 0, 0 }, { 0, 1 }, { 1, 2 }, { 5, 0 }, { UINT64_MAX, 0 } };
    struct ckv_certificate certificate = dedicated();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        certificate.not_before = bad[i][0];
        certificate.not_after = bad[i][1];
        assert_refused(&certificate, CKV_ERROR_VALIDITY);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        certificate.not_before = good[i][0];
        certificate.not_after = good[i][1];
        assert_round_trip(&certificate);
    }
}

static int seal_in(const struct ckv_certificate *certificate, const uint8_t *secret)
{
    static uint8_t record[CKV_RECORD_MAX];
    size_t size;
    return ckv_certificate_seal(certificate, secret, cluster_key, nonce, record, &size);
}

static void a_secret_goes_with_a_dedicated_key_and_no_other(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_int_equal(seal_in(&certificate, NULL), CKV_ERROR_ARGUMENT);
    certificate = shared();
    assert_int_equal(seal_in(&certificate, dedicated_secret), CKV_ERROR_ARGUMENT);
}

static void a_state_that_is_none_is_not_sealed(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    for (unsigned value = 0; value < 600; value++) {
        certificate.state = (enum ckv_state)value;
        assert_int_equal(
            seal_in(&certificate, dedicated_secret),
            value == CKV_STATE_ACTIVE || value == CKV_STATE_REVOKED ? CKV_OK : CKV_ERROR_ARGUMENT);
    }
}

/*  Records of just the size they state, with one value outside its range: parse alone says no.  */
static void a_value_outside_its_range_is_refused_before_it_is_used(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        unsigned value;
        size_t size; /* of the number: 1 or 2 */
    } bad[] = {
        { offsetof(struct ckv_record, flags), 2, 1 },
        { offsetof(struct ckv_record, flags), 0x80, 1 },
        { offsetof(struct ckv_record, state), 0, 1 },
        { offsetof(struct ckv_record, state), 3, 1 },
        { offsetof(struct ckv_record, state), 0xff, 1 },
        { offsetof(struct ckv_record, storage_key_size), 0, 1 },
        { offsetof(struct ckv_record, storage_key_size), 41, 1 },
        { offsetof(struct ckv_record, storage_key_size), 0xff, 1 },
        { offsetof(struct ckv_record, organisation_size), 256, 2 },
        { offsetof(struct ckv_record, number_size), 256, 2 },
        { offsetof(struct ckv_record, number_size), 0xffff, 2 },
        { offsetof(struct ckv_record, metadata_size), 8193, 2 },
        { offsetof(struct ckv_record, metadata_size), 0xffff, 2 },
    };
    struct ckv_certificate certificate = shared(), view;
    struct record smallest = seal(&certificate);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t more = bad[i].size == 2 ? bad[i].value : 0;
        struct record changed = { calloc(1, smallest.size + more), smallest.size + more };
        assert_non_null(changed.octets);
        memcpy(changed.octets, smallest.octets, smallest.size);
        if (bad[i].size == 2)
            ckv_put16(changed.octets + bad[i].at, (uint16_t)bad[i].value);
        else
            changed.octets[bad[i].at] = (uint8_t)bad[i].value;
        assert_int_equal(ckv_certificate_parse(&view, changed.octets, changed.size),
                         CKV_ERROR_DAMAGED);
        drop(&changed);
    }
    drop(&smallest);
}

static void every_other_format_is_refused_as_unknown(void **state)
{
    (void)state;
    struct ckv_certificate certificate = shared(), view;
    struct record record = seal(&certificate);
    for (unsigned format = 0; format < 0x100; format++) {
        record.octets[0] = (uint8_t)format;
        int expected = format == CKV_RECORD_FORMAT ? CKV_OK : CKV_ERROR_FORMAT;
        assert_int_equal(ckv_certificate_parse(&view, record.octets, record.size), expected);
    }
    drop(&record);
}

/*  The points of low order on the curve and its twist: libsodium's list, after
    https://cr.yp.to/ecdh.html#validate. The last ones are p - 1, p and p + 1.  */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void public_keys_of_low_order_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++) {
        uint8_t key[32];
        assert_int_equal(sodium_hex2bin(key, 32, low_order[i], 64, NULL, NULL, NULL), 0);
        uint8_t product[32], scalar[32] = { 1 };
        assert_int_equal(crypto_scalarmult(product, scalar, key), -1); /* libsodium agrees */
        assert_int_equal(ckv_public_key_check(key), CKV_ERROR_WEAK_KEY);
        key[31] |= 0x80; /* which X25519 passes over */
        assert_int_equal(ckv_public_key_check(key), CKV_ERROR_WEAK_KEY);
    }
}

static void public_keys_of_key_pairs_are_accepted(void **state)
{
    (void)state;
    static const uint8_t base_point[32] = { 9 };
    assert_int_equal(ckv_public_key_check(base_point), CKV_OK);
    assert_int_equal(ckv_public_key_check(dedicated_public), CKV_OK);
    assert_int_equal(ckv_public_key_check(cluster_key->server_public_key), CKV_OK);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t public_key[32], secret_key[32], seed[32] = { (uint8_t)i };
        crypto_box_seed_keypair(public_key, secret_key, seed);
        assert_int_equal(ckv_public_key_check(public_key), CKV_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_is_read_verified_and_unsealed),
        cmocka_unit_test(the_fullest_record_has_the_size_that_the_header_names),
        cmocka_unit_test(the_smallest_record_has_the_size_that_the_header_names),
        cmocka_unit_test(a_record_is_read_at_any_alignment),
        cmocka_unit_test(fixed_values_give_the_records_of_the_specification),
        cmocka_unit_test(the_secret_key_is_nowhere_in_the_record),
        cmocka_unit_test(a_record_does_not_depend_on_what_was_in_its_memory),
        cmocka_unit_test(a_record_with_any_one_bit_changed_is_refused),
        cmocka_unit_test(a_record_cut_or_extended_anywhere_is_refused),
        cmocka_unit_test(no_octets_are_no_record),
        cmocka_unit_test(octets_that_move_between_parts_are_refused),
        cmocka_unit_test(parts_of_two_records_do_not_make_a_third),
        cmocka_unit_test(another_cluster_key_is_said_to_be_another),
        cmocka_unit_test(another_cluster_key_of_the_same_id_opens_nothing),
        cmocka_unit_test(a_storage_key_out_of_bounds_is_refused),
        cmocka_unit_test(an_organisation_is_at_most_255_octets_of_printable_text),
        cmocka_unit_test(a_number_is_at_most_255_octets_of_printable_text),
        cmocka_unit_test(metadata_is_at_most_8192_octets_of_good_properties),
        cmocka_unit_test(a_validity_that_ends_before_it_begins_is_refused),
        cmocka_unit_test(a_secret_goes_with_a_dedicated_key_and_no_other),
        cmocka_unit_test(a_state_that_is_none_is_not_sealed),
        cmocka_unit_test(a_value_outside_its_range_is_refused_before_it_is_used),
        cmocka_unit_test(every_other_format_is_refused_as_unknown),
        cmocka_unit_test(public_keys_of_low_order_are_refused),
        cmocka_unit_test(public_keys_of_key_pairs_are_accepted),
    };
    return cmocka_run_group_tests(tests, make_keys, destroy_keys);
}
