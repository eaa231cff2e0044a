/*  keyfile: certificate files on the disk.  */
#ifndef CKV_KEYFILE_H
#define CKV_KEYFILE_H

#include "core/certfile.h"
#include <sys/types.h>

/*  What errno says of a file that somebody named: as ckv_system_error, but CKV_ERROR_NO_FILE and
    CKV_ERROR_FILE_FULL, which a store has other sentences for, and CKV_ERROR_PIPE.  */
int ckv_keyfile_error(int number);

/*  Reads up to CAPACITY octets of PATH, which need not be a certificate file. Errors: CKV_ERROR_NO_FILE,
    CKV_ERROR_DIRECTORY, CKV_ERROR_PERMISSION, CKV_ERROR_IO.  */
int ckv_keyfile_read_text(const char *path, char *text, size_t capacity, size_t *size);

/*  Reads the certificate file PATH. Errors are those of ckv_certfile_read, and CKV_ERROR_NO_FILE,
    CKV_ERROR_DIRECTORY, CKV_ERROR_PERMISSION, CKV_ERROR_IO. SELF holds secrets: wipe it.  */
int ckv_keyfile_read(struct ckv_certfile *self, const char *path, unsigned *line);

/*  A file that is being made, a certificate file or a dump. Taken before the node is asked, so that
    a name that exists, or a directory that cannot be written, is known before there is a certificate
    to lose. Until it is whole it has a name that nobody can foretell.  */
struct ckv_keyfile {
    const char *path; /* NULL or "-": standard output */
    char temporary[4096];
    int fd; /* -1: standard output */
};

/*  Whether a new file can have the name PATH: CKV_OK, CKV_ERROR_EXISTS, CKV_ERROR_DIRECTORY, or
    CKV_ERROR_SPECIAL_FILE. FORCE replaces regular files, and links to such or to nothing, but no device,
    pipe or socket.  */
int ckv_keyfile_check_name(const char *path, bool force);

/*  Takes the name PATH; errors as above, and those of ckv_keyfile_error.  */
int ckv_keyfile_take(struct ckv_keyfile *self, const char *path, bool force);

/*  Writes CERTFILE, with mode 0600 when it holds a secret, else 0644, and gives it its name. Standard
    output that is a closed pipe is CKV_ERROR_PIPE where SIGPIPE is ignored.  */
int ckv_keyfile_finish(struct ckv_keyfile *self, const struct ckv_certfile *certfile, bool force);

/*  Gives what the caller wrote to self->fd the MODE and its name, once it is on the disk. Without
    FORCE a name that someone took meanwhile is CKV_ERROR_EXISTS. Standard output needs none of it:
    CKV_OK.  */
int ckv_keyfile_commit(struct ckv_keyfile *self, mode_t mode, bool force);

/*  Closes the file. Unless it has its name, nothing of it stays.  */
void ckv_keyfile_drop(struct ckv_keyfile *self);

#endif
