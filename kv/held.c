#include "kv/held.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

static const uint64_t max_size_default = UINT64_C(64) << 30;

struct record {
    struct ckv_block block;
    size_t size;
    uint8_t octets[];
};

struct txn {
    struct ckv_kv_txn base;
    struct ckv_held_view view;
    struct ckv_batch batch;      /* when writing */
    struct txn *older, *younger; /* neighbours among the readers, when reading */
    bool active;                 /* reading, and not reset */
};

struct held {
    struct ckv_kv base;
    const struct ckv_held_index *index;
    uint64_t max_size;

    pthread_mutex_t lock; /* over all that follows; held for no longer than copying a view takes */
    pthread_cond_t write_ended;
    bool writing;
    struct ckv_held_view now;
    struct txn *oldest, *youngest;            /* readers, in the order of their views */
    struct ckv_block *garbage, **garbage_end; /* dropped blocks, number: of the commit that did */
};

static struct held *held_of(struct ckv_kv *kv)
{
    return (struct held *)kv;
}

static struct txn *txn_of(struct ckv_kv_txn *txn)
{
    return (struct txn *)txn;
}

/*  ---- records ----  */

static struct record *record_at(const struct ckv_held_view *view, uint64_t slot)
{
    return (struct record *)(uintptr_t)ckv_vector_get(&view->slots, slot);
}

static const struct ckv_record *header_at(const struct ckv_held_view *view, uint64_t slot)
{
    return (const struct ckv_record *)record_at(view, slot)->octets;
}

struct ckv_octets ckv_held_storage_key(const struct ckv_held_view *view, uint64_t slot)
{
    const struct ckv_record *header = header_at(view, slot);
    return ckv_octets(header->storage_key, header->storage_key_size);
}

uint64_t ckv_held_hash(const struct ckv_held_view *view, struct ckv_octets key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key.data, key.size, view->index_key);
    return ckv_get64(hash);
}

static uint64_t hash_client(const struct ckv_held_view *view, const uint8_t *client_public_key)
{
    return ckv_held_hash(view, ckv_octets(client_public_key, 32));
}

static uint64_t hash_client_again(const void *view, uint64_t slot)
{
    return hash_client(view, header_at(view, slot)->client_public_key);
}

static int give_record(const struct ckv_held_view *view, uint64_t slot, struct ckv_octets *octets)
{
    const struct record *record = record_at(view, slot);
    if (!record)
        return CKV_ERROR_NOT_FOUND;
    *octets = ckv_octets(record->octets, record->size);
    return CKV_OK;
}

static uint64_t bytes_of(const struct ckv_held_view *view)
{
    uint64_t bytes = view->record_bytes;
    for (int i = 0; i < CKV_KV_TABLES; i++)
        bytes += view->tables[i].bytes;
    return bytes;
}

/*  ---- garbage ----  */

/*  Takes those blocks that no reader can see off the queue. A block dropped by commit N is seen by
    readers of views before N.  */
static struct ckv_block *take_garbage(struct held *self)
{
    uint64_t oldest = self->oldest ? self->oldest->view.number : self->now.number;
    struct ckv_block *list = self->garbage, **end = &self->garbage;
    while (*end && (*end)->number <= oldest)
        end = &(*end)->next;
    if (end == &self->garbage)
        return NULL;
    self->garbage = *end;
    *end = NULL;
    if (!self->garbage)
        self->garbage_end = &self->garbage;
    return list;
}

static void add_garbage(struct held *self, struct ckv_block *list, uint64_t number)
{
    *self->garbage_end = list;
    while (*self->garbage_end) {
        (*self->garbage_end)->number = number;
        self->garbage_end = &(*self->garbage_end)->next;
    }
}

/*  ---- open and close ----  */

int ckv_held_open(struct ckv_kv **self_p, const struct ckv_kv_options *options,
                  const struct ckv_kv_engine *engine, const struct ckv_held_index *index)
{
    struct held *self = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->base.engine = engine;
    memcpy(self->base.index_key, options->index_key, CKV_INDEX_KEY_SIZE);
    self->index = index;
    self->max_size = options->max_size ? options->max_size : max_size_default;
    self->now.index_key = self->base.index_key;
    self->garbage_end = &self->garbage;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->write_ended, NULL);
    *self_p = &self->base;
    return CKV_OK;
}

