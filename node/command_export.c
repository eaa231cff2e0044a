/*  export: all records as a dump, from the node or from its store.  */
#include "node/source.h"

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
    return whole ? CKV_OK : errno == ENOSPC ? CKV_ERROR_DISK_FULL : CKV_ERROR_IO;
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
        return CKV_ERROR_IO;
    int rc = ckv_source_walk(source, true, export_one, self);
    ckv_put64(count, self->count);
    if (rc == CKV_OK)
        rc = write_entry(self->file, CKV_DUMP_END, ckv_octets(count, sizeof(count)));
    if (rc == CKV_OK && fflush(self->file) != 0)
        rc = errno == ENOSPC ? CKV_ERROR_DISK_FULL : CKV_ERROR_IO;
    return rc;
}

/*  A new file, so that an export that fails half-way does not cost the last good one.  */
static FILE *open_file(const char *path, bool force, char temporary[4096])
{
    temporary[0] = 0;
    if (!path || strcmp(path, "-") == 0)
        return stdout;
    if (!force && access(path, F_OK) == 0) {
        errno = EEXIST;
        return NULL;
    }
    snprintf(temporary, 4096, "%s.part", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int finish_file(FILE *file, const char *temporary, const char *path, int rc)
{
    if (file == stdout)
        return rc;
    if (rc == CKV_OK && fsync(fileno(file)) != 0)
        rc = CKV_ERROR_IO;
    fclose(file);
    if (rc == CKV_OK && rename(temporary, path) != 0)
        rc = CKV_ERROR_IO;
    if (rc != CKV_OK)
        unlink(temporary);
    return rc;
}

static int export_all(const struct ckv_arguments *arguments)
{
    struct ckv_source source;
    struct export self = { .count = 0 };
    char temporary[4096];
    const char *path = arguments->out ? arguments->out : "-";
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
        return ckv_complain_usage("a dump is binary; name a file with --out, or use a pipe");
    self.file = open_file(path, arguments->force, temporary);
    if (!self.file)
        return ckv_complain(arguments,
                            errno == EEXIST   ? CKV_ERROR_EXISTS
                            : errno == EACCES ? CKV_ERROR_PERMISSION
                                              : CKV_ERROR_IO,
                            "%s", path);
    int status = ckv_source_open(&source, arguments);
    if (status != CKV_EXIT_DONE) {
        finish_file(self.file, temporary, path, CKV_ERROR_NOT_REACHABLE);
        return status;
    }
    int rc = write_dump(&source, &self);
    rc = finish_file(self.file, temporary, path, rc);
    ckv_source_close(&source);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "export to %s", path);
    fprintf(stderr, "exported %llu records\n", (unsigned long long)self.count);
    return CKV_EXIT_DONE;
}

const struct ckv_command ckv_command_export = {
    .name = "export",
    .operands = "",
    .summary = "write all certificates to a dump",
    .help = "  --out FILE           the dump; '-' or none: standard output\n"
            "  --force              overwrite FILE\n"
            "  --data DIR, --json, --timeout SECONDS\n"
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
