#include "kv/arrivals.h"
#include "kv/boot.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUCKETS = 256,
    SLOTS = BUCKETS * CKV_ARRIVALS_WIDTH,
    WORDS = CKV_ARRIVAL_RECORD_MAX / 8,
    SEQUENCE_BITS = 48, /* of a ticket; the slot is above them */
    TRIES = 64,         /* to read a slot that is being written */
};

typedef _Atomic(uint64_t) word;

/*  SEQUENCE is odd while the slot is written. SIZE 0: empty.  */
struct slot {
    _Alignas(64) word sequence;
    word size;
    word words[WORDS];
};

/*  One page, in host order: the file never leaves the machine.  */
struct head {
    _Atomic(uint64_t) magic; /* written last */
    char boot_id[CKV_BOOT_ID_SIZE];
    uint8_t key[crypto_shorthash_KEYBYTES]; /* stays while the file does */
    _Alignas(64) word left;
    word count;
    word taken[SLOTS / 64]; /* a bit a slot */
    word entered;
};

enum { HEAD_SIZE = 4096 };
static const uint64_t magic = UINT64_C(0x31565241564b4301);

struct ckv_arrivals {
    struct head *head;
    struct slot *slots;
};

_Static_assert(sizeof(struct slot) == 1024, "a slot is sixteen cache lines");
_Static_assert(sizeof(struct head) <= HEAD_SIZE, "the head is one page");
_Static_assert(CKV_ARRIVAL_RECORD_MAX % 8 == 0, "a record is copied in words");
_Static_assert(offsetof(struct ckv_record, client_public_key) % 8 == 0, "and compared in words");

static const size_t file_size = HEAD_SIZE + SLOTS * sizeof(struct slot);

/*  ---- the file ----  */

static int map(struct ckv_arrivals **self_p, int fd, int protection)
{
    struct ckv_arrivals *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    uint8_t *memory = mmap(NULL, file_size, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        free(self);
        *self_p = NULL;
        return ckv_system_error(errno);
    }
    self->head = (struct head *)memory;
    self->slots = (struct slot *)(memory + HEAD_SIZE);
    return CKV_OK;
}

/*  Readers may have mapped it, so it is emptied slot by slot. A writer that was killed may have left a
    slot odd: all become even.  */
static void clear(struct ckv_arrivals *self)
{
    atomic_fetch_add(&self->head->left, 1);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t sequence = atomic_load(&self->slots[i].sequence);
        atomic_store(&self->slots[i].sequence, sequence | 1);
        atomic_store(&self->slots[i].size, 0);
        atomic_store(&self->slots[i].sequence, (sequence | 1) + 1);
    }
    for (unsigned i = 0; i < SLOTS / 64; i++)
        atomic_store(&self->head->taken[i], 0);
    atomic_store(&self->head->count, 0);
}

int ckv_arrivals_create(struct ckv_arrivals **self_p, const char *path)
{
    struct stat file;
    *self_p = NULL;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return ckv_system_error(errno);
    int number = fstat(fd, &file) == 0 ? 0 : errno;
    if (!number && (size_t)file.st_size > file_size)
        number = EINVAL; /* not one of ours; a shorter one is new, or was cut off by a full disk */
    if (!number)
        number = posix_fallocate(fd, 0, (off_t)file_size);
    int rc = number ? ckv_system_error(number) : map(self_p, fd, PROT_READ | PROT_WRITE);
    close(fd);
    if (rc != CKV_OK)
        return rc;
    struct ckv_arrivals *self = *self_p;
    if (atomic_exchange(&self->head->magic, 0) != magic)
        randombytes_buf(self->head->key, sizeof(self->head->key));
    clear(self);
    ckv_boot_id(self->head->boot_id);
    atomic_store(&self->head->magic, magic);
    return CKV_OK;
}

static bool is_current(const struct ckv_arrivals *self)
{
    char boot_id[CKV_BOOT_ID_SIZE];
    ckv_boot_id(boot_id);
    return atomic_load(&self->head->magic) == magic && boot_id[0] &&
           memcmp(self->head->boot_id, boot_id, sizeof(boot_id)) == 0;
}

