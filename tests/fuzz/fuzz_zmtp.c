/*  ZMTP on the wire: a greeting, if there is one, and the frames behind it. Whatever comes, what is
    read lies within the octets that came, is bounded, and goes back to the same octets.  */
#include "core/zmtp.h"

#include <stdbool.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BOUND = 4096 };

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void require_within(struct ckv_octets part, struct ckv_octets whole)
{
    require(part.size == 0 || (part.data >= whole.data && part.size <= whole.size &&
                               part.data + part.size <= whole.data + whole.size));
}

static void take_greeting(struct ckv_octets *input)
{
    struct ckv_octets before = *input;
    struct ckv_zmtp_greeting greeting;
    struct ckv_zmtp_greeting_octets again;
    int rc = ckv_zmtp_greeting_next(input, &greeting);
    if (rc != 1) {
        require(rc == CKV_ERROR_ZMTP || (rc == 0 && before.size < CKV_ZMTP_GREETING_SIZE));
        require(input->size == before.size);
        return;
    }
    require(input->size == before.size - CKV_ZMTP_GREETING_SIZE && greeting.minor <= 1);
    ckv_zmtp_greeting_write(&again, greeting.mechanism, greeting.as_server);
    require(memcmp(again.mechanism, before.data + 12, CKV_ZMTP_MECHANISM_SIZE + 1) == 0);
}

static void put_subscription_again(const struct ckv_zmtp_frame *frame,
                                   const struct ckv_zmtp_subscription *subscription)
{
    static uint8_t buffer[CKV_ZMTP_HEADER_MAX + BOUND];
    size_t size = 0;
    uint8_t minor = frame->flags & CKV_ZMTP_COMMAND ? 1 : 0;
    require(ckv_zmtp_subscription_put(buffer, sizeof(buffer), &size, minor, subscription) ==
            CKV_OK);
    require(size >= frame->size);
    require(memcmp(buffer + size - frame->size, frame->body.data, frame->size) == 0);
}

static void take_command(struct ckv_octets body)
{
    struct ckv_zmtp_command command;
    struct ckv_zmtp_ping ping;
    struct ckv_octets reason;
    if (ckv_zmtp_command_parse(body, &command) != CKV_OK)
        return;
    require_within(command.name, body);
    require_within(command.data, body);
    require(1 + command.name.size + command.data.size == body.size);
    if (ckv_zmtp_ping_parse(command.data, &ping) == CKV_OK)
        require(ping.context.size <= CKV_ZMTP_PING_CONTEXT_MAX);
    if (ckv_zmtp_error_parse(command.data, &reason) == CKV_OK)
        require(reason.size + 1 == command.data.size);
}

static void take_frame(const struct ckv_zmtp_frame *frame, struct ckv_octets before)
{
    struct ckv_zmtp_subscription subscription;
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    require_within(frame->body, before);
    require(frame->size <= BOUND && frame->body.size == frame->size);
    require(ckv_zmtp_header_write(header, frame->flags, frame->size) <= frame->header_size);
    if (frame->flags & CKV_ZMTP_COMMAND)
        take_command(frame->body);
    if (ckv_zmtp_subscription_parse(frame->flags, frame->body, &subscription) == 1)
        put_subscription_again(frame, &subscription);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets input = ckv_octets(data, size), before;
    struct ckv_zmtp_frame frame;
    int rc;
    take_greeting(&input);
    for (before = input; (rc = ckv_zmtp_frame_next(&input, BOUND, &frame)) == 1; before = input)
        take_frame(&frame, before);
    require(rc == 0 || rc == CKV_ERROR_ZMTP || rc == CKV_ERROR_FRAME_SIZE);
    require(input.size == before.size);
    if (rc == 0 && frame.header_size)
        require(input.size < frame.header_size + frame.size);
    return 0;
}
