/*  Endpoints as text, and the way there: node/endpoint.h.  */
#include "node/endpoint.h"
#include "node/wire.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int read_text(const char *text)
{
    struct ckv_endpoint endpoint;
    return ckv_endpoint_read(&endpoint, text);
}

static void a_tcp_endpoint_has_a_host_and_a_port(void **state)
{
    (void)state;
    static const char *const good[][3] = {
        { "tcp://server.example.org:5555", "server.example.org", "5555" },
        { "tcp://127.0.0.1:1", "127.0.0.1", "1" },
        { "tcp://[::1]:65535", "::1", "65535" },
        { "tcp://[fe80::1%eth0]:80", "fe80::1%eth0", "80" },
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ckv_endpoint endpoint;
        assert_int_equal(ckv_endpoint_read(&endpoint, good[i][0]), CKV_OK);
        assert_false(endpoint.is_ipc);
        assert_string_equal(endpoint.host, good[i][1]);
        assert_string_equal(endpoint.port, good[i][2]);
    }
}

static void what_is_no_endpoint_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "host:5555",
        "udp://host:5555",
        "TCP://host:5555",
        "tcp://",
        "tcp://host",
        "tcp://:5555",
        "tcp://host:",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:123456",
        "tcp://host:+1",
        "tcp://host:*",
        "tcp://host:http",
        "tcp://::1:5555",
        "tcp://[]:5555",
        "tcp://eth0;host:5555",
        "tcp://host/path:5555",
        "ipc://",
        "ipc://@",
        "inproc://name",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (read_text(bad[i]) != CKV_ERROR_ENDPOINT)
            fail_msg("%s", bad[i]);
}

static void names_and_paths_are_bounded(void **state)
{
    (void)state;
    char text[400];
    for (int size = 250; size < 260; size++) {
        snprintf(text, sizeof(text), "tcp://%0*d:5555", size, 0);
        assert_int_equal(read_text(text), size <= CKV_HOST_MAX ? CKV_OK : CKV_ERROR_ENDPOINT);
    }
    for (int size = 100; size < 120; size++) {
        snprintf(text, sizeof(text), "ipc://%0*d", size, 0);
        assert_int_equal(read_text(text), size <= 107 ? CKV_OK : CKV_ERROR_ENDPOINT);
    }
}

static void an_ipc_endpoint_is_a_path_or_an_abstract_name(void **state)
{
    (void)state;
    struct ckv_endpoint endpoint;
    assert_int_equal(ckv_endpoint_read(&endpoint, "ipc:///run/acme.sock"), CKV_OK);
    assert_true(endpoint.is_ipc);
    assert_string_equal(endpoint.path.sun_path, "/run/acme.sock");
    assert_int_equal(endpoint.path_size, offsetof(struct sockaddr_un, sun_path) + 15);
    assert_int_equal(ckv_endpoint_read(&endpoint, "ipc://@acme"), CKV_OK);
    assert_memory_equal(endpoint.path.sun_path, "\0acme", 5);
    assert_int_equal(endpoint.path_size, offsetof(struct sockaddr_un, sun_path) + 5);
}

static int dial(const char *text, int timeout_ms)
{
    struct ckv_endpoint endpoint;
    int fd;
    assert_int_equal(ckv_endpoint_read(&endpoint, text), CKV_OK);
    int rc = ckv_endpoint_dial(&endpoint, ckv_wire_deadline(timeout_ms), &fd);
    if (rc == CKV_OK)
        close(fd);
    return rc;
}

static void a_host_is_reached_by_name_and_by_address(void **state)
{
    (void)state;
    char text[64];
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    /*  "localhost" may be ::1 first, where nobody listens.  */
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "tcp://%s:%d", hosts[i], ntohs(address.sin_port));
        assert_int_equal(dial(text, 5000), CKV_OK);
    }
    close(listener);
    assert_int_equal(dial(text, 5000), CKV_ERROR_NO_SERVER);
    assert_int_equal(dial("tcp://no-such-host.invalid:5555", 5000), CKV_ERROR_HOST);
}

/*  Nobody takes a connection from the queue of the listener, and it is full.  */
static void a_full_unix_socket_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    struct ckv_endpoint endpoint;
    int fds[2];
    char text[64];
    snprintf(text, sizeof(text), "ipc://@ckv-endpoint-%d", (int)getpid());
    assert_int_equal(ckv_endpoint_read(&endpoint, text), CKV_OK);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&endpoint.path, endpoint.path_size),
                     0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(ckv_endpoint_dial(&endpoint, ckv_wire_deadline(1000), &fds[0]), CKV_OK);
    assert_int_equal(dial(text, 50), CKV_ERROR_TIMEOUT);
    close(accept(listener, NULL, NULL));
    assert_int_equal(ckv_endpoint_dial(&endpoint, ckv_wire_deadline(1000), &fds[1]), CKV_OK);
    close(fds[0]);
    close(fds[1]);
    close(listener);
    assert_int_equal(dial(text, 1000), CKV_ERROR_NO_SERVER);
    assert_int_equal(dial("ipc:///no/such/directory/sock", 1000), CKV_ERROR_NO_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tcp_endpoint_has_a_host_and_a_port),
        cmocka_unit_test(what_is_no_endpoint_is_refused),
        cmocka_unit_test(names_and_paths_are_bounded),
        cmocka_unit_test(an_ipc_endpoint_is_a_path_or_an_abstract_name),
        cmocka_unit_test(a_host_is_reached_by_name_and_by_address),
        cmocka_unit_test(a_full_unix_socket_is_waited_for_until_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
