/*  passphrase: where a command gets the passphrase of a certificate file from.  */
#ifndef CKV_PASSPHRASE_H
#define CKV_PASSPHRASE_H

#include "node/commands/command.h"
#include <stdbool.h>

enum { CKV_PASSPHRASE_MAX = 1024 };

/*  Whether ARGUMENTS ask for a passphrase.  */
bool ckv_passphrase_wanted(const struct ckv_arguments *arguments);

/*  Gets the passphrase: the first line of --passphrase-file, or asked on the terminal, twice when
    TWICE. Complains itself: returns an enum ckv_exit. Wipe PASSPHRASE.  */
int ckv_passphrase_get(const struct ckv_arguments *arguments, bool twice,
                       char passphrase[CKV_PASSPHRASE_MAX]);

#endif
