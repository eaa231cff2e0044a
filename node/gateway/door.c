/*  door: connections from accept to INITIATE. Strangers are turned away here, so this is made to
    cost little: no allocation, and of the kernel as little as it takes: a stranger that sends its HELLO at
    once costs three system calls, one that waits for our greeting five.

    The sockets are watched edge-triggered. Nothing is read off one before the command that is due is
    whole: what has come is looked at in place (MSG_PEEK), and the next octets bring the next edge. So
    a slot needs no buffer, and a peer that sends an octet a second has none but the kernel's. Nor is the
    kernel to wake us for less than a greeting and a HELLO (SO_RCVLOWAT): who sends less is looked at now
    and then. Whoever is closed before its INITIATE is there has something unread in its socket, and
    is reset.
*/
#include "core/zmtp.h"
#include "node/gateway/parts.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <unistd.h>

enum {
    ACCEPTS = 32, /* of one round: who is here already comes first */
    /* what a client sends up to HELLO, at least and at most */
    FIRST_MIN = CKV_ZMTP_GREETING_SIZE + 2 + CKV_HELLO_SIZE,
    FIRST_MAX = CKV_ZMTP_GREETING_SIZE + CKV_ZMTP_HEADER_MAX + CKV_HELLO_SIZE,
    INITIATE_FRAME_MAX = CKV_ZMTP_HEADER_MAX + CKV_CURVE_INITIATE_MAX,
    COOKIE_KEY_MS = 60000,
};

_Static_assert(FIRST_MAX + INITIATE_FRAME_MAX <=
                   sizeof(((struct ckv_stream_room *)0)->read) - CKV_STREAM_HEADROOM,
               "the room holds what is looked at");

static struct ckv_loop *loop_of(struct ckv_poller *poller)
{
    return (struct ckv_loop *)((char *)poller - offsetof(struct ckv_loop, poller));
}

static void count_pending(struct ckv_loop *self)
{
    atomic_store_explicit(&self->counts.pending, ckv_pending_count(self->pending),
                          memory_order_relaxed);
}

static void turn_away(struct ckv_loop *self, struct ckv_pending_slot *slot,
                      enum ckv_verdict verdict)
{
    ckv_loop_count_verdict(self, verdict);
    ckv_watch_close(&slot->watch);
    ckv_pending_leave(self->pending, slot);
    count_pending(self);
}

/* ---- what has come ---- */

static bool is_here(const struct ckv_pending_slot *slot)
{
    return slot->line != CKV_PENDING_LINES;
}

/*  Looks at what has come, at most MAX octets. Returns false when that is nothing new, or the
    connection is gone, and then so is the slot.  */
