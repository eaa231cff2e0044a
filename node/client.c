#include "node/client.h"
#include "node/datadir.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

struct ckv_client {
    void *context, *dealer;
    char dir[CKV_PATH_MAX];
    int timeout_ms;
};

/*  How often a client that waits looks whether the node is still there.  */
enum { LOOK_MS = 250 };

int ckv_client_new(struct ckv_client **self_p, const char *dir, int timeout_ms)
{
    char endpoint[CKV_PATH_MAX];
    *self_p = NULL;
    int rc = ckv_datadir_admin_endpoint(dir, endpoint);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_datadir_is_running(dir);
    if (rc <= 0)
        return rc == CKV_ERROR_PERMISSION ? rc : CKV_ERROR_NOT_REACHABLE;
    struct ckv_client *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    snprintf(self->dir, sizeof(self->dir), "%s", dir);
    self->timeout_ms = timeout_ms;
    self->context = zmq_ctx_new();
    self->dealer = self->context ? zmq_socket(self->context, ZMQ_DEALER) : NULL;
    int linger = 0, unbounded = 0;
    if (self->dealer && zmq_setsockopt(self->dealer, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
        zmq_setsockopt(self->dealer, ZMQ_RCVHWM, &unbounded, sizeof(unbounded)) == 0 &&
        zmq_setsockopt(self->dealer, ZMQ_SNDTIMEO, &timeout_ms, sizeof(timeout_ms)) == 0 &&
        zmq_connect(self->dealer, endpoint) == 0)
        return CKV_OK;
    ckv_client_destroy(self_p);
    return CKV_ERROR_NOT_REACHABLE;
}

void ckv_client_destroy(struct ckv_client **self_p)
{
    struct ckv_client *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->dealer)
        zmq_close(self->dealer);
    if (self->context)
        zmq_ctx_term(self->context);
    free(self);
}

int ckv_client_send(struct ckv_client *self, json_t *request, struct ckv_octets entries)
{
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (!text)
        return CKV_ERROR_MEMORY;
    int sent = zmq_send(self->dealer, text, strlen(text), entries.size ? ZMQ_SNDMORE : 0);
    if (sent >= 0 && entries.size)
        sent = zmq_send(self->dealer, entries.data, entries.size, 0);
    free(text);
    return sent < 0 ? CKV_ERROR_TIMEOUT : CKV_OK;
}

static int wait_for_reply(struct ckv_client *self)
{
    zmq_pollitem_t item = { .socket = self->dealer, .events = ZMQ_POLLIN };
    for (int waited = 0; waited < self->timeout_ms; waited += LOOK_MS) {
        if (zmq_poll(&item, 1, LOOK_MS) > 0)
            return CKV_OK;
        if (ckv_datadir_is_running(self->dir) != 1)
            return CKV_ERROR_NOT_REACHABLE;
    }
    return CKV_ERROR_TIMEOUT;
}

/*  The number of the error called NAME.  */
static int error_of(const char *name)
{
    enum { LOWEST = -1000 };
    for (int error = -1; error > LOWEST; error--)
        if (strcmp(ckv_error_name(error), name) == 0)
            return error;
    return CKV_ERROR_REQUEST;
}

static int read_json(struct ckv_reply *reply, zmq_msg_t *frame)
{
    reply->json = json_loadb(zmq_msg_data(frame), zmq_msg_size(frame), 0, NULL);
    if (!json_is_object(reply->json))
        return CKV_ERROR_REQUEST;
    const char *error = json_string_value(json_object_get(reply->json, "error"));
    reply->id = json_integer_value(json_object_get(reply->json, "id"));
    reply->error = error ? error_of(error) : CKV_OK;
    return CKV_OK;
}

int ckv_client_receive(struct ckv_client *self, struct ckv_reply *reply)
{
    zmq_msg_t head;
    zmq_msg_t *frames[] = { &head, &reply->record, &reply->secrets };
    reply->json = NULL;
    reply->error = CKV_OK;
    reply->id = 0;
    zmq_msg_init(&head);
    zmq_msg_init(&reply->record);
    zmq_msg_init(&reply->secrets);
    int rc = wait_for_reply(self);
    for (int i = 0; rc == CKV_OK && i < 3; i++) {
        if (zmq_msg_recv(frames[i], self->dealer, 0) < 0)
            rc = CKV_ERROR_NOT_REACHABLE;
        else if (!zmq_msg_more(frames[i]))
            break;
    }
    if (rc == CKV_OK)
        rc = read_json(reply, &head);
    zmq_msg_close(&head);
    return rc;
}

int ckv_client_call(struct ckv_client *self, json_t *request, struct ckv_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    zmq_msg_init(&reply->record);
    zmq_msg_init(&reply->secrets);
    int rc = ckv_client_send(self, request, ckv_octets(NULL, 0));
    if (rc == CKV_OK)
        rc = ckv_client_receive(self, reply);
    return rc == CKV_OK ? reply->error : rc;
}

void ckv_reply_clear(struct ckv_reply *self)
{
    json_decref(self->json);
    self->json = NULL;
    sodium_memzero(zmq_msg_data(&self->secrets), zmq_msg_size(&self->secrets));
    zmq_msg_close(&self->record);
    zmq_msg_close(&self->secrets);
}

struct ckv_octets ckv_reply_record(struct ckv_reply *self)
{
    return ckv_octets(zmq_msg_data(&self->record), zmq_msg_size(&self->record));
}

struct ckv_octets ckv_reply_secrets(struct ckv_reply *self)
{
    return ckv_octets(zmq_msg_data(&self->secrets), zmq_msg_size(&self->secrets));
}
