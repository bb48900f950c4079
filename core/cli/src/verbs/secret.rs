//! Secrets: a value goes in, and only its name comes out.

use super::Client;
use crate::{
    failure::{Failure, Outcome},
    output::{Format, or_dash, remark, show_list, table},
    units::bytes_in_words,
};
use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};
use taffeta_model::{SECRET_BYTES_MAX, Secret, SecretName};
use taffeta_node::api::SecretView;

/// Reads a value, as it is: an end of line is a part of it.
pub(super) fn read(file: Option<&Path>) -> Outcome<Secret> {
    let shown = file.map_or_else(|| "stdin".into(), |file| file.display().to_string());
    let value = match file {
        Some(file) => File::open(file).and_then(bytes),
        None => {
            if io::stdin().is_terminal() {
                remark(
                    "the value is read from here; end it with Ctrl-D (twice, if no end of line is to be a part of it)",
                );
            }
            bytes(io::stdin().lock())
        }
    };
    let value = value.map_err(|e| Failure::wrong(format!("cannot read {shown}: {e}")))?;
    if value.is_empty() {
        return Err(Failure::wrong(format!("the value is empty: {shown} gave nothing"))
            .help("as in `printf %s \"$VALUE\" | taffeta secret set NAME`"));
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(Failure::wrong(format!(
            "the value has more than {SECRET_BYTES_MAX} bytes, which is the most that is kept"
        ))
        .help("keep larger things elsewhere, encrypted, and their key here"));
    }
    Ok(Secret::new(value))
}

fn bytes(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut value = vec![];
    reader.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut value)?;
    Ok(value)
}

pub(super) async fn set(client: Client, name: SecretName, value: Secret) -> Outcome {
    let set = client.set_secret(name, &value).await?;
    let older: Vec<String> = set.used_by.iter().map(|user| format!("{}/{}", user.app, user.service)).collect();
    remark(&format!("{} has version {}", set.name, set.version));
    if !older.is_empty() {
        remark(&format!(
            "{} keep what they have until they start anew: `taffeta restart APP/SERVICE`",
            older.join(", ")
        ));
    }
    Ok(())
}

pub(super) async fn list(client: Client, format: Format) -> Outcome {
    show_list(format, &client.secrets().await?, "no secrets; set one: `taffeta secret set NAME`", as_table)
}

fn as_table(secrets: &[SecretView]) -> String {
    let rows = secrets.iter().map(|secret| {
        let user = |user: &taffeta_node::api::SecretUser| {
            let older =
                if user.version == secret.version { String::new() } else { format!(" (version {})", user.version) };
            format!("{}/{}{older}", user.app, user.service)
        };
        let users: Vec<String> = secret.used_by.iter().map(user).collect();
        let size = bytes_in_words(secret.bytes.into());
        vec![secret.name.clone(), secret.version.to_string(), size, secret.changed.clone(), or_dash(users.join(", "))]
    });
    table(&["NAME", "VERSION", "SIZE", "CHANGED", "USED BY"], rows)
}

pub(super) async fn remove(client: Client, name: SecretName, force: bool) -> Outcome {
    client.remove_secret(name.clone(), force).await?;
    remark(&format!("{name} is removed"));
    Ok(())
}