static bool look(struct ckv_loop *self, struct ckv_pending_slot *slot, size_t max,
                 struct ckv_octets *input)
{
    uint8_t *octets = self->room->read + CKV_STREAM_HEADROOM;
    ssize_t n = recv(slot->watch.fd, octets, max, MSG_PEEK);
    if (n > 0) {
        *input = ckv_octets(octets, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        turn_away(self, slot, CKV_REFUSED_LEFT);
    return false;
}

/*  Be woken once so many octets are there: of a tcp socket, and of those that it accepts.  */
static void wake_for(int fd, int octets)
{
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &octets, sizeof(octets));
}

/*  Takes off the socket what was looked at: SIZE octets, or fewer when no more has come.  */
static void take(struct ckv_loop *self, const struct ckv_pending_slot *slot, size_t size)
{
    (void)!recv(slot->watch.fd, self->room->batch, size, 0);
}

/*  Sends our greeting, unless it has gone, and a command of SIZE octets, or none. The socket's buffer is
    empty and has room for both.  */
static bool send_command(struct ckv_pending_slot *slot, const void *command, size_t size)
{
    uint8_t octets[CKV_ZMTP_GREETING_SIZE + CKV_ZMTP_HEADER_MAX + CKV_CURVE_WELCOME_SIZE];
    size_t used = 0;
    if (!slot->is_greeted) {
        ckv_zmtp_greeting_write((struct ckv_zmtp_greeting_octets *)octets, "CURVE", true);
        used = CKV_ZMTP_GREETING_SIZE;
    }
    if (size) {
        used += ckv_zmtp_header_write(octets + used, CKV_ZMTP_COMMAND, size);
        memcpy(octets + used, command, size);
        used += size;
    }
    slot->is_greeted = true;
    return send(slot->watch.fd, octets, used, MSG_NOSIGNAL) == (ssize_t)used;
}

/*  Says ERROR 400 and no more. What the client has sent is read first: a socket that is closed with
    something unread is reset, and the ERROR lost.  */
static void tell_and_turn_away(struct ckv_loop *self, struct ckv_pending_slot *slot,
                               enum ckv_verdict verdict)
{
    static const char reason[] = "400";
    uint8_t error[CKV_CURVE_ERROR_OVERHEAD + sizeof(reason)];
    take(self, slot, FIRST_MAX);
    if (ckv_curve_server_error(&slot->curve, reason, error) == CKV_OK &&
        send_command(slot, error, CKV_CURVE_ERROR_OVERHEAD + sizeof(reason) - 1))
        ckv_count_add(&self->counts.told, 1);
    turn_away(self, slot, verdict);
}

/*  Counts what the connection's curve operations have come to since they were BEFORE.  */
static void count_operations(struct ckv_loop *self, const struct ckv_pending_slot *slot,
                             unsigned before)
{
    unsigned operations = slot->curve.session.curve_operations - before;
    ckv_count_add(&self->counts.curve_operations, operations);
    if (slot->storage_key.size)
        ckv_share_known(&self->share, operations);
    else
        ckv_share_stock(&self->share, operations);
}

static enum ckv_verdict verdict_of(int error)
{
    return error == CKV_ERROR_CURVE_BOX ? CKV_REFUSED_BOX : CKV_REFUSED_FORMAT;
}

/* ---- HELLO and WELCOME ---- */

/*  The server key pair that a client with a certificate is met with; the caller wipes the secret.  */
static int server_keys(const struct ckv_loop *self, const struct ckv_certificate *certificate,
                       const uint8_t **public_key, uint8_t secret_key[32])
{
    const struct ckv_cluster_key *cluster_key = self->options->cluster_key;
    *public_key = cluster_key->server_public_key;
    if (certificate && certificate->dedicated) {
        *public_key = certificate->server_public_key;
        return ckv_certificate_unseal(certificate, cluster_key, secret_key);
    }
    memcpy(secret_key, cluster_key->server_secret_key, 32);
    return CKV_OK;
}

/*  CERTIFICATE is that of a modified HELLO, or NULL.  */
static int make_welcome(struct ckv_loop *self, struct ckv_pending_slot *slot,
                        const struct ckv_hello *hello, const struct ckv_certificate *certificate,
                        struct ckv_curve_welcome *welcome)
{
    struct ckv_curve_server_random random;
    const uint8_t *public_key;
    uint8_t secret_key[32];
    int rc = server_keys(self, certificate, &public_key, secret_key);
    if (rc == CKV_OK) {
        randombytes_buf(&random, sizeof(random));
        rc = ckv_curve_server_welcome(&slot->curve, hello, public_key, secret_key, &random,
                                      self->cookie_keys[self->cookie_key], welcome);
    }
    sodium_memzero(secret_key, sizeof(secret_key));
    return rc;
}

/*  The FIRST octets, up to the HELLO, are taken off the socket with the INITIATE.  */
static void welcome(struct ckv_loop *self, struct ckv_pending_slot *slot, size_t first,
                    const struct ckv_hello *hello, const struct ckv_certificate *certificate)
{
    struct ckv_curve_welcome command;
    bool known = certificate != NULL;
    slot->cookie_key = self->cookie_key;
    int rc = make_welcome(self, slot, hello, certificate, &command);
    count_operations(self, slot, 0);
    if (rc != CKV_OK) {
        turn_away(self, slot, verdict_of(rc));
        return;
    }
    slot->past = (uint16_t)first;
    if (!send_command(slot, &command, sizeof(command))) {
        turn_away(self, slot, CKV_REFUSED_LEFT);
        return;
    }
    ckv_count_add(known ? &self->counts.known : &self->counts.stock, 1);
    ckv_pending_move(self->pending, slot, known ? CKV_PENDING_KNOWN : CKV_PENDING_GREETED,
                     uv_now(&self->uv));
}

/*  Takes greeting and HELLO off the front of INPUT. Returns how many octets they are, 0 when they are not
    all there, or CKV_ERROR_ZMTP or what ckv_hello_parse says.  */
static int read_first(struct ckv_octets input, uint8_t *minor, struct ckv_hello *hello)
{
    const size_t size = input.size;
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_frame frame;
    *hello = (struct ckv_hello){ 0 };
    int rc = ckv_zmtp_greeting_next(&input, &greeting);
    if (rc != 1)
        return rc;
    if (strcmp(greeting.mechanism, "CURVE") != 0)
        return CKV_ERROR_ZMTP;
    rc = ckv_zmtp_frame_next(&input, CKV_HELLO_SIZE, &frame);
    if (rc != 1)
        return rc < 0 ? CKV_ERROR_ZMTP : 0;
    if (frame.flags != CKV_ZMTP_COMMAND)
        return CKV_ERROR_ZMTP;
    *minor = greeting.minor;
    rc = ckv_hello_parse(hello, frame.body.data, frame.body.size);
    return rc == CKV_OK ? (int)(size - input.size) : rc;
}

static void meet_stranger(struct ckv_loop *self, struct ckv_pending_slot *slot)
{
    struct ckv_octets input;
    struct ckv_hello hello;
    struct ckv_certificate certificate;
    if (!look(self, slot, FIRST_MAX, &input))
        return;
    int rc = read_first(input, &slot->minor, &hello);
    if (rc == 0)
        return;
    if (rc < 0) {
        turn_away(self, slot, rc == CKV_ERROR_ZMTP ? CKV_REFUSED_ZMTP : CKV_REFUSED_FORMAT);
        return;
    }
    self->has_resolved = true;
    enum ckv_verdict verdict =
        ckv_admission_hello(self->admission, self->txn, &hello, ckv_loop_time(), &certificate);
    if (ckv_verdict_is_told(verdict))
        tell_and_turn_away(self, slot, verdict);
    else if (verdict != CKV_ADMITTED)
        turn_away(self, slot, verdict);
    else if (!hello.modified)
        ckv_pending_move(self->pending, slot, CKV_PENDING_WAITING, uv_now(&self->uv));
    else {
        (void)ckv_storage_key_set(&slot->storage_key, hello.storage_key);
        welcome(self, slot, (size_t)rc, &hello, &certificate);
    }
}

/*  A stock HELLO has its turn. It is there, whole: it was looked at before.  */
static void meet_waiting(struct ckv_loop *self, struct ckv_pending_slot *slot)
{
    struct ckv_octets input;
    struct ckv_hello hello;
    if (!look(self, slot, FIRST_MAX, &input))
        return;
    int rc = read_first(input, &slot->minor, &hello);
    if (rc > 0)
        welcome(self, slot, (size_t)rc, &hello, NULL);
    else
        turn_away(self, slot, CKV_REFUSED_FORMAT);
}

/* ---- INITIATE ---- */

/*  Opens the INITIATE and asks whether its client may come in.  */
static enum ckv_verdict open_initiate(struct ckv_loop *self, struct ckv_pending_slot *slot,
                                      const struct ckv_zmtp_frame *frame,
                                      struct ckv_certificate *certificate,
                                      struct ckv_octets *metadata)
{
    struct ckv_admission_proof proof = {
        .storage_key = ckv_storage_key_octets(&slot->storage_key),
        .server_key = slot->storage_key.size ? slot->curve.server_key : NULL,
    };
    unsigned before = slot->curve.session.curve_operations;
    int rc =
        ckv_curve_server_initiate(&slot->curve, (uint8_t *)(uintptr_t)frame->body.data, frame->size,
                                  self->cookie_keys[slot->cookie_key], &proof.client_key, metadata);
    count_operations(self, slot, before);
    if (rc != CKV_OK)
        return verdict_of(rc);
    self->has_resolved = true;
    return ckv_admission_initiate(self->admission, self->txn, &proof, ckv_loop_time(), certificate);
}

/*  The connection leaves the door as a client.  */
static void let_in(struct ckv_loop *self, struct ckv_pending_slot *slot,
                   const struct ckv_certificate *certificate, struct ckv_octets metadata)
{
    struct ckv_client_start start = {
        .watch = &slot->watch,
        .minor = slot->minor,
        .curve = &slot->curve,
        .certificate = certificate,
        .is_stock = slot->storage_key.size == 0,
        .metadata = metadata,
    };
    wake_for(slot->watch.fd, 1);
    if (ckv_client_begin(self, &start) != CKV_OK) {
        turn_away(self, slot, CKV_REFUSED_LIMIT);
        return;
    }
    ckv_pending_leave(self->pending, slot);
    count_pending(self);
}

static void meet_welcomed(struct ckv_loop *self, struct ckv_pending_slot *slot)
{
    struct ckv_octets input, metadata;
    struct ckv_zmtp_frame frame;
    struct ckv_certificate certificate;
    if (!look(self, slot, slot->past + INITIATE_FRAME_MAX, &input) || input.size < slot->past)
        return;
    input = ckv_octets(input.data + slot->past, input.size - slot->past);
    int rc = ckv_zmtp_frame_next(&input, CKV_CURVE_INITIATE_MAX, &frame);
    if (rc == 0)
        return;
    if (rc < 0 || frame.flags != CKV_ZMTP_COMMAND) {
        turn_away(self, slot, CKV_REFUSED_ZMTP);
        return;
    }
    take(self, slot, slot->past + frame.header_size + frame.size);
    enum ckv_verdict verdict = open_initiate(self, slot, &frame, &certificate, &metadata);
    if (verdict == CKV_ADMITTED)
        let_in(self, slot, &certificate, metadata);
    else if (ckv_verdict_is_told(verdict))
        tell_and_turn_away(self, slot, verdict);
    else
        turn_away(self, slot, verdict);
}

/* ---- coming and going ---- */

static struct ckv_pending_slot *slot_of(struct ckv_watch *watch)
{
    return (struct ckv_pending_slot *)((char *)watch - offsetof(struct ckv_pending_slot, watch));
}

/*  Who has closed, or half closed, gets no answer; a handshake that waits for its turn saves two
    operations then.  */
static void on_more(struct ckv_watch *watch, uint32_t events)
{
    struct ckv_loop *self = loop_of(watch->poller);
    struct ckv_pending_slot *slot = slot_of(watch);
    if (slot->line == CKV_PENDING_STRANGERS)
        meet_stranger(self, slot);
    else if (slot->line != CKV_PENDING_WAITING)
        meet_welcomed(self, slot);
    if (events & EPOLLRDHUP && is_here(slot))
        turn_away(self, slot, CKV_REFUSED_LEFT);
}

/*  Greets, and waits for more.  */
static void wait_for_more(struct ckv_loop *self, struct ckv_pending_slot *slot)
{
    static const struct ckv_watch_kind kind = { .happened = on_more, .is_urgent = true };
    if (!slot->is_greeted)
        (void)send_command(slot, NULL, 0);
    if (ckv_watch_open(&slot->watch, &self->poller, slot->watch.fd, EPOLLIN | EPOLLRDHUP | EPOLLET,
                       &kind) != CKV_OK)
        turn_away(self, slot, CKV_REFUSED_LIMIT);
}

/*  Whether the next one to come is looked at before it is heard of.  */
static bool is_early(struct ckv_loop *self)
{
    if (self->early_skip == 0)
        return true;
    self->early_skip--;
    return false;
}

static void count_early(struct ckv_loop *self, bool was)
{
    enum { SKIP_MAX = 16 };
    uint8_t twice = (uint8_t)(self->early_skipped * 2 + 1);
    self->early_skipped = was ? 0 : twice < SKIP_MAX ? twice : SKIP_MAX;
    self->early_skip = self->early_skipped;
}

/*  Who has sent its HELLO before it was accepted is met at once, and a stranger goes without our greeting,
    too. That is looked for often where it was so of late, and else now and then: who waits for our
    greeting, as libzmq does, has not.  */
static void enter(struct ckv_loop *self, int fd, const struct sockaddr *address)
{
    struct ckv_pending_slot *slot;
    while ((slot = ckv_pending_must_leave(self->pending, address)))
        turn_away(self, slot, CKV_REFUSED_CROWD);
    slot = ckv_pending_enter(self->pending, address, uv_now(&self->uv));
    ckv_watch_hold(&slot->watch, &self->poller, fd);
    ckv_count_add(&self->counts.accepted, 1);
    count_pending(self);
    if (is_early(self)) {
        meet_stranger(self, slot);
        count_early(self, slot->line != CKV_PENDING_STRANGERS);
    }
    if (is_here(slot))
        wait_for_more(self, slot);
}

/*  Descriptors have run out: the oldest makes room, or the listening socket rests until the next
    tick.  */
static void make_room(struct ckv_loop *self)
{
    struct ckv_pending_slot *oldest = ckv_pending_first(self->pending, CKV_PENDING_STRANGERS);
    if (oldest) {
        turn_away(self, oldest, CKV_REFUSED_LIMIT);
        return;
    }
    self->is_listening = false;
    ckv_watch_release(&self->door);
}

static void accept_some(struct ckv_loop *self)
{
    for (int i = 0; i < ACCEPTS && self->is_listening; i++) {
        struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
        socklen_t size = sizeof(address);
        int fd = accept4(self->listener, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            enter(self, fd, (const struct sockaddr *)&address);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            make_room(self);
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void on_caller(struct ckv_watch *door, uint32_t events)
{
    (void)events;
    loop_of(door->poller)->has_callers = true;
}

/*  An ipc endpoint has one socket for all loops, and the kernel wakes the one that has watched it for
    longest.  */
static int listen_on(struct ckv_loop *self)
{
    static const struct ckv_watch_kind kind = { .happened = on_caller };
    int rc =
        ckv_watch_open(&self->door, &self->poller, self->listener, EPOLLIN | EPOLLEXCLUSIVE, &kind);
    self->is_listening = rc == CKV_OK;
    wake_for(self->listener, FIRST_MIN);
    return rc;
}

/*  Next time it is another loop's turn.  */
static void queue_behind_others(struct ckv_loop *self)
{
    if (!self->is_listening || self->options->loops == 1 ||
        !ckv_endpoint_is_ipc(&self->options->listen))
        return;
    ckv_watch_release(&self->door);
    (void)listen_on(self);
}

/*  In a round that is full, a caller may not have been told of.  */
static void answer_callers(struct ckv_loop *self)
{
    if (!self->has_callers && !self->poller.is_full)
        return;
    self->has_callers = false;
    accept_some(self);
    queue_behind_others(self);
}

bool ckv_door_round(void *argument)
{
    struct ckv_loop *self = argument;
    if (!self->pending)
        return false;
    answer_callers(self);
    struct ckv_pending_slot *slot = ckv_pending_first(self->pending, CKV_PENDING_WAITING);
    if (slot && ckv_share_may(&self->share))
        meet_waiting(self, slot);
    ckv_share_next_round(&self->share);
    return ckv_pending_first(self->pending, CKV_PENDING_WAITING) != NULL;
}

/* ---- opening, closing, time ---- */

static void make_cookie_key(struct ckv_loop *self, uint64_t now)
{
    self->cookie_key ^= 1;
    self->cookie_key_made = now;
    randombytes_buf(self->cookie_keys[self->cookie_key], CKV_CURVE_COOKIE_KEY_SIZE);
}

int ckv_door_open(struct ckv_loop *self)
{
    const struct ckv_gateway_options *options = self->options;
    uint8_t hash_key[16];
    randombytes_buf(hash_key, sizeof(hash_key));
    int rc =
        ckv_pending_new(&self->pending, options->max_pending / options->loops + 1,
                        options->per_address / options->loops + 1, options->handshake_ms, hash_key);
    self->cookie_keys = sodium_allocarray(CKV_COOKIE_KEYS, CKV_CURVE_COOKIE_KEY_SIZE);
    if (rc != CKV_OK || !self->cookie_keys)
        return CKV_ERROR_MEMORY;
    make_cookie_key(self, uv_now(&self->uv));
    self->share.percent = options->stock_share;
    return listen_on(self);
}

/*  An ipc socket is of all loops, and stays until they have stopped.  */
static void stop_listening(struct ckv_loop *self)
{
    if (self->is_listening)
        ckv_watch_release(&self->door);
    self->is_listening = false;
    if (!self->owns_listener || ckv_endpoint_is_ipc(&self->options->listen))
        return;
    close(self->listener);
    self->owns_listener = false;
}

void ckv_door_close(struct ckv_loop *self)
{
    struct ckv_pending_slot *slot;
    for (int line = 0; self->pending && line < CKV_PENDING_LINES; line++)
        while ((slot = ckv_pending_first(self->pending, (enum ckv_pending_line)line)))
            turn_away(self, slot, CKV_REFUSED_LEFT);
    stop_listening(self);
    ckv_pending_destroy(&self->pending);
    sodium_free(self->cookie_keys);
    self->cookie_keys = NULL;
}

/*  Who speaks something else than ZMTP may never send as much as a HELLO. Each is looked at after a tick,
    and then each time that it has been here for twice as long.  */
static void look_around(struct ckv_loop *self, uint64_t now)
{
    struct ckv_pending_slot *next, *slot = ckv_pending_first(self->pending, CKV_PENDING_STRANGERS);
    for (; slot; slot = next) {
        uint64_t age = now + self->options->handshake_ms - slot->deadline;
        next = ckv_pending_next(self->pending, slot);
        if (age < (uint64_t)CKV_TICK_MS << slot->looks)
            continue;
        slot->looks++;
        meet_stranger(self, slot);
    }
}

void ckv_door_tick(struct ckv_loop *self, uint64_t now)
{
    struct ckv_pending_slot *slot;
    while ((slot = ckv_pending_expired(self->pending, now)))
        turn_away(self, slot, CKV_REFUSED_DEADLINE);
    look_around(self, now);
    if (now - self->cookie_key_made >= COOKIE_KEY_MS)
        make_cookie_key(self, now);
    if (!self->is_listening)
        (void)listen_on(self);
}
