//! The experiments that come with the program.

/// An experiment that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// As it is called on the command line.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    /// Whether it takes the quorum away.
    pub breaks_quorum: bool,
}

macro_rules! ready {
    ($name:literal, $breaks_quorum:literal) => {
        Ready {
            name: $name,
            text: include_str!(concat!("../../experiments/", $name, ".yaml")),
            breaks_quorum: $breaks_quorum,
        }
    };
}

/// All of them, the mildest first.
pub const READY: [Ready; 10] = [
    ready!("kill-worker", false),
    ready!("kill-leader", false),
    ready!("kill-both", false),
    ready!("clock-jump", false),
    ready!("dns-loss", false),
    ready!("disk-full", false),
    ready!("rolling-restart", false),
    ready!("flapping", false),
    ready!("partition-majority", false),
    ready!("power-cut", true),
];

/// The one of that name.
pub fn find_ready(name: &str) -> Option<Ready> {
    READY.into_iter().find(|ready| ready.name == name)
}

#[cfg(test)]
mod tests {
    use super::READY;
    use crate::format::{Experiment, Given};

    #[test]
    fn every_ready_made_experiment_reads_says_what_it_expects_and_has_a_hypothesis() {
        for ready in READY {
            let experiment = Experiment::read(ready.text, ready.name, &Given::default());
            let experiment = experiment.unwrap_or_else(|wrong| panic!("{}: {wrong}", ready.name));
            assert!(!experiment.rules.expects.is_empty(), "{}", ready.name);
            assert_eq!(experiment.hypothesis.as_ref().map(|h| h.probes.len()), Some(3), "{}", ready.name);
            assert!(experiment.strikes().next().is_some() && experiment.ignored.is_empty(), "{}", ready.name);
        }
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments")).unwrap();
        assert_eq!(folder.count(), READY.len(), "each file is part of the program");
    }
}
