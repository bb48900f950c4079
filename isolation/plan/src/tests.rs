//! Rules of the plan.

use crate::*;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Isolation, Measure, Profile, Secret, SecretName, ShippedFile};

pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        task: "shop/web.2".into(),
        run_id: "shop.web.2-1.1.7".into(),
        run: vec!["./server".into()],
        env: BTreeMap::from([("PORT_HTTP".into(), "20001".into())]),
        folder: "/data/tasks/shop.web.2-1.1.7".into(),
        files: BTreeMap::from([("server".into(), ShippedFile { body: b"#!".into(), executable: true })]),
        links: BTreeMap::new(),
        mounts: vec![],
        resolv_conf: None,
        fetched: vec![],
        cpus_milli: 250,
        cpu_quota: false,
        cpuset: None,
        io_weight: None,
        memory_bytes: 64 << 20,
        pids_max: 100,
        logs: Default::default(),
        lease: None,
        grace: Duration::from_secs(5),
        isolation: Isolation::default(),
        user: None,
        rlimits: BTreeMap::new(),
        low_port: false,
        secrets: TaskSecrets::default(),
    }
}

fn permitted(cgroups: Cgroups) -> Permitted {
    Permitted {
        root: true,
        cgroups,
        group_parent: "taffeta/n1".into(),
        memory: Memory::Private,
        measures: Measures::default(),
    }
}

fn all() -> Permitted {
    permitted(Cgroups::V1(BTreeSet::from(Controller::ALL)))
}

#[test]
fn the_spec_is_kept_before_anything_can_run_and_the_shim_comes_last() {
    let steps = plan(&spec(), &all()).unwrap();
    let position = |f: &dyn Fn(&Step) -> bool| steps.iter().position(f).unwrap();
    let kept = position(&|s| matches!(s, Step::WriteFile { path, .. } if path.ends_with(SPEC_FILE)));
    let group = position(&|s| matches!(s, Step::CreateGroup { .. }));
    assert!(kept < group);
    assert_eq!(position(&|s| matches!(s, Step::StartShim { .. })), steps.len() - 1);
}

#[test]
fn the_kept_spec_reads_back_without_file_bodies() {
    let steps = plan(&spec(), &all()).unwrap();
    let Step::WriteFile { body, mode, .. } = &steps[1] else { panic!("{steps:?}") };
    let kept: TaskSpec = serde_json::from_slice(body).unwrap();
    assert_eq!(kept, TaskSpec { files: BTreeMap::new(), ..spec() });
    assert_eq!(*mode, 0o600);
}

#[test]
fn shipped_files_lie_in_the_working_folder_with_their_mode() {
    let steps = plan(&spec(), &all()).unwrap();
    let path = spec().folder.join("work/server");
    let wanted = Step::WriteFile { path, body: b"#!".into(), mode: 0o755 };
    assert!(steps.contains(&wanted), "{steps:?}");
}

#[test]
fn a_link_lies_beside_the_files_and_cannot_lie_elsewhere() {
    let link = |name: &str, to: &str| TaskSpec { links: [(name.into(), to.into())].into(), ..spec() };
    let steps = plan(&link("data", "/data/volumes/shop/db.1/data@0.1.7"), &all()).unwrap();
    let path = spec().folder.join("work/data");
    assert!(steps.contains(&Step::MakeLink { path, to: "/data/volumes/shop/db.1/data@0.1.7".into() }), "{steps:?}");
    for name in ["../data", "/data", "", "server"] {
        assert!(matches!(plan(&link(name, "/data"), &all()), Err(InvalidSpec::FileName(_))), "{name}");
    }
    assert!(matches!(plan(&link("data", "volumes"), &all()), Err(InvalidSpec::Link(_))));
}

