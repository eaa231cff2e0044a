/*  The poller of a loop's sockets, over socket pairs: who is told what, and that nobody is told of what is
    gone.  */
#include "node/relay/poller.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 300 }; /* more than one round takes */

struct end {
    struct ckv_watch watch;
    int peer;
    uint32_t events; /* all that it was told */
    unsigned told, closed;
    struct end *closes; /* when it is told something */
};

struct fixture {
    uv_loop_t loop;
    struct ckv_poller poller;
    struct end *ends;
    unsigned rounds, busy_rounds; /* that were, and that are to come without a wait */
    uv_timer_t timer;
    uv_async_t async;
    unsigned timed, woken;
};

static bool after_round(void *argument)
{
    struct fixture *self = argument;
    self->rounds++;
    if (self->busy_rounds)
        self->busy_rounds--;
    return self->busy_rounds > 0;
}

static void on_happened(struct ckv_watch *watch, uint32_t events)
{
    struct end *self = (struct end *)watch;
    assert_int_equal(self->closed, 0);
    struct end *other = self->closes;
    self->told++;
    self->events |= events;
    self->closes = NULL;
    if (other) {
        other->closes = NULL;
        ckv_watch_close(&other->watch);
    }
}

static void on_closed(struct ckv_watch *watch)
{
    struct end *self = (struct end *)watch;
    self->closed++;
    if (self->closes)
        ckv_watch_close(&self->closes->watch);
    self->closes = NULL;
}

static const struct ckv_watch_kind kind = { .happened = on_happened, .closed = on_closed };
static const struct ckv_watch_kind urgent = { .happened = on_happened,
                                              .closed = on_closed,
                                              .is_urgent = true };
static const struct ckv_watch_kind without_call = { .happened = on_happened };

static struct end *open_end(struct fixture *self, size_t i)
{
    struct end *end = &self->ends[i];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    end->peer = fds[1];
    assert_int_equal(ckv_watch_open(&end->watch, &self->poller, fds[0], 0, &kind), CKV_OK);
    return end;
}

static int set_up(void **state)
{
    struct fixture *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    self->ends = calloc(MANY, sizeof(*self->ends));
    assert_non_null(self->ends);
    assert_int_equal(uv_loop_init(&self->loop), 0);
    assert_int_equal(ckv_poller_open(&self->poller, &self->loop, after_round, self), CKV_OK);
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *self = *state;
    for (size_t i = 0; i < MANY; i++) {
        if (self->ends[i].watch.poller && self->ends[i].watch.fd >= 0)
            ckv_watch_close(&self->ends[i].watch);
        if (self->ends[i].watch.poller)
            close(self->ends[i].peer);
    }
    ckv_poller_close(&self->poller);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(self->ends[i].closed, self->ends[i].watch.poller ? 1 : 0);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    free(self->ends);
    free(self);
    return 0;
}

static void turn(struct fixture *self)
{
    for (int i = 0; i < 4; i++)
        ckv_poller_round(&self->poller, false);
}

/*  Whether the loop could sleep.  */
static bool is_quiet(struct fixture *self)
{
    struct epoll_event event;
    turn(self);
    return epoll_wait(self->poller.epoll, &event, 1, 0) == 0;
}

static uint32_t heard(struct end *end)
{
    uint32_t events = end->events;
    end->events = 0;
    return events;
}

static void say(struct end *end)
{
    assert_int_equal(send(end->peer, "x", 1, MSG_NOSIGNAL), 1);
}

/*  ---- what is told ----  */

