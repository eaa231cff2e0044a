/*  A host's addresses, in turn, and the lookup that follows: node/library/host.h. That a server which
    moved is found: tests/system/test_names.py.  */
#include "node/library/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOW = 5000, WAITS = 2000 };

/*  Two addresses, of which a lookup finds that there is now another one, without any name service.  */
static struct ckv_host make_host(void)
{
    struct ckv_host self;
    assert_int_equal(ckv_host_read(&self, "tcp://127.0.0.1:5555"), CKV_OK);
    assert_int_equal(self.count, 1);
    assert_int_equal(ckv_endpoint_read(&self.all[0], "tcp://127.0.0.2:5555", false), CKV_OK);
    assert_int_equal(ckv_endpoint_read(&self.all[1], "tcp://127.0.0.3:5555", false), CKV_OK);
    self.count = 2;
    return self;
}

static void assert_address(const struct ckv_host *self, const char *expected)
{
    char text[CKV_ENDPOINT_TEXT_SIZE];
    assert_string_equal(ckv_endpoint_text(ckv_host_address(self), text), expected);
}

static void await_lookup(struct ckv_host *self)
{
    for (int i = 0; self->lookup && i < WAITS; i++) {
        usleep(1000);
        ckv_host_tick(self);
    }
    assert_null(self->lookup);
}

static void those_who_fail_together_go_on_to_the_next_address_once(void **state)
{
    (void)state;
    struct ckv_host self = make_host();
    for (int i = 0; i < 4; i++)
        ckv_host_failed(&self, 0, NOW);
    assert_address(&self, "tcp://127.0.0.3:5555");
    assert_null(self.lookup);
}

static void after_the_last_address_the_host_is_looked_up(void **state)
{
    (void)state;
    struct ckv_host self = make_host();
    ckv_host_failed(&self, 0, NOW);
    ckv_host_failed(&self, 1, NOW);
    assert_non_null(self.lookup);
    assert_address(&self, "tcp://127.0.0.2:5555"); /* meanwhile */
    await_lookup(&self);
    assert_int_equal(self.count, 1);
    assert_address(&self, "tcp://127.0.0.1:5555");
}

static void lookups_come_one_at_a_time_and_not_too_often(void **state)
{
    (void)state;
    struct ckv_host self = make_host();
    self.count = 1;
    ckv_host_failed(&self, 0, NOW);
    struct ckv_lookup *first = self.lookup;
    ckv_host_failed(&self, 0, NOW + CKV_HOST_PAUSE_MS);
    assert_ptr_equal(self.lookup, first);
    await_lookup(&self);
    ckv_host_failed(&self, 0, NOW + CKV_HOST_PAUSE_MS - 1);
    assert_null(self.lookup);
    ckv_host_failed(&self, 0, NOW + CKV_HOST_PAUSE_MS);
    assert_non_null(self.lookup);
    ckv_host_end(&self); /* while it goes on, or just after */
    assert_null(self.lookup);
}

static void a_name_that_is_known_no_more_leaves_the_addresses_as_they_were(void **state)
{
    (void)state;
    struct ckv_host self = make_host();
    self.text = "tcp://127.0.0.1:0"; /* which cannot be read */
    self.current = 1;
    ckv_host_failed(&self, 1, NOW);
    await_lookup(&self);
    assert_int_equal(self.count, 2);
    assert_address(&self, "tcp://127.0.0.2:5555");
}

static void a_unix_socket_is_never_looked_up(void **state)
{
    (void)state;
    struct ckv_host self;
    assert_int_equal(ckv_host_read(&self, "ipc:///nowhere"), CKV_OK);
    ckv_host_failed(&self, 0, NOW);
    assert_null(self.lookup);
    assert_address(&self, "ipc:///nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_fail_together_go_on_to_the_next_address_once),
        cmocka_unit_test(after_the_last_address_the_host_is_looked_up),
        cmocka_unit_test(lookups_come_one_at_a_time_and_not_too_often),
        cmocka_unit_test(a_name_that_is_known_no_more_leaves_the_addresses_as_they_were),
        cmocka_unit_test(a_unix_socket_is_never_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
