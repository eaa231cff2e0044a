/*  client: what the three files of a client share: client.c, its life; client_own.c and client_shared.c, the two ways
    to the backend.  */
#ifndef CKV_GATEWAY_CLIENT_H
#define CKV_GATEWAY_CLIENT_H

#include "node/gateway/parts.h"

enum ckv_client_state {
    CKV_CLIENT_REACHING, /* for the backend, until its READY */
    CKV_CLIENT_RELAYING,
    CKV_CLIENT_LEAVING,   /* both sides are told that no more comes */
    CKV_CLIENT_FINISHING, /* one side has ended; the other is told so */
};

struct ckv_client {
    struct ckv_relay relay; /* outer: the client, inner: the backend */
    struct ckv_curve_server curve;
    struct ckv_loop *loop;
    struct ckv_client_list *list;
    struct ckv_client *previous, *next;
    struct ckv_member *member; /* of the shared connection; NULL: it has one of its own */
    uint64_t deadline;
    uint8_t *first; /* greeting and READY for the backend, until it has answered */
    size_t first_size;
    uint8_t streams; /* that are not closed yet */
    uint8_t state;
    uint8_t quiet_ticks;
    uint8_t tried;   /* which address of the backend's */
    bool is_reached; /* the backend is connected */
    bool has_sent;   /* the client, at least one frame */
    bool is_req;
    bool is_stock;
    uint8_t client_key[32]; /* with this and what follows it is asked for again */
    uint8_t storage_key_size;
    uint8_t storage_key[]; /* of its certificate */
};

/* ---- its life ---- */

/*  Puts it at the end of LIST.  */
void ckv_client_move(struct ckv_client *self, struct ckv_client_list *list);

/*  Calls STEP for each client that is in LIST now; it may move them behind the last.  */
void ckv_clients_each(struct ckv_client_list *list, void (*step)(struct ckv_client *, uint64_t),
                      uint64_t now);

/*  Whether the loop has any.  */
bool ckv_clients_here(const struct ckv_loop *loop);

/*  Whether a client that has waited for the backend still may come in: CKV_OK, or CKV_ERROR_REFUSED: it was told.  */
int ckv_client_ask_again(struct ckv_client *self);

/*  The backend, which has the properties METADATA, is ready: so is the client.  */
int ckv_client_make_ready(struct ckv_client *self, struct ckv_octets metadata);

/*  The backend turns the client away: DATA are those of its ERROR.  */
int ckv_client_pass_on_error(struct ckv_client *self, struct ckv_octets data);

/*  Closes both sides at once; the memory goes with the last callback. VERDICT is why, if the client was not let in
    yet.  */
void ckv_client_close(struct ckv_client *self, enum ckv_verdict verdict);

/*  STREAM stays for as long as it takes to say that no more comes.  */
void ckv_client_finish(struct ckv_client *self, struct ckv_stream *stream);

/*  ENDED has ended, and OTHER is the other one.  */
void ckv_client_end(struct ckv_client *self, struct ckv_stream *ended, struct ckv_stream *other,
                    enum ckv_verdict verdict);

/*  For the events of its streams.  */
void ckv_client_closed(void *argument);

/* ---- a connection of its own ---- */

/*  Opens what all of the loop's need.  */
void ckv_clients_open_own(struct ckv_loop *loop);

/*  Writes what it says first.  */
int ckv_client_prepare_own(struct ckv_client *self, const struct ckv_client_start *start);

/*  Reaches for the backend, behind those who are queued.  */
void ckv_client_reach(struct ckv_client *self);

/*  The backend has had its time.  */
void ckv_client_count_lateness(struct ckv_client *self);

/* ---- the shared connection ---- */

int ckv_clients_open_shared(struct ckv_loop *loop);

/*  Whether a client with the properties METADATA may share a connection: its messages come one by one,
    and what it gets is for it alone.  */
bool ckv_client_may_share(struct ckv_octets metadata, bool *is_req);

/*  Joins the shared connection or reaches for the backend itself, if that can be told by now.  */
void ckv_client_join(struct ckv_client *self);

void ckv_clients_tick_shared(struct ckv_loop *loop, uint64_t now);

#endif
