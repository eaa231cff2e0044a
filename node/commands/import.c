/*  import: certificates made by other people's tools, and dumps of our own.

    What an operand is shows by itself: a directory is walked for certificate files, a file that
    begins like a dump is one, any other is a certificate file. Nothing stops an import half-way but
    the loss of the node: what is refused is named with the reason, the rest goes in.
*/
#include "core/text.h"
#include "core/time.h"
#include "core/z85.h"
#include "kv/system.h"
#include "node/client.h"
#include "node/commands/command.h"
#include "node/dump.h"
#include "node/library/keyfile.h"
#include "node/present.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <search.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REGISTERS_IN_FLIGHT = 256,         /* certificate files at the node at one time */
    CHUNKS_IN_FLIGHT = 8,              /* runs of dump entries at the node at one time */
    CHUNK_SIZE = 1048576,              /* octets of one run */
    END_SIZE = CKV_DUMP_HEAD_SIZE + 8, /* octets of a dump's end */
    PROGRESS_MS = 200,
};

/*  Paths put off to the end of a directory.  */
struct paths {
    char **items;
    size_t count, capacity;
};

/*  A certificate that this import has met. One often has two files, a public and a secret one, and is
    counted once.  */
struct met {
    uint8_t client_public_key[32];
    enum { NEITHER, WAS_THERE, IMPORTED } outcome;
};

/*  A certificate file at the node.  */
struct flight {
    char *path; /* NULL: the place is free */
    struct met *met;
};

struct import {
    const struct ckv_arguments *arguments;
    struct ckv_client *client;
    struct flight flights[REGISTERS_IN_FLIGHT]; /* by id modulo their number */
    void *met;                                  /* a tree of struct met (tsearch) */
    int64_t sent, answered;
    uint64_t files;
    uint64_t imported, unchanged, newer, conflicts, refused;
    struct paths plain;
    uint64_t shown_at; /* when the progress line was last written */
    bool progress;
    int lost; /* the error that ended the import, or CKV_OK */
};

static void show_progress(struct import *self, bool last)
{
    uint64_t now = ckv_now();
    if (!self->progress || (!last && now - self->shown_at < PROGRESS_MS))
        return;
    self->shown_at = now;
    fprintf(stderr, "\r\033[K%llu imported, %llu were there, %llu refused%s",
            (unsigned long long)self->imported, (unsigned long long)self->unchanged,
            (unsigned long long)self->refused, last ? "\r\033[K" : "");
    fflush(stderr);
}

static void refuse_in_json(const char *about, unsigned line, const char *reason)
{
    json_t *object = json_pack("{ssss}", "about", about, "message", reason);
    if (line)
        json_object_set_new(object, "line", json_integer(line));
    ckv_present_object(object);
}

/*  Names a file that was refused, and why.  */
static void refuse(struct import *self, const char *path, unsigned line, const char *reason)
{
    char shown[4096]; /* names of files are from outside */
    ckv_text_escape(ckv_octets_text(path), shown, sizeof(shown));
    self->refused++;
    if (self->progress)
        fputs("\r\033[K", stderr);
    if (self->arguments->json)
        refuse_in_json(shown, line, reason);
    else if (line)
        fprintf(stderr, "refused %s, line %u: %s\n", shown, line, reason);
    else
        fprintf(stderr, "refused %s: %s\n", shown, reason);
}

/*  ---- certificate files ----  */

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(((const struct met *)a)->client_public_key));
}

/*  The certificate of CLIENT_PUBLIC_KEY, met now or before; NULL for want of memory.  */
static struct met *meet(struct import *self, const uint8_t client_public_key[32])
{
    struct met *met = calloc(1, sizeof(*met));
    if (!met)
        return NULL;
    memcpy(met->client_public_key, client_public_key, 32);
    struct met **found = tsearch(met, &self->met, by_key);
    if (!found || *found != met)
        free(met);
    return found ? *found : NULL;
}

