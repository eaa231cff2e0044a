/*  cluster: of which cluster a store is a member; a row of the store, beside the position.

    A member may give a chosen storage key only with the consent of all others. Started by mistake
    without Redis, or under the name of another cluster, it would know nobody who could object, and
    give what they gave already. So a store remembers that it is a member from the transaction on in
    which it enters the first epoch of its cluster's log, and a node that is begun otherwise refuses
    to start.
*/
#ifndef CKV_CLUSTER_H
#define CKV_CLUSTER_H

#include "core/certfile.h"
#include "kv/kv.h"

/*  Reads the name of the cluster; empty when the store is a member of none.  */
int ckv_cluster_get(char name[CKV_CLUSTER_NAME_MAX + 1], struct ckv_kv_txn *txn);

int ckv_cluster_put(const char *name, struct ckv_kv_txn *txn);

/*  Makes the store a member of none. Position and members go with the name, so that a node that joins
    a cluster again does so as any other: its records are compared with theirs. The outbox is emptied;
    *UNSENT receives how many changes in it the cluster does not have. Errors of ckv_kv_table_del; then
    the transaction is to be aborted.  */
int ckv_cluster_leave(struct ckv_kv_txn *txn, uint64_t *unsent);

#endif
