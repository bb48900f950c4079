/*
 * Preloaded into user-mode Linux before 6.11, whose kernel passes a fixed 2696 bytes of floating-point state to
 * ptrace(2). A processor with more (AMX) refuses that with EFAULT, and the guest dies at its first process. The missing
 * part is taken from what the process has.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define NT_X86_XSTATE 0x202

long uml_ptrace(long request, pid_t pid, void *addr, void *data) __asm__("ptrace");

long uml_ptrace(long request, pid_t pid, void *addr, void *data)
{
    static long (*next)(long, pid_t, void *, void *);
    static char whole[64 << 10]; /* not on the stack: it is a kernel's, of 16 KiB; and there is one processor */

    if (!next)
        next = (long (*)(long, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
        struct iovec *part = data;
        struct iovec all = { whole, sizeof whole };

        if (next(PTRACE_GETREGSET, pid, addr, &all) == 0 && all.iov_len > part->iov_len) {
            memcpy(whole, part->iov_base, part->iov_len);
            return next(PTRACE_SETREGSET, pid, addr, &all);
        }
    }
    return next(request, pid, addr, data);
}
