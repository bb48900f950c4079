//! Flags of the verbs that look inside of a task.

use super::ApiFlags;
use crate::units;
use clap::Args;
use std::{str::FromStr, time::Duration};
use taffeta_model::{TaskId, UnixMillis};

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on with what the task writes, in its next run and on its next machine, until it has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What it wrote to stderr instead of stdout
    #[arg(long, conflicts_with = "both")]
    pub(crate) stderr: bool,
    /// Both, each to the same stream here
    #[arg(long)]
    pub(crate) both: bool,
    /// Begin with what was written since: 10m ago, or at 2026-11-25T01:30:00Z
    #[arg(long, value_name = "DURATION|TIME", conflicts_with = "tail")]
    pub(crate) since: Option<Since>,
    /// Put in front of each line when it was written
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// How much of the end to begin with: so many lines, or with a unit so many bytes
    #[arg(long, value_name = "LINES|BYTES", default_value = "64KiB")]
    pub(crate) tail: Tail,
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

/// How much of the end of an output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Lines(u32),
    Bytes(u64),
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(lines) = text.parse() {
            return Ok(Self::Lines(lines));
        }
        let wrong = |_| "write a number of lines, as 100, or of bytes with kB, MB, KiB or MiB, as 64KiB".into();
        units::size(text).map(Self::Bytes).map_err(wrong)
    }
}

/// Since when an output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Duration),
    At(UnixMillis),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = units::duration(text) {
            return Ok(Self::Ago(ago));
        }
        let at = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
        let wrong = || "write how long ago, as 10m, or when, as 2026-11-25T01:30:00Z".to_owned();
        at.map(|at| Self::At(UnixMillis(at))).ok_or_else(wrong)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Give the command a terminal
    #[arg(short = 't', long = "tty")]
    pub(crate) terminal: bool,
    /// Pass on what is typed or piped here
    #[arg(short = 'i', long = "interactive")]
    pub(crate) input: bool,
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// Of a folder how to list it, json or table; of a file the name of the file to write [default: stdout]
    #[arg(short = 'o', long = "output", value_name = "FORMAT|FILE")]
    pub(crate) output: Option<String>,
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    /// A folder or file below the task's folder
    #[arg(value_name = "PATH", default_value = "")]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[cfg(test)]
mod tests {
    use super::{Since, Tail};
    use std::time::Duration;
    use taffeta_model::UnixMillis;

    #[test]
    fn a_number_is_of_lines_and_with_a_unit_of_bytes() {
        assert_eq!("100".parse(), Ok(Tail::Lines(100)));
        assert_eq!("100B".parse(), Ok(Tail::Bytes(100)));
        assert_eq!("64KiB".parse(), Ok(Tail::Bytes(65_536)));
        assert!("-1".parse::<Tail>().unwrap_err().contains("64KiB"));
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!("1970-01-01T00:00:02Z".parse(), Ok(Since::At(UnixMillis(2_000))));
        assert!("yesterday".parse::<Since>().unwrap_err().contains("10m"));
    }
}