static void what_is_asked_for_is_told_for_as_long_as_it_is_so(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    char octet;
    say(end);
    turn(self);
    assert_int_equal(heard(end), 0); /* nothing is asked for at first */
    ckv_watch_ask(&end->watch, EPOLLIN);
    turn(self);
    assert_int_equal(heard(end), EPOLLIN);
    assert_int_equal(end->told, 4); /* once a turn */
    ckv_watch_ask(&end->watch, EPOLLOUT);
    turn(self);
    assert_int_equal(heard(end), EPOLLOUT);
    ckv_watch_ask(&end->watch, EPOLLIN | EPOLLOUT);
    turn(self);
    assert_int_equal(heard(end), EPOLLIN | EPOLLOUT);
    assert_int_equal(recv(end->watch.fd, &octet, 1, 0), 1);
    turn(self);
    assert_int_equal(heard(end), EPOLLOUT);
    ckv_watch_ask(&end->watch, EPOLLIN);
    turn(self);
    assert_int_equal(heard(end), 0);
    ckv_watch_ask(&end->watch, 0);
    say(end);
    turn(self);
    assert_int_equal(heard(end), 0);
}

static void nobody_keeps_the_loop_awake_with_what_he_does_not_ask_for(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0), *writer = open_end(self, 1);
    say(end);
    assert_true(is_quiet(self));
    ckv_watch_ask(&end->watch, EPOLLIN);
    assert_false(is_quiet(self));
    ckv_watch_ask(&end->watch, 0);
    assert_true(is_quiet(self));
    ckv_watch_ask(&writer->watch, EPOLLIN | EPOLLOUT);
    assert_false(is_quiet(self));
    ckv_watch_ask(&writer->watch, EPOLLIN);
    assert_true(is_quiet(self));
}

static void a_hang_up_is_told_only_where_something_is_asked_for(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    turn(self);
    shutdown(end->peer, SHUT_RDWR);
    assert_true(is_quiet(self));
    assert_int_equal(heard(end), 0);
    ckv_watch_ask(&end->watch, EPOLLIN);
    turn(self);
    assert_int_equal(heard(end), EPOLLIN);
    ckv_watch_ask(&end->watch, 0);
    assert_true(is_quiet(self));
    heard(end);
    ckv_watch_ask(&end->watch, EPOLLOUT);
    turn(self);
    assert_int_equal(heard(end), EPOLLOUT);
}

static void an_error_is_told_as_what_is_asked_for(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    assert_int_equal(send(end->watch.fd, "x", 1, 0), 1);
    close(end->peer); /* with something unread: the connection is reset */
    assert_true(is_quiet(self));
    assert_int_equal(heard(end), 0);
    ckv_watch_ask(&end->watch, EPOLLOUT);
    turn(self);
    assert_int_equal(heard(end), EPOLLOUT);
    end->peer = -1;
}

static void all_of_more_than_a_round_are_told(void **state)
{
    struct fixture *self = *state;
    for (size_t i = 0; i < MANY; i++) {
        ckv_watch_ask(&open_end(self, i)->watch, EPOLLIN);
        say(&self->ends[i]);
    }
    turn(self);
    for (size_t i = 0; i < MANY; i++)
        assert_true(self->ends[i].told > 0);
}

/*  ---- what is gone ----  */

static void what_is_closed_in_a_round_is_not_told_what_happened_in_it(void **state)
{
    struct fixture *self = *state;
    struct end *a = open_end(self, 0), *b = open_end(self, 1);
    ckv_watch_ask(&a->watch, EPOLLIN);
    ckv_watch_ask(&b->watch, EPOLLIN);
    a->closes = b; /* whoever comes first */
    b->closes = a;
    say(a);
    say(b);
    ckv_poller_round(&self->poller, false);
    assert_int_equal(a->told + b->told, 1);
    assert_int_equal(a->closed + b->closed, 1); /* at the end of the round */
}

static void who_closes_itself_is_told_closed_after_its_call(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    ckv_watch_ask(&end->watch, EPOLLIN);
    end->closes = end;
    say(end);
    ckv_poller_round(&self->poller, false);
    assert_int_equal(end->told, 1);
    assert_int_equal(end->closed, 1);
}

static void closed_is_told_from_the_loop_and_once(void **state)
{
    struct fixture *self = *state;
    struct end *a = open_end(self, 0), *b = open_end(self, 1);
    a->closes = b; /* when it is told that it is closed */
    ckv_watch_close(&a->watch);
    assert_int_equal(a->closed, 0);
    ckv_poller_round(&self->poller, true); /* does not wait for something else to happen */
    turn(self);
    assert_int_equal(a->closed, 1);
    assert_int_equal(b->closed, 1);
}

