#include "core/certfile.h"
#include "core/properties.h"
#include "core/text.h"
#include "core/time.h"
#include "core/z85.h"
#include "core/zpl.h"

#include <sodium.h>

/*  "protected" on the wire.  */
struct protected
{
    uint8_t opslimit[4];
    uint8_t memlimit[8];
    uint8_t salt[crypto_pwhash_SALTBYTES];
    uint8_t nonce[crypto_secretbox_NONCEBYTES];
    uint8_t box[crypto_secretbox_MACBYTES + 64]; /* of struct secrets */
};

struct secrets {
    uint8_t secret_key[32];
    uint8_t hello_key[CKV_HELLO_KEY_SIZE];
};

_Static_assert(sizeof(struct protected) == CKV_CERTFILE_PROTECTED_SIZE, "no holes");
_Static_assert(sizeof(struct secrets) == 64, "no holes");

/* -- reading ----------------------------------------------------------------------------------- */

/*  A key of zeros is none.  */
static int read_key(uint8_t key[32], bool *has_key, struct ckv_octets value)
{
    int rc = ckv_z85_read(key, value);
    *has_key = rc == CKV_OK && !sodium_is_zero(key, 32);
    return rc;
}

static int read_public_key(struct ckv_certfile *self, struct ckv_octets value)
{
    bool has_key;
    int rc = read_key(self->public_key, &has_key, value);
    return rc != CKV_OK || has_key ? rc : CKV_ERROR_NO_PUBLIC_KEY;
}

static int read_secret_key(struct ckv_certfile *self, struct ckv_octets value)
{
    return read_key(self->secret_key, &self->has_secret_key, value);
}

static int read_server_public_key(struct ckv_certfile *self, struct ckv_octets value)
{
    return read_key(self->server_public_key, &self->has_server_public_key, value);
}

static int read_hello_key(struct ckv_certfile *self, struct ckv_octets value)
{
    return read_key(self->hello_key, &self->has_hello_key, value);
}

static int read_cluster(struct ckv_certfile *self, struct ckv_octets value)
{
    if (value.size > CKV_CLUSTER_NAME_MAX || !ckv_text_printable(value))
        return CKV_ERROR_CERTFILE;
    memcpy(self->cluster, value.data, value.size);
    return CKV_OK;
}

static int read_organisation(struct ckv_certfile *self, struct ckv_octets value)
{
    if (value.size > CKV_ORGANISATION_MAX || !ckv_text_printable(value))
        return CKV_ERROR_ORGANISATION;
    memcpy(self->organisation, value.data, value.size);
    self->organisation_size = (uint8_t)value.size;
    return CKV_OK;
}

static int read_number(struct ckv_certfile *self, struct ckv_octets value)
{
    if (value.size > CKV_NUMBER_MAX || !ckv_text_printable(value))
        return CKV_ERROR_NUMBER;
    memcpy(self->number, value.data, value.size);
    self->number_size = (uint8_t)value.size;
    return CKV_OK;
}

static int read_storage_key(struct ckv_certfile *self, struct ckv_octets value)
{
    return ckv_storage_key_read(&self->storage_key, value);
}

/*  1970 itself would mean "for ever", the contrary of what it says.  */
static int read_not_after(struct ckv_certfile *self, struct ckv_octets value)
{
    int rc = ckv_time_read(&self->not_after, value);
    return rc == CKV_OK && self->not_after ? CKV_OK : CKV_ERROR_CERTFILE;
}

static int read_protected(struct ckv_certfile *self, struct ckv_octets value)
{
    self->is_protected =
        ckv_text_unhex(self->protected_secrets, sizeof(self->protected_secrets), value);
    return self->is_protected ? CKV_OK : CKV_ERROR_CERTFILE;
}