#[test]
fn what_was_fetched_is_copied_or_unpacked_into_the_working_folder_alone() {
    let fetched = |placed: Placed| Fetched { title: "x".into(), from: "/data/fetched/1".into(), placed };
    let copy = |name: &str| fetched(Placed::Copy { name: name.into(), executable: true });
    let unpack = |name: Option<&str>| fetched(Placed::Unpack { name: name.map(Into::into), bytes_max: 9 });
    let all_of = |fetched| plan(&TaskSpec { fetched, ..spec() }, &all());
    let work = spec().work();
    let steps = all_of(vec![copy("tool"), unpack(None), unpack(Some("lib"))]).unwrap();
    let (title, from) = ("x".to_owned(), std::path::PathBuf::from("/data/fetched/1"));
    let step = |folder| Step::Unpack { title: title.clone(), from: from.clone(), folder, bytes_max: 9 };
    for wanted in [
        Step::CopyFile { title: title.clone(), from: from.clone(), path: work.join("tool"), mode: 0o755 },
        step(work.clone()),
        step(work.join("lib")),
    ] {
        assert!(steps.contains(&wanted), "{wanted:?} in {steps:?}");
    }
    for name in ["../x", "/x", ".."] {
        assert!(matches!(all_of(vec![copy(name)]), Err(InvalidSpec::FileName(_))), "{name}");
        assert!(matches!(all_of(vec![unpack(Some(name))]), Err(InvalidSpec::FileName(_))), "{name}");
    }
}

#[test]
fn a_mount_has_two_absolute_ends() {
    let mount = |at: &str, host: &str| {
        let source = MountSource::Host(host.into());
        plan(&TaskSpec { mounts: vec![MountPoint { at: at.into(), source, read_only: true }], ..spec() }, &all())
    };
    mount("/data", "/srv/data").unwrap();
    for (at, host) in [("/", "/srv"), ("data", "/srv"), ("/data", "srv"), ("/a/../b", "/srv"), ("/a", "/srv/../etc")] {
        assert!(matches!(mount(at, host), Err(InvalidSpec::Mount(_))), "{at} {host}");
    }
}

#[test]
fn a_resolv_conf_of_its_own_is_written_before_the_shim_starts() {
    let text = "nameserver 127.84.0.1\n";
    let steps = plan(&TaskSpec { resolv_conf: Some(text.into()), ..spec() }, &all()).unwrap();
    let path = spec().folder.join(RESOLV_FILE);
    let wanted = Step::WriteFile { path, body: text.into(), mode: 0o644 };
    assert!(steps.contains(&wanted), "{steps:?}");
}

#[test]
fn the_group_is_named_after_node_and_run() {
    let steps = plan(&spec(), &all()).unwrap();
    let path = steps.iter().find_map(|s| match s {
        Step::CreateGroup { path, .. } => Some(path.as_str()),
        Step::MakeFolder { .. }
        | Step::WriteFile { .. }
        | Step::MakeLink { .. }
        | Step::CopyFile { .. }
        | Step::Unpack { .. }
        | Step::PlaceSecrets { .. }
        | Step::SetApart { .. }
        | Step::StartShim { .. } => None,
    });
    assert_eq!(path, Some("taffeta/n1/shop.web.2-1.1.7"));
}

#[test]
fn without_cgroups_no_group_is_planned_and_every_gap_is_named() {
    let poor = permitted(Cgroups::None { why: "/sys/fs/cgroup: read-only".into() });
    assert!(!plan(&spec(), &poor).unwrap().iter().any(|s| matches!(s, Step::CreateGroup { .. })));
    let gaps = spec().not_isolated(&poor).join("\n");
    for word in ["cpu", "memory", "pids", "read-only"] {
        assert!(gaps.contains(word), "{gaps}");
    }
}

#[test]
fn a_missing_controller_is_named_alone() {
    let some = permitted(Cgroups::V2(BTreeSet::from([Controller::Cpu, Controller::Pids])));
    let gaps = spec().not_isolated(&some);
    assert!(gaps.len() == 1 && gaps[0].starts_with("memory:"), "{gaps:?}");
    assert_eq!(spec().not_isolated(&all()), Vec::<String>::new());
}

