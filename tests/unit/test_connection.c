/*  A client's connection with stock libzmq servers that ask ZAP: node/library/curvekv.h.  */
#include "node/library/curvekv.h"
#include "tests/unit/client_files.h"
#include "tests/unit/libzmq_sessions.h"

#include <poll.h>

enum { WAIT_MS = 5000, SHORT_MS = 100, LARGE = 10 << 20 };

static struct router server;
static struct ckv_connection *connection;

static struct ckv_connection_options options_for(enum ckv_socket_type type, const char *file)
{
    static char endpoint[64], path[128];
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", server.port);
    snprintf(path, sizeof(path), "%s", file_path(file));
    return (struct ckv_connection_options){
        .endpoint = endpoint,
        .certificate_file = path,
        .socket_type = type,
        .timeout_ms = WAIT_MS,
    };
}

static int open_as(enum ckv_socket_type type, const char *file)
{
    struct ckv_connection_options options = options_for(type, file);
    return ckv_connection_open(&connection, &options);
}

/*  A server of libzmq's type THEIRS, and our connection to it.  */
static void meet(int theirs, enum ckv_socket_type ours)
{
    router_start_as(&server, theirs, "tcp://127.0.0.1:*");
    assert_int_equal(open_as(ours, "modified"), CKV_OK);
}

/*  Tells how often ZAP was asked.  */
static unsigned part(void)
{
    ckv_connection_close(&connection);
    assert_null(connection);
    return router_stop(&server);
}

static int send_parts(const char *first, const char *second)
{
    struct ckv_octets parts[2] = { ckv_octets_text(first) };
    if (second)
        parts[1] = ckv_octets_text(second);
    return ckv_connection_send(connection, parts, second ? 2 : 1, WAIT_MS);
}

/*  Receives a message of a part or two.  */
static void expect_message(const char *first, const char *second)
{
    const struct ckv_octets *parts;
    size_t count;
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
    assert_int_equal(count, second ? 2 : 1);
    assert_true(ckv_octets_equal(parts[0], ckv_octets_text(first)));
    if (second)
        assert_true(ckv_octets_equal(parts[1], ckv_octets_text(second)));
}

static void expect_nothing(void)
{
    const struct ckv_octets *parts;
    size_t count;
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, SHORT_MS),
                     CKV_ERROR_TIMEOUT);
}

/*  A server of libzmq's type THEIRS with OPTION set before it binds: some count from then only.  */
static void serve_with(int theirs, int option, int value)
{
    char endpoint[64];
    size_t size = sizeof(endpoint);
    router_start_as(&server, theirs, "tcp://127.0.0.1:*");
    assert_int_equal(zmq_setsockopt(server.socket, option, &value, sizeof(value)), 0);
    assert_int_equal(zmq_bind(server.socket, "tcp://127.0.0.1:*"), 0);
    zmq_getsockopt(server.socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    server.port = atoi(strrchr(endpoint, ':') + 1);
}

static uint8_t *large_octets(void)
{
    uint8_t *octets = malloc(LARGE);
    assert_non_null(octets);
    for (size_t i = 0; i < LARGE; i++)
        octets[i] = (uint8_t)(i * i >> 7);
    return octets;
}

/* ---- socket types ---- */

static void a_dealer_talks_to_a_stock_router(void **state)
{
    (void)state;
    char id[256];
    meet(ZMQ_ROUTER, CKV_SOCKET_DEALER);
    assert_int_equal(send_parts("one", ""), CKV_OK);
    int id_size = zmq_recv(server.socket, id, sizeof(id), 0);
    assert_true(id_size > 0);
    expect_part(server.socket, "one", 1);
    expect_part(server.socket, "", 0);
    for (int i = 0; i < 3; i++) {
        zmq_send(server.socket, id, (size_t)id_size, ZMQ_SNDMORE);
        zmq_send(server.socket, "", 0, ZMQ_SNDMORE);
        zmq_send(server.socket, i ? "again" : "two", i ? 5 : 3, 0);
    }
    expect_message("", "two");
    expect_message("", "again");
    expect_message("", "again");
    assert_int_equal(part(), 1);
}

static void a_router_knows_a_dealer_by_its_routing_id(void **state)
{
    (void)state;
    router_start(&server);
    struct ckv_connection_options options = options_for(CKV_SOCKET_DEALER, "stock");
    options.routing_id = ckv_octets_text("acme 42");
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_OK);
    assert_int_equal(send_parts("hello", NULL), CKV_OK);
    expect_part(server.socket, "acme 42", 1);
    expect_part(server.socket, "hello", 0);
    part();
}

