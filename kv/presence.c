#include "kv/presence.h"

#include <pthread.h>
#include <stdlib.h>

/*  Keys entered under one hold of the lock: a writer who enters a key waits for microseconds.  */
enum { HANDFUL = 256 };

/*  Probes without a filter between two attempts of a reader to find one.  */
enum { LOOK_EVERY = 4096 };

struct ckv_presence {
    _Atomic(struct ckv_filter *) current;
    struct ckv_filter *next;  /* the one being built */
    struct ckv_filter **kept; /* all, until the end */
    size_t kept_count;
    pthread_mutex_t lock; /* orders writer and builder */
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    atomic_uint unfiltered; /* probes since the last look */
    ckv_presence_walk *walk;
    void *store;
    uint8_t store_id[CKV_FILTER_ID_SIZE];
    char *path;
};

struct ckv_presence_builder {
    struct ckv_presence *presence;
    size_t count;
    uint64_t hashes[HANDFUL], positions[HANDFUL];
};

static int keep(struct ckv_presence *self, struct ckv_filter *filter)
{
    size_t size = (self->kept_count + 1) * sizeof(self->kept[0]);
    struct ckv_filter **kept = (struct ckv_filter **)realloc((void *)self->kept, size);
    if (!kept)
        return CKV_ERROR_MEMORY;
    self->kept = kept;
    kept[self->kept_count++] = filter;
    return CKV_OK;
}

/*  ---- building ----  */

static void enter_handful(struct ckv_presence_builder *builder)
{
    struct ckv_presence *self = builder->presence;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < builder->count; i++)
        ckv_filter_insert(self->next, builder->hashes[i], builder->positions[i]);
    pthread_mutex_unlock(&self->lock);
    builder->count = 0;
}

bool ckv_presence_offer(struct ckv_presence_builder *builder, uint64_t hash, uint64_t position)
{
    builder->hashes[builder->count] = hash;
    builder->positions[builder->count] = position;
    if (++builder->count == HANDFUL)
        enter_handful(builder);
    return !atomic_load(&builder->presence->stop);
}

static void *build(void *argument)
{
    struct ckv_presence *self = argument;
    struct ckv_presence_builder builder = { .presence = self };
    bool whole = self->walk(self->store, &builder) == CKV_OK && !atomic_load(&self->stop);
    enter_handful(&builder);
    pthread_mutex_lock(&self->lock);
    struct ckv_filter *old = atomic_load(&self->current);
    /*  The old one first: were this process killed after the new one has its name, others would trust
        the old one for ever, and nobody would enter keys in it any more.  */
    if (whole && old)
        ckv_filter_retire(old);
    if (whole && ckv_filter_complete(self->next) == CKV_OK)
        atomic_store(&self->current, self->next);
    self->next = NULL;
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void stop_thread(struct ckv_presence *self)
{
    if (!self->has_thread)
        return;
    atomic_store(&self->stop, true);
    pthread_join(self->thread, NULL);
    atomic_store(&self->stop, false);
    self->has_thread = false;
}

void ckv_presence_build(struct ckv_presence *self, uint64_t records)
{
    struct ckv_filter *filter;
    stop_thread(self);
    if (ckv_filter_create(&filter, self->path, self->store_id, records) != CKV_OK)
        return;
    if (keep(self, filter) != CKV_OK) {
        ckv_filter_close(&filter);
        return;
    }
    pthread_mutex_lock(&self->lock);
    self->next = filter;
    pthread_mutex_unlock(&self->lock);
    self->has_thread = pthread_create(&self->thread, NULL, build, self) == 0;
    if (!self->has_thread)
        self->next = NULL;
}

bool ckv_presence_crowded(struct ckv_presence *self)
{
    pthread_mutex_lock(&self->lock);
    struct ckv_filter *current = atomic_load(&self->current);
    bool crowded = current && !self->next && ckv_filter_crowded(current);
    pthread_mutex_unlock(&self->lock);
    return crowded;
}

void ckv_presence_enter(struct ckv_presence *self, uint64_t hash, uint64_t position)
{
    pthread_mutex_lock(&self->lock);
    struct ckv_filter *current = atomic_load(&self->current);
    if (current)
        ckv_filter_insert(current, hash, position);
    if (self->next)
        ckv_filter_insert(self->next, hash, position);
    pthread_mutex_unlock(&self->lock);
}

/*  ---- probing ----  */

/*  Looks for a filter that a node has made since. One thread at a time; the others go on without.
 */
static void look(struct ckv_presence *self)
{
    struct ckv_filter *filter;
    if (pthread_mutex_trylock(&self->lock) != 0)
        return;
    if (!ckv_presence_ready(self) &&
        ckv_filter_open(&filter, self->path, self->store_id) == CKV_OK) {
        if (keep(self, filter) == CKV_OK)
            atomic_store(&self->current, filter);
        else
            ckv_filter_close(&filter);
    }
    pthread_mutex_unlock(&self->lock);
}

/*  Also a filter that answers is not sure of a bucket that overflowed; that is no reason to look.
 */
static void consider_looking(struct ckv_presence *self)
{
    if (!self->walk && atomic_fetch_add(&self->unfiltered, 1) % LOOK_EVERY == 0)
        look(self);
}

unsigned ckv_presence_probe(struct ckv_presence *self, uint64_t hash,
                            uint64_t positions[CKV_FILTER_WIDTH], bool *sure)
{
    const struct ckv_filter *filter = atomic_load_explicit(&self->current, memory_order_acquire);
    unsigned count = 0;
    *sure = false;
    if (filter)
        count = ckv_filter_probe(filter, hash, positions, sure);
    if (!*sure && !(filter && ckv_filter_ready(filter)))
        consider_looking(self);
    return count;
}

bool ckv_presence_ready(const struct ckv_presence *self)
{
    const struct ckv_filter *filter = atomic_load(&self->current);
    return filter && ckv_filter_ready(filter);
}

/*  ---- begin and end ----  */

int ckv_presence_new(struct ckv_presence **self_p, const char *path,
                     const uint8_t store_id[CKV_FILTER_ID_SIZE], ckv_presence_walk *walk,
                     void *store)
{
    struct ckv_presence *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    pthread_mutex_init(&self->lock, NULL);
    self->walk = walk;
    self->store = store;
    memcpy(self->store_id, store_id, CKV_FILTER_ID_SIZE);
    self->path = strdup(path);
    int rc = self->path ? CKV_OK : CKV_ERROR_MEMORY;
    if (rc == CKV_OK && walk)
        rc = ckv_filter_retire_file(path);
    if (rc != CKV_OK)
        ckv_presence_destroy(self_p);
    else if (!walk)
        look(self); /* now, or the first resolve would make system calls */
    return rc;
}

void ckv_presence_destroy(struct ckv_presence **self_p)
{
    struct ckv_presence *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    stop_thread(self);
    for (size_t i = 0; i < self->kept_count; i++)
        ckv_filter_close(&self->kept[i]);
    free((void *)self->kept);
    free(self->path);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
