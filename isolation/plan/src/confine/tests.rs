//! Rules of what is given up.

use super::{Capability, Condition, Confine, FileRight, InForce, SyscallPolicy, Test};
use crate::{MountPoint, MountSource, TaskSpec, tests::spec};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use taffeta_model::{Isolation, Measure, Profile, Rlimit, RlimitBounds};

/// The node's data is hidden by mounts if there can be any.
fn machine(missing: &[Measure]) -> InForce {
    let hidden = if missing.contains(&Measure::MountNamespace) { vec!["/data".into()] } else { vec![] };
    InForce { default: Profile::Standard, missing: missing.iter().copied().collect(), hidden }
}

fn asking(profile: Profile, without: &[Measure]) -> TaskSpec {
    let isolation = Isolation { profile: Some(profile), without: without.iter().copied().collect() };
    TaskSpec { isolation, ..spec() }
}

fn of(profile: Profile, without: &[Measure]) -> Confine {
    Confine::of(&asking(profile, without), &machine(&[]))
}

/// What the rules for this very path permit.
fn right(confine: &Confine, path: &str) -> Option<FileRight> {
    let rules = &confine.landlock.as_ref().expect("landlock").rules;
    rules.iter().filter(|rule| rule.path == Path::new(path)).map(|rule| rule.right).max()
}

#[test]
fn who_says_nothing_gets_what_the_machine_does_by_default() {
    let said = of(Profile::Standard, &[]);
    assert_eq!(Confine::of(&spec(), &machine(&[])), said);
    let loose = InForce { default: Profile::None, ..machine(&[]) };
    assert_eq!(Confine::of(&spec(), &loose), Confine::default());
}

#[test]
fn standard_and_strict_give_up_all_of_it() {
    for profile in [Profile::Standard, Profile::Strict] {
        let confine = of(profile, &[]);
        assert!(confine.no_new_privs && confine.no_core_dumps, "{profile}");
        assert_eq!(confine.capabilities, Some(BTreeSet::new()), "{profile}");
        assert!(confine.seccomp.is_some() && confine.landlock.is_some(), "{profile}");
    }
}

#[test]
fn each_measure_is_loosened_alone() {
    let without = |measure| of(Profile::Standard, &[measure]);
    let whole = of(Profile::Standard, &[]);
    assert_eq!(without(Measure::Seccomp), Confine { seccomp: None, ..whole.clone() });
    assert_eq!(without(Measure::Landlock), Confine { landlock: None, ..whole.clone() });
    assert_eq!(without(Measure::NoNewPrivs), Confine { no_new_privs: false, ..whole.clone() });
    assert_eq!(without(Measure::CoreDumps), Confine { no_core_dumps: false, ..whole.clone() });
    let kept = without(Measure::Capabilities).capabilities.expect("a list");
    assert!(kept.contains(&Capability::Chown) && kept.len() == Capability::LOOSENED.len(), "{kept:?}");
    assert_eq!(without(Measure::UtsNamespace), whole, "which is for others to do");
}

#[test]
fn limits_and_user_are_those_of_the_spec_in_any_profile() {
    let rlimits = [(Rlimit::Nofile, RlimitBounds::both(Some(9)))].into();
    let asked = TaskSpec { rlimits, user: Some("www-data".parse().unwrap()), ..asking(Profile::None, &[]) };
    let confine = Confine::of(&asked, &machine(&[]));
    let bare = Confine { rlimits: asked.rlimits, user: asked.user, ..Confine::default() };
    assert_eq!(confine, bare);
}

#[test]
fn a_low_port_leaves_the_right_to_listen_on_it_and_no_other() {
    let confine = Confine::of(&TaskSpec { low_port: true, ..spec() }, &machine(&[]));
    assert_eq!(confine.capabilities, Some([Capability::NetBindService].into()));
}

