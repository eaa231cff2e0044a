/*  parts: what tunnel and passage share; see node/tunnel/tunnel.h.

    A passage is one connection of the program and the one to the server that belongs to it.
*/
#ifndef CKV_TUNNEL_PARTS_H
#define CKV_TUNNEL_PARTS_H

#include "kv/log.h"
#include "node/relay/relay.h"
#include "node/tunnel/tunnel.h"

struct ckv_passage;

struct ckv_tunnel {
    struct ckv_tunnel_options *options;
    uv_loop_t uv;
    struct ckv_watch door; /* of the listener */
    uv_timer_t tick;
    struct ckv_poller poller; /* of the passages' streams */
    uv_signal_t signals[3];
    struct ckv_log_pace pace; /* of programs that leave before they are ready */
    struct ckv_stream_room *room;
    struct ckv_passage *first; /* all passages */
    struct ckv_relay_counts counts;
    int listener;
    bool is_closing;
    int error;           /* why it closes */
    int failure;         /* of the last try to reach the server; CKV_OK: it was reached */
    uint64_t pause_ms;   /* between two tries */
    uint64_t not_before; /* when to try again */
};

/*  The server could not be reached at address number TRIED, or ended a handshake, because of ERROR: says
    so, unless it was said last time, and lets some time pass. CKV_OK: it was reached.  */
void ckv_tunnel_tried(struct ckv_tunnel *self, size_t tried, int error);

/*  Closes the door, and ends all passages; the tunnel ends with the last of them. ERROR is what
    ckv_tunnel_run returns.  */
void ckv_tunnel_close(struct ckv_tunnel *self, int error);

/*  Makes a passage for the program's connection FD, which it takes over. Returns an error when it cannot
    be; then FD stays the caller's.  */
int ckv_passage_begin(struct ckv_tunnel *tunnel, int fd);

/*  Goes on with what waits for time.  */
void ckv_passages_tick(struct ckv_tunnel *tunnel);

/*  Ends all: those that relay in good order.  */
void ckv_passages_end(struct ckv_tunnel *tunnel);

#endif