static void a_req_knows_nothing_of_the_empty_part(void **state)
{
    (void)state;
    meet(ZMQ_REP, CKV_SOCKET_REQ);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_parts("question", "more"), CKV_OK);
        expect_part(server.socket, "question", 1);
        expect_part(server.socket, "more", 0);
        zmq_send(server.socket, "answer", 6, 0);
        expect_message("answer", NULL);
    }
    part();
}

static void a_req_asks_and_hears_by_turns(void **state)
{
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    meet(ZMQ_REP, CKV_SOCKET_REQ);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, 0), CKV_ERROR_TURN);
    assert_int_equal(send_parts("one", NULL), CKV_OK);
    assert_int_equal(send_parts("two", NULL), CKV_ERROR_TURN);
    expect_part(server.socket, "one", 0);
    zmq_send(server.socket, "1", 1, 0);
    expect_message("1", NULL);
    assert_int_equal(send_parts("two", NULL), CKV_OK);
    expect_part(server.socket, "two", 0);
    part();
}

/*  A ROUTER can say what it wants: only the answer to the last request is one.  */
static void a_req_discards_what_is_no_reply_to_its_last_request(void **state)
{
    (void)state;
    char id[256];
    meet(ZMQ_ROUTER, CKV_SOCKET_REQ);
    assert_int_equal(send_parts("first", NULL), CKV_OK);
    int id_size = zmq_recv(server.socket, id, sizeof(id), 0);
    expect_part(server.socket, "", 1);
    expect_part(server.socket, "first", 0);
    static const char *const said[] = { "naked", "1", "1 again" };
    for (int i = 0; i < 3; i++) {
        zmq_send(server.socket, id, (size_t)id_size, ZMQ_SNDMORE);
        if (i > 0)
            zmq_send(server.socket, "", 0, ZMQ_SNDMORE);
        zmq_send(server.socket, said[i], strlen(said[i]), 0);
    }
    expect_message("1", NULL);
    struct pollfd readable = { ckv_connection_fd(connection), POLLIN, 0 };
    poll(&readable, 1, SHORT_MS); /* the second reply is here, or was read with the first */
    assert_int_equal(send_parts("second", NULL), CKV_OK);
    expect_nothing();
    zmq_recv(server.socket, id, sizeof(id), 0);
    expect_part(server.socket, "", 1);
    expect_part(server.socket, "second", 0);
    zmq_send(server.socket, id, (size_t)id_size, ZMQ_SNDMORE);
    zmq_send(server.socket, "", 0, ZMQ_SNDMORE);
    zmq_send(server.socket, "2", 1, 0);
    expect_message("2", NULL);
    part();
}

/*  Publishes TEXT until PROBE is heard.  */
static void publish_until_heard(const char *text)
{
    const struct ckv_octets *parts;
    size_t count;
    int rc = CKV_ERROR_TIMEOUT;
    for (int i = 0; i < WAIT_MS / 10 && rc == CKV_ERROR_TIMEOUT; i++) {
        zmq_send(server.socket, text, strlen(text), 0);
        rc = ckv_connection_receive(connection, &parts, &count, 10);
    }
    assert_int_equal(rc, CKV_OK);
    assert_true(ckv_octets_equal(parts[0], ckv_octets_text(text)));
}

static void a_sub_hears_what_it_subscribed_and_nothing_else(void **state)
{
    (void)state;
    meet(ZMQ_PUB, CKV_SOCKET_SUB);
    assert_int_equal(ckv_connection_subscribe(connection, ckv_octets_text("A"), WAIT_MS), CKV_OK);
    assert_int_equal(ckv_connection_subscribe(connection, ckv_octets_text("B"), WAIT_MS), CKV_OK);
    publish_until_heard("B0");
    while (zmq_send(server.socket, "C1", 2, 0) == 2 && zmq_send(server.socket, "A1", 2, 0) == 2) {
        const struct ckv_octets *parts;
        size_t count;
        assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
        assert_int_not_equal(parts[0].data[0], 'C');
        if (parts[0].data[0] == 'A')
            break;
    }
    /*  Commands keep their order: when C is heard, A was taken back.  */
    assert_int_equal(ckv_connection_unsubscribe(connection, ckv_octets_text("A"), WAIT_MS), CKV_OK);
    assert_int_equal(ckv_connection_subscribe(connection, ckv_octets_text("C"), WAIT_MS), CKV_OK);
    publish_until_heard("C2");
    zmq_send(server.socket, "A3", 2, 0);
    zmq_send(server.socket, "B3", 2, 0);
    const struct ckv_octets *parts;
    size_t count;
    do {
        assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
        assert_int_not_equal(parts[0].data[0], 'A');
    } while (!ckv_octets_equal(parts[0], ckv_octets_text("B3")));
    part();
}

