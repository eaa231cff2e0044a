#include "node/datadir.h"
#include "core/text.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLUSTER_KEY_TEXT = 2 * CKV_CLUSTER_KEY_SIZE, NODE_ID_TEXT = 16 };

static void join(char path[CKV_PATH_MAX], const char *dir, const char *name)
{
    snprintf(path, CKV_PATH_MAX, "%s/%s", dir, name);
}

static int sync_directory_of(const char *path)
{
    char directory[CKV_PATH_MAX];
    snprintf(directory, sizeof(directory), "%s", path);
    *strrchr(directory, '/') = 0;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ckv_system_error(errno);
    int rc = fsync(fd) == 0 ? CKV_OK : ckv_system_error(errno);
    close(fd);
    return rc;
}

/*  Writes SIZE octets to a new file, durably, and only then gives it its name: after a crash there
    is the whole file or none.  */
static int write_file(const char *path, const char *text, size_t size)
{
    char temporary[CKV_PATH_MAX];
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
        return CKV_ERROR_ARGUMENT;
    unlink(temporary); /* of a start that was killed; or of somebody who waits for a secret */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return ckv_system_error(errno);
    int rc = CKV_OK;
    ssize_t written = write(fd, text, size);
    if (written != (ssize_t)size)
        rc = written < 0 ? ckv_system_error(errno) : CKV_ERROR_DISK_FULL;
    else if (fsync(fd) != 0)
        rc = ckv_system_error(errno);
    close(fd);
    if (rc == CKV_OK && rename(temporary, path) != 0)
        rc = ckv_system_error(errno);
    if (rc != CKV_OK)
        unlink(temporary);
    return rc == CKV_OK ? sync_directory_of(path) : rc;
}

/*  Reads at most CAPACITY octets.  */
static int read_file(const char *path, char *text, size_t capacity, size_t *size, mode_t *mode)
{
    struct stat file;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ckv_system_error(errno);
    ssize_t got = fstat(fd, &file) == 0 ? read(fd, text, capacity) : -1;
    int rc = got < 0 ? ckv_system_error(errno) : CKV_OK;
    close(fd);
    *size = got < 0 ? 0 : (size_t)got;
    *mode = file.st_mode;
    return rc;
}

/*  Reads a cluster key, as 32 octets or as 64 hex digits with or without a line end.  */
static int read_cluster_key(const char *path, uint8_t raw[CKV_CLUSTER_KEY_SIZE])
{
    char text[CLUSTER_KEY_TEXT + 3];
    size_t size = 0;
    mode_t mode = 0;
    int rc = read_file(path, text, sizeof(text), &size, &mode);
    if (rc != CKV_OK)
        return rc;
    if (mode & 077) {
        rc = CKV_ERROR_CLUSTER_KEY_MODE;
    } else if (size == CKV_CLUSTER_KEY_SIZE) {
        memcpy(raw, text, size);
    } else {
        while (size > CLUSTER_KEY_TEXT && (text[size - 1] == '\n' || text[size - 1] == '\r'))
            size--;
        if (!ckv_text_unhex(raw, CKV_CLUSTER_KEY_SIZE, ckv_octets(text, size)))
            rc = CKV_ERROR_CLUSTER_KEY_LENGTH;
    }
    sodium_memzero(text, sizeof(text));
    return rc;
}

static int write_cluster_key(const char *path, const uint8_t raw[CKV_CLUSTER_KEY_SIZE])
{
    char text[CLUSTER_KEY_TEXT + 1];
    sodium_bin2hex(text, sizeof(text), raw, CKV_CLUSTER_KEY_SIZE);
    text[CLUSTER_KEY_TEXT] = '\n';
    int rc = write_file(path, text, sizeof(text));
    sodium_memzero(text, sizeof(text));
    return rc;
}

