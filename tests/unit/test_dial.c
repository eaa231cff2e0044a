/*  The way to a server: node/library/dial.h.  */
#include "node/library/dial.h"
#include "node/library/endpoint.h"
#include "node/library/wire.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int dial(const char *text, int timeout_ms)
{
    int fd;
    int rc = ckv_dial(text, ckv_wire_deadline(timeout_ms), &fd);
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
    assert_int_equal(dial("tcp://127.0.0.1", 5000), CKV_ERROR_ENDPOINT);
    assert_int_equal(dial("tcp://no-such-host.invalid:5555", 5000), CKV_ERROR_NO_ADDRESS);
}

/*  Nobody takes a connection from the queue of the listener, and it is full.  */
static void a_full_unix_socket_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    struct ckv_endpoint endpoint;
    int fds[2];
    char text[64];
    snprintf(text, sizeof(text), "ipc://@ckv-endpoint-%d", (int)getpid());
    assert_int_equal(ckv_endpoint_read(&endpoint, text, true), CKV_OK);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&endpoint.address, endpoint.size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(ckv_dial(text, ckv_wire_deadline(1000), &fds[0]), CKV_OK);
    assert_int_equal(dial(text, 50), CKV_ERROR_TIMEOUT);
    close(accept(listener, NULL, NULL));
    assert_int_equal(ckv_dial(text, ckv_wire_deadline(1000), &fds[1]), CKV_OK);
    close(fds[0]);
    close(fds[1]);
    close(listener);
    assert_int_equal(dial(text, 1000), CKV_ERROR_NO_SERVER);
    assert_int_equal(dial("ipc:///no/such/directory/sock", 1000), CKV_ERROR_NO_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_reached_by_name_and_by_address),
        cmocka_unit_test(a_full_unix_socket_is_waited_for_until_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
