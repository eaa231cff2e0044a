#include "node/present.h"
#include "core/certfile.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "core/time.h"
#include "core/z85.h"

#include <stdio.h>

static json_t *json_of(struct ckv_octets text)
{
    return json_stringn((const char *)text.data, text.size);
}

json_t *ckv_present_metadata(struct ckv_octets metadata)
{
    struct ckv_property property;
    json_t *object = json_object();
    while (ckv_properties_next(&metadata, &property) == 1) {
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)property.name.size,
                 (const char *)property.name.data);
        json_object_set_new(object, name, json_of(property.value));
    }
    return object;
}

static json_t *json_of_time(uint64_t ms)
{
    char text[CKV_TIME_TEXT_SIZE];
    return ms ? json_string(ckv_time_text(ms, text)) : json_null();
}

static json_t *json_of_id(uint64_t id)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
    return json_string(text);
}

const char *ckv_present_state(const struct ckv_certificate *certificate, uint64_t now)
{
    switch (ckv_certificate_valid_at(certificate, now)) {
    case CKV_OK:
        return "active";
    case CKV_ERROR_REVOKED:
        return "revoked";
    case CKV_ERROR_EXPIRED:
        return "expired";
    default:
        return "not yet valid";
    }
}

json_t *ckv_present_json(const struct ckv_certificate *certificate, uint64_t now)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE], z85[CKV_Z85_TEXT_SIZE];
    char fingerprint[CKV_FINGERPRINT_TEXT_SIZE];
    json_t *object = json_object();
    json_object_set_new(object, "storage_key",
                        json_string(ckv_storage_key_text(certificate->storage_key, key)));
    json_object_set_new(object, "client_public_key",
                        json_string(ckv_z85_text(certificate->client_public_key, z85)));
    json_object_set_new(
        object, "fingerprint",
        json_string(ckv_fingerprint_text(certificate->client_public_key, fingerprint)));
    json_object_set_new(object, "server_public_key",
                        json_string(ckv_z85_text(certificate->server_public_key, z85)));
    json_object_set_new(object, "server_key",
                        json_string(certificate->dedicated ? "dedicated" : "shared"));
    json_object_set_new(object, "organisation", json_of(certificate->organisation));
    json_object_set_new(object, "client_number", json_of(certificate->number));
    json_object_set_new(object, "state", json_string(ckv_present_state(certificate, now)));
    json_object_set_new(object, "valid",
                        json_boolean(ckv_certificate_valid_at(certificate, now) == CKV_OK));
    json_object_set_new(object, "not_before", json_of_time(certificate->not_before));
    json_object_set_new(object, "not_after", json_of_time(certificate->not_after));
    json_object_set_new(object, "created", json_of_time(certificate->created));
    json_object_set_new(object, "created_by", json_of_id(certificate->created_by));
    json_object_set_new(object, "revised", json_of_time(certificate->revision >> 16));
    json_object_set_new(object, "revised_by", json_of_id(certificate->revised_by));
    json_object_set_new(object, "metadata", ckv_present_metadata(certificate->metadata));
    return object;
}

static void print_octets(const char *label, struct ckv_octets text)
{
    printf("%-18s %.*s\n", label, (int)text.size, (const char *)text.data);
}

static void print_validity(const struct ckv_certificate *certificate)
{
    char text[CKV_TIME_TEXT_SIZE];
    if (certificate->not_before)
        printf("%-18s %s\n", "valid from", ckv_time_text(certificate->not_before, text));
    if (certificate->not_after)
        printf("%-18s %s\n", "valid until", ckv_time_text(certificate->not_after, text));
}

void ckv_present_text(const struct ckv_certificate *certificate, uint64_t now)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE], z85[CKV_Z85_TEXT_SIZE], time[CKV_TIME_TEXT_SIZE];
    char fingerprint[CKV_FINGERPRINT_TEXT_SIZE];
    struct ckv_octets metadata = certificate->metadata;
    struct ckv_property property;
    printf("%-18s %s\n", "storage key", ckv_storage_key_text(certificate->storage_key, key));
    printf("%-18s %s\n", "state", ckv_present_state(certificate, now));
    if (certificate->organisation.size)
        print_octets("organisation", certificate->organisation);
    if (certificate->number.size)
        print_octets("client number", certificate->number);
    printf("%-18s %s\n", "client public key", ckv_z85_text(certificate->client_public_key, z85));
    printf("%-18s %s\n", "fingerprint",
           ckv_fingerprint_text(certificate->client_public_key, fingerprint));
    printf("%-18s %s (%s)\n", "server public key",
           ckv_z85_text(certificate->server_public_key, z85),
           certificate->dedicated ? "dedicated" : "shared");
    print_validity(certificate);
    printf("%-18s %s by node %016llx\n", "created", ckv_time_text(certificate->created, time),
           (unsigned long long)certificate->created_by);
    while (ckv_properties_next(&metadata, &property) == 1)
        printf("%-18s %.*s = %.*s\n", "metadata", (int)property.name.size,
               (const char *)property.name.data, (int)property.value.size,
               (const char *)property.value.data);
}

void ckv_present_heading(void)
{
    printf("%-13s  %-20s  %-16s  %-16s  %s\n", "STATE", "VALID UNTIL", "ORGANISATION", "NUMBER",
           "STORAGE KEY");
}

void ckv_present_line(const struct ckv_certificate *certificate, uint64_t now)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE], time[CKV_TIME_TEXT_SIZE] = "-";
    if (certificate->not_after)
        ckv_time_text(certificate->not_after, time);
    printf("%-13s  %-20s  %-16.*s  %-16.*s  %s\n", ckv_present_state(certificate, now), time,
           (int)certificate->organisation.size, (const char *)certificate->organisation.data,
           (int)certificate->number.size, (const char *)certificate->number.data,
           ckv_storage_key_text(certificate->storage_key, key));
}

void ckv_present_object(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}
