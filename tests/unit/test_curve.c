/*  The CURVE handshake: core/curve.h. Conversations with libzmq are replayed from tests/data/curve;
    live ones are in test_curve_libzmq.c, messages in test_curve_message.c.  */
#include "tests/unit/curve_handshake.h"
#include "tests/unit/vectors.h"

static struct handshake h;

static int initialise(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

static void flip(void *octets, size_t bit)
{
    ((uint8_t *)octets)[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/*  Nothing is left in SERVER but what it counted; nothing can follow.  */
static void assert_dead_server(struct ckv_curve_server *server)
{
    uint8_t ready[CKV_CURVE_READY_OVERHEAD];
    assert_true(sodium_is_zero(server->session.key, sizeof(server->session.key)));
    assert_true(sodium_is_zero(server->cookie_nonce, sizeof(server->cookie_nonce)));
    assert_int_equal(ckv_curve_server_ready(server, ckv_octets(NULL, 0), ready), CKV_ERROR_CURVE);
}

static void assert_dead_client(struct ckv_curve_client *client)
{
    uint8_t ready[CKV_CURVE_READY_OVERHEAD] = { 0 };
    struct ckv_octets metadata;
    assert_true(sodium_is_zero(client->session.key, sizeof(client->session.key)));
    assert_true(sodium_is_zero(client->transient_secret, sizeof(client->transient_secret)));
    assert_int_equal(ckv_curve_client_ready(client, ready, sizeof(ready), &metadata),
                     CKV_ERROR_CURVE);
}

/*  Seals again what the test changed inside the box of INITIATE, as a client could that has c'.  */
static void reopen_initiate(struct ckv_curve_initiate *initiate, uint8_t nonce[24])
{
    memcpy(nonce, "CurveZMQINITIATE", 16);
    memcpy(nonce + 16, initiate->nonce, 8);
    assert_int_equal(crypto_box_open_detached_afternm(initiate->client_key, initiate->client_key,
                                                      initiate->mac, 128 + METADATA_SIZE, nonce,
                                                      h.client.session.key),
                     0);
}

static void reseal_initiate(struct ckv_curve_initiate *initiate, const uint8_t nonce[24])
{
    crypto_box_detached_afternm(initiate->client_key, initiate->mac, initiate->client_key,
                                128 + METADATA_SIZE, nonce, h.client.session.key);
}

/* ---- what is good ---- */

static void both_sides_connect_after_four_commands(void **state)
{
    (void)state;
    upto_messages(&h);
    assert_memory_equal(h.client.session.key, h.server.session.key, 32);
    assert_false(sodium_is_zero(h.client.session.key, 32));
}

static void a_handshake_costs_four_curve_operations_on_each_side(void **state)
{
    (void)state;
    upto_hello(&h);
    assert_int_equal(h.client.session.curve_operations, 2);
    assert_int_equal(h.server.session.curve_operations, 0);
    upto_welcome(&h);
    assert_int_equal(h.server.session.curve_operations, 2);
    upto_initiate(&h);
    assert_int_equal(h.client.session.curve_operations, 4);
    upto_messages(&h);
    assert_int_equal(h.client.session.curve_operations, 4);
    assert_int_equal(h.server.session.curve_operations, 4);
}

static void secrets_are_wiped_where_they_die(void **state)
{
    (void)state;
    upto_initiate(&h); /* transient secret and randomness of each call: in curve_handshake.h */
    assert_true(sodium_is_zero(h.client.transient_secret, 32));
    upto_messages(&h);
    ckv_curve_client_wipe(&h.client);
    ckv_curve_server_wipe(&h.server);
    assert_dead_client(&h.client);
    assert_dead_server(&h.server);
    assert_int_equal(h.server.session.curve_operations, 4);
}

static void the_servers_transient_secret_is_not_in_its_state(void **state)
{
    (void)state;
    struct ckv_curve_server_random random = fixed_random();
    upto_welcome(&h);
    for (size_t at = 0; at + 32 <= sizeof(h.server); at++)
        assert_memory_not_equal((uint8_t *)&h.server + at, random.transient_secret, 32);
}

static void a_modified_hello_leads_to_the_same_connection(void **state)
{
    (void)state;
    struct ckv_hello hello;
    begin(&h);
    h.identity.storage_key = ckv_octets_text(FIXED_STORAGE_KEY);
    h.identity.hello_key = h.hello_key;
    assert_int_equal(start(&h), CKV_OK);
    assert_int_equal(ckv_hello_parse(&hello, &h.hello, sizeof(h.hello)), CKV_OK);
    assert_int_equal(ckv_hello_verify(&hello, h.hello_key), CKV_OK);
    assert_int_equal(ckv_hello_check_clock(&hello, FIXED_CLOCK, 0), CKV_OK);
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_OK);
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
}

static void a_recorded_client_of_libzmq_is_served_to_the_last_octet(void **state)
{
    (void)state;
    struct vectors *vectors = vectors_load("libzmq_client.txt");
    struct ckv_octets initiate = vector(vectors, "initiate"), ready = vector(vectors, "ready");
    struct ckv_octets metadata, socket_type = ckv_octets("\13Socket-Type\0\0\0\6ROUTER", 22);
    const uint8_t *client_key;
    uint8_t out[CKV_CURVE_READY_OVERHEAD + 22], *copy = copy_of(initiate.data, initiate.size);
    begin(&h);
    memcpy(&h.hello, vector(vectors, "hello").data, sizeof(h.hello));
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_OK);
    assert_memory_equal(&h.welcome, vector(vectors, "welcome").data, sizeof(h.welcome));
    assert_int_equal(ckv_curve_server_initiate(&h.server, copy, initiate.size, h.cookie_key,
                                               &client_key, &metadata),
                     CKV_OK);
    assert_memory_equal(client_key, h.client_keys.public_key, 32);
    assert_memory_equal(metadata.data, METADATA, METADATA_SIZE); /* an Identity follows */
    assert_int_equal(ckv_curve_server_ready(&h.server, socket_type, out), CKV_OK);
    assert_int_equal(ready.size, sizeof(out));
    assert_memory_equal(out, ready.data, sizeof(out));
    free(copy);
    free(vectors);
}

static void recorded_servers_of_libzmq_are_answered_to_the_last_octet(void **state)
{
    (void)state;
    for (int modified = 0; modified < 2; modified++) {
        struct vectors *vectors =
            vectors_load(modified ? "libzmq_server_modified.txt" : "libzmq_server.txt");
        struct ckv_octets welcome = vector(vectors, "welcome"), ready = vector(vectors, "ready");
        struct ckv_octets metadata;
        uint8_t *copy = copy_of(ready.data, ready.size);
        begin(&h);
        if (modified) {
            h.identity.storage_key = ckv_octets_text(FIXED_STORAGE_KEY);
            h.identity.hello_key = h.hello_key;
        }
        assert_int_equal(start(&h), CKV_OK);
        assert_memory_equal(&h.hello, vector(vectors, "hello").data, sizeof(h.hello));
        assert_int_equal(answer_welcome(&h, welcome.data, welcome.size), CKV_OK);
        assert_memory_equal(h.initiate, vector(vectors, "initiate").data, INITIATE_SIZE);
        assert_int_equal(ckv_curve_client_ready(&h.client, copy, ready.size, &metadata), CKV_OK);
        assert_memory_equal(metadata.data, "\13Socket-Type\0\0\0\6ROUTER", 22);
        free(copy);
        free(vectors);
    }
}

static void metadata_may_have_8192_octets_and_no_more(void **state)
{
    (void)state;
    static uint8_t properties[CKV_CURVE_METADATA_MAX + 1] = "\1X\0\0\x1f\xfa";
    static uint8_t ready[CKV_CURVE_READY_MAX], initiate[CKV_CURVE_INITIATE_MAX + 1];
    const uint8_t *client_key, vouch_nonce[16] = { 0 };
    struct ckv_octets metadata = ckv_octets(properties, CKV_CURVE_METADATA_MAX), read;
    struct ckv_octets longer = ckv_octets(properties, CKV_CURVE_METADATA_MAX + 1);
    upto_welcome(&h);
    properties[5] = 0xfb;
    assert_int_equal(ckv_curve_client_initiate(&h.client, &h.identity, &h.welcome,
                                               sizeof(h.welcome), longer, vouch_nonce, initiate),
                     CKV_ERROR_ARGUMENT);
    properties[5] = 0xfa;
    assert_int_equal(ckv_curve_client_initiate(&h.client, &h.identity, &h.welcome,
                                               sizeof(h.welcome), metadata, vouch_nonce, initiate),
                     CKV_OK);
    struct ckv_curve_server again = h.server;
    assert_int_equal(ckv_curve_server_initiate(&again, initiate, sizeof(initiate), h.cookie_key,
                                               &client_key, &read),
                     CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_server_initiate(&h.server, initiate, CKV_CURVE_INITIATE_MAX,
                                               h.cookie_key, &client_key, &read),
                     CKV_OK);
    properties[5] = 0xfb;
    assert_int_equal(ckv_curve_server_ready(&h.server, longer, ready), CKV_ERROR_ARGUMENT);
    properties[5] = 0xfa;
    assert_int_equal(ckv_curve_server_ready(&h.server, metadata, ready), CKV_OK);
    assert_int_equal(ckv_curve_client_ready(&h.client, ready, sizeof(ready), &read), CKV_OK);
    assert_true(ckv_octets_equal(read, metadata));
}

/* ---- what was changed ---- */

static void every_bit_of_a_stock_hello_counts(void **state)
{
    (void)state;
    upto_hello(&h);
    for (size_t bit = 0; bit < 8 * sizeof(h.hello); bit++) {
        struct ckv_hello_octets changed = h.hello;
        flip(&changed, bit);
        h.server = (struct ckv_curve_server){ 0 };
        h.random = fixed_random();
        assert_int_not_equal(welcome_hello(&h, &changed), CKV_OK);
        assert_true(h.server.session.curve_operations <= 1);
    }
}

static void every_bit_of_a_welcome_counts(void **state)
{
    (void)state;
    upto_welcome(&h);
    struct ckv_curve_client fresh = h.client;
    for (size_t bit = 0; bit < 8 * sizeof(h.welcome); bit++) {
        struct ckv_curve_welcome changed = h.welcome;
        flip(&changed, bit);
        h.client = fresh;
        assert_int_not_equal(answer_welcome(&h, &changed, sizeof(changed)), CKV_OK);
        assert_dead_client(&h.client);
    }
}

static void every_bit_of_an_initiate_counts(void **state)
{
    (void)state;
    upto_initiate(&h);
    struct ckv_curve_server fresh = h.server;
    for (size_t bit = 0; bit < 8 * INITIATE_SIZE; bit++) {
        flip(h.initiate, bit);
        h.server = fresh;
        assert_int_not_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
        assert_dead_server(&h.server);
        assert_true(h.server.session.curve_operations <= 3);
        flip(h.initiate, bit);
    }
    h.server = fresh;
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
}

static void every_bit_of_a_ready_counts(void **state)
{
    (void)state;
    upto_ready(&h);
    struct ckv_curve_client fresh = h.client;
    for (size_t bit = 0; bit < 8 * READY_SIZE; bit++) {
        flip(h.ready, bit);
        h.client = fresh;
        assert_int_not_equal(open_ready(&h, h.ready, READY_SIZE), CKV_OK);
        assert_dead_client(&h.client);
        flip(h.ready, bit);
    }
}

static void a_command_cut_short_or_with_octets_behind_is_refused(void **state)
{
    (void)state;
    uint8_t longer[INITIATE_SIZE + 1] = { 0 };
    upto_messages(&h);
    struct handshake good = h;
    for (size_t size = 0; size <= sizeof(longer); size++) {
        upto_welcome(&h);
        memcpy(longer, &good.welcome, sizeof(good.welcome));
        if (size != sizeof(good.welcome) && size < 180)
            assert_int_equal(answer_welcome(&h, longer, size), CKV_ERROR_CURVE);
        upto_initiate(&h);
        memcpy(longer, good.initiate, INITIATE_SIZE);
        if (size != INITIATE_SIZE)
            assert_int_not_equal(open_initiate(&h, longer, size), CKV_OK);
        upto_ready(&h);
        memcpy(longer, good.ready, READY_SIZE);
        if (size != READY_SIZE && size < 60)
            assert_int_not_equal(open_ready(&h, longer, size), CKV_OK);
    }
}

/* ---- who lies ---- */

static void a_hello_for_another_server_key_is_refused_after_one_curve_operation(void **state)
{
    (void)state;
    upto_hello(&h);
    h.server_keys = fixed_pair(0x99);
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_ERROR_CURVE_BOX);
    assert_int_equal(h.server.session.curve_operations, 1);
    assert_dead_server(&h.server);
}

