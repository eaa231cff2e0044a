/*  introduction: what the gateway tells the backend of a client, in the READY of the NULL mechanism.

        Socket-Type, Identity, Resource     as the client says
        X-Curvekv-Key                       the storage key, in its text form
        X-Curvekv-Organisation, -Number     of the certificate, unless empty
        metadata of the certificate         under their names
        X-...                               what else the client says of itself

    A backend reads them with zmq_msg_gets, which gives the first of several with one name. So what
    the cluster says comes first, and of the client's own names only those pass that RFC 23 has or
    lets an application have, which begin with X-; not X-Curvekv-, which no client may set, nor one
    that the certificate has. Of the certificate's metadata those do not pass that have a meaning to
    ZMTP or are told by libzmq itself: they would make it another socket, or another user.
*/
#ifndef CKV_INTRODUCTION_H
#define CKV_INTRODUCTION_H

#include "core/certificate.h"
#include "core/curve.h"

enum {
    /* header and name of the command, the three of ours, certificate's and client's metadata */
    CKV_INTRODUCTION_MAX = 1024 + CKV_METADATA_MAX + CKV_CURVE_METADATA_MAX,
};

/*  Writes a whole command frame READY. CLIENT are the properties of its INITIATE. Returns its size, or
    CKV_ERROR_METADATA when the client's properties cannot be passed on.  */
int ckv_introduction_write(uint8_t frame[CKV_INTRODUCTION_MAX],
                           const struct ckv_certificate *certificate, struct ckv_octets client);

#endif
