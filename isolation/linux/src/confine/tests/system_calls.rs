//! What the filter of system calls refuses, and what it lets fall back.

use super::{
    super::numbers::{NEWEST, NUMBERS, number},
    Place, has, is_root,
};
use std::{collections::BTreeSet, fmt::Write, process::Command};
use taffeta_isolation_plan::{Capability, SyscallPolicy};
use taffeta_model::{Measure, Profile};

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Only the filter: whatever else would refuse is out of the way.
const FILTER_ALONE: [Measure; 3] = [Measure::Capabilities, Measure::Landlock, Measure::NoNewPrivs];

/// Numbers that no test of the list has, as the list does not: they are refused.
const OTHERS: [(&str, i64); 36] = [
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("clock_settime", libc::SYS_clock_settime),
    ("syslog", libc::SYS_syslog),
    ("quotactl", libc::SYS_quotactl),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("fsopen", libc::SYS_fsopen),
    ("fsmount", libc::SYS_fsmount),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_pages", libc::SYS_move_pages),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("mbind", libc::SYS_mbind),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
];

/// Attempts whose arguments no kernel accepts, so that they do nothing where they are let through. Modules and kexec may be
/// locked for root, too, and are left to the list above.
const HARMLESS: [(&str, &str); 18] = [
    ("mount", "0, 0, 0, 0, 0"),
    ("umount2", "b'/nowhere', 0"),
    ("pivot_root", "b'/nowhere', b'/nowhere'"),
    ("unshare", "0x04000000"),
    ("setns", "-1, 0"),
    ("bpf", "-1, 0, 0"),
    ("perf_event_open", "0, 0, -1, -1, 0"),
    ("keyctl", "-1, 0, 0, 0, 0"),
    ("add_key", "0, 0, 0, 0, 0"),
    ("userfaultfd", "0x40000000"),
    ("open_by_handle_at", "-1, 0, 0"),
    ("swapon", "b'/nowhere', 0"),
    ("sethostname", "b'', -1"),
    ("clock_settime", "-1, 0"),
    ("fsopen", "0, 0"),
    ("fsmount", "-1, 0, 0"),
    ("open_tree", "-1, 0, 0x40000000"),
    ("move_mount", "-1, 0, -1, 0, 0x40000000"),
];

fn number_of(name: &str) -> Option<i64> {
    number(name).map(i64::from)
}

/// Makes each call in a process of its own, and prints its error, or 0.
fn attempts(calls: &[(String, &str)]) -> String {
    let mut program = String::from(
        "import ctypes, os, sys\n\
         c = ctypes.CDLL(None, use_errno=True)\n\
         def attempt(*call):\n\
         \x20   end, start = os.pipe()\n\
         \x20   if os.fork() == 0:\n\
         \x20       done = c.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in call])\n\
         \x20       os.write(start, b'%d' % (ctypes.get_errno() if done < 0 else 0))\n\
         \x20       os._exit(0)\n\
         \x20   os.close(start)\n\
         \x20   print(os.read(end, 9).decode(), flush=True)\n\
         \x20   os.close(end); os.wait()\n",
    );
    for (number, arguments) in calls {
        let _ = writeln!(program, "attempt({number}, {arguments})");
    }
    program
}

/// The errors of these calls under a profile.
fn errors(place: &Place, profile: Profile, without: &[Measure], calls: &[(String, &str)]) -> Vec<i32> {
    let out = place.run(profile, without, &["python3", "-c", &attempts(calls)]).passed();
    let errors: Vec<i32> = out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(errors.len(), calls.len());
    errors
}