static int read_metadata(struct ckv_certfile *self, struct ckv_octets name, struct ckv_octets value)
{
    size_t before = self->metadata_size;
    struct ckv_octets earlier = ckv_octets(self->metadata, before), found;
    char text[256] = "";
    if (ckv_properties_put(self->metadata, sizeof(self->metadata), &self->metadata_size, name,
                           value) != CKV_OK)
        return CKV_ERROR_METADATA;
    memcpy(text, name.data, name.size);
    if (ckv_properties_get(earlier, text, &found))
        return CKV_ERROR_METADATA;
    return ckv_properties_check(ckv_octets(self->metadata + before, self->metadata_size - before));
}

enum section { UNKNOWN, METADATA, CURVE, CURVEKV };

static const char *const section_names[] = { "", "metadata", "curve", "curvekv" };

static const struct field {
    enum section section;
    const char *name;
    int (*read)(struct ckv_certfile *self, struct ckv_octets value);
} fields[] = {
    { CURVE, "public-key", read_public_key },
    { CURVE, "secret-key", read_secret_key },
    { CURVEKV, "cluster", read_cluster },
    { CURVEKV, "organisation", read_organisation },
    { CURVEKV, "number", read_number },
    { CURVEKV, "storage-key", read_storage_key },
    { CURVEKV, "server-public-key", read_server_public_key },
    { CURVEKV, "hello-key", read_hello_key },
    { CURVEKV, "not-after", read_not_after },
    { CURVEKV, "protected", read_protected },
};

enum { SECTIONS = 4, FIELDS = sizeof(fields) / sizeof(fields[0]) };

struct reader {
    struct ckv_certfile *self;
    enum section section;
    bool seen_section[SECTIONS];
    bool seen_field[FIELDS]; /* the public key's is the first */
};

static bool is_called(struct ckv_octets name, const char *text)
{
    return ckv_octets_equal(name, ckv_octets_text(text));
}

static int enter_section(struct reader *reader, struct ckv_octets name)
{
    reader->section = UNKNOWN;
    for (enum section section = METADATA; section <= CURVEKV; section++)
        if (is_called(name, section_names[section]))
            reader->section = section;
    if (reader->section != UNKNOWN && reader->seen_section[reader->section])
        return CKV_ERROR_CERTFILE;
    reader->seen_section[reader->section] = true;
    return CKV_OK;
}

static int read_field(struct reader *reader, const struct ckv_zpl_line *line)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].section == reader->section && is_called(line->name, fields[i].name)) {
            if (reader->seen_field[i] || !line->value.data)
                return CKV_ERROR_CERTFILE;
            reader->seen_field[i] = true;
            return fields[i].read(reader->self, line->value);
        }
    return CKV_OK;
}

static int read_line(struct reader *reader, const struct ckv_zpl_line *line)
{
    if (line->depth == 0)
        return enter_section(reader, line->name);
    if (line->depth > 1)
        return CKV_OK;
    if (reader->section == METADATA)
        return line->value.data ? read_metadata(reader->self, line->name, line->value)
                                : CKV_ERROR_CERTFILE;
    return read_field(reader, line);
}

static bool is_public_key_of(const uint8_t public_key[32], const uint8_t secret_key[32])
{
    uint8_t expected[crypto_scalarmult_BYTES];
    return crypto_scalarmult_base(expected, secret_key) == 0 &&
           sodium_memcmp(expected, public_key, sizeof(expected)) == 0;
}

/*  What no single line is to blame for.  */
static int check_whole(const struct reader *reader)
{
    const struct ckv_certfile *self = reader->self;
    if (!reader->seen_field[0])
        return CKV_ERROR_NO_PUBLIC_KEY;
    if (self->is_protected && (self->has_secret_key || self->has_hello_key))
        return CKV_ERROR_CERTFILE;
    if (self->has_secret_key && !is_public_key_of(self->public_key, self->secret_key))
        return CKV_ERROR_KEY_MISMATCH;
    return CKV_OK;
}

