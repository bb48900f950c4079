//! Who is who: machines that move, folders that were copied, addresses and names that were taken before.

mod support;

use std::{
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{alone, binary};
use taffeta_harness::{Cluster, within};

/// A node that is not one of the cluster's machines, or no longer at the place of one; killed when dropped.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Other {
    /// Runs `taffeta up`; what it says goes to a file beside the folder.
    fn up(data: &Path, at: SocketAddr, flags: &[&str]) -> Self {
        let log = File::create(data.with_extension("other.log")).expect("a log file");
        let mut command = Command::new(binary());
        command.args(["up", "--best-effort", "--api-open", "--data"]).arg(data).args(flags);
        let beside = |port: u16| SocketAddr::new(at.ip(), port).to_string();
        command.args(["--address", &at.to_string(), "--http", &beside(at.port() + 1), "--dns", &beside(at.port() + 2)]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Self(command.env_remove("TAFFETA_API").spawn().expect("the binary starts"))
    }

    fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

fn said(data: &Path) -> String {
    fs::read_to_string(data.with_extension("other.log")).unwrap_or_default()
}

/// An address of the cluster's that none of its machines has.
fn free_address(cluster: &Cluster, host: u8) -> SocketAddr {
    let first = cluster.machines[0].fabric();
    let IpAddr::V4(ip) = first.ip() else { panic!("an IPv4 address") };
    let [a, b, c, _] = ip.octets();
    SocketAddr::from(([a, b, c, host], first.port()))
}

/// What a machine says of another: its state, address and id.
fn seen(cluster: &Cluster, by: usize, name: &str) -> Result<(String, String, String), String> {
    let nodes = cluster.machines[by].try_json(&["nodes"])?;
    let node = nodes.as_array().and_then(|all| all.iter().find(|n| n["name"] == name));
    let node = node.ok_or_else(|| format!("no {name} in {nodes}"))?;
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("address"), text("id")))
}

