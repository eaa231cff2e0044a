/*  When a certificate is valid, and which of two stands: core/certificate.h.  */
#include "tests/unit/certificates.h"

static int valid_at(uint64_t not_before, uint64_t not_after, uint64_t now)
{
    struct ckv_certificate certificate = dedicated();
    certificate.not_before = not_before;
    certificate.not_after = not_after;
    return ckv_certificate_valid_at(&certificate, now);
}

static void validity_begins_with_not_before_and_ends_just_before_not_after(void **state)
{
    (void)state;
    assert_int_equal(valid_at(1000, 2000, 0), CKV_ERROR_NOT_YET_VALID);
    assert_int_equal(valid_at(1000, 2000, 999), CKV_ERROR_NOT_YET_VALID);
    assert_int_equal(valid_at(1000, 2000, 1000), CKV_OK);
    assert_int_equal(valid_at(1000, 2000, 1999), CKV_OK);
    assert_int_equal(valid_at(1000, 2000, 2000), CKV_ERROR_EXPIRED);
    assert_int_equal(valid_at(1000, 2000, UINT64_MAX), CKV_ERROR_EXPIRED);
    assert_int_equal(valid_at(0, 1, 0), CKV_OK);
    assert_int_equal(valid_at(0, 1, 1), CKV_ERROR_EXPIRED);
}

static void zero_means_since_ever_and_for_ever(void **state)
{
    (void)state;
    assert_int_equal(valid_at(0, 0, 0), CKV_OK);
    assert_int_equal(valid_at(0, 0, UINT64_MAX), CKV_OK);
    assert_int_equal(valid_at(1000, 0, 999), CKV_ERROR_NOT_YET_VALID);
    assert_int_equal(valid_at(1000, 0, UINT64_MAX), CKV_OK);
    assert_int_equal(valid_at(0, 2000, 0), CKV_OK);
}

static void a_revoked_certificate_is_never_valid(void **state)
{
    (void)state;
    static const uint64_t times[] = { 0, 999, 1000, 1999, 2000, UINT64_MAX };
    struct ckv_certificate certificate = dedicated();
    certificate.not_before = 1000;
    certificate.not_after = 2000;
    certificate.state = CKV_STATE_REVOKED;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        assert_int_equal(ckv_certificate_valid_at(&certificate, times[i]), CKV_ERROR_REVOKED);
}

/*  Compares two certificates that differ from one another by what the test changed.  */
static int compare(const struct ckv_certificate *a, const struct ckv_certificate *b)
{
    struct record first = seal(a), second = seal(b);
    struct ckv_certificate first_view = parse(&first), second_view = parse(&second);
    int order = ckv_certificate_compare(&first_view, &second_view);
    int back = ckv_certificate_compare(&second_view, &first_view);
    assert_true((order > 0) == (back < 0) && (order == 0) == (back == 0));
    drop(&first);
    drop(&second);
    return order;
}

/*  A lower and a higher number, whose difference a careless comparison takes for another.  */
static const uint64_t apart[][2] = {
    { 0, UINT64_MAX },
    { 0, UINT64_C(1) << 32 },
    { 0, UINT64_C(1) << 31 },
    { 0, UINT64_C(1) << 63 },
    { (UINT64_C(1) << 63) - 1, UINT64_C(1) << 63 },
};

static void who_had_the_storage_key_first_keeps_it(void **state)
{
    (void)state;
    struct ckv_certificate first = dedicated(), later = dedicated();
    later.created++;
    later.created_by = 0;
    later.revision += 1000;
    assert_true(compare(&first, &later) < 0);
    later.state = CKV_STATE_REVOKED;
    assert_true(compare(&first, &later) < 0);
    for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
        first.created = apart[i][0];
        later.created = apart[i][1];
        assert_true(compare(&first, &later) < 0);
    }
}

static void of_two_created_at_once_that_of_the_smaller_node_stands(void **state)
{
    (void)state;
    struct ckv_certificate smaller = dedicated(), larger = dedicated();
    larger.created_by++;
    larger.revision += 1000;
    larger.state = CKV_STATE_REVOKED;
    assert_true(compare(&smaller, &larger) < 0);
    smaller.created_by = 1;
    larger.created_by = UINT64_MAX;
    assert_true(compare(&smaller, &larger) < 0);
}

