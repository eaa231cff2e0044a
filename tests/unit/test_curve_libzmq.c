/*  CURVE with a stock libzmq at the other end of a TCP connection: core/curve.h.  */
#include "tests/unit/libzmq_sessions.h"

static struct live *live;

static int make_live(void **state)
{
    (void)state;
    return sodium_init() < 0 || !(live = calloc(1, sizeof(*live)));
}

static int free_live(void **state)
{
    (void)state;
    free(live);
    return 0;
}

static void a_stock_client_talks_to_our_server(void **state)
{
    (void)state;
    serve_libzmq_client(NULL, NULL);
}

static void our_client_talks_to_a_stock_server_that_asks_zap(void **state)
{
    (void)state;
    call_libzmq_server(false, NULL, NULL);
}

static void a_modified_hello_is_a_hello_to_a_stock_server(void **state)
{
    (void)state;
    call_libzmq_server(true, NULL, NULL);
}

static void our_client_hears_why_a_stock_server_refuses_it(void **state)
{
    (void)state;
    struct fixed_pair stranger = fixed_pair(0x77), server = fixed_pair(FIRST_OF_SERVER);
    struct ckv_curve_identity identity = identity_of(&stranger, &server, NULL);
    struct ckv_curve_client self = { 0 };
    struct router router;
    router_start(&router);
    live_connect(live, router.port);
    assert_int_equal(call_handshake(live, &self, &identity), CKV_ERROR_REFUSED);
    live_close(live);
    assert_int_equal(router_stop(&router), 1);
}

static void our_hello_for_another_server_key_is_nothing_to_a_stock_server(void **state)
{
    (void)state;
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT), other = fixed_pair(0x99);
    struct ckv_curve_identity identity = identity_of(&client, &other, NULL);
    struct ckv_curve_client self = { 0 };
    struct router router;
    router_start(&router);
    live_connect(live, router.port);
    assert_int_equal(call_handshake(live, &self, &identity), CKV_ERROR_NOT_REACHABLE);
    live_close(live);
    assert_int_equal(router_stop(&router), 0);
}

static void a_stock_client_hears_why_our_server_refuses_it(void **state)
{
    (void)state;
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT);
    struct ckv_curve_server server = { 0 };
    uint8_t error[CKV_CURVE_ERROR_MAX], event[6];
    int timeout = LIVE_TIMEOUT_S * 1000;
    uint32_t status;
    void *context = zmq_ctx_new(), *dealer = stock_client(context, ZMQ_DEALER, &client);
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    zmq_socket_monitor(dealer, "inproc://monitor", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    zmq_setsockopt(monitor, ZMQ_RCVTIMEO, &timeout, sizeof(timeout));
    assert_int_equal(zmq_connect(monitor, "inproc://monitor"), 0);
    stock_connect(live, dealer);
    serve_handshake(live, &server, &client, "DEALER");
    assert_int_equal(ckv_curve_server_error(&server, "400", error), CKV_OK);
    live_send(live, "error", CKV_ZMTP_COMMAND, error, CKV_CURVE_ERROR_OVERHEAD + 3);

    assert_int_equal(zmq_recv(monitor, event, sizeof(event), 0), sizeof(event));
    memcpy(&status, event + 2, sizeof(status));
    assert_int_equal(status, 400);
    live_close(live);
    zmq_close(monitor);
    zmq_close(dealer);
    zmq_ctx_term(context);
}

