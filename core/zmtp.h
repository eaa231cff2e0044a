/*  zmtp: ZMTP 3.0 and 3.1 on the wire (RFC 23, RFC 37), without I/O: octets in, octets out.

    A connection is two greetings of 64 octets, crosswise, then frames. A frame is a header of 2 or 9
    octets and a body; the body is a command or a part of a message. What a mechanism such as CURVE
    (core/curve.h) says, it says in bodies of frames.

    Who sends what when. We speak nothing older than ZMTP 3, so a side of ours may send its whole
    greeting at once. It must send the first CKV_ZMTP_GREETING_FIRST octets without waiting for
    anything: libzmq, to find out about older peers, sends 10 octets, sends its 11th after 10 of ours,
    and the other 53 after our 11th. It must send the rest once it has the whole greeting of the peer,
    and may before; but a server that waits for the peer's 11th octet learns first whether it is
    worth the trouble.

    Parsers take octets off the front of what the caller has collected, and return 1 with what they
    read, 0 when there is not enough yet, or an error, upon which the connection is closed. Views
    borrow from the caller's octets.
*/
#ifndef CKV_ZMTP_H
#define CKV_ZMTP_H

#include "core/error.h"
#include "core/octets.h"

#include <stdbool.h>

enum {
    CKV_ZMTP_GREETING_SIZE = 64,
    CKV_ZMTP_GREETING_FIRST = 11, /* signature and major version */
    CKV_ZMTP_MECHANISM_SIZE = 20,
    CKV_ZMTP_HEADER_MAX = 9, /* octets of a frame's header: 2 or 9 */
    CKV_ZMTP_PING_CONTEXT_MAX = 16,
    CKV_ZMTP_PONG_MAX = 1 + 4 + CKV_ZMTP_PING_CONTEXT_MAX, /* octets of its body */
};

/*  The greeting on the wire (RFC 37, "Formal Grammar").  */
struct ckv_zmtp_greeting_octets {
    uint8_t signature[10];                      /* ff, 8 octets that mean nothing, 7f */
    uint8_t major;                              /* 3 */
    uint8_t minor;                              /* 0 or 1 */
    uint8_t mechanism[CKV_ZMTP_MECHANISM_SIZE]; /* zero-filled */
    uint8_t as_server;                          /* 0 or 1 */
    uint8_t filler[31];                         /* zero */
};

/*  A greeting, read. Owns all it holds.  */
struct ckv_zmtp_greeting {
    uint8_t minor;  /* 0: talk 3.0 to this peer; 1: talk 3.1 */
    bool as_server; /* as the peer says; libzmq says false even when it is the server */
    char mechanism[CKV_ZMTP_MECHANISM_SIZE + 1]; /* "NULL", "PLAIN", "CURVE", ... */
};

/*  Writes a greeting of version 3.1. MECHANISM has at most 20 characters.  */
void ckv_zmtp_greeting_write(struct ckv_zmtp_greeting_octets *greeting, const char *mechanism,
                             bool as_server);

/*  Takes a greeting off the front of INPUT. Returns 1, or 0 when the 64 octets are not all there, or
    CKV_ERROR_ZMTP as soon as the octets there cannot become a greeting of ZMTP 3 or later: a wrong
    signature, major version under 3, a mechanism with other than A-Z 0-9 - _ . + or with octets
    after its zeros, as-server over 1. A version after 3.1 is read as 3.1, as RFC 37 wants; padding
    and filler are passed over.  */
int ckv_zmtp_greeting_next(struct ckv_octets *input, struct ckv_zmtp_greeting *greeting);

/*  Flags of a frame. The bit for long sizes is not among them: it belongs to the encoding.  */
enum {
    CKV_ZMTP_MORE = 1,    /* more parts of this message follow */
    CKV_ZMTP_COMMAND = 4, /* the body is a command */
};

struct ckv_zmtp_frame {
    uint8_t flags;          /* 0, CKV_ZMTP_MORE or CKV_ZMTP_COMMAND */
    uint8_t header_size;    /* 2 or 9; 0: the header is not all there */
    size_t size;            /* octets of the body */
    struct ckv_octets body; /* when the frame is whole */
};

