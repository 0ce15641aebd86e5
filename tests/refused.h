/* Whether this machine refuses io_uring to us, as the seccomp filters of containers do and kernel.io_uring_disabled. Asks the kernel
 * and not our own code, which would hide its own mistakes so. */
#ifndef RM_TESTS_REFUSED_H
#define RM_TESTS_REFUSED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline bool uring_refused(void) {
    return syscall(SYS_io_uring_setup, 0, NULL) < 0 && (errno == EPERM || errno == ENOSYS); /* else EINVAL or EFAULT */
}

#endif
