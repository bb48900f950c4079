//! Five machines in networks of their own, with a bad network between them, and on disks whose power is cut; and five with
//! kernels of their own (docs/test-bed.md). Each seed is printed, and can be set: TAFFETA_SEED.

mod fleet;
mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use support::{Dice, alone, binary};
use taffeta_harness::{Bed, Recorder, Way, ask, get, groups_of, keep, sweep_orphans, within};

const MACHINES: usize = 5;
/// The test that is none.
const KEEPER: &str = "keeper";
/// Clients that write all the time.
const CLIENTS: u32 = 6;
/// A generous deadline for what is set up, and for what is not measured.
const SOON: Duration = Duration::from_secs(60);
/// How long names may be wrong after machines have gone or come back, also on a busy machine. What it took is printed.
const NAMES_MAX: Duration = Duration::from_secs(10);
/// How long it may take until writes are acknowledged again.
const WRITES_MAX: Duration = Duration::from_secs(10);

/// One instance on each machine.
const APP: &str = "app = \"shop\"\n[service.web]\nrun = [\"sleep\", \"600\"]\ncount = 5\ncpus = 0.01\n\
                   memory = \"8MiB\"\nconstraints = [\"hostname UNIQUE\"]\n";
const NAME: &str = "web.shop.fabric.internal";

/// A bed whose machines have not been started; said aloud if there can be none here.
fn empty(machines: usize, seed: u64) -> Option<Bed> {
    match Bed::new(binary(), machines, seed) {
        Ok(mut bed) => {
            bed.kept_by(KEEPER);
            Some(bed)
        }
        Err(why) => {
            eprintln!("SKIPPED: no networks, disks and groups can be made for machines here: {why}");
            None
        }
    }
}

#[test]
#[ignore = "no test: beds and fleets run it beside themselves, to sweep when their process is killed"]
fn keeper() {
    keep();
}

/// A bed whose five machines vote, with an instance on each; said aloud if there can be none here.
fn bed(dice: &mut Dice) -> Option<(Bed, Recorder)> {
    let seed = dice.below(u64::MAX);
    let mut bed = empty(MACHINES, seed)?;
    let start = Instant::now();
    bed.start();
    bed.cluster.wait_voters(MACHINES);
    let all: Vec<usize> = (0..MACHINES).collect();
    let shown = bed.cluster.until_shown(start, SOON, &all, &all, "alive").expect("the ring forms across the switch");
    let file = bed.cluster.root().join("shop.toml");
    fs::write(&file, APP).expect("a file");
    bed.cluster.machines[0].run(&["deploy", &file.to_string_lossy()]).success();
    within(SOON, "all names are right", || names(&bed, &all, &all));
    println!("seed of the network {seed}; all knew all after {:.1?}", shown.took);
    let recorder = Recorder::new(&bed.cluster);
    Some((bed, recorder))
}

/// Whether each of the asked machines gives exactly the instances on these machines.
fn names(bed: &Bed, asked: &[usize], expected: &[usize]) -> Result<(), String> {
    let expected: Vec<IpAddr> = expected.iter().map(|index| bed.cluster.machines[*index].address).collect();
    for machine in asked.iter().map(|index| &bed.cluster.machines[*index]) {
        let found = ask(machine.dns(), NAME, "A")?;
        if found.addresses != expected {
            return Err(format!("{} gives {:?}", machine.name, found.addresses));
        }
    }
    Ok(())
}

/// After a disaster: writes are possible, all is there that has to be, and all names are right.
fn whole(bed: &Bed, recorder: &Recorder, after: &str) {
    recorder.settle();
    recorder.read();
    recorder.check(after);
    let all: Vec<usize> = (0..MACHINES).collect();
    let (_, took) = within(NAMES_MAX, "all names are right", || names(bed, &all, &all));
    println!("{after}: names right after another {took:.1?}; {}; {:?}", recorder.summary(), bed.tally());
}

fn leader(bed: &Bed, recorder: &Recorder) -> usize {
    bed.cluster.index(&within(SOON, "one leads", || recorder.leader_name()).0)
}

/// Waits until a write is acknowledged that was sent after a moment; the time from there on.
fn written_after(recorder: &Recorder, moment: Instant) -> Duration {
    let what = "a write is acknowledged";
    within(WRITES_MAX, what, || recorder.acknowledged_after(moment).ok_or_else(|| recorder.summary())).0
}