int ckv_arrivals_open(struct ckv_arrivals **self_p, const char *path)
{
    struct stat file;
    *self_p = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CKV_ERROR_NOT_FOUND;
    int rc = CKV_ERROR_NOT_FOUND;
    if (fstat(fd, &file) == 0 && (size_t)file.st_size == file_size)
        rc = map(self_p, fd, PROT_READ);
    close(fd);
    if (rc == CKV_OK && !is_current(*self_p)) {
        ckv_arrivals_close(self_p);
        rc = CKV_ERROR_NOT_FOUND;
    }
    return rc;
}

void ckv_arrivals_close(struct ckv_arrivals **self_p)
{
    struct ckv_arrivals *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    munmap(self->head, file_size);
    free(self);
}

/*  ---- reading ----  */

bool ckv_arrivals_any(const struct ckv_arrivals *self)
{
    return atomic_load_explicit(&self->head->count, memory_order_acquire) != 0;
}

uint64_t ckv_arrivals_left(const struct ckv_arrivals *self)
{
    return atomic_load_explicit(&self->head->left, memory_order_acquire);
}

uint64_t ckv_arrivals_entered(const struct ckv_arrivals *self)
{
    return atomic_load_explicit(&self->head->entered, memory_order_acquire);
}

/*  OTHER was read already, so this is CKV_OK.  */
static int copy_arrival(struct ckv_arrival *self, const struct ckv_arrival *other)
{
    memcpy(self->record, other->record, other->view.record.size);
    return ckv_certificate_parse(&self->view, self->record, other->view.record.size);
}

static void copy_out(const struct slot *slot, uint8_t *record, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t value = atomic_load_explicit(&slot->words[at / 8], memory_order_relaxed);
        memcpy(record + at, &value, 8); /* whole words fit: the maximum is a multiple */
    }
}

/*  Copies the record of SLOT. Returns false when there is none.  */
static bool read_slot(const struct slot *slot, struct ckv_arrival *arrival)
{
    arrival->view.storage_key = ckv_octets(NULL, 0);
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        uint64_t size = atomic_load_explicit(&slot->size, memory_order_relaxed);
        if (before % 2 || size > CKV_ARRIVAL_RECORD_MAX)
            continue;
        copy_out(slot, arrival->record, size);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before)
            return size && ckv_certificate_parse(&arrival->view, arrival->record, size) == CKV_OK;
    }
    return false;
}

static unsigned first_slot(const struct ckv_arrivals *self, struct ckv_octets storage_key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, storage_key.data, storage_key.size, self->head->key);
    return (unsigned)(ckv_get64(hash) % BUCKETS) * CKV_ARRIVALS_WIDTH;
}

static bool is_taken(const struct ckv_arrivals *self, unsigned slot)
{
    uint64_t bits = atomic_load_explicit(&self->head->taken[slot / 64], memory_order_acquire);
    return bits >> slot % 64 & 1;
}

/*  Whether SLOT has a record of STORAGE_KEY; copies it.  */
static bool read_match(const struct ckv_arrivals *self, unsigned slot,
                       struct ckv_octets storage_key, struct ckv_arrival *arrival)
{
    return is_taken(self, slot) && read_slot(&self->slots[slot], arrival) &&
           ckv_octets_equal(arrival->view.storage_key, storage_key);
}

int ckv_arrivals_get(const struct ckv_arrivals *self, struct ckv_octets storage_key,
                     struct ckv_arrival *arrival)
{
    unsigned first = first_slot(self, storage_key), end = first + CKV_ARRIVALS_WIDTH, i = first;
    struct ckv_arrival other;
    while (i < end && !read_match(self, i, storage_key, arrival))
        i++;
    if (i == end)
        return CKV_ERROR_NOT_FOUND;
    while (++i < end) /* a newer state has just come, and the older one is about to leave */
        if (read_match(self, i, storage_key, &other) &&
            ckv_certificate_compare(&other.view, &arrival->view) < 0 &&
            copy_arrival(arrival, &other) != CKV_OK)
            return CKV_ERROR_NOT_FOUND;
    return CKV_OK;
}

/*  Whether SLOT may have the client public key: looked at in its place, before all is copied.  */
static bool may_have_client(const struct slot *slot, const uint8_t client_public_key[32])
{
    enum { AT = offsetof(struct ckv_record, client_public_key) / 8 };
    uint64_t wanted[4];
    memcpy(wanted, client_public_key, sizeof(wanted));
    for (int i = 0; i < 4; i++)
        if (atomic_load_explicit(&slot->words[AT + i], memory_order_relaxed) != wanted[i])
            return false;
    return true;
}

