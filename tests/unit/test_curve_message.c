/*  Messages of a CURVE connection: core/curve.h.  */
#include "tests/unit/curve_handshake.h"
#include "tests/unit/vectors.h"

enum { ROOM = CKV_CURVE_MESSAGE_OVERHEAD + 256 };

static struct handshake h;

/*  A MESSAGE command.  */
struct sealed {
    uint8_t octets[ROOM];
    size_t size;
};

static int connect_both(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    upto_messages(&h);
    return 0;
}

static struct sealed seal(struct ckv_curve_session *session, uint8_t flags, const char *text)
{
    struct sealed sealed = { .size = CKV_CURVE_MESSAGE_OVERHEAD + strlen(text) };
    memcpy(sealed.octets + CKV_CURVE_MESSAGE_OVERHEAD, text, strlen(text));
    assert_int_equal(ckv_curve_message_seal(session, flags, sealed.octets, strlen(text)), CKV_OK);
    return sealed;
}

/*  Opens a copy; what was in it must be TEXT with FLAGS.  */
static int open_text(struct ckv_curve_session *session, const struct sealed *sealed, uint8_t flags,
                     const char *text)
{
    uint8_t got, *copy = copy_of(sealed->octets, sealed->size);
    struct ckv_octets body;
    int rc = ckv_curve_message_open(session, copy, sealed->size, &got, &body);
    if (rc == CKV_OK) {
        assert_int_equal(got, flags);
        assert_true(ckv_octets_equal(body, ckv_octets_text(text)));
    }
    free(copy);
    return rc;
}

/*  What opening says, in a session that is left as it was.  */
static int try_open(const struct ckv_curve_session *session, const uint8_t *octets, size_t size)
{
    struct ckv_curve_session again = *session;
    uint8_t flags, *copy = copy_of(octets, size);
    struct ckv_octets body;
    int rc = ckv_curve_message_open(&again, copy, size, &flags, &body);
    assert_int_equal(sodium_is_zero(again.key, sizeof(again.key)), rc != CKV_OK);
    free(copy);
    return rc;
}

/*  A message whose box holds FLAGS, as a peer could make that has the keys.  */
static struct sealed with_flags(uint8_t flags)
{
    struct sealed sealed = seal(&h.client.session, 0, "");
    struct ckv_curve_message *message = (struct ckv_curve_message *)sealed.octets;
    uint8_t nonce[24] = "CurveZMQMESSAGEC";
    memcpy(nonce + 16, message->nonce, 8);
    crypto_box_detached_afternm(&message->flags, message->mac, &flags, 1, nonce,
                                h.client.session.key);
    return sealed;
}

static void a_message_goes_both_ways_with_its_flags(void **state)
{
    (void)state;
    static const uint8_t flags[] = { 0, CKV_ZMTP_MORE, CKV_ZMTP_COMMAND };
    for (size_t i = 0; i < sizeof(flags); i++) {
        struct sealed there = seal(&h.client.session, flags[i], "there");
        struct sealed back = seal(&h.server.session, flags[i], "");
        assert_int_equal(open_text(&h.server.session, &there, flags[i], "there"), CKV_OK);
        assert_int_equal(open_text(&h.client.session, &back, flags[i], ""), CKV_OK);
    }
    assert_int_equal(h.client.session.curve_operations, 4);
    assert_int_equal(h.server.session.curve_operations, 4);
}

static void messages_recorded_with_libzmq_open_and_seal_the_same(void **state)
{
    (void)state;
    struct vectors *vectors = vectors_load("libzmq_server.txt");
    struct ckv_octets welcome = vector(vectors, "welcome"), ready = vector(vectors, "ready");
    struct ckv_octets metadata;
    static const char *const texts[] = { "one", "two", "three", "" };
    begin(&h);
    assert_int_equal(start(&h), CKV_OK);
    assert_int_equal(answer_welcome(&h, welcome.data, welcome.size), CKV_OK);
    uint8_t *copy = copy_of(ready.data, ready.size);
    assert_int_equal(ckv_curve_client_ready(&h.client, copy, ready.size, &metadata), CKV_OK);
    free(copy);
    for (size_t i = 0; i < 2; i++) {
        uint8_t flags = i == 0 ? CKV_ZMTP_MORE : 0;
        struct ckv_octets out = vector_nth(vectors, "message_out", i);
        struct ckv_octets in = vector_nth(vectors, "message_in", i);
        struct sealed sealed = seal(&h.client.session, flags, texts[i]),
                      recorded = { { 0 }, in.size };
        assert_int_equal(sealed.size, out.size);
        assert_memory_equal(sealed.octets, out.data, out.size);
        memcpy(recorded.octets, in.data, in.size);
        assert_int_equal(open_text(&h.client.session, &recorded, flags, texts[2 + i]), CKV_OK);
    }
    free(vectors);
}

