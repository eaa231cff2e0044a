/*  system: what the operating system's errno says, as one of our errors.  */
#ifndef CKV_SYSTEM_H
#define CKV_SYSTEM_H

#include "core/error.h"

/*  CKV_ERROR_NO_STORE (no such file or directory), _EXISTS, _DIRECTORY, _PERMISSION, _DISK_FULL, _MEMORY, or
    for all others CKV_ERROR_IO.  */
int ckv_system_error(int number);

#endif
