/*  datadir: the directory that is a node.

        DIR/                       0700
            cluster.key            0600, 64 hex digits: the secret of the cluster
            node.id                16 hex digits: who this node is in revisions
            node.lock              locked while a node runs
            admin.sock             the admin service, 0600
            certificates.*         the store

    A process that finds a directory of its own (a node) opens it whole; the commands ask only
    whether a node runs there.
*/
#ifndef CKV_DATADIR_H
#define CKV_DATADIR_H

#include "core/cluster_key.h"
#include "core/error.h"
#include <stdbool.h>
#include <stdint.h>

enum { CKV_PATH_MAX = 4096 };

struct ckv_datadir {
    char path[CKV_PATH_MAX / 2]; /* leaves room for the names in it */
    struct ckv_cluster_key *cluster_key;
    uint64_t node_id;
    bool made_cluster_key; /* by this open, as opposed to found */
    bool made_node_id;
    bool wrote_cluster_key; /* made, or copied from a given file */
    int lock;               /* descriptor */
};

/*  Opens DIR for a node; makes it, and what is absent in it, and locks it. CLUSTER_KEY_FILE, if not
    NULL, is copied into a directory that has no cluster key, and must hold the same one otherwise
    (CKV_ERROR_STORE_KEY). BLAME receives the path that an error is about. Errors:
    CKV_ERROR_IN_USE, _PERMISSION, _CLUSTER_KEY_LENGTH, _CLUSTER_KEY_MODE, _DISK_FULL, _IO,
    _NO_STORE (the parent is absent, or CLUSTER_KEY_FILE), _PATH,
    _NO_CLUSTER_KEY (there is a store, and its key is gone).  */
int ckv_datadir_open(struct ckv_datadir *self, const char *dir, const char *cluster_key_file,
                     char blame[CKV_PATH_MAX]);

/*  Removes the cluster key that this open wrote, if it did: it has turned out to be another than the
    store's, and must not stand in the way of the right one.  */
void ckv_datadir_withdraw_cluster_key(struct ckv_datadir *self);

/*  Wipes the keys, unlocks.  */
void ckv_datadir_close(struct ckv_datadir *self);

/*  Reads the cluster key of DIR, for a command that reads the store while the node is down. Errors
    as above; *KEY_P is then NULL.  */
int ckv_datadir_cluster_key(struct ckv_cluster_key **key_p, const char *dir);

/*  Whether a node runs in DIR: 1, 0, or CKV_ERROR_NO_STORE when there is no such directory, or
    CKV_ERROR_PERMISSION.  */
int ckv_datadir_is_running(const char *dir);

/*  Whether DIR holds a store of ENGINE ("lmdb", "sqlite").  */
bool ckv_datadir_has_store(const char *dir, const char *engine);

/*  Which file the store in DIR is, so that another one in its place is noticed; zeros: there is none.  */
struct ckv_datadir_file {
    uint64_t device, inode;
};
struct ckv_datadir_file ckv_datadir_store_file(const char *dir);

/*  Finds the engine of the store in DIR; *ENGINE is static. Returns CKV_ERROR_NO_STORE,
    CKV_ERROR_PERMISSION, or CKV_ERROR_IN_MEMORY when a node runs there without files.  */
int ckv_datadir_find_store(const char *dir, const char **engine);

/*  The ZeroMQ endpoint of the admin service in DIR. Returns CKV_ERROR_PATH when the path is too
    long for a unix socket (107 octets).  */
int ckv_datadir_admin_endpoint(const char *dir, char endpoint[CKV_PATH_MAX]);

#endif