static int read_lines(struct ckv_certfile *self, struct ckv_octets text, unsigned *line_number)
{
    struct reader reader = { .self = self };
    struct ckv_zpl_line line;
    struct ckv_zpl zpl;
    int rc;
    ckv_zpl_start(&zpl, text);
    while ((rc = ckv_zpl_next(&zpl, &line)) == 1)
        if ((rc = read_line(&reader, &line)) != CKV_OK)
            break;
    *line_number = rc == CKV_OK ? 0 : zpl.line;
    return rc == CKV_OK ? check_whole(&reader) : rc;
}

static int check_text(struct ckv_octets text)
{
    bool is_blank = true;
    if (text.size > CKV_CERTFILE_MAX)
        return CKV_ERROR_CERTFILE_SIZE;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 && !(text.data[i] && strchr("\t\r\n", text.data[i])))
            return CKV_ERROR_CERTFILE_BINARY;
        is_blank = is_blank && text.data[i] <= 0x20;
    }
    return is_blank ? CKV_ERROR_CERTFILE_EMPTY : CKV_OK;
}

int ckv_certfile_read(struct ckv_certfile *self, struct ckv_octets text, unsigned *line)
{
    unsigned line_number = 0;
    memset(self, 0, sizeof(*self));
    int rc = check_text(text);
    if (rc == CKV_OK)
        rc = read_lines(self, text, &line_number);
    if (rc != CKV_OK)
        sodium_memzero(self, sizeof(*self));
    if (line)
        *line = line_number;
    return rc;
}

/* -- writing ----------------------------------------------------------------------------------- */

struct writer {
    char *text;
    size_t capacity;
    size_t size; /* with what did not fit */
};

static void put(struct writer *writer, struct ckv_octets octets)
{
    if (octets.size && writer->size <= writer->capacity &&
        octets.size <= writer->capacity - writer->size)
        memcpy(writer->text + writer->size, octets.data, octets.size);
    writer->size += octets.size;
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, ckv_octets_text(text));
}

static bool holds(struct ckv_octets octets, char c)
{
    return octets.size && memchr(octets.data, c, octets.size);
}

static bool can_be_bare(struct ckv_octets value)
{
    return value.size && !holds(value, '#') && !strchr(" \"'", value.data[0]) &&
           value.data[value.size - 1] != ' ';
}

/*  Returns ERROR for a VALUE that no line can hold.  */
static int put_value(struct writer *writer, struct ckv_octets value, int error)
{
    const char *quote = !holds(value, '"') ? "\"" : !holds(value, '\'') ? "'" : "";
    if (!ckv_text_printable(value) || (!*quote && !can_be_bare(value)))
        return error;
    put_text(writer, quote);
    put(writer, value);
    put_text(writer, quote);
    put_text(writer, "\n");
    return CKV_OK;
}

static int put_pair(struct writer *writer, const char *name, struct ckv_octets value, int error)
{
    put_text(writer, "    ");
    put_text(writer, name);
    put_text(writer, " = ");
    return put_value(writer, value, error);
}

/*  The same for an optional text: an empty one is left out.  */
static int put_optional(struct writer *writer, const char *name, struct ckv_octets value, int error)
{
    return value.size ? put_pair(writer, name, value, error) : CKV_OK;
}

static void put_key(struct writer *writer, const char *name, const uint8_t key[32])
{
    char text[CKV_Z85_TEXT_SIZE];
    put_pair(writer, name, ckv_octets_text(ckv_z85_text(key, text)), CKV_OK);
    sodium_memzero(text, sizeof(text));
}

static void put_hex(struct writer *writer, const char *name, const char *prefix,
                    struct ckv_octets octets)
{
    char text[2 + 2 * CKV_CERTFILE_PROTECTED_SIZE + 1];
    size_t prefix_size = strlen(prefix);
    sodium_bin2hex(text + prefix_size, sizeof(text) - prefix_size, octets.data, octets.size);
    memcpy(text, prefix, prefix_size); /* NOLINT(bugprone-not-null-terminated-result): octets */
    put_pair(writer, name, ckv_octets(text, prefix_size + 2 * octets.size), CKV_OK);
}

