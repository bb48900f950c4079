//! Which system calls a task may make, by name.
//!
//! An allow-list in the manner of the default profile of containerd and moby, written anew: what a service, a shell or a
//! language's runtime needs, and nothing that reaches the kernel's own affairs (modules, mounts, namespaces, keys, BPF,
//! performance counters, clocks). What is not on it is refused with `EPERM`. Numbers are for `taffeta-isolation-linux`:
//! they differ between processors, and a name that a processor lacks is skipped there.

use super::Capability;
use std::collections::BTreeSet;

/// Reading, writing and waiting for files, whatever they are.
const FILES: &str = "
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3
    fcntl flock fsync fdatasync sync syncfs sync_file_range ftruncate fallocate fadvise64 readahead sendfile
    splice tee vmsplice copy_file_range pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl
    epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 inotify_init inotify_init1
    inotify_add_watch inotify_rm_watch io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents memfd_create
    cachestat";

/// Paths and what they name.
const PATHS: &str = "
    open openat openat2 creat access faccessat faccessat2 stat lstat fstat newfstatat statx statfs fstatfs getdents
    getdents64 readlink readlinkat getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat
    unlink unlinkat symlink symlinkat mknod mknodat truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown
    fchownat umask utime utimes futimesat utimensat getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr
    fsetxattr setxattrat listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr
    removexattrat name_to_handle_at file_getattr statmount listmount";

/// Sockets; `socket` itself has conditions.
const SOCKETS: &str = "
    socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt shutdown sendto
    sendmsg sendmmsg recvfrom recvmsg recvmmsg";

/// Memory.
const MEMORY: &str = "
    brk mmap munmap mremap mprotect madvise process_madvise msync mincore mlock mlock2 munlock mlockall munlockall
    membarrier mseal memfd_secret map_shadow_stack remap_file_pages pkey_alloc pkey_free pkey_mprotect get_mempolicy
    process_mrelease";

/// Processes, threads and their ids; `clone` and `personality` have conditions.
const PROCESSES: &str = "
    fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal getpid
    getppid gettid getpgid setpgid getpgrp getsid setsid getuid geteuid getresuid setuid setreuid setresuid setfsuid
    getgid getegid getresgid setgid setregid setresgid setfsgid getgroups setgroups capget capset prctl arch_prctl
    modify_ldt seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self set_tid_address
    set_robust_list get_robust_list set_thread_area get_thread_area rseq uretprobe getrlimit setrlimit prlimit64
    getrusage times sysinfo uname getcpu getpriority setpriority ioprio_get ioprio_set sched_yield sched_getaffinity
    sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval";

/// Signals, locks between threads, clocks and timers, random numbers.
const TIME_AND_SIGNALS: &str = "
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait sigaltstack restart_syscall pause futex futex_wait futex_waitv futex_wake futex_requeue time
    gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep clock_adjtime adjtimex alarm getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime
    timerfd_gettime getrandom";

/// System V objects and POSIX message queues.
const IPC: &str = "
    shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
    mq_timedsend mq_timedreceive mq_notify mq_getsetattr";

/// Looking into other processes of the task: debuggers need it, and whoever has taken over one of them.
const DEBUGGING: [&str; 5] = ["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"];

/// What is answered as by a kernel that has never heard of it (`ENOSYS`), so that a C library falls back: `clone3` has its
/// flags in memory, where no filter can look.
const UNHEARD_OF: &[&str] = &["clone3"];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u64 = 0x7E02_0000;

/// The execution domains that change nothing but the name of the machine's version and the layout of memory: `PER_LINUX`,
/// `PER_LINUX32`, each also with `UNAME26`, and the question for the present one.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// `FS_IOC_FSSETXATTR` and `FS_IOC_SETFLAGS`: with them, as with `file_setattr`, the owner of a file takes it out of its
/// volume's quota, or into a neighbour's.
const SET_PROJECT: u64 = 0x401c_5820;
const SET_FLAGS: u64 = 0x4008_6602;

