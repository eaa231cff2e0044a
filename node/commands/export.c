/*  export: all records as a dump, from the node or from its store.  */
#include "node/commands/command.h"
#include "node/commands/source.h"
#include "node/library/keyfile.h"
#include "node/present.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct export
{
    FILE *file;
    uint64_t count;
};

static int write_entry(FILE *file, int type, struct ckv_octets octets)
{
    uint8_t head[CKV_DUMP_HEAD_SIZE];
    ckv_dump_head(head, type, octets.size);
    bool whole = fwrite(head, 1, sizeof(head), file) == sizeof(head) &&
                 fwrite(octets.data, 1, octets.size, file) == octets.size;
    return whole ? CKV_OK : ckv_keyfile_error(errno);
}

static int export_one(void *argument, int type, const struct ckv_certificate *certificate)
{
    struct export *self = argument;
    self->count++;
    return write_entry(self->file, type, certificate->record);
}

static int write_dump(struct ckv_source *source, struct export *self)
{
    uint8_t count[8];
    if (fputs(CKV_DUMP_MAGIC, self->file) < 0)
        return ckv_keyfile_error(errno);
    int rc = ckv_source_walk(source, true, export_one, self);
    ckv_put64(count, self->count);
    if (rc == CKV_OK)
        rc = write_entry(self->file, CKV_DUMP_END, ckv_octets(count, sizeof(count)));
    if (rc == CKV_OK && fflush(self->file) != 0)
        rc = ckv_keyfile_error(errno);
    return rc;
}

/*  A new file, so that an export that fails half-way does not cost the last good one.  */
static int open_file(FILE **file, struct ckv_keyfile *keyfile, const char *path, bool force)
{
    *file = stdout;
    int rc = ckv_keyfile_take(keyfile, path, force);
    if (rc != CKV_OK || keyfile->fd < 0)
        return rc;
    int fd = fcntl(keyfile->fd, F_DUPFD_CLOEXEC, 0); /* for fclose to close */
    *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (*file)
        return CKV_OK;
    rc = ckv_keyfile_error(errno);
    if (fd >= 0)
        close(fd);
    ckv_keyfile_drop(keyfile);
    return rc;
}

/*  Names the file when all went well till now, RC being how it went.  */
static int finish_file(FILE *file, struct ckv_keyfile *keyfile, bool force, int rc)
{
    if (file != stdout && fclose(file) != 0 && rc == CKV_OK)
        rc = ckv_keyfile_error(errno);
    if (rc == CKV_OK)
        rc = ckv_keyfile_commit(keyfile, 0600, force);
    ckv_keyfile_drop(keyfile);
    return rc;
}

static int export_all(const struct ckv_arguments *arguments)
{
    struct ckv_source source;
    struct export self = { .count = 0 };
    struct ckv_keyfile keyfile;
    const char *path = arguments->out ? arguments->out : "-";
    if (arguments->json && strcmp(path, "-") == 0)
        return ckv_complain_usage("with --json, name the dump's file with --out");
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
        return ckv_complain_usage("a dump is binary; name a file with --out, or use a pipe");
    int rc = open_file(&self.file, &keyfile, path, arguments->force);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", path);
    int status = ckv_source_open(&source, arguments);
    if (status != CKV_EXIT_DONE) {
        finish_file(self.file, &keyfile, arguments->force, CKV_ERROR_NOT_REACHABLE);
        return status;
    }
    rc = write_dump(&source, &self);
    rc = finish_file(self.file, &keyfile, arguments->force, rc);
    ckv_source_close(&source);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "export to %s", path);
    if (arguments->json)
        ckv_present_object(json_pack("{sI}", "exported", (json_int_t)self.count));
    else
        fprintf(stderr, "exported %llu records\n", (unsigned long long)self.count);
    return CKV_EXIT_DONE;
}

const struct ckv_command ckv_command_export = {
    .name = "export",
    .operands = "",
    .summary = "write all certificates to a dump",
    .help = "  --out FILE           the dump; '-' or none: standard output\n"
            "  --force              overwrite FILE\n"
            "  --json               how many were exported, one object; with --out FILE only\n"
            "  --data DIR, --timeout SECONDS\n"
            "\n"
            "The dump keeps everything: records as they are, sealed, those in conflict too.\n"
            "'curvekv import' takes it back, on any node with the same cluster key. While the\n"
            "node is down, its store is read.\n"
            "\n"
            "Examples:\n"
            "  curvekv export --out certificates.dump\n"
            "  curvekv export | ssh other curvekv import -\n",
    .options = "data json timeout out force",
    .run = export_all,
};
