/*  libzmq_sessions: two whole conversations with a stock libzmq, ours the server and ours the client.
    The tests check them; tests/unit/capture_curve.c writes them down.  */
#ifndef CKV_TESTS_LIBZMQ_SESSIONS_H
#define CKV_TESTS_LIBZMQ_SESSIONS_H

#include "core/properties.h"
#include "tests/unit/live.h"

#include <pthread.h>
#include <zmq.h>

static inline void set_curve(void *socket, const struct fixed_pair *own, const uint8_t *server_key)
{
    int yes = 1, zero = 0, timeout = LIVE_TIMEOUT_S * 1000;
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own->public_key, 32);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret_key, 32);
    if (server_key)
        zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, 32);
    else
        zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof(yes));
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof(timeout));
}

static inline void expect_part(void *socket, const char *text, int more)
{
    char part[256];
    int got_more;
    size_t size = sizeof(got_more);
    int n = zmq_recv(socket, part, sizeof(part), 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(part, text, strlen(text));
    zmq_getsockopt(socket, ZMQ_RCVMORE, &got_more, &size);
    assert_int_equal(got_more, more);
}

static inline struct ckv_octets socket_type(uint8_t *buffer, size_t capacity, const char *type)
{
    size_t size = 0;
    assert_int_equal(ckv_properties_put(buffer, capacity, &size, ckv_octets_text("Socket-Type"),
                                        ckv_octets_text(type)),
                     CKV_OK);
    return ckv_octets(buffer, size);
}

static inline void expect_property(struct ckv_octets metadata, const char *name, const char *text)
{
    struct ckv_octets value;
    assert_int_equal(ckv_properties_get(metadata, name, &value), 1);
    assert_true(ckv_octets_equal(value, ckv_octets_text(text)));
}

/* ---- a libzmq DEALER connects to our server ---- */

/*  Our server up to the INITIATE, of a socket of TYPE, which is opened; then the caller decides.  */
static inline void serve_handshake(struct live *live, struct ckv_curve_server *server,
                                   const struct fixed_pair *client, const char *type)
{
    struct fixed_pair own = fixed_pair(FIRST_OF_SERVER), cookie_key = fixed_pair(FIRST_OF_COOKIE);
    struct ckv_curve_server_random random = fixed_random();
    struct ckv_curve_welcome welcome;
    struct ckv_hello hello;
    struct ckv_octets metadata;
    const uint8_t *client_key;
    uint8_t *body;
    size_t size;
    live_greet(live, true);
    assert_true(live_next(live, "hello", &body, &size));
    assert_int_equal(ckv_hello_parse(&hello, body, size), CKV_OK);
    assert_false(hello.modified);
    assert_int_equal(ckv_curve_server_welcome(server, &hello, own.public_key, own.secret_key,
                                              &random, cookie_key.secret_key, &welcome),
                     CKV_OK);
    live_send(live, "welcome", CKV_ZMTP_COMMAND, &welcome, sizeof(welcome));
    assert_true(live_next(live, "initiate", &body, &size));
    assert_int_equal(ckv_curve_server_initiate(server, body, size, cookie_key.secret_key,
                                               &client_key, &metadata),
                     CKV_OK);
    assert_memory_equal(client_key, client->public_key, 32);
    expect_property(metadata, "Socket-Type", type);
}

/*  Lets it in, as a socket of TYPE.  */
static inline void serve_ready(struct live *live, struct ckv_curve_server *server, const char *type)
{
    uint8_t properties[64], ready[CKV_CURVE_READY_OVERHEAD + 64];
    struct ckv_octets metadata = socket_type(properties, sizeof(properties), type);
    assert_int_equal(ckv_curve_server_ready(server, metadata, ready), CKV_OK);
    live_send(live, "ready", CKV_ZMTP_COMMAND, ready, CKV_CURVE_READY_OVERHEAD + metadata.size);
    assert_int_equal(server->session.curve_operations, 4);
}

/*  A stock socket of TYPE, and our end of its connection.  */
static inline void *stock_client(void *context, int type, const struct fixed_pair *client)
{
    struct fixed_pair server = fixed_pair(FIRST_OF_SERVER);
    void *socket = zmq_socket(context, type);
    set_curve(socket, client, server.public_key);
    return socket;
}

static inline void stock_connect(struct live *live, void *socket)
{
    char endpoint[64];
    int port, listener = live_listen(&port);
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", port);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    live_take_fd(live, accept(listener, NULL, NULL));
    close(listener);
}

static inline void serve_libzmq_client(live_recorder *record, void *record_to)
{
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT);
    struct live *live = calloc(1, sizeof(*live));
    struct ckv_curve_server server = { 0 };
    void *context = zmq_ctx_new(), *dealer = stock_client(context, ZMQ_DEALER, &client);
    assert_non_null(live);
    live->record = record;
    live->record_to = record_to;
    stock_connect(live, dealer);
    serve_handshake(live, &server, &client, "DEALER");
    serve_ready(live, &server, "ROUTER");

    assert_int_equal(zmq_send(dealer, "one", 3, ZMQ_SNDMORE), 3);
    assert_int_equal(zmq_send(dealer, "two", 3, 0), 3);
    live_expect_message(live, &server.session, "message_in", CKV_ZMTP_MORE, "one");
    live_expect_message(live, &server.session, "message_in", 0, "two");
    live_send_message(live, &server.session, "message_out", CKV_ZMTP_MORE, "three");
    live_send_message(live, &server.session, "message_out", 0, "");
    expect_part(dealer, "three", 1);
    expect_part(dealer, "", 0);
    assert_int_equal(server.session.curve_operations, 4);
    ckv_curve_server_wipe(&server);
    live_close(live);
    zmq_close(dealer);
    zmq_ctx_term(context);
    free(live);
}

