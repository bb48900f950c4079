//! `fetch = [...]`: what is downloaded for a task.

use super::{error::AppFileError, item::Item};
use crate::Fetch;

const KEYS: [&str; 4] = ["url", "name", "unpack", "executable"];

/// Reads `fetch`.
pub(super) fn read_fetch(item: &Item<'_>) -> Result<Vec<Fetch>, AppFileError> {
    item.elements("an array of addresses, or of tables with a url")?.iter().map(read_one).collect()
}

/// `"URL#sha256=DIGEST"`, or a table with such a `url`.
fn read_one(item: &Item<'_>) -> Result<Fetch, AppFileError> {
    if !item.value().is_table() {
        return read_url(item);
    }
    let (mut url, mut name, mut unpack, mut executable) = (None, None, false, false);
    for (key, item) in item.entries()? {
        match key {
            "url" => url = Some(read_url(&item)?),
            "name" => name = Some(item.string()?.to_owned()),
            "unpack" => unpack = item.bool()?,
            "executable" => executable = item.bool()?,
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    let fetch = url.ok_or_else(|| item.missing("url", "an address with the digest behind it"))?;
    // What is in an archive comes into the task's folder itself, unless a folder is named.
    let name = if unpack { name } else { name.or_else(|| fetch.name.clone()) };
    Ok(Fetch { name, unpack, executable, ..fetch })
}

fn read_url(item: &Item<'_>) -> Result<Fetch, AppFileError> {
    let text = item.string()?;
    let help = "what is fetched is checked: write URL#sha256=DIGEST, with the 64 digits that `sha256sum` prints";
    let Some((url, fragment)) = text.split_once('#') else {
        return Err(item.error(format!("`{text}` has no digest")).help(help));
    };
    let Some(digest) = fragment.strip_prefix("sha256=") else {
        return Err(item.error(format!("`#{fragment}` is not a digest")).help(help));
    };
    let digest = digest.parse().map_err(|why: String| item.error(why).help(help))?;
    Ok(Fetch::new(url, digest))
}
