//! The filter of system calls.
#![allow(unsafe_code, reason = "seccomp(2) has no safe form")]

use super::{
    always,
    numbers::{NEWEST, number},
};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env::consts::ARCH,
    io, ptr,
};
use taffeta_isolation_plan::{Allowed, Condition, SyscallPolicy, Test};

/// A filter, compiled.
pub(super) struct Filter(BpfProgram);

/// `struct sock_fprog` of the kernel.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const sock_filter,
}

/// Compiles a policy for this processor. The x32 form of a call has a number that is on no list, and above all that are
/// known.
pub(super) fn compile(policy: &SyscallPolicy) -> io::Result<Filter> {
    let arch = TargetArch::try_from(ARCH).map_err(|_| unsupported())?;
    let (mut always, mut conditional) = (BTreeSet::new(), BTreeMap::new());
    for Allowed { name, when } in &policy.allowed {
        match number(name) {
            None => {} // this processor never had it
            Some(number) if when.is_empty() => drop(always.insert(number)),
            Some(number) => {
                let any = when.iter().map(|all| rule(all)).collect::<Result<_, _>>().map_err(io::Error::other)?;
                conditional.insert(number.into(), any);
            }
        }
    }
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let rest = SeccompFilter::new(conditional, refused, SeccompAction::Allow, arch).map_err(io::Error::other)?;
    let unheard_of = policy.unheard_of.iter().filter_map(|name| number(name));
    let allowed = always::allowed(&always).ok_or_else(|| io::Error::other("the list of system calls is too long"))?;
    let parts = [
        always::same_processor(arch),
        // C libraries go another way at that answer, where `EPERM` would be an error to them: runc found that out with
        // `faccessat2`.
        always::unheard_of(unheard_of, NEWEST),
        allowed,
        BpfProgram::try_from(rest).map_err(io::Error::other)?,
    ];
    Ok(Filter(parts.concat()))
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

impl Filter {
    #[cfg(test)]
    pub(super) fn instructions(&self) -> &[sock_filter] {
        &self.0
    }

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
