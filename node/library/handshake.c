#include "node/library/handshake.h"
#include "kv/clock.h"

#include <sodium.h>

static int put_command(struct ckv_wire *wire, const void *command, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, CKV_ZMTP_COMMAND, size);
    int rc = ckv_buffer_add(&wire->out, ckv_octets(header, header_size));
    return rc == CKV_OK ? ckv_buffer_add(&wire->out, ckv_octets(command, size)) : rc;
}

/*  Our greeting goes in two parts, the second together with the HELLO, so that costs no time: a libzmq
    that has another mechanism closes when it has heard ours, and would not have named its own.  */
static int greet(struct ckv_wire *wire, uint64_t deadline, uint8_t *minor)
{
    enum { FIRST = CKV_ZMTP_GREETING_FIRST };
    struct ckv_zmtp_greeting_octets ours;
    struct ckv_zmtp_greeting theirs;
    ckv_zmtp_greeting_write(&ours, "CURVE", false);
    int rc = ckv_buffer_add(&wire->out, ckv_octets(&ours, FIRST));
    if (rc == CKV_OK)
        rc = ckv_wire_greeting(wire, &theirs, deadline);
    if (rc == CKV_OK && strcmp(theirs.mechanism, "CURVE") != 0)
        rc = CKV_ERROR_MECHANISM;
    if (rc != CKV_OK)
        return rc;
    *minor = theirs.minor;
    return ckv_buffer_add(&wire->out,
                          ckv_octets((const uint8_t *)&ours + FIRST, sizeof(ours) - FIRST));
}

static int send_hello(struct ckv_wire *wire, struct ckv_curve_client *curve,
                      const struct ckv_curve_identity *identity)
{
    struct ckv_hello_octets hello;
    uint8_t transient_secret[32];
    randombytes_buf(transient_secret, sizeof(transient_secret));
    int rc = ckv_curve_client_start(curve, identity, ckv_clock_wall(), transient_secret, &hello);
    return rc == CKV_OK ? put_command(wire, &hello, sizeof(hello)) : rc;
}

static int answer_welcome(struct ckv_wire *wire, struct ckv_curve_client *curve,
                          const struct ckv_curve_identity *identity, struct ckv_octets metadata,
                          uint64_t deadline)
{
    uint8_t initiate[CKV_CURVE_INITIATE_MAX], vouch_nonce[16], *welcome;
    size_t size;
    int rc = ckv_wire_await(wire, CKV_CURVE_WELCOME_BOUND, &welcome, &size, deadline);
    if (rc != CKV_OK)
        return rc;
    randombytes_buf(vouch_nonce, sizeof(vouch_nonce));
    rc = ckv_curve_client_initiate(curve, identity, welcome, size, metadata, vouch_nonce, initiate);
    if (rc == CKV_OK)
        rc = put_command(wire, initiate, CKV_CURVE_INITIATE_OVERHEAD + metadata.size);
    return rc;
}

static int take_ready(struct ckv_wire *wire, struct ckv_curve_client *curve, uint64_t deadline,
                      struct ckv_octets *theirs)
{
    uint8_t *ready;
    size_t size;
    int rc = ckv_wire_await(wire, CKV_CURVE_READY_BOUND, &ready, &size, deadline);
    return rc == CKV_OK ? ckv_curve_client_ready(curve, ready, size, theirs) : rc;
}

int ckv_handshake(struct ckv_wire *wire, struct ckv_curve_client *curve,
                  const struct ckv_curve_identity *identity, struct ckv_octets metadata,
                  uint64_t deadline, uint8_t *minor, struct ckv_octets *theirs)
{
    int rc = greet(wire, deadline, minor);
    if (rc == CKV_OK)
        rc = send_hello(wire, curve, identity);
    if (rc == CKV_OK)
        rc = answer_welcome(wire, curve, identity, metadata, deadline);
    if (rc == CKV_OK)
        rc = take_ready(wire, curve, deadline, theirs);
    return rc == CKV_ERROR_CLOSED ? CKV_ERROR_HANDSHAKE : rc;
}
