#include "kv/system.h"

#include <errno.h>

int ckv_system_error(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return CKV_ERROR_NO_STORE;
    case EEXIST:
        return CKV_ERROR_EXISTS;
    case EISDIR:
        return CKV_ERROR_DIRECTORY;
    case EACCES:
    case EPERM:
    case EROFS:
        return CKV_ERROR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CKV_ERROR_DISK_FULL;
    case ENOMEM:
        return CKV_ERROR_MEMORY;
    default:
        return CKV_ERROR_IO;
    }
}
