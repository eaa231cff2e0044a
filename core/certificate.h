/*  certificate: what the cluster knows of one client, and its one encoding, the record.

    A record is a single AEAD message (XChaCha20-Poly1305, libsodium's crypto_aead_xchacha20poly1305
    _ietf): the header and the variable parts are its associated data, the nonce is in the header,
    the dedicated server secret key is its only plaintext.

        header         192 octets, fixed, struct ckv_record below
        organisation   UTF-8
        number         UTF-8, the client number
        metadata       properties (core/properties.h)
        sealed         32 octets: the server secret key, encrypted; absent when the key is shared
        tag            16 octets

    So whoever has not the cluster key can neither read the secret nor make, change or un-revoke a
    record; and records travel and rest as they are, the same bytes on every node. The secret comes
    last, not in the header, so that the associated data is one run of octets: verifying a record
    copies nothing.

    Reading is in place: ckv_certificate_parse fills a view that borrows from the record, wherever
    that rests, and allocates nothing.
*/
#ifndef CKV_CERTIFICATE_H
#define CKV_CERTIFICATE_H

#include "core/error.h"
#include "core/octets.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ckv_cluster_key;

enum {
    CKV_ORGANISATION_MAX = 255,
    CKV_NUMBER_MAX = 255,
    CKV_METADATA_MAX = 8192,
    CKV_RECORD_NONCE_SIZE = 24,
    CKV_RECORD_TAG_SIZE = 16,
    CKV_RECORD_FORMAT = 1,
};

/*  The header on the wire and on disk. Numbers are in network order; times are milliseconds since
    1970, UTC.  */
struct ckv_record {
    uint8_t format;            /* CKV_RECORD_FORMAT */
    uint8_t flags;             /* CKV_RECORD_DEDICATED; the others zero */
    uint8_t state;             /* enum ckv_state */
    uint8_t storage_key_size;  /* 1..40 */
    uint8_t cluster_key_id[4]; /* which cluster key seals it */
    uint8_t revision[8];       /* hybrid logical clock (core/revision.h) of the last change */
    uint8_t revised_by[8];     /* node id of the last change */
    uint8_t created[8];        /* with created_by, the certificate's identity */
    uint8_t created_by[8];     /* node id */
    uint8_t not_before[8];     /* 0: since ever */
    uint8_t not_after[8];      /* 0: for ever */
    uint8_t storage_key[40];   /* zero-filled */
    uint8_t client_public_key[32];
    uint8_t server_public_key[32]; /* dedicated, or the cluster's default one */
    uint8_t organisation_size[2];
    uint8_t number_size[2];
    uint8_t metadata_size[2];
    uint8_t reserved[2]; /* zero */
    uint8_t nonce[CKV_RECORD_NONCE_SIZE];
};

enum {
    CKV_RECORD_DEDICATED = 1, /* flag: a server key pair for this client alone */
    CKV_RECORD_HEADER_SIZE = sizeof(struct ckv_record),
    CKV_RECORD_MIN = CKV_RECORD_HEADER_SIZE + CKV_RECORD_TAG_SIZE,
    CKV_RECORD_MAX = CKV_RECORD_HEADER_SIZE + CKV_ORGANISATION_MAX + CKV_NUMBER_MAX +
                     CKV_METADATA_MAX + 32 + CKV_RECORD_TAG_SIZE,
};

enum ckv_state { CKV_STATE_ACTIVE = 1, CKV_STATE_REVOKED = 2 };

/*  A certificate as values. Filled by ckv_certificate_parse it is a view: all pointers borrow from
    the record and live as long as it (for a record in a store: until the read ends). Filled by hand
    it is what ckv_certificate_seal makes a record of.  */
