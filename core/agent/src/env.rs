//! What a task's process is told.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};
use taffeta_model::{Assigned, NodeName, TaskId};

/// Where a task runs, as far as its environment tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPlace {
    /// The machine.
    pub node: NodeName,
    /// Where the task is to listen.
    pub address: IpAddr,
    /// Where the machine's DNS answers; `None` if it does not.
    pub dns: Option<SocketAddr>,
    /// The task's folder on the host.
    pub task_dir: String,
}

/// The environment of a task: the job's own names, and the fabric's, which win.
///
/// `TAFFETA_APP`, `TAFFETA_TASK` (`shop/web.2`), `TAFFETA_NODE`, `TAFFETA_DNS` (`IP:PORT`; absent without DNS),
/// `TAFFETA_TASK_DIR`, `TAFFETA_FENCE` (`GENERATION.TERM.INDEX`), `TAFFETA_ADDRESS`, and `PORT_<NAME>` for each port,
/// in upper case with `_` for `-`.
pub fn task_env(
    task: &TaskId,
    assigned: &Assigned,
    ports: &[(String, u16)],
    place: &TaskPlace,
) -> BTreeMap<String, String> {
    let mut env = assigned.job.env.clone();
    let mut set = |name: &str, value: String| env.insert(name.into(), value);
    set("TAFFETA_APP", task.app.to_string());
    set("TAFFETA_TASK", task.to_string());
    set("TAFFETA_NODE", place.node.to_string());
    set("TAFFETA_TASK_DIR", place.task_dir.clone());
    set("TAFFETA_FENCE", assigned.fence.to_string());
    set("TAFFETA_ADDRESS", place.address.to_string());
    if let Some(dns) = place.dns {
        set("TAFFETA_DNS", dns.to_string());
    }
    for (name, number) in ports {
        set(&format!("PORT_{}", name.to_ascii_uppercase().replace('-', "_")), number.to_string());
    }
    env
}

/// Replaces `$NAME` and `${NAME}` from `env` and `$$` by `$`. Unknown names and anything else after a `$` stay as they
/// are: a program may have its own use for them.
pub fn expand(arg: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(arg.len());
    let mut rest = arg;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (whole, replacement) = match rest[1..].chars().next() {
            Some('$') => (2, Some("$")),
            Some('{') => match rest.find('}') {
                Some(end) => (end + 1, env.get(&rest[2..end]).map(String::as_str)),
                None => (rest.len(), None),
            },
            Some(_) | None => {
                let end = 1 + name_length(&rest[1..]);
                (end, env.get(&rest[1..end]).map(String::as_str))
            }
        };
        match replacement {
            Some(value) => {
                out.push_str(value);
                rest = &rest[whole..];
            }
            // Only the `$` is passed by: what follows an unknown name may hold a known one, as in `${A$B}`.
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Bytes of the variable name that the text begins with: a letter or `_`, then letters, digits and `_`.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