static void a_push_fills_a_stock_pull(void **state)
{
    (void)state;
    meet(ZMQ_PULL, CKV_SOCKET_PUSH);
    assert_int_equal(send_parts("work", "piece"), CKV_OK);
    assert_int_equal(send_parts("", NULL), CKV_OK);
    expect_part(server.socket, "work", 1);
    expect_part(server.socket, "piece", 0);
    expect_part(server.socket, "", 0);
    part();
}

static void a_pull_takes_from_a_stock_push(void **state)
{
    (void)state;
    meet(ZMQ_PUSH, CKV_SOCKET_PULL);
    zmq_send(server.socket, "work", 4, ZMQ_SNDMORE);
    zmq_send(server.socket, "", 0, 0);
    expect_message("work", "");
    part();
}

static void a_pair_talks_to_a_stock_pair(void **state)
{
    (void)state;
    meet(ZMQ_PAIR, CKV_SOCKET_PAIR);
    assert_int_equal(send_parts("ping", NULL), CKV_OK);
    expect_part(server.socket, "ping", 0);
    zmq_send(server.socket, "pong", 4, 0);
    expect_message("pong", NULL);
    part();
}

static void what_a_socket_type_cannot_do_is_said_and_ends_nothing(void **state)
{
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    meet(ZMQ_PULL, CKV_SOCKET_PUSH);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, 0), CKV_ERROR_TURN);
    assert_int_equal(ckv_connection_subscribe(connection, ckv_octets_text(""), 0), CKV_ERROR_TURN);
    assert_int_equal(ckv_connection_send(connection, NULL, 0, 0), CKV_ERROR_ARGUMENT);
    assert_int_equal(send_parts("still here", NULL), CKV_OK);
    expect_part(server.socket, "still here", 0);
    part();
    meet(ZMQ_PUSH, CKV_SOCKET_PULL);
    assert_int_equal(send_parts("no", NULL), CKV_ERROR_TURN);
    part();
    meet(ZMQ_PUB, CKV_SOCKET_SUB);
    assert_int_equal(send_parts("no", NULL), CKV_ERROR_TURN);
    part();
}

/* ---- sizes and time ---- */

static void a_message_of_10_mb_goes_both_ways(void **state)
{
    (void)state;
    uint8_t *octets = large_octets(), *got = malloc(LARGE);
    struct ckv_octets sent[2] = { ckv_octets(octets, LARGE), ckv_octets_text("end") };
    const struct ckv_octets *parts;
    size_t count;
    assert_non_null(got);
    meet(ZMQ_PAIR, CKV_SOCKET_PAIR);
    assert_int_equal(ckv_connection_send(connection, sent, 2, WAIT_MS), CKV_OK);
    assert_int_equal(ckv_connection_flush(connection, WAIT_MS), CKV_OK);
    assert_int_equal(zmq_recv(server.socket, got, LARGE, 0), LARGE);
    assert_memory_equal(got, octets, LARGE);
    expect_part(server.socket, "end", 0);
    zmq_send(server.socket, octets, LARGE, ZMQ_SNDMORE);
    zmq_send(server.socket, "end", 3, 0);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
    assert_int_equal(count, 2);
    assert_int_equal(parts[0].size, LARGE);
    assert_memory_equal(parts[0].data, octets, LARGE);
    assert_true(ckv_octets_equal(parts[1], ckv_octets_text("end")));
    part();
    free(octets);
    free(got);
}