/*  Replies may overtake one another: that it was there may be known before that it was imported.  */
static void count(struct import *self, struct met *met, int error)
{
    if (error == CKV_OK) {
        self->unchanged -= met->outcome == WAS_THERE;
        self->imported++;
        met->outcome = IMPORTED;
    } else if (met->outcome == NEITHER) {
        self->unchanged++;
        met->outcome = WAS_THERE;
    }
}

static void take_register_reply(struct import *self, struct ckv_reply *reply)
{
    struct flight *flight = &self->flights[(size_t)reply->id % REGISTERS_IN_FLIGHT];
    const char *message = json_string_value(json_object_get(reply->json, "message"));
    bool has = reply->error == CKV_OK || reply->error == CKV_ERROR_CLIENT_KEY_TAKEN;
    if (has && flight->met)
        count(self, flight->met, reply->error);
    else
        refuse(self, flight->path ? flight->path : "a file", 0,
               message ? message : ckv_strerror(reply->error));
    free(flight->path);
    *flight = (struct flight){ NULL, NULL };
} /* NOLINT(clang-analyzer-unix.Malloc): the analyzer cannot follow which place an id has */

static uint64_t count_in(const json_t *reply, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(reply, name));
}

static void take_import_reply(struct import *self, struct ckv_reply *reply)
{
    const char *refusal = json_string_value(json_object_get(reply->json, "refusal"));
    if (reply->error != CKV_OK) {
        self->lost = reply->error;
        return;
    }
    self->imported += count_in(reply->json, "new");
    self->newer += count_in(reply->json, "newer");
    self->unchanged += count_in(reply->json, "unchanged");
    self->conflicts += count_in(reply->json, "conflicts");
    if (refusal)
        refuse(self, "records of the dump", 0, refusal);
    self->refused += count_in(reply->json, "refused") - (refusal ? 1 : 0);
}

/*  Takes replies until at most MOST requests are unanswered.  */
static void take_replies(struct import *self, int64_t most, bool dump)
{
    while (self->lost == CKV_OK && self->sent - self->answered > most) {
        struct ckv_reply reply;
        int rc = ckv_client_receive(self->client, &reply);
        if (rc == CKV_OK) {
            self->answered++;
            (dump ? take_import_reply : take_register_reply)(self, &reply);
        } else {
            self->lost = rc;
        }
        ckv_reply_clear(&reply);
        show_progress(self, false);
    }
}

/*  The client number of a file that states none: its name, without what marks it as a certificate.
 */
static void number_of(const char *path, char number[CKV_NUMBER_MAX + 1])
{
    static const char *const endings[] = { "_secret", ".key_secret", ".key", ".cert",
                                           ".crt",    ".pub",        ".txt" };
    const char *name = strrchr(path, '/');
    snprintf(number, CKV_NUMBER_MAX + 1, "%s", name ? name + 1 : path);
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        size_t size = strlen(number), ending = strlen(endings[i]);
        if (size > ending && strcmp(number + size - ending, endings[i]) == 0)
            number[size - ending] = 0;
    }
}

static bool has_number(const char *path)
{
    char number[CKV_NUMBER_MAX + 1];
    number_of(path, number);
    return ckv_text_printable(ckv_octets_text(number));
}

static json_t *registration_of(const struct import *self, const struct ckv_certfile *file,
                               const char *path)
{
    const struct ckv_arguments *arguments = self->arguments;
    char z85[CKV_Z85_TEXT_SIZE], key[CKV_STORAGE_KEY_TEXT_SIZE], number[CKV_NUMBER_MAX + 1];
    char time[CKV_TIME_TEXT_SIZE];
    json_t *request =
        json_pack("{sIsssbss}", "id", (json_int_t)self->sent, "command", "register", "only_unknown",
                  1, "server_key", arguments->server_key ? arguments->server_key : "shared");
    json_object_set_new(request, "client_public_key",
                        json_string(ckv_z85_text(file->public_key, z85)));
    if (file->organisation_size)
        json_object_set_new(
            request, "organisation",
            json_stringn((const char *)file->organisation, file->organisation_size));
    else if (arguments->organisation)
        json_object_set_new(request, "organisation", json_string(arguments->organisation));
    number_of(path, number);
    json_object_set_new(request, "client_number",
                        file->number_size
                            ? json_stringn((const char *)file->number, file->number_size)
                            : json_string(number));
    if (file->storage_key.size)
        json_object_set_new(
            request, "storage_key",
            json_string(ckv_storage_key_text(ckv_storage_key_octets(&file->storage_key), key)));
    if (file->not_after)
        json_object_set_new(request, "not_after",
                            json_string(ckv_time_text(file->not_after, time)));
    json_object_set_new(request, "metadata",
                        ckv_present_metadata(ckv_octets(file->metadata, file->metadata_size)));
    return request;
}

