/*  command: the parts that the subcommands of `curvekv` share: options, complaints, exit statuses.
 */
#ifndef CKV_COMMAND_H
#define CKV_COMMAND_H

#include "core/error.h"
#include "core/octets.h"
#include "core/storage_key.h"
#include <stdbool.h>

enum ckv_exit {
    CKV_EXIT_DONE = 0,
    CKV_EXIT_REFUSED = 1,        /* refused or not found */
    CKV_EXIT_USAGE = 2,          /* wrong usage */
    CKV_EXIT_NOT_REACHABLE = 3,  /* the node is not reachable */
    CKV_EXIT_NOT_REPLICATED = 4, /* done and durable, but --ack was not reached in time */
};

enum { CKV_ARGUMENTS_META_MAX = 256 };

/*  The command line, read. Texts borrow from argv and the environment.  */
struct ckv_arguments {
    const char *data; /* always set */
    const char *cluster, *cluster_key, *expires, *client_key, *key, *log_level, *max_size, *node,
        *redis, *redis_password_file, *log_length, *ack, *wait, *not_before, *number, *organisation,
        *out, *passphrase_file, *server_key, *state, *store, *timeout;
    /* of a gateway */
    const char *backend, *backend_mode, *clock_window, *gateway, *handshake_timeout, *key_rate,
        *listen, *loops, *max_message, *max_pending, *max_pending_per_address, *stock_hello,
        *stock_share;
    const char *certificate, *to; /* of a tunnel */
    bool alone, conflicts, force, help, json, keep_client_key, passphrase, watch;
    const char *meta[CKV_ARGUMENTS_META_MAX];
    int meta_count;
    char **operands;
    int operand_count;
};

struct ckv_command {
    const char *name;
    const char *operands; /* for the usage line, such as "KEY" */
    const char *summary;  /* one line */
    const char *help;     /* options and examples */
    const char *options;  /* names it takes, separated by spaces */
    int operands_min, operands_max;
    int (*run)(const struct ckv_arguments *arguments); /* returns an enum ckv_exit */
};

extern const struct ckv_command ckv_command_serve, ckv_command_register, ckv_command_resolve,
    ckv_command_list, ckv_command_revoke, ckv_command_rotate, ckv_command_import,
    ckv_command_export, ckv_command_show, ckv_command_status, ckv_command_forget,
    ckv_command_gateway, ckv_command_connect;

/*  Reads argv[1..] after the command's name. Returns CKV_EXIT_DONE, or CKV_EXIT_USAGE after having
    said what is wrong.  */
int ckv_arguments_read(struct ckv_arguments *self, const struct ckv_command *command, int argc,
                       char **argv);

/*  Says on standard error (with --json, as an object on standard output) what went wrong: the text
    of FORMAT, what it is about, then the sentence of ERROR. Returns the exit status that fits.  */
__attribute__((format(printf, 3, 4))) int ckv_complain(const struct ckv_arguments *arguments,
                                                       int error, const char *format, ...);

/*  Says on standard error that an option is wrong, and how to get help. Returns CKV_EXIT_USAGE.  */
__attribute__((format(printf, 1, 2))) int ckv_complain_usage(const char *format, ...);

/*  Reads "90d", "12h", "30m", "45s", "2w", "1y" from now on, or a time as in core/time.h. Returns
    CKV_ERROR_ARGUMENT for anything else, and for what is past.  */
int ckv_read_expiry(const char *text, uint64_t now, uint64_t *time);

/*  Reads a time span such as "60s", "5m" or "1h", of at least 1 s. Returns CKV_ERROR_ARGUMENT.  */
int ckv_read_span(const char *text, uint64_t *ms);

/*  Reads a number of at most MAX. Returns CKV_ERROR_ARGUMENT.  */
int ckv_read_number(const char *text, uint64_t max, uint64_t *number);

/*  Reads "64G", "512M", "1T", or a number of bytes. Returns CKV_ERROR_ARGUMENT.  */
int ckv_read_size(const char *text, uint64_t *bytes);

/*  How long to wait for the node, in ms: --timeout, else 30 s.  */
int ckv_timeout(const struct ckv_arguments *arguments);

/*  Now, in ms since 1970.  */
uint64_t ckv_now(void);

#endif
