/*  scripts: what happens inside Redis, atomically, in Lua.

    A cluster's keys, all under the hash tag "{curvekv:NAME}" so that they share a slot:

        {curvekv:NAME}:state      hash: epoch, run, key, head, generation
        {curvekv:NAME}:log        stream: entry "<sequence>-1", field "e" the message
        {curvekv:NAME}:names:0    hashes: who has reserved which chosen storage key; two, for the
        {curvekv:NAME}:names:1    last two generations of the log (half its length each)
        {curvekv:NAME}:confirmed  hash: node id -> the epoch that it has repaired into
        {curvekv:NAME}:instances  hash: node id -> instance whose outbox has been in the log

    open: joins the epoch, or begins one when Redis is not what the last one was begun on: another
    process (its run_id), without its memory, or with a log that does not end at the head. A
    cluster key that is not the cluster's is refused.

    change: "reserve" takes a storage key, "release" gives back one that was not used, "append"
    gives entries the next sequences, and publishes each on the channel. Where the log takes no
    next sequence, since others wrote to it, the epoch is to be left.

    A reservation is pending until its record is appended. One that a dead instance left pending is
    void as soon as the next instance of that node has brought its outbox into the log: then it is
    certain that no record of it is on its way.
*/
#ifndef CKV_SCRIPTS_H
#define CKV_SCRIPTS_H

extern const char ckv_script_open[];
extern const char ckv_script_change[];

/*  KEYS of both scripts, in this order, as suffixes of "{curvekv:NAME}:".  */
enum {
    CKV_KEY_STATE,
    CKV_KEY_LOG,
    CKV_KEY_NAMES_0,
    CKV_KEY_NAMES_1,
    CKV_KEY_CONFIRMED,
    CKV_KEY_INSTANCES,
    CKV_KEYS
};

extern const char *const ckv_key_suffixes[CKV_KEYS];

#endif
