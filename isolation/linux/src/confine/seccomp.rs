//! The filter of system calls.
#![allow(unsafe_code, reason = "seccomp(2) has no safe form")]

use super::numbers::{NEWEST, number};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::{collections::BTreeMap, env::consts::ARCH, io, ptr};
use taffeta_isolation_plan::{Allowed, Condition, SyscallPolicy, Test};

/// A filter, compiled.
pub(super) struct Filter(BpfProgram);

/// `struct sock_fprog` of the kernel.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const sock_filter,
}

/// Compiles a policy for this processor. System calls of another one, as those of 32-bit programs, kill the process; the
/// x32 ones have numbers that are on no list.
pub(super) fn compile(policy: &SyscallPolicy) -> io::Result<Filter> {
    let arch = TargetArch::try_from(ARCH).map_err(|_| unsupported())?;
    let mut rules = BTreeMap::new();
    for Allowed { name, when } in &policy.allowed {
        let Some(number) = number(name) else { continue };
        let any = when.iter().map(|all| rule(all)).collect::<Result<_, _>>().map_err(io::Error::other)?;
        rules.insert(number, any);
    }
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).map_err(io::Error::other)?;
    let list = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    let mut program = unheard_of(policy.unheard_of);
    program.extend(list);
    Ok(Filter(program))
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("there is no filter of system calls for the processor `{ARCH}`"))
}

fn rule(all: &[Condition]) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |Condition { argument, test }: &Condition| {
        let (operator, value) = match test {
            Test::Is(value) => (SeccompCmpOp::Eq, *value),
            Test::IsNot(value) => (SeccompCmpOp::Ne, *value),
            Test::Masked { mask, value } => (SeccompCmpOp::MaskedEq(*mask), *value),
        };
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator, value)
    };
    SeccompRule::new(all.iter().map(condition).collect::<Result<_, _>>()?)
}

/// What runs before the list: it answers `ENOSYS` to what is not to be known, and to whatever is newer than our knowledge,
/// as C libraries then go another way, where `EPERM` would be an error to them (runc found that out with `faccessat2`).
/// Everything else goes on to the list. Numbers of other processors may meet it, too: they get that answer or go on.
fn unheard_of(names: &[&str]) -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER_OFFSET: u32 = 0; // of seccomp_data.nr
    let answer = u32::from(SeccompAction::Errno(Errno::NOSYS.raw_os_error().unsigned_abs()));
    let numbers = names.iter().filter_map(|name| u32::try_from(number(name)?).ok());
    let mut program = vec![sock_filter { code: LOAD, jt: 0, jf: 0, k: NUMBER_OFFSET }];
    for (code, k) in numbers.map(|number| (IF_EQUAL, number)).chain([(IF_GREATER, NEWEST)]) {
        program.push(sock_filter { code, jt: 0, jf: 1, k });
        program.push(sock_filter { code: RETURN, jt: 0, jf: 0, k: answer });
    }
    program
}

impl Filter {
    /// Installs it, for good, in this thread and all that it starts.
    pub(super) fn install(&self) -> Result<(), Errno> {
        let length = libc::c_ushort::try_from(self.0.len()).map_err(|_| Errno::TOOBIG)?;
        let program = Program { length, instructions: self.0.as_ptr() };
        // SAFETY: `program` is laid out as the kernel wants it and describes instructions that outlive the call, which
        // copies them.
        let done =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&program)) };
        if done == 0 { Ok(()) } else { Err(last()) }
    }
}

/// Whether this machine knows such filters.
pub(super) fn probe() -> Result<(), String> {
    TargetArch::try_from(ARCH).map_err(|_| unsupported().to_string())?;
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads one number, which outlives it, and changes nothing.
    let known = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, ptr::from_ref(&action)) };
    if known == 0 {
        return Ok(());
    }
    Err(format!(
        "the kernel has no filters of system calls (seccomp: {}); it needs CONFIG_SECCOMP_FILTER",
        io::Error::from(last())
    ))
}

/// `errno`, without the allocation of an `io::Error` of another kind.
fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
