/*  outage: what the log says of a backend that does not serve, and that it does again.

    All loops try the one backend, once for each client, so each reason is said once a minute at most,
    by whichever loop meets it first. The counters say how many clients it has cost.
*/
#ifndef CKV_OUTAGE_H
#define CKV_OUTAGE_H

#include "kv/log.h"
#include <pthread.h>
#include <stdatomic.h>

enum { CKV_OUTAGES = 4 }; /* reasons */

struct ckv_outage {
    const char *backend; /* its endpoint */
    atomic_int error;    /* of the last try */
    pthread_mutex_t lock;
    struct ckv_log_pace paces[CKV_OUTAGES];
    bool is_said; /* that there is one */
};

/*  BACKEND is borrowed.  */
void ckv_outage_begin(struct ckv_outage *self, const char *backend);
void ckv_outage_end(struct ckv_outage *self);

/*  The backend was tried, by any thread: CKV_OK, it let a client in; else ERROR is one of

        CKV_ERROR_NO_SERVER     nothing listens there
        CKV_ERROR_TIMEOUT       it does not answer
        CKV_ERROR_HANDSHAKE     it has closed the connection in the handshake
        CKV_ERROR_ZMTP          it says what is not ZMTP with NULL security  */
void ckv_outage_tried(struct ckv_outage *self, int error);

/*  The ERROR for a connection that has ended in the handshake because of WHY, as a stream says it (struct
    ckv_stream_events), and whether it was REACHED.  */
int ckv_outage_error(int why, bool reached);

#endif
