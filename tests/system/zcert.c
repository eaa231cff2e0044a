/*  A peer of curvekv: reads and makes certificate files with CZMQ.

        zcert load FILE       prints public key, secret key, and each "name=value" of the metadata
        zcert save DIR N      makes N certificates with metadata, and prints the public key of each
*/
#include <czmq.h>

static int load(const char *path)
{
    zcert_t *cert = zcert_load(path);
    if (!cert)
        return fprintf(stderr, "zcert_load refuses %s\n", path), 1;
    printf("%s\n%s\n", zcert_public_txt(cert), zcert_secret_txt(cert));
    zlist_t *names = zcert_meta_keys(cert);
    for (const char *name = zlist_first(names); name; name = zlist_next(names))
        printf("%s=%s\n", name, zcert_meta(cert, name));
    zlist_destroy(&names);
    zcert_destroy(&cert);
    return 0;
}

static int save(const char *directory, int count)
{
    for (int i = 0; i < count; i++) {
        zcert_t *cert = zcert_new();
        char path[1024];
        snprintf(path, sizeof(path), "%s/client%d", directory, i);
        zcert_set_meta(cert, "name", "Client %d", i);
        zcert_set_meta(cert, "email", "client%d@example.com", i);
        zcert_set_meta(cert, "city", "Zürich");
        if (zcert_save(cert, path) != 0)
            return fprintf(stderr, "zcert_save cannot write %s\n", path), 1;
        printf("%s\n", zcert_public_txt(cert));
        zcert_destroy(&cert);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && streq(argv[1], "load"))
        return load(argv[2]);
    if (argc == 4 && streq(argv[1], "save"))
        return save(argv[2], atoi(argv[3]));
    return fprintf(stderr, "usage: zcert load FILE | save DIR N\n"), 2;
}
