/*  gateway: a gateway as a benchmark sets it up: a store with clients in it, each with a server key pair
    of its own, the gateway before it in a process of its own, and what that process costs.
*/
#ifndef CKV_BENCH_GATEWAY_H
#define CKV_BENCH_GATEWAY_H

#include "bench/crowd.h"
#include "bench/node.h"

#include <arpa/inet.h>
#include <dirent.h>

struct server {
    pid_t process;
    struct sockaddr_in address;
};

static inline struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/*  A port that is free now.  */
static inline struct sockaddr_in free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_errno(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                    getsockname(fd, (struct sockaddr *)&address, &size) == 0,
                "a port");
    close(fd);
    return address;
}

static inline struct cell endpoint_of(const struct sockaddr_in *address)
{
    return cell("tcp://127.0.0.1:%u", (unsigned)ntohs(address->sin_port));
}

static inline void await_port(const struct sockaddr_in *address)
{
    enum { PATIENCE = 5000 };
    for (int i = 0; i < PATIENCE; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = connect(fd, (const struct sockaddr *)address, sizeof(*address));
        close(fd);
        if (rc == 0)
            return;
        usleep(1000);
    }
    fail("a server", "does not listen");
}

/*  A process like this one in what it has inherited, but that ends with this one.  */
static inline pid_t fork_server(void)
{
    pid_t process = fork();
    if (process == 0)
        end_with_parent();
    check_errno(process >= 0, "fork");
    return process;
}

/*  MODE is its --backend-mode.  */
static inline void start_gateway(struct server *self, const char *dir, const char *backend,
                                 const char *mode)
{
    self->address = free_port();
    struct cell listen = endpoint_of(&self->address);
    const char *const arguments[] = { "curvekv",        "gateway",   "--data",    dir,
                                      "--listen",       listen.text, "--backend", backend,
                                      "--backend-mode", mode,        NULL };
    self->process = start_curvekv(arguments);
    await_port(&self->address);
}

static inline void stop_process(pid_t process)
{
    kill(process, SIGTERM);
    waitpid(process, NULL, 0);
}

/*  Processor time of all threads that PROCESS has now, in seconds.  */
static inline double processor_time(pid_t process)
{
    struct cell path = cell("/proc/%d/task", (int)process);
    struct dirent *entry;
    double sum = 0;
    DIR *tasks = opendir(path.text);
    check_errno(tasks != NULL, path.text);
    while ((entry = readdir(tasks))) {
        unsigned long long ran = 0;
        if (entry->d_name[0] == '.')
            continue; /* ".." has a schedstat, too: the first thread's */
        FILE *file = fopen(cell("%s/%.20s/schedstat", path.text, entry->d_name).text, "r");
        if (file && fscanf(file, "%llu", &ran) == 1) /* NOLINT(cert-err34-c): the kernel's */
            sum += (double)ran / 1e9;
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return sum;
}

static inline double memory_of(pid_t process)
{
    char line[256];
    double octets = 0;
    FILE *file = fopen(cell("/proc/%d/status", (int)process).text, "r");
    check_errno(file != NULL, "memory of a process");
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            octets = strtod(line + 8, NULL) * 1024;
    fclose(file);
    return octets;
}

/*  Seals the certificate of CLIENT, whose server key pair is its own.  */
static inline size_t seal_client(const struct ckv_cluster_key *cluster_key, struct client *client,
                                 unsigned number, uint8_t *record)
{
    uint8_t nonce[CKV_RECORD_NONCE_SIZE], server_secret_key[32];
    struct cell text = cell("%u", number);
    size_t size;
    crypto_box_keypair(client->public_key, client->secret_key);
    crypto_box_keypair(client->server_public_key, server_secret_key);
    randombytes_buf(nonce, sizeof(nonce));
    struct ckv_certificate certificate = {
        .client_public_key = client->public_key,
        .server_public_key = client->server_public_key,
        .organisation = ckv_octets_text("ACME"),
        .number = ckv_octets_text(text.text),
        .revision = (UINT64_C(1700000000000) + number) << 16,
        .revised_by = 1,
        .created = UINT64_C(1700000000000) + number,
        .created_by = 1,
        .state = CKV_STATE_ACTIVE,
        .dedicated = 1,
    };
    ckv_storage_key_derive(&client->storage_key, cluster_key, client->public_key,
                           client->server_public_key, certificate.organisation, certificate.number);
    certificate.storage_key = ckv_storage_key_octets(&client->storage_key);
    ckv_cluster_key_hello(cluster_key, certificate.storage_key, client->hello_key);
    check(ckv_certificate_seal(&certificate, server_secret_key, cluster_key, nonce, record, &size),
          "a certificate");
    return size;
}

/*  Makes COUNT clients with certificates in a new store in DIR.  */
static inline void register_clients(const char *dir, struct client *clients, unsigned count)
{
    struct fleet fleet;
    uint8_t record[CKV_RECORD_MAX];
    struct ckv_certificate view;
    struct ckv_kv_txn *txn;
    check(ckv_cluster_key_new(&fleet.cluster_key, bench_cluster_key), "the cluster key");
    struct ckv_kv *kv = open_store(dir, &fleet, false);
    check(ckv_kv_begin(kv, CKV_KV_WRITE, &txn), "begin");
    for (unsigned i = 0; i < count; i++) {
        size_t size = seal_client(fleet.cluster_key, &clients[i], i, record);
        check(ckv_certificate_parse(&view, record, size), "a record");
        check(ckv_kv_merge(txn, &view), "merge");
    }
    check(ckv_kv_commit(&txn), "commit");
    await_filter(kv);
    ckv_kv_close(&kv);
    ckv_cluster_key_destroy(&fleet.cluster_key);
}

#endif