#[test]
fn through_a_bad_network_nothing_is_lost_and_names_stay_right() {
    let _alone = alone();
    let mut dice = Dice::thrown("bad network");
    let Some((bed, recorder)) = bed(&mut dice) else { return };
    bed.change_all(|way| {
        *way = Way {
            loss: 0.2,
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(20),
            duplicate: 0.1,
            reorder: 0.05,
            ..Way::default()
        }
    });
    let all: Vec<usize> = (0..MACHINES).collect();
    let (mut looks, mut wrong, mut since, mut longest) = (0, 0, None, Duration::ZERO);
    recorder.under_load(CLIENTS, || {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(8) {
            looks += 1;
            match names(&bed, &all, &all) {
                Ok(()) => since = None,
                Err(why) => {
                    wrong += 1;
                    let since = *since.get_or_insert_with(Instant::now);
                    longest = longest.max(since.elapsed());
                    assert!(longest <= NAMES_MAX, "names are wrong all the time: {why}");
                }
            }
            sleep(Duration::from_millis(100));
        }
    });
    println!("of {looks} looks at all names {wrong} were wrong, for {longest:.1?} at a stretch");
    assert!(wrong * 2 <= looks, "names were wrong in {wrong} of {looks} looks");
    let written = recorder.history().acknowledged();
    assert!(written > 10, "there was no load: {}", recorder.summary());
    bed.heal();
    whole(&bed, &recorder, "a bad network");
    let tally = bed.tally();
    assert!(tally.lost > 100 && tally.doubled > 50, "the network was good: {tally:?}");
}

/// Who is on the losing side of a partition, and what it does to them.
type Cut = fn(&Bed, &[usize]);

#[test]
fn partitions_lose_nothing_and_heal() {
    let _alone = alone();
    let mut dice = Dice::thrown("partitions");
    let Some((bed, recorder)) = bed(&mut dice) else { return };
    let cuts: [(&str, Cut, usize); 3] = [
        ("the leader is deaf", |bed, side| bed.deafen(side), 1),
        ("the leader is not heard", |bed, side| bed.silence(side), 1),
        ("the leader and another one are cut off", |bed, side| bed.split(side), 2),
    ];
    for (what, cut, machines) in cuts {
        let mut side = vec![leader(&bed, &recorder)];
        while side.len() < machines {
            let other = usize::try_from(dice.below(MACHINES as u64)).expect("small");
            side.extend((!side.contains(&other)).then_some(other));
        }
        let majority = bed.others(&side);
        recorder.under_load(CLIENTS, || {
            sleep(dice.millis_below(500));
            cut(&bed, &side);
            let moment = Instant::now();
            let (_, named) = within(NAMES_MAX, "the majority's names are right", || names(&bed, &majority, &majority));
            let written = written_after(&recorder, moment);
            println!(
                "{what} ({side:?} of 0 to 4): names right after {named:.1?}, a write acknowledged after {written:.1?}"
            );
            for machine in &side {
                let server = bed.cluster.machines[*machine].dns();
                let (answer, _) = within(SOON, "who is on the losing side answers", || ask(server, NAME, "A"));
                assert!(!answer.addresses.is_empty(), "{what}: it gives no name: {answer:?}");
            }
            sleep(dice.millis_below(1_000));
            bed.heal();
        });
        whole(&bed, &recorder, what);
    }
    assert!(bed.tally().cut > 100, "nothing was cut: {:?}", bed.tally());
}

/// Waits until a machine that was switched on answers.
fn back(bed: &mut Bed, index: usize) {
    let machine = &mut bed.cluster.machines[index];
    within(SOON, &format!("{} is back", machine.name), || {
        assert!(machine.is_running(), "{} has ended, see {}", machine.name, machine.log().display());
        get(machine.http(), "/health").and_then(|(status, body)| if status == 200 { Ok(()) } else { Err(body) })
    });
}

#[test]
fn machines_without_power_and_one_that_stands_still_lose_nothing() {
    let _alone = alone();
    let mut dice = Dice::thrown("power of two");
    let Some((mut bed, recorder)) = bed(&mut dice) else { return };
    for round in 1..=3 {
        let leader = leader(&bed, &recorder);
        let other = bed.others(&[leader])[usize::try_from(dice.below(4)).expect("small")];
        let victims: &[usize] = match round {
            1 => &[leader],
            2 => &[other],
            _ => &[other, leader],
        };
        let rest = bed.others(victims);
        recorder.under_load(CLIENTS, || {
            sleep(dice.millis_below(500));
            bed.cut_power(victims);
            let moment = Instant::now();
            let (_, named) = within(NAMES_MAX, "the others' names are right", || names(&bed, &rest, &rest));
            let written = written_after(&recorder, moment);
            println!("{victims:?} without power: names right after {named:.1?}, a write after {written:.1?}");
            bed.power_on(victims);
            victims.iter().for_each(|victim| back(&mut bed, *victim));
        });
        whole(&bed, &recorder, &format!("{victims:?} had no power"));
    }
    let leader = leader(&bed, &recorder);
    recorder.under_load(CLIENTS, || {
        bed.freeze(leader, true);
        let moment = Instant::now();
        let written = written_after(&recorder, moment);
        println!("the leader stands still: a write after {written:.1?}");
        sleep(Duration::from_secs(1)); // others lead meanwhile, and it does not know
        bed.freeze(leader, false);
        sleep(Duration::from_secs(1)); // and is asked
    });
    whole(&bed, &recorder, "the leader stood still");
}

