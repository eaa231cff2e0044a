#include "node/keyfile.h"
#include "kv/system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/*  A file that is absent is something else than a store that is.  */
static int error_of(int number)
{
    int error = ckv_system_error(number);
    return error == CKV_ERROR_NO_STORE ? CKV_ERROR_NO_FILE : error;
}

/*  Reads up to CAPACITY octets of PATH.  */
static int read_all(const char *path, char *text, size_t capacity, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not block us */
    if (fd < 0)
        return error_of(errno);
    ssize_t got;
    *size = 0;
    while (*size < capacity && (got = read(fd, text + *size, capacity - *size)) != 0) {
        if (got < 0) {
            close(fd);
            return CKV_ERROR_IO;
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
    int rc = read_all(path, text, CAPACITY, &size);
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
    bool replaceable = S_ISREG(file.st_mode) || S_ISLNK(file.st_mode); /* a link to nothing */
    return force && replaceable ? CKV_OK : CKV_ERROR_EXISTS;
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
    return self->fd < 0 ? error_of(errno) : CKV_OK;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t written = write(fd, text, size);
        if (written < 0)
            return error_of(errno);
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
        return error_of(errno);
    /*  A file system that does not know the flag, or a kernel that does not know the call.  */
    if (force)
        return rename(self->temporary, self->path) == 0 ? CKV_OK : error_of(errno);
    if (link(self->temporary, self->path) != 0)
        return error_of(errno);
    unlink(self->temporary);
    return CKV_OK;
}

int ckv_keyfile_commit(struct ckv_keyfile *self, mode_t mode, bool force)
{
    if (is_stdout(self->path))
        return CKV_OK;
    int rc = fchmod(self->fd, mode) == 0 && fsync(self->fd) == 0 ? CKV_OK : error_of(errno);
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

bool ckv_passphrase_wanted(const struct ckv_arguments *arguments)
{
    return arguments->passphrase || arguments->passphrase_file;
}

/*  Blocks the signals that end or stop a command, but those that are blocked anyway. Returns a
    descriptor that is readable while one of them waits, or -1.  */
static int hold_signals(sigset_t *held, sigset_t *before)
{
    static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP };
    sigemptyset(held);
    sigprocmask(SIG_BLOCK, NULL, before);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (!sigismember(before, numbers[i]))
            sigaddset(held, numbers[i]);
    int fd = signalfd(-1, held, SFD_CLOEXEC);
    if (fd >= 0)
        sigprocmask(SIG_BLOCK, held, NULL);
    return fd;
}

/*  Reads a line with echo off. Returns its size, or -1; sets *SIGNALLED when a signal came first.
    Either way the terminal is as it was.  */
static ssize_t read_silently(int fd, int signals, const char *prompt,
                             char passphrase[CKV_PASSPHRASE_MAX], bool *signalled)
{
    struct pollfd polled[] = { { .fd = signals, .events = POLLIN },
                               { .fd = fd, .events = POLLIN } };
    struct termios normal, silent;
    ssize_t size = -1;
    *signalled = false;
    if (tcgetattr(fd, &normal) != 0)
        return -1;
    silent = normal;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fd, TCSAFLUSH, &silent);
    if (write_all(fd, prompt, strlen(prompt)) == CKV_OK && poll(polled, 2, -1) > 0) {
        *signalled = polled[0].revents != 0;
        if (!*signalled)
            size = read(fd, passphrase, CKV_PASSPHRASE_MAX - 1);
    }
    tcsetattr(fd, TCSAFLUSH, &normal);
    write_all(fd, "\n", 1);
    return size;
}

/*  Reads a line with echo off. A signal takes effect only when echo is on again: one that ended the
    command at once would leave a terminal that shows nothing.  */
static ssize_t read_line(int fd, const char *prompt, char passphrase[CKV_PASSPHRASE_MAX])
{
    sigset_t held, before;
    ssize_t size;
    bool signalled;
    int signals = hold_signals(&held, &before);
    if (signals < 0)
        return -1;
    do {
        size = read_silently(fd, signals, prompt, passphrase, &signalled);
        sigprocmask(SIG_SETMASK, &before, NULL); /* here it ends, or stops until it is continued */
        if (signalled)
            sigprocmask(SIG_BLOCK, &held, NULL);
    } while (signalled);
    close(signals);
    return size;
}

/*  Asks on the terminal itself, not on standard input.  */
static int ask(const char *prompt, char passphrase[CKV_PASSPHRASE_MAX])
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ckv_complain_usage("there is no terminal to ask for the passphrase on; use "
                                  "--passphrase-file");
    ssize_t size = read_line(fd, prompt, passphrase);
    close(fd);
    if (size <= 0)
        return ckv_complain_usage("no passphrase was given");
    passphrase[size] = 0;
    passphrase[strcspn(passphrase, "\r\n")] = 0;
    return CKV_EXIT_DONE;
}

static int ask_twice(char passphrase[CKV_PASSPHRASE_MAX])
{
    char again[CKV_PASSPHRASE_MAX] = "";
    int status = ask("Passphrase: ", passphrase);
    if (status == CKV_EXIT_DONE)
        status = ask("The same again: ", again);
    if (status == CKV_EXIT_DONE && strcmp(passphrase, again) != 0)
        status = ckv_complain_usage("the passphrases differ; try again");
    sodium_memzero(again, sizeof(again));
    return status;
}

int ckv_passphrase_get(const struct ckv_arguments *arguments, bool twice,
                       char passphrase[CKV_PASSPHRASE_MAX])
{
    int status = CKV_EXIT_DONE;
    if (arguments->passphrase_file) {
        size_t size;
        int rc = read_all(arguments->passphrase_file, passphrase, CKV_PASSPHRASE_MAX - 1, &size);
        if (rc != CKV_OK) {
            status = CKV_EXIT_USAGE;
            fprintf(stderr, "curvekv: passphrase file %s: %s\n", arguments->passphrase_file,
                    ckv_strerror(rc));
        } else {
            passphrase[size] = 0;
            passphrase[strcspn(passphrase, "\r\n")] = 0;
        }
    } else {
        status = twice ? ask_twice(passphrase) : ask("Passphrase: ", passphrase);
    }
    if (status == CKV_EXIT_DONE && !passphrase[0])
        status = ckv_complain_usage("the passphrase is empty");
    return status;
}