static void a_descriptor_that_is_given_again_is_another_watch(void **state)
{
    struct fixture *self = *state;
    struct end *a = open_end(self, 0);
    ckv_watch_ask(&a->watch, EPOLLIN);
    int fd = a->watch.fd;
    ckv_watch_close(&a->watch);
    struct end *b = open_end(self, 1);
    assert_int_equal(b->watch.fd, fd);
    ckv_watch_ask(&b->watch, EPOLLIN);
    say(b);
    turn(self);
    assert_int_equal(a->told, 0);
    assert_true(b->told > 0);
}

static void what_cannot_be_watched_is_refused(void **state)
{
    struct fixture *self = *state;
    struct ckv_watch watch;
    assert_int_equal(ckv_watch_open(&watch, &self->poller, -1, EPOLLIN, &kind), CKV_ERROR_MEMORY);
}

/*  ---- from hand to hand ----  */

static void an_edge_is_told_once(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    ckv_watch_ask(&end->watch, EPOLLIN | EPOLLRDHUP | EPOLLET);
    say(end);
    turn(self);
    assert_int_equal(heard(end), EPOLLIN);
    assert_int_equal(end->told, 1);
    say(end);
    turn(self);
    assert_int_equal(end->told, 2);
    shutdown(end->peer, SHUT_WR);
    turn(self);
    assert_int_equal(end->told, 3);
    assert_true(heard(end) & EPOLLRDHUP);
}

static void who_takes_a_socket_is_told_of_it_and_not_who_had_it(void **state)
{
    struct fixture *self = *state;
    struct end *had = open_end(self, 0), *has = &self->ends[1];
    char octet;
    ckv_watch_ask(&had->watch, EPOLLIN | EPOLLET);
    say(had);
    turn(self);
    assert_int_equal(had->told, 1);
    had->closed = 1; /* it is, without a call */
    has->peer = dup(had->peer);
    assert_int_equal(ckv_watch_take(&has->watch, &had->watch, EPOLLIN, &kind), CKV_OK);
    assert_int_equal(had->watch.fd, -1);
    ckv_poller_round(&self->poller, false); /* of what came before, too */
    assert_int_equal(has->told, 1);
    assert_int_equal(recv(has->watch.fd, &octet, 1, 0), 1);
    turn(self);
    assert_int_equal(has->told, 1);
    say(has);
    ckv_poller_round(&self->poller, false);
    assert_int_equal(has->told, 2);
    assert_int_equal(had->told, 1);
}

static void who_is_only_held_is_not_told_and_can_be_closed(void **state)
{
    struct fixture *self = *state;
    struct ckv_watch watch;
    int fds[2];
    char octet;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ckv_watch_hold(&watch, &self->poller, fds[0]);
    assert_int_equal(send(fds[1], "x", 1, 0), 1);
    assert_true(is_quiet(self));
    ckv_watch_close(&watch);
    assert_int_equal(recv(fds[1], &octet, 1, 0), -1); /* reset: something was unread */
    close(fds[1]);
}

static void what_is_released_stays_open_and_is_not_told(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    char octet;
    ckv_watch_ask(&end->watch, EPOLLIN);
    int fd = end->watch.fd;
    say(end);
    ckv_watch_release(&end->watch);
    turn(self);
    assert_int_equal(end->told, 0);
    assert_int_equal(end->closed, 1);
    assert_int_equal(recv(fd, &octet, 1, 0), 1);
    close(fd);
}

static void what_is_closed_without_a_call_may_be_used_again_at_once(void **state)
{
    struct fixture *self = *state;
    struct end *end = open_end(self, 0);
    end->watch.kind = &without_call;
    ckv_watch_ask(&end->watch, EPOLLIN);
    say(end);
    ckv_watch_close(&end->watch);
    close(end->peer);
    memset(end, 0, sizeof(*end));
    open_end(self, 0);
    ckv_watch_ask(&end->watch, EPOLLIN);
    turn(self);
    assert_int_equal(end->told, 0);
    say(end);
    turn(self);
    assert_true(end->told > 0);
}

