/*  Endpoints: what is one, where it leads, and who may listen there.  */
#include "node/library/endpoint.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*  ---- helpers ----  */

static struct ckv_endpoint endpoint_of(const char *text)
{
    struct ckv_endpoint self;
    assert_int_equal(ckv_endpoint_read(&self, text, true), CKV_OK);
    return self;
}

static int listen_at(struct ckv_endpoint *self)
{
    int fd;
    assert_int_equal(ckv_endpoint_listen(self, &fd), CKV_OK);
    return fd;
}

static void expect_connection(const struct ckv_endpoint *self, int listener)
{
    bool connecting;
    int fd;
    struct pollfd readable = { .fd = listener, .events = POLLIN };
    assert_int_equal(ckv_endpoint_connect(self, &fd, &connecting), CKV_OK);
    assert_int_equal(poll(&readable, 1, 5000), 1);
    int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    close(fd);
}

/*  ---- promises ----  */

static void an_endpoint_is_written_as_it_is_read(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555" },
        { "tcp://*:5555", "tcp://0.0.0.0:5555" },
        { "tcp://*:*", "tcp://0.0.0.0:0" },
        { "tcp://[::1]:80", "tcp://[::1]:80" },
        { "tcp://[::]:65535", "tcp://[::]:65535" },
        { "ipc:///run/app.sock", "ipc:///run/app.sock" },
        { "ipc://@name", "ipc://@name" },
    };
    char text[CKV_ENDPOINT_TEXT_SIZE];
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct ckv_endpoint self = endpoint_of(texts[i][0]);
        assert_string_equal(ckv_endpoint_text(&self, text), texts[i][1]);
        assert_int_equal(ckv_endpoint_is_ipc(&self), texts[i][0][0] == 'i');
    }
}

static void what_is_no_endpoint_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",           "tcp",         "tcp://",        "tcp://:5555",    "tcp://127.0.0.1",
        "tcp://h:",   "tcp://h:x",   "tcp://h:65536", "tcp://h:-1",     "tcp://h:5 ",
        "udp://h:5",  "ipc://",      "ipc://@",       "inproc://x",     "TCP://127.0.0.1:5",
        "tcp://h:5x", "127.0.0.1:5", "tcp://[]:5",    "tcp://h:000005",
    };
    struct ckv_endpoint self;
    char path[200] = "ipc://";
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_int_equal(ckv_endpoint_read(&self, texts[i], true), CKV_ERROR_ENDPOINT);
    assert_int_equal(ckv_endpoint_read(&self, "tcp://127.0.0.1:*", false), CKV_ERROR_ENDPOINT);
    assert_int_equal(ckv_endpoint_read(&self, "tcp://127.0.0.1:0", false), CKV_ERROR_ENDPOINT);
    assert_int_equal(ckv_endpoint_read(&self, "tcp://no.such.host.invalid:5", true),
                     CKV_ERROR_NO_ADDRESS);
    assert_int_equal(ckv_endpoint_read(&self, "tcp://*:5", false), CKV_ERROR_ENDPOINT);
    memset(path + 6, 'p', 108);
    assert_int_equal(ckv_endpoint_read(&self, path, true), CKV_ERROR_PATH);
    path[6 + 107] = 0;
    assert_int_equal(ckv_endpoint_read(&self, path, true), CKV_OK);
}

