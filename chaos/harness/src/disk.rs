//! Disks of files, whose power can be cut: an ext4 in an image, mounted through a loop device.

use crate::{
    command::run,
    sweep::{CLUSTER, owner_is_gone},
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// `EXT4_IOC_SHUTDOWN` (`_IOR('X', 125, __u32)`), and its flag 2: nothing more is written, not even the journal. Perl is
/// part of every Debian; from Rust the call would be the only unsafe block of this crate.
const CUT: &str = r#"
    open(my $folder, "<", $ARGV[0]) or die "open: $!";
    my $flags = pack("L", 2);
    ioctl($folder, 0x8004587d, $flags) or die "ioctl: $!";
"#;

/// A mounted disk; unmounted and removed when dropped, also by a failing test.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub folder: PathBuf,
}

impl Disk {
    /// Makes a disk of so many MiB and mounts it on the folder, which is created. The image lies beside the folder. If
    /// that is impossible here, says why.
    pub fn mount(folder: &Path, mebibytes: u64) -> Result<Self, String> {
        unmount_orphans();
        let image = folder.with_extension("ext4");
        let words = |e: std::io::Error| e.to_string();
        fs::create_dir_all(folder).map_err(words)?;
        make_image(&image, mebibytes)?;
        let disk = Self { image, folder: folder.into() };
        disk.attach()?;
        Ok(disk)
    }

    /// Cuts the power: what was not synced is gone, and every access fails from now on.
    pub fn cut_power(&self) -> Result<(), String> {
        run(Command::new("perl").args(["-e", CUT]).arg(&self.folder))
    }

    /// Mounts it again, as a machine does that comes back. Nobody may use it.
    pub fn power_on(&self) -> Result<(), String> {
        // A process in a view of its own of the machine's mounts may hold the filesystem that has no power, even one that has
        // nothing to do with this test, and as long as it does the same image would be mounted as it was: so a copy is.
        run(Command::new("umount").arg("-l").arg(&self.folder))?;
        let copy = self.image.with_extension("copy");
        run(Command::new("cp").arg("--sparse=always").args([&self.image, &copy]))?;
        fs::rename(&copy, &self.image).map_err(|e| e.to_string())?;
        self.attach()
    }

    fn attach(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.folder))
    }

    /// Writes until there is no room left. The file is given; whoever removes it makes room.
    pub fn fill(&self) -> Result<PathBuf, String> {
        let path = self.folder.join("filler");
        let mut file = File::create(&path).map_err(|e| e.to_string())?;
        for size in [1 << 20, 4_096] {
            while file.write_all(&vec![0xaa; size]).is_ok() {}
        }
        let _ = file.sync_all(); // what of it did not fit after all is not there
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
        let _ = fs::remove_file(&self.image);
    }
}

/// Makes an empty disk of so many MiB in a file.
pub(crate) fn make_image(image: &Path, mebibytes: u64) -> Result<(), String> {
    let file = File::create(image).and_then(|file| file.set_len(mebibytes << 20));
    file.map_err(|e| format!("{}: {e}", image.display()))?;
    // No blocks set aside for root, and nothing written later in the background.
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=0"]).arg(image))
}

/// Unmounts what a test left behind that was killed: the mounts below clusters whose process is no more.
fn unmount_orphans() {
    for line in fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let Some(folder) = line.split(' ').nth(1) else { continue };
        let Some((_, rest)) = folder.split_once(&format!("/{CLUSTER}")) else { continue };
        if owner_is_gone(rest) {
            let _ = Command::new("umount").arg("-l").arg(folder).output();
        }
    }
}