#[test]
fn a_machine_that_moved_is_known_at_its_new_address() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(4);
    cluster.wait_ready();
    let (_, before, id) = seen(&cluster, 0, "n4").expect("n4 is a member");
    cluster.machines[3].terminate();
    let (data, at) = (cluster.machines[3].data.clone(), free_address(&cluster, 77));
    let _moved = Other::up(&data, at, &[]);
    for by in 0..3 {
        within(Duration::from_secs(30), "the others know where n4 is", || match seen(&cluster, by, "n4")? {
            (state, address, same) if state == "alive" && address == at.to_string() && same == id => Ok(()),
            other => Err(format!("{other:?}; before it was at {before}")),
        });
    }
    // Also whoever was not there meanwhile: the change is in the replicated state.
    cluster.machines[1].kill();
    cluster.machines[1].up_again();
    within(Duration::from_secs(30), "a restarted machine finds n4", || match seen(&cluster, 1, "n4")? {
        (state, address, _) if state == "alive" && address == at.to_string() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_new_machine_at_the_address_of_a_member_is_refused() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    let token = cluster.machines[0].run(&["token", "create"]).success().stdout.trim().to_owned();
    let at = cluster.machines[2].fabric();
    cluster.machines[2].kill();
    let data = cluster.root().join("x");
    fs::create_dir_all(&data).expect("a folder");
    let first = cluster.machines[0].fabric().to_string();
    let mut other = Other::up(&data, at, &["--name", "x", "--join", &first, "--token", &token]);
    within(Duration::from_secs(20), "it is refused", || {
        if other.is_running() { Err("it runs") } else { Ok(()) }.map_err(String::from)
    });
    let said = said(&data);
    assert!(said.contains("n3") && said.contains(&at.to_string()), "it names who has the address: {said}");
    cluster.machines[2].up_again();
    cluster.wait_ready(); // whose address it is has come back as if nothing had been
}

#[test]
fn a_copied_data_folder_is_refused_while_the_original_runs() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(4);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let nodes = cluster.machines[0].try_json(&["nodes"]).expect("nodes");
    for role in ["voter", "learner", "member"] {
        let found = nodes.as_array().and_then(|all| all.iter().find(|n| n["role"] == role));
        let Some(name) = found.and_then(|node| node["name"].as_str()) else { continue };
        let (i, copy) = (cluster.index(name), cluster.root().join(format!("copy-of-{role}")));
        cluster.machines[i].terminate();
        let copied = Command::new("cp").arg("-a").arg(&cluster.machines[i].data).arg(&copy).status();
        assert!(copied.expect("cp runs").success());
        cluster.machines[i].up_again();
        cluster.wait_ready();
        // As it is, and when it is said that it was moved although the original runs.
        for (flags, why) in [(&[][..], "copied or moved"), (&["--moved"][..], "in use twice")] {
            let mut other = Other::up(&copy, free_address(&cluster, 88), flags);
            within(Duration::from_secs(20), "the copy is refused", || {
                if other.is_running() { Err("it runs".to_owned()) } else { Ok(()) }
            });
            assert!(said(&copy).contains(why), "it says why: {}", said(&copy));
        }
        assert!(cluster.machines[i].is_running(), "the original goes on");
        within(Duration::from_secs(30), "the others see the original", || match seen(&cluster, (i + 1) % 4, name)? {
            (state, address, _) if state == "alive" && address == cluster.machines[i].fabric().to_string() => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

/// Harms the log of a machine that is off: a bit in the first frame of its first segment.
fn damage(data: &Path) -> String {
    let entries = fs::read_dir(data.join("raft")).expect("the log").flatten().map(|entry| entry.path());
    let segment = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).min().expect("a segment");
    let mut bytes = fs::read(&segment).expect("a file");
    bytes[40] ^= 1; // behind 32 bytes of header
    fs::write(&segment, bytes).expect("a file");
    segment.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn a_machine_whose_folder_is_damaged_or_lost_comes_back_under_its_name_as_another_member() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let first = cluster.machines[0].fabric().to_string();
    let mut ids = vec![seen(&cluster, 0, "n3").expect("n3 is a member").2];
    for is_lost in [false, true] {
        let token = cluster.machines[0].run(&["token", "create"]).success().stdout.trim().to_owned();
        cluster.machines[2].kill();
        let data = cluster.machines[2].data.clone();
        // What it said this time.
        let ends = |cluster: &mut Cluster, what: &str| {
            within(Duration::from_secs(30), what, || {
                if cluster.machines[2].is_running() { Err("it runs".to_owned()) } else { Ok(()) }
            });
            let log = cluster.machines[2].log();
            let said = fs::read_to_string(&log).expect("a log");
            fs::remove_file(&log).expect("it was there");
            said
        };
        fs::remove_file(cluster.machines[2].log()).expect("it was there");
        if is_lost {
            fs::remove_dir_all(&data).expect("the folder goes");
        } else {
            let file = damage(&data);
            cluster.machines[2].up_again();
            let said = ends(&mut cluster, "it does not start on a damaged log");
            for words in [&*file, "move the data folder away", "`taffeta remove`", "join again with a new token"] {
                assert!(said.contains(words), "expected `{words}`: {said}");
            }
            fs::rename(&data, cluster.root().join("damaged")).expect("the folder is moved away");
        }
        // Its former self has the name and the address until it is removed, and the refusal says so.
        cluster.machines[2].up(&["--join", &first, "--token", &token]);
        let said = ends(&mut cluster, "it is refused while its former self is a member");
        assert!(said.contains("is taken by the member") && said.contains("`taffeta remove`"), "{said}");
        let (told, _) = within(Duration::from_secs(30), "what is known to be off is removed", || {
            let output = cluster.machines[0].run(&["remove", "n3"]);
            if output.code == 0 { Ok(output.stderr) } else { Err(output.stderr) }
        });
        assert!(told.contains("held the CA's key") && told.contains("`taffeta ca rotate`"), "it voted: {told}");
        cluster.machines[2].up(&["--join", &first, "--token", &token]);
        cluster.wait_ready();
        let known = || seen(&cluster, 2, "n3");
        let ((_, address, id), _) = within(Duration::from_secs(30), "it knows that it is a member", known);
        assert_eq!(address, cluster.machines[2].fabric().to_string());
        assert!(!ids.contains(&id), "no id comes twice: {id} is one of {ids:?}");
        for by in 0..2 {
            within(Duration::from_secs(30), "the others know the new one", || match seen(&cluster, by, "n3")? {
                (state, _, known) if state == "alive" && known == id => Ok(()),
                other => Err(format!("{other:?} instead of {id}")),
            });
        }
        ids.push(id);
        cluster.wait_voters(3); // it follows the log from its beginning, and votes under its new id
    }
}