static void a_hello_whose_box_holds_other_than_zeros_is_refused(void **state)
{
    (void)state;
    uint8_t nonce[24] = "CurveZMQHELLO---", text[64] = { 0 }, secret[32];
    upto_hello(&h);
    text[63] = 1;
    fill(secret, sizeof(secret), FIRST_OF_TRANSIENT);
    memcpy(nonce + 16, h.hello.nonce, 8);
    assert_int_equal(
        crypto_box_easy(h.hello.box, text, sizeof(text), nonce, h.server_keys.public_key, secret),
        0);
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_ERROR_CURVE);
}

static void a_vouch_for_another_server_is_refused(void **state)
{
    (void)state;
    struct fixed_pair other = fixed_pair(0x99);
    upto_welcome(&h);
    h.identity.server_public_key = other.public_key;
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_BOX);
    assert_int_equal(h.server.session.curve_operations, 4);
    assert_dead_server(&h.server);
}

static void a_vouch_for_another_transient_key_is_refused(void **state)
{
    (void)state;
    upto_welcome(&h);
    h.client.transient_public[0] ^= 1;
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_BOX);
    assert_dead_server(&h.server);
}

static void who_has_not_the_secret_key_of_c_is_refused(void **state)
{
    (void)state;
    struct fixed_pair thief = fixed_pair(0x99);
    upto_welcome(&h);
    h.identity.secret_key = thief.secret_key;
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_BOX);
    assert_dead_server(&h.server);
}