fn with_number((name, arguments): &(&str, &'static str)) -> (String, &'static str) {
    let number = OTHERS.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
    (number.or_else(|| number_of(name)).expect("a number").to_string(), arguments)
}

#[test]
fn the_table_of_numbers_is_sorted_and_has_every_name_and_nothing_twice() {
    assert!(NUMBERS.is_sorted_by(|(a, ..), (b, ..)| a < b));
    let policy = SyscallPolicy::new(false, &Capability::LOOSENED.into());
    for allowed in &policy.allowed {
        assert!(NUMBERS.iter().any(|(name, ..)| *name == allowed.name), "{}", allowed.name);
    }
    for pick in [|(_, x86_64, _): &(&str, i16, i16)| *x86_64, |(_, _, aarch64): &(&str, i16, i16)| *aarch64] {
        let numbers: Vec<i16> = NUMBERS.iter().map(pick).filter(|number| *number >= 0).collect();
        assert_eq!(numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len());
        assert!(numbers.iter().all(|number| u32::try_from(*number).unwrap() <= NEWEST));
    }
    let here: BTreeSet<i64> = NUMBERS.iter().filter_map(|(name, ..)| number_of(name)).collect();
    assert!(OTHERS.iter().all(|(_, other)| !here.contains(other)));
    // Against another's table, as far as it goes.
    for (name, known) in [
        ("read", libc::SYS_read),
        ("openat2", libc::SYS_openat2),
        ("clone3", libc::SYS_clone3),
        ("rt_sigreturn", libc::SYS_rt_sigreturn),
        ("prlimit64", libc::SYS_prlimit64),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
        ("mseal", libc::SYS_mseal),
    ] {
        assert_eq!(number_of(name), Some(known), "{name}");
    }
}

#[test]
fn what_reaches_the_kernels_own_affairs_is_refused() {
    let Some(place) = Place::new() else { return };
    if !has(&["python3"]) {
        return;
    }
    let calls: Vec<(String, &str)> = OTHERS.iter().map(|(_, number)| (number.to_string(), "0, 0, 0, 0, 0")).collect();
    let harmless: Vec<(String, &str)> = HARMLESS.iter().map(with_number).collect();
    for profile in [Profile::Standard, Profile::Strict] {
        for (error, (name, _)) in errors(&place, profile, &[], &calls).into_iter().zip(OTHERS) {
            assert_eq!(error, EPERM, "{name} in {profile}");
        }
        assert_eq!(errors(&place, profile, &[], &harmless), vec![EPERM; HARMLESS.len()]);
    }
    if is_root() {
        let let_through = errors(&place, Profile::None, &[], &harmless);
        for (error, (name, _)) in let_through.into_iter().zip(HARMLESS) {
            assert_ne!(error, EPERM, "{name} is refused without a filter, too");
        }
        let filtered = errors(&place, Profile::Standard, &FILTER_ALONE, &harmless);
        assert_eq!(filtered, vec![EPERM; HARMLESS.len()], "by the filter alone");
    }
}

#[test]
fn conditions_hold_in_the_kernel_as_they_are_written() {
    let Some(place) = Place::new() else { return };
    if !has(&["python3"]) {
        return;
    }
    // Name, arguments, whether standard and whether strict lets it through.
    let cases = [
        ("personality", "0xffffffff", true, true),
        ("personality", "0x40000", false, false),
        ("socket", "1, 1, 0", true, true),
        ("socket", "2, 0o2000002, 0", true, true),
        ("socket", "16, 3, 0", true, true),
        ("socket", "40, 1, 0", false, false),
        ("socket", "38, 5, 0", false, false),
        ("clone", "0x10000011, 0, 0, 0, 0", false, false),
        ("clone", "0x20000011, 0, 0, 0, 0", false, false),
        ("kcmp", "0, 0, 99, 0, 0", true, false),
        ("ptrace", "0, 0, 0, 0", true, false),
        ("process_vm_readv", "0, 0, 0, 0, 0, 1", true, false),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, arguments, ..)| with_number(&(name, arguments))).collect();
    let standard = errors(&place, Profile::Standard, &[], &calls);
    let strict = errors(&place, Profile::Strict, &[], &calls);
    for (i, (name, arguments, in_standard, in_strict)) in cases.into_iter().enumerate() {
        assert_eq!(standard[i] != EPERM, in_standard, "{name}({arguments}) in standard: {}", standard[i]);
        assert_eq!(strict[i] != EPERM, in_strict, "{name}({arguments}) in strict: {}", strict[i]);
    }
}

#[test]
fn raw_and_packet_sockets_are_refused_by_capability_and_in_strict_by_the_filter_too() {
    let Some(place) = Place::new() else { return };
    if !has(&["python3"]) {
        return;
    }
    let sockets: Vec<(String, &str)> =
        ["17, 3, 0", "17, 2, 0", "2, 3, 1"].map(|arguments| (libc::SYS_socket.to_string(), arguments)).into();
    assert_eq!(errors(&place, Profile::Standard, &[], &sockets), [EPERM; 3]);
    assert_eq!(errors(&place, Profile::Strict, &[], &sockets), [EPERM; 3]);
    assert_eq!(errors(&place, Profile::Strict, &FILTER_ALONE, &sockets), [EPERM; 3]);
    if is_root() {
        for (profile, without) in [(Profile::None, vec![]), (Profile::Standard, vec![Measure::Capabilities])] {
            let errors = errors(&place, profile, &without, &sockets);
            assert!(!errors.contains(&EPERM), "nothing else refuses them: {errors:?}");
        }
    }
}

#[test]
fn what_is_not_to_be_known_or_is_too_new_is_answered_so_that_programs_fall_back() {
    let Some(place) = Place::new() else { return };
    if !has(&["python3"]) {
        return;
    }
    let calls = [(libc::SYS_clone3.to_string(), "0, 0"), ((NEWEST + 1).to_string(), "0"), ("9999".into(), "0")];
    assert_eq!(errors(&place, Profile::Standard, &[], &calls), [ENOSYS; 3]);
    let known = errors(&place, Profile::None, &[], &calls[..1]);
    assert_ne!(known, [ENOSYS], "the kernel itself knows it");
    if cfg!(target_arch = "x86_64") {
        let x32 = [((0x4000_0000 + libc::SYS_getpid).to_string(), "0")];
        assert_eq!(errors(&place, Profile::Standard, &[], &x32), [ENOSYS], "the x32 form of what is allowed");
    }
}

#[test]
fn a_filter_needs_no_root_and_cannot_be_taken_off() {
    let Some(place) = Place::new() else { return };
    let status = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t\\n'";
    let inside = place.run(Profile::Standard, &[], &["sh", "-c", &format!("exec sh -c \"{status}\"")]);
    assert_eq!(inside.passed(), "NoNewPrivs:1Seccomp:2");
    // Whoever runs this test may have given up something itself.
    let own = Command::new("sh").args(["-c", status]).output().unwrap().stdout;
    let own = String::from_utf8(own).unwrap();
    assert_eq!(place.run(Profile::None, &[], &["sh", "-c", status]).passed(), own);
    if is_root() && own == "NoNewPrivs:0Seccomp:0" {
        let loosened = [Measure::NoNewPrivs];
        assert_eq!(place.run(Profile::Standard, &loosened, &["sh", "-c", status]).passed(), "NoNewPrivs:0Seccomp:2");
    }
}
