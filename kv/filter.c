#include "kv/filter.h"
#include "kv/boot.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*  An entry, from the lowest bit: position (40), tag (23), overflow (1, counts in a bucket's first
    entry only). An empty entry has position 0.  */
enum { POSITION_BITS = 40, TAG_BITS = 23 };
static const uint64_t tag_mask = ((UINT64_C(1) << TAG_BITS) - 1) << POSITION_BITS;
static const uint64_t overflow = UINT64_C(1) << 63;

enum { LOAD_MAX = 3 }; /* entries a bucket on average; at 3, one bucket in 260 overflows */
enum {
    LOAD_NEW = 2
}; /* at most, of a new filter; one that replaces a crowded one is twice its size */
enum { BITS_MIN = 10, BITS_MAX = 34 };

enum state { BUILDING = 1, COMPLETE, RETIRED };

typedef _Atomic(uint64_t) entry;

struct bucket {
    _Alignas(64) entry entries[CKV_FILTER_WIDTH];
};

/*  The head of the file, one page, in host order: the file never leaves the machine.  */
struct head {
    char magic[8];
    uint8_t store_id[CKV_FILTER_ID_SIZE];
    char boot_id[CKV_BOOT_ID_SIZE];
    uint32_t bits; /* 2^bits buckets follow */
    _Atomic(uint32_t) state;
};

enum { HEAD_SIZE = 4096 };
static const char magic[8] = "CKVFILT1";

struct ckv_filter {
    struct head *head;
    struct bucket *buckets;
    size_t size; /* of the map */
    uint32_t bits;
    uint64_t entered;
    char *path, *temporary;
};

_Static_assert(sizeof(struct bucket) == 64, "a probe is one cache line");
_Static_assert(sizeof(struct head) <= HEAD_SIZE, "the head is one page");

static size_t map_size(uint32_t bits)
{
    return HEAD_SIZE + (sizeof(struct bucket) << bits);
}

