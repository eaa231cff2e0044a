/*  system: what the operating system's errno says, as one of our errors.  */
#ifndef CKV_SYSTEM_H
#define CKV_SYSTEM_H

#include "core/error.h"
#include <errno.h>

/*  CKV_ERROR_NO_STORE (no such file or directory), _EXISTS, _DIRECTORY, _PERMISSION, _DISK_FULL, _MEMORY, or
    for all others CKV_ERROR_IO.  */
static inline int ckv_system_error(int number)
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

#endif