void ckv_held_close(struct ckv_kv *kv)
{
    struct held *self = held_of(kv);
    struct ckv_held_view *view = &self->now;
    struct ckv_batch batch = { .number = view->number + 1 };
    for (uint64_t slot = 0; slot < view->count; slot++)
        ckv_batch_drop(&batch, record_at(view, slot));
    ckv_vector_clear(&view->slots, &batch);
    ckv_vector_clear(&view->numbers, &batch);
    ckv_hashes_clear(&view->storage_keys, &batch);
    ckv_hashes_clear(&view->client_public_keys, &batch);
    for (int i = 0; i < CKV_KV_TABLES; i++)
        ckv_rows_clear(&view->tables[i], &batch);
    ckv_blocks_free(ckv_batch_publish(&batch));
    ckv_blocks_free(self->garbage);
    pthread_cond_destroy(&self->write_ended);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

int ckv_held_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats)
{
    struct held *self = held_of(kv);
    pthread_mutex_lock(&self->lock);
    *stats = (struct ckv_kv_stats){
        .engine = kv->engine->name,
        .records = self->now.count,
        .conflicts = self->now.tables[CKV_KV_CONFLICTS].count,
        .outbox = self->now.tables[CKV_KV_OUTBOX].count,
        .bytes = bytes_of(&self->now),
        .max_size = self->max_size,
        .filter_ready = true,
    };
    pthread_mutex_unlock(&self->lock);
    return CKV_OK;
}

/*  ---- transactions ----  */

static void start_reading(struct held *self, struct txn *txn)
{
    pthread_mutex_lock(&self->lock);
    txn->view = self->now;
    txn->older = self->youngest;
    txn->younger = NULL;
    *(self->youngest ? &self->youngest->younger : &self->oldest) = txn;
    self->youngest = txn;
    txn->active = true;
    pthread_mutex_unlock(&self->lock);
}

static void stop_reading(struct held *self, struct txn *txn)
{
    pthread_mutex_lock(&self->lock);
    *(txn->older ? &txn->older->younger : &self->oldest) = txn->younger;
    *(txn->younger ? &txn->younger->older : &self->youngest) = txn->older;
    txn->active = false;
    txn->view = (struct ckv_held_view){ 0 };
    pthread_mutex_unlock(&self->lock);
}

static void start_writing(struct held *self, struct txn *txn)
{
    pthread_mutex_lock(&self->lock);
    while (self->writing)
        pthread_cond_wait(&self->write_ended, &self->lock);
    self->writing = true;
    txn->view = self->now;
    pthread_mutex_unlock(&self->lock);
    txn->view.number++;
    txn->batch.number = txn->view.number;
    txn->batch.index_key = self->base.index_key;
}

/*  Ends the write transaction; when PUBLISH, its view becomes the store's.  */
static void stop_writing(struct held *self, struct txn *txn, bool publish)
{
    struct ckv_block *dropped = NULL;
    if (publish)
        dropped = ckv_batch_publish(&txn->batch);
    else
        ckv_batch_undo(&txn->batch);
    pthread_mutex_lock(&self->lock);
    if (publish) {
        self->now = txn->view;
        add_garbage(self, dropped, txn->view.number);
    }
    struct ckv_block *garbage = take_garbage(self);
    self->writing = false;
    pthread_cond_signal(&self->write_ended);
    pthread_mutex_unlock(&self->lock);
    ckv_blocks_free(garbage);
}

int ckv_held_begin(struct ckv_kv *kv, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p)
{
    struct txn *txn = calloc(1, sizeof(*txn));
    if (!txn)
        return CKV_ERROR_MEMORY;
    txn->base.kv = kv;
    txn->base.mode = mode;
    if (mode == CKV_KV_WRITE)
        start_writing(held_of(kv), txn);
    else
        start_reading(held_of(kv), txn);
    *txn_p = &txn->base;
    return CKV_OK;
}

void ckv_held_reset(struct ckv_kv_txn *txn)
{
    if (txn_of(txn)->active)
        stop_reading(held_of(txn->kv), txn_of(txn));
}

int ckv_held_renew(struct ckv_kv_txn *txn)
{
    ckv_held_reset(txn);
    start_reading(held_of(txn->kv), txn_of(txn));
    return CKV_OK;
}

int ckv_held_commits(struct ckv_kv_txn *txn, uint64_t *number)
{
    *number = txn_of(txn)->view.number;
    return CKV_OK;
}

int ckv_held_commit(struct ckv_kv_txn *txn)
{
    bool failed = txn_of(txn)->batch.failed;
    stop_writing(held_of(txn->kv), txn_of(txn), !failed);
    free(txn);
    return failed ? CKV_ERROR_MEMORY : CKV_OK;
}

void ckv_held_abort(struct ckv_kv_txn *txn)
{
    if (txn->mode == CKV_KV_WRITE)
        stop_writing(held_of(txn->kv), txn_of(txn), false);
    else
        ckv_held_reset(txn);
    free(txn);
}

/*  ---- reading ----  */

int ckv_held_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key, struct ckv_octets *record)
{
    const struct ckv_held_view *view = &txn_of(txn)->view;
    uint64_t slot;
    int rc = held_of(txn->kv)->index->find(view, storage_key, &slot);
    return rc == CKV_OK ? give_record(view, slot, record) : rc;
}

