/*  curvekv: the library. Resolves the certificates of a node from any process on its machine.

    A store is a memory map that the node writes and any number of processes read: a resolve is a
    lookup in that map and gives a view of the record where it lies. It takes no lock, allocates
    nothing and makes no system call, and it sees every commit of the node at once. The node need
    not run; what its store held last is resolved.

        struct ckv_store *store;
        struct ckv_certificate certificate;
        if (ckv_store_open(&store, "/var/lib/curvekv") == CKV_OK) {
            if (ckv_store_resolve(store, "42", 2, &certificate) == CKV_OK)
                ...
            ckv_store_close(&store);
        }

    Functions return CKV_OK or a negative enum ckv_error (core/error.h); ckv_strerror gives the
    sentence. A view is struct ckv_certificate (core/certificate.h); its metadata are read with
    ckv_properties_next or ckv_properties_get (core/properties.h).

    Threads: a store belongs to one thread at a time. Open one for each; they share the map.
*/
#ifndef CURVEKV_H
#define CURVEKV_H

#include "core/certificate.h"
#include "core/error.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "core/z85.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ckv_store;

/*  Opens the store of the node whose data directory is DIRECTORY, for reading. Further opens of one
    directory in one process share its map. Errors: CKV_ERROR_NO_STORE, CKV_ERROR_PERMISSION
    (reading needs to write the lock file beside the store), CKV_ERROR_STORE, CKV_ERROR_READERS,
    CKV_ERROR_MEMORY, CKV_ERROR_IO. After a fork, open anew in the child.  */
CKV_EXPORT int ckv_store_open(struct ckv_store **self_p, const char *directory);

/*  Closes, and ends all views. *SELF_P becomes NULL; a NULL *SELF_P is allowed.  */
CKV_EXPORT void ckv_store_close(struct ckv_store **self_p);

/*  Ends the last view and lets go of the store as it was then. Call it before a long pause: what a view
    may still refer to, the node cannot use again, and its file grows instead.  */
CKV_EXPORT void ckv_store_release(struct ckv_store *self);

/*  Resolves the SIZE octets at STORAGE_KEY. The view lives until the next call with this store.

    Returns CKV_OK when there is a certificate. Whether it may be used now is another question:
    ckv_certificate_valid_at. Errors: CKV_ERROR_NOT_FOUND (also for a SIZE that no storage key has),
    CKV_ERROR_DAMAGED, CKV_ERROR_STORE, CKV_ERROR_IO.  */
CKV_EXPORT int ckv_store_resolve(struct ckv_store *self, const void *storage_key, size_t size,
                                 struct ckv_certificate *certificate);

/*  The same by client public key. When several certificates have it: the active one.  */
CKV_EXPORT int ckv_store_resolve_client(struct ckv_store *self, const uint8_t client_public_key[32],
                                        struct ckv_certificate *certificate);

#ifdef __cplusplus
}
#endif
#endif
