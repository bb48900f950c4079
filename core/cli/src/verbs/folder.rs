//! What is in a task's folder.

use super::{Client, tables};
use crate::{
    args::FilesArgs,
    failure::{Failure, Outcome},
    output::{Format, print_bytes, remark, show},
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};
use taffeta_node::client::ByteStream;

pub(super) async fn files(client: Client, args: FilesArgs) -> Outcome {
    let format = match args.output.as_deref() {
        None | Some("table") => Some(Format::Table),
        Some("json") => Some(Format::Json),
        Some(_) => None,
    };
    let what = if args.path.is_empty() { format!("the folder of {}", args.task) } else { format!("`{}`", args.path) };
    match (client.files(args.task, &args.path).await?, format) {
        (Ok(folder), Some(format)) => {
            if format == Format::Table && folder.entries.is_empty() {
                remark(&format!("{what} is empty"));
                return Ok(());
            }
            show(format, &folder, tables::folder)?;
            if folder.more {
                remark("there is more than is listed");
            }
            Ok(())
        }
        (Ok(_), None) => Err(Failure::wrong(format!("{what} is a folder: fetch its files one by one"))),
        (Err(stream), _) => match args.output {
            None => print(stream).await,
            Some(word) if format.is_some() => Err(Failure::wrong(format!("{what} is a file, and is given as it is"))
                .help(format!("-o names the file to write; write ./{word} if that is its name"))),
            Some(name) => save(stream, Path::new(&name)).await,
        },
    }
}

async fn print(mut stream: ByteStream) -> Outcome {
    while let Some(bytes) = stream.next_bytes().await? {
        print_bytes(&bytes)?;
    }
    Ok(())
}

/// Writes it beside its name first: there is no half of a file under that.
async fn save(mut stream: ByteStream, path: &Path) -> Outcome {
    let failed = |e: io::Error| Failure::failed(format!("cannot write {}: {e}", path.display()));
    let name = path.file_name().ok_or_else(|| Failure::wrong(format!("`{}` names no file", path.display())))?;
    let draft = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
    let mut file = File::create(&draft).map_err(failed)?;
    let written = async {
        while let Some(bytes) = stream.next_bytes().await? {
            file.write_all(&bytes).map_err(failed)?;
        }
        fs::rename(&draft, path).map_err(failed)
    };
    let result = written.await;
    if result.is_err() {
        let _ = fs::remove_file(&draft);
    }
    result
}