static void a_conversation_replayed_to_the_same_cookie_key_is_refused(void **state)
{
    (void)state;
    upto_initiate(&h);
    h.server = (struct ckv_curve_server){ 0 };
    fill((uint8_t *)&h.random, sizeof(h.random), 0x71); /* as random as another connection's */
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_BOX);
    assert_int_equal(h.server.session.curve_operations, 2);
    assert_dead_server(&h.server);
}

static void a_cookie_of_a_forgotten_key_is_refused_without_a_curve_operation(void **state)
{
    (void)state;
    upto_initiate(&h);
    h.cookie_key[0] ^= 1;
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_BOX);
    assert_int_equal(h.server.session.curve_operations, 2);
}

static void the_nonce_of_an_initiate_is_above_that_of_its_hello(void **state)
{
    (void)state;
    upto_welcome(&h);
    h.client.session.nonce = 0;
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE_NONCE);
    assert_int_equal(h.server.session.curve_operations, 2);
    assert_dead_server(&h.server);
}

static void metadata_that_are_no_properties_are_refused(void **state)
{
    (void)state;
    uint8_t nonce[24];
    struct ckv_curve_initiate *initiate = (struct ckv_curve_initiate *)h.initiate;
    upto_initiate(&h);
    reopen_initiate(initiate, nonce);
    initiate->metadata[METADATA_SIZE - 7]++; /* a value longer than what is left */
    reseal_initiate(initiate, nonce);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_METADATA);
    assert_dead_server(&h.server);

    uint8_t ready[CKV_CURVE_READY_OVERHEAD + 3];
    upto_initiate(&h);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    assert_int_equal(ckv_curve_server_ready(&h.server, ckv_octets("\1X\0", 3), ready),
                     CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_curve_server_ready(&h.server, ckv_octets(NULL, 0), ready), CKV_OK);
}