#[test]
fn undo_kills_first_and_removes_the_folder_last() {
    let order = undo(&plan(&spec(), &all()).unwrap());
    assert!(matches!(order[0], Undo::StopTask { .. }), "{order:?}");
    assert!(matches!(order[1], Undo::RemoveGroup { .. }), "{order:?}");
    assert_eq!(order.last(), Some(&Undo::RemoveFolder { path: spec().folder }));
}

#[test]
fn shares_follow_cpus_and_no_quota_is_set_unless_asked() {
    let limits = Limits::of(&spec());
    assert_eq!((limits.cpu_shares, limits.cpu_weight, limits.cpu_quota), (256, 10, None));
    let asked = Limits::of(&TaskSpec { cpu_quota: true, ..spec() });
    assert_eq!(asked.cpu_quota, Some(Quota { quota_us: 25_000, period_us: 100_000 }));
}

#[test]
fn what_was_asked_for_and_cannot_be_had_is_named() {
    let poor = permitted(Cgroups::Hybrid(BTreeSet::from([Controller::Cpu, Controller::Memory, Controller::Pids])));
    let asked = TaskSpec { cpuset: Some("0".parse().unwrap()), io_weight: Some(50), ..spec() };
    let gaps = asked.not_isolated(&poor);
    assert!(gaps.len() == 2 && gaps[0].starts_with("cpuset:") && gaps[1].starts_with("io:"), "{gaps:?}");
    assert_eq!(asked.not_isolated(&all()), Vec::<String>::new());
    assert_eq!(spec().not_isolated(&poor), Vec::<String>::new());
}

#[test]
fn a_weight_at_the_disks_is_the_same_share_on_each_scale() {
    let scales = |weight| {
        let IoWeight { cost, bfq, cfq } = IoWeight::new(weight);
        (cost, bfq, cfq)
    };
    assert_eq!(scales(100), (100, 100, 500), "everybody's");
    assert_eq!(scales(1), (1, 1, 10));
    assert_eq!(scales(10_000), (10_000, 1_000, 1_000));
    assert_eq!(scales(50), (50, 50, 250));
}

#[test]
fn a_spec_of_an_older_release_asks_for_no_processors_and_no_weight() {
    let mut old = serde_json::to_value(spec()).unwrap();
    assert!(!old.as_object().unwrap().contains_key("cpuset"));
    old.as_object_mut().unwrap().remove("io_weight");
    assert_eq!(serde_json::from_value::<TaskSpec>(old).unwrap(), spec());
}

#[test]
fn the_environment_is_complete_and_the_folder_cannot_be_forged() {
    let env = TaskSpec { env: BTreeMap::from([("TAFFETA_TASK_DIR".into(), "/".into())]), ..spec() }.environment();
    assert_eq!(env["PATH"], PATH_DEFAULT);
    assert_eq!(env["HOME"], "/data/tasks/shop.web.2-1.1.7/work");
    assert_eq!(env["TAFFETA_TASK_DIR"], env["HOME"]);
    let own = TaskSpec { env: BTreeMap::from([("PATH".into(), "/opt".into())]), ..spec() }.environment();
    assert_eq!(own["PATH"], "/opt");
}

