//! Backups: taken from a node, looked at and restored without one.

use super::Client;
use crate::{
    args::RestoreArgs,
    failure::{Failure, Outcome},
    output::{Format, print_bytes, remark, show, table},
    settings::{Key, Settings, Value},
    units::bytes_in_words,
};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use taffeta_node::{Backup, RecoveryKey, Restored, restore as restore_folder, wrong_backup};

/// How long a backup may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn backup(client: Client, file: PathBuf) -> Outcome {
    let bytes = client.time_limit(LIMIT).backup().await?;
    // What came is looked at before it is kept: a backup that cannot be read is worse than none.
    let backup = Backup::read(&bytes).map_err(|e| Failure::failed(format!("the node gave no whole backup: {e}")))?;
    if file == Path::new("-") {
        return print_bytes(&bytes);
    }
    write_whole(&file, &bytes).map_err(|e| Failure::failed(format!("cannot write {}: {e}", file.display())))?;
    let (position, size) = (&backup.header.position, bytes_in_words(bytes.len() as u64));
    remark(&format!("{}: {size}, everything up to {position}; a restore needs the recovery key", file.display()));
    Ok(())
}

/// Under its name there is the old file or the new one, whole, and for its owner alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let draft = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = || {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    let written = written();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|e| Failure::wrong(format!("cannot read {}: {e}", path.display())))
}

pub(super) fn inspect(path: &Path, format: Format) -> Outcome {
    let backup = Backup::read(&read(path)?).map_err(|e| wrong_backup(&e))?;
    let header = backup.header;
    show(format, &header, |header| {
        let rows = [
            ("CLUSTER", header.cluster.clone()),
            ("GENERATION", header.generation.to_string()),
            ("POSITION", header.position.clone()),
            ("TAKEN", format!("{} by {}, version {}", header.taken_at, header.node, header.version)),
            ("MACHINES", header.machines.join(", ")),
            ("APPS", header.apps.join(", ")),
            ("SECRETS", header.secrets.join(", ")),
            ("SIZE", bytes_in_words(header.state_bytes + header.keys_bytes)),
        ];
        table(&["WHAT", "IS"], rows.map(|(what, is)| vec![what.into(), crate::output::or_dash(is)]))
    })
}

pub(super) async fn restore(args: RestoreArgs) -> Outcome {
    let key = args.recovery_key;
    let text = fs::read_to_string(&key).map_err(|e| Failure::wrong(format!("cannot read {}: {e}", key.display())))?;
    let key: RecoveryKey = text.parse().map_err(|e| Failure::wrong(format!("{}: {e}", key.display())))?;
    let bytes = read(&args.file)?;
    let mut flags = args.node.given();
    flags.extend(args.data.map(|data| (Key::Data, Value::Text(data.to_string_lossy().into_owned()))));
    let config = Settings::gather(flags)?.fabric_config()?;
    if !config.join.is_empty() {
        return Err(Failure::wrong("a restored node goes on alone: --join is of no use here")
            .help("leave it out (and TAFFETA_JOIN); other machines join it"));
    }
    let restored = restore_folder(&config, &bytes, &key).await?;
    let Restored { cluster, generation, position, node, id, address, others } = restored;
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    let document = json!({
        "cluster": cluster.to_string(), "generation": generation, "position": position.to_string(),
        "name": node.to_string(), "id": id.to_string(), "address": address.to_string(), "others": others,
        "data": config.data,
    });
    remark(&format!(
        "{} is {node} of the fabric {cluster}, generation {generation}, with everything up to {position}",
        config.data.display()
    ));
    remark(&format!(
        "start it: `taffeta up --data {}`; the API's token is a new one, in admin.token there",
        config.data.display()
    ));
    match args.output.format {
        Format::Json => show(Format::Json, &document, |_| String::new()),
        Format::Table => Ok(()),
    }
}
