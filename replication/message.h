/*  message: what nodes say to each other through Redis, and the one place that reads it.

        head     32 octets, struct ckv_message_head
        payload  by type, below
        mac      16 octets: BLAKE2b-128 of all before, under the cluster's message_key

    Whoever can write to Redis but has not the cluster key can make no message. He can repeat one: a
    repeated record is merged again, which changes nothing; a repeated announcement is told by its
    number within one life of a node, and one of an earlier life proves nothing: a twin is believed
    only when it names this very instance, who was forgotten only when started after that, and that
    a node stops only from the life that was heard last; requests for repair are answered with sealed
    records only. Records inside are sealed and verified again by themselves. Nothing in a message is
    secret but in that form.

    | type         | goes by                | payload                                             |
    |--------------|------------------------|-----------------------------------------------------|
    | RECORD       | log                    | a record                                            |
    | FORGET       | log                    | id 8OCTET, time 8OCTET: a node is no member any more |
    | ANNOUNCEMENT | channel of nodes       | struct ckv_announcement_wire, name, endpoint        |
    | APPLIED      | channel of nodes       | epoch, sequence                                     |
    | MEMBERS      | channel of nodes       | *( id 8OCTET, time 8OCTET: when it was forgotten, or |
    |              |                        | zeros for a member )                                |
    | ASK_DIGESTS  | channel of one node    | 256 digests: the sum of each row of range digests   |
    | DIGESTS      | the same, back         | *( row 1OCTET, 64 digests ), of rows that differ    |
    | ASK_RANGES   | channel of one node    | *( range 2OCTET, count 2OCTET, *id 8OCTET )         |
    | RANGES       | the same, back         | answered 2OCTET, count 4OCTET, *( range 2OCTET,     |
    |              |                        | id 8OCTET ), *( size 4OCTET, record )               |
    | NUDGE        | channel of one node    | none: "repair with me"                              |

    An id is the first 8 octets of a record's tag: it names one state of one certificate.
*/
#ifndef CKV_MESSAGE_H
#define CKV_MESSAGE_H

#include "core/buffer.h"
#include "core/certificate.h"
#include "core/cluster_key.h"
#include "kv/digests.h"
#include <stdbool.h>

enum ckv_message_type {
    CKV_MESSAGE_RECORD = 'R',
    CKV_MESSAGE_FORGET = 'F',
    CKV_MESSAGE_ANNOUNCEMENT = 'A',
    CKV_MESSAGE_APPLIED = 'P',
    CKV_MESSAGE_MEMBERS = 'M',
    CKV_MESSAGE_ASK_DIGESTS = 'D',
    CKV_MESSAGE_DIGESTS = 'd',
    CKV_MESSAGE_ASK_RANGES = 'N',
    CKV_MESSAGE_RANGES = 'n',
    CKV_MESSAGE_NUDGE = 'G',
};

enum {
    CKV_MESSAGE_FORMAT = 1,
    CKV_MESSAGE_NOTIFY = 1, /* flag: whoever applies this says so with APPLIED */
    CKV_MESSAGE_MAC_SIZE = 16,
    CKV_MESSAGE_MAX = 4 * 1048576, /* octets of a whole message */
    CKV_NODE_NAME_MAX = 64,
    CKV_ENDPOINT_MAX = 255,
    CKV_RECORD_ID_SIZE = 8,
};

struct ckv_message_head {
    uint8_t format;            /* CKV_MESSAGE_FORMAT */
    uint8_t type;              /* enum ckv_message_type */
    uint8_t flags;             /* CKV_MESSAGE_NOTIFY; the others zero */
    uint8_t reserved;          /* zero */
    uint8_t cluster_key_id[4]; /* tells another cluster from a forgery */
    uint8_t sender[8];         /* node id */
    uint8_t instance[8];       /* of the sender: new at every start */
    uint8_t number[8];         /* RECORD, FORGET: of the outbox; requests and answers: of the
                                  request; else it grows with every message of the instance */
};

enum {
    CKV_MESSAGE_HEAD_SIZE = sizeof(struct ckv_message_head),
    CKV_MESSAGE_MIN = CKV_MESSAGE_HEAD_SIZE + CKV_MESSAGE_MAC_SIZE,
};

