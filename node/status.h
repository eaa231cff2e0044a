/*  status: how the node and its cluster are, as the admin service tells it.  */
#ifndef CKV_STATUS_H
#define CKV_STATUS_H

#include "node/admin.h"
#include <jansson.h>

/*  What the admin service itself knows.  */
struct ckv_status_counts {
    uint64_t started, requests, running;
};

/*  Adds everything to OBJECT. Errors of ckv_kv_stats, CKV_ERROR_MEMORY.  */
int ckv_status_fill(json_t *object, const struct ckv_admin_parts *parts,
                    const struct ckv_status_counts *counts);

#endif
