#include "core/error.h"

#include <stddef.h>

struct entry {
    int number;
    const char *name;
    const char *sentence;
};

static const struct entry entries[] = {
    { CKV_OK, "ok", "done" },
    { CKV_ERROR_ARGUMENT, "argument", "a parameter is outside its range" },
    { CKV_ERROR_MEMORY, "memory", "out of memory; free some, or raise the limit of this process" },
    { CKV_ERROR_IO, "io", "the disk or the file system failed; see the system's log" },
    { CKV_ERROR_PERMISSION, "permission",
      "permission denied; run as the owner of the files, or change their mode" },
    { CKV_ERROR_NO_STORE, "no_store",
      "there is no store here; start a node with 'curvekv serve', or name another directory with "
      "--data" },
    { CKV_ERROR_IN_MEMORY, "in_memory",
      "the node here keeps its certificates in memory, where only it can read them; give them a "
      "gateway inside it ('curvekv serve --gateway'), or another node with --store lmdb" },
    { CKV_ERROR_IN_USE, "in_use",
      "another node uses this data directory; stop it first, or choose another one with --data" },
    { CKV_ERROR_DISK_FULL, "disk_full",
      "the disk is full; nothing of this batch was stored; free some space and try again" },
    { CKV_ERROR_STORE_FULL, "store_full",
      "the store has reached its bound; nothing of this batch was stored; raise --max-size" },
    { CKV_ERROR_READ_ONLY, "read_only", "the store is open for reading only" },
    { CKV_ERROR_STORE, "store",
      "these files are no store of this version, or are damaged; restore a backup, or start in an "
      "empty directory and import a dump" },
    { CKV_ERROR_READERS, "readers",
      "every reader slot of the store is taken; close some processes that read it" },
    { CKV_ERROR_NO_FILE, "no_file",
      "there is no such file or directory; check the path, or make it first" },
    { CKV_ERROR_PATH, "path",
      "this path is too long; a unix socket's has at most 107 octets, so choose a shorter --data" },
    { CKV_ERROR_NOT_DIRECTORY, "not_directory",
      "this is a file; name a directory, present or new, with --data" },
    { CKV_ERROR_DIRECTORY_MODE, "directory_mode",
      "this data directory belongs to someone else or can be written by others; run as its owner, "
      "and 'chmod 700' it" },
    { CKV_ERROR_DIRECTORY, "directory", "this is a directory; name a file in it" },
    { CKV_ERROR_FILE_FULL, "file_full",
      "the disk is full; free some space, or choose a file on another disk" },
    { CKV_ERROR_PIPE, "pipe", "nobody reads what is written here; name a file with --out" },
    { CKV_ERROR_SPECIAL_FILE, "special_file",
      "this is a device, a pipe or a socket, which a file does not replace; choose another name, "
      "or "
      "'-' for standard output" },
    { CKV_ERROR_NO_CLUSTER_KEY, "no_cluster_key",
      "the cluster key of this store is gone; give it with --cluster-key, from your backup or from "
      "another node" },
    { CKV_ERROR_STORE_KEY, "store_key",
      "this data directory was begun with another cluster key; serve it with that one, or start in "
      "an empty directory with --cluster-key FILE" },

    { CKV_ERROR_NOT_FOUND, "not_found",
      "no certificate is known under this key; 'curvekv list' shows the keys that are" },
    { CKV_ERROR_TAKEN, "taken", "this storage key belongs to another certificate; choose another" },
    { CKV_ERROR_REVOKED, "revoked", "this certificate was revoked; register the client anew" },
    { CKV_ERROR_EXPIRED, "expired", "this certificate has expired; register the client anew" },
    { CKV_ERROR_NOT_YET_VALID, "not_yet_valid",
      "this certificate is not valid yet; it says from when" },
    { CKV_ERROR_CLIENT_KEY_TAKEN, "client_key_taken",
      "an active certificate has this client public key; revoke that one first, or make a new "
      "key" },
    { CKV_ERROR_VALIDITY, "validity",
      "the certificate would end before it begins; give an end that is after not_before" },
    { CKV_ERROR_SHARED_KEY, "shared_key",
      "this certificate shares the cluster's default server key; rotate it to a dedicated one" },

    { CKV_ERROR_TRUNCATED, "truncated", "the record is not of the size it states; get it again" },
    { CKV_ERROR_FORMAT, "format", "the record has a format this version does not know; upgrade" },
    { CKV_ERROR_DAMAGED, "damaged",
      "the record is damaged: it fails authentication; get it again from another node or a dump" },
    { CKV_ERROR_WRONG_CLUSTER_KEY, "wrong_cluster_key",
      "the record belongs to another cluster: another cluster key sealed it; use that key's node" },
    { CKV_ERROR_STORAGE_KEY, "storage_key",
      "a storage key has 1 to 40 octets, as UTF-8 text, 64 hex digits, or 0x and hex digits" },
    { CKV_ERROR_ORGANISATION, "organisation",
      "an organisation has at most 255 octets of UTF-8 text, without control characters" },
    { CKV_ERROR_NUMBER, "number",
      "a client number has at most 255 octets of UTF-8 text, without control characters" },
    { CKV_ERROR_METADATA, "metadata",
      "metadata is name=value; a name is 1 to 255 of A-Z a-z 0-9 - _ . + $ @ & /, each only once; "
      "a value is UTF-8 text with at most one kind of quotes; 8192 octets in "
      "all" },
    { CKV_ERROR_Z85, "z85", "a key has 40 characters of Z85 (RFC 32); copy it whole" },
    { CKV_ERROR_CERTFILE, "certfile",
      "this is no certificate file; it should read as zcert_save or 'curvekv register' writes it" },
    { CKV_ERROR_CERTFILE_SIZE, "certfile_size",
      "the file is too large for a certificate; the bound is 64 KiB" },
    { CKV_ERROR_CERTFILE_EMPTY, "certfile_empty", "the file is empty; get it again" },
    { CKV_ERROR_CERTFILE_BINARY, "certfile_binary",
      "the file is binary; a certificate file is text" },
    { CKV_ERROR_NO_PUBLIC_KEY, "no_public_key",
      "the file has no public-key in a curve section; it should read as zcert_save or 'curvekv "
      "register' writes it" },
    { CKV_ERROR_KEY_MISMATCH, "key_mismatch",
      "secret key and public key are not a pair; the file was put together from two" },
    { CKV_ERROR_PASSPHRASE, "passphrase", "the passphrase is wrong; try another" },
    { CKV_ERROR_CLUSTER_KEY_LENGTH, "cluster_key_length",
      "a cluster key file holds 32 octets, or 64 hex digits; copy it whole from another node" },
    { CKV_ERROR_CLUSTER_KEY_MODE, "cluster_key_mode",
      "others can read this cluster key; run 'chmod 600' on it" },
    { CKV_ERROR_DUMP, "dump", "this is no record dump; 'curvekv export' makes one" },
    { CKV_ERROR_DUMP_TRUNCATED, "dump_truncated",
      "the dump ends too early; the records before that are good; export it again" },
    { CKV_ERROR_REQUEST, "request", "the node could not read the request; use the same version" },
    { CKV_ERROR_ARRAY_KEY, "array_key",
      "the array store takes storage keys that are numbers from 0 to 16777215; use --key NUMBER" },
    { CKV_ERROR_WEAK_KEY, "weak_key",
      "this public key has low order and protects nothing; make a proper key pair" },
    { CKV_ERROR_URL, "url",
      "a Redis URL is redis://[user:password@]host[:port][/db], unix:///path.sock[?db=N] or "
      "sentinel://host:port,host:port/master" },
    { CKV_ERROR_URL_TLS, "url_tls",
      "this build has no TLS for Redis (Debian 12's hiredis has none); use redis:// through a "
      "tunnel such as stunnel" },
    { CKV_ERROR_PASSWORD_FILE, "password_file",
      "the first line of this file is to be the password of Redis, 1 to 511 octets" },
    { CKV_ERROR_MESSAGE, "message",
      "this is no message of a node of this cluster; look who else writes to this Redis" },

    { CKV_ERROR_NOT_REACHABLE, "not_reachable",
      "the node is not reachable; start it with 'curvekv serve', or name its directory with "
      "--data" },
    { CKV_ERROR_EXISTS, "exists", "the file exists; choose another name, or use --force" },
    { CKV_ERROR_TIMEOUT, "timeout",
      "no answer in time; try again, or see the log of who should answer" },
    { CKV_ERROR_UNAVAILABLE, "unavailable",
      "it cannot be promised now that no other node gives this storage key away; try again when "
      "'curvekv status' says that chosen keys can be registered, or let the key be derived" },
    { CKV_ERROR_REDIS, "redis",
      "the Redis of the cluster is not reachable, or refuses; see 'curvekv status'" },
    { CKV_ERROR_NODE_ID, "node_id",
      "another node of the cluster has the same node id; was its directory copied? stop one, "
      "remove its node.id, and start it again" },
    { CKV_ERROR_NO_NODE, "no_node",
      "no member of the cluster has this name or id; 'curvekv status' lists them" },
    { CKV_ERROR_POSITION, "position",
      "these entries do not follow what was applied last; the node reads the log again" },
    { CKV_ERROR_NODE_LIVE, "node_live",
      "this node is running; only one that will never come back can be forgotten: stop it first; "
      "if another of the same name is meant, give its id" },
    { CKV_ERROR_NO_CLUSTER, "no_cluster",
      "this node runs alone; start it with --redis to make it a member of a cluster" },
    { CKV_ERROR_ENDPOINT, "endpoint",
      "an endpoint is tcp://host:port or ipc://path, such as tcp://10.0.0.5:5555" },
    { CKV_ERROR_HOST, "host",
      "this is no address of this machine; check it, or listen on tcp://*:port" },
    { CKV_ERROR_NO_ADDRESS, "no_address",
      "no address is known for this host; check its name, or give its address" },
    { CKV_ERROR_PORT_IN_USE, "port_in_use",
      "this port or path is in use; stop what listens here, wait a minute if nothing does, or "
      "choose another" },
    { CKV_ERROR_NO_SOCKET, "no_socket",
      "a file that is no socket is at this path; choose another path, or remove it first" },
    { CKV_ERROR_MEMBER, "member",
      "it is not started without the others; give --cluster with this name, and --redis, or "
      "--alone to take it out of the cluster for good" },
    { CKV_ERROR_CLUSTER_KEY, "cluster_key",
      "the cluster that this node is to join has another cluster key, and would never take what is "
      "changed here; start in an empty directory with --cluster-key FILE, a copy of another node's "
      "cluster.key" },
    { CKV_ERROR_OTHER_CLUSTER, "other_cluster",
      "it cannot be a member of another one, too; give --cluster with this name, or start in an "
      "empty directory" },

    { CKV_ERROR_ZMTP, "zmtp", "the peer does not speak ZMTP 3; look what connects to this port" },
    { CKV_ERROR_FRAME_SIZE, "frame_size",
      "the peer sends a frame over the bound; let it send less, or raise the bound" },
    { CKV_ERROR_CURVE, "curve",
      "the peer breaks the CURVE handshake; look what connects to this port" },
    { CKV_ERROR_CURVE_BOX, "curve_box",
      "a CURVE box does not open; the peer uses another server key, or octets were changed" },
    { CKV_ERROR_CURVE_NONCE, "curve_nonce",
      "a CURVE command was replayed, or the nonces of this connection are used up; connect anew" },
    { CKV_ERROR_REFUSED, "refused",
      "the server refuses this client: it is not registered there, or was revoked, or has expired; "
      "register it anew, or look in the server's log" },
    { CKV_ERROR_HELLO_MAC, "hello_mac",
      "this HELLO was not made with the client's hello key; register the client anew" },
    { CKV_ERROR_HELLO_CLOCK, "hello_clock",
      "this HELLO is outside the time window; set the clocks of client and server" },

    { CKV_ERROR_NO_SERVER, "no_server",
      "nothing listens at this endpoint; check it, and whether the server runs" },
    { CKV_ERROR_MECHANISM, "mechanism",
      "the server is not set up for CURVE; make it a CURVE server, or take its other port" },
    { CKV_ERROR_HANDSHAKE, "handshake",
      "the server closed the connection in the handshake; check that the server key in the "
      "certificate file is its own, that its socket type goes with the client's, and both clocks; "
      "its log may say more" },
    { CKV_ERROR_CLOSED, "closed", "the server closed the connection; connect anew" },
    { CKV_ERROR_PEER_TYPE, "peer_type",
      "the server's socket is of a type that does not go with this one, such as a REP with a SUB" },
    { CKV_ERROR_TURN, "turn",
      "a SUB and a PULL only receive, a PUSH only sends, only a SUB subscribes, and a REQ sends "
      "and "
      "receives by turns" },
    { CKV_ERROR_NO_SECRET_KEY, "no_secret_key",
      "this file has no secret key; add the client's to it, as secret-key = \"...\" below the "
      "public-key, or take the file that has it" },
    { CKV_ERROR_NO_SERVER_KEY, "no_server_key",
      "this file does not tell the server's public key; take the one that 'curvekv register' "
      "wrote, and add the client's secret key to that if it has none" },
    { CKV_ERROR_PROTECTED, "protected", "this file is protected; give its passphrase" },
};

static const struct entry *find(int error)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        if (entries[i].number == error)
            return &entries[i];
    return NULL;
}

const char *ckv_strerror(int error)
{
    const struct entry *entry = find(error);
    return entry ? entry->sentence : "an error that this version does not know";
}

const char *ckv_error_name(int error)
{
    const struct entry *entry = find(error);
    return entry ? entry->name : "unknown";
}
