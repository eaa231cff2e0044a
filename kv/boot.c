#include "kv/boot.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 36 };

void ckv_boot_id(char boot_id[CKV_BOOT_ID_SIZE])
{
    memset(boot_id, 0, CKV_BOOT_ID_SIZE);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, boot_id, TEXT_SIZE) != TEXT_SIZE)
        memset(boot_id, 0, CKV_BOOT_ID_SIZE);
    close(fd);
}
