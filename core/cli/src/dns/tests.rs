use super::{
    Plan,
    files::Root,
    system::{System, Target, plan_undo},
};
use std::{fs, path::Path};
use tempfile::TempDir;

fn target(dns: &str) -> Target {
    Target::new(dns.parse().unwrap(), vec!["fabric.internal".into(), "consul".into()]).unwrap()
}

/// A system with these files.
fn machine(files: &[(&str, &str)]) -> (TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = Root::new(folder.path().into());
    (folder, root)
}

fn apply(root: &Root, plan: &Plan) {
    plan.changes.iter().for_each(|change| root.apply(change).unwrap());
}

fn read(folder: &TempDir, path: &str) -> String {
    fs::read_to_string(folder.path().join(path)).unwrap()
}

#[test]
fn the_resolver_that_a_machine_uses_is_found() {
    let cases: [(&[(&str, &str)], System); 6] = [
        (&[], System::ResolvConf),
        (&[("etc/resolv.conf", "nameserver 127.0.0.53\n")], System::SystemdResolved),
        (&[("run/systemd/resolve/resolv.conf", "")], System::SystemdResolved),
        (&[("etc/NetworkManager/conf.d/a.conf", "[main]\ndns = dnsmasq\n")], System::NetworkManager),
        (&[("etc/unbound/unbound.conf", ""), ("etc/dnsmasq.conf", "")], System::Unbound),
        (&[("etc/dnsmasq.conf", "")], System::Dnsmasq),
    ];
    for (files, expected) in cases {
        let (_folder, root) = machine(files);
        assert_eq!(System::find(&root).unwrap(), expected, "{files:?}");
    }
}

#[test]
fn every_setup_is_undone_to_what_was_before() {
    let files = [
        ("etc/NetworkManager/NetworkManager.conf", "[main]\ndns=dnsmasq\n"),
        ("etc/resolv.conf", "search lan\nnameserver 10.0.0.1\n"),
    ];
    for system in <System as clap::ValueEnum>::value_variants() {
        let (folder, root) = machine(&files);
        let plan = system.plan(&root, &target("127.0.0.1:53")).unwrap();
        assert!(!plan.changes.is_empty());
        apply(&root, &plan);
        let again = system.plan(&root, &target("127.0.0.1:53")).unwrap();
        assert!(again.changes.is_empty() && again.commands.is_empty(), "{again:?}");
        let undo = plan_undo(&root).unwrap();
        assert_eq!(undo.system, Some(*system));
        apply(&root, &undo);
        assert_eq!(read(&folder, "etc/resolv.conf"), files[1].1);
        assert_eq!(plan_undo(&root).unwrap(), Plan::default());
        let left = walk(folder.path());
        assert_eq!(left.len(), files.len(), "{left:?}");
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn each_resolver_is_told_the_address_the_port_and_all_zones() {
    let (_folder, root) = machine(&[("etc/NetworkManager/NetworkManager.conf", "dns=dnsmasq")]);
    let text = |system: System| -> String {
        let plan = system.plan(&root, &target("127.0.0.1:7453")).unwrap();
        plan.changes.iter().filter_map(|change| change.after.clone()).collect()
    };
    assert!(text(System::SystemdResolved).contains("DNS=127.0.0.1:7453\nDomains=~fabric.internal ~consul\n"));
    assert!(text(System::Dnsmasq).contains("server=/fabric.internal/127.0.0.1#7453\nserver=/consul/127.0.0.1#7453\n"));
    assert_eq!(text(System::NetworkManager), text(System::Dnsmasq));
    let unbound = text(System::Unbound);
    for zone in ["fabric.internal", "consul"] {
        assert!(unbound.contains(&format!("stub-zone:\n    name: \"{zone}\"\n    stub-addr: 127.0.0.1@7453\n")));
        assert!(unbound.contains(&format!("domain-insecure: \"{zone}\"\n")));
    }
}

#[test]
fn what_cannot_work_is_refused_and_changes_nothing() {
    let (folder, root) = machine(&[("etc/dnsmasq.d/taffeta.conf", "server=1.1.1.1\n")]);
    let refused = |system: System, dns: &str| system.plan(&root, &target(dns)).unwrap_err();
    let said = |failure: crate::failure::Failure| format!("{failure:?}");
    assert!(said(refused(System::ResolvConf, "127.0.0.1:7453")).contains("names no ports"));
    assert!(said(refused(System::Dnsmasq, "127.0.0.1:7453")).contains("not ours"));
    assert!(said(refused(System::NetworkManager, "127.0.0.1:7453")).contains("does not run dnsmasq"));
    std::os::unix::fs::symlink("elsewhere", folder.path().join("etc/resolv.conf")).unwrap();
    assert!(said(refused(System::ResolvConf, "127.0.0.1:53")).contains("is a link"));
    assert!(plan_undo(&root).unwrap().changes.is_empty());
    for zone in ["", "a b", "x\"y", "a..b"] {
        assert!(Target::new("127.0.0.1:53".parse().unwrap(), vec![zone.into()]).is_err(), "{zone}");
    }
}

#[test]
fn resolv_conf_keeps_its_servers_behind_the_node() {
    let (folder, root) = machine(&[("etc/resolv.conf", "nameserver 10.0.0.1\n")]);
    let plan = |dns: &str| System::ResolvConf.plan(&root, &target(dns)).unwrap();
    apply(&root, &plan("0.0.0.0:53"));
    let text = read(&folder, "etc/resolv.conf");
    let servers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
    assert_eq!(servers, ["127.0.0.1", "10.0.0.1"]);
    apply(&root, &plan("127.0.0.2:53"));
    assert!(!read(&folder, "etc/resolv.conf").contains("127.0.0.1"), "a later setup replaces an earlier one");
}
