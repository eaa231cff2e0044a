/*  The library's own functions; the rest of its interface is core's.

    LMDB does not bear one file opened twice in a process: closing the second would drop the first's
    locks. So the stores of one directory share one opened kv, found by device and inode, and
    counted.
*/
#include "kv/kv.h"
#include "kv/system.h"
#include "node/library/curvekv.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct shared {
    dev_t device;
    ino_t inode;
    pid_t process; /* LMDB's handles are no good in a child */
    struct ckv_kv *kv;
    unsigned users;
    struct shared *next;
};

struct ckv_store {
    struct shared *shared;
    struct ckv_kv_txn *txn;
};

/*  What a process has open; the only state of the library that is not in a store.  */
static struct shared *all_shared;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static int open_shared(struct shared **shared_p, const char *directory, const struct stat *place)
{
    struct ckv_kv_options options = { .directory = directory, .read_only = true };
    struct shared *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    int rc = ckv_kv_open(&self->kv, "lmdb", &options);
    if (rc != CKV_OK) {
        free(self);
        return rc;
    }
    self->device = place->st_dev;
    self->inode = place->st_ino;
    self->process = getpid();
    self->next = all_shared;
    *shared_p = all_shared = self;
    return CKV_OK;
}

/*  Finds or opens the kv of DIRECTORY, and counts one more user. Under the lock.  */
static int take_shared(struct shared **shared_p, const char *directory)
{
    struct stat place;
    if (stat(directory, &place) != 0)
        return ckv_system_error(errno);
    for (struct shared *self = all_shared; self; self = self->next)
        if (self->device == place.st_dev && self->inode == place.st_ino &&
            self->process == getpid()) {
            self->users++;
            *shared_p = self;
            return CKV_OK;
        }
    int rc = open_shared(shared_p, directory, &place);
    if (rc == CKV_OK)
        (*shared_p)->users = 1;
    return rc;
}

static void drop_shared(struct shared *self)
{
    pthread_mutex_lock(&all_lock);
    if (--self->users == 0) {
        struct shared **link = &all_shared;
        while (*link != self)
            link = &(*link)->next;
        *link = self->next;
        if (self->process == getpid())
            ckv_kv_close(&self->kv);
        free(self);
    }
    pthread_mutex_unlock(&all_lock);
}

int ckv_store_open(struct ckv_store **self_p, const char *directory)
{
    *self_p = NULL;
    if (sodium_init() < 0)
        return CKV_ERROR_MEMORY;
    struct ckv_store *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    pthread_mutex_lock(&all_lock);
    int rc = take_shared(&self->shared, directory);
    pthread_mutex_unlock(&all_lock);
    if (rc == CKV_OK)
        rc = ckv_kv_begin(self->shared->kv, CKV_KV_RESOLVE, &self->txn);
    if (rc != CKV_OK) {
        ckv_store_close(&self);
        return rc;
    }
    ckv_kv_reset(self->txn);
    *self_p = self;
    return CKV_OK;
}

void ckv_store_close(struct ckv_store **self_p)
{
    struct ckv_store *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    /*  In the child of a fork the transaction is the parent's: ending it would free the parent's slot
        while the parent reads.  */
    if (self->txn && self->shared->process == getpid())
        ckv_kv_abort(&self->txn);
    if (self->shared)
        drop_shared(self->shared);
    free(self);
}

void ckv_store_release(struct ckv_store *self)
{
    ckv_kv_reset(self->txn);
}

int ckv_store_resolve(struct ckv_store *self, const void *storage_key, size_t size,
                      struct ckv_certificate *certificate)
{
    return ckv_kv_resolve(self->txn, ckv_octets(storage_key, size), certificate);
}

int ckv_store_resolve_client(struct ckv_store *self, const uint8_t client_public_key[32],
                             struct ckv_certificate *certificate)
{
    return ckv_kv_resolve_client(self->txn, client_public_key, certificate);
}
