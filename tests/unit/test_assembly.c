/*  The parts of a message, collected: as frames, in order, and within their bound.  */
#include "node/gateway/assembly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX = 100000 };

static void parts_are_frames_with_more_in_their_order(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 255, 256, 0, 60000, 3 };
    enum { PARTS = sizeof(sizes) / sizeof(*sizes) };
    struct ckv_assembly assembly = { NULL, 0, 0 };
    static uint8_t body[60000];
    for (size_t i = 0; i < PARTS; i++) {
        memset(body, (int)i, sizes[i]);
        assert_int_equal(ckv_assembly_add(&assembly, ckv_octets(body, sizes[i]), MAX), CKV_OK);
    }
    struct ckv_octets input = ckv_octets(assembly.octets, assembly.size);
    for (size_t i = 0; i < PARTS; i++) {
        struct ckv_zmtp_frame frame;
        memset(body, (int)i, sizes[i]);
        assert_int_equal(ckv_zmtp_frame_next(&input, MAX, &frame), 1);
        assert_int_equal(frame.flags, CKV_ZMTP_MORE);
        assert_true(ckv_octets_equal(frame.body, ckv_octets(body, sizes[i])));
    }
    assert_int_equal(input.size, 0);
    ckv_assembly_drop(&assembly);
    assert_null(assembly.octets);
}

static void a_message_may_have_just_its_bound(void **state)
{
    (void)state;
    struct ckv_assembly assembly = { NULL, 0, 0 };
    static uint8_t body[MAX + 1];
    assert_true(ckv_assembly_fits(&assembly, MAX, MAX));
    assert_false(ckv_assembly_fits(&assembly, MAX + 1, MAX));
    assert_false(ckv_assembly_fits(&assembly, SIZE_MAX, MAX));
    assert_int_equal(ckv_assembly_add(&assembly, ckv_octets(body, MAX), MAX), CKV_ERROR_FRAME_SIZE);
    assert_int_equal(ckv_assembly_add(&assembly, ckv_octets(body, SIZE_MAX), MAX),
                     CKV_ERROR_FRAME_SIZE);
    assert_null(assembly.octets);
    assert_int_equal(ckv_assembly_add(&assembly, ckv_octets(body, MAX - 9), MAX), CKV_OK);
    assert_true(ckv_assembly_fits(&assembly, 0, MAX));
    assert_false(ckv_assembly_fits(&assembly, 1, MAX));
    assert_int_equal(ckv_assembly_add(&assembly, ckv_octets(body, 0), MAX), CKV_ERROR_FRAME_SIZE);
    ckv_assembly_drop(&assembly);
}

static void empty_parts_have_a_bound_too(void **state)
{
    (void)state;
    struct ckv_assembly assembly = { NULL, 0, 0 };
    unsigned count = 0;
    while (ckv_assembly_add(&assembly, ckv_octets(NULL, 0), MAX) == CKV_OK)
        count++;
    assert_int_equal(count, MAX / 2);
    assert_true(assembly.capacity <= 2 * MAX);
    ckv_assembly_drop(&assembly);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_frames_with_more_in_their_order),
        cmocka_unit_test(a_message_may_have_just_its_bound),
        cmocka_unit_test(empty_parts_have_a_bound_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
