/*  digests: what a store holds, range by range, in few octets.

    Two stores are compared without sending what both have. A storage key falls into one of 16384
    ranges, by the first 14 bits of its hash (SipHash-2-4 under the cluster's index key, the same on
    every node). A range's digest is the sum of the tags of its records, as two 64-bit numbers that
    wrap: a tag is a MAC over a whole record under a key that only the cluster has, so nobody else
    can make two sets of records with one sum. A sum is kept up to date by one addition and one
    subtraction a change, and the order of changes does not matter (Bellare and Micciancio 1997,
    AdHASH).

    Digests rest in the side table CKV_KV_DIGESTS, and change in the transaction that changes their
    records. A read transaction sees digests and records of one moment. A small transaction adds one
    row, the changes of its ranges; when changes have piled up they are added to the digests
    themselves, 64 ranges a row, in a transaction of their own, whose failure costs nobody a change;
    those of a large transaction, or in a store that is nearly full, or in another engine than lmdb,
    are added at once. Storage keys are spread over all rows: to change those
    each time would write as many pages as the records' index does, a quarter of what a commit
    writes (measured, 30 registrations a commit).
*/
#ifndef CKV_DIGESTS_H
#define CKV_DIGESTS_H

#include "kv/kv.h"

enum {
    CKV_RANGES = 16384,
    CKV_DIGEST_SIZE = 16,
    CKV_DIGEST_ROW_RANGES = 64, /* ranges in a row */
    CKV_DIGEST_ROWS = CKV_RANGES / CKV_DIGEST_ROW_RANGES,
};

struct ckv_digest {
    uint64_t lanes[2];
};

/*  Adds, or with SIGN -1 takes away, OTHER.  */
static inline void ckv_digest_add(struct ckv_digest *self, struct ckv_digest other, int sign)
{
    self->lanes[0] += sign < 0 ? 0 - other.lanes[0] : other.lanes[0];
    self->lanes[1] += sign < 0 ? 0 - other.lanes[1] : other.lanes[1];
}

static inline bool ckv_digest_equal(struct ckv_digest a, struct ckv_digest b)
{
    return a.lanes[0] == b.lanes[0] && a.lanes[1] == b.lanes[1];
}

/*  What one record adds: its tag.  */
static inline struct ckv_digest ckv_digest_of(struct ckv_octets record)
{
    const uint8_t *tag = record.data + record.size - CKV_RECORD_TAG_SIZE;
    return (struct ckv_digest){ { ckv_get64(tag), ckv_get64(tag + 8) } };
}

/*  Wire form: 16 octets, network order.  */
static inline void ckv_digest_put(uint8_t octets[CKV_DIGEST_SIZE], struct ckv_digest self)
{
    ckv_put64(octets, self.lanes[0]);
    ckv_put64(octets + 8, self.lanes[1]);
}

static inline struct ckv_digest ckv_digest_get(const uint8_t octets[CKV_DIGEST_SIZE])
{
    return (struct ckv_digest){ { ckv_get64(octets), ckv_get64(octets + 8) } };
}

/*  The range of a storage key, 0 to CKV_RANGES - 1.  */
unsigned ckv_kv_range_of(const struct ckv_kv *self, struct ckv_octets storage_key);

/*  The digests of all ranges: 256 KiB.  */
struct ckv_digest_table {
    struct ckv_digest ranges[CKV_RANGES];
};

/*  The digest of all records of row ROW, ranges 64 * ROW and on.  */
static inline struct ckv_digest ckv_digest_of_row(const struct ckv_digest_table *table,
                                                  unsigned row)
{
    struct ckv_digest sum = { { 0, 0 } };
    for (unsigned i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
        ckv_digest_add(&sum, table->ranges[row * CKV_DIGEST_ROW_RANGES + i], 1);
    return sum;
}

/*  Reads them all, in a write transaction as they were before it. Returns CKV_ERROR_STORE for a row
    that is none, and the errors of ckv_kv_table_get.  */
int ckv_kv_digests(struct ckv_kv_txn *txn, struct ckv_digest_table *table);

/*  The digest of all records. Errors of ckv_kv_digests.  */
int ckv_kv_digest_root(struct ckv_kv_txn *txn, struct ckv_digest *root);

/*  Gives every record whose range's bit is set in RANGES, and whatever order suits the engine, to
    VISIT, until that returns other than CKV_OK, which is then returned. Records that do not parse
    are passed over. lmdb reads just those ranges, the other engines walk the whole store.  */
typedef int ckv_kv_visit(void *argument, unsigned range, const struct ckv_certificate *certificate);

struct ckv_ranges {
    uint8_t bits[CKV_RANGES / 8];
};

static inline void ckv_ranges_add(struct ckv_ranges *self, unsigned range)
{
    self->bits[range / 8] |= (uint8_t)(1U << range % 8);
}

static inline bool ckv_ranges_has(const struct ckv_ranges *self, unsigned range)
{
    return (self->bits[range / 8] >> range % 8) & 1;
}

int ckv_kv_walk_ranges(struct ckv_kv_txn *txn, const struct ckv_ranges *ranges, ckv_kv_visit *visit,
                       void *argument);

/*  Whether records come range by range, in order, as they do from lmdb.  */
bool ckv_kv_ranges_in_order(const struct ckv_kv *self);

/*  Counts the digest of RANGE anew from its records, in a write transaction: after damage that a
    digest remembers and the records do not. Errors of ckv_kv_merge.  */
int ckv_kv_mend_range(struct ckv_kv_txn *txn, unsigned range);

/*  ---- for kv.c ----  */

struct ckv_digests;

/*  Makes the digests of a store that has none yet, from its records.  */
int ckv_digests_open(struct ckv_kv *kv);
void ckv_digests_close(struct ckv_kv *kv);

/*  A write transaction begins; a record changed, whose digest was BEFORE (NULL: it is new); all is
    written, before the commit.  */
void ckv_digests_begin(struct ckv_kv_txn *txn);
int ckv_digests_change(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                       const struct ckv_digest *before);
int ckv_digests_flush(struct ckv_kv_txn *txn);

/*  After a commit: adds the changes that have piled up, if it is time.  */
void ckv_digests_settle(struct ckv_kv *kv);

/*  There was no room for something: from now on changes are added to the digests where they are, which
    takes none, and what has piled up makes room little by little.  */
void ckv_digests_cramp(struct ckv_kv *kv);

#endif