/*  Finds, takes or makes the cluster key in RAW. BLAME is the file at fault.  */
static int provide_cluster_key(struct ckv_datadir *self, const char *given, uint8_t *raw,
                               char blame[CKV_PATH_MAX])
{
    uint8_t other[CKV_CLUSTER_KEY_SIZE];
    char path[CKV_PATH_MAX];
    join(path, self->path, "cluster.key");
    memcpy(blame, path, CKV_PATH_MAX);
    int rc = read_cluster_key(path, raw);
    bool found = rc == CKV_OK;
    if (!found && rc != CKV_ERROR_NO_STORE)
        return rc;
    if (given) {
        snprintf(blame, CKV_PATH_MAX, "%s", given);
        rc = read_cluster_key(given, other);
        if (rc == CKV_OK && found && sodium_memcmp(raw, other, sizeof(other)) != 0) {
            rc = CKV_ERROR_STORE_KEY;
            memcpy(blame, self->path, sizeof(self->path));
        }
        if (rc == CKV_OK)
            memcpy(raw, other, sizeof(other));
        sodium_memzero(other, sizeof(other));
        if (rc != CKV_OK)
            return rc;
    }
    if (found)
        return CKV_OK;
    if (!given &&
        (ckv_datadir_has_store(self->path, "lmdb") || ckv_datadir_has_store(self->path, "sqlite")))
        return CKV_ERROR_NO_CLUSTER_KEY; /* a new one would make the store unreadable */
    if (!given)
        randombytes_buf(raw, CKV_CLUSTER_KEY_SIZE);
    self->made_cluster_key = !given;
    memcpy(blame, path, CKV_PATH_MAX);
    int written = write_cluster_key(path, raw);
    self->wrote_cluster_key = written == CKV_OK;
    return written;
}

static int open_cluster_key(struct ckv_datadir *self, const char *given, char blame[CKV_PATH_MAX])
{
    uint8_t raw[CKV_CLUSTER_KEY_SIZE];
    int rc = provide_cluster_key(self, given, raw, blame);
    if (rc == CKV_OK)
        rc = ckv_cluster_key_new(&self->cluster_key, raw);
    sodium_memzero(raw, sizeof(raw));
    return rc;
}

static int open_node_id(struct ckv_datadir *self, char blame[CKV_PATH_MAX])
{
    uint8_t id[8];
    char text[NODE_ID_TEXT + 1];
    size_t size = 0;
    mode_t mode = 0;
    join(blame, self->path, "node.id");
    int rc = read_file(blame, text, sizeof(text), &size, &mode);
    if (rc == CKV_ERROR_NO_STORE) {
        randombytes_buf(id, sizeof(id));
        sodium_bin2hex(text, sizeof(text), id, sizeof(id));
        text[NODE_ID_TEXT] = '\n';
        self->made_node_id = true;
        rc = write_file(blame, text, sizeof(text));
    } else if (rc == CKV_OK && (size < NODE_ID_TEXT ||
                                !ckv_text_unhex(id, sizeof(id), ckv_octets(text, NODE_ID_TEXT)))) {
        rc = CKV_ERROR_STORE;
    }
    if (rc == CKV_OK)
        self->node_id = ckv_get64(id);
    return rc;
}

/*  The whole file, for writing. Such a lock belongs to the open file (F_OFD_SETLK), and whether it is
    held can be asked without taking it.  */
static const struct flock whole_file = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

static int lock_node(struct ckv_datadir *self, char blame[CKV_PATH_MAX])
{
    join(blame, self->path, "node.lock");
    self->lock = open(blame, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->lock < 0)
        return ckv_system_error(errno);
    struct flock lock = whole_file;
    if (fcntl(self->lock, F_OFD_SETLK, &lock) == 0)
        return CKV_OK;
    return errno == EAGAIN ? CKV_ERROR_IN_USE : ckv_system_error(errno);
}

/*  A directory that others can write is no place for secrets.  */
static int check_owner(const char *dir)
{
    struct stat file;
    if (stat(dir, &file) != 0)
        return ckv_system_error(errno);
    if (!S_ISDIR(file.st_mode))
        return CKV_ERROR_NOT_DIRECTORY;
    return file.st_uid == geteuid() && !(file.st_mode & 022) ? CKV_OK : CKV_ERROR_DIRECTORY_MODE;
}

/*  A directory that cannot be made for want of one above it: that one is to blame.  */
static int blame_parent(int number, char blame[CKV_PATH_MAX])
{
    char dir[CKV_PATH_MAX];
    memcpy(dir, blame, sizeof(dir));
    if (number == ENOENT)
        snprintf(blame, CKV_PATH_MAX, "%s", dirname(dir));
    return ckv_system_error(number);
}

