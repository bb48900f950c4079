//! Rounds of an agent with many tasks, in which everybody is killed once.

use crate::{
    left::{Process, ours},
    support::{Bench, dice::Dice},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};
use taffeta_isolation_plan::TaskSpec;
use taffeta_model::{Isolation, Profile};

/// Tasks that are started at once.
const CROWD: usize = 12;

/// Longest time from the moment at which an agent has taken up what was left until it is killed: what it takes to start them
/// all. Some are killed before.
const AGENT_LIVES_MS: u64 = 200;

/// Longest time from the moment at which something of a run is seen until something of it is killed: a start takes less, and
/// so does the end of a short task.
const RUN_LIVES_MS: u64 = 40;

/// However busy the machine is: what was to be killed by then is given up.
const ROUND_MAX: Duration = Duration::from_secs(20);

/// Pause between two looks at all processes.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Until an agent without anything to do says so.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    /// What the agent starts a shim with, or the process that tries the machine out.
    Starter,
    Shim,
    Init,
    Task,
}

impl Victim {
    const ALL: [Self; 4] = [Self::Starter, Self::Shim, Self::Init, Self::Task];

    fn is(self, process: &Process) -> bool {
        match self {
            Self::Shim => process.supervises && process.name == "taffeta-shim",
            Self::Init => process.supervises && process.name == "taffeta-init",
            Self::Starter => process.supervises && process.name != "taffeta-shim" && process.name != "taffeta-init",
            Self::Task => !process.supervises && process.run.is_some(),
        }
    }
}

