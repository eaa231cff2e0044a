/*  replies: what the admin service sends, with a bound on what waits for each client.

    libzmq would drop single replies when a queue is full, or keep any number of them. A client that
    pipelines many requests and reads must lose none; one that asks and never reads must not eat the
    memory. So the octets that wait are counted by client, and whole replies beyond the bound are
    dropped, with a warning.
*/
#ifndef CKV_REPLIES_H
#define CKV_REPLIES_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <zmq.h>

enum {
    CKV_REPLIES_CLIENTS = 256,              /* counters; clients share them by hash */
    CKV_REPLIES_WAITING_MAX = 64 * 1048576, /* octets that may wait for one client */
};

/*  Belongs to the thread of ROUTER; must outlive ROUTER's context, whose threads count down.  */
struct ckv_replies {
    void *router;
    atomic_size_t waiting[CKV_REPLIES_CLIENTS];
    atomic_size_t *client; /* the counter of the reply that is being sent */
    bool drops;            /* it is beyond the bound */
    bool warned;
};

/*  Begins a reply to the client with routing id CLIENT by its first frame, HEAD, whose reference is
    taken. MORE says whether frames follow.  */
void ckv_replies_begin(struct ckv_replies *self, zmq_msg_t *client, json_t *head, bool more);

/*  Sends the next frame, a copy of SIZE octets that is wiped when it has gone out.  */
void ckv_replies_frame(struct ckv_replies *self, const void *data, size_t size, bool more);

#endif