/*  Waits until the next id's place among the paths is free. Replies may overtake one another, so a
    free place is not the same as few unanswered requests.  */
static void make_room(struct import *self)
{
    while (self->lost == CKV_OK && self->flights[(size_t)self->sent % REGISTERS_IN_FLIGHT].path)
        take_replies(self, self->sent - self->answered - 1, false);
}

static void send_registration(struct import *self, const struct ckv_certfile *file,
                              const char *path)
{
    if (self->lost != CKV_OK)
        return;
    struct flight flight = { strdup(path), meet(self, file->public_key) };
    self->flights[(size_t)self->sent % REGISTERS_IN_FLIGHT] = flight;
    int rc =
        flight.path && flight.met
            ? ckv_client_send(self->client, registration_of(self, file, path), ckv_octets(NULL, 0))
            : CKV_ERROR_MEMORY;
    if (rc == CKV_OK)
        self->sent++;
    else
        self->lost = rc;
}

static bool put_off(struct paths *self, const char *path)
{
    if (self->count == self->capacity) {
        size_t capacity = 2 * self->capacity + 64;
        char **items = realloc(self->items, capacity * sizeof(*items));
        if (!items)
            return false;
        self->items = items;
        self->capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy)
        self->items[self->count++] = copy;
    return copy != NULL;
}

/*  Imports the file, or with MAY_WAIT puts it off when it has no metadata: pyzmq writes metadata
    into the secret file of a pair only, so the public one must not come first.  */
static void import_file(struct import *self, const char *path, bool may_wait)
{
    struct ckv_certfile *file = malloc(sizeof(*file));
    unsigned line = 0;
    int rc = file ? ckv_keyfile_read(file, path, &line) : CKV_ERROR_MEMORY;
    if (rc == CKV_OK && !file->number_size && !has_number(path))
        rc = CKV_ERROR_NUMBER;
    if (rc != CKV_OK) {
        refuse(self, path, line, ckv_strerror(rc));
    } else if (!may_wait || file->metadata_size || !put_off(&self->plain, path)) {
        make_room(self);
        send_registration(self, file, path);
    }
    if (file) {
        sodium_memzero(file, sizeof(*file)); /* the secret key never leaves this process */
        free(file);
    }
}

