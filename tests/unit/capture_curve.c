/*  Writes down conversations with a stock libzmq, for tests and as seeds for the fuzz targets:

        make build/release/tests/unit/capture_curve && build/release/tests/unit/capture_curve

    from the root of the sources. Not run by the tests: the transient keys of libzmq are new each time,
    ours are those of tests/unit/curve_keys.h, so what is written down can be replayed on our side.
*/
#include "tests/unit/libzmq_sessions.h"
#include "tests/unit/vectors.h"

static void write_vector(void *to, const char *name, struct ckv_octets octets)
{
    FILE *file = to;
    fprintf(file, "%s\n", name);
    for (size_t i = 0; i < octets.size; i++)
        fprintf(file, "%s%02x%s", i % 32 == 0 ? "    " : "", octets.data[i],
                i % 32 == 31 || i + 1 == octets.size ? "\n" : "");
}

static FILE *open_vectors(const char *name, const char *what)
{
    char path[256];
    int major, minor, patch;
    snprintf(path, sizeof(path), VECTORS "%s", name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    zmq_version(&major, &minor, &patch);
    fprintf(file,
            "# %s libzmq %d.%d.%d, in the order of the wire; by tests/unit/capture_curve.c.\n",
            what, major, minor, patch);
    fprintf(file, "# Our side has the keys of tests/unit/curve_keys.h.\n");
    return file;
}

static void capture(void **state)
{
    (void)state;
    FILE *file = open_vectors("libzmq_client.txt", "Our server and a client of");
    serve_libzmq_client(write_vector, file);
    fclose(file);
    file = open_vectors("libzmq_server.txt", "Our client, with a stock HELLO, and a server of");
    call_libzmq_server(false, write_vector, file);
    fclose(file);
    file = open_vectors("libzmq_server_modified.txt",
                        "Our client, with a modified HELLO, and a server of");
    call_libzmq_server(true, write_vector, file);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(capture) };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
