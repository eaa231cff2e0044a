/*  crowd: ZMTP clients by the thousand, in one thread: what a benchmark throws at a CURVE server.

    A caller connects, shakes hands with core's client (core/curve.h), and hangs up or stays; or it is a
    stranger, who sends a well-formed HELLO of nobody and waits to be turned away. Each caller that
    hangs up calls again, until as many calls as wanted have ended. The same crowd calls the gateway
    and a stock libzmq server, which takes no notice of what is in the padding of a HELLO.

    Callers hang up with a reset, so that no port waits for its time to pass.
*/
#ifndef CKV_BENCH_CROWD_H
#define CKV_BENCH_CROWD_H

#include "bench/measure.h"
#include "core/curve.h"
#include "core/zmtp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/*  A client that is registered, with all that it needs to call.  */
struct client {
    uint8_t public_key[32], secret_key[32], server_public_key[32], hello_key[CKV_HELLO_KEY_SIZE];
    struct ckv_storage_key storage_key;
};

enum crowd_kind {
    CROWD_KNOWN,    /* shakes hands, then hangs up */
    CROWD_STAYS,    /* shakes hands, then stays */
    CROWD_STRANGER, /* sends a HELLO of nobody */
};

struct crowd_plan {
    enum crowd_kind kind;
    struct sockaddr_in to;
    const struct client *clients; /* they take turns */
    size_t client_count;
    unsigned callers; /* at a time, or of those who stay, in all */
    unsigned width;   /* of those who stay: how many are calling at a time; 0: all */
    uint64_t calls;   /* in all; 0: until SECONDS have passed */
    double seconds;
    bool stock;        /* HELLO without a storage key */
    bool impatient;    /* strangers: greeting and HELLO at once, whatever the server says */
    double *latencies; /* from connect to READY, in seconds; may be NULL */
    size_t latency_room;
};

enum crowd_step { CROWD_GREETS, CROWD_AWAITS_WELCOME, CROWD_AWAITS_READY, CROWD_IS_IN, CROWD_AWAY };

struct caller {
    int fd;
    enum crowd_step step;
    const struct client *client;
    struct ckv_curve_client curve;
    uint64_t since;
    size_t size;
    uint8_t octets[1024];
};

struct crowd {
    const struct crowd_plan *plan;
    int epoll;
    struct caller *callers;
    uint64_t begun, succeeded, turned_away, failed;
    size_t next_client, latency_count;
    double seconds;
};

static inline struct ckv_curve_identity identity_of_client(const struct client *client, bool stock)
{
    return (struct ckv_curve_identity){
        .public_key = client->public_key,
        .secret_key = client->secret_key,
        .server_public_key = client->server_public_key,
        .storage_key = stock ? ckv_octets(NULL, 0) : ckv_storage_key_octets(&client->storage_key),
        .hello_key = stock ? NULL : client->hello_key,
    };
}

static inline uint64_t crowd_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void crowd_send(struct caller *self, const void *octets, size_t size)
{
    if (send(self->fd, octets, size, MSG_NOSIGNAL) != (ssize_t)size)
        self->step = CROWD_AWAY; /* turned away already */
}

static inline void crowd_send_command(struct caller *self, const void *body, size_t size)
{
    uint8_t frame[CKV_ZMTP_HEADER_MAX + 1024];
    size_t header = ckv_zmtp_header_write(frame, CKV_ZMTP_COMMAND, size);
    memcpy(frame + header, body, size);
    crowd_send(self, frame, header + size);
}

/*  A HELLO that nothing is wrong with but that nobody sent it.  */
static inline void make_strange_hello(struct ckv_hello_octets *hello, bool stock)
{
    uint8_t storage_key[32], hello_key[CKV_HELLO_KEY_SIZE];
    memset(hello, 0, sizeof(*hello));
    memcpy(hello->command, "\5HELLO", 6);
    hello->version[0] = 1;
    randombytes_buf(hello->client_key, sizeof(hello->client_key));
    hello->client_key[31] &= 0x7f;
    randombytes_buf(hello->nonce, sizeof(hello->nonce));
    randombytes_buf(hello->box, sizeof(hello->box));
    randombytes_buf(storage_key, sizeof(storage_key));
    randombytes_buf(hello_key, sizeof(hello_key));
    if (!stock)
        check(ckv_hello_modify(hello, ckv_octets(storage_key, sizeof(storage_key)), crowd_clock(),
                               hello_key),
              "a HELLO");
}