int ckv_arrivals_find(const struct ckv_arrivals *self, const uint8_t client_public_key[32],
                      unsigned *position, struct ckv_arrival *arrival)
{
    while (*position < SLOTS) {
        unsigned slot = (*position)++;
        if (is_taken(self, slot) && may_have_client(&self->slots[slot], client_public_key) &&
            read_slot(&self->slots[slot], arrival) &&
            memcmp(arrival->view.client_public_key, client_public_key, 32) == 0)
            return CKV_OK;
    }
    return CKV_ERROR_NOT_FOUND;
}

/*  ---- writing ----  */

static void copy_in(struct slot *slot, struct ckv_octets record)
{
    for (size_t at = 0; at < record.size; at += 8) {
        uint64_t value = 0;
        memcpy(&value, record.data + at, record.size - at < 8 ? record.size - at : 8);
        atomic_store_explicit(&slot->words[at / 8], value, memory_order_relaxed);
    }
}

/*  Returns the sequence that the slot has then.  */
static uint64_t write_slot(struct slot *slot, struct ckv_octets record)
{
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_release);
    atomic_thread_fence(memory_order_release);
    copy_in(slot, record);
    atomic_store_explicit(&slot->size, record.size, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
    return sequence + 2;
}

static uint64_t sequence_of(const struct ckv_arrivals *self, unsigned slot)
{
    return atomic_load_explicit(&self->slots[slot].sequence, memory_order_relaxed);
}

static uint64_t ticket_of(unsigned slot, uint64_t sequence)
{
    const uint64_t one = UINT64_C(1) << SEQUENCE_BITS; /* in the slot's place */
    return slot * one + sequence % one;
}

/*  What is in a bucket for a storage key.  */
struct bucket {
    unsigned free; /* a slot, or SLOTS */
    unsigned held; /* the slot that has the storage key, or SLOTS */
};

static struct bucket look_into(const struct ckv_arrivals *self, struct ckv_octets storage_key,
                               struct ckv_arrival *held)
{
    struct bucket bucket = { SLOTS, SLOTS };
    unsigned first = first_slot(self, storage_key);
    for (unsigned i = first; i < first + CKV_ARRIVALS_WIDTH; i++)
        if (!is_taken(self, i))
            bucket.free = i;
        else if (bucket.held == SLOTS && read_match(self, i, storage_key, held))
            bucket.held = i;
    return bucket;
}

/*  A slot that is taken is never written: a reader who was overtaken there for long, or by a writer that
    was killed, would have to answer with what was before.  */
uint64_t ckv_arrivals_enter(struct ckv_arrivals *self, const struct ckv_certificate *certificate)
{
    struct ckv_arrival held;
    if (certificate->record.size > CKV_ARRIVAL_RECORD_MAX)
        return 0;
    struct bucket bucket = look_into(self, certificate->storage_key, &held);
    if (bucket.free == SLOTS ||
        (bucket.held != SLOTS && ckv_certificate_compare(certificate, &held.view) >= 0))
        return 0;
    uint64_t sequence = write_slot(&self->slots[bucket.free], certificate->record);
    atomic_fetch_or(&self->head->taken[bucket.free / 64], UINT64_C(1) << bucket.free % 64);
    atomic_fetch_add(&self->head->count, 1);
    atomic_fetch_add(&self->head->entered, 1); /* last: who sees it counted finds it */
    if (bucket.held != SLOTS)
        ckv_arrivals_leave(self, ticket_of(bucket.held, sequence_of(self, bucket.held)));
    return ticket_of(bucket.free, sequence);
}

void ckv_arrivals_leave(struct ckv_arrivals *self, uint64_t ticket)
{
    unsigned slot = (unsigned)(ticket >> SEQUENCE_BITS) % SLOTS;
    if (!ticket || ticket != ticket_of(slot, sequence_of(self, slot)))
        return;
    atomic_fetch_add(&self->head->left, 1); /* first: who misses it below looks again */
    atomic_fetch_and(&self->head->taken[slot / 64], ~(UINT64_C(1) << slot % 64));
    atomic_fetch_sub(&self->head->count, 1);
    write_slot(&self->slots[slot], ckv_octets(NULL, 0));
}