/// Set for the test that is killed.
const TO_BE_KILLED: &str = "TAFFETA_TEST_TO_BE_KILLED";

/// What a bed was that was killed with its test process.
struct Killed {
    root: PathBuf,
    nodes: Vec<String>,
    networks: Vec<String>,
}

impl Killed {
    /// Kills a bed, and its keeper first if it is to die, too.
    fn new(with_keeper: bool) -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "a_bed_that_is_killed", "--ignored", "--nocapture"]).env(TO_BE_KILLED, "yes");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it runs");
        let said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let said = said.filter_map(|line| line.strip_prefix("left: ").map(str::to_owned)).next();
        let Some(said) = said else {
            assert!(child.wait().expect("it is ours").success(), "it has failed, see above");
            return None;
        };
        let [keeper, root, nodes, networks] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
        if with_keeper {
            let keeper = Pid::from_raw(keeper.parse().expect("a process id")).expect("a process");
            kill_process(keeper, Signal::KILL).expect("it lives");
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let list = |words: &str| words.split(',').map(str::to_owned).collect();
        Some(Self { root: root.into(), nodes: list(nodes), networks: list(networks) })
    }

    /// What is there of it.
    fn left(&self) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let folder = self.root.exists().then(|| path(self.root.clone()));
        let groups = self.nodes.iter().flat_map(|node| groups_of(node)).chain(self.groups());
        let groups = groups.filter(|group| group.exists()).map(path);
        let networks = self.networks.iter().flat_map(|network| holders(network));
        folder.into_iter().chain(groups).chain(networks).chain(mounts(&self.root)).chain(loops(&self.root)).collect()
    }

    /// Where its own groups were.
    fn groups(&self) -> [PathBuf; 2] {
        let name = self.root.file_name().expect("a name");
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|root| Path::new(root).join(name))
    }

    fn is_gone(&self) -> Result<(), String> {
        let left = self.left();
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    }
}

#[test]
fn a_bed_whose_test_is_killed_leaves_nothing() {
    let _alone = alone();
    let Some(killed) = Killed::new(false) else { return eprintln!("SKIPPED: see above") };
    within(SOON, "its keeper has swept it", || killed.is_gone());
}

#[test]
fn a_bed_that_is_killed_with_its_keeper_is_swept_by_the_next() {
    let _alone = alone();
    let Some(killed) = Killed::new(true) else { return eprintln!("SKIPPED: see above") };
    assert!(killed.root.exists() && !mounts(&killed.root).is_empty() && !loops(&killed.root).is_empty());
    sweep_orphans();
    within(SOON, "it is swept", || killed.is_gone());
}

/// What is mounted below a folder.
fn mounts(root: &Path) -> Vec<String> {
    let inside = format!("{}/", root.display());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    mounts.lines().filter(|line| line.contains(&inside)).map(str::to_owned).collect()
}

/// Loop devices of files below a folder.
fn loops(root: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").expect("devices").flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(root)).collect()
}

/// Who is in a network namespace or holds it open.
fn holders(network: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
    let open = |process: &Path| fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|fd| fd.path());
    let links = processes.flat_map(|process| open(&process).chain([process.join("ns/net")]).collect::<Vec<_>>());
    let held = links.filter(|link| fs::read_link(link).is_ok_and(|to| to.to_string_lossy() == network));
    held.map(|link| link.display().to_string()).collect()
}

#[test]
#[ignore = "no test: run and killed by those of what it leaves"]
fn a_bed_that_is_killed() {
    if std::env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    let Some(mut bed) = empty(2, 1) else { return };
    bed.start();
    let file = bed.cluster.root().join("shop.toml");
    fs::write(&file, APP.replace("count = 5", "count = 2")).expect("a file");
    bed.cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    let nodes: Vec<String> = bed.cluster.machines.iter().filter_map(|machine| machine.node_id()).collect();
    let (root, keeper) = (bed.cluster.root().display(), bed.keeper().expect("it is kept"));
    println!("left: {keeper} {root} {} {}", nodes.join(","), bed.networks().join(","));
    loop {
        std::thread::park();
    }
}