static void every_bit_of_a_message_counts(void **state)
{
    (void)state;
    struct sealed sealed = seal(&h.client.session, CKV_ZMTP_MORE, "every bit");
    for (size_t bit = 0; bit < 8 * sealed.size; bit++) {
        sealed.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(try_open(&h.server.session, sealed.octets, sealed.size), CKV_OK);
        sealed.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(try_open(&h.server.session, sealed.octets, sealed.size), CKV_OK);
}

static void a_message_cut_short_or_with_octets_behind_is_refused(void **state)
{
    (void)state;
    struct sealed sealed = seal(&h.client.session, 0, "text");
    for (size_t size = 0; size <= sealed.size + 8; size++)
        assert_int_equal(try_open(&h.server.session, sealed.octets, size),
                         size < CKV_CURVE_MESSAGE_OVERHEAD ? CKV_ERROR_CURVE
                         : size == sealed.size             ? CKV_OK
                                                           : CKV_ERROR_CURVE_BOX);
}

static void a_message_is_taken_once_and_none_after_a_later_one(void **state)
{
    (void)state;
    struct sealed first = seal(&h.client.session, 0, "1"), second = seal(&h.client.session, 0, "2");
    struct ckv_curve_session fresh = h.server.session;
    assert_int_equal(open_text(&h.server.session, &first, 0, "1"), CKV_OK);
    assert_int_equal(try_open(&h.server.session, first.octets, first.size), CKV_ERROR_CURVE_NONCE);
    assert_int_equal(open_text(&h.server.session, &second, 0, "2"), CKV_OK);
    h.server.session = fresh;
    assert_int_equal(open_text(&h.server.session, &second, 0, "2"), CKV_OK); /* gaps are allowed */
    assert_int_equal(open_text(&h.server.session, &first, 0, "1"), CKV_ERROR_CURVE_NONCE);
    assert_int_equal(open_text(&h.server.session, &second, 0, "2"), CKV_ERROR_CURVE);
}

static void the_nonces_of_the_handshake_count(void **state)
{
    (void)state;
    struct ckv_curve_session repeating = h.client.session;
    repeating.nonce = 1; /* its next is that of INITIATE */
    struct sealed sealed = seal(&repeating, 0, "");
    assert_int_equal(try_open(&h.server.session, sealed.octets, sealed.size),
                     CKV_ERROR_CURVE_NONCE);
    repeating = h.server.session;
    repeating.nonce = 0; /* its next is that of READY */
    sealed = seal(&repeating, 0, "");
    assert_int_equal(try_open(&h.client.session, sealed.octets, sealed.size),
                     CKV_ERROR_CURVE_NONCE);
}

static void a_message_does_not_come_back_to_its_sender(void **state)
{
    (void)state;
    struct sealed sealed = seal(&h.client.session, 0, "mirror");
    assert_int_equal(try_open(&h.client.session, sealed.octets, sealed.size), CKV_ERROR_CURVE_BOX);
}

static void no_nonce_is_used_twice_even_at_the_end_of_numbers(void **state)
{
    (void)state;
    uint8_t message[ROOM];
    h.client.session.nonce = UINT64_MAX - 1;
    struct sealed last = seal(&h.client.session, 0, "last");
    assert_int_equal(open_text(&h.server.session, &last, 0, "last"), CKV_OK);
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 0, message, 0),
                     CKV_ERROR_CURVE_NONCE);
    assert_true(sodium_is_zero(h.client.session.key, sizeof(h.client.session.key)));
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 0, message, 0), CKV_ERROR_CURVE);
}

static void flags_that_nobody_sends_are_refused(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        struct sealed sealed = with_flags((uint8_t)flags);
        assert_int_equal(try_open(&h.server.session, sealed.octets, sealed.size),
                         flags <= 2 ? CKV_OK : CKV_ERROR_CURVE);
    }
    uint8_t message[ROOM];
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 2, message, 0), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 5, message, 0), CKV_ERROR_ARGUMENT);
    seal(&h.client.session, 0, "still connected");
}

static void no_message_is_sealed_or_opened_before_the_handshake_is_over(void **state)
{
    (void)state;
    struct sealed sealed = seal(&h.client.session, 0, "early");
    uint8_t message[ROOM];
    upto_ready(&h);
    assert_int_equal(try_open(&h.client.session, sealed.octets, sealed.size), CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 0, message, 0), CKV_ERROR_CURVE);
    upto_initiate(&h);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    assert_int_equal(try_open(&h.server.session, sealed.octets, sealed.size), CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_message_seal(&h.server.session, 0, message, 0), CKV_ERROR_CURVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_message_goes_both_ways_with_its_flags, connect_both),
        cmocka_unit_test_setup(messages_recorded_with_libzmq_open_and_seal_the_same, connect_both),
        cmocka_unit_test_setup(every_bit_of_a_message_counts, connect_both),
        cmocka_unit_test_setup(a_message_cut_short_or_with_octets_behind_is_refused, connect_both),
        cmocka_unit_test_setup(a_message_is_taken_once_and_none_after_a_later_one, connect_both),
        cmocka_unit_test_setup(the_nonces_of_the_handshake_count, connect_both),
        cmocka_unit_test_setup(a_message_does_not_come_back_to_its_sender, connect_both),
        cmocka_unit_test_setup(no_nonce_is_used_twice_even_at_the_end_of_numbers, connect_both),
        cmocka_unit_test_setup(flags_that_nobody_sends_are_refused, connect_both),
        cmocka_unit_test_setup(no_message_is_sealed_or_opened_before_the_handshake_is_over,
                               connect_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
