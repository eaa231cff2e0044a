/*  The poller of a loop's sockets, over socket pairs: who is told what, and that nobody is told of what is
    gone.  */
#include "node/relay/poller.h"

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
};

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

static struct end *open_end(struct fixture *self, size_t i)
{
    struct end *end = &self->ends[i];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    end->peer = fds[1];
    assert_int_equal(ckv_watch_open(&end->watch, &self->poller, fds[0], on_happened, on_closed),
                     CKV_OK);
    return end;
}

static int set_up(void **state)
{
    struct fixture *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    self->ends = calloc(MANY, sizeof(*self->ends));
    assert_non_null(self->ends);
    assert_int_equal(uv_loop_init(&self->loop), 0);
    assert_int_equal(ckv_poller_open(&self->poller, &self->loop), CKV_OK);
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
        uv_run(&self->loop, UV_RUN_NOWAIT);
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
    uv_run(&self->loop, UV_RUN_NOWAIT);
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
    uv_run(&self->loop, UV_RUN_NOWAIT);
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
    uv_run(&self->loop, UV_RUN_ONCE); /* does not wait for something else to happen */
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
    assert_int_equal(ckv_watch_open(&watch, &self->poller, -1, on_happened, on_closed),
                     CKV_ERROR_MEMORY);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
