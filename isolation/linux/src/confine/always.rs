//! The part of a filter that answers without looking at arguments.
//!
//! A list of comparisons, one for each system call, is what a compiler of filters makes. Three hundred of them cost every
//! start of a task a millisecond in the kernel, which translates the program and runs it for each number once, to know which
//! calls it need not be asked about. The numbers that are allowed lie in some thirty ranges, which a tree tells apart.

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, TargetArch, sock_filter};
use std::collections::BTreeSet;

// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP` with `BPF_JEQ`, `BPF_JGT`, `BPF_JGE` and `BPF_JA`, `BPF_RET | BPF_K`.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const GO: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Where the number and the processor are in the kernel's `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const PROCESSOR_OFFSET: u32 = 4;

/// Kills the process for a call of another processor, as those of 32-bit programs are; then loads the number.
pub(super) fn same_processor(arch: TargetArch) -> BpfProgram {
    vec![
        instruction(LOAD, PROCESSOR_OFFSET),
        jump(IF_EQUAL, audit_arch(arch), 1, 0),
        instruction(RETURN, SeccompAction::KillProcess.into()),
        instruction(LOAD, NUMBER_OFFSET),
    ]
}

/// Answers `ENOSYS` to these numbers, and to all that are greater than `newest`.
pub(super) fn unheard_of(numbers: impl Iterator<Item = u32>, newest: u32) -> BpfProgram {
    let answer = u32::from(SeccompAction::Errno(Errno::NOSYS.raw_os_error().unsigned_abs()));
    let tests = numbers.map(|number| (IF_EQUAL, number)).chain([(IF_GREATER, newest)]);
    tests.flat_map(|(test, number)| [jump(test, number, 0, 1), instruction(RETURN, answer)]).collect()
}

/// Allows these numbers; with all others the program goes on behind it. `None` if they lie so far apart that the tree has
/// longer jumps than the kernel's instructions have.
pub(super) fn allowed(numbers: &BTreeSet<u32>) -> Option<BpfProgram> {
    // Where a stretch of allowed numbers begins, and where one of others does.
    let mut stretches = vec![(0, numbers.contains(&0))];
    for number in 1..=numbers.last().map_or(0, |last| last + 1) {
        let allowed = numbers.contains(&number);
        if stretches.last().is_none_or(|(_, before)| *before != allowed) {
            stretches.push((number, allowed));
        }
    }
    let mut program = decide(&stretches)?;
    let length = program.len();
    for (at, instruction) in program.iter_mut().enumerate().filter(|(_, instruction)| instruction.code == GO) {
        instruction.k = u32::try_from(length - at - 1).ok()?;
    }
    Some(program)
}

/// Halves the stretches until one is left. The lengths of jumps to the end are not known yet.
fn decide(stretches: &[(u32, bool)]) -> Option<BpfProgram> {
    match stretches {
        [] => Some(vec![]),
        [(_, true)] => Some(vec![instruction(RETURN, SeccompAction::Allow.into())]),
        [(_, false)] => Some(vec![instruction(GO, 0)]),
        _ => {
            let (low, high) = stretches.split_at(stretches.len() / 2);
            let (begin, low, high) = (high[0].0, decide(low)?, decide(high)?);
            let over = jump(IF_AT_LEAST, begin, u8::try_from(low.len()).ok()?, 0);
            Some([vec![over], low, high].concat())
        }
    }
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The kernel's name for a processor (`linux/audit.h`): its number in ELF files, with bits for 64 bits and little-endian.
fn audit_arch(arch: TargetArch) -> u32 {
    let machine = match arch {
        TargetArch::x86_64 => 62,
        TargetArch::aarch64 => 183,
        TargetArch::riscv64 => 243,
    };
    0xC000_0000 | machine
}