/* ---- our client connects to a libzmq ROUTER ---- */

/*  Answers ZAP requests (RFC 27) until its context ends: CURVE clients with ALLOWED come in.  */
struct zap {
    void *socket;
    uint8_t allowed[32];
    unsigned requests;
    pthread_t thread;
};

static inline void *answer_zap(void *argument)
{
    struct zap *zap = argument;
    char part[8][256];
    for (;;) {
        int n = 0, sizes[8] = { 0 }, more = 1;
        size_t size = sizeof(more);
        for (; more && n < 8; n++) {
            sizes[n] = zmq_recv(zap->socket, part[n], sizeof(part[n]), 0);
            if (sizes[n] < 0)
                break;
            zmq_getsockopt(zap->socket, ZMQ_RCVMORE, &more, &size);
        }
        if (n < 7)
            break;
        zap->requests++;
        bool good = sizes[6] == 32 && memcmp(part[6], zap->allowed, 32) == 0;
        zmq_send(zap->socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(zap->socket, part[1], (size_t)sizes[1], ZMQ_SNDMORE);
        zmq_send(zap->socket, good ? "200" : "400", 3, ZMQ_SNDMORE);
        zmq_send(zap->socket, "", 0, ZMQ_SNDMORE);
        zmq_send(zap->socket, "", 0, ZMQ_SNDMORE);
        zmq_send(zap->socket, "", 0, 0);
    }
    zmq_close(zap->socket);
    return NULL;
}

/*  A ROUTER, or a socket of another type, that is a CURVE server, with a ZAP handler.  */
struct router {
    void *context;
    void *socket;
    int port;
    struct zap zap;
};

static inline void router_start_as(struct router *self, int type, const char *where)
{
    struct fixed_pair server = fixed_pair(FIRST_OF_SERVER);
    char endpoint[128];
    size_t size = sizeof(endpoint);
    self->context = zmq_ctx_new();
    self->zap.socket = zmq_socket(self->context, ZMQ_REP);
    self->zap.requests = 0;
    memcpy(self->zap.allowed, fixed_pair(FIRST_OF_CLIENT).public_key, 32);
    assert_int_equal(zmq_bind(self->zap.socket, "inproc://zeromq.zap.01"), 0);
    assert_int_equal(pthread_create(&self->zap.thread, NULL, answer_zap, &self->zap), 0);
    self->socket = zmq_socket(self->context, type);
    set_curve(self->socket, &server, NULL);
    assert_int_equal(zmq_bind(self->socket, where), 0);
    zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    self->port = atoi(strrchr(endpoint, ':') + 1);
}

static inline void router_start(struct router *self)
{
    router_start_as(self, ZMQ_ROUTER, "tcp://127.0.0.1:*");
}

/*  Ends it; tells how often the ZAP handler was asked.  */
static inline unsigned router_stop(struct router *self)
{
    zmq_close(self->socket);
    zmq_ctx_shutdown(self->context);
    pthread_join(self->zap.thread, NULL);
    zmq_ctx_term(self->context);
    return self->zap.requests;
}

/*  Our client up to the server's answer to its INITIATE; the rc of ckv_curve_client_ready.  */
static inline int call_handshake(struct live *live, struct ckv_curve_client *client,
                                 const struct ckv_curve_identity *identity)
{
    uint8_t transient_secret[32], vouch_nonce[16], properties[64];
    uint8_t initiate[CKV_CURVE_INITIATE_OVERHEAD + 64], *body;
    struct ckv_hello_octets hello;
    struct ckv_octets metadata = socket_type(properties, sizeof(properties), "DEALER"), theirs;
    size_t size;
    fill(transient_secret, sizeof(transient_secret), FIRST_OF_TRANSIENT);
    fill(vouch_nonce, sizeof(vouch_nonce), FIRST_OF_VOUCH);
    live_greet(live, false);
    assert_int_equal(
        ckv_curve_client_start(client, identity, FIXED_CLOCK, transient_secret, &hello), CKV_OK);
    live_send(live, "hello", CKV_ZMTP_COMMAND, &hello, sizeof(hello));
    if (!live_next(live, "welcome", &body, &size))
        return CKV_ERROR_NOT_REACHABLE;
    assert_int_equal(
        ckv_curve_client_initiate(client, identity, body, size, metadata, vouch_nonce, initiate),
        CKV_OK);
    live_send(live, "initiate", CKV_ZMTP_COMMAND, initiate,
              CKV_CURVE_INITIATE_OVERHEAD + metadata.size);
    assert_true(live_next(live, "ready", &body, &size));
    int rc = ckv_curve_client_ready(client, body, size, &theirs);
    if (rc == CKV_OK)
        expect_property(theirs, "Socket-Type", "ROUTER");
    if (rc == CKV_ERROR_REFUSED) {
        assert_int_equal(ckv_curve_error_parse(body, size, &theirs), CKV_OK);
        assert_true(ckv_octets_equal(theirs, ckv_octets_text("400")));
    }
    return rc;
}

static inline void call_libzmq_server(bool modified, live_recorder *record, void *record_to)
{
    struct fixed_pair client = fixed_pair(FIRST_OF_CLIENT), server = fixed_pair(FIRST_OF_SERVER);
    struct fixed_pair hello_key = fixed_pair(FIRST_OF_HELLO);
    struct ckv_curve_identity identity =
        identity_of(&client, &server, modified ? hello_key.secret_key : NULL);
    struct live *live = calloc(1, sizeof(*live));
    struct ckv_curve_client self = { 0 };
    struct router router;
    uint8_t id[256];
    assert_non_null(live);
    live->record = record;
    live->record_to = record_to;
    router_start(&router);
    live_connect(live, router.port);
    assert_int_equal(call_handshake(live, &self, &identity), CKV_OK);
    assert_int_equal(self.session.curve_operations, 4);

    live_send_message(live, &self.session, "message_out", CKV_ZMTP_MORE, "one");
    live_send_message(live, &self.session, "message_out", 0, "two");
    int id_size = zmq_recv(router.socket, id, sizeof(id), 0);
    assert_true(id_size > 0);
    expect_part(router.socket, "one", 1);
    expect_part(router.socket, "two", 0);
    zmq_send(router.socket, id, (size_t)id_size, ZMQ_SNDMORE);
    zmq_send(router.socket, "three", 5, ZMQ_SNDMORE);
    zmq_send(router.socket, "", 0, 0);
    live_expect_message(live, &self.session, "message_in", CKV_ZMTP_MORE, "three");
    live_expect_message(live, &self.session, "message_in", 0, "");
    ckv_curve_client_wipe(&self);
    live_close(live);
    assert_int_equal(router_stop(&router), 1);
    free(live);
}

#endif
