//! A file that takes the room of a file system which is the data folder's own, and nobody else's.

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Room that is left: too little for the log, which keeps clear of the last MiB, and enough for the journal.
const LEFT: u64 = 128 << 10;

/// Pieces of halving size until nothing is left, of the largest file system.
const ROUNDS_MAX: usize = 64;

/// Where the file would be; `None` if others live on the same file system, as far as this machine shows.
pub(crate) fn place(journal: &Path) -> Option<PathBuf> {
    let data = journal.parent()?.canonicalize().ok()?;
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    is_own(&data, &String::from_utf8_lossy(&mounts)).then(|| journal.join("filler"))
}

/// Whether a whole file system is mounted on this folder and nowhere else, by the text of `/proc/self/mountinfo`: see
/// proc_pid_mountinfo(5). A folder or a subvolume of a file system may be mounted on its own, as a volume of a container
/// is: then the rest of it is somebody else's.
fn is_own(folder: &Path, mounts: &str) -> bool {
    // The device, which part of it is mounted, and where.
    let mounts: Vec<(&str, &str, PathBuf)> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            Some((fields.next()?, fields.next()?, PathBuf::from(unescaped(fields.next()?))))
        })
        .collect();
    // What was mounted there last hides what was there before.
    let Some((device, root, _)) = mounts.iter().rfind(|(_, _, place)| place == folder) else { return false };
    *root == "/" && mounts.iter().filter(|(other, _, _)| other == device).count() == 1
}

/// A path as the kernel writes it there: spaces and the like as `\040`.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(char::from(code));
                path += &part[3..];
            }
            None => path += &format!("\\{part}"),
        }
    }
    path
}

/// Takes the room. Repeated, it takes it again, and leaves as much.
pub(crate) fn fill(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let mut most = u64::MAX;
    for _ in 0..ROUNDS_MAX {
        let about = fstatvfs(&file)?;
        // Root may also use what is set aside for it.
        let blocks = if rustix::process::geteuid().is_root() { about.f_bfree } else { about.f_bavail };
        let room = blocks.saturating_mul(about.f_frsize).min(most);
        if room < about.f_frsize {
            break;
        }
        match fallocate(&file, FallocateFlags::empty(), file.metadata()?.len(), room) {
            Ok(()) => {}
            // A part is set aside for the file system itself: so much cannot be had, and perhaps half of it.
            Err(rustix::io::Errno::NOSPC) => most = room / 2,
            Err(e) => return Err(e.into()),
        }
    }
    // What the file system says is free is not all to be had: so all of that was taken, and a little is given back.
    file.set_len(file.metadata()?.len().saturating_sub(LEFT))
}

/// Gives it back.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n";

    fn is_own_with(line: &str) -> bool {
        is_own(Path::new("/var/lib/taffeta"), &format!("{ROOT}{line}"))
    }

    #[test]
    fn a_disk_that_is_mounted_on_the_folder_alone_is_its_own() {
        assert!(is_own_with("40 22 7:0 / /var/lib/taffeta rw,relatime shared:9 - ext4 /dev/loop0 rw\n"));
        assert!(is_own_with("40 22 0:44 / /var/lib/taffeta rw - tmpfs tmpfs rw,size=4096k\n"));
        let hidden = "40 22 7:0 /x /var/lib/taffeta rw - ext4 /dev/loop0 rw\n\
                      41 40 7:1 / /var/lib/taffeta rw - ext4 /dev/loop1 rw\n";
        assert!(is_own_with(hidden), "the last one counts");
        let spaced = "40 22 7:0 / /srv/a\\040b\\134c rw - ext4 /dev/loop0 rw\n";
        assert!(is_own(Path::new("/srv/a b\\c"), spaced));
    }

    #[test]
    fn what_others_live_on_as_well_is_not_filled() {
        for (line, what) in [
            ("", "a folder of the machine's disk"),
            ("40 22 254:1 /volumes/x/_data /var/lib/taffeta rw - ext4 /dev/vda1 rw\n", "a volume of a container"),
            ("40 22 7:0 /sub /var/lib/taffeta rw - btrfs /dev/loop0 rw,subvol=/sub\n", "a subvolume"),
            (
                "39 22 7:0 / /mnt rw - ext4 /dev/loop0 rw\n40 22 7:0 / /var/lib/taffeta rw - ext4 /dev/loop0 rw\n",
                "a disk that is mounted elsewhere, too",
            ),
            ("40 22 7:0 / /var/lib rw - ext4 /dev/loop0 rw\n", "a folder of another disk"),
            (
                "40 22 7:0 / /var/lib/taffeta rw - ext4 /dev/loop0 rw\n\
                 41 40 254:1 /x /var/lib/taffeta rw - ext4 /dev/vda1 rw\n",
                "what hides a disk of its own",
            ),
            ("40 22 7:0\n", "no mount at all"),
        ] {
            assert!(!is_own_with(line), "{what}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(place(&folder.path().join("chaos")), None, "on this machine, too");
    }
}
