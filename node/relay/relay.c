#include "node/relay/relay.h"

#include "core/properties.h"
#include <stdlib.h>

/*  What is sealed needs this much room in front of its body, and a header.  */
_Static_assert(CKV_CURVE_MESSAGE_OVERHEAD + CKV_ZMTP_HEADER_MAX <= CKV_STREAM_HEADROOM,
               "a frame is sealed where it lies");

bool ckv_relay_subscribes(struct ckv_octets metadata)
{
    struct ckv_octets type;
    return ckv_properties_get(metadata, "Socket-Type", &type) == 1 &&
           (ckv_octets_equal(type, ckv_octets_text("SUB")) ||
            ckv_octets_equal(type, ckv_octets_text("XSUB")));
}

void ckv_relay_begin(struct ckv_relay *self, size_t max)
{
    ckv_stream_bound(&self->outer, CKV_RELAY_OUTER_MAX(max));
    ckv_stream_bound(&self->inner, max);
    ckv_stream_pair(&self->outer, &self->inner);
}

/*  Puts a frame whose BODY has room for a header in front.  */
static int put_frame(struct ckv_stream *stream, uint8_t flags, uint8_t *body, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, flags, size);
    memcpy(body - header_size, header, header_size);
    return ckv_stream_put(stream, body - header_size, header_size + size);
}

static int seal_frame(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size)
{
    uint8_t *message = body - CKV_CURVE_MESSAGE_OVERHEAD;
    int rc = ckv_curve_message_seal(self->session, flags, message, size);
    if (rc != CKV_OK)
        return rc;
    return put_frame(&self->outer, 0, message, CKV_CURVE_MESSAGE_OVERHEAD + size);
}

static int put_plain(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size)
{
    return put_frame(&self->inner, flags, body, size);
}

typedef int pass_on(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size);

/*  Passes on a subscription as a peer of version 3.MINOR writes it.  */
static int translate(struct ckv_relay *self, uint8_t minor, pass_on *pass,
                     const struct ckv_zmtp_subscription *subscription)
{
    enum { FRAME_AROUND_TOPIC = 32 };
    size_t capacity = subscription->topic.size + FRAME_AROUND_TOPIC, size = 0;
    uint8_t *buffer = malloc(CKV_STREAM_HEADROOM + capacity);
    struct ckv_zmtp_frame frame = { 0 };
    if (!buffer)
        return CKV_ERROR_MEMORY;
    uint8_t *octets = buffer + CKV_STREAM_HEADROOM;
    int rc = ckv_zmtp_subscription_put(octets, capacity, &size, minor, subscription);
    struct ckv_octets input = ckv_octets(octets, size);
    if (rc == CKV_OK)
        rc = ckv_zmtp_frame_next(&input, size, &frame);
    if (rc == 1)
        rc = pass(self, frame.flags, octets + frame.header_size, frame.size);
    free(buffer);
    return rc;
}

/*  Of another socket than a SUB or XSUB, what looks like a subscription of 3.0 is a message.  */
static int relay(struct ckv_relay *self, bool subscribes, uint8_t minor, pass_on *pass,
                 uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_zmtp_subscription subscription;
    if (subscribes && self->outer_minor != self->inner_minor &&
        ckv_zmtp_subscription_parse(flags, ckv_octets(body, size), &subscription) == 1)
        return translate(self, minor, pass, &subscription);
    return pass(self, flags, body, size);
}

int ckv_relay_open(struct ckv_relay *self, uint8_t *flags, uint8_t *body, size_t size,
                   struct ckv_octets *opened)
{
    if (*flags & CKV_ZMTP_MORE)
        return CKV_ERROR_CURVE;
    int rc = ckv_curve_message_open(self->session, body, size, flags, opened);
    if (rc != CKV_OK)
        return rc;
    ckv_count_add(&self->counts->frames_in, 1);
    ckv_count_add(&self->counts->octets_in, opened->size);
    return CKV_OK;
}

int ckv_relay_inwards(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_octets opened;
    int rc = ckv_relay_open(self, &flags, body, size, &opened);
    if (rc != CKV_OK)
        return rc;
    return relay(self, self->outer_subscribes, self->inner_minor, put_plain, flags,
                 body + CKV_CURVE_MESSAGE_OVERHEAD, opened.size);
}

int ckv_relay_outwards(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size)
{
    ckv_count_add(&self->counts->frames_out, 1);
    ckv_count_add(&self->counts->octets_out, size);
    return relay(self, self->inner_subscribes, self->outer_minor, seal_frame, flags, body, size);
}
