/*  certfile: the certificate file that a client keeps, as text.

    ZPL (RFC 4), such as CZMQ's zcert and pyzmq's zmq.auth write and read it:

        #   comments, to the end of the line
        metadata
            name = "value"
        curve
            public-key = "Z85, 40 characters"
            secret-key = "Z85, 40 characters"
        curvekv
            cluster = "name"
            organisation = "ACME"
            number = "42"
            storage-key = "text form of the storage key"
            server-public-key = "Z85"
            hello-key = "Z85"
            not-after = "2026-12-31T00:00:00Z"
            protected = "Argon2id, hex"

    CZMQ and pyzmq read "metadata" and "curve" and pass over "curvekv". pyzmq takes any line that
    begins with public-key or secret-key, whatever the section: no name of ours begins so, and a
    metadata name that does is written with a capital (metadata names have no case).

    Values are quoted with " or, if they hold that, with '. ZPL has no escapes: a value with both is
    written bare, and one that cannot be (because of a # besides) is refused; a storage key is
    written as hex then.

    With a passphrase, "secret-key" and "hello-key" are absent, and "protected" holds both:

        protected = opslimit (4) memlimit (8) salt (16) nonce (24) secretbox (16 + 64)

    numbers in network order; crypto_pwhash with Argon2id13, crypto_secretbox of secret key and
    hello key (zeros: none). Limits read from a file are bounded before they are used (4 passes,
    1 GiB), so that a hostile file cannot eat the machine.

    No I/O here: octets in, octets out.
*/
#ifndef CKV_CERTFILE_H
#define CKV_CERTFILE_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/error.h"
#include "core/octets.h"
#include "core/storage_key.h"
#include <stdbool.h>

enum {
    CKV_CERTFILE_MAX = 65536, /* octets of a file; longer ones are refused unread */
    CKV_CERTFILE_PROTECTED_SIZE = 4 + 8 + 16 + 24 + 16 + 64,
    CKV_CERTFILE_OPSLIMIT_MAX = 4,
    CKV_CERTFILE_MEMLIMIT_MAX = 1 << 30,
    CKV_CLUSTER_NAME_MAX = 64,      /* octets of a cluster's name */
    CKV_FINGERPRINT_TEXT_SIZE = 25, /* five groups of four, dashes, terminating zero */
};

/*  A certificate file, read. Owns all it holds; about 9 KiB; holds secrets: wipe it with
    sodium_memzero when done.  */
struct ckv_certfile {
    uint8_t public_key[32];
    uint8_t secret_key[32];                                 /* if has_secret_key */
    uint8_t server_public_key[32];                          /* if has_server_public_key */
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];                  /* if has_hello_key */
    uint8_t protected_secrets[CKV_CERTFILE_PROTECTED_SIZE]; /* if is_protected */
    struct ckv_storage_key storage_key;                     /* size 0: none */
    char cluster[CKV_CLUSTER_NAME_MAX + 1];
    uint8_t organisation_size;
    uint8_t number_size;
    uint8_t organisation[CKV_ORGANISATION_MAX];
    uint8_t number[CKV_NUMBER_MAX];
    uint64_t not_after;                 /* ms since 1970; 0: for ever */
    uint8_t metadata[CKV_METADATA_MAX]; /* properties */
    size_t metadata_size;
    bool has_secret_key;
    bool has_server_public_key;
    bool has_hello_key;
    bool is_protected;
};

/*  Reads TEXT. Unknown sections and names are passed over, as ZPL's readers do. A key of 40 zeros
    is none: that is how CZMQ saves a public certificate in memory. When both are there, the public
    key must be that of the secret key. What could be read in two ways is refused: a known section
    or name that comes twice, secrets both in clear and protected.

    On error *LINE (if not NULL) is the line, from 1, that is to blame, or 0 when it is none of
    them, and SELF is wiped. Errors: CKV_ERROR_CERTFILE_EMPTY, _SIZE, _BINARY, CKV_ERROR_CERTFILE
    (not ZPL, see core/zpl.h; a name without "=" where a value belongs; a cluster, not-after or
    protected that is none; something twice), CKV_ERROR_NO_PUBLIC_KEY, CKV_ERROR_Z85,
    CKV_ERROR_KEY_MISMATCH, CKV_ERROR_METADATA, CKV_ERROR_STORAGE_KEY, CKV_ERROR_ORGANISATION,
    CKV_ERROR_NUMBER.  */
int ckv_certfile_read(struct ckv_certfile *self, struct ckv_octets text, unsigned *line);

/*  Writes SELF as text, terminating zero included, into TEXT of CAPACITY octets.
    CKV_CERTFILE_MAX is always enough. Sets *SIZE without the zero. When self->is_protected, secrets
    stand only in "protected". The text is a secret unless SELF holds none: wipe it. What is written
    reads back the same, but for milliseconds of not_after and the case of metadata names. Returns
    CKV_ERROR_ARGUMENT when CAPACITY is not enough or the cluster's name cannot be written, else
    CKV_ERROR_ORGANISATION, CKV_ERROR_NUMBER or CKV_ERROR_METADATA for one that cannot. On error
    TEXT is wiped.  */
int ckv_certfile_write(const struct ckv_certfile *self, char *text, size_t capacity, size_t *size);

/*  Whether what ckv_certfile_write makes of SELF holds a secret, protected or not: such files are
    written with mode 0600.  */
bool ckv_certfile_is_secret(const struct ckv_certfile *self);

/*  Whether SELF is a client's but for its secret key, which the client has to add: the node that made it
    never had that. What is written then says so, and where to add it.  */
bool ckv_certfile_lacks_secret_key(const struct ckv_certfile *self);

/*  Moves secret key and hello key under PASSPHRASE: afterwards self->is_protected, and
    has_secret_key and has_hello_key are false, and the keys are wiped. SALT and NONCE are fresh
    random. OPSLIMIT and MEMLIMIT are crypto_pwhash's, within the bounds above; this takes as long
    as they say. Returns CKV_ERROR_MEMORY when MEMLIMIT cannot be had, CKV_ERROR_ARGUMENT for limits
    out of bounds, an empty passphrase, or a SELF that has no secret key or is protected already.
    On error SELF stays as it was.  */
int ckv_certfile_protect(struct ckv_certfile *self, struct ckv_octets passphrase,
                         const uint8_t salt[16], const uint8_t nonce[24], uint32_t opslimit,
                         uint64_t memlimit);

/*  The reverse. Returns CKV_ERROR_PASSPHRASE for a wrong one (or octets that were changed),
    CKV_ERROR_CERTFILE for limits out of bounds, CKV_ERROR_KEY_MISMATCH, CKV_ERROR_MEMORY, and
    CKV_ERROR_ARGUMENT when SELF is not protected. On error SELF stays as it was, and nothing that
    was decrypted is left behind.  */
int ckv_certfile_unprotect(struct ckv_certfile *self, struct ckv_octets passphrase);

/*  The fingerprint of a client public key, short enough for the telephone: the first 100 bits of
    its BLAKE2b-256 in five groups of four letters and digits without I, L, O and U (Crockford's
    base 32), such as "7K3F-9QWE-M0VX-2B8T-HJ4N". TEXT holds the terminating zero. Returns TEXT.  */
char *ckv_fingerprint_text(const uint8_t client_public_key[32],
                           char text[CKV_FINGERPRINT_TEXT_SIZE]);

#endif
