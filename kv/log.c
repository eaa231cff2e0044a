#include "kv/log.h"
#include "core/error.h"
#include "core/text.h"
#include "kv/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = { "error", "warning", "info", "debug" };
static const char *const colours[] = { "\033[31m", "\033[33m", "", "\033[2m" };

/*  The one thing of a process that is global: where its messages go.  */
static atomic_int chosen_level = CKV_LOG_INFO;

void ckv_log_set_level(enum ckv_log_level level)
{
    atomic_store(&chosen_level, (int)level);
}

int ckv_log_read_level(const char *text, enum ckv_log_level *level)
{
    for (int i = CKV_LOG_ERROR; i <= CKV_LOG_DEBUG; i++)
        if (strcmp(text, names[i]) == 0) {
            *level = (enum ckv_log_level)i;
            return CKV_OK;
        }
    return CKV_ERROR_ARGUMENT;
}

void ckv_log(enum ckv_log_level level, const char *format, ...)
{
    char line[2048], raw[1024];
    size_t used = 0;
    va_list arguments;
    if ((int)level > atomic_load(&chosen_level))
        return;

    int terminal = isatty(STDERR_FILENO);
    if (terminal) {
        used = (size_t)snprintf(line, sizeof(line), "%s", colours[level]);
    } else {
        struct tm utc;
        time_t now = time(NULL);
        gmtime_r(&now, &utc);
        used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &utc);
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%-7s ", names[level]);
    }
    size_t room = sizeof(line) - used - 8; /* for the end of colour and line */
    va_start(arguments, format);
    vsnprintf(raw, sizeof(raw), format, arguments);
    va_end(arguments);
    used += strlen(ckv_text_escape(ckv_octets_text(raw), line + used, room));
    used += (size_t)snprintf(line + used, sizeof(line) - used, "%s\n",
                             terminal && colours[level][0] ? "\033[0m" : "");
    /*  One write, so that lines of several threads do not mix. Nobody is left to tell of an error.
     */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

bool ckv_log_is_due(struct ckv_log_pace *self, int error)
{
    enum { PACE_MS = 60000 };
    uint64_t now = ckv_clock_monotonic();
    if (error == self->error && now < self->next_ms)
        return false;
    *self = (struct ckv_log_pace){ error, now + PACE_MS };
    return true;
}
