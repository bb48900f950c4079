//! The compiled filter against the list that it is compiled from, for every number there could be.

use super::super::{
    always,
    numbers::{NEWEST, number},
    seccomp::compile,
};
use seccompiler::sock_filter;
use std::collections::{BTreeMap, BTreeSet};
use taffeta_isolation_plan::{Allowed, Capability, SyscallPolicy};

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0001;
const UNHEARD_OF: u32 = 0x0005_0026;
const KILL: u32 = 0x8000_0000;
/// `AUDIT_ARCH_I386`.
const ANOTHER: u32 = 0x4000_0003;

/// What this processor is to the kernel.
fn own() -> u32 {
    0xC000_0000 | if cfg!(target_arch = "x86_64") { 62 } else { 183 }
}

/// Runs a program on a call as the kernel would: the words of `struct seccomp_data`.
fn run(program: &[sock_filter], data: &[u32; 16]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = data[k as usize / 4],
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn call(number: u32, processor: u32, arguments: [u32; 2]) -> [u32; 16] {
    let mut data = [0; 16];
    (data[0], data[1]) = (number, processor);
    (data[4], data[6]) = (arguments[0], arguments[1]); // the lower halves, on little-endian machines
    data
}

#[test]
fn every_number_is_answered_as_the_list_says() {
    for (strict, kept) in [(false, BTreeSet::new()), (true, BTreeSet::new()), (false, Capability::LOOSENED.into())] {
        let policy = SyscallPolicy::new(strict, &kept);
        let compiled = compile(&policy).unwrap();
        let listed: BTreeMap<u32, &Allowed> =
            policy.allowed.iter().filter_map(|allowed| Some((number(allowed.name)?, allowed))).collect();
        let unheard_of: BTreeSet<u32> = policy.unheard_of.iter().filter_map(|name| number(name)).collect();
        for n in (0..2_000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let wanted = match listed.get(&n) {
                _ if n > NEWEST || unheard_of.contains(&n) => UNHEARD_OF,
                Some(allowed) if allowed.when.is_empty() => ALLOW,
                Some(_) => continue, // these are tried out for real
                None => REFUSE,
            };
            assert_eq!(run(compiled.instructions(), &call(n, own(), [0; 2])), wanted, "{n}");
        }
        for n in [0, 1, 11, 56, 435, 9_999] {
            assert_eq!(run(compiled.instructions(), &call(n, ANOTHER, [0; 2])), KILL, "{n} of another processor");
        }
        let clone = number("clone").unwrap();
        assert_eq!(run(compiled.instructions(), &call(clone, own(), [17, 0])), ALLOW);
        assert_eq!(run(compiled.instructions(), &call(clone, own(), [0x1000_0011, 0])), REFUSE);
    }
}

#[test]
fn the_tree_of_ranges_knows_every_number_however_they_lie() {
    let refuse = sock_filter { code: 0x06, jt: 0, jf: 0, k: REFUSE };
    let load = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let sets = [
        vec![],
        vec![0],
        vec![7],
        vec![0, 1, 2],
        (0..60).map(|n| n * 2).collect(),
        (0..60).map(|n| n * 3 + n % 2).collect(),
        (10..20).chain(30..31).chain(400..470).collect::<Vec<u32>>(),
    ];
    for numbers in sets {
        let numbers: BTreeSet<u32> = numbers.into_iter().collect();
        let program = [vec![load.clone()], always::allowed(&numbers).unwrap(), vec![refuse.clone()]].concat();
        for n in 0..600 {
            let wanted = if numbers.contains(&n) { ALLOW } else { REFUSE };
            assert_eq!(run(&program, &call(n, own(), [0; 2])), wanted, "{n} of {numbers:?}");
        }
    }
    let scattered = (0..1_000).map(|n| n * 2).collect();
    assert_eq!(always::allowed(&scattered), None, "a tree too large for the jumps of the kernel's programs");
}