#[test]
fn no_system_call_is_listed_twice_and_strict_allows_nothing_more() {
    let names = |policy: &SyscallPolicy| policy.allowed.iter().map(|allowed| allowed.name).collect::<Vec<_>>();
    let standard = SyscallPolicy::new(false, &Capability::LOOSENED.into());
    let strict = SyscallPolicy::new(true, &BTreeSet::new());
    for policy in [&standard, &strict] {
        assert_eq!(names(policy).len(), names(policy).into_iter().collect::<BTreeSet<_>>().len());
        assert!(policy.unheard_of.iter().all(|name| names(policy).contains(name)));
    }
    assert!(names(&strict).iter().all(|name| names(&standard).contains(name)));
    let never = [
        "mount",
        "umount2",
        "pivot_root",
        "unshare",
        "setns",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "reboot",
        "bpf",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
        "userfaultfd",
        "io_uring_setup",
        "io_uring_enter",
        "open_by_handle_at",
        "swapon",
        "settimeofday",
        "clock_settime",
        "iopl",
        "ioperm",
        "acct",
        "quotactl",
        "syslog",
        "fsopen",
        "move_mount",
        "open_tree",
        "fanotify_init",
        "vhangup",
        "lookup_dcookie",
        "sethostname",
        "setdomainname",
        "nfsservctl",
        "uselib",
        "_sysctl",
    ];
    assert!(never.iter().all(|name| !names(&standard).contains(name)));
    assert!(names(&standard).contains(&"ptrace") && !names(&strict).contains(&"ptrace"));
    assert!(names(&standard).contains(&"chroot") && !names(&strict).contains(&"chroot"));
}

/// Whether the policy lets a call with these first two arguments through.
fn lets(policy: &SyscallPolicy, name: &str, arguments: [u64; 2]) -> bool {
    let holds = |Condition { argument, test }: &Condition| {
        let given = arguments[usize::from(*argument)];
        match test {
            Test::Is(value) => given == *value,
            Test::IsNot(value) => given != *value,
            Test::Masked { mask, value } => given & mask == *value,
        }
    };
    let Some(allowed) = policy.allowed.iter().find(|allowed| allowed.name == name) else { return false };
    allowed.when.is_empty() || allowed.when.iter().any(|all| all.iter().all(holds))
}

#[test]
fn conditions_part_what_is_harmless_from_what_is_not() {
    let standard = SyscallPolicy::new(false, &BTreeSet::new());
    let strict = SyscallPolicy::new(true, &BTreeSet::new());
    for policy in [&standard, &strict] {
        let thread = 0x003d_0f00; // as a C library starts threads
        assert!(lets(policy, "clone", [thread, 0]) && lets(policy, "clone", [17, 0]));
        for namespace in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert!(!lets(policy, "clone", [17 | namespace, 0]), "{namespace:x}");
        }
        assert!(lets(policy, "personality", [0xFFFF_FFFF, 0]) && !lets(policy, "personality", [0x4_0000, 0]));
        let (size_of_terminal, set_project, set_flags) = (0x5413, 0x401c_5820, 0x4008_6602);
        assert!(lets(policy, "ioctl", [0, size_of_terminal]) && !lets(policy, "file_setattr", [0, 0]));
        assert!(!lets(policy, "ioctl", [3, set_project]) && !lets(policy, "ioctl", [3, set_flags]));
        let close_on_exec = 0o2_000_000;
        for (family, kind) in [(1, 1), (2, 1), (2, 2), (10, 1 | close_on_exec), (16, 3), (1, 5)] {
            assert!(lets(policy, "socket", [family, kind]), "{family} {kind}");
        }
        assert!(!lets(policy, "socket", [40, 1]) && !lets(policy, "socket", [38, 5]));
    }
    for (family, kind) in [(17, 3), (17, 2), (2, 3), (10, 3 | 0o2_000_000)] {
        assert!(lets(&standard, "socket", [family, kind]), "for which a capability is needed");
        assert!(!lets(&strict, "socket", [family, kind]), "{family} {kind}");
    }
}

