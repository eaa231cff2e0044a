/*  identity: what a client proves itself with, out of its certificate file.

    The file is one that `curvekv register` wrote. One of CZMQ or pyzmq does, too, when the server's
    public key is given beside it: it has no storage key, and the HELLO is a stock one.
*/
#ifndef CKV_IDENTITY_H
#define CKV_IDENTITY_H

#include "core/certfile.h"
#include "core/curve.h"

/*  Reads the certificate file PATH into FILE, removes its protection with PASSPHRASE (NULL: none is
    known), takes SERVER_PUBLIC_KEY for the server's unless that is NULL, and sees that what a client
    needs is there. Errors are those of ckv_keyfile_read and ckv_certfile_unprotect, and
    CKV_ERROR_PROTECTED, CKV_ERROR_NO_SECRET_KEY, CKV_ERROR_NO_SERVER_KEY. FILE holds secrets, after
    an error not: wipe it.  */
int ckv_identity_load(struct ckv_certfile *file, const char *path, const char *passphrase,
                      const uint8_t *server_public_key);

/*  FILE as a handshake takes it. Borrows from FILE.  */
struct ckv_curve_identity ckv_identity_of(const struct ckv_certfile *file);

#endif
