/*  Writes down conversations with a stock libzmq, as vectors for the tests (tests/data/curve) and, what
    libzmq said in them, as seeds for the fuzz targets (tests/fuzz/corpus):

        make build/release/tests/unit/capture_curve && build/release/tests/unit/capture_curve

    from the root of the sources. Not run by the tests: the transient keys of libzmq are new each time,
    ours are those of tests/unit/curve_keys.h, so what is written down can be replayed on our side.
*/
#include "tests/unit/curve_handshake.h"
#include "tests/unit/libzmq_sessions.h"
#include "tests/unit/vectors.h"

#define CORPUS "tests/fuzz/corpus/"

struct capture {
    FILE *vectors;
    FILE *curve; /* frames, for the target of the side that we are */
    FILE *zmtp;  /* greeting and frames */
};

static FILE *create(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    return file;
}

static void begin_capture(struct capture *self, const char *name, const char *target,
                          const char *seed, const char *what)
{
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    self->vectors = create(VECTORS, name);
    self->curve = create(target, seed);
    self->zmtp = create(CORPUS "zmtp/", seed);
    fprintf(self->vectors,
            "# %s libzmq %d.%d.%d, in the order of the wire; by tests/unit/capture_curve.c.\n"
            "# Our side has the keys of tests/unit/curve_keys.h.\n",
            what, major, minor, patch);
}

static void end_capture(struct capture *self)
{
    fclose(self->vectors);
    fclose(self->curve);
    fclose(self->zmtp);
}

static void write_vector(FILE *file, const char *name, struct ckv_octets octets)
{
    fprintf(file, "%s\n", name);
    for (size_t i = 0; i < octets.size; i++)
        fprintf(file, "%s%02x%s", i % 32 == 0 ? "    " : "", octets.data[i],
                i % 32 == 31 || i + 1 == octets.size ? "\n" : "");
}

static void write_frame(FILE *file, uint8_t flags, const void *body, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    fwrite(header, 1, ckv_zmtp_header_write(header, flags, size), file);
    fwrite(body, 1, size, file);
}

static void write_down(void *to, bool theirs, const char *name, struct ckv_octets octets)
{
    struct capture *self = to;
    uint8_t flags = strncmp(name, "message", 7) == 0 ? 0 : CKV_ZMTP_COMMAND;
    write_vector(self->vectors, name, octets);
    if (!theirs)
        return;
    if (strcmp(name, "greeting") == 0) {
        fwrite(octets.data, 1, octets.size, self->zmtp);
        return;
    }
    write_frame(self->curve, flags, octets.data, octets.size);
    write_frame(self->zmtp, flags, octets.data, octets.size);
}

/*  No libzmq sends a modified HELLO: our client does, to our server.  */
static void write_modified_client(void)
{
    static struct handshake h;
    uint8_t message[CKV_CURVE_MESSAGE_OVERHEAD] = { 0 };
    FILE *file = create(CORPUS "curve_server/", "modified_hello");
    begin(&h);
    h.identity.storage_key = ckv_octets_text(FIXED_STORAGE_KEY);
    h.identity.hello_key = h.hello_key;
    assert_int_equal(start(&h), CKV_OK);
    assert_int_equal(welcome_hello(&h, &h.hello), CKV_OK);
    assert_int_equal(answer_welcome(&h, &h.welcome, sizeof(h.welcome)), CKV_OK);
    assert_int_equal(open_initiate(&h, h.initiate, INITIATE_SIZE), CKV_OK);
    write_frame(file, CKV_ZMTP_COMMAND, &h.hello, sizeof(h.hello));
    write_frame(file, CKV_ZMTP_COMMAND, h.initiate, INITIATE_SIZE);
    assert_int_equal(ckv_curve_server_ready(&h.server, metadata_octets(), h.ready), CKV_OK);
    assert_int_equal(open_ready(&h, h.ready, READY_SIZE), CKV_OK);
    assert_int_equal(ckv_curve_message_seal(&h.client.session, 0, message, 0), CKV_OK);
    write_frame(file, 0, message, sizeof(message));
    fclose(file);
}

static void capture(void **state)
{
    (void)state;
    struct capture self;
    begin_capture(&self, "libzmq_client.txt", CORPUS "curve_server/", "libzmq_dealer",
                  "Our server and a client of");
    serve_libzmq_client(write_down, &self);
    end_capture(&self);
    begin_capture(&self, "libzmq_server.txt", CORPUS "curve_client/", "libzmq_router",
                  "Our client, with a stock HELLO, and a server of");
    call_libzmq_server(false, write_down, &self);
    end_capture(&self);
    begin_capture(&self, "libzmq_server_modified.txt", CORPUS "curve_client/",
                  "libzmq_router_modified", "Our client, with a modified HELLO, and a server of");
    call_libzmq_server(true, write_down, &self);
    end_capture(&self);
    write_modified_client();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(capture) };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