/*  A message as values; PAYLOAD borrows.  */
struct ckv_message {
    enum ckv_message_type type;
    uint8_t flags;
    uint64_t sender, instance, number;
    struct ckv_octets payload;
};

/*  Reads and authenticates. Returns CKV_OK, CKV_ERROR_MESSAGE, or CKV_ERROR_WRONG_CLUSTER_KEY when it
    names another cluster key.  */
int ckv_message_read(struct ckv_message *self, const struct ckv_cluster_key *cluster_key,
                     struct ckv_octets octets);

/*  Writes the head of SELF to the end of BUFFER, which may hold other messages before; the caller
    appends the payload (SELF's is not used), then finishes with the mac. START is what
    buffer->size was before. Returns CKV_ERROR_MEMORY.  */
int ckv_message_begin(struct ckv_buffer *buffer, const struct ckv_message *self,
                      const struct ckv_cluster_key *cluster_key);
int ckv_message_end(struct ckv_buffer *buffer, size_t start,
                    const struct ckv_cluster_key *cluster_key);

/*  ---- announcements: how a node is ----  */

enum ckv_node_state { CKV_NODE_LIVE = 1, CKV_NODE_CATCHING_UP = 2 };

enum {
    CKV_ANNOUNCES_CONFIRMED = 1, /* it has repaired into this epoch, see replication/repair.c */
    CKV_ANNOUNCES_ASKS = 2,      /* it wants to hear all others at once */
};

struct ckv_announcement_wire {
    uint8_t started[8]; /* ms since 1970, by its clock */
    uint8_t epoch[8];
    uint8_t sequence[8]; /* applied */
    uint8_t records[8];
    uint8_t outbox[8];
    uint8_t members[8]; /* sum of the ids of all members that it knows, itself too */
    uint8_t twin[8];    /* another instance that it has heard under its own node id; zeros: none */
    uint8_t digest[CKV_DIGEST_SIZE];
    uint8_t ttl_ms[4]; /* zeros: the last one of this life, the node stops */
    uint8_t state;     /* enum ckv_node_state */
    uint8_t flags;
    uint8_t name_size, endpoint_size;
};

struct ckv_announcement {
    uint64_t started, epoch, sequence, records, outbox, members, twin;
    struct ckv_digest digest;
    uint32_t ttl_ms;
    enum ckv_node_state state;
    uint8_t flags;
    struct ckv_octets name, endpoint; /* printable UTF-8 */
};

int ckv_announcement_read(struct ckv_announcement *self, struct ckv_octets payload);
int ckv_announcement_write(const struct ckv_announcement *self, struct ckv_buffer *buffer);

/*  ---- the other payloads: each takes the next item off the front of PAYLOAD. Return 1, 0 at the
    end, or CKV_ERROR_MESSAGE ----  */

struct ckv_membership {
    uint64_t id;
    uint64_t forgotten_at; /* ms since 1970; 0: it is a member */
};

enum { CKV_MEMBERSHIP_SIZE = 8 + 8 };

int ckv_membership_next(struct ckv_octets *payload, struct ckv_membership *item);

struct ckv_digests_item {
    unsigned row;
    struct ckv_digest digests[CKV_DIGEST_ROW_RANGES];
};

int ckv_digests_item_next(struct ckv_octets *payload, struct ckv_digests_item *item);

enum { CKV_ASKED_RANGES_MAX = 1024 }; /* in one question, in order, each once */

struct ckv_asked_range {
    unsigned range;
    struct ckv_octets ids; /* count * CKV_RECORD_ID_SIZE octets */
};

int ckv_asked_range_next(struct ckv_octets *payload, struct ckv_asked_range *item);

/*  The answer to ASK_RANGES: how many of the ranges asked for were answered, from the first (the
    others are to be asked for again), then what the asker has and the answerer lacks, then records
    that the asker lacks.  */
struct ckv_ranges_head {
    unsigned answered;
    struct ckv_octets lacking; /* CKV_LACKING_SIZE octets each: range, id */
};

enum { CKV_LACKING_SIZE = 2 + CKV_RECORD_ID_SIZE };

int ckv_ranges_head_read(struct ckv_octets *payload, struct ckv_ranges_head *head);
int ckv_ranges_record_next(struct ckv_octets *payload, struct ckv_octets *record);

#endif