/// Address families.
const AF_NETLINK: u64 = 16;
const AF_PACKET: u64 = 17;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// Where the kind of a socket is in its argument, and the kinds that carry no headers of the caller's making: stream,
/// datagram, reliable datagram, sequenced packets. Raw ones, 3, have it.
const SOCKET_KIND: u64 = 0xF;
const KINDS_WITHOUT_HEADERS: [u64; 4] = [1, 2, 4, 5];

/// What a task may ask of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallPolicy {
    /// What is allowed, in no order; each name once. All else is refused with `EPERM`.
    pub allowed: Vec<Allowed>,
    /// What is answered with `ENOSYS`.
    pub unheard_of: &'static [&'static str],
}

/// A system call that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Its name in the kernel.
    pub name: &'static str,
    /// One of these has to hold, each of which is a list of conditions that all have to hold. Empty: always.
    pub when: Vec<Vec<Condition>>,
}

/// A condition on an argument's lower 32 bits. The upper ones are of no meaning to the calls that have conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0.
    pub argument: u8,
    /// What it is compared with.
    pub test: Test,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Is(u64),
    /// Not equal.
    IsNot(u64),
    /// Equal in the bits of a mask.
    Masked {
        /// The bits that are looked at.
        mask: u64,
        /// What they have to be.
        value: u64,
    },
}

impl SyscallPolicy {
    /// For a task that keeps these capabilities; `strict` also takes from it what helps an intruder only.
    pub fn new(strict: bool, kept: &BTreeSet<Capability>) -> Self {
        let groups = [FILES, PATHS, SOCKETS, MEMORY, PROCESSES, TIME_AND_SIGNALS, IPC];
        let names = groups.into_iter().flat_map(str::split_ascii_whitespace);
        let mut allowed: Vec<Allowed> = names.chain(UNHEARD_OF.iter().copied()).map(always).collect();
        if !strict {
            allowed.extend(DEBUGGING.into_iter().map(always));
        }
        if kept.contains(&Capability::SysChroot) {
            allowed.push(always("chroot"));
        }
        allowed.push(Allowed {
            name: "clone",
            when: vec![vec![Condition { argument: 0, test: Test::Masked { mask: NEW_NAMESPACES, value: 0 } }]],
        });
        let other = |request| Condition { argument: 1, test: Test::IsNot(request) };
        allowed.push(Allowed { name: "ioctl", when: vec![vec![other(SET_PROJECT), other(SET_FLAGS)]] });
        let personality = |value| vec![Condition { argument: 0, test: Test::Is(value) }];
        allowed.push(Allowed { name: "personality", when: PERSONALITIES.into_iter().map(personality).collect() });
        allowed.push(Allowed { name: "socket", when: if strict { sockets_without_headers() } else { sockets() } });
        Self { allowed, unheard_of: UNHEARD_OF }
    }
}

fn always(name: &'static str) -> Allowed {
    Allowed { name, when: vec![] }
}

fn family(test: Test) -> Condition {
    Condition { argument: 0, test }
}

/// All but those to a hypervisor, and to the kernel's ciphers, which have libraries of their own in every program.
fn sockets() -> Vec<Vec<Condition>> {
    vec![vec![family(Test::IsNot(AF_VSOCK)), family(Test::IsNot(AF_ALG))]]
}

/// None on which the caller writes headers. Netlink sockets are of kind raw, too, and any program that asks for the
/// machine's addresses has one.
fn sockets_without_headers() -> Vec<Vec<Condition>> {
    let of_kind = |value| {
        let mut all = vec![Condition { argument: 1, test: Test::Masked { mask: SOCKET_KIND, value } }];
        all.extend([AF_VSOCK, AF_ALG, AF_PACKET].map(|other| family(Test::IsNot(other))));
        all
    };
    let kinds = KINDS_WITHOUT_HEADERS.into_iter().map(of_kind);
    kinds.chain([vec![family(Test::Is(AF_NETLINK))]]).collect()
}