int ckv_datadir_open(struct ckv_datadir *self, const char *dir, const char *cluster_key_file,
                     char blame[CKV_PATH_MAX])
{
    *self = (struct ckv_datadir){ .lock = -1 };
    snprintf(blame, CKV_PATH_MAX, "%s", dir);
    if (strlen(dir) + sizeof("/certificates.sqlite-journal") > sizeof(self->path))
        return CKV_ERROR_PATH;
    snprintf(self->path, sizeof(self->path), "%s", dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return blame_parent(errno, blame);
    int rc = check_owner(dir);
    if (rc == CKV_OK)
        rc = lock_node(self, blame);
    if (rc == CKV_OK)
        rc = open_cluster_key(self, cluster_key_file, blame);
    if (rc == CKV_OK)
        rc = open_node_id(self, blame);
    if (rc != CKV_OK)
        ckv_datadir_close(self);
    return rc;
}

void ckv_datadir_withdraw_cluster_key(struct ckv_datadir *self)
{
    char path[CKV_PATH_MAX];
    join(path, self->path, "cluster.key");
    if (self->wrote_cluster_key)
        unlink(path);
    self->wrote_cluster_key = false;
}

void ckv_datadir_close(struct ckv_datadir *self)
{
    ckv_cluster_key_destroy(&self->cluster_key);
    if (self->lock >= 0)
        close(self->lock);
    self->lock = -1;
}

int ckv_datadir_cluster_key(struct ckv_cluster_key **key_p, const char *dir)
{
    uint8_t raw[CKV_CLUSTER_KEY_SIZE];
    char path[CKV_PATH_MAX];
    *key_p = NULL;
    if (snprintf(path, sizeof(path), "%s/cluster.key", dir) >= (int)sizeof(path))
        return CKV_ERROR_ARGUMENT;
    int rc = read_cluster_key(path, raw);
    if (rc == CKV_OK)
        rc = ckv_cluster_key_new(key_p, raw);
    sodium_memzero(raw, sizeof(raw));
    return rc;
}

int ckv_datadir_is_running(const char *dir)
{
    char path[CKV_PATH_MAX];
    struct stat file;
    if (stat(dir, &file) != 0)
        return ckv_system_error(errno);
    join(path, dir, "node.lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : ckv_system_error(errno);
    struct flock lock = whole_file;
    int running = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return running;
}

static void store_path(char path[CKV_PATH_MAX], const char *dir, const char *engine)
{
    join(path, dir, strcmp(engine, "lmdb") == 0 ? "certificates.mdb" : "certificates.sqlite");
}

bool ckv_datadir_has_store(const char *dir, const char *engine)
{
    char path[CKV_PATH_MAX];
    store_path(path, dir, engine);
    return access(path, F_OK) == 0;
}

static const char *const engines[] = { "lmdb", "sqlite" };

struct ckv_datadir_file ckv_datadir_store_file(const char *dir)
{
    char path[CKV_PATH_MAX];
    struct stat status;
    for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++) {
        store_path(path, dir, engines[i]);
        if (stat(path, &status) == 0)
            return (struct ckv_datadir_file){ status.st_dev, status.st_ino };
    }
    return (struct ckv_datadir_file){ 0, 0 };
}

int ckv_datadir_find_store(const char *dir, const char **engine)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++)
        if (ckv_datadir_has_store(dir, engines[i])) {
            *engine = engines[i];
            return CKV_OK;
        }
    int running = ckv_datadir_is_running(dir); /* or why DIR cannot be looked into */
    return running < 0 ? running : running ? CKV_ERROR_IN_MEMORY : CKV_ERROR_NO_STORE;
}

int ckv_datadir_admin_endpoint(const char *dir, char endpoint[CKV_PATH_MAX])
{
    struct sockaddr_un address;
    if (strlen(dir) + sizeof("/admin.sock") > sizeof(address.sun_path))
        return CKV_ERROR_PATH;
    snprintf(endpoint, CKV_PATH_MAX, "ipc://%s/admin.sock", dir);
    return CKV_OK;
}