struct ckv_certificate {
    struct ckv_octets storage_key;
    const uint8_t *client_public_key; /* 32 octets */
    const uint8_t *server_public_key; /* 32 octets */
    struct ckv_octets organisation;   /* UTF-8, may be empty */
    struct ckv_octets number;         /* UTF-8, may be empty */
    struct ckv_octets metadata;       /* properties, may be empty */
    uint64_t revision;
    uint64_t revised_by;
    uint64_t created;
    uint64_t created_by;
    uint64_t not_before; /* ms since 1970; 0: since ever */
    uint64_t not_after;  /* ms since 1970; 0: for ever */
    enum ckv_state state;
    int dedicated;            /* 1: has a server key pair for itself alone */
    struct ckv_octets record; /* the whole record; unset when filled by hand */
};

/*  Reads a record in place. Bounds every length; trusts nothing else. Does not authenticate: see
    ckv_certificate_verify. Returns CKV_ERROR_TRUNCATED (also for octets left over),
    CKV_ERROR_FORMAT, or CKV_ERROR_DAMAGED for a value outside its range.  */
CKV_EXPORT int ckv_certificate_parse(struct ckv_certificate *self, const void *record, size_t size);

/*  Whether the certificate may be used at NOW (ms since 1970). Returns CKV_OK, CKV_ERROR_REVOKED,
    CKV_ERROR_NOT_YET_VALID or CKV_ERROR_EXPIRED.  */
CKV_EXPORT int ckv_certificate_valid_at(const struct ckv_certificate *self, uint64_t now);

/*  Checks content, as a record may hold it: sizes, printable UTF-8, properties, not_before before
    not_after. Returns the error that names the first bad field.  */
int ckv_certificate_check(const struct ckv_certificate *self);

/*  Checks a public key that comes from outside: CKV_ERROR_WEAK_KEY when it has low order, so that
    any shared secret with it would be zero (RFC 7748, section 6.1).  */
int ckv_public_key_check(const uint8_t public_key[32]);

/*  Makes a record of SELF at RECORD, which holds CKV_RECORD_MAX octets, and sets *SIZE.
    SERVER_SECRET_KEY is the dedicated secret key when self->dedicated, else NULL. NONCE is fresh
    random. Errors are those of ckv_certificate_check.  */
int ckv_certificate_seal(const struct ckv_certificate *self, const uint8_t *server_secret_key,
                         const struct ckv_cluster_key *cluster_key,
                         const uint8_t nonce[CKV_RECORD_NONCE_SIZE], uint8_t *record, size_t *size);

/*  Authenticates the record that SELF was parsed from: CKV_OK, CKV_ERROR_WRONG_CLUSTER_KEY when
    another cluster key sealed it, CKV_ERROR_DAMAGED when it was changed.  */
int ckv_certificate_verify(const struct ckv_certificate *self,
                           const struct ckv_cluster_key *cluster_key);

/*  The same, and gives the dedicated server secret key; the caller wipes it. Returns
    CKV_ERROR_SHARED_KEY, without having authenticated anything, when the record has none.  */
int ckv_certificate_unseal(const struct ckv_certificate *self,
                           const struct ckv_cluster_key *cluster_key,
                           uint8_t server_secret_key[32]);

/*  Whether A and B are two states of one certificate, rather than two certificates that were given
    one storage key.  */
int ckv_certificate_same(const struct ckv_certificate *a, const struct ckv_certificate *b);

/*  Which of two records of one storage key stands: negative A, positive B, 0 the same bytes.

    A total order, so that taking the first of any number of records, in any order and grouping,
    any number of times, gives the same one (a join-semilattice, Shapiro et al. 2011, 2.3):
    1. the older created, then the smaller created_by: who had the storage key first keeps it;
    2. revoked before active: a revocation holds, whatever was changed beside it;
    3. the higher revision, then the higher revised_by;
    4. the smaller bytes: no two nodes can write this, but a tie must have one answer.  */
int ckv_certificate_compare(const struct ckv_certificate *a, const struct ckv_certificate *b);

#ifdef __cplusplus
}
#endif
#endif