#[test]
fn a_task_writes_to_its_own_alone_and_reads_what_its_profile_says() {
    let links = [("data".to_owned(), PathBuf::from("/data/volumes/a"))].into();
    let mount = |at: &str, source, read_only| MountPoint { at: at.into(), source, read_only };
    let mounts = vec![
        mount("/srv/in", MountSource::Host("/in".into()), true),
        mount("/srv/out", MountSource::Host("/out".into()), false),
        mount("/srv/mem", MountSource::Tmpfs { bytes: 1 }, false),
    ];
    for (profile, root) in [(Profile::Standard, Some(FileRight::Read)), (Profile::Strict, None)] {
        let asked = TaskSpec { links: Clone::clone(&links), mounts: mounts.clone(), ..asking(profile, &[]) };
        let confine = Confine::of(&asked, &machine(&[]));
        assert_eq!(right(&confine, "/"), root, "{profile}");
        assert_eq!(right(&confine, asked.work().to_str().unwrap()), Some(FileRight::Write));
        assert_eq!(right(&confine, "/data/tasks/shop.web.2-1.1.7/secrets"), Some(FileRight::Read));
        for (path, wanted) in [("/data/volumes/a", FileRight::Write), ("/srv/in", FileRight::Read)] {
            assert_eq!(right(&confine, path), Some(wanted), "{path}");
        }
        for path in ["/srv/out", "/srv/mem", "/tmp", "/var/tmp", "/dev/shm"] {
            assert_eq!(right(&confine, path), Some(FileRight::Write), "{path}");
        }
        assert!(right(&confine, "/usr").is_none_or(|right| right == FileRight::Read));
    }
    assert_eq!(right(&of(Profile::Standard, &[Measure::ReadOnlyRoot]), "/"), Some(FileRight::Write));
}

#[test]
fn without_a_view_of_its_own_the_rules_alone_hide_and_keep_from_devices() {
    let behind = of(Profile::Standard, &[]);
    let files = behind.landlock.as_ref().unwrap();
    assert!(files.hidden.is_empty(), "the mounts hide");
    assert_eq!(right(&behind, "/dev"), Some(FileRight::Device));
    assert_eq!(right(&behind, "/proc"), Some(FileRight::WriteThere));
    let alone = Confine::of(&asking(Profile::Standard, &[]), &machine(&[Measure::MountNamespace]));
    let without = |measures: &[Measure]| {
        let measures: Vec<Measure> = measures.iter().copied().chain([Measure::MountNamespace]).collect();
        Confine::of(&asking(Profile::Standard, &measures), &machine(&[Measure::MountNamespace]))
    };
    assert_eq!(without(&[]), alone, "not wanted and not there are the same");
    let apart = |confine: &Confine| confine.landlock.clone().unwrap().apart;
    assert_eq!(alone.landlock.as_ref().unwrap().hidden, [PathBuf::from("/data")]);
    assert_eq!((right(&alone, "/dev"), right(&alone, "/dev/null")), (None, Some(FileRight::Device)));
    assert_eq!(apart(&alone), ["/dev", "/proc", "/sys"].map(PathBuf::from), "what `/` must not give");
    assert_eq!(right(&alone, "/proc"), Some(FileRight::Read), "anything there could be the machine's");
    let writable = without(&[Measure::ReadOnlyRoot]);
    assert_eq!((right(&writable, "/"), right(&writable, "/sys")), (Some(FileRight::Write), Some(FileRight::Read)));
    assert_eq!(apart(&writable), apart(&alone));
    let open = without(&[Measure::HiddenFolders]);
    assert_eq!(open.landlock.unwrap().hidden, [PathBuf::from("/data")], "the node's data is never shown");
}

#[test]
fn no_profile_gives_the_machines_disks() {
    for (profile, missing) in [(Profile::Standard, vec![]), (Profile::Strict, vec![Measure::MountNamespace])] {
        let confine = Confine::of(&asking(profile, &[Measure::PrivateDevices]), &machine(&missing));
        assert_eq!(right(&confine, "/dev"), Some(FileRight::DeviceButDisks), "{profile}");
        assert!(confine.landlock.unwrap().apart.contains(&PathBuf::from("/dev")), "{profile}");
    }
}

#[test]
fn what_runs_beside_a_task_may_signal_it_where_it_sees_nothing_else() {
    let scoped = |confine: Confine| confine.landlock.unwrap().scope_signals;
    let spec = asking(Profile::Standard, &[]);
    assert!(scoped(Confine::of(&spec, &machine(&[]))));
    assert!(!scoped(Confine::beside(&spec, &machine(&[]))));
    assert!(scoped(Confine::beside(&spec, &machine(&[Measure::PidNamespace]))));
    assert!(scoped(Confine::beside(&asking(Profile::Standard, &[Measure::PidNamespace]), &machine(&[]))));
}