/*  ---- who is urgent ----  */

/*  From an urgent watch to one that is not, as a connection that leaves the door.  */
static void who_takes_the_socket_of_an_urgent_one_is_not_urgent(void **state)
{
    struct fixture *self = *state;
    struct end *had = open_end(self, 0), *has = &self->ends[1], *other = &self->ends[2];
    struct end *ends[] = { other, has };
    int fds[2];
    ckv_watch_close(&had->watch);
    close(had->peer);
    turn(self);
    memset(had, 0, sizeof(*had));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    had->peer = has->peer = fds[1];
    assert_int_equal(ckv_watch_open(&had->watch, &self->poller, fds[0], EPOLLIN | EPOLLET, &urgent),
                     CKV_OK);
    say(had);
    turn(self);
    assert_int_equal(had->told, 1);
    assert_int_equal(ckv_watch_take(&has->watch, &had->watch, EPOLLIN, &kind), CKV_OK);
    had->watch.poller = NULL; /* it is not to be closed */
    open_end(self, 2);
    ckv_watch_ask(&other->watch, EPOLLIN);
    say(other);
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        turn(self);
        assert_true(ends[i]->told > 0);
    }
    assert_int_equal(had->told, 1);
}

static void who_is_urgent_has_a_turn_in_each_round(void **state)
{
    struct fixture *self = *state;
    struct end *last = &self->ends[MANY - 1];
    int fds[2];
    for (size_t i = 0; i + 1 < MANY; i++) {
        ckv_watch_ask(&open_end(self, i)->watch, EPOLLIN);
        say(&self->ends[i]);
    }
    ckv_poller_round(&self->poller, false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    last->peer = fds[1];
    assert_int_equal(ckv_watch_open(&last->watch, &self->poller, fds[0], EPOLLIN, &urgent), CKV_OK);
    say(last);
    for (unsigned i = 1; i < 10; i++) {
        ckv_poller_round(&self->poller, false);
        assert_true(self->poller.is_full);
        assert_int_equal(last->told, i);
    }
}

/*  ---- the loop ----  */

static void on_timer(uv_timer_t *timer)
{
    struct fixture *self = timer->data;
    self->timed++;
    ckv_poller_stop(&self->poller);
}

static void on_async(uv_async_t *async)
{
    struct fixture *self = async->data;
    self->woken++;
    uv_close((uv_handle_t *)async, NULL);
    ckv_poller_stop(&self->poller);
}

static void it_sleeps_until_a_timer_is_due(void **state)
{
    struct fixture *self = *state;
    enum { MS = 50 };
    uv_timer_init(&self->loop, &self->timer);
    self->timer.data = self;
    uint64_t began = uv_hrtime();
    uv_update_time(&self->loop);
    uv_timer_start(&self->timer, on_timer, MS, 0);
    ckv_poller_run(&self->poller);
    assert_int_equal(self->timed, 1);
    assert_true(uv_hrtime() - began >= (MS - 2) * 1000000ULL);
    assert_true(self->rounds <= 3);
    uv_close((uv_handle_t *)&self->timer, NULL);
}

static bool take_time(void *argument)
{
    struct fixture *self = argument;
    self->rounds++;
    usleep(30000);
    return false;
}

/*  How much later than it is due a timer is told, in ms.  */
static uint64_t lateness(struct fixture *self)
{
    enum { MS = 40 };
    uv_update_time(&self->loop);
    uint64_t due = uv_hrtime() + MS * UINT64_C(1000000);
    uv_timer_start(&self->timer, on_timer, MS, 0);
    self->poller.after = take_time;
    ckv_poller_round(&self->poller, false);
    self->poller.after = NULL;
    self->timed = 0;
    while (!self->timed)
        ckv_poller_round(&self->poller, true);
    uint64_t now = uv_hrtime();
    return now > due ? (now - due) / 1000000 : 0;
}

/*  A machine that is busy may be late, but not each time.  */
static void what_a_round_took_is_not_added_to_a_timer(void **state)
{
    struct fixture *self = *state;
    enum { TRIES = 20, MS = 15 };
    int tries = 0;
    uv_timer_init(&self->loop, &self->timer);
    self->timer.data = self;
    while (tries < TRIES && lateness(self) > MS)
        tries++;
    assert_true(tries < TRIES);
    uv_close((uv_handle_t *)&self->timer, NULL);
}

static void *wake(void *argument)
{
    struct fixture *self = argument;
    uv_async_send(&self->async);
    return NULL;
}

static void another_thread_wakes_it(void **state)
{
    struct fixture *self = *state;
    pthread_t thread;
    uv_async_init(&self->loop, &self->async, on_async);
    self->async.data = self;
    assert_int_equal(pthread_create(&thread, NULL, wake, self), 0);
    ckv_poller_run(&self->poller);
    assert_int_equal(self->woken, 1);
    pthread_join(thread, NULL);
}

/*  What libuv is asked for from a call of a watch's is heard of, too.  */
static void what_a_call_starts_in_libuv_is_polled(void **state)
{
    struct fixture *self = *state;
    pthread_t thread;
    turn(self);
    uv_async_init(&self->loop, &self->async, on_async); /* as from a call: after the first round */
    self->async.data = self;
    assert_int_equal(pthread_create(&thread, NULL, wake, self), 0);
    ckv_poller_run(&self->poller);
    assert_int_equal(self->woken, 1);
    pthread_join(thread, NULL);
}

static void it_does_not_sleep_while_there_is_more_to_do(void **state)
{
    struct fixture *self = *state;
    enum { ROUNDS = 5 };
    uv_timer_init(&self->loop, &self->timer);
    self->timer.data = self;
    uv_timer_start(&self->timer, on_timer, 60000, 0);
    self->busy_rounds = ROUNDS;
    ckv_poller_round(&self->poller, false);
    for (int i = 1; i < ROUNDS; i++)
        ckv_poller_round(&self->poller, true); /* would wait for a minute */
    assert_int_equal(self->rounds, ROUNDS);
    assert_int_equal(self->timed, 0);
    uv_close((uv_handle_t *)&self->timer, NULL);
}

#define poller_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        poller_test(what_is_asked_for_is_told_for_as_long_as_it_is_so),
        poller_test(nobody_keeps_the_loop_awake_with_what_he_does_not_ask_for),
        poller_test(a_hang_up_is_told_only_where_something_is_asked_for),
        poller_test(an_error_is_told_as_what_is_asked_for),
        poller_test(all_of_more_than_a_round_are_told),
        poller_test(what_is_closed_in_a_round_is_not_told_what_happened_in_it),
        poller_test(who_closes_itself_is_told_closed_after_its_call),
        poller_test(closed_is_told_from_the_loop_and_once),
        poller_test(a_descriptor_that_is_given_again_is_another_watch),
        poller_test(what_cannot_be_watched_is_refused),
        poller_test(an_edge_is_told_once),
        poller_test(who_takes_a_socket_is_told_of_it_and_not_who_had_it),
        poller_test(who_is_only_held_is_not_told_and_can_be_closed),
        poller_test(what_is_released_stays_open_and_is_not_told),
        poller_test(what_is_closed_without_a_call_may_be_used_again_at_once),
        poller_test(who_takes_the_socket_of_an_urgent_one_is_not_urgent),
        poller_test(who_is_urgent_has_a_turn_in_each_round),
        poller_test(it_sleeps_until_a_timer_is_due),
        poller_test(what_a_round_took_is_not_added_to_a_timer),
        poller_test(another_thread_wakes_it),
        poller_test(what_a_call_starts_in_libuv_is_polled),
        poller_test(it_does_not_sleep_while_there_is_more_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
