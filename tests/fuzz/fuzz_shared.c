/*  What a backend says to the shared connection: node/gateway/shared.h. Whatever it is, a client gets
    whole parts in boxes of its own, messages for nobody are counted, and nothing is left behind.

    Input is the backend's stream behind its greeting and READY. Routing ids of three members are in the
    corpus: they are the same in each run.
*/
#include "node/gateway/shared.h"
#include "tests/fuzz/curve_stream.h"

#include <sys/socket.h>
#include <unistd.h>

enum { MEMBERS = 3, MAX_MESSAGE = 65536, ROUNDS = 1000 };

struct client {
    struct ckv_relay relay;
    struct ckv_curve_server server;
    struct ckv_curve_client client;
    struct ckv_member *member;
    int peer;
};

struct fixture {
    uv_loop_t loop;
    struct ckv_poller poller;
    struct ckv_stream_room room;
    struct ckv_shared *shared;
    struct ckv_shared_counts counts;
    struct ckv_relay_counts relayed;
    struct client clients[MEMBERS];
    int backend;
};

/* ---- what happens ---- */

static void on_told(void *argument)
{
    const struct fixture *self = argument;
    require(ckv_shared_answer(self->shared, false) == CKV_SHARED_TAKES);
}

static void on_refused(void *argument, struct ckv_octets data)
{
    (void)argument;
    (void)data;
}

static void on_down(void *argument)
{
    struct fixture *self = argument;
    for (int i = 0; i < MEMBERS; i++)
        ckv_member_leave(&self->clients[i].member);
}

static void on_silent(void *argument)
{
    struct client *client = argument;
    ckv_member_leave(&client->member);
}

static const struct ckv_shared_events shared_events = {
    .told = on_told,
    .refused = on_refused,
    .down = on_down,
    .silent = on_silent,
};

static int on_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct client *self = argument;
    return self->member ? ckv_member_inwards(self->member, flags, body, size) : CKV_ERROR_CURVE;
}

static bool on_wanted(void *argument)
{
    struct client *self = argument;
    return !self->member || ckv_member_wanted(self->member);
}

static void on_ended(void *argument, int why)
{
    struct client *self = argument;
    (void)why;
    ckv_member_leave(&self->member);
    ckv_stream_close(&self->relay.outer);
}

static void ignore(void *argument)
{
    (void)argument;
}

static const struct ckv_stream_events client_events = {
    .frame = on_frame, .wanted = on_wanted, .drained = ignore, .ended = on_ended, .closed = ignore
};

/* ---- set up ---- */

