/*  Routing ids: what is written reads back, for every storage key, and what is none is refused.  */
#include "node/gateway/gateway.h"
#include "node/gateway/routing_id.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void what_is_written_reads_back_and_ends_with_the_storage_key(void **state)
{
    (void)state;
    const struct ckv_routing_id ids[] = {
        { 0, 0, 0 },
        { CKV_GATEWAY_LOOPS_MAX - 1, CKV_ROUTING_ID_INDEXES - 1, UINT32_MAX },
        { 1, 0x020304, 0x05060708 },
    };
    uint8_t key[CKV_STORAGE_KEY_MAX];
    memset(key, 0xfe, sizeof(key));
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        for (size_t size = CKV_STORAGE_KEY_MIN; size <= sizeof(key); size++) {
            uint8_t octets[CKV_ROUTING_ID_MAX];
            char text[CKV_STORAGE_KEY_TEXT_SIZE];
            struct ckv_routing_id id;
            struct ckv_octets storage_key = ckv_octets(key, size);
            size_t written = ckv_routing_id_write(octets, &ids[i], storage_key);
            ckv_storage_key_text(storage_key, text);
            assert_int_equal(written, CKV_ROUTING_ID_FIXED + strlen(text));
            assert_memory_equal(octets + CKV_ROUTING_ID_FIXED, text, strlen(text));
            assert_int_equal(ckv_routing_id_parse(ckv_octets(octets, written), &id), CKV_OK);
            assert_int_equal(id.loop, ids[i].loop);
            assert_int_equal(id.index, ids[i].index);
            assert_int_equal(id.serial, ids[i].serial);
        }
    }
}

static void it_is_laid_out_as_the_header_says(void **state)
{
    (void)state;
    uint8_t octets[CKV_ROUTING_ID_MAX];
    const struct ckv_routing_id id = { 1, 0x020304, 0x05060708 };
    size_t size = ckv_routing_id_write(octets, &id, ckv_octets_text("client-7"));
    assert_int_equal(size, 16);
    assert_memory_equal(octets, "\1\2\3\4\5\6\7\10client-7", size);
}

static void what_is_too_short_or_too_long_is_none(void **state)
{
    (void)state;
    uint8_t octets[300] = { 0 };
    struct ckv_routing_id id;
    for (size_t size = 0; size < sizeof(octets); size++)
        assert_int_equal(
            ckv_routing_id_parse(ckv_octets(octets, size), &id),
            size > CKV_ROUTING_ID_FIXED && size <= CKV_ROUTING_ID_MAX ? CKV_OK : CKV_ERROR_ZMTP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_and_ends_with_the_storage_key),
        cmocka_unit_test(it_is_laid_out_as_the_header_says),
        cmocka_unit_test(what_is_too_short_or_too_long_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
