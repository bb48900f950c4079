//! Whom to ask, and with what token.

use super::{Key, Settings, Value, wrong};
use crate::{args::ApiFlags, failure::Outcome};
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use taffeta_node::client::{ApiClient, ApiTarget};

/// The API of a node that was started without flags.
pub(crate) const API: &str = "http://127.0.0.1:7480";

/// The token's name in a data folder.
pub(crate) const TOKEN_FILE: &str = "admin.token";

impl ApiFlags {
    /// These flags as settings.
    pub(crate) fn given(self) -> Vec<(Key, Value)> {
        let data = self.data.map(|data| (Key::Data, data.to_string_lossy().into_owned()));
        let texts = [self.api.map(|api| (Key::Api, api)), self.token.map(|token| (Key::Token, token)), data];
        texts.into_iter().flatten().map(|(key, text)| (key, Value::Text(text))).collect()
    }
}

impl Settings {
    /// A client of the node to ask.
    pub(crate) fn client(&self) -> Outcome<ApiClient> {
        let (api, source) = self.text(Key::Api).unzip();
        let target = target(api.unwrap_or(API));
        let token = match self.text(Key::Token) {
            Some((token, _)) => Some(token.to_owned()),
            None => self.token_of_folder().map(|(_, token)| token),
        };
        ApiClient::new(target, token).map_err(|e| match (e.field.as_deref(), source) {
            (Some("api"), Some(source)) => wrong(Key::Api, source, &e.message).maybe_help(e.help),
            (Some("token"), _) if self.text(Key::Token).is_some() => {
                let source = self.text(Key::Token).map(|(_, source)| source.to_string()).unwrap_or_default();
                crate::failure::Failure::wrong(format!("{source}: {}", e.message)).maybe_help(e.help)
            }
            _ => e.into(),
        })
    }

    /// The token that lies in the data folder, if we may read it. A node without one, or of another user, is asked
    /// without: it may be open, and else says itself what is missing.
    pub(crate) fn token_of_folder(&self) -> Option<(PathBuf, String)> {
        let path = self.data()?.join(TOKEN_FILE);
        let token = fs::read_to_string(&path).ok()?.trim().to_owned();
        (!token.is_empty()).then_some((path, token))
    }

    /// The data folder; `None` if nothing tells where it would be.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        self.text(Key::Data).map(|(data, _)| data.into()).or_else(default_data)
    }
}

/// `/var/lib/taffeta` as root, else `$XDG_STATE_HOME/taffeta`, whose own default is `~/.local/state`.
pub(crate) fn default_data() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/taffeta".into());
    }
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("taffeta"))
}

fn target(api: &str) -> ApiTarget {
    match api.strip_prefix("unix:") {
        // Both `unix:/run/x.sock` and `unix:///run/x.sock` are in use.
        Some(path) => ApiTarget::Unix(Path::new(path.strip_prefix("//").unwrap_or(path)).into()),
        None => ApiTarget::Http(api.into()),
    }
}
