#include "node/library/keyfile.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ckv_keyfile_error(int number)
{
    int error = ckv_system_error(number);
    if (number == EPIPE)
        return CKV_ERROR_PIPE;
    return error == CKV_ERROR_NO_STORE    ? CKV_ERROR_NO_FILE
           : error == CKV_ERROR_DISK_FULL ? CKV_ERROR_FILE_FULL
                                          : error;
}

int ckv_keyfile_read_text(const char *path, char *text, size_t capacity, size_t *size)
{
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not block us */
    if (fd < 0)
        return ckv_keyfile_error(errno);
    ssize_t got;
    while (*size < capacity && (got = read(fd, text + *size, capacity - *size)) != 0) {
        if (got < 0) {
            int error = ckv_keyfile_error(errno); /* a directory, for one */
            close(fd);
            return error;
        }
        *size += (size_t)got;
    }
    close(fd);
    return CKV_OK;
}

int ckv_keyfile_read(struct ckv_certfile *self, const char *path, unsigned *line)
{
    enum { CAPACITY = CKV_CERTFILE_MAX + 1 };
    size_t size;
    char *text = malloc(CAPACITY);
    *line = 0;
    if (!text)
        return CKV_ERROR_MEMORY;
    int rc = ckv_keyfile_read_text(path, text, CAPACITY, &size);
    if (rc == CKV_OK)
        rc = ckv_certfile_read(self, ckv_octets(text, size), line);
    sodium_memzero(text, CAPACITY);
    free(text);
    return rc;
}

static bool is_stdout(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

int ckv_keyfile_check_name(const char *path, bool force)
{
    struct stat file;
    if (stat(path, &file) != 0 && lstat(path, &file) != 0)
        return CKV_OK; /* what else may be wrong, making it will show */
    if (S_ISDIR(file.st_mode))
        return CKV_ERROR_DIRECTORY;
    if (!S_ISREG(file.st_mode) && !S_ISLNK(file.st_mode)) /* that one is a link to nothing */
        return CKV_ERROR_SPECIAL_FILE;
    return force ? CKV_OK : CKV_ERROR_EXISTS;
}

int ckv_keyfile_take(struct ckv_keyfile *self, const char *path, bool force)
{
    self->path = path;
    self->fd = -1;
    if (is_stdout(path))
        return CKV_OK;
    int rc = ckv_keyfile_check_name(path, force);
    if (rc != CKV_OK)
        return rc;
    if (snprintf(self->temporary, sizeof(self->temporary), "%s.XXXXXX", path) >=
        (int)sizeof(self->temporary))
        return CKV_ERROR_ARGUMENT;
    self->fd = mkstemp(self->temporary); /* mode 0600 */
    return self->fd < 0 ? ckv_keyfile_error(errno) : CKV_OK;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t written = write(fd, text, size);
        if (written < 0)
            return ckv_keyfile_error(errno);
        text += written;
        size -= (size_t)written;
    }
    return CKV_OK;
}

/*  Without FORCE a name that someone took meanwhile is refused.  */
static int give_name(const struct ckv_keyfile *self, bool force)
{
    unsigned flags = force ? 0 : RENAME_NOREPLACE;
    if (renameat2(AT_FDCWD, self->temporary, AT_FDCWD, self->path, flags) == 0)
        return CKV_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return ckv_keyfile_error(errno);
    /*  A file system that does not know the flag, or a kernel that does not know the call.  */
    if (force)
        return rename(self->temporary, self->path) == 0 ? CKV_OK : ckv_keyfile_error(errno);
    if (link(self->temporary, self->path) != 0)
        return ckv_keyfile_error(errno);
    unlink(self->temporary);
    return CKV_OK;
}

int ckv_keyfile_commit(struct ckv_keyfile *self, mode_t mode, bool force)
{
    if (is_stdout(self->path))
        return CKV_OK;
    int rc =
        fchmod(self->fd, mode) == 0 && fsync(self->fd) == 0 ? CKV_OK : ckv_keyfile_error(errno);
    if (rc == CKV_OK)
        rc = give_name(self, force);
    if (rc == CKV_OK)
        self->temporary[0] = 0;
    return rc;
}

int ckv_keyfile_finish(struct ckv_keyfile *self, const struct ckv_certfile *certfile, bool force)
{
    size_t size;
    char *text = malloc(CKV_CERTFILE_MAX);
    int rc = text ? ckv_certfile_write(certfile, text, CKV_CERTFILE_MAX, &size) : CKV_ERROR_MEMORY;
    if (rc == CKV_OK)
        rc = write_all(is_stdout(self->path) ? STDOUT_FILENO : self->fd, text, size);
    if (rc == CKV_OK)
        rc = ckv_keyfile_commit(self, ckv_certfile_is_secret(certfile) ? 0600 : 0644, force);
    if (text) {
        sodium_memzero(text, CKV_CERTFILE_MAX);
        free(text);
    }
    return rc;
}

void ckv_keyfile_drop(struct ckv_keyfile *self)
{
    if (self->fd < 0)
        return;
    close(self->fd);
    if (self->temporary[0])
        unlink(self->temporary);
    self->fd = -1;
}
