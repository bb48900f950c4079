//! What tasks of a node find around themselves, as flags and the data folder say it.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};
use taffeta_model::AbsolutePath;

/// The port that a resolv.conf means.
const DNS_PORT: u16 = 53;
/// Most paths of the machine that are allowed: each is looked at for every mount.
const HOST_PATHS_MAX: usize = 64;
/// Largest file that is fetched, unless it is said.
const FETCH_MAX: u64 = 1 << 30;
/// What fetched files take on the disk, unless it is said.
const FETCH_CACHE: u64 = 10 << 30;
/// How long one file may take, unless it is said.
const FETCH_TIME: Duration = Duration::from_secs(600);

/// What tasks find around themselves. What is `None` is taken from the data folder, where it was given before, or else the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOptions {
    /// Where tasks are answered on port 53; an address of 127.84.0.0/16 by default.
    pub dns: Option<TaskDns>,
    /// Paths of the machine that tasks may be given; none by default.
    pub host_paths: Option<HostPaths>,
    /// Most bytes of one file that is fetched; 1 GiB by default.
    pub fetch_max: Option<u64>,
    /// Most bytes of all fetched files that are kept; 10 GiB by default.
    pub fetch_cache: Option<u64>,
    /// Seconds that one file may take; 600 by default.
    pub fetch_seconds: Option<u64>,
}

/// Where tasks are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TaskDns {
    /// Nowhere: they see the machine's own resolv.conf.
    Off,
    /// On port 53 of this address, which no other machine reaches.
    At(IpAddr),
}

/// A path of the machine that tasks may be given, with all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath {
    /// The path.
    pub path: AbsolutePath,
    /// Whether they may only read it.
    pub read_only: bool,
}

/// The allowed paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPaths(pub Vec<HostPath>);

impl TaskOptions {
    /// These, and where they say nothing, those given before.
    pub(crate) fn or(self, before: Self) -> Self {
        Self {
            dns: self.dns.or(before.dns),
            host_paths: self.host_paths.or(before.host_paths),
            fetch_max: self.fetch_max.or(before.fetch_max),
            fetch_cache: self.fetch_cache.or(before.fetch_cache),
            fetch_seconds: self.fetch_seconds.or(before.fetch_seconds),
        }
    }

    pub(crate) fn fetch_max(&self) -> u64 {
        // What cannot be kept beside nothing else cannot be fetched.
        self.fetch_max.unwrap_or(FETCH_MAX).min(self.fetch_cache())
    }

    pub(crate) fn fetch_cache(&self) -> u64 {
        self.fetch_cache.unwrap_or(FETCH_CACHE)
    }

    pub(crate) fn fetch_time(&self) -> Duration {
        self.fetch_seconds.map_or(FETCH_TIME, Duration::from_secs)
    }
}

impl HostPaths {
    /// What a list of flags says: paths, or `none` alone.
    pub fn read(list: &[String]) -> Result<Self, String> {
        if list.iter().any(|item| item == "none") {
            return if list.len() == 1 { Ok(Self::default()) } else { Err("`none` stands alone".into()) };
        }
        if list.len() > HOST_PATHS_MAX {
            return Err(format!("{} paths are given; at most {HOST_PATHS_MAX} are kept", list.len()));
        }
        list.iter().map(|item| item.parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.read_only { ":ro" } else { "" })
    }
}

impl FromStr for HostPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, read_only) = text.strip_suffix(":ro").map_or((text, false), |path| (path, true));
        let path = AbsolutePath::new(path).map_err(|why| format!("{why}; write PATH, or PATH:ro, as /srv:ro"))?;
        Ok(Self { path, read_only })
    }
}

impl FromStr for TaskDns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (ip, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(ip), _) => (ip, DNS_PORT),
            (_, Ok(socket)) => (socket.ip(), socket.port()),
            (Err(_), Err(_)) => return Err(format!("`{text}` is neither an address, as 127.84.0.1, nor `off`")),
        };
        if port != DNS_PORT {
            return Err(format!(
                "`{text}`: a resolv.conf names no port, so it has to be port {DNS_PORT}: leave it out"
            ));
        }
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(_) => false, // its scope would have to be said, too
        };
        if !ip.is_loopback() && !link_local {
            return Err(format!(
                "`{text}` can be reached from other machines: choose one of 127.0.0.0/8, ::1 or 169.254.0.0/16"
            ));
        }
        Ok(Self::At(ip))
    }
}

impl TryFrom<String> for HostPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for TaskDns {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TaskDns> for String {
    fn from(dns: TaskDns) -> Self {
        match dns {
            TaskDns::Off => "off".into(),
            TaskDns::At(ip) => ip.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HostPaths, TaskDns, TaskOptions};

    #[test]
    fn tasks_are_answered_where_no_other_machine_asks() {
        let read = |text: &str| text.parse::<TaskDns>().map(String::from);
        assert_eq!(read("off").as_deref(), Ok("off"));
        assert_eq!(read("127.84.0.9").as_deref(), Ok("127.84.0.9"));
        assert_eq!(read("169.254.1.1:53").as_deref(), Ok("169.254.1.1"));
        assert_eq!(read("::1").as_deref(), Ok("::1"));
        assert!(read("10.0.0.1").unwrap_err().contains("from other machines"));
        assert!(read("127.0.0.1:5353").unwrap_err().contains("names no port"));
        assert!(read("on").unwrap_err().contains("nor `off`"));
    }

    #[test]
    fn host_paths_are_a_list_or_none() {
        let read = |list: &[&str]| HostPaths::read(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let both = read(&["/srv:ro", "/data"]).unwrap();
        assert_eq!(both.0.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/srv:ro", "/data"]);
        assert_eq!(read(&["none"]).unwrap(), HostPaths::default());
        assert!(read(&["none", "/srv"]).is_err() && read(&["srv"]).unwrap_err().contains("PATH:ro"));
        assert!(read(&["/srv/../etc"]).is_err());
    }

    #[test]
    fn what_is_given_now_comes_before_what_was_given() {
        let before = TaskOptions { fetch_max: Some(7), fetch_cache: Some(5), ..TaskOptions::default() };
        let now = TaskOptions { dns: Some(TaskDns::Off), fetch_max: Some(9), ..TaskOptions::default() };
        let both = now.or(before);
        assert_eq!((both.dns, both.fetch_max, both.fetch_cache), (Some(TaskDns::Off), Some(9), Some(5)));
        assert_eq!(both.fetch_max(), 5, "no more than can be kept");
    }
}
