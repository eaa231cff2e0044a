/*  source: where the reading commands read: from the node, or while it is down straight from its
    store. Same answers either way.  */
#ifndef CKV_SOURCE_H
#define CKV_SOURCE_H

#include "kv/kv.h"
#include "node/client.h"
#include "node/commands/command.h"
#include "node/dump.h"

struct ckv_source {
    struct ckv_client *client; /* or, while the node is down: */
    struct ckv_kv *kv;
    struct ckv_kv_txn *txn;
    struct ckv_cluster_key *cluster_key; /* NULL when it cannot be read: records go unverified */
    uint64_t damaged;                    /* records that a walk left out */
    uint8_t record[CKV_RECORD_MAX];
};

/*  Called with each certificate of a walk. Anything but CKV_OK ends the walk and is its result.  */
typedef int ckv_source_visit(void *argument, int type, const struct ckv_certificate *certificate);

/*  Opens what ARGUMENTS names; says on standard error when it is the store. Errors are complained
    of here: returns an enum ckv_exit.  */
int ckv_source_open(struct ckv_source *self, const struct ckv_arguments *arguments);
void ckv_source_close(struct ckv_source *self);

/*  Resolves by storage key, or when that is NULL by client public key. The view is good until the
    next call. Returns CKV_OK; CKV_ERROR_REVOKED, _EXPIRED or _NOT_YET_VALID with the view set; or
    another error without.  */
int ckv_source_resolve(struct ckv_source *self, const struct ckv_storage_key *storage_key,
                       const uint8_t *client_public_key, struct ckv_certificate *view);

/*  Walks all certificates (CKV_DUMP_RECORD), then with CONFLICTS those that lost their storage key
    (CKV_DUMP_CONFLICT). Damaged records are left out; their number is said on standard error, and the
    result is then CKV_ERROR_DAMAGED.  */
int ckv_source_walk(struct ckv_source *self, bool conflicts, ckv_source_visit *visit,
                    void *argument);

#endif