#[test]
fn what_would_leave_the_folder_is_refused() {
    let refused = |spec: TaskSpec| plan(&spec, &all()).unwrap_err();
    for run_id in ["", ".", "..", "a/b", ".hidden", "a b", "\u{e4}", &"x".repeat(RUN_ID_BYTES_MAX + 1)] {
        let spec = TaskSpec { run_id: run_id.into(), ..spec() };
        assert_eq!(refused(spec), InvalidSpec::RunId(run_id.into()));
    }
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a/"] {
        let file = ShippedFile { body: vec![], executable: false };
        let spec = TaskSpec { files: BTreeMap::from([(name.into(), file)]), ..spec() };
        assert_eq!(refused(spec), InvalidSpec::FileName(name.into()));
    }
    assert!(matches!(refused(TaskSpec { folder: "tasks/shop.web.2-1.1.7".into(), ..spec() }), InvalidSpec::Folder(_)));
    assert!(matches!(refused(TaskSpec { folder: "/data/tasks/other".into(), ..spec() }), InvalidSpec::Folder(_)));
}

#[test]
fn what_no_process_can_be_given_is_refused() {
    let refused = |spec: TaskSpec| plan(&spec, &all()).unwrap_err();
    assert_eq!(refused(TaskSpec { run: vec![], ..spec() }), InvalidSpec::NoProgram);
    assert_eq!(refused(TaskSpec { run: vec![String::new()], ..spec() }), InvalidSpec::NoProgram);
    let zero = TaskSpec { run: vec!["a".into(), "\0".into()], ..spec() };
    assert!(matches!(refused(zero), InvalidSpec::Unrepresentable(_)));
    let name = TaskSpec { env: BTreeMap::from([("A=B".into(), "c".into())]), ..spec() };
    assert!(matches!(refused(name), InvalidSpec::Unrepresentable(_)));
    assert_eq!(refused(TaskSpec { memory_bytes: 0, ..spec() }), InvalidSpec::Memory(0));
}

proptest! {
    #[test]
    fn limits_stay_in_the_kernels_range_and_grow_with_cpus(a in any::<u64>(), b in any::<u64>()) {
        let (less, more) = (a.min(b), a.max(b));
        let of = |cpus_milli| Limits::of(&TaskSpec { cpus_milli, cpu_quota: true, ..spec() });
        let (less, more) = (of(less), of(more));
        prop_assert!(less.cpu_shares <= more.cpu_shares && less.cpu_weight <= more.cpu_weight);
        for limits in [less, more] {
            prop_assert!((2..=262_144).contains(&limits.cpu_shares));
            prop_assert!((1..=10_000).contains(&limits.cpu_weight));
            prop_assert!(limits.cpu_quota.unwrap().quota_us >= 1_000);
        }
    }
}

fn with_secret() -> TaskSpec {
    let secrets = TaskSecrets {
        files: BTreeMap::from([(SecretName::new("db").unwrap(), Secret::new(b"hunter2".to_vec()))]),
        env: BTreeMap::from([("DB".into(), Secret::new(b"hunter3".to_vec()))]),
    };
    TaskSpec { secrets, ..spec() }
}

#[test]
fn no_step_holds_a_secret() {
    let steps = plan(&with_secret(), &all()).unwrap();
    let at = steps.iter().position(|step| matches!(step, Step::PlaceSecrets { at: SecretsAt::Private, .. }));
    let shim = steps.iter().position(|step| matches!(step, Step::StartShim { .. }));
    assert!(at.is_some() && at < shim && shim == Some(steps.len() - 1), "{steps:?}");
    let Step::WriteFile { body, .. } = &steps[1] else { panic!("{steps:?}") };
    assert!(!String::from_utf8_lossy(body).contains("hunter"));
    assert!(!format!("{steps:?} {:?}", with_secret()).contains("hunter"));
}

#[test]
fn files_without_memory_are_a_gap_and_variables_are_none() {
    let poor = Permitted { memory: Memory::Nowhere { why: "no tmpfs".into() }, ..all() };
    assert_eq!(with_secret().not_isolated(&poor), ["secrets: they would lie on the disk (no tmpfs)"]);
    let mut only_env = with_secret();
    only_env.secrets.files.clear();
    assert_eq!(only_env.not_isolated(&poor), Vec::<String>::new());
    assert_eq!(spec().secrets_at(&poor), None);
}