/*  Reads until SIZE octets are there, and sees that no more come.  */
static void expect_octets(size_t size)
{
    struct timeval moment = { 0, 50000 }, timeout = { LIVE_TIMEOUT_S, 0 };
    while (live->in_size < size)
        assert_true(live_read(live));
    setsockopt(live->fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
    assert_false(live_read(live));
    assert_int_equal(live->in_size, size);
    setsockopt(live->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

static void a_stock_client_greets_in_the_steps_that_zmtp_h_says(void **state)
{
    (void)state;
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT);
    struct ckv_zmtp_greeting_octets ours;
    struct ckv_zmtp_greeting greeting;
    uint8_t *body;
    size_t size;
    void *context = zmq_ctx_new(), *dealer = stock_client(context, ZMQ_DEALER, &client);
    stock_connect(live, dealer);
    ckv_zmtp_greeting_write(&ours, "CURVE", true);
    expect_octets(10);
    live_write(live, &ours, 10);
    expect_octets(CKV_ZMTP_GREETING_FIRST);
    live_write(live, (uint8_t *)&ours + 10, 1);
    expect_octets(CKV_ZMTP_GREETING_SIZE);
    struct ckv_octets input = ckv_octets(live->in, live->in_size);
    assert_int_equal(ckv_zmtp_greeting_next(&input, &greeting), 1);
    live_drop(live, CKV_ZMTP_GREETING_SIZE);
    live_write(live, (uint8_t *)&ours + CKV_ZMTP_GREETING_FIRST,
               CKV_ZMTP_GREETING_SIZE - CKV_ZMTP_GREETING_FIRST);
    assert_true(live_next(live, "hello", &body, &size));
    assert_int_equal(size, CKV_HELLO_SIZE);
    live_close(live);
    zmq_close(dealer);
    zmq_ctx_term(context);
}

/*  Subscriptions and heartbeats are commands, and commands are in boxes.  */
static void a_stock_subscriber_subscribes_and_takes_our_pong(void **state)
{
    (void)state;
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT);
    struct ckv_curve_server server = { 0 };
    struct ckv_zmtp_subscription subscription;
    struct ckv_zmtp_command command;
    struct ckv_zmtp_ping ping;
    struct ckv_octets read;
    uint8_t *body, flags;
    size_t size;
    int interval = 100;
    void *context = zmq_ctx_new(), *sub = stock_client(context, ZMQ_SUB, &client);
    zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "topic", 5);
    zmq_setsockopt(sub, ZMQ_HEARTBEAT_IVL, &interval, sizeof(interval));
    stock_connect(live, sub);
    serve_handshake(live, &server, &client, "SUB");
    serve_ready(live, &server, "PUB");

    assert_true(live_next(live, "subscribe", &body, &size));
    assert_int_equal(ckv_curve_message_open(&server.session, body, size, &flags, &read), CKV_OK);
    assert_int_equal(ckv_zmtp_subscription_parse(flags, read, &subscription), 1);
    assert_false(subscription.cancel);
    assert_true(ckv_octets_equal(subscription.topic, ckv_octets_text("topic")));

    assert_true(live_next(live, "ping", &body, &size));
    assert_int_equal(ckv_curve_message_open(&server.session, body, size, &flags, &read), CKV_OK);
    assert_int_equal(flags, CKV_ZMTP_COMMAND);
    assert_int_equal(ckv_zmtp_command_parse(read, &command), CKV_OK);
    assert_true(ckv_zmtp_command_is(&command, "PING"));
    assert_int_equal(ckv_zmtp_ping_parse(command.data, &ping), CKV_OK);
    live_send_message(live, &server.session, "pong", CKV_ZMTP_COMMAND, "\4PONG");
    live_send_message(live, &server.session, "message", 0, "topic news");
    expect_part(sub, "topic news", 0);
    live_close(live);
    zmq_close(sub);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stock_client_talks_to_our_server),
        cmocka_unit_test(our_client_talks_to_a_stock_server_that_asks_zap),
        cmocka_unit_test(a_modified_hello_is_a_hello_to_a_stock_server),
        cmocka_unit_test(our_client_hears_why_a_stock_server_refuses_it),
        cmocka_unit_test(our_hello_for_another_server_key_is_nothing_to_a_stock_server),
        cmocka_unit_test(a_stock_client_hears_why_our_server_refuses_it),
        cmocka_unit_test(a_stock_client_greets_in_the_steps_that_zmtp_h_says),
        cmocka_unit_test(a_stock_subscriber_subscribes_and_takes_our_pong),
    };
    return cmocka_run_group_tests(tests, make_live, free_live);
}