static void a_ready_whose_metadata_are_no_properties_is_refused(void **state)
{
    (void)state;
    struct ckv_curve_ready *ready = (struct ckv_curve_ready *)h.ready;
    uint8_t nonce[24] = "CurveZMQREADY---";
    upto_ready(&h);
    memcpy(nonce + 16, ready->nonce, 8);
    crypto_box_detached_afternm(ready->metadata, ready->mac, (const uint8_t *)METADATA,
                                METADATA_SIZE - 1, nonce, h.client.session.key);
    assert_int_equal(open_ready(&h, h.ready, READY_SIZE - 1), CKV_ERROR_METADATA);
    assert_dead_client(&h.client);
}

static void public_keys_of_low_order_are_refused_unused(void **state)
{
    (void)state;
    static const uint8_t zero[32];
    upto_hello(&h);
    memset(h.hello.client_key, 0, 32); /* C' */
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_ERROR_WEAK_KEY);
    assert_int_equal(h.server.session.curve_operations, 0);

    begin(&h);
    h.identity.server_public_key = zero; /* S */
    assert_int_equal(start(&h), CKV_ERROR_WEAK_KEY);
    assert_dead_client(&h.client);

    upto_welcome(&h);
    h.identity.public_key = zero; /* C */
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_WEAK_KEY);
    assert_int_equal(h.server.session.curve_operations, 3);

    upto_welcome(&h); /* S' */
    uint8_t nonce[24] = "WELCOME-", text[128] = { 0 };
    memcpy(nonce + 8, h.welcome.nonce, 16);
    crypto_box_detached_afternm(h.welcome.server_key, h.welcome.mac, text, sizeof(text), nonce,
                                h.client.session.key);
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_ERROR_WEAK_KEY);
    assert_int_equal(h.client.session.curve_operations, 2);
    assert_dead_client(&h.client);
}