static void a_message_over_the_bound_ends_the_connection(void **state)
{
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    for (int over = 0; over < 2; over++) {
        router_start_as(&server, ZMQ_PUSH, "tcp://127.0.0.1:*");
        struct ckv_connection_options options = options_for(CKV_SOCKET_PULL, "stock");
        options.message_max = 1000;
        assert_int_equal(ckv_connection_open(&connection, &options), CKV_OK);
        static const char zeros[1001];
        zmq_send(server.socket, zeros, 600, ZMQ_SNDMORE);
        zmq_send(server.socket, zeros, over ? 401 : 400, 0);
        int expected = over ? CKV_ERROR_FRAME_SIZE : CKV_OK;
        assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), expected);
        if (over)
            assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), expected);
        part();
    }
}

static void many_messages_keep_their_order(void **state)
{
    enum { MESSAGES = 20000 };
    (void)state;
    char text[16];
    serve_with(ZMQ_PUSH, ZMQ_SNDHWM, 0);
    assert_int_equal(open_as(CKV_SOCKET_PULL, "modified"), CKV_OK);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof(text), "%d", i);
        zmq_send(server.socket, text, strlen(text), i % 3 ? 0 : ZMQ_SNDMORE);
        if (i % 3 == 0)
            zmq_send(server.socket, "second", 6, 0);
    }
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_message(text, i % 3 ? NULL : "second");
    }
    expect_nothing();
    part();
}

static void a_receive_ends_in_time_and_loses_nothing(void **state)
{
    (void)state;
    meet(ZMQ_PAIR, CKV_SOCKET_PAIR);
    expect_nothing();
    zmq_send(server.socket, "late", 4, 0);
    expect_message("late", NULL);
    part();
}

/*  The stock server's queues are full, and the system's: what is sent is not taken, and says so; what
    was taken arrives, once.  */
static void a_send_that_finds_no_room_in_time_takes_nothing(void **state)
{
    (void)state;
    uint8_t *octets = large_octets();
    unsigned taken = 0, got = 0, last = 0;
    int rc = CKV_OK;
    serve_with(ZMQ_PULL, ZMQ_RCVHWM, 1);
    assert_int_equal(open_as(CKV_SOCKET_PUSH, "stock"), CKV_OK);
    while (rc == CKV_OK) {
        struct ckv_octets sent[2] = { ckv_octets(&taken, sizeof(taken)),
                                      ckv_octets(octets, 1 << 20) };
        rc = ckv_connection_send(connection, sent, 2, SHORT_MS);
        taken += rc == CKV_OK;
        assert_true(taken < 64);
    }
    assert_int_equal(rc, CKV_ERROR_TIMEOUT);
    assert_true(ckv_connection_events(connection) & POLLOUT);
    while (got < taken) {
        (void)ckv_connection_flush(connection, 10);
        if (zmq_recv(server.socket, &last, sizeof(last), ZMQ_DONTWAIT) < 0)
            continue;
        assert_int_equal(last, got++);
        assert_int_equal(zmq_recv(server.socket, octets, LARGE, 0), 1 << 20);
    }
    assert_int_equal(ckv_connection_flush(connection, WAIT_MS), CKV_OK);
    part();
    free(octets);
}

/*  A server that asks for signs of life gets them while we wait, and when we only send.  */
static void heartbeats_are_answered(void **state)
{
    (void)state;
    serve_with(ZMQ_PAIR, ZMQ_HEARTBEAT_IVL, 200); /* and gives up after as long */
    assert_int_equal(open_as(CKV_SOCKET_PAIR, "stock"), CKV_OK);
    for (int i = 0; i < 8; i++)
        expect_nothing();
    for (int i = 0; i < 80; i++) {
        assert_int_equal(send_parts("beat", NULL), CKV_OK);
        expect_part(server.socket, "beat", 0);
        poll(NULL, 0, 10);
    }
    for (int i = 0; i < 80; i++) {
        assert_int_equal(ckv_connection_flush(connection, 0), CKV_OK);
        poll(NULL, 0, 10);
    }
    assert_int_equal(send_parts("alive", NULL), CKV_OK);
    expect_part(server.socket, "alive", 0);
    part();
}

static void a_poll_loop_hears_of_every_message(void **state)
{
    enum { MESSAGES = 300 };
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    unsigned got = 0;
    meet(ZMQ_PAIR, CKV_SOCKET_PAIR);
    for (int i = 0; i < MESSAGES; i++)
        zmq_send(server.socket, "m", 1, 0);
    while (got < MESSAGES) {
        while (ckv_connection_receive(connection, &parts, &count, 0) == CKV_OK)
            got++;
        struct pollfd waiting = { ckv_connection_fd(connection), ckv_connection_events(connection),
                                  0 };
        if (got < MESSAGES)
            assert_int_equal(poll(&waiting, 1, WAIT_MS), 1);
    }
    part();
}