static void put_storage_key(struct writer *writer, struct ckv_octets key)
{
    char text[CKV_STORAGE_KEY_TEXT_SIZE];
    if (holds(key, '"') && holds(key, '\''))
        put_hex(writer, "storage-key", "0x", key);
    else if (key.size)
        put_pair(writer, "storage-key", ckv_octets_text(ckv_storage_key_text(key, text)), CKV_OK);
}

/*  Less than a second would be written, and then refused, as 1970 itself.  */
static void put_not_after(struct writer *writer, uint64_t not_after)
{
    char text[CKV_TIME_TEXT_SIZE];
    ckv_time_text(not_after < 1000 ? 1000 : not_after, text);
    put_pair(writer, "not-after", ckv_octets_text(text), CKV_OK);
}

bool ckv_certfile_is_secret(const struct ckv_certfile *self)
{
    return self->has_secret_key || self->has_hello_key || self->is_protected;
}

bool ckv_certfile_lacks_secret_key(const struct ckv_certfile *self)
{
    return self->has_hello_key && !self->has_secret_key && !self->is_protected;
}

static void put_banner(struct writer *writer, const struct ckv_certfile *self)
{
    char fingerprint[CKV_FINGERPRINT_TEXT_SIZE];
    if (self->is_protected)
        put_text(writer, "#   ****  Written by curvekv  ****\n"
                         "#   ZeroMQ CURVE **Secret** Certificate, protected by a passphrase\n"
                         "#   Keep it secret, mode 0600: whoever has it can try passphrases.\n");
    else if (ckv_certfile_lacks_secret_key(self))
        put_text(writer, "#   ****  Written by curvekv  ****\n"
                         "#   ZeroMQ CURVE Certificate, still without the client's secret key\n"
                         "#   Keep it secret, mode 0600: once the client has added its own, where\n"
                         "#   the line below says, whoever has it is this client.\n");
    else if (ckv_certfile_is_secret(self))
        put_text(writer, "#   ****  Written by curvekv  ****\n"
                         "#   ZeroMQ CURVE **Secret** Certificate\n"
                         "#   Keep it secret, mode 0600: whoever has it is this client.\n");
    else
        put_text(writer, "#   ****  Written by curvekv  ****\n"
                         "#   ZeroMQ CURVE Public Certificate\n"
                         "#   It holds no secret. Compare the fingerprint after an exchange.\n");
    put_text(writer, "#   Fingerprint of the client public key: ");
    put_text(writer, ckv_fingerprint_text(self->public_key, fingerprint));
    put_text(writer, "\n\n");
}

/*  pyzmq would take the line for the key.  */
static bool misleads_pyzmq(struct ckv_octets name)
{
    return name.size >= 10 &&
           (memcmp(name.data, "public-key", 10) == 0 || memcmp(name.data, "secret-key", 10) == 0);
}

static int put_metadata(struct writer *writer, const struct ckv_certfile *self)
{
    struct ckv_octets rest = ckv_octets(self->metadata, self->metadata_size);
    struct ckv_property property;
    if (self->metadata_size > CKV_METADATA_MAX || ckv_properties_check(rest) != CKV_OK)
        return CKV_ERROR_METADATA;
    put_text(writer, "metadata\n");
    while (ckv_properties_next(&rest, &property) == 1) {
        bool misleads = misleads_pyzmq(property.name);
        put_text(writer, "    ");
        if (misleads)
            put_text(writer, property.name.data[0] == 'p' ? "P" : "S");
        put(writer, ckv_octets(property.name.data + misleads, property.name.size - misleads));
        put_text(writer, " = ");
        put_value(writer, property.value, CKV_ERROR_METADATA);
    }
    return CKV_OK;
}

