/*  boot: which life of the machine this is.

    A file that processes share through memory says nothing about the time before a reboot: what
    they wrote last may never have reached the disk.
*/
#ifndef CKV_BOOT_H
#define CKV_BOOT_H

enum { CKV_BOOT_ID_SIZE = 40 };

/*  Sets BOOT_ID to Linux's text, zero-filled; to zeros when it cannot be read.  */
void ckv_boot_id(char boot_id[CKV_BOOT_ID_SIZE]);

#endif