static void what_was_received_can_be_sent(void **state)
{
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    meet(ZMQ_PAIR, CKV_SOCKET_PAIR);
    zmq_send(server.socket, "echo", 4, ZMQ_SNDMORE);
    zmq_send(server.socket, "this", 4, 0);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_OK);
    for (int i = 0; i < 3; i++) {
        zmq_send(server.socket, "meanwhile", 9, 0); /* comes while we send */
        poll(NULL, 0, 20);
        assert_int_equal(ckv_connection_send(connection, parts, count, WAIT_MS), CKV_OK);
        expect_part(server.socket, "echo", 1);
        expect_part(server.socket, "this", 0);
    }
    for (int i = 0; i < 3; i++)
        expect_message("meanwhile", NULL);
    part();
}

/* ---- who may come in ---- */

static void a_refused_client_is_told_once_and_does_not_come_back(void **state)
{
    (void)state;
    router_start(&server);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "stranger"), CKV_ERROR_REFUSED);
    assert_null(connection);
    poll(NULL, 0, SHORT_MS);
    assert_int_equal(part(), 1);
    assert_non_null(strstr(ckv_strerror(CKV_ERROR_REFUSED), "register it anew"));
}

static void a_wrong_server_key_is_found_out(void **state)
{
    (void)state;
    router_start(&server);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "other"), CKV_ERROR_HANDSHAKE);
    assert_int_equal(part(), 0);
    assert_non_null(strstr(ckv_strerror(CKV_ERROR_HANDSHAKE), "server key"));
}

static void a_server_without_curve_is_named(void **state)
{
    (void)state;
    int no = 0;
    router_start(&server);
    void *plain = zmq_socket(server.context, ZMQ_ROUTER);
    char endpoint[64];
    size_t size = sizeof(endpoint);
    zmq_setsockopt(plain, ZMQ_LINGER, &no, sizeof(no));
    assert_int_equal(zmq_bind(plain, "tcp://127.0.0.1:*"), 0);
    zmq_getsockopt(plain, ZMQ_LAST_ENDPOINT, endpoint, &size);
    struct ckv_connection_options options = options_for(CKV_SOCKET_DEALER, "stock");
    options.endpoint = endpoint;
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_ERROR_MECHANISM);
    zmq_close(plain);
    part();
}

static void a_server_of_another_socket_type_is_left(void **state)
{
    (void)state;
    router_start_as(&server, ZMQ_PUB, "tcp://127.0.0.1:*");
    int rc = open_as(CKV_SOCKET_DEALER, "stock"); /* libzmq closes, or says READY first */
    assert_true(rc == CKV_ERROR_HANDSHAKE || rc == CKV_ERROR_PEER_TYPE);
    part();
}

static void a_file_must_hold_what_a_client_needs(void **state)
{
    (void)state;
    struct fixed_pair pair = fixed_pair(FIRST_OF_SERVER);
    router_start(&server);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "absent"), CKV_ERROR_NO_FILE);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "public"), CKV_ERROR_NO_SECRET_KEY);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "serverless"), CKV_ERROR_NO_SERVER_KEY);
    assert_int_equal(open_as(CKV_SOCKET_DEALER, "protected"), CKV_ERROR_PROTECTED);
    struct ckv_connection_options options = options_for(CKV_SOCKET_DEALER, "protected");
    options.passphrase = "wrong";
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_ERROR_PASSPHRASE);
    options.passphrase = PASSPHRASE;
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_OK);
    ckv_connection_close(&connection);
    options = options_for(CKV_SOCKET_DEALER, "serverless");
    options.server_public_key = pair.public_key;
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_OK);
    part();
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    static const uint8_t id[256];
    router_start(&server);
    struct ckv_connection_options good = options_for(CKV_SOCKET_DEALER, "stock"), bad;
    bad = good;
    bad.endpoint = NULL;
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ARGUMENT);
    bad.endpoint = "udp://127.0.0.1:5";
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ENDPOINT);
    bad = good;
    bad.certificate_file = NULL;
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ARGUMENT);
    bad = good;
    bad.socket_type = (enum ckv_socket_type)0;
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ARGUMENT);
    bad.socket_type = (enum ckv_socket_type)(CKV_SOCKET_PAIR + 1);
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ARGUMENT);
    bad = good;
    bad.routing_id = ckv_octets(id, 256);
    assert_int_equal(ckv_connection_open(&connection, &bad), CKV_ERROR_ARGUMENT);
    part();
}