int ckv_held_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32], unsigned nth,
                  struct ckv_octets *record)
{
    const struct ckv_held_view *view = &txn_of(txn)->view;
    uint64_t steps = 0, slot;
    if (!view->count)
        return CKV_ERROR_NOT_FOUND;
    uint64_t hash = hash_client(view, client_public_key);
    while (ckv_hashes_next(&view->client_public_keys, hash, &steps, &slot))
        if (memcmp(header_at(view, slot)->client_public_key, client_public_key, 32) == 0 &&
            nth-- == 0)
            return give_record(view, slot, record);
    return CKV_ERROR_NOT_FOUND;
}

int ckv_held_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record)
{
    int rc = give_record(&txn_of(txn)->view, *position, record);
    if (rc == CKV_OK)
        ++*position;
    return rc;
}

/*  ---- writing ----  */

/*  Whether BYTES more fit.  */
static bool fits(const struct txn *txn, uint64_t bytes)
{
    return bytes_of(&txn->view) + bytes <= held_of(txn->base.kv)->max_size;
}

static int put_record(struct txn *txn, uint64_t slot, struct ckv_octets octets)
{
    struct record *record = ckv_batch_new(&txn->batch, sizeof(*record) + octets.size);
    if (!record)
        return CKV_ERROR_MEMORY;
    record->size = octets.size;
    memcpy(record->octets, octets.data, octets.size);
    txn->view.record_bytes += octets.size;
    return ckv_vector_set(&txn->view.slots, &txn->batch, slot, (uintptr_t)record);
}

static int add_client(struct txn *txn, const uint8_t *client_public_key, uint64_t slot)
{
    return ckv_hashes_add(&txn->view.client_public_keys, &txn->batch,
                          hash_client(&txn->view, client_public_key), slot, hash_client_again,
                          &txn->view);
}

static int remove_client(struct txn *txn, const uint8_t *client_public_key, uint64_t slot)
{
    return ckv_hashes_remove(&txn->view.client_public_keys, &txn->batch,
                             hash_client(&txn->view, client_public_key), slot);
}

static int put_new(struct txn *txn, const struct ckv_certificate *certificate)
{
    uint64_t slot = txn->view.count;
    if (!fits(txn, certificate->record.size))
        return CKV_ERROR_STORE_FULL;
    int rc = held_of(txn->base.kv)
                 ->index->enter(&txn->view, &txn->batch, certificate->storage_key, slot);
    if (rc == CKV_OK)
        rc = put_record(txn, slot, certificate->record);
    if (rc == CKV_OK)
        rc = add_client(txn, certificate->client_public_key, slot);
    if (rc == CKV_OK)
        txn->view.count++;
    return rc;
}

static int put_again(struct txn *txn, const struct ckv_certificate *certificate,
                     const struct ckv_certificate *old)
{
    uint64_t slot, old_size = old->record.size;
    bool moves = memcmp(old->client_public_key, certificate->client_public_key, 32) != 0;
    if (certificate->record.size > old_size && !fits(txn, certificate->record.size - old_size))
        return CKV_ERROR_STORE_FULL;
    int rc = held_of(txn->base.kv)->index->find(&txn->view, certificate->storage_key, &slot);
    if (rc != CKV_OK)
        return rc;
    ckv_batch_drop(&txn->batch, record_at(&txn->view, slot));
    txn->view.record_bytes -= old_size;
    rc = put_record(txn, slot, certificate->record);
    if (rc == CKV_OK && moves)
        rc = remove_client(txn, old->client_public_key, slot);
    if (rc == CKV_OK && moves)
        rc = add_client(txn, certificate->client_public_key, slot);
    return rc;
}

int ckv_held_put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                 const struct ckv_certificate *old)
{
    return old ? put_again(txn_of(txn), certificate, old) : put_new(txn_of(txn), certificate);
}

/*  ---- side tables ----  */

int ckv_held_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                       struct ckv_octets *value)
{
    return ckv_rows_get(&txn_of(txn)->view.tables[table], key, value);
}

int ckv_held_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                       struct ckv_octets value)
{
    struct txn *self = txn_of(txn);
    if (!fits(self, key.size + value.size))
        return CKV_ERROR_STORE_FULL;
    return ckv_rows_put(&self->view.tables[table], &self->batch, key, value);
}

int ckv_held_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key)
{
    struct txn *self = txn_of(txn);
    return ckv_rows_del(&self->view.tables[table], &self->batch, key);
}

int ckv_held_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                        struct ckv_octets *value)
{
    return ckv_rows_next(&txn_of(txn)->view.tables[table], key, value);
}
