#include "node/gateway/outage.h"
#include "core/error.h"

#include <stddef.h>

void ckv_outage_begin(struct ckv_outage *self, const char *backend)
{
    *self = (struct ckv_outage){ .backend = backend };
    pthread_mutex_init(&self->lock, NULL);
}

void ckv_outage_end(struct ckv_outage *self)
{
    if (self->backend)
        pthread_mutex_destroy(&self->lock);
}

struct reason {
    int error;
    const char *sentence;
};

static const struct reason reasons[CKV_OUTAGES] = {
    { CKV_ERROR_NO_SERVER, "nothing listens there; see that it runs, and --backend" },
    { CKV_ERROR_TIMEOUT, "it does not answer; see whether it hangs, or a firewall is between" },
    { CKV_ERROR_HANDSHAKE, "it closes connections in the handshake; see that it is set up for NULL "
                           "security, and that its "
                           "socket type goes with the clients'" },
    { CKV_ERROR_ZMTP, "it does not speak ZMTP 3 with NULL security; see that and --backend" },
};

static size_t reason_of(int error)
{
    size_t i = 0;
    while (i < CKV_OUTAGES - 1 && reasons[i].error != error)
        i++;
    return i;
}

static void say(struct ckv_outage *self, int error)
{
    size_t reason = reason_of(error);
    if (error == CKV_OK && self->is_said) {
        ckv_log(CKV_LOG_INFO, "backend %s: serves again", self->backend);
        self->is_said = false;
    } else if (error != CKV_OK && ckv_log_is_due(&self->paces[reason], error)) {
        ckv_log(CKV_LOG_WARNING, "backend %s: %s", self->backend, reasons[reason].sentence);
        self->is_said = true;
    }
}

void ckv_outage_tried(struct ckv_outage *self, int error)
{
    if (error == CKV_OK && atomic_load_explicit(&self->error, memory_order_relaxed) == CKV_OK)
        return; /* as nearly always */
    pthread_mutex_lock(&self->lock);
    atomic_store_explicit(&self->error, error, memory_order_relaxed);
    say(self, error);
    pthread_mutex_unlock(&self->lock);
}

int ckv_outage_error(int why, bool reached)
{
    if (why == CKV_ERROR_TIMEOUT)
        return why;
    if (why != CKV_OK && why != CKV_ERROR_NOT_REACHABLE)
        return CKV_ERROR_ZMTP;
    return reached ? CKV_ERROR_HANDSHAKE : CKV_ERROR_NO_SERVER;
}