#[test]
fn a_folder_in_memory_is_named_after_node_and_run() {
    let shared = Permitted { memory: Memory::Folder("/dev/shm".into()), ..all() };
    let wanted = SecretsAt::Memory("/dev/shm/taffeta-n1-shop.web.2-1.1.7".into());
    assert_eq!(with_secret().secrets_at(&shared), Some(wanted));
}

#[test]
fn a_secret_that_no_variable_can_hold_is_refused_without_being_shown() {
    let mut wrong = with_secret();
    wrong.secrets.env.insert("BAD".into(), Secret::new(b"a\0hunter4".to_vec()));
    let refused = plan(&wrong, &all()).unwrap_err();
    assert_eq!(refused, InvalidSpec::Unrepresentable("the secret for the variable \"BAD\"".into()));
}

fn apart(spec: &TaskSpec, lacking: &[Measure]) -> Sandbox {
    let mut permitted = all();
    permitted.measures.hidden = vec!["/var/lib/taffeta".into()];
    permitted.measures.lacking = lacking.iter().map(|measure| (*measure, "no".to_owned())).collect();
    Sandbox::of(spec, &permitted)
}

fn loosened(profile: Profile, without: &[Measure]) -> TaskSpec {
    let isolation = Isolation { profile: Some(profile), without: without.iter().copied().collect() };
    let folder = "/var/lib/taffeta/tasks/shop.web.2-1.1.7".into();
    TaskSpec { isolation, folder, ..spec() }
}

#[test]
fn what_is_hidden_comes_before_what_is_the_tasks_own_and_is_closed_after() {
    let view = apart(&loosened(Profile::Standard, &[]), &[]).view;
    let position = |f: &dyn Fn(&ViewStep) -> bool| view.iter().position(f).unwrap_or_else(|| panic!("{view:#?}"));
    let sealed = position(&|step| matches!(step, ViewStep::Seal { devices: false }));
    let hidden = position(&|step| matches!(step, ViewStep::Tmpfs { at, .. } if at.ends_with("lib/taffeta")));
    let own = position(&|step| matches!(step, ViewStep::Bind(bind) if bind.own && bind.at.ends_with("work")));
    let closed = position(&|step| matches!(step, ViewStep::Close { .. }));
    assert!(sealed < hidden && hidden < own && own < closed);
    let binds = view.iter().filter(|step| matches!(step, ViewStep::Bind(bind) if bind.at.starts_with("/var/lib")));
    assert_eq!(binds.count(), 1, "of the node's data nothing but the working folder: {view:#?}");
}

/// What of the node's programs is bound, when they lie there and nothing else is bound below it.
fn shown(program: &str) -> Vec<String> {
    let program = std::path::Path::new(program);
    let mut permitted = all();
    permitted.measures.hidden = vec!["/var/lib/taffeta".into()];
    permitted.measures.shown = vec![program.parent().unwrap().into(), program.into()];
    let view = Sandbox::of(&loosened(Profile::Standard, &[]), &permitted).view;
    let bound = view.into_iter().filter_map(|step| match step {
        ViewStep::Bind(bind) if bind.optional && program.starts_with(&bind.at) => Some(bind.at),
        _ => None,
    });
    bound.map(|at| at.display().to_string()).collect()
}

#[test]
fn the_nodes_programs_are_shown_without_what_is_hidden_beside_them() {
    assert_eq!(shown("/tmp/build/taffeta"), ["/tmp/build"]);
    assert_eq!(shown("/tmp/taffeta"), ["/tmp/taffeta"], "and not the machine's own /tmp");
    assert_eq!(shown("/var/lib/taffeta/taffeta"), ["/var/lib/taffeta/taffeta"], "and not the keys in its folder");
    assert_eq!(shown("/var/lib/taffeta"), ["/var/lib/taffeta"; 0], "a folder above what is hidden");
    assert_eq!(shown("/root/taffeta"), [""; 0], "nothing covers it, and to bind it again would show /root/.ssh");
    assert_eq!(shown("/usr/local/bin/taffeta"), [""; 0]);
}