static void endpoints_are_equal_when_they_are_one_place(void **state)
{
    (void)state;
    static const char *const texts[] = { "tcp://127.0.0.1:5", "tcp://127.0.0.1:6", "tcp://*:5",
                                         "tcp://[::1]:5",     "ipc:///run/a",      "ipc:///run/b",
                                         "ipc://@a" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        for (size_t j = 0; j < sizeof(texts) / sizeof(*texts); j++) {
            struct ckv_endpoint a = endpoint_of(texts[i]), b = endpoint_of(texts[j]);
            assert_int_equal(ckv_endpoint_equal(&a, &b), i == j);
        }
}

static void a_free_port_is_found_and_may_be_shared(void **state)
{
    (void)state;
    struct ckv_endpoint self = endpoint_of("tcp://127.0.0.1:*");
    char first[CKV_ENDPOINT_TEXT_SIZE], second[CKV_ENDPOINT_TEXT_SIZE];
    int a = listen_at(&self);
    ckv_endpoint_text(&self, first);
    assert_string_not_equal(first, "tcp://127.0.0.1:0");
    expect_connection(&self, a);
    int b = listen_at(&self);
    assert_string_equal(ckv_endpoint_text(&self, second), first);
    close(a);
    expect_connection(&self, b);
    close(b);
}

static void nobody_listens_where_nobody_listens(void **state)
{
    (void)state;
    bool connecting;
    int fd;
    struct ckv_endpoint self = endpoint_of("ipc:///tmp/ckv-no-such-socket");
    assert_int_equal(ckv_endpoint_connect(&self, &fd, &connecting), CKV_ERROR_NOT_REACHABLE);
    assert_int_equal(fd, -1);
    self = endpoint_of("tcp://192.0.2.1:5"); /* of no machine (RFC 5737) */
    assert_int_equal(ckv_endpoint_listen(&self, &fd), CKV_ERROR_HOST);
    self = endpoint_of("ipc:///no/such/directory/socket");
    assert_int_equal(ckv_endpoint_listen(&self, &fd), CKV_ERROR_NO_FILE);
}

static void a_unix_socket_is_taken_over_only_from_the_dead(void **state)
{
    (void)state;
    char directory[] = "/tmp/ckv-endpoint-XXXXXX", text[64];
    int fd;
    assert_non_null(mkdtemp(directory));
    snprintf(text, sizeof(text), "ipc://%s/socket", directory);
    struct ckv_endpoint self = endpoint_of(text);
    int alive = listen_at(&self);
    assert_int_equal(ckv_endpoint_listen(&self, &fd), CKV_ERROR_PORT_IN_USE);
    expect_connection(&self, alive); /* it was not harmed by being asked; */
    close(alive);                    /* the one who asked is the first in its queue */
    int heir = listen_at(&self);
    expect_connection(&self, heir);
    close(heir);
    ckv_endpoint_remove(&self);
    assert_int_equal(access(text + 6, F_OK), -1);
    assert_int_equal(rmdir(directory), 0);
}

/*  It may be somebody's only copy of a secret key.  */
static void a_file_that_is_no_socket_is_not_replaced(void **state)
{
    (void)state;
    char directory[] = "/tmp/curvekv-endpoint-XXXXXX", text[100], link[100];
    assert_non_null(mkdtemp(directory));
    snprintf(text, sizeof(text), "ipc://%s/self.cert", directory);
    snprintf(link, sizeof(link), "ipc://%s/link", directory);
    FILE *file = fopen(text + 6, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(symlink("self.cert", link + 6), 0);
    struct ckv_endpoint self = endpoint_of(text), by_link = endpoint_of(link);
    int fd;
    assert_int_equal(ckv_endpoint_listen(&self, &fd), CKV_ERROR_NO_SOCKET);
    assert_int_equal(ckv_endpoint_listen(&by_link, &fd), CKV_ERROR_NO_SOCKET);
    ckv_endpoint_remove(&self);
    assert_int_equal(unlink(text + 6), 0);
    assert_int_equal(unlink(link + 6), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_is_written_as_it_is_read),
        cmocka_unit_test(what_is_no_endpoint_is_refused),
        cmocka_unit_test(endpoints_are_equal_when_they_are_one_place),
        cmocka_unit_test(a_free_port_is_found_and_may_be_shared),
        cmocka_unit_test(nobody_listens_where_nobody_listens),
        cmocka_unit_test(a_unix_socket_is_taken_over_only_from_the_dead),
        cmocka_unit_test(a_file_that_is_no_socket_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
