/*  curve_stream: what the fuzz targets of CURVE share. Keys and randomness are those of the tests
    (tests/unit/curve_keys.h), so that recorded conversations are good seeds.

    Input is the stream of frames that libzmq sends after its greeting; or, after an octet that begins no
    frame, what only a peer with the right keys can send: what is inside the boxes.
*/
#ifndef CKV_FUZZ_CURVE_STREAM_H
#define CKV_FUZZ_CURVE_STREAM_H

#include "core/curve.h"
#include "core/zmtp.h"
#include "tests/unit/curve_keys.h"

#include <stdbool.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INSIDE = 0xff, STREAM_BOUND = 65536 };

static struct fixed_pair client_keys, server_keys;
static uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE], hello_key[CKV_HELLO_KEY_SIZE];

static void require(bool promise)
{
    if (!promise)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(sodium_init() >= 0);
    client_keys = fixed_pair(FIRST_OF_CLIENT);
    server_keys = fixed_pair(FIRST_OF_SERVER);
    fill(cookie_key, sizeof(cookie_key), FIRST_OF_COOKIE);
    fill(hello_key, sizeof(hello_key), FIRST_OF_HELLO);
    return 0;
}

static void require_within(struct ckv_octets part, const uint8_t *whole, size_t size)
{
    require(part.data >= whole && part.size <= size && part.data + part.size <= whole + size);
}

/*  The next frame's body, in memory of its own that the caller frees and changes in place. False when
    there is none.  */
static bool next_command(struct ckv_octets *input, uint8_t **command, size_t *size)
{
    struct ckv_zmtp_frame frame;
    if (ckv_zmtp_frame_next(input, STREAM_BOUND, &frame) != 1)
        return false;
    *size = frame.size;
    *command = malloc(frame.size + !frame.size);
    require(*command != NULL);
    if (frame.size)
        memcpy(*command, frame.body.data, frame.size);
    return true;
}

/*  Whatever comes as messages; the session dies of the first bad one.  */
static inline void take_messages(struct ckv_curve_session *session, struct ckv_octets *input)
{
    uint8_t *command, flags;
    size_t size;
    struct ckv_octets body;
    while (next_command(input, &command, &size)) {
        int rc = ckv_curve_message_open(session, command, size, &flags, &body);
        if (rc == CKV_OK) {
            require_within(body, command, size);
            require(flags == 0 || flags == CKV_ZMTP_MORE || flags == CKV_ZMTP_COMMAND);
        } else {
            require(rc == CKV_ERROR_CURVE || rc == CKV_ERROR_CURVE_BOX ||
                    rc == CKV_ERROR_CURVE_NONCE);
            require(sodium_is_zero(session->key, sizeof(session->key)));
        }
        free(command);
    }
}

/*  A peer with FROM's keys seals INPUT as a message, its first octet as flags.  */
static inline void open_sealed(struct ckv_curve_session *from, struct ckv_curve_session *to,
                               struct ckv_octets input)
{
    uint8_t nonce[24] = "CurveZMQMESSAGEC", flags;
    size_t size = CKV_CURVE_MESSAGE_OVERHEAD - 1 + input.size;
    struct ckv_octets body;
    if (input.size < 1)
        return;
    uint8_t *command = malloc(size);
    require(command != NULL);
    struct ckv_curve_message *message = (struct ckv_curve_message *)command;
    memcpy(message->command, "\7MESSAGE", 8);
    ckv_put64(message->nonce, ++from->nonce);
    nonce[15] = from->as_server ? 'S' : 'C';
    memcpy(nonce + 16, message->nonce, 8);
    crypto_box_detached_afternm(&message->flags, message->mac, input.data, input.size, nonce,
                                from->key);
    int rc = ckv_curve_message_open(to, command, size, &flags, &body);
    require(rc == (input.data[0] <= 2 ? CKV_OK : CKV_ERROR_CURVE));
    if (rc == CKV_OK)
        require(ckv_octets_equal(body, ckv_octets(input.data + 1, input.size - 1)));
    free(command);
}

/*  METADATA are properties to the parser and to this.  */
static inline bool are_properties(struct ckv_octets metadata)
{
    while (metadata.size > 0) {
        size_t name = metadata.data[0];
        if (name == 0 || metadata.size < 5 + name)
            return false;
        uint64_t whole = 5 + name + ckv_get32(metadata.data + 1 + name);
        if (metadata.size < whole)
            return false;
        metadata = ckv_octets(metadata.data + whole, metadata.size - (size_t)whole);
    }
    return true;
}

#endif