#[test]
fn a_measure_that_is_loosened_or_lacking_leaves_out_its_own_steps_and_what_rests_on_it() {
    let none = apart(&loosened(Profile::None, &[]), &[]);
    assert!(none.is_nothing() && none.view.is_empty() && none.namespaces.is_empty());
    for sandbox in [
        apart(&loosened(Profile::Standard, &[Measure::MountNamespace]), &[]),
        apart(&loosened(Profile::Standard, &[]), &[Measure::MountNamespace]),
    ] {
        assert!(sandbox.view.is_empty() && sandbox.has(Namespace::Pid) && !sandbox.has(Namespace::Mount));
        assert!(!sandbox.measures.contains(&Measure::ReadOnlyRoot), "{sandbox:?}");
    }
    let writable = apart(&loosened(Profile::Standard, &[Measure::ReadOnlyRoot]), &[]);
    assert!(!writable.view.iter().any(|step| matches!(step, ViewStep::Seal { .. })));
    let shared = apart(&loosened(Profile::Standard, &[Measure::PrivateTmp]), &[]).view;
    assert!(
        shared.iter().any(|step| matches!(step, ViewStep::Bind(bind) if bind.at.ends_with("tmp") && !bind.read_only))
    );
}

#[test]
fn in_strict_a_task_is_nobody_and_only_its_own_mounts_are_writable() {
    let point = |from: &str| MountPoint { at: "/at".into(), source: MountSource::Host(from.into()), read_only: false };
    let mounts = vec![point("/srv/static"), point("/var/lib/taffeta/volumes/v")];
    let sandbox = apart(&TaskSpec { mounts: mounts.clone(), ..loosened(Profile::Strict, &[]) }, &[]);
    assert!(matches!(sandbox.identity, Identity::Unprivileged(id) if id >= 0x7000_0000), "{:?}", sandbox.identity);
    let binds = sandbox.view.iter().filter_map(|step| match step {
        ViewStep::Bind(bind) if bind.at == std::path::Path::new("/at") => Some((bind.read_only, bind.own)),
        _ => None,
    });
    assert_eq!(binds.collect::<Vec<_>>(), [(true, false), (false, true)]);
    let standard = apart(&TaskSpec { mounts, ..loosened(Profile::Standard, &[]) }, &[]);
    assert_eq!(standard.identity, Identity::Machine);
}

#[test]
fn what_rests_on_a_lacking_measure_is_told_with_it_and_what_was_not_asked_for_is_not() {
    let lacking = [Measure::MountNamespace, Measure::ReadOnlyRoot, Measure::UserNamespace];
    let lacking = lacking.map(|measure| (measure, "not permitted".to_owned())).into();
    let measures = Measures { lacking, ..Measures::default() };
    let gaps = measures.gaps(&Isolation::default());
    let words = "mount-namespace and so read-only-root, private-tmp, masked-proc, private-devices, hidden-folders: not permitted";
    assert_eq!(gaps, [words]);
    let strict = Isolation { profile: Some(Profile::Strict), ..Isolation::default() };
    assert_eq!(measures.gaps(&strict).len(), 2);
    let none = Isolation { profile: Some(Profile::None), ..Isolation::default() };
    assert_eq!(measures.gaps(&none), Vec::<String>::new());
}

#[test]
fn a_sandbox_reads_back_as_it_was_kept() {
    let sandbox = apart(&loosened(Profile::Strict, &[Measure::Seccomp]), &[Measure::Landlock]);
    let kept = serde_json::to_vec(&sandbox).unwrap();
    assert_eq!(serde_json::from_slice::<Sandbox>(&kept).unwrap(), sandbox);
}