static void put_curve(struct writer *writer, const struct ckv_certfile *self)
{
    put_text(writer, "curve\n");
    put_key(writer, "public-key", self->public_key);
    if (self->has_secret_key && !self->is_protected)
        put_key(writer, "secret-key", self->secret_key);
    if (ckv_certfile_lacks_secret_key(self))
        put_text(writer, "#   secret-key = \"the client's own; then without the # in front\"\n");
}

static int put_curvekv(struct writer *writer, const struct ckv_certfile *self)
{
    size_t cluster_size = strnlen(self->cluster, sizeof(self->cluster));
    int rc;
    put_text(writer, "curvekv\n");
    if ((rc = put_optional(writer, "cluster", ckv_octets(self->cluster, cluster_size),
                           CKV_ERROR_ARGUMENT)) != CKV_OK ||
        (rc = put_optional(writer, "organisation",
                           ckv_octets(self->organisation, self->organisation_size),
                           CKV_ERROR_ORGANISATION)) != CKV_OK ||
        (rc = put_optional(writer, "number", ckv_octets(self->number, self->number_size),
                           CKV_ERROR_NUMBER)) != CKV_OK)
        return rc;
    put_storage_key(writer, ckv_storage_key_octets(&self->storage_key));
    if (self->has_server_public_key)
        put_key(writer, "server-public-key", self->server_public_key);
    if (self->has_hello_key && !self->is_protected)
        put_key(writer, "hello-key", self->hello_key);
    if (self->not_after)
        put_not_after(writer, self->not_after);
    if (self->is_protected)
        put_hex(writer, "protected", "",
                ckv_octets(self->protected_secrets, sizeof(self->protected_secrets)));
    return CKV_OK;
}

int ckv_certfile_write(const struct ckv_certfile *self, char *text, size_t capacity, size_t *size)
{
    struct writer writer = { .text = text, .capacity = capacity };
    put_banner(&writer, self);
    int rc = put_metadata(&writer, self);
    if (rc == CKV_OK) {
        put_curve(&writer, self);
        rc = put_curvekv(&writer, self);
    }
    put(&writer, ckv_octets("", 1));
    if (rc == CKV_OK && writer.size > capacity)
        rc = CKV_ERROR_ARGUMENT;
    if (rc == CKV_OK)
        *size = writer.size - 1;
    else
        sodium_memzero(text, capacity);
    return rc;
}

/* -- protection -------------------------------------------------------------------------------- */

static bool limits_in_bounds(uint64_t opslimit, uint64_t memlimit)
{
    return opslimit >= crypto_pwhash_argon2id_OPSLIMIT_MIN &&
           opslimit <= CKV_CERTFILE_OPSLIMIT_MAX &&
           memlimit >= crypto_pwhash_argon2id_MEMLIMIT_MIN && memlimit <= CKV_CERTFILE_MEMLIMIT_MAX;
}

/*  The limits are in bounds, so all that can fail is to get the memory.  */
static int stretch(uint8_t key[crypto_secretbox_KEYBYTES], struct ckv_octets passphrase,
                   const struct protected *protected)
{
    int rc = crypto_pwhash(key, crypto_secretbox_KEYBYTES, (const char *)passphrase.data,
                           passphrase.size, protected->salt, ckv_get32(protected->opslimit),
                           (size_t)ckv_get64(protected->memlimit), crypto_pwhash_ALG_ARGON2ID13);
    return rc == 0 ? CKV_OK : CKV_ERROR_MEMORY;
}

