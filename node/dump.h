/*  dump: a run of records, as `export` writes it to a file and as the admin service sends it.

        dump   = magic *entry end
        magic  = "CURVEKV DUMP 1" LF
        entry  = type size record          ; type "R" a record, "C" one that lost its storage key
        size   = 4OCTET                    ; of the record, network order
        end    = "E" %x00.00.00.08 count   ; count = 8OCTET, how many entries went before

    A message of the admin service is a run of entries alone. Records are sealed: a dump holds no
    secret in clear, and nothing in it can be changed unnoticed.
*/
#ifndef CKV_DUMP_H
#define CKV_DUMP_H

#include "core/error.h"
#include "core/octets.h"

#define CKV_DUMP_MAGIC "CURVEKV DUMP 1\n"

enum {
    CKV_DUMP_RECORD = 'R',
    CKV_DUMP_CONFLICT = 'C',
    CKV_DUMP_END = 'E',
    CKV_DUMP_HEAD_SIZE = 5, /* type and size of an entry */
};

struct ckv_dump_entry {
    int type;
    struct ckv_octets octets; /* the record, or the count */
};

/*  Takes the next entry off the front of DUMP. Returns 1 with *ENTRY set, 0 at the end of the
    octets, CKV_ERROR_DUMP_TRUNCATED when an entry goes on behind it (DUMP is then left as it was:
    read more), or CKV_ERROR_DUMP for what is no entry.  */
int ckv_dump_next(struct ckv_octets *dump, struct ckv_dump_entry *entry);

/*  Writes the head of an entry of SIZE octets.  */
void ckv_dump_head(uint8_t head[CKV_DUMP_HEAD_SIZE], int type, size_t size);

#endif