#[test]
fn the_nodes_data_and_its_settings_are_hidden_whatever_is_loosened() {
    let mut permitted = all();
    permitted.measures.hidden = vec!["/var/lib/taffeta".into()];
    permitted.measures.masked = vec!["/etc/taffeta.toml".into()];
    let loose = [Measure::HiddenFolders, Measure::PrivateTmp, Measure::PrivateDevices];
    for without in [vec![], loose.to_vec()] {
        let mut spec = loosened(Profile::Standard, &without);
        let source = MountSource::Host("/etc".into());
        spec.mounts = vec![MountPoint { at: "/settings".into(), source, read_only: true }];
        let sandbox = Sandbox::of(&spec, &permitted);
        let masked = |at: &str| sandbox.view.contains(&ViewStep::Mask { at: at.into() });
        assert!(masked("/etc/taffeta.toml") && masked("/settings/taffeta.toml"), "{without:?}");
        assert!(sandbox.view.contains(&ViewStep::Close { at: "/var/lib/taffeta".into() }), "{without:?}");
        assert_eq!(masked("/etc/shadow"), without.is_empty());
        assert_eq!(sandbox.in_force().hidden, <[std::path::PathBuf; 0]>::default(), "the mounts do it: {without:?}");
    }
    let alone = Sandbox::of(&loosened(Profile::Standard, &[Measure::MountNamespace]), &permitted);
    assert_eq!(alone.in_force().hidden, ["/var/lib/taffeta", "/etc/taffeta.toml"].map(std::path::PathBuf::from));
}

#[test]
fn a_folder_in_memory_with_others_secrets_is_not_seen() {
    let view = |folder: &str, without: &[Measure]| {
        let permitted = Permitted { memory: Memory::Folder(folder.into()), ..all() };
        let spec = TaskSpec { secrets: with_secret().secrets, ..loosened(Profile::Standard, without) };
        let sandbox = Sandbox::of(&spec, &permitted);
        (sandbox.in_force().hidden, sandbox.view)
    };
    let loose = [Measure::PrivateTmp, Measure::HiddenFolders];
    let (hidden, shared) = view("/dev/shm", &loose);
    assert!(hidden.is_empty() && shared.contains(&ViewStep::Devices { shm_bytes: Some(32 << 20) }), "{shared:#?}");
    let (hidden, other) = view("/run/user/7", &loose);
    assert!(hidden.is_empty() && other.contains(&ViewStep::Close { at: "/run/user/7".into() }), "{other:#?}");
    let (hidden, covered) = view("/run/user/7", &[]);
    assert!(hidden.is_empty() && !covered.contains(&ViewStep::Close { at: "/run/user/7".into() }), "by /run itself");
    let (hidden, none) = view("/dev/shm", &[Measure::MountNamespace]);
    assert!(none.is_empty() && hidden == [std::path::PathBuf::from("/dev/shm")]);
}

#[test]
fn a_writable_machine_has_a_kernel_that_cannot_be_changed() {
    let sys = ViewStep::ReadOnly { at: "/sys".into() };
    assert!(apart(&loosened(Profile::Standard, &[Measure::ReadOnlyRoot]), &[]).view.contains(&sys));
    assert!(!apart(&loosened(Profile::Standard, &[]), &[]).view.contains(&sys), "sealed with all");
}

#[test]
fn shared_memory_that_is_the_machines_is_writable_as_its_temporary_files_are() {
    for without in [vec![Measure::PrivateTmp, Measure::PrivateDevices], vec![Measure::PrivateTmp]] {
        let view = apart(&loosened(Profile::Standard, &without), &[]).view;
        let back = |step: &ViewStep| match step {
            ViewStep::Devices { shm_bytes } => shm_bytes.is_none(),
            ViewStep::Bind(bind) => bind.at.ends_with("shm") && !bind.read_only,
            _ => false,
        };
        assert!(view.iter().any(back), "{without:?}: {view:#?}");
    }
}