static void a_client_public_key_has_one_name(void **state)
{
    (void)state;
    uint8_t nonce[24];
    struct ckv_curve_initiate *initiate = (struct ckv_curve_initiate *)h.initiate;
    upto_initiate(&h);
    reopen_initiate(initiate, nonce);
    initiate->client_key[31] |= 0x80; /* X25519 takes it for the same key */
    reseal_initiate(initiate, nonce);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_WEAK_KEY);
}

/* ---- out of turn ---- */

static void a_server_takes_commands_in_turn_only(void **state)
{
    (void)state;
    upto_initiate(&h);
    struct handshake good = h;
    h.server = (struct ckv_curve_server){ 0 };
    assert_int_equal(open_initiate(&h, good.initiate, INITIATE_SIZE), CKV_ERROR_CURVE);
    h = good;
    h.random = fixed_random();
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_ERROR_CURVE);
    assert_dead_server(&h.server);
    h = good;
    assert_int_equal(ckv_curve_server_ready(&h.server, metadata_octets(), h.ready),
                     CKV_ERROR_CURVE);
    assert_dead_server(&h.server);
    h = good;
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_ERROR_CURVE);
    assert_dead_server(&h.server);
}

static void a_client_takes_commands_in_turn_only(void **state)
{
    (void)state;
    upto_ready(&h);
    struct handshake good = h;
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_ERROR_CURVE);
    assert_dead_client(&h.client);
    h = good;
    assert_int_equal(start(&h), CKV_ERROR_CURVE);
    assert_dead_client(&h.client);
    h = good;
    assert_int_equal(open_ready(&h, h.ready, READY_SIZE), CKV_OK);
    assert_int_equal(open_ready(&h, h.ready, READY_SIZE), CKV_ERROR_CURVE);
    assert_dead_client(&h.client);
    upto_welcome(&h);
    assert_int_equal(open_ready(&h, good.ready, READY_SIZE), CKV_ERROR_CURVE);
    h.client = (struct ckv_curve_client){ 0 };
    assert_int_equal(answer_welcome(&h, &good.welcome, sizeof(good.welcome)), CKV_ERROR_CURVE);
}

static void a_client_without_the_hello_key_of_its_storage_key_does_not_start(void **state)
{
    (void)state;
    begin(&h);
    h.identity.storage_key = ckv_octets_text(FIXED_STORAGE_KEY);
    assert_int_equal(start(&h), CKV_ERROR_ARGUMENT);
    assert_dead_client(&h.client);
}

/* ---- ERROR ---- */

static void a_client_is_refused_with_a_reason_after_hello_or_initiate(void **state)
{
    (void)state;
    uint8_t error[CKV_CURVE_ERROR_MAX];
    struct ckv_octets reason;
    upto_hello(&h);
    assert_int_equal(ckv_curve_server_error(&h.server, "400", error), CKV_OK);
    assert_memory_equal(error,
                        "\5ERROR\3"
                        "400",
                        10);
    assert_dead_server(&h.server);
    assert_int_equal(answer_welcome(&h, error, 10), CKV_ERROR_REFUSED);
    assert_dead_client(&h.client);

    upto_initiate(&h);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    assert_int_equal(ckv_curve_server_error(&h.server, "", error), CKV_OK);
    assert_dead_server(&h.server);
    assert_int_equal(open_ready(&h, error, 7), CKV_ERROR_REFUSED);
    assert_dead_client(&h.client);
    assert_int_equal(ckv_curve_error_parse(error, 7, &reason), CKV_OK);
    assert_int_equal(reason.size, 0);
}

