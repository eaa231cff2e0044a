/*  log: what the node tells its operator, one line each, on standard error.

    "2026-11-24T02:21:39Z info  ready: ..." or, on a terminal, without the time and with colour. No
    secret is ever a parameter of these.
*/
#ifndef CKV_LOG_H
#define CKV_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum ckv_log_level { CKV_LOG_ERROR, CKV_LOG_WARNING, CKV_LOG_INFO, CKV_LOG_DEBUG };

/*  Lines above LEVEL are dropped. The level is the process's: set it before threads start.  */
void ckv_log_set_level(enum ckv_log_level level);

/*  Reads "error", "warning", "info", "debug". Returns 0 or CKV_ERROR_ARGUMENT.  */
int ckv_log_read_level(const char *text, enum ckv_log_level *level);

/*  Writes one line, whole, from any thread.  */
__attribute__((format(printf, 2, 3))) void ckv_log(enum ckv_log_level level, const char *format,
                                                   ...);

/*  For a line that a lasting fault would repeat: when it was last written, and of what error. Zeros to
    begin with; one thread's.  */
struct ckv_log_pace {
    int error;
    uint64_t next_ms;
};

/*  Whether the line is to be written now: about another ERROR than last time at once, about the same one
    once a minute.  */
bool ckv_log_is_due(struct ckv_log_pace *self, int error);

#endif
