//! The app file and the small files beside it, read and checked before a node is asked.

use crate::failure::{Failure, Outcome};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use taffeta_model::{App, FILE_BYTES_MAX, FileSource, ShippedFile, parse_app_file};
use taffeta_node::api::{ApiError, DeployRequest, ShippedFileBody};

/// Most bytes of an app file that are read; the parser refuses anything near it, and says so.
const TEXT_BYTES_MAX: u64 = 2 << 20;

/// A file that would be accepted, as far as can be told without a cluster.
#[derive(Debug)]
pub(super) struct AppFile {
    /// What it says.
    pub(super) app: App,
    /// What is sent.
    pub(super) request: DeployRequest,
    /// Its name, for people.
    shown: String,
}

impl AppFile {
    /// Reads it; `-` is stdin, whose files lie in the present folder.
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let stdin = path == Path::new("-");
        let shown = if stdin { "stdin".into() } else { path.display().to_string() };
        let text = if stdin { text_of(io::stdin().lock()) } else { File::open(path).and_then(text_of) };
        let text = text.map_err(|e| Failure::wrong(format!("cannot read {shown}: {e}")))?;
        let folder = if stdin { Path::new(".") } else { path.parent().unwrap_or_else(|| Path::new(".")) };
        let app = parse_app_file(&text, &mut Beside(folder.into()))
            .map_err(|e| Failure::wrong(format!("{shown}: {e}")).maybe_help(e.help))?;
        let files = app.files.iter().map(|(name, file)| (name.clone(), body(file))).collect::<BTreeMap<_, _>>();
        Ok(Self { app, request: DeployRequest { file: text, files }, shown })
    }

    /// What it is called, for people.
    pub(super) fn name(&self) -> &str {
        &self.shown
    }

    /// The node's refusal; with the name of the file, where it is about what the file says.
    pub(super) fn refused(&self, error: ApiError) -> ApiError {
        match &error.field {
            Some(_) => ApiError { message: format!("{}: {}", self.shown, error.message), ..error },
            None => error,
        }
    }
}

fn text_of(reader: impl Read) -> io::Result<String> {
    let mut text = String::new();
    match reader.take(TEXT_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(io::Error::other("it is not UTF-8 text")),
        Err(e) => Err(e),
    }
}

fn body(file: &ShippedFile) -> ShippedFileBody {
    ShippedFileBody { base64: STANDARD.encode(&file.body), executable: file.executable }
}

/// Files of a folder.
struct Beside(PathBuf);

impl FileSource for Beside {
    fn read(&mut self, name: &str) -> Result<ShippedFile, String> {
        let path = self.0.join(name);
        let failed = |e: io::Error| format!("{}: {e}", path.display());
        // Looked at before it is opened: opening a pipe waits for its writer.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(format!("{} is not a regular file", path.display()));
        }
        let file = File::open(&path).map_err(failed)?;
        let executable = file.metadata().map_err(failed)?.permissions().mode() & 0o111 != 0;
        let mut body = vec![];
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut body).map_err(failed)?;
        if body.len() > FILE_BYTES_MAX {
            return Err(format!(
                "{} has more than {FILE_BYTES_MAX} bytes, which is the most an app ships",
                path.display()
            ));
        }
        Ok(ShippedFile { body, executable })
    }
}