/*  Takes a frame off the front of INPUT. Returns 1 when it is whole; 0 when it is not: INPUT stays as
    it was, and when the header is there, header_size and size tell how many octets the frame takes.
    Returns CKV_ERROR_FRAME_SIZE for a body of more than MAX octets, as soon as its size is there, so
    that no memory is set aside for it (a size of 2^63 or more is over every MAX), and CKV_ERROR_ZMTP
    for flags that RFC 23 does not have: reserved ones, or MORE on a command.  */
int ckv_zmtp_frame_next(struct ckv_octets *input, size_t max, struct ckv_zmtp_frame *frame);

/*  Writes the header of a frame with a body of SIZE octets; returns its size, 2 or 9. FLAGS as in
    struct ckv_zmtp_frame.  */
size_t ckv_zmtp_header_write(uint8_t header[CKV_ZMTP_HEADER_MAX], uint8_t flags, size_t size);

/*  The body of a command frame: a name and its data.  */
struct ckv_zmtp_command {
    struct ckv_octets name; /* 1 to 255 letters */
    struct ckv_octets data;
};

/*  Reads the body of a command frame. Returns CKV_OK or CKV_ERROR_ZMTP.  */
int ckv_zmtp_command_parse(struct ckv_octets body, struct ckv_zmtp_command *command);

bool ckv_zmtp_command_is(const struct ckv_zmtp_command *command, const char *name);

/*  Appends a whole command frame, header, name and data, to the *SIZE octets at BUFFER. Returns
    CKV_ERROR_ARGUMENT, and changes nothing, when CAPACITY is not enough or the name is none. With
    name "READY" the data are properties (core/properties.h); for the NULL mechanism that is the whole
    handshake.  */
int ckv_zmtp_command_put(uint8_t *buffer, size_t capacity, size_t *size, const char *name,
                         struct ckv_octets data);

/*  The reason in the data of an ERROR command: 0 to 255 printable ASCII characters. Returns CKV_OK or
    CKV_ERROR_ZMTP. Unless it came in a box, anybody on the way can have written it.  */
int ckv_zmtp_error_parse(struct ckv_octets data, struct ckv_octets *reason);

/*  A PING: the peer asks for a PONG, and wants to be given up after TTL_MS without a sign of life (0:
    it does not say).  */
struct ckv_zmtp_ping {
    uint32_t ttl_ms;
    struct ckv_octets context; /* 0 to 16 octets, to be sent back as the data of a PONG */
};

/*  Reads the data of a PING command. Returns CKV_OK or CKV_ERROR_ZMTP.  */
int ckv_zmtp_ping_parse(struct ckv_octets data, struct ckv_zmtp_ping *ping);

/*  Writes the body of the PONG that answers a PING with CONTEXT; returns its size.  */
size_t ckv_zmtp_pong_write(uint8_t body[CKV_ZMTP_PONG_MAX], struct ckv_octets context);

/*  A subscription, whichever way it came.  */
struct ckv_zmtp_subscription {
    bool cancel; /* false: begins; true: ends */
    struct ckv_octets topic;
};

/*  Reads the body of a frame from a SUB or XSUB. Returns 1 for a subscription, which is a command
    SUBSCRIBE or CANCEL in 3.1, a message that begins with 01 or 00 in 3.0; 0 for anything else, which
    is a command of another name or a message of the application (an XSUB sends those).  */
int ckv_zmtp_subscription_parse(uint8_t flags, struct ckv_octets body,
                                struct ckv_zmtp_subscription *subscription);

/*  Appends a subscription to the *SIZE octets at BUFFER as a frame for a peer of version 3.MINOR.
    Returns CKV_ERROR_ARGUMENT, and changes nothing, when CAPACITY is not enough.  */
int ckv_zmtp_subscription_put(uint8_t *buffer, size_t capacity, size_t *size, uint8_t minor,
                              const struct ckv_zmtp_subscription *subscription);

#endif
