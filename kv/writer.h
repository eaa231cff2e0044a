/*  writer: the one thread that changes the store.

    Whatever wants to change it hands over a write: a function that runs inside a write transaction,
    and one that is told how it ended. The writer takes all writes that wait, runs them in one
    transaction, commits once (one fsync), and only then tells each: what was told CKV_OK is
    durable. While a batch is on its way to the disk the next one gathers, so the batch grows with
    the load.
*/
#ifndef CKV_WRITER_H
#define CKV_WRITER_H

#include "kv/kv.h"

struct ckv_writer;

/*  A write; embed it in what it needs. Belongs to the writer from submit until DONE is called.  */
struct ckv_write {
    /*  Runs on the writer's thread. May run again when the batch it was in could not be committed
        and is split. Returning CKV_ERROR_STORE_FULL, _DISK_FULL, _MEMORY, _IO or _STORE undoes the
        whole batch; any other error is this write's alone, which then must not have changed
        anything.  */
    int (*apply)(struct ckv_write *self, struct ckv_kv_txn *txn);
    /*  Runs on the writer's thread, with what APPLY returned or why the commit failed.  */
    void (*done)(struct ckv_write *self, int rc);
    int rc;
    struct ckv_write *next;
};

struct ckv_writer_stats {
    uint64_t writes;  /* since the start */
    uint64_t commits; /* one fsync each */
    uint64_t largest; /* batch */
};

/*  Starts the thread over KV, which must outlive it.  */
int ckv_writer_new(struct ckv_writer **self_p, struct ckv_kv *kv);

/*  Finishes what was submitted, then stops the thread.  */
void ckv_writer_destroy(struct ckv_writer **self_p);

/*  Hands over WRITE. Any thread.  */
void ckv_writer_submit(struct ckv_writer *self, struct ckv_write *write);

struct ckv_writer_stats ckv_writer_stats(struct ckv_writer *self);

#endif