static inline void crowd_rush(struct crowd *self, struct caller *caller,
                              const struct ckv_zmtp_greeting_octets *greeting)
{
    uint8_t octets[CKV_ZMTP_GREETING_SIZE + CKV_ZMTP_HEADER_MAX + CKV_HELLO_SIZE];
    struct ckv_hello_octets hello;
    make_strange_hello(&hello, self->plan->stock);
    memcpy(octets, greeting, sizeof(*greeting));
    size_t size = sizeof(*greeting);
    size += ckv_zmtp_header_write(octets + size, CKV_ZMTP_COMMAND, sizeof(hello));
    memcpy(octets + size, &hello, sizeof(hello));
    crowd_send(caller, octets, size + sizeof(hello));
}

static inline void crowd_call(struct crowd *self, struct caller *caller)
{
    const int on = 1;
    const struct linger reset = { .l_onoff = 1 };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = caller };
    struct ckv_zmtp_greeting_octets greeting;
    caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_errno(caller->fd >= 0, "socket");
    caller->since = now_ns();
    caller->size = 0;
    caller->curve = (struct ckv_curve_client){ .transient_secret = {
                                                   0 } }; /* one that was wiped cannot start */
    caller->step = CROWD_GREETS;
    if (self->plan->client_count)
        caller->client = &self->plan->clients[self->next_client++ % self->plan->client_count];
    setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(caller->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    /*  On the loopback a connection is there at once, or waits for room in the backlog.  */
    if (connect(caller->fd, (const struct sockaddr *)&self->plan->to, sizeof(self->plan->to)) != 0)
        caller->step = CROWD_AWAY;
    ckv_zmtp_greeting_write(&greeting, "CURVE", false);
    if (caller->step != CROWD_AWAY && self->plan->impatient)
        crowd_rush(self, caller, &greeting);
    else if (caller->step != CROWD_AWAY)
        crowd_send(caller, &greeting, sizeof(greeting));
    check_errno(epoll_ctl(self->epoll, EPOLL_CTL_ADD, caller->fd, &event) == 0, "epoll");
    self->begun++;
}

static inline void crowd_say_hello(struct crowd *self, struct caller *caller)
{
    struct ckv_hello_octets hello;
    if (self->plan->kind == CROWD_STRANGER) {
        make_strange_hello(&hello, self->plan->stock);
    } else {
        uint8_t secret[32];
        struct ckv_curve_identity identity = identity_of_client(caller->client, self->plan->stock);
        randombytes_buf(secret, sizeof(secret));
        check(ckv_curve_client_start(&caller->curve, &identity, crowd_clock(), secret, &hello),
              "a HELLO");
    }
    caller->step = CROWD_AWAITS_WELCOME;
    crowd_send_command(caller, &hello, sizeof(hello));
}

static inline void crowd_initiate(struct crowd *self, struct caller *caller,
                                  struct ckv_octets welcome)
{
    uint8_t metadata[64], nonce[16], initiate[CKV_CURVE_INITIATE_OVERHEAD + 64];
    size_t size = 0;
    struct ckv_curve_identity identity = identity_of_client(caller->client, self->plan->stock);
    check(ckv_properties_put(metadata, sizeof(metadata), &size, ckv_octets_text("Socket-Type"),
                             ckv_octets_text("DEALER")),
          "metadata");
    check(ckv_properties_put(metadata, sizeof(metadata), &size, ckv_octets_text("Identity"),
                             ckv_octets(NULL, 0)),
          "metadata");
    randombytes_buf(nonce, sizeof(nonce));
    int rc = ckv_curve_client_initiate(&caller->curve, &identity, welcome.data, welcome.size,
                                       ckv_octets(metadata, size), nonce, initiate);
    caller->step = rc == CKV_OK ? CROWD_AWAITS_READY : CROWD_AWAY;
    if (rc == CKV_OK)
        crowd_send_command(caller, initiate, CKV_CURVE_INITIATE_OVERHEAD + size);
}

static inline void crowd_enter(struct crowd *self, struct caller *caller, struct ckv_octets ready)
{
    struct ckv_octets metadata;
    int rc = ckv_curve_client_ready(&caller->curve, (uint8_t *)ready.data, ready.size, &metadata);
    caller->step = rc == CKV_OK ? CROWD_IS_IN : CROWD_AWAY;
    if (rc != CKV_OK)
        return;
    if (self->plan->latencies && self->latency_count < self->plan->latency_room)
        self->plan->latencies[self->latency_count++] = seconds_since(caller->since);
    self->succeeded++;
}

