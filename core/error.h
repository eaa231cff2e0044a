/*  error: every way in which curvekv can say no, one number each.

    Functions return CKV_OK (0) or one of these, always negative. ckv_strerror gives the sentence
    a person reads; it says what is wrong and what to do, and never holds a secret. A program that
    knows more (a path, a key) prints that in front of the sentence.
*/
#ifndef CKV_ERROR_H
#define CKV_ERROR_H

#if defined(__GNUC__)
#define CKV_EXPORT __attribute__((visibility("default")))
#else
#define CKV_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum ckv_error {
    CKV_OK = 0,

    /*  The caller or the machine  */
    CKV_ERROR_ARGUMENT = -1, /* a parameter outside its documented range */
    CKV_ERROR_MEMORY = -2,   /* no memory */
    CKV_ERROR_IO = -3,       /* the disk or the file system failed */
    CKV_ERROR_PERMISSION = -4,
    CKV_ERROR_NO_STORE = -5,        /* no data directory, or no store in it */
    CKV_ERROR_IN_USE = -6,          /* another node holds this data directory */
    CKV_ERROR_DISK_FULL = -7,       /* ENOSPC or EDQUOT; the batch was not applied */
    CKV_ERROR_STORE_FULL = -8,      /* --max-size reached; the batch was not applied */
    CKV_ERROR_READ_ONLY = -9,       /* a write to a store opened for reading */
    CKV_ERROR_STORE = -10,          /* the store's files are not a store of ours, or damaged */
    CKV_ERROR_READERS = -11,        /* every reader slot of the store is taken */
    CKV_ERROR_NO_FILE = -12,        /* a file or directory that is absent */
    CKV_ERROR_PATH = -13,           /* a path too long */
    CKV_ERROR_DIRECTORY = -15,      /* a directory where a file is wanted */
    CKV_ERROR_NOT_DIRECTORY = -17,  /* a file where a directory is wanted */
    CKV_ERROR_DIRECTORY_MODE = -16, /* a data directory that others can write, or another owns */
    CKV_ERROR_FILE_FULL = -18,      /* no room for a file, such as a certificate's or a dump's */
    CKV_ERROR_PIPE = -19,           /* a pipe that nobody reads any more */
    CKV_ERROR_SPECIAL_FILE = -30,   /* a device, pipe or socket where a new file is wanted */
    CKV_ERROR_STORE_KEY = -31,      /* a data directory with another cluster key */
    CKV_ERROR_IN_MEMORY = -32,      /* a store that no other process can read */
    CKV_ERROR_NO_CLUSTER_KEY = -14, /* a data directory with a store and without its cluster key */

    /*  Certificates and what is asked of them  */
    CKV_ERROR_NOT_FOUND = -20,
    CKV_ERROR_TAKEN = -21, /* the storage key belongs to another certificate */
    CKV_ERROR_REVOKED = -22,
    CKV_ERROR_EXPIRED = -23,
    CKV_ERROR_NOT_YET_VALID = -24,
    CKV_ERROR_CLIENT_KEY_TAKEN = -25, /* an active certificate has this client public key */
    CKV_ERROR_VALIDITY = -27,         /* an end of validity that is not after its begin */
    CKV_ERROR_SHARED_KEY = -26,       /* a dedicated server key was wanted, the record has none */

    /*  Bytes from outside  */
    CKV_ERROR_TRUNCATED = -40,         /* a record that ends too early */
    CKV_ERROR_FORMAT = -41,            /* a record of a format that this version does not know */
    CKV_ERROR_DAMAGED = -42,           /* a record that fails authentication */
    CKV_ERROR_WRONG_CLUSTER_KEY = -43, /* a record sealed under another cluster key */
    CKV_ERROR_STORAGE_KEY = -44,       /* not 1 to 40 octets, or not a storage key's text */
    CKV_ERROR_ORGANISATION = -45,      /* over 255 octets, not UTF-8, or control characters */
    CKV_ERROR_NUMBER = -46,            /* the same for a client number */
    CKV_ERROR_METADATA = -47,          /* properties malformed or over their bounds */
    CKV_ERROR_Z85 = -48,               /* not a key of 40 Z85 characters */
    CKV_ERROR_CERTFILE = -49,          /* not a certificate file */
    CKV_ERROR_CERTFILE_SIZE = -50,     /* a certificate file over 64 KiB */
    CKV_ERROR_CERTFILE_EMPTY = -51,
    CKV_ERROR_CERTFILE_BINARY = -52,
    CKV_ERROR_NO_PUBLIC_KEY = -53,      /* a certificate file without a public key */
    CKV_ERROR_KEY_MISMATCH = -54,       /* secret key and public key are not a pair */
    CKV_ERROR_PASSPHRASE = -56,         /* wrong passphrase */
    CKV_ERROR_CLUSTER_KEY_LENGTH = -57, /* a cluster key file not of 32 octets */
    CKV_ERROR_CLUSTER_KEY_MODE = -58,   /* a cluster key file that others can read */
    CKV_ERROR_DUMP = -59,               /* not a record dump */
    CKV_ERROR_DUMP_TRUNCATED = -60,     /* a record dump that ends too early */
    CKV_ERROR_REQUEST = -61,            /* an admin request that cannot be read */
    CKV_ERROR_ARRAY_KEY = -62,          /* the array store was given a key that is no index */
    CKV_ERROR_WEAK_KEY = -63,           /* a public key of low order, which protects nothing */
    CKV_ERROR_URL = -64,                /* not a Redis URL */
    CKV_ERROR_URL_TLS = -65,            /* rediss://, and this build has no TLS for Redis */
    CKV_ERROR_PASSWORD_FILE = -67,      /* no password in the first line of its file */
    CKV_ERROR_MESSAGE = -66,            /* no message between nodes of this cluster */

    /*  The node  */
    CKV_ERROR_NOT_REACHABLE = -80,
    CKV_ERROR_EXISTS = -81, /* a file that would be overwritten */
    CKV_ERROR_TIMEOUT = -82,
    CKV_ERROR_UNAVAILABLE = -83,   /* uniqueness in the cluster cannot be promised now */
    CKV_ERROR_REDIS = -84,         /* Redis is not reachable, or refuses */
    CKV_ERROR_NODE_ID = -85,       /* another node of the cluster has this node's id */
    CKV_ERROR_NO_NODE = -86,       /* no member of the cluster has this name or id */
    CKV_ERROR_POSITION = -87,      /* entries that do not follow what was applied last */
    CKV_ERROR_NODE_LIVE = -88,     /* a node that runs cannot be forgotten */
    CKV_ERROR_NO_CLUSTER = -89,    /* a node without Redis was asked for what a cluster does */
    CKV_ERROR_ENDPOINT = -90,      /* not a ZeroMQ endpoint of a kind that is known here */
    CKV_ERROR_HOST = -91,          /* an address to listen at that is none of this machine */
    CKV_ERROR_NO_ADDRESS = -96,    /* a host's name that has no address */
    CKV_ERROR_PORT_IN_USE = -92,   /* an endpoint that cannot be listened at just now */
    CKV_ERROR_NO_SOCKET = -97,     /* an ipc endpoint where there is a file of another kind */
    CKV_ERROR_MEMBER = -93,        /* a member of a cluster is to be started without it */
    CKV_ERROR_CLUSTER_KEY = -95,   /* the cluster that a node is to join has another key */
    CKV_ERROR_OTHER_CLUSTER = -94, /* a member of a cluster is to be one of another */

    /*  A peer on the wire (core/zmtp.h, core/hello.h, core/curve.h). After each of these the
        connection is closed  */
    CKV_ERROR_ZMTP = -100,        /* octets that are not ZMTP 3 */
    CKV_ERROR_FRAME_SIZE = -101,  /* a frame longer than the reader's bound */
    CKV_ERROR_CURVE = -102,       /* a CURVE command malformed, of a wrong size, or out of turn */
    CKV_ERROR_CURVE_BOX = -103,   /* a CURVE command that fails authentication */
    CKV_ERROR_CURVE_NONCE = -104, /* a CURVE command replayed, or nonces used up */
    CKV_ERROR_REFUSED = -105,     /* the peer answered with an ERROR command */
    CKV_ERROR_HELLO_MAC = -106,   /* a modified HELLO not made with its client's hello key */
    CKV_ERROR_HELLO_CLOCK = -107, /* a modified HELLO outside the clock's window */

    /*  A client's connection (node/library/curvekv.h)  */
    CKV_ERROR_NO_SERVER = -122,     /* nothing listens at the endpoint */
    CKV_ERROR_MECHANISM = -123,     /* the server is not set up for CURVE */
    CKV_ERROR_HANDSHAKE = -124,     /* the server closed in the handshake, without a reason */
    CKV_ERROR_CLOSED = -125,        /* the server closed the connection */
    CKV_ERROR_PEER_TYPE = -126,     /* the server's socket type does not go with the client's */
    CKV_ERROR_TURN = -127,          /* what this socket type cannot do, or cannot do now */
    CKV_ERROR_NO_SECRET_KEY = -128, /* a certificate file without the client's secret key */
    CKV_ERROR_NO_SERVER_KEY = -129, /* a certificate file without the server's public key */
    CKV_ERROR_PROTECTED = -130,     /* a certificate file with a passphrase, and none given */
};

/*  The sentence for ERROR. Static storage; never NULL, also for numbers unknown here.  */
CKV_EXPORT const char *ckv_strerror(int error);

/*  The name of ERROR in snake case ("not_found"), for JSON and logs. Static storage.  */
CKV_EXPORT const char *ckv_error_name(int error);

#ifdef __cplusplus
}
#endif
#endif