static void a_revocation_is_not_undone_by_a_newer_active_revision(void **state)
{
    (void)state;
    struct ckv_certificate revoked = dedicated(), active = dedicated();
    revoked.state = CKV_STATE_REVOKED;
    active.revision++;
    active.revised_by++;
    assert_true(ckv_certificate_same(&revoked, &active));
    assert_true(compare(&revoked, &active) < 0);
    active.revision = UINT64_MAX;
    active.revised_by = UINT64_MAX;
    active.not_after = 0;
    assert_true(compare(&revoked, &active) < 0);
    revoked.revision = 0;
    assert_true(compare(&revoked, &active) < 0);
}

static void the_higher_revision_then_the_higher_node_stands(void **state)
{
    (void)state;
    struct ckv_certificate higher = dedicated(), lower = dedicated();
    lower.revision--;
    lower.revised_by = UINT64_MAX;
    assert_true(compare(&higher, &lower) < 0);
    for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
        lower.revision = apart[i][0];
        higher.revision = apart[i][1];
        assert_true(compare(&higher, &lower) < 0);
    }
    lower.revision = higher.revision;
    lower.revised_by = higher.revised_by - 1;
    assert_true(compare(&higher, &lower) < 0);
}

static void a_tie_of_different_records_has_one_answer(void **state)
{
    (void)state;
    struct ckv_certificate a = dedicated(), b = dedicated();
    b.number = ckv_octets_text("Nº 43");
    assert_true(compare(&a, &b) != 0);
    b.number = ckv_octets_text("Nº 423");
    assert_true(compare(&a, &b) != 0);
    b = dedicated();
    b.dedicated = 0;
    assert_true(compare(&a, &b) != 0);
}

static void the_same_octets_compare_equal_wherever_they_rest(void **state)
{
    (void)state;
    struct ckv_certificate certificate = dedicated();
    assert_int_equal(compare(&certificate, &certificate), 0);
    certificate = shared();
    assert_int_equal(compare(&certificate, &certificate), 0);
}

static void two_states_of_one_certificate_are_known_from_two_certificates(void **state)
{
    (void)state;
    struct ckv_certificate a = dedicated(), b = dedicated();
    b.revision++;
    b.revised_by++;
    b.state = CKV_STATE_REVOKED;
    b.client_public_key = dedicated_public; /* rotated */
    b.server_public_key = client_public_key;
    b.dedicated = 0;
    b.organisation = b.number = b.metadata = ckv_octets(NULL, 0);
    b.not_before = b.not_after = 0;
    assert_true(ckv_certificate_same(&a, &b) && ckv_certificate_same(&b, &a));
    b.created++;
    assert_false(ckv_certificate_same(&a, &b));
    b.created--;
    b.created_by++;
    assert_false(ckv_certificate_same(&a, &b));
    b.created_by--;
    b.storage_key = ckv_octets_text("client-8");
    assert_false(ckv_certificate_same(&a, &b));
    b.storage_key = ckv_octets_text("client-");
    assert_false(ckv_certificate_same(&a, &b));
}

/*  Records of one storage key, of few values each, so that all kinds of conflicts and ties are
    among them. The last ones are copies of the first ones.  */
enum { RECORDS = 48, COPIES = 6 };

static struct record records[RECORDS];
static struct ckv_certificate views[RECORDS];

static const uint8_t *next_random(size_t size)
{
    static uint8_t octets[8192];
    static size_t used = sizeof(octets);
    static uint8_t seed[randombytes_SEEDBYTES] = "records";
    if (used + size > sizeof(octets)) {
        randombytes_buf_deterministic(octets, sizeof(octets), seed);
        sodium_increment(seed, sizeof(seed));
        used = 0;
    }
    used += size;
    return octets + used - size;
}

static unsigned below(unsigned bound)
{
    return ckv_get16(next_random(2)) % bound;
}

static struct record random_record(void)
{
    static const char *const numbers[] = { "", "1", "2", "33" };
    struct ckv_certificate certificate = dedicated();
    certificate.created = 1000 + below(2);
    certificate.created_by = 7 + below(2);
    certificate.state = below(2) ? CKV_STATE_ACTIVE : CKV_STATE_REVOKED;
    certificate.revision = 100 + below(3);
    certificate.revised_by = 7 + below(2);
    certificate.dedicated = (int)below(2);
    certificate.number = ckv_octets_text(numbers[below(4)]);
    return seal_with(&certificate, next_random(CKV_RECORD_NONCE_SIZE));
}