/* ---- endings ---- */

static void what_came_before_the_server_closed_is_received(void **state)
{
    (void)state;
    const struct ckv_octets *parts;
    size_t count;
    int linger = WAIT_MS;
    meet(ZMQ_PUSH, CKV_SOCKET_PULL);
    zmq_setsockopt(server.socket, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_send(server.socket, "last", 4, ZMQ_SNDMORE);
    zmq_send(server.socket, "words", 5, 0);
    zmq_send(server.socket, "really", 6, 0);
    zmq_close(server.socket);
    server.socket = zmq_socket(server.context, ZMQ_PUSH);
    poll(NULL, 0, SHORT_MS);
    expect_message("last", "words");
    expect_message("really", NULL);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_ERROR_CLOSED);
    assert_int_equal(ckv_connection_receive(connection, &parts, &count, WAIT_MS), CKV_ERROR_CLOSED);
    part();
}

static void a_send_to_a_server_that_has_gone_says_so(void **state)
{
    (void)state;
    int rc = CKV_OK;
    meet(ZMQ_PULL, CKV_SOCKET_PUSH);
    zmq_close(server.socket);
    server.socket = zmq_socket(server.context, ZMQ_PULL);
    for (int i = 0; i < WAIT_MS / 10 && rc == CKV_OK; i++) {
        poll(NULL, 0, 10);
        rc = send_parts("anybody?", NULL);
    }
    assert_int_equal(rc, CKV_ERROR_CLOSED);
    assert_int_equal(send_parts("anybody?", NULL), CKV_ERROR_CLOSED);
    part();
}

static void a_unix_socket_is_an_endpoint_too(void **state)
{
    (void)state;
    char endpoint[160];
    snprintf(endpoint, sizeof(endpoint), "ipc://%s", file_path("server.sock"));
    router_start_as(&server, ZMQ_REP, endpoint);
    struct ckv_connection_options options = options_for(CKV_SOCKET_REQ, "modified");
    options.endpoint = endpoint;
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_OK);
    assert_int_equal(send_parts("hello", NULL), CKV_OK);
    expect_part(server.socket, "hello", 0);
    part();
    assert_int_equal(ckv_connection_open(&connection, &options), CKV_ERROR_NO_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dealer_talks_to_a_stock_router),
        cmocka_unit_test(a_router_knows_a_dealer_by_its_routing_id),
        cmocka_unit_test(a_req_knows_nothing_of_the_empty_part),
        cmocka_unit_test(a_req_asks_and_hears_by_turns),
        cmocka_unit_test(a_req_discards_what_is_no_reply_to_its_last_request),
        cmocka_unit_test(a_sub_hears_what_it_subscribed_and_nothing_else),
        cmocka_unit_test(a_push_fills_a_stock_pull),
        cmocka_unit_test(a_pull_takes_from_a_stock_push),
        cmocka_unit_test(a_pair_talks_to_a_stock_pair),
        cmocka_unit_test(what_a_socket_type_cannot_do_is_said_and_ends_nothing),
        cmocka_unit_test(a_message_of_10_mb_goes_both_ways),
        cmocka_unit_test(a_message_over_the_bound_ends_the_connection),
        cmocka_unit_test(many_messages_keep_their_order),
        cmocka_unit_test(a_receive_ends_in_time_and_loses_nothing),
        cmocka_unit_test(a_send_that_finds_no_room_in_time_takes_nothing),
        cmocka_unit_test(heartbeats_are_answered),
        cmocka_unit_test(a_poll_loop_hears_of_every_message),
        cmocka_unit_test(what_was_received_can_be_sent),
        cmocka_unit_test(a_refused_client_is_told_once_and_does_not_come_back),
        cmocka_unit_test(a_wrong_server_key_is_found_out),
        cmocka_unit_test(a_server_without_curve_is_named),
        cmocka_unit_test(a_server_of_another_socket_type_is_left),
        cmocka_unit_test(a_file_must_hold_what_a_client_needs),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(what_came_before_the_server_closed_is_received),
        cmocka_unit_test(a_send_to_a_server_that_has_gone_says_so),
        cmocka_unit_test(a_unix_socket_is_an_endpoint_too),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