/*  Deals with what has come. Returns whether there was something whole in it.  */
static inline bool crowd_step(struct crowd *self, struct caller *caller)
{
    struct ckv_octets input = ckv_octets(caller->octets, caller->size);
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_frame frame;
    int rc = caller->step == CROWD_GREETS
                 ? ckv_zmtp_greeting_next(&input, &greeting)
                 : ckv_zmtp_frame_next(&input, sizeof(caller->octets) - 9, &frame);
    if (rc < 0)
        caller->step = CROWD_AWAY;
    if (rc != 1)
        return false;
    if (caller->step == CROWD_GREETS && self->plan->impatient)
        caller->step = CROWD_AWAITS_WELCOME;
    else if (caller->step == CROWD_GREETS)
        crowd_say_hello(self, caller);
    else if (caller->step == CROWD_AWAITS_WELCOME)
        crowd_initiate(self, caller, frame.body);
    else if (caller->step == CROWD_AWAITS_READY)
        crowd_enter(self, caller, frame.body);
    memmove(caller->octets, input.data, input.size);
    caller->size = input.size;
    return true;
}

static inline void crowd_hear(struct crowd *self, struct caller *caller)
{
    ssize_t got = recv(caller->fd, caller->octets + caller->size,
                       sizeof(caller->octets) - caller->size, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        caller->step = CROWD_AWAY;
        return;
    }
    caller->size += (size_t)got;
    while (caller->step != CROWD_IS_IN && caller->step != CROWD_AWAY && crowd_step(self, caller))
        ;
}

static inline bool crowd_goes_on(const struct crowd *self, uint64_t start)
{
    return self->plan->calls ? self->begun < self->plan->calls
                             : seconds_since(start) < self->plan->seconds;
}

/*  Ends a call, and begins another while there are more to come. Returns whether it did.  */
static inline bool crowd_call_again(struct crowd *self, struct caller *caller, uint64_t start)
{
    bool strange = self->plan->kind == CROWD_STRANGER;
    self->turned_away += strange && caller->step == CROWD_AWAY;
    self->failed += !strange && caller->step == CROWD_AWAY;
    ckv_curve_client_wipe(&caller->curve);
    close(caller->fd);
    caller->fd = -1;
    if (!crowd_goes_on(self, start))
        return false;
    crowd_call(self, caller);
    return true;
}

/*  Carries PLAN out. Those who stay do so until crowd_go.  */
static inline void crowd_come(struct crowd *self, const struct crowd_plan *plan)
{
    enum { EVENTS = 256, PATIENCE_MS = 20000 };
    struct epoll_event events[EVENTS];
    unsigned calling = 0;
    uint64_t start = now_ns();
    *self = (struct crowd){ .plan = plan, .epoll = epoll_create1(EPOLL_CLOEXEC) };
    self->callers = calloc(plan->callers, sizeof(*self->callers));
    check_errno(self->epoll >= 0 && self->callers != NULL, "a crowd");
    unsigned first = plan->width && plan->width < plan->callers ? plan->width : plan->callers;
    for (; calling < first; calling++)
        crowd_call(self, &self->callers[calling]);
    while (calling) {
        int count = epoll_wait(self->epoll, events, EVENTS, PATIENCE_MS);
        if (count == 0)
            fail("a crowd", "is kept waiting");
        for (int i = 0; i < count; i++) {
            struct caller *caller = events[i].data.ptr;
            crowd_hear(self, caller);
            bool stays = caller->step == CROWD_IS_IN && plan->kind == CROWD_STAYS;
            if (stays)
                epoll_ctl(self->epoll, EPOLL_CTL_DEL, caller->fd, NULL);
            if (stays && first < plan->callers) {
                crowd_call(self, &self->callers[first++]);
                calling++;
            }
            if (stays || ((caller->step == CROWD_IS_IN || caller->step == CROWD_AWAY) &&
                          !crowd_call_again(self, caller, start)))
                calling--;
        }
    }
    self->seconds = seconds_since(start);
}

static inline void crowd_go(struct crowd *self)
{
    for (unsigned i = 0; i < self->plan->callers; i++)
        if (self->callers[i].fd >= 0)
            close(self->callers[i].fd);
    free(self->callers);
    close(self->epoll);
}

#endif