int ckv_certfile_protect(struct ckv_certfile *self, struct ckv_octets passphrase,
                         const uint8_t salt[16], const uint8_t nonce[24], uint32_t opslimit,
                         uint64_t memlimit)
{
    uint8_t key[crypto_secretbox_KEYBYTES];
    struct protected protected = { 0 };
    struct secrets secrets = { 0 };
    if (!self->has_secret_key || self->is_protected || passphrase.size == 0 ||
        !limits_in_bounds(opslimit, memlimit))
        return CKV_ERROR_ARGUMENT;
    ckv_put32(protected.opslimit, opslimit);
    ckv_put64(protected.memlimit, memlimit);
    memcpy(protected.salt, salt, sizeof(protected.salt));
    memcpy(protected.nonce, nonce, sizeof(protected.nonce));

    int rc = stretch(key, passphrase, &protected);
    if (rc == CKV_OK) {
        memcpy(secrets.secret_key, self->secret_key, sizeof(secrets.secret_key));
        if (self->has_hello_key)
            memcpy(secrets.hello_key, self->hello_key, sizeof(secrets.hello_key));
        crypto_secretbox_easy(protected.box, (const uint8_t *)&secrets, sizeof(secrets), nonce,
                              key);
        memcpy(self->protected_secrets, &protected, sizeof(protected));
        sodium_memzero(self->secret_key, sizeof(self->secret_key));
        sodium_memzero(self->hello_key, sizeof(self->hello_key));
        self->has_secret_key = self->has_hello_key = false;
        self->is_protected = true;
    }
    sodium_memzero(&secrets, sizeof(secrets));
    sodium_memzero(key, sizeof(key));
    return rc;
}

/*  Opens the box. What it held is checked against PUBLIC_KEY, which stands outside of it.  */
static int open_box(struct secrets *secrets, const struct protected *protected,
                    struct ckv_octets passphrase, const uint8_t public_key[32])
{
    uint8_t key[crypto_secretbox_KEYBYTES];
    int rc = stretch(key, passphrase, protected);
    if (rc == CKV_OK &&
        crypto_secretbox_open_easy((uint8_t *)secrets, protected->box, sizeof(protected->box),
                                   protected->nonce, key) != 0)
        rc = CKV_ERROR_PASSPHRASE;
    if (rc == CKV_OK && !is_public_key_of(public_key, secrets->secret_key))
        rc = CKV_ERROR_KEY_MISMATCH;
    sodium_memzero(key, sizeof(key));
    return rc;
}

int ckv_certfile_unprotect(struct ckv_certfile *self, struct ckv_octets passphrase)
{
    struct protected protected;
    struct secrets secrets;
    if (!self->is_protected)
        return CKV_ERROR_ARGUMENT;
    memcpy(&protected, self->protected_secrets, sizeof(protected));
    if (!limits_in_bounds(ckv_get32(protected.opslimit), ckv_get64(protected.memlimit)))
        return CKV_ERROR_CERTFILE;

    int rc = open_box(&secrets, &protected, passphrase, self->public_key);
    if (rc == CKV_OK) {
        memcpy(self->secret_key, secrets.secret_key, sizeof(self->secret_key));
        memcpy(self->hello_key, secrets.hello_key, sizeof(self->hello_key));
        memset(self->protected_secrets, 0, sizeof(self->protected_secrets));
        self->has_secret_key = true;
        self->has_hello_key = !sodium_is_zero(self->hello_key, sizeof(self->hello_key));
        self->is_protected = false;
    }
    sodium_memzero(&secrets, sizeof(secrets));
    return rc;
}

/* -- fingerprint ------------------------------------------------------------------------------- */

char *ckv_fingerprint_text(const uint8_t client_public_key[32],
                           char text[CKV_FINGERPRINT_TEXT_SIZE])
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    enum { DIGITS = 20, GROUP = 4, BITS = 5 };
    uint8_t hash[crypto_generichash_BYTES];
    char *end = text;
    crypto_generichash(hash, sizeof(hash), client_public_key, 32, NULL, 0);
    for (size_t i = 0; i < DIGITS; i++) {
        size_t bit = BITS * i;
        unsigned shift = 16 - BITS - (unsigned)(bit % 8);
        if (i && i % GROUP == 0)
            *end++ = '-';
        *end++ = alphabet[ckv_get16(hash + bit / 8) >> shift & 0x1f];
    }
    *end = 0;
    return text;
}
