#include "node/replies.h"
#include "kv/log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/*  What a frame is sent from.  */
struct parcel {
    atomic_size_t *client;
    size_t size;
    uint8_t octets[];
};

/*  Called by libzmq when a frame has gone out, on a thread of its own.  */
static void wipe_and_free(void *data, void *argument)
{
    struct parcel *parcel = argument;
    sodium_memzero(data, parcel->size);
    atomic_fetch_sub(parcel->client, sizeof(*parcel) + parcel->size);
    free(parcel);
}

static int fill_frame(const struct ckv_replies *self, zmq_msg_t *frame, const void *data,
                      size_t size)
{
    struct parcel *parcel = malloc(sizeof(*parcel) + size);
    if (!parcel)
        return -1;
    parcel->client = self->client;
    parcel->size = size;
    if (size)
        memcpy(parcel->octets, data, size);
    if (zmq_msg_init_data(frame, parcel->octets, size, wipe_and_free, parcel) != 0) {
        free(parcel);
        return -1;
    }
    atomic_fetch_add(self->client, sizeof(*parcel) + size);
    return 0;
}

void ckv_replies_frame(struct ckv_replies *self, const void *data, size_t size, bool more)
{
    zmq_msg_t frame;
    if (self->drops)
        return;
    if (fill_frame(self, &frame, data, size) != 0)
        zmq_msg_init(&frame); /* an empty one, so that the reply ends where it should */
    if (zmq_msg_send(&frame, self->router, more ? ZMQ_SNDMORE : 0) < 0)
        zmq_msg_close(&frame); /* the client is gone */
}

/*  The counter of a client: FNV-1a of its routing id.  */
static atomic_size_t *counter_of(struct ckv_replies *self, zmq_msg_t *client)
{
    const uint8_t *id = zmq_msg_data(client);
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < zmq_msg_size(client); i++)
        hash = (hash ^ id[i]) * 16777619U;
    return &self->waiting[hash % CKV_REPLIES_CLIENTS];
}

static bool is_beyond(struct ckv_replies *self)
{
    bool beyond = atomic_load(self->client) > CKV_REPLIES_WAITING_MAX;
    if (beyond && !self->warned)
        ckv_log(CKV_LOG_WARNING, "a client of the admin service asks and does not read; replies to "
                                 "it are dropped");
    self->warned = beyond;
    return beyond;
}

void ckv_replies_begin(struct ckv_replies *self, zmq_msg_t *client, json_t *head, bool more)
{
    zmq_msg_t address;
    self->client = counter_of(self, client);
    self->drops = is_beyond(self);
    if (!self->drops) {
        char *text = json_dumps(head, JSON_COMPACT);
        zmq_msg_init(&address);
        zmq_msg_copy(&address, client);
        if (zmq_msg_send(&address, self->router, ZMQ_SNDMORE) < 0)
            zmq_msg_close(&address);
        ckv_replies_frame(self, text ? text : "", text ? strlen(text) : 0, more);
        free(text);
    }
    json_decref(head);
}
