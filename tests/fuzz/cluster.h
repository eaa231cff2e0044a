/*  cluster: the cluster key that the fuzz targets share, so that their seeds are authentic.  */
#ifndef CKV_FUZZ_CLUSTER_H
#define CKV_FUZZ_CLUSTER_H

#include "core/cluster_key.h"
#include <stdbool.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ckv_cluster_key *cluster_key;

static void require(bool promise)
{
    if (!promise)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t raw[CKV_CLUSTER_KEY_SIZE];
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    require(ckv_cluster_key_new(&cluster_key, raw) == CKV_OK);
    return 0;
}

#endif
