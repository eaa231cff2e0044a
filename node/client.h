/*  client: the other side of the admin service, as the commands use it.  */
#ifndef CKV_CLIENT_H
#define CKV_CLIENT_H

#include "core/error.h"
#include "core/octets.h"
#include <jansson.h>
#include <stdbool.h>
#include <zmq.h>

struct ckv_client;

struct ckv_reply {
    json_t *json; /* owned */
    int error;    /* CKV_OK, or what the node refused with */
    int64_t id;
    zmq_msg_t record, secrets; /* empty when the reply has none; wiped when cleared */
};

/*  Connects to the node that runs in DIR. Replies are waited for TIMEOUT_MS. Returns
    CKV_ERROR_NOT_REACHABLE when none runs there, CKV_ERROR_PERMISSION, CKV_ERROR_PATH (path too
    long), CKV_ERROR_MEMORY.  */
int ckv_client_new(struct ckv_client **self_p, const char *dir, int timeout_ms);
void ckv_client_destroy(struct ckv_client **self_p);

/*  Sends REQUEST, whose reference it takes, with ENTRIES behind it if there are any. Returns
    CKV_ERROR_TIMEOUT when the node does not take it.  */
int ckv_client_send(struct ckv_client *self, json_t *request, struct ckv_octets entries);

/*  Receives one reply, which the caller clears in any case. Returns CKV_OK, also when reply->error
    says no, or CKV_ERROR_TIMEOUT, CKV_ERROR_NOT_REACHABLE when the node has gone, CKV_ERROR_REQUEST
    for what is no reply.  */
int ckv_client_receive(struct ckv_client *self, struct ckv_reply *reply);

/*  Sends and receives. Returns reply->error when that is not CKV_OK.  */
int ckv_client_call(struct ckv_client *self, json_t *request, struct ckv_reply *reply);

void ckv_reply_clear(struct ckv_reply *self);

/*  The record, and the secrets, that came with a reply.  */
struct ckv_octets ckv_reply_record(struct ckv_reply *self);
struct ckv_octets ckv_reply_secrets(struct ckv_reply *self);

#endif