static void an_error_is_read_to_its_last_octet(void **state)
{
    (void)state;
    struct ckv_octets reason;
    assert_int_equal(ckv_curve_error_parse("\5ERROR\3"
                                           "400",
                                           10, &reason),
                     CKV_OK);
    assert_true(ckv_octets_equal(reason, ckv_octets_text("400")));
    assert_int_equal(ckv_curve_error_parse("\5ERROR\3"
                                           "400",
                                           9, &reason),
                     CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_error_parse("\5ERROR\2"
                                           "400",
                                           10, &reason),
                     CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_error_parse("\5ERROR\3"
                                           "4\x1b"
                                           "0",
                                           10, &reason),
                     CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_error_parse("\5ERROR", 6, &reason), CKV_ERROR_CURVE);
    assert_int_equal(ckv_curve_error_parse("\5READY\3"
                                           "400",
                                           10, &reason),
                     CKV_ERROR_CURVE);
}

static void reasons_that_cannot_be_said_change_nothing(void **state)
{
    (void)state;
    uint8_t error[CKV_CURVE_ERROR_MAX];
    char reason[257] = { 0 };
    upto_welcome(&h);
    memset(reason, 'r', 256);
    assert_int_equal(ckv_curve_server_error(&h.server, reason, error), CKV_ERROR_ARGUMENT);
    assert_int_equal(ckv_curve_server_error(&h.server, "two\nlines", error), CKV_ERROR_ARGUMENT);
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    reason[255] = 0;
    assert_int_equal(ckv_curve_server_error(&h.server, reason, error), CKV_OK);
}

static void no_error_follows_a_ready(void **state)
{
    (void)state;
    uint8_t error[CKV_CURVE_ERROR_MAX];
    upto_messages(&h);
    assert_int_equal(ckv_curve_server_error(&h.server, "400", error), CKV_ERROR_CURVE);
    assert_dead_server(&h.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_connect_after_four_commands),
        cmocka_unit_test(a_handshake_costs_four_curve_operations_on_each_side),
        cmocka_unit_test(secrets_are_wiped_where_they_die),
        cmocka_unit_test(the_servers_transient_secret_is_not_in_its_state),
        cmocka_unit_test(a_modified_hello_leads_to_the_same_connection),
        cmocka_unit_test(a_recorded_client_of_libzmq_is_served_to_the_last_octet),
        cmocka_unit_test(recorded_servers_of_libzmq_are_answered_to_the_last_octet),
        cmocka_unit_test(metadata_may_have_8192_octets_and_no_more),
        cmocka_unit_test(every_bit_of_a_stock_hello_counts),
        cmocka_unit_test(every_bit_of_a_welcome_counts),
        cmocka_unit_test(every_bit_of_an_initiate_counts),
        cmocka_unit_test(every_bit_of_a_ready_counts),
        cmocka_unit_test(a_command_cut_short_or_with_octets_behind_is_refused),
        cmocka_unit_test(a_hello_for_another_server_key_is_refused_after_one_curve_operation),
        cmocka_unit_test(a_hello_whose_box_holds_other_than_zeros_is_refused),
        cmocka_unit_test(a_vouch_for_another_server_is_refused),
        cmocka_unit_test(a_vouch_for_another_transient_key_is_refused),
        cmocka_unit_test(who_has_not_the_secret_key_of_c_is_refused),
        cmocka_unit_test(a_conversation_replayed_to_the_same_cookie_key_is_refused),
        cmocka_unit_test(a_cookie_of_a_forgotten_key_is_refused_without_a_curve_operation),
        cmocka_unit_test(the_nonce_of_an_initiate_is_above_that_of_its_hello),
        cmocka_unit_test(metadata_that_are_no_properties_are_refused),
        cmocka_unit_test(a_ready_whose_metadata_are_no_properties_is_refused),
        cmocka_unit_test(public_keys_of_low_order_are_refused_unused),
        cmocka_unit_test(a_client_public_key_has_one_name),
        cmocka_unit_test(a_server_takes_commands_in_turn_only),
        cmocka_unit_test(a_client_takes_commands_in_turn_only),
        cmocka_unit_test(a_client_without_the_hello_key_of_its_storage_key_does_not_start),
        cmocka_unit_test(a_client_is_refused_with_a_reason_after_hello_or_initiate),
        cmocka_unit_test(an_error_is_read_to_its_last_octet),
        cmocka_unit_test(reasons_that_cannot_be_said_change_nothing),
        cmocka_unit_test(no_error_follows_a_ready),
    };
    return cmocka_run_group_tests(tests, initialise, NULL);
}