static void import_plain(struct import *self)
{
    for (size_t i = 0; i < self->plain.count; i++) {
        if (self->lost == CKV_OK)
            import_file(self, self->plain.items[i], false);
        free(self->plain.items[i]);
    }
    free(self->plain.items);
    self->plain = (struct paths){ 0 };
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/*  What errno says of a file. What is absent is not a store.  */
static const char *reason_of(int number)
{
    int rc = ckv_system_error(number);
    return ckv_strerror(rc == CKV_ERROR_NO_STORE ? CKV_ERROR_NO_FILE : rc);
}

/*  In the order of names, so that two runs over one tree do the same.  */
static void import_directory(struct import *self, const char *path)
{
    char *const roots[] = { (char *)path, NULL };
    FTS *tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    FTSENT *entry;
    while (tree && self->lost == CKV_OK && (entry = fts_read(tree))) {
        switch (entry->fts_info) {
        case FTS_F:
            self->files++;
            import_file(self, entry->fts_path, true);
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            refuse(self, entry->fts_path, 0, reason_of(entry->fts_errno));
            break;
        case FTS_SLNONE:
            refuse(self, entry->fts_path, 0, "this link points nowhere");
            break;
        case FTS_DEFAULT:
            refuse(self, entry->fts_path, 0, "this is no regular file");
            break;
        default:
            break;
        }
    }
    if (tree)
        fts_close(tree);
    import_plain(self);
    take_replies(self, 0, false);
}

/*  ---- dumps ----  */

struct reader {
    FILE *file;
    uint8_t *data;
    size_t size;
    uint64_t entries;
    bool ended; /* the end entry was read */
};

/*  How many octets at the front of what was read are whole entries. The end entry is checked and
    not counted in.  */
static int measure(struct reader *self, size_t *whole)
{
    struct ckv_octets rest = ckv_octets(self->data, self->size);
    struct ckv_dump_entry entry;
    int rc;
    *whole = 0;
    while (!self->ended && (rc = ckv_dump_next(&rest, &entry)) == 1) {
        if (entry.type == CKV_DUMP_END) {
            self->ended = true;
            if (ckv_get64(entry.octets.data) != self->entries)
                return CKV_ERROR_DUMP_TRUNCATED;
        } else {
            self->entries++;
            *whole = self->size - rest.size;
        }
    }
    return self->ended || rc == CKV_ERROR_DUMP_TRUNCATED ? CKV_OK : rc;
}

static int send_chunk(struct import *self, struct reader *reader)
{
    size_t whole;
    reader->size += fread(reader->data + reader->size, 1, CHUNK_SIZE - reader->size, reader->file);
    int rc = measure(reader, &whole);
    if (whole) {
        json_t *request = json_pack("{sIss}", "id", (json_int_t)self->sent, "command", "import");
        take_replies(self, CHUNKS_IN_FLIGHT - 1, true);
        if (self->lost == CKV_OK)
            self->lost = ckv_client_send(self->client, request, ckv_octets(reader->data, whole));
        else
            json_decref(request);
        if (self->lost == CKV_OK)
            self->sent++;
    }
    reader->size -= whole;
    memmove(reader->data, reader->data + whole, reader->size);
    if (rc == CKV_OK && !reader->ended && ferror(reader->file))
        rc = CKV_ERROR_IO;
    else if (rc == CKV_OK && !reader->ended && feof(reader->file))
        rc = CKV_ERROR_DUMP_TRUNCATED;
    return rc;
}

/*  FILE stands behind the magic.  */
static void import_dump(struct import *self, FILE *file, const char *path)
{
    struct reader reader = { .file = file, .data = malloc(CHUNK_SIZE) };
    int rc = reader.data ? CKV_OK : CKV_ERROR_MEMORY;
    while (rc == CKV_OK && !reader.ended && self->lost == CKV_OK)
        rc = send_chunk(self, &reader);
    take_replies(self, 0, true);
    if (rc != CKV_OK)
        refuse(self, path, 0, ckv_strerror(rc));
    else if (reader.ended && (reader.size != END_SIZE || fgetc(file) != EOF))
        refuse(self, path, 0, "more follows the end of the dump; import dumps one at a time");
    free(reader.data);
}

static bool is_dump(FILE *file)
{
    char magic[sizeof(CKV_DUMP_MAGIC) - 1];
    return fread(magic, 1, sizeof(magic), file) == sizeof(magic) &&
           memcmp(magic, CKV_DUMP_MAGIC, sizeof(magic)) == 0;
}

/*  ---- the command ----  */

static void import_operand(struct import *self, const char *path)
{
    struct stat status;
    bool standard_input = strcmp(path, "-") == 0;
    if (!standard_input && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        import_directory(self, path);
        return;
    }
    FILE *file = standard_input ? stdin : fopen(path, "r");
    if (!file) {
        refuse(self, path, 0, reason_of(errno));
        return;
    }
    self->files++;
    bool dump = is_dump(file);
    if (dump)
        import_dump(self, file, path);
    if (!standard_input)
        fclose(file);
    if (!dump && standard_input)
        refuse(self, "standard input", 0,
               ckv_strerror(ferror(file) ? CKV_ERROR_IO : CKV_ERROR_DUMP));
    else if (!dump)
        import_file(self, path, false);
    take_replies(self, 0, false);
}

static void report_in_json(const struct import *self)
{
    ckv_present_object(json_pack("{sIsIsIsIsIsI}", "imported", (json_int_t)self->imported,
                                 "unchanged", (json_int_t)self->unchanged, "newer",
                                 (json_int_t)self->newer, "conflicts", (json_int_t)self->conflicts,
                                 "refused", (json_int_t)self->refused, "files",
                                 (json_int_t)self->files));
}

static void report(const struct import *self)
{
    printf("%llu imported, %llu were there, %llu refused", (unsigned long long)self->imported,
           (unsigned long long)self->unchanged, (unsigned long long)self->refused);
    if (self->newer)
        printf(", %llu newer", (unsigned long long)self->newer);
    if (self->conflicts)
        printf(", %llu in conflict (see 'curvekv list --conflicts')",
               (unsigned long long)self->conflicts);
    printf("; from %llu file%s\n", (unsigned long long)self->files, self->files == 1 ? "" : "s");
}

/*  An import changes nothing that is there, whatever its options say.  */
static void warn_of_options(const struct import *self)
{
    if (self->unchanged && (self->arguments->organisation || self->arguments->server_key))
        fputs("curvekv: certificates that were there keep their organisation and server key; "
              "'curvekv rotate' changes a server key\n",
              stderr);
}

static int import(const struct ckv_arguments *arguments)
{
    struct import self = { .arguments = arguments,
                           .progress = isatty(STDERR_FILENO) && !arguments->json };
    if (arguments->server_key && strcmp(arguments->server_key, "dedicated") != 0 &&
        strcmp(arguments->server_key, "shared") != 0)
        return ckv_complain_usage("--server-key %s: it is dedicated or shared",
                                  arguments->server_key);
    struct ckv_octets organisation =
        ckv_octets_text(arguments->organisation ? arguments->organisation : "");
    if (organisation.size > CKV_ORGANISATION_MAX || !ckv_text_printable(organisation))
        return ckv_complain(arguments, CKV_ERROR_ORGANISATION, "--organisation");
    int rc = ckv_client_new(&self.client, arguments->data, ckv_timeout(arguments));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->data);
    for (int i = 0; i < arguments->operand_count && self.lost == CKV_OK; i++)
        import_operand(&self, arguments->operands[i]);
    show_progress(&self, true);
    (arguments->json ? report_in_json : report)(&self);
    warn_of_options(&self);
    for (size_t i = 0; i < REGISTERS_IN_FLIGHT; i++)
        free(self.flights[i].path);
    tdestroy(self.met, free);
    ckv_client_destroy(&self.client);
    if (self.lost != CKV_OK)
        return ckv_complain(arguments, self.lost,
                            "the import ended early; what was imported stays, "
                            "and running it again goes on from there");
    return self.refused ? CKV_EXIT_REFUSED : CKV_EXIT_DONE;
}

const struct ckv_command ckv_command_import = {
    .name = "import",
    .operands = "DIR|FILE|- ...",
    .summary = "import certificate files of CZMQ and pyzmq, or a dump",
    .help =
        "  --organisation NAME  of certificates that state none\n"
        "  --server-key KIND    shared: the cluster's default server key (the default for\n"
        "                       clients that exist); dedicated: one for each\n"
        "  --json               an object for each file that is refused, then one of counts\n"
        "  --data DIR, --timeout SECONDS\n"
        "\n"
        "A directory is walked for certificate files, public or secret; a certificate's client\n"
        "number is its file's name, unless it states one. Secret keys are not sent to the\n"
        "node. A dump is what 'curvekv export' writes; '-' reads one from standard input.\n"
        "What is refused is named with the reason, and the rest goes in. Importing the same\n"
        "again changes nothing, also with other options. A certificate with a public and a\n"
        "secret file counts once.\n"
        "\n"
        "Examples:\n"
        "  curvekv import --organisation ACME /etc/zeromq/clients\n"
        "  curvekv import certificates.dump\n",
    .options = "data json timeout organisation server-key",
    .operands_min = 1,
    .operands_max = 1000000,
    .run = import,
};