/// All rounds, and what was heard and seen in them.
pub(crate) struct Rounds<'a> {
    pub(crate) bench: &'a Bench,
    dice: Dice,
    /// Among the arguments of processes that hide all else.
    pub(crate) mark: String,
    /// Whether such processes can be found where they have left everything.
    pub(crate) hides: bool,
    /// Whether some tasks are nobody on the machine.
    pub(crate) strict: bool,
    /// Every line that an agent has said, by run: the word and the rest.
    pub(crate) said: BTreeMap<String, BTreeSet<(String, String)>>,
    pub(crate) killed: BTreeMap<Option<Victim>, u64>,
    begun: u64,
    specs: BTreeMap<String, TaskSpec>,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(bench: &'a Bench, dice: Dice) -> Self {
        let mark = format!("3000.{}", std::process::id());
        fs::create_dir_all(bench.root.parent().unwrap().join("seen")).unwrap();
        let (said, killed, specs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { bench, dice, mark, hides: true, strict: true, said, killed, begun: 0, specs }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.bench.root.parent().unwrap().to_path_buf()
    }

    /// Where each task notes that it has begun.
    pub(crate) fn seen(&self, run_id: &str) -> PathBuf {
        self.data().join("seen").join(run_id)
    }

    /// Runs of which it is not known how they ended.
    fn unsettled(&self) -> Vec<TaskSpec> {
        let settled = |run: &String| {
            self.said.get(run).is_some_and(|said| said.iter().any(|(word, _)| word == "ended" || word == "failed"))
        };
        self.specs.iter().filter(|(run, _)| !settled(run)).map(|(_, spec)| spec.clone()).take(CROWD / 2).collect()
    }

    /// An agent is started, with new tasks and those of which nothing is known; everybody is killed at some instant; what the
    /// agent has said is heard.
    pub(crate) fn round(&mut self) {
        let mut specs = self.unsettled();
        while specs.len() < CROWD {
            specs.push(self.invent());
        }
        let mut strikes: BTreeMap<String, Strike> =
            specs.iter().map(|spec| (spec.run_id.clone(), self.strike())).collect();
        let (mut agent, lines) = self.agent(&specs);
        let begin = Instant::now();
        // One in four does not live to see what it has been left, nor what the machine permits.
        let early = self.dice.below(4) == 0;
        let mut dies_at = early.then(|| begin + self.dice.millis_below(60));
        let lives = self.dice.millis_below(AGENT_LIVES_MS);
        let (mut foreign, mut dead) = (BTreeSet::new(), false);
        while !(dead && strikes.is_empty()) && begin.elapsed() < ROUND_MAX {
            let all = ours(&self.data(), &self.mark, &mut foreign);
            let now = Instant::now();
            while let Ok(line) = lines.try_recv() {
                if line == "recovered" {
                    dies_at.get_or_insert(now + lives);
                }
                self.hear(&line);
            }
            if !dead && dies_at.is_some_and(|at| at <= now) {
                agent.kill().unwrap();
                agent.wait().unwrap();
                dead = true;
                *self.killed.entry(None).or_default() += 1;
            }
            if early && self.dice.below(8) == 0 {
                let tries = |process: &&Process| process.supervises && process.run.is_none();
                all.iter().filter(tries).for_each(|process| process.kill(&self.data(), &self.mark));
            }
            strikes.retain(|run, strike| !self.perform(run, strike, &all, now, dead));
            thread::sleep(LOOK_EVERY);
        }
        let _ = agent.kill();
        agent.wait().unwrap();
        lines.iter().for_each(|line| self.hear(&line));
    }

    /// An agent that starts nothing, takes up what is left, and ends it.
    pub(crate) fn end(&mut self) {
        let (mut agent, lines) = self.agent(&[]);
        let until = Instant::now() + IDLE_MAX;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line == "idle" => break,
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Timeout) => panic!("the last agent does not get to an end: {:?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("the last agent ended by itself"),
            }
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    fn strike(&mut self) -> Strike {
        let victim = Victim::ALL[usize::try_from(self.dice.below(4)).unwrap()];
        Strike { victim, after: self.dice.millis_below(RUN_LIVES_MS), seen: None }
    }

    /// Kills whom it is to kill, if it is time; whether that is done with, also as there is nobody and nobody can come.
    fn perform(&mut self, run: &str, strike: &mut Strike, all: &[Process], now: Instant, dead: bool) -> bool {
        let of_run: Vec<&Process> = all.iter().filter(|process| process.run.as_deref() == Some(run)).collect();
        if strike.seen.is_none() && !of_run.is_empty() {
            strike.seen = Some(now);
        }
        let Some(seen) = strike.seen else { return dead };
        let since = now.duration_since(seen);
        if since < strike.after {
            return false;
        }
        // One that is not there at its time, as a starter that has done its work, is replaced by any other.
        let late = since > strike.after + Duration::from_millis(10);
        let target = of_run.iter().find(|p| strike.victim.is(p)).or_else(|| of_run.first().filter(|_| late));
        if let Some(target) = target {
            target.kill(&self.data(), &self.mark);
            let who = Victim::ALL.into_iter().find(|victim| victim.is(target)).unwrap_or(strike.victim);
            *self.killed.entry(Some(who)).or_default() += 1;
        }
        target.is_some() || of_run.is_empty()
    }

    fn agent(&self, specs: &[TaskSpec]) -> (Child, Receiver<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taffeta-shim-test"));
        command.arg("crowd").arg(&self.bench.root).arg(&self.bench.node_id);
        command.args(self.begun.is_multiple_of(2).then_some("/dev/shm"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&serde_json::to_vec(specs).unwrap()).unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            // Half a line is one of an agent that was killed over it.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        (child, lines)
    }

    fn hear(&mut self, line: &str) {
        let parts = line.split_once(' ').and_then(|(word, rest)| Some((word, rest.split_once(':')?)));
        if let Some((word, (run, words))) = parts {
            self.said.entry(run.to_owned()).or_default().insert((word.to_owned(), words.trim().to_owned()));
        }
    }

    /// A new task of some kind, under some profile.
    fn invent(&mut self) -> TaskSpec {
        self.begun += 1;
        let run_id = format!("r{}", self.begun);
        let profile = match self.dice.below(6) {
            0 | 1 => Profile::None,
            2 if self.strict => Profile::Strict,
            _ => Profile::Standard,
        };
        let hidden = self.hides || profile != Profile::None;
        let script = match self.dice.below(6) {
            0 => "exit 3".to_owned(),
            1 => "exec sleep 1000".to_owned(),
            2 if hidden => format!("(env -i setsid sleep {} &); exec sleep 1000", self.mark),
            3 => "trap '' TERM; while :; do sleep 0.05; done".to_owned(),
            4 => "mkdir -p a/b/c; : > a/b/file; chmod 0 a/b a; exec sleep 1000".to_owned(),
            _ => "for i in 1 2 3; do setsid sleep 1000 & done; exit 0".to_owned(),
        };
        let secret = self.dice.below(3) == 0;
        // Read by the shell itself: a process for it could be the one that is killed.
        let look = "read -r v < $TAFFETA_SECRETS/db; [ \"$v\" = value ] || echo without its secret >> seen/$RUN; ";
        let look = if secret { look } else { "" };
        let mut spec = self.bench.spec(&run_id, &["sh", "-c", &format!("echo begun >> seen/$RUN; {look}{script}")]);
        spec.env.insert("RUN".into(), run_id.clone());
        spec.links = [("seen".to_owned(), self.data().join("seen"))].into();
        spec.isolation = Isolation { profile: Some(profile), without: BTreeSet::new() };
        if secret {
            spec.env.insert("SECRET_TO_BE".into(), "value".into());
            spec.env.insert("TAFFETA_SECRETS".into(), spec.folder.join("secrets").display().to_string());
        }
        self.specs.insert(run_id, spec.clone());
        spec
    }
}

/// Somebody of a run that is to be killed.
struct Strike {
    victim: Victim,
    after: Duration,
    /// When something of the run was seen first.
    seen: Option<Instant>,
}

/// The lines of a file; none if it is not there.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
