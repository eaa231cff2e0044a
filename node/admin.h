/*  admin: the service through which one talks to a node (node/request.h says how).

    One thread polls a ROUTER socket and answers what only reads; what changes the store goes to the
    writer and is answered when it is durable. Requests of one client are pipelined: replies carry
    the request's id and come in the order in which they are done.
*/
#ifndef CKV_ADMIN_H
#define CKV_ADMIN_H

#include "kv/writer.h"
#include "node/datadir.h"
#include "node/gateway/gateway.h"
#include "node/registry.h"
#include "replication/replicator.h"

struct ckv_admin;

/*  What the service stands on; all of it outlives the service.  */
struct ckv_admin_parts {
    const struct ckv_datadir *datadir;
    struct ckv_kv *kv;
    struct ckv_registry *registry;
    struct ckv_writer *writer;
    struct ckv_replicator *replicator; /* NULL: a node alone */
    struct ckv_outbox *outbox;
    struct ckv_gateway *gateway;    /* NULL: none in this process */
    const char *name;               /* of the node, for status */
    const char *cluster;            /* of the cluster, for certificate files */
    void (*reload)(void *argument); /* on SIGHUP */
    void (*report)(void *argument); /* on SIGUSR1 */
    void *signal_argument;
};

/*  Binds the endpoint of the data directory, mode 0600. Errors: CKV_ERROR_PATH,
    CKV_ERROR_PERMISSION, CKV_ERROR_IO, CKV_ERROR_MEMORY.  */
int ckv_admin_new(struct ckv_admin **self_p, const struct ckv_admin_parts *parts);
void ckv_admin_destroy(struct ckv_admin **self_p);

/*  Serves until SIGNALS (a signalfd) becomes readable, then answers what was begun. Returns the
    number of the signal, or an error.  */
int ckv_admin_run(struct ckv_admin *self, int signals);

#endif