static void connect_pair(int *ours, int *theirs)
{
    int fds[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    *ours = fds[0];
    *theirs = fds[1];
}

/*  Two sessions that are connected, without the handshake, which others fuzz.  */
static void shake_hands(struct client *self)
{
    struct ckv_curve_identity identity = identity_of(&client_keys, &server_keys, NULL);
    struct ckv_curve_server_random random = fixed_random();
    struct ckv_curve_welcome welcome;
    struct ckv_hello_octets octets;
    struct ckv_hello hello;
    struct ckv_octets metadata;
    const uint8_t *client_key;
    uint8_t secret[32], nonce[16] = { 0 }, initiate[CKV_CURVE_INITIATE_OVERHEAD],
                        ready[CKV_CURVE_READY_OVERHEAD];
    fill(secret, sizeof(secret), FIRST_OF_TRANSIENT);
    require(ckv_curve_client_start(&self->client, &identity, 0, secret, &octets) == CKV_OK);
    require(ckv_hello_parse(&hello, &octets, sizeof(octets)) == CKV_OK);
    require(ckv_curve_server_welcome(&self->server, &hello, server_keys.public_key,
                                     server_keys.secret_key, &random, cookie_key,
                                     &welcome) == CKV_OK);
    require(ckv_curve_client_initiate(&self->client, &identity, &welcome, sizeof(welcome),
                                      ckv_octets(NULL, 0), nonce, initiate) == CKV_OK);
    require(ckv_curve_server_initiate(&self->server, initiate, sizeof(initiate), cookie_key,
                                      &client_key, &metadata) == CKV_OK);
    require(ckv_curve_server_ready(&self->server, ckv_octets(NULL, 0), ready) == CKV_OK);
    require(ckv_curve_client_ready(&self->client, ready, sizeof(ready), &metadata) == CKV_OK);
}

static void open_client(struct fixture *self, struct client *client, const struct client *pattern)
{
    int fd;
    client->server = pattern->server;
    client->client = pattern->client;
    client->relay.session = &client->server.session;
    client->relay.counts = &self->relayed;
    connect_pair(&fd, &client->peer);
    require(ckv_stream_open(&client->relay.outer, &self->poller, &self->room, fd, false,
                            &client_events, client, CKV_RELAY_OUTER_MAX(MAX_MESSAGE)) == CKV_OK);
    require(ckv_member_new(&client->member, self->shared, &client->relay, ckv_octets_text("key"),
                           client) == CKV_OK);
    ckv_stream_read(&client->relay.outer, true);
}

static void open_fixture(struct fixture *self)
{
    static struct client pattern;
    int fd;
    if (!pattern.client.session.peer_nonce)
        shake_hands(&pattern);
    require(uv_loop_init(&self->loop) == 0);
    require(ckv_poller_open(&self->poller, &self->loop, NULL, NULL) == CKV_OK);
    struct ckv_shared_options options = { .uv = &self->loop,
                                          .poller = &self->poller,
                                          .room = &self->room,
                                          .reach_ms = 1000,
                                          .max_message = MAX_MESSAGE,
                                          .events = &shared_events,
                                          .argument = self,
                                          .counts = &self->counts };
    require(ckv_shared_new(&self->shared, &options) == CKV_OK);
    connect_pair(&fd, &self->backend);
    require(ckv_shared_open(self->shared, fd, false) == CKV_OK);
    for (int i = 0; i < MEMBERS; i++)
        open_client(self, &self->clients[i], &pattern);
}

static void close_fixture(struct fixture *self)
{
    ckv_shared_close(self->shared);
    for (int i = 0; i < MEMBERS; i++) {
        ckv_member_leave(&self->clients[i].member);
        ckv_stream_close(&self->clients[i].relay.outer);
        close(self->clients[i].peer);
    }
    close(self->backend);
    ckv_poller_close(&self->poller);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    require(uv_loop_close(&self->loop) == 0);
    require(ckv_count_read(&self->counts.joined) == MEMBERS);
    require(ckv_count_read(&self->counts.left) == MEMBERS);
    ckv_shared_destroy(&self->shared);
}

/* ---- what is promised ---- */

/*  What a client got opens, part by part.  */
static uint64_t hear(struct client *self)
{
    static uint8_t octets[1 << 20];
    uint64_t parts = 0;
    ssize_t got = recv(self->peer, octets, sizeof(octets), MSG_DONTWAIT);
    struct ckv_octets input = ckv_octets(octets, got > 0 ? (size_t)got : 0);
    uint8_t *command, flags;
    size_t size;
    struct ckv_octets body;
    while (next_command(&input, &command, &size)) {
        require(ckv_curve_message_open(&self->client.session, command, size, &flags, &body) ==
                CKV_OK);
        require(flags == 0 || flags == CKV_ZMTP_MORE);
        free(command);
        parts++;
    }
    require(input.size == 0);
    return parts;
}

static void say(struct fixture *self, struct ckv_octets said)
{
    static const char ready[] = "\4\x1d\5READY\vSocket-Type\0\0\0\6ROUTER";
    struct ckv_zmtp_greeting_octets greeting;
    ckv_zmtp_greeting_write(&greeting, "NULL", false);
    require(send(self->backend, &greeting, sizeof(greeting), 0) == sizeof(greeting));
    require(send(self->backend, ready, sizeof(ready) - 1, 0) == sizeof(ready) - 1);
    ckv_poller_round(&self->poller, false);
    if (said.size && send(self->backend, said.data, said.size, 0) != (ssize_t)said.size)
        return;
    (void)shutdown(self->backend, SHUT_WR);
    for (int i = 0; i < ROUNDS && ckv_shared_is_open(self->shared); i++)
        ckv_poller_round(&self->poller, false);
    require(!ckv_shared_is_open(self->shared));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fixture fixture;
    uint64_t parts = 0;
    if (size > STREAM_BOUND)
        return 0;
    fixture = (struct fixture){ .backend = -1 };
    open_fixture(&fixture);
    say(&fixture, ckv_octets(data, size));
    for (int i = 0; i < MEMBERS; i++)
        parts += hear(&fixture.clients[i]);
    require(parts == ckv_count_read(&fixture.relayed.frames_out));
    close_fixture(&fixture);
    return 0;
}
