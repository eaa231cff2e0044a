#include "node/commands/passphrase.h"
#include "node/library/keyfile.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

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
    if (write(fd, prompt, strlen(prompt)) > 0 && poll(polled, 2, -1) > 0) {
        *signalled = polled[0].revents != 0;
        if (!*signalled)
            size = read(fd, passphrase, CKV_PASSPHRASE_MAX - 1);
    }
    tcsetattr(fd, TCSAFLUSH, &normal);
    if (write(fd, "\n", 1) != 1)
        return -1;
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
        int rc = ckv_keyfile_read_text(arguments->passphrase_file, passphrase,
                                       CKV_PASSPHRASE_MAX - 1, &size);
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
