/*  routing_id: how the gateway names a client to a backend that has many behind one connection.

        octet  0       the loop
        octets 1..3    an index into the loop's table of clients
        octets 4..7    a serial number: the index of a client that has gone is soon another's
        octets 8..     the client's storage key, in its text form

    So the backend can tell who speaks (in pyzmq, rid[8:].decode()), and has one name for one
    connection: who comes again has another one. The first 8 octets mean nothing to it.
*/
#ifndef CKV_ROUTING_ID_H
#define CKV_ROUTING_ID_H

#include "core/storage_key.h"

enum {
    CKV_ROUTING_ID_FIXED = 8,
    CKV_ROUTING_ID_MAX = CKV_ROUTING_ID_FIXED + CKV_STORAGE_KEY_TEXT_SIZE - 1,
    CKV_ROUTING_ID_INDEXES = 1 << 24, /* of one loop */
};

_Static_assert(CKV_ROUTING_ID_MAX <= UINT8_MAX, "libzmq's routing ids have at most 255 octets");

struct ckv_routing_id {
    uint8_t loop;
    uint32_t index; /* below CKV_ROUTING_ID_INDEXES */
    uint32_t serial;
};

/*  Writes the name of the client with STORAGE_KEY; returns its size.  */
size_t ckv_routing_id_write(uint8_t octets[CKV_ROUTING_ID_MAX], const struct ckv_routing_id *id,
                            struct ckv_octets storage_key);

/*  Reads what a backend says is a name. Returns CKV_ERROR_ZMTP for what has not the size of one. That
    somebody has it, with this storage key, is the caller's to find out.  */
int ckv_routing_id_parse(struct ckv_octets octets, struct ckv_routing_id *id);

#endif
