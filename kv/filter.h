/*  filter: says in one cache line where a storage key's record is, or that there is none.

    It stands in front of the tree of the lmdb engine, in a file that all processes map which read
    the store. A bucket is one cache line of eight entries; an entry holds 23 bits of a storage
    key's hash and the position of its record. An unknown key finds no entry with its bits, but for
    one in a million, and never touches the tree; a known one goes straight to its record.

    Promise: while the filter is complete, every committed storage key is in it. The writer enters a
    key before it commits. An entry may be stale (its transaction was aborted): whoever follows it
    compares the storage key in the record. A bucket that overflowed says so, and is no proof of
    absence; nor is a filter being built, or one that was replaced.

    The hash is SipHash-2-4 under a key of the store (crypto_shorthash), so that nobody outside can
    choose storage keys that crowd one bucket.

    The file is scratch: it is made anew whenever a writer opens the store, and is worth nothing
    after a reboot, which its boot id shows.
*/
#ifndef CKV_FILTER_H
#define CKV_FILTER_H

#include "core/error.h"
#include "core/octets.h"
#include <stdatomic.h>
#include <stdbool.h>

enum {
    CKV_FILTER_WIDTH = 8,   /* entries of a bucket */
    CKV_FILTER_ID_SIZE = 16 /* octets that tell one store from another */
};

/*  Positions are 1 to 2^40 - 1.  */
#define CKV_FILTER_POSITION_MAX ((UINT64_C(1) << 40) - 1)

struct ckv_filter;

/*  Makes the file PATH, or replaces it, with room for RECORDS entries, and maps it for writing. It
    is not complete until ckv_filter_complete, and until then not seen under PATH by readers. Space
    on the disk is reserved, so that no write to the map can fail. Returns CKV_ERROR_DISK_FULL,
    CKV_ERROR_IO, CKV_ERROR_PERMISSION, CKV_ERROR_MEMORY.  */
int ckv_filter_create(struct ckv_filter **self_p, const char *path,
                      const uint8_t store_id[CKV_FILTER_ID_SIZE], uint64_t records);

/*  Maps the file of PATH for reading. Returns CKV_ERROR_NOT_FOUND unless it is there, complete, of
    this store and of this boot.  */
int ckv_filter_open(struct ckv_filter **self_p, const char *path,
                    const uint8_t store_id[CKV_FILTER_ID_SIZE]);

/*  Unmaps. A file that was made and not completed is removed, any other stays. *SELF_P becomes
 * NULL.  */
void ckv_filter_close(struct ckv_filter **self_p);

/*  Makes sure that no process goes on trusting the filter file at PATH, if there is one, and
    removes it. A writer calls this before its first commit.  */
int ckv_filter_retire_file(const char *path);

/*  Enters HASH at POSITION. One thread at a time.  */
void ckv_filter_insert(struct ckv_filter *self, uint64_t hash, uint64_t position);

/*  Whether so many entries are in that buckets begin to overflow: time for one twice the size.  */
bool ckv_filter_crowded(const struct ckv_filter *self);

/*  Declares the filter complete and gives it its name. On an error it is not complete.  */
int ckv_filter_complete(struct ckv_filter *self);

/*  Declares it replaced: from now on it proves nothing, in any process.  */
void ckv_filter_retire(struct ckv_filter *self);

/*  Whether its word counts: complete and not replaced.  */
bool ckv_filter_ready(const struct ckv_filter *self);

/*  Looks up HASH. Puts the positions it may be at into POSITIONS and returns how many. Sets *SURE
    when there is no other: then 0 means that the key is unknown. Any thread, no lock.  */
unsigned ckv_filter_probe(const struct ckv_filter *self, uint64_t hash,
                          uint64_t positions[CKV_FILTER_WIDTH], bool *sure);

#endif
