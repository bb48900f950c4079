//! What the demo says: what to try, and how to bring a machine back.

use super::nodes::Node;
use std::{
    env,
    path::{Path, PathBuf},
};
use taffeta_node::{DNS_PORT, DOMAIN, HTTP_PORT, api::TaskView};

/// The DNS name of a service.
pub(super) fn dns_name(service: &str, app: &str) -> String {
    format!("{service}.{app}.{DOMAIN}")
}

/// The line that starts a node again where it stopped.
pub(super) fn bring_back(node: &Node, chaos: bool) -> String {
    let chaos = if chaos { " --chaos" } else { "" };
    format!("{} up --data {}{chaos}", program(), node.data)
}

/// The shop's file. Its tasks run `taffeta`, which they find beside the node's own binary: one of another name, as a
/// downloaded one may have, is named by its path.
pub(super) fn shop_file(text: &str) -> String {
    match env::current_exe() {
        Ok(own) => naming(text, &own),
        Err(_) => text.into(),
    }
}

fn naming(text: &str, own: &Path) -> String {
    if own.file_name().is_some_and(|name| name == "taffeta") {
        return text.into();
    }
    let path = toml::Value::from(own.display().to_string()).to_string();
    text.replace("run = [\"taffeta\",", &format!("run = [{path},"))
}

/// A line each, to be pasted into another terminal.
pub(super) async fn what_to_try(nodes: &[Node], shop: bool, chaos: bool) -> String {
    let (leader, web) = match nodes[0].client() {
        Ok(client) => {
            let leader = client.leader().await.ok().flatten().map(|leader| leader.name);
            let tasks = client.tasks("shop".parse().ok()).await.unwrap_or_default();
            (leader, tasks.iter().find_map(web_address))
        }
        Err(_) => (None, None),
    };
    let follows = |node: &&Node| Some(&node.name) != leader.as_ref();
    let victim = nodes.iter().find(follows).unwrap_or(&nodes[0]);
    let mut lines =
        vec![format!("{} nodes are up; {} leads. Try in another terminal:", nodes.len(), or_nobody(&leader))];
    let mut add = |what: &str, line: String| lines.push(format!("  {what:14}{line}"));
    if shop {
        let name = dns_name("web", "shop");
        add("find it", format!("dig @{} -p {DNS_PORT} {name} SRV", victim.ip));
        if let Some(address) = web {
            add("see its page", format!("curl http://{address}/"));
        }
    }
    add("ask the API", format!("curl http://{}:{HTTP_PORT}/v1/ps", nodes[0].ip));
    add("list tasks", format!("{} --api {} ps", program(), nodes[nodes.len() - 1].url()));
    for node in nodes {
        add("watch it", format!("{}/   ({})", node.url(), node.name));
    }
    add("kill one", format!("pkill -9 -f {}   (node, shims and tasks of {})", victim.data, victim.name));
    add("bring it back", bring_back(victim, chaos));
    if chaos {
        let (data, url) = (&victim.data, nodes[0].url());
        add(
            "hurt it",
            format!("{} --api {url} chaos inject --data {data} kill --target {} --lasts 10s", program(), victim.name),
        );
    }
    lines.push("Ctrl-C ends all of it and leaves nothing behind.".into());
    lines.join("\n")
}

fn or_nobody(leader: &Option<String>) -> &str {
    leader.as_deref().unwrap_or("nobody")
}

/// Where an instance of `web` listens.
fn web_address(task: &TaskView) -> Option<String> {
    let port = task.ports.get("http").filter(|_| task.service == "web")?;
    Some(format!("{}:{port}", task.address.as_ref()?))
}

/// `taffeta` where a shell finds this very program by that name, else its path.
fn program() -> String {
    let own = env::current_exe().unwrap_or_else(|_| PathBuf::from("taffeta"));
    let folders = env::var_os("PATH").unwrap_or_default();
    if found_in(env::split_paths(&folders), &own) { "taffeta".into() } else { own.display().to_string() }
}

/// Whether the first `taffeta` of these folders is this one.
fn found_in(mut folders: impl Iterator<Item = PathBuf>, own: &Path) -> bool {
    let first = folders.find_map(|folder| folder.join("taffeta").canonicalize().ok());
    first.is_some() && first == own.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::{found_in, naming};
    use std::{fs, path::Path};
    use taffeta_example_shop::SHOP_TOML;

    #[test]
    fn a_binary_of_another_name_is_named_by_its_path_in_every_job() {
        assert_eq!(naming(SHOP_TOML, Path::new("/opt/taffeta")), SHOP_TOML);
        let named = naming(SHOP_TOML, Path::new("/opt/a \"b\"/taffeta-1"));
        let parsed: toml::Table = named.parse().unwrap();
        let jobs = ["batch", "service"].into_iter().flat_map(|kind| parsed[kind].as_table().unwrap().values());
        let programs: Vec<_> = jobs.map(|job| job["run"][0].as_str().unwrap()).collect();
        assert_eq!(programs, ["/opt/a \"b\"/taffeta-1"; 4]);
    }

    #[test]
    fn only_the_first_program_of_the_path_is_what_a_shell_runs() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, empty] = ["a", "b", "c"].map(|name| folder.path().join(name));
        for folder in [&a, &b, &empty] {
            fs::create_dir(folder).unwrap();
        }
        for folder in [&a, &b] {
            fs::write(folder.join("taffeta"), "").unwrap();
        }
        let own = b.join("taffeta");
        assert!(found_in([empty.clone(), b.clone(), a.clone()].into_iter(), &own));
        assert!(!found_in([a, b].into_iter(), &own));
        assert!(!found_in([empty].into_iter(), &own));
    }
}