static int make_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        size_t first = i - (RECORDS - COPIES);
        records[i] = i < RECORDS - COPIES ? random_record()
                                          : copy_of(records[first].octets, records[first].size);
        views[i] = parse(&records[i]);
    }
    return 0;
}

static int drop_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++)
        drop(&records[i]);
    return 0;
}

static bool same_record(size_t a, size_t b)
{
    return ckv_octets_equal(views[a].record, views[b].record);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void compare_is_a_total_order(void **state)
{
    (void)state;
    int order[RECORDS][RECORDS];
    for (size_t a = 0; a < RECORDS; a++)
        for (size_t b = 0; b < RECORDS; b++)
            order[a][b] = sign(ckv_certificate_compare(&views[a], &views[b]));
    for (size_t a = 0; a < RECORDS; a++)
        for (size_t b = 0; b < RECORDS; b++) {
            assert_int_equal(order[a][b], -order[b][a]);
            assert_true((order[a][b] == 0) == same_record(a, b));
            for (size_t c = 0; c < RECORDS; c++)
                assert_false(order[a][b] <= 0 && order[b][c] <= 0 && order[a][c] > 0);
        }
}

/*  Which of two records a node keeps that has A and gets B.  */
static size_t merge(size_t a, size_t b)
{
    return ckv_certificate_compare(&views[a], &views[b]) <= 0 ? a : b;
}

static void any_order_and_grouping_and_repetition_leaves_the_same_record(void **state)
{
    (void)state;
    size_t first = 0;
    for (size_t i = 1; i < RECORDS; i++)
        first = merge(first, i);
    for (unsigned round = 0; round < 2000; round++) {
        /*  Every record, a third of them twice, merged pair by pair as chance has it.  */
        size_t pool[RECORDS + RECORDS / 3], count = 0;
        for (; count < RECORDS; count++)
            pool[count] = count;
        for (; count < sizeof(pool) / sizeof(pool[0]); count++)
            pool[count] = below(RECORDS);
        while (count > 1) {
            size_t a = below((unsigned)count), kept = pool[a];
            pool[a] = pool[--count];
            size_t b = below((unsigned)count);
            pool[b] = below(2) ? merge(kept, pool[b]) : merge(pool[b], kept);
        }
        assert_true(same_record(pool[0], first));
    }
}

static void the_record_that_stands_is_the_one_that_the_rules_name(void **state)
{
    (void)state;
    size_t stands = 0;
    for (size_t i = 1; i < RECORDS; i++)
        stands = merge(stands, i);
    const struct ckv_certificate *first = &views[stands];
    for (size_t i = 0; i < RECORDS; i++) {
        const struct ckv_certificate *other = &views[i];
        assert_true(other->created >= first->created);
        assert_true(other->created > first->created || other->created_by >= first->created_by);
        if (!ckv_certificate_same(first, other))
            continue;
        assert_true(first->state == CKV_STATE_REVOKED || other->state == CKV_STATE_ACTIVE);
        assert_true(first->state != other->state || first->revision >= other->revision);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity_begins_with_not_before_and_ends_just_before_not_after),
        cmocka_unit_test(zero_means_since_ever_and_for_ever),
        cmocka_unit_test(a_revoked_certificate_is_never_valid),
        cmocka_unit_test(who_had_the_storage_key_first_keeps_it),
        cmocka_unit_test(of_two_created_at_once_that_of_the_smaller_node_stands),
        cmocka_unit_test(a_revocation_is_not_undone_by_a_newer_active_revision),
        cmocka_unit_test(the_higher_revision_then_the_higher_node_stands),
        cmocka_unit_test(a_tie_of_different_records_has_one_answer),
        cmocka_unit_test(the_same_octets_compare_equal_wherever_they_rest),
        cmocka_unit_test(two_states_of_one_certificate_are_known_from_two_certificates),
        cmocka_unit_test_setup_teardown(compare_is_a_total_order, make_records, drop_records),
        cmocka_unit_test_setup_teardown(
            any_order_and_grouping_and_repetition_leaves_the_same_record, make_records,
            drop_records),
        cmocka_unit_test_setup_teardown(the_record_that_stands_is_the_one_that_the_rules_name,
                                        make_records, drop_records),
    };
    return cmocka_run_group_tests(tests, make_keys, destroy_keys);
}
