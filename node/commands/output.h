/*  output: the certificate file that a registration or a rotation ends in.

    It is opened before the node is asked, so that what can be refused about it is refused while there
    is no certificate to lose. Afterwards it is filled from the certificate and the secrets of the
    reply, and written whole or not at all.

    A client's secret key that the node did not make is nowhere but in the client's own file. Where
    --force would replace that very file, its secret key is carried over into the new one: from a file
    that a passphrase protects with that passphrase, and under it again.
*/
#ifndef CKV_OUTPUT_H
#define CKV_OUTPUT_H

#include "core/certificate.h"
#include "node/commands/passphrase.h"
#include "node/library/keyfile.h"

struct ckv_output {
    const struct ckv_arguments *arguments;
    struct ckv_keyfile keyfile;
    char passphrase[CKV_PASSPHRASE_MAX]; /* empty: none */
    bool carries;                        /* the secret key of the file that is replaced: */
    uint8_t public_key[32], secret_key[32];
    bool lacks_secret_key; /* once it is written: the client has to add its own */
};

/*  Opens it as --out, --force and the passphrase's options say. CLIENT_PUBLIC_KEY is the key that the
    client has and keeps, or NULL when the node makes a pair. Returns CKV_EXIT_DONE, or another exit
    status after having said what is wrong; close it in any case.  */
int ckv_output_open(struct ckv_output *self, const struct ckv_arguments *arguments,
                    const uint8_t *client_public_key);

/*  Writes the file of CERTIFICATE. SECRETS are those of the reply (node/request.h), CLUSTER is the
    cluster's name or NULL. Errors are those of ckv_keyfile_finish, and CKV_ERROR_REQUEST for secrets
    of a size that none have.  */
int ckv_output_write(struct ckv_output *self, const struct ckv_certificate *certificate,
                     struct ckv_octets secrets, const char *cluster);

/*  Drops what was not written, and wipes.  */
void ckv_output_close(struct ckv_output *self);

#endif
