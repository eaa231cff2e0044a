/*  processors: a smaller machine inside this one: a share of the processor time for some processes.

    A benchmark has client, server and attacker on one machine, where what one spends is missing to
    the others. With a share each they are as apart as on machines of their own, as far as processor
    time goes; the kernel's other locks and queues stay common.

    A share is a control group with a quota in each period (Linux, admin-guide/cgroup-v2.rst, "CPU
    Interface Files", and scheduler/sched-bwc.rst for version 1). Making one takes root, and a
    control group file system at the usual place; where that is not so, there are no shares.
*/
#ifndef CKV_BENCH_PROCESSORS_H
#define CKV_BENCH_PROCESSORS_H

#include "bench/measure.h"

/*  Short, so that who has used up the share waits no longer than a few handshakes take.  */
enum { PROCESSORS_PERIOD_US = 20000 };

struct processors {
    struct cell group; /* its directory; empty: there is none */
    struct cell above; /* the group whose processes have no share */
};

/*  To an existing file of the kernel's.  */
static inline bool processors_put(const char *dir, const char *file, const char *text)
{
    int fd = open(cell("%.90s/%.30s", dir, file).text, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static inline bool processors_make(struct processors *self, const char *above, const char *name)
{
    self->above = cell("%s", above);
    self->group = cell("%.60s/%.30s.%d", above, name, (int)getpid());
    if (mkdir(self->group.text, 0755) == 0)
        return true;
    self->group.text[0] = 0;
    return false;
}

/*  Whoever is still in it has all processors again; of processes that are just ending it waits for
    the end, for a second at most. Does nothing when there is none.  */
static inline void processors_destroy(struct processors *self)
{
    enum { TRIES = 100, TRY_US = 10000 };
    for (int i = 0; i < TRIES && self->group.text[0]; i++) {
        if (rmdir(self->group.text) == 0 || errno == ENOENT)
            self->group.text[0] = 0;
        else
            usleep(TRY_US);
    }
}

/*  Makes a share of COUNT processors, which need not be whole, and says whether that could be.
    NAME is to tell shares of this process apart. Outlives the process: processors_destroy.  */
static inline bool processors_new(struct processors *self, const char *name, double count)
{
    long long quota_us = (long long)(count * PROCESSORS_PERIOD_US);
    struct cell quota = cell("%lld", quota_us), period = cell("%d", (int)PROCESSORS_PERIOD_US);
    bool made = false;
    if (access("/sys/fs/cgroup/cgroup.subtree_control", F_OK) == 0)
        made = processors_put("/sys/fs/cgroup", "cgroup.subtree_control", "+cpu") &&
               processors_make(self, "/sys/fs/cgroup", name) &&
               processors_put(self->group.text, "cpu.max",
                              cell("%s %s", quota.text, period.text).text);
    else
        made = processors_make(self, "/sys/fs/cgroup/cpu", name) &&
               processors_put(self->group.text, "cpu.cfs_period_us", period.text) &&
               processors_put(self->group.text, "cpu.cfs_quota_us", quota.text);
    if (!made)
        processors_destroy(self);
    return made;
}

/*  From now on PROCESS, all of its threads, has its part of the share, and what it forks, too.  */
static inline void processors_enter(const struct processors *self, pid_t process)
{
    check_errno(processors_put(self->group.text, "cgroup.procs", cell("%d", (int)process).text),
                "a process's share of the processors");
}

static inline void processors_leave(const struct processors *self, pid_t process)
{
    check_errno(processors_put(self->above.text, "cgroup.procs", cell("%d", (int)process).text),
                "a process's share of the processors");
}

#endif
