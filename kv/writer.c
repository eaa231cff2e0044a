#include "kv/writer.h"
#include "kv/log.h"

#include <pthread.h>
#include <stdlib.h>

/*  Bounds what one transaction dirties, and so how much a crash or a full disk undoes.  */
enum { BATCH_MAX = 4096 };

struct ckv_writer {
    struct ckv_kv *kv;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ckv_write *first, **last;
    bool stop;
    struct ckv_writer_stats stats;
    struct ckv_log_pace pace; /* of the thread */
};

static bool undoes_batch(int rc)
{
    return rc == CKV_ERROR_STORE_FULL || rc == CKV_ERROR_DISK_FULL || rc == CKV_ERROR_MEMORY ||
           rc == CKV_ERROR_IO || rc == CKV_ERROR_STORE;
}

/*  Runs the writes from FIRST on in one transaction. Returns CKV_OK when it was committed; each
    write's own answer is in its rc.  */
static int run_batch(struct ckv_writer *self, struct ckv_write *first)
{
    struct ckv_kv_txn *txn;
    int rc = ckv_kv_begin(self->kv, CKV_KV_WRITE, &txn);
    if (rc != CKV_OK)
        return rc;
    for (struct ckv_write *write = first; write; write = write->next) {
        write->rc = write->apply(write, txn);
        if (undoes_batch(write->rc)) {
            rc = write->rc;
            ckv_kv_abort(&txn);
            return rc;
        }
    }
    return ckv_kv_commit(&txn);
}

static void count_batch(struct ckv_writer *self, uint64_t writes)
{
    pthread_mutex_lock(&self->lock);
    self->stats.writes += writes;
    self->stats.commits++;
    if (writes > self->stats.largest)
        self->stats.largest = writes;
    pthread_mutex_unlock(&self->lock);
}

/*  Runs a batch and answers it. One that failed is run again write by write, also one of a single write:
    those that fit go in, and each of the others learns its own reason.  */
static void finish_batch(struct ckv_writer *self, struct ckv_write *first)
{
    uint64_t count = 0;
    for (struct ckv_write *write = first; write; write = write->next)
        count++;
    int rc = run_batch(self, first);
    if (rc != CKV_OK && ckv_log_is_due(&self->pace, rc))
        ckv_log(CKV_LOG_WARNING, "a batch of %llu was not stored: %s", (unsigned long long)count,
                ckv_strerror(rc));
    if (rc == CKV_OK)
        count_batch(self, count);
    for (struct ckv_write *write = first, *next; write; write = next) {
        next = write->next;
        write->next = NULL;
        if (rc != CKV_OK) {
            int alone = run_batch(self, write);
            if (alone == CKV_OK)
                count_batch(self, 1);
            else
                write->rc = alone;
        }
        write->done(write, write->rc);
    }
}

/*  Waits for writes and takes up to BATCH_MAX. Returns NULL when it is time to stop.  */
static struct ckv_write *take_batch(struct ckv_writer *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->first && !self->stop)
        pthread_cond_wait(&self->changed, &self->lock);
    struct ckv_write *first = self->first, **end = &self->first;
    for (int i = 0; i < BATCH_MAX && *end; i++)
        end = &(*end)->next;
    self->first = *end;
    *end = NULL;
    if (!self->first)
        self->last = &self->first;
    pthread_mutex_unlock(&self->lock);
    return first;
}

static void *run(void *argument)
{
    struct ckv_writer *self = argument;
    struct ckv_write *first;
    while ((first = take_batch(self)))
        finish_batch(self, first);
    return NULL;
}

int ckv_writer_new(struct ckv_writer **self_p, struct ckv_kv *kv)
{
    struct ckv_writer *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->kv = kv;
    self->last = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    if (pthread_create(&self->thread, NULL, run, self) == 0)
        return CKV_OK;
    free(self);
    *self_p = NULL;
    return CKV_ERROR_MEMORY;
}

void ckv_writer_destroy(struct ckv_writer **self_p)
{
    struct ckv_writer *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void ckv_writer_submit(struct ckv_writer *self, struct ckv_write *write)
{
    write->next = NULL;
    write->rc = CKV_OK;
    pthread_mutex_lock(&self->lock);
    *self->last = write;
    self->last = &write->next;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

struct ckv_writer_stats ckv_writer_stats(struct ckv_writer *self)
{
    pthread_mutex_lock(&self->lock);
    struct ckv_writer_stats stats = self->stats;
    pthread_mutex_unlock(&self->lock);
    return stats;
}