static int map(struct ckv_filter *self, int fd, int protection)
{
    self->size = map_size(self->bits);
    void *memory = mmap(NULL, self->size, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return ckv_system_error(errno);
    self->head = memory;
    self->buckets = (struct bucket *)((uint8_t *)memory + HEAD_SIZE);
    return CKV_OK;
}

static uint32_t bits_for(uint64_t records)
{
    uint32_t bits = BITS_MIN;
    while (bits < BITS_MAX && ((uint64_t)LOAD_NEW << bits) < records)
        bits++;
    return bits;
}

/*  A file with all its blocks reserved, so that touching the map can never mean SIGBUS.  */
static int make_file(struct ckv_filter *self)
{
    int fd = open(self->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ckv_system_error(errno);
    int number = posix_fallocate(fd, 0, (off_t)map_size(self->bits));
    int rc = number ? ckv_system_error(number) : map(self, fd, PROT_READ | PROT_WRITE);
    close(fd);
    return rc;
}

int ckv_filter_create(struct ckv_filter **self_p, const char *path,
                      const uint8_t store_id[CKV_FILTER_ID_SIZE], uint64_t records)
{
    struct ckv_filter *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->bits = bits_for(records);
    self->path = strdup(path);
    if (!self->path || asprintf(&self->temporary, "%s.new", path) < 0) {
        self->temporary = NULL;
        ckv_filter_close(self_p);
        return CKV_ERROR_MEMORY;
    }
    int rc = make_file(self);
    if (rc != CKV_OK) {
        unlink(self->temporary);
        ckv_filter_close(self_p);
        return rc;
    }
    memcpy(self->head->magic, magic, sizeof(magic));
    memcpy(self->head->store_id, store_id, CKV_FILTER_ID_SIZE);
    ckv_boot_id(self->head->boot_id);
    self->head->bits = self->bits;
    atomic_store(&self->head->state, BUILDING);
    return CKV_OK;
}

/*  Whether HEAD, of a file of SIZE octets, is one to trust.  */
static bool is_ours(const struct head *head, off_t size, const uint8_t *store_id)
{
    char boot_id[sizeof(head->boot_id)];
    ckv_boot_id(boot_id);
    return memcmp(head->magic, magic, sizeof(magic)) == 0 && head->bits >= BITS_MIN &&
           head->bits <= BITS_MAX && size == (off_t)map_size(head->bits) &&
           memcmp(head->store_id, store_id, CKV_FILTER_ID_SIZE) == 0 && boot_id[0] &&
           memcmp(head->boot_id, boot_id, sizeof(boot_id)) == 0 &&
           atomic_load(&head->state) == COMPLETE;
}

static int open_file(struct ckv_filter *self, int fd, const uint8_t *store_id)
{
    struct head head;
    struct stat file;
    if (fstat(fd, &file) != 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
        !is_ours(&head, file.st_size, store_id))
        return CKV_ERROR_NOT_FOUND;
    self->bits = head.bits;
    return map(self, fd, PROT_READ);
}

int ckv_filter_open(struct ckv_filter **self_p, const char *path,
                    const uint8_t store_id[CKV_FILTER_ID_SIZE])
{
    *self_p = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CKV_ERROR_NOT_FOUND;
    struct ckv_filter *self = *self_p = calloc(1, sizeof(*self));
    int rc = self ? open_file(self, fd, store_id) : CKV_ERROR_MEMORY;
    close(fd);
    if (rc != CKV_OK)
        ckv_filter_close(self_p);
    return rc;
}

void ckv_filter_close(struct ckv_filter **self_p)
{
    struct ckv_filter *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->head && self->temporary && atomic_load(&self->head->state) == BUILDING)
        unlink(self->temporary);
    if (self->head)
        munmap(self->head, self->size);
    free(self->path);
    free(self->temporary);
    free(self);
}

int ckv_filter_retire_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? CKV_OK : ckv_system_error(errno);
    struct stat file;
    int rc = CKV_OK;
    if (fstat(fd, &file) == 0 && file.st_size >= HEAD_SIZE) {
        struct head *head = mmap(NULL, HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (head == MAP_FAILED) {
            rc = ckv_system_error(errno);
        } else {
            atomic_store(&head->state, RETIRED);
            munmap(head, HEAD_SIZE);
        }
    }
    close(fd);
    if (rc == CKV_OK && unlink(path) != 0)
        rc = ckv_system_error(errno);
    return rc;
}

static struct bucket *bucket_of(const struct ckv_filter *self, uint64_t hash)
{
    return &self->buckets[hash >> (64 - self->bits)];
}

static uint64_t tag_of(uint64_t hash)
{
    return (hash << POSITION_BITS) & tag_mask;
}

void ckv_filter_insert(struct ckv_filter *self, uint64_t hash, uint64_t position)
{
    entry *entries = bucket_of(self, hash)->entries;
    uint64_t wanted = tag_of(hash) | position;
    for (unsigned i = 0; i < CKV_FILTER_WIDTH; i++) {
        uint64_t found = atomic_load_explicit(&entries[i], memory_order_relaxed);
        if ((found & ~overflow) == wanted)
            return;
        if (found == 0) {
            atomic_store_explicit(&entries[i], wanted, memory_order_release);
            self->entered++;
            return;
        }
    }
    atomic_fetch_or(&entries[0], overflow);
    self->entered++;
}

bool ckv_filter_crowded(const struct ckv_filter *self)
{
    return self->entered > (uint64_t)LOAD_MAX << self->bits && self->bits < BITS_MAX;
}

int ckv_filter_complete(struct ckv_filter *self)
{
    atomic_store(&self->head->state, COMPLETE);
    if (rename(self->temporary, self->path) == 0)
        return CKV_OK;
    int error = ckv_system_error(errno);
    atomic_store(&self->head->state, BUILDING); /* without a name it is of no use to others */
    return error;
}

void ckv_filter_retire(struct ckv_filter *self)
{
    atomic_store(&self->head->state, RETIRED);
}

bool ckv_filter_ready(const struct ckv_filter *self)
{
    return atomic_load_explicit(&self->head->state, memory_order_acquire) == COMPLETE;
}

unsigned ckv_filter_probe(const struct ckv_filter *self, uint64_t hash,
                          uint64_t positions[CKV_FILTER_WIDTH], bool *sure)
{
    entry *entries = bucket_of(self, hash)->entries;
    uint64_t tag = tag_of(hash), first = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < CKV_FILTER_WIDTH; i++) {
        uint64_t found = atomic_load_explicit(&entries[i], memory_order_acquire);
        if (i == 0)
            first = found;
        if (found == 0)
            break;
        if ((found & tag_mask) == tag)
            positions[count++] = found & CKV_FILTER_POSITION_MAX;
    }
    /*  Asked after the entries were read: a filter retired before that may lack a key whose commit
        the caller's snapshot holds.  */
    *sure = !(first & overflow) && ckv_filter_ready(self);
    return count;
}
