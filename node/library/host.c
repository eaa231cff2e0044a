#include "node/library/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum state { GOING_ON, DONE, ABANDONED };

/*  Whoever comes second, the thread or its owner, frees it.  */
struct ckv_lookup {
    atomic_int state;
    int rc;
    struct ckv_endpoint all[CKV_HOST_ADDRESSES_MAX];
    size_t count;
    char text[];
};

int ckv_host_read(struct ckv_host *self, const char *text)
{
    *self = (struct ckv_host){ .text = text };
    return ckv_endpoint_read_all(self->all, CKV_HOST_ADDRESSES_MAX, &self->count, text);
}

static void *look_up(void *argument)
{
    struct ckv_lookup *self = argument;
    self->rc = ckv_endpoint_read_all(self->all, CKV_HOST_ADDRESSES_MAX, &self->count, self->text);
    if (atomic_exchange(&self->state, DONE) == ABANDONED)
        free(self);
    return NULL;
}

/*  Without memory or a thread there is none, and the next failure tries again.  */
static void begin_lookup(struct ckv_host *self, uint64_t now)
{
    size_t size = strlen(self->text) + 1;
    pthread_attr_t detached;
    pthread_t thread;
    if (self->lookup || now < self->not_before || ckv_endpoint_is_ipc(&self->all[0]))
        return;
    self->not_before = now + CKV_HOST_PAUSE_MS;
    struct ckv_lookup *lookup = calloc(1, sizeof(*lookup) + size);
    if (!lookup)
        return;
    memcpy(lookup->text, self->text, size);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &detached, look_up, lookup) == 0)
        self->lookup = lookup;
    else
        free(lookup);
    pthread_attr_destroy(&detached);
}

bool ckv_host_has(const struct ckv_host *self, const struct ckv_endpoint *endpoint)
{
    for (size_t i = 0; i < self->count; i++)
        if (ckv_endpoint_equal(&self->all[i], endpoint))
            return true;
    return false;
}

void ckv_host_end(struct ckv_host *self)
{
    struct ckv_lookup *lookup = self->lookup;
    self->lookup = NULL;
    if (lookup && atomic_exchange(&lookup->state, ABANDONED) == DONE)
        free(lookup);
}

void ckv_host_failed(struct ckv_host *self, size_t tried, uint64_t now)
{
    if (tried != self->current)
        return;
    self->current = (self->current + 1) % self->count;
    if (self->current == 0)
        begin_lookup(self, now);
}

/*  A name service that does not answer, or knows the name no more, leaves the addresses as they were.  */
void ckv_host_tick(struct ckv_host *self)
{
    struct ckv_lookup *lookup = self->lookup;
    if (!lookup || atomic_load(&lookup->state) != DONE)
        return;
    if (lookup->rc == CKV_OK && lookup->count > 0) {
        memcpy(self->all, lookup->all, sizeof(self->all));
        self->count = lookup->count;
        self->current = 0;
    }
    ckv_host_end(self);
}
