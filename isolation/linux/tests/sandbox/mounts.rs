//! What is mounted for a task: folders of the machine, memory, and its volume.

use super::{data, ended, executor, script, support::Bench, without};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use taffeta_isolation_plan::{Executor, MountPoint, MountSource, TaskSpec};
use taffeta_model::{Exit, Isolation, Measure, Profile};

#[tokio::test]
async fn what_an_app_mounts_is_where_it_says_in_that_order() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(host.path().join("file"), "of the machine\n").unwrap();
    fs::write(host.path().join("hosts"), "127.0.0.1 only\n").unwrap();
    let point = |at: &str, source, read_only| MountPoint { at: at.into(), source, read_only };
    let folder = || MountSource::Host(host.path().into());
    let mut spec = script(
        &bench,
        "r1",
        "cat /data/file /data/deep/file /srv/a/b/file /etc/hosts; echo 1 > /srv/a/b/new; echo 2 > /data/new || echo refused; \
         echo 3 > /scratch/x && cat /scratch/x; dd if=/dev/zero of=/scratch/y bs=1M count=9 2>&1 | grep -o 'No space left'; \
         [ -e /etc/passwd ] && [ -x /bin/sh ] && ls -A / | wc -l",
    );
    spec.mounts = vec![
        point("/data", folder(), true),
        point("/data/deep", MountSource::Tmpfs { bytes: 1 << 20 }, false),
        point("/srv/a/b", folder(), false),
        point("/scratch", MountSource::Tmpfs { bytes: 8 << 20 }, false),
        point("/etc/hosts", MountSource::Host(host.path().join("hosts")), true),
    ];
    // What lies in a folder that is mounted read-only cannot be a mount point unless it is there.
    fs::create_dir(host.path().join("deep")).unwrap();
    fs::write(host.path().join("deep/file"), "hidden\n").unwrap();
    spec.mounts.remove(1);
    let (_, said) = ended(&executor, spec).await;
    let roots = fs::read_dir("/").unwrap().count() + 2;
    let wanted =
        format!("of the machine\nhidden\nof the machine\n127.0.0.1 only\nrefused\n3\nNo space left\n{roots}\n");
    assert_eq!(
        said.lines().filter(|line| !line.contains("cannot create")).map(|line| format!("{line}\n")).collect::<String>(),
        wanted
    );
    assert_eq!(fs::read_to_string(host.path().join("new")).unwrap(), "1\n");
    assert!(!Path::new("/data").exists() && !Path::new("/scratch").exists() && !Path::new("/srv/a").exists());

    let missing = vec![point("/data", MountSource::Host("/nonexistent/folder".into()), true)];
    let error = executor.start(TaskSpec { mounts: missing, ..script(&bench, "r2", "true") }).await.unwrap_err();
    let wanted = "cannot show /nonexistent/folder at /data: No such file or directory";
    assert!(error.to_string().contains(wanted), "{error}");
    assert!(!bench.root.join("r2").exists(), "nothing is left of it");
}

#[tokio::test]
async fn what_is_mounted_in_a_volume_leaves_the_volume_as_it_is() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(volume.join("old")).unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    let point = |at: &str, source| MountPoint { at: at.into(), source, read_only: false };
    let memory = || MountSource::Tmpfs { bytes: 1 << 20 };
    let mounts = |at: &[&str]| {
        let inner = at.iter().map(|at| point(at, memory()));
        [point("/data", MountSource::Host(volume.clone()))].into_iter().chain(inner).collect::<Vec<_>>()
    };
    let write = "echo 1 > /data/file; echo 2 > /data/old/file; echo 3 > /data/a/b/file; stat -f -c %T /data/a/b; \
                 grep -c ' /data/a/b ' /proc/mounts; ls /data";
    let strict = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let mut isolations = vec![without(&[])];
    isolations.extend((!executor.permitted().measures.lacking.contains_key(&Measure::UserNamespace)).then_some(strict));
    for (n, isolation) in isolations.into_iter().enumerate() {
        let spec = script(&bench, &format!("r{n}"), write);
        let (_, said) = ended(&executor, TaskSpec { isolation, mounts: mounts(&["/data/a/b"]), ..spec }).await;
        assert_eq!(said, "tmpfs\n1\na\nfile\nold\nout\n");
        assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(volume.join("old/file")).unwrap(), "2\n");
        assert_eq!(fs::read_dir(volume.join("a/b")).unwrap().count(), 0, "what was memory is not on the disk");
        assert_eq!(fs::metadata(volume.join("a/b")).unwrap().uid(), fs::metadata(&volume).unwrap().uid());
        ["file", "old/file"].iter().for_each(|file| fs::remove_file(volume.join(file)).unwrap());
        fs::remove_dir_all(volume.join("a")).unwrap();
    }
    // A link in a volume makes nothing on the machine.
    let name = format!("taffeta-{}", std::process::id());
    let through = script(&bench, "link", "echo ran");
    let _ = executor.start(TaskSpec { mounts: mounts(&[&format!("/data/out/{name}/x")]), ..through }).await;
    assert!(!Path::new("/etc").join(&name).exists() && !volume.join("out").join(&name).exists());

    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    let mounts = vec![point("/in", MountSource::Host(host.path().into())), point("/in/cache", memory())];
    let error = executor.start(TaskSpec { mounts, ..script(&bench, "host", "true") }).await.unwrap_err().to_string();
    assert!(error.contains("/in/cache: it is missing in what is mounted at /in"), "{error}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_volume_is_reached_by_its_link_and_its_path_though_all_around_it_is_hidden() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let volume = data(&bench).join("volumes/shop/db.1/data@0.1.7");
    fs::create_dir_all(&volume).unwrap();
    fs::create_dir_all(data(&bench).join("volumes/shop/db.2/data@0.1.8")).unwrap();
    let mut spec = script(
        &bench,
        "r1",
        &format!(
            "echo kept > data/file; cat {}/file; ls {}",
            volume.display(),
            data(&bench).join("volumes/shop").display()
        ),
    );
    spec.links = [("data".to_owned(), volume.clone())].into();
    let (exit, said) = ended(&executor, spec).await;
    assert_eq!((exit, said.as_str()), (Exit::Code(0), "kept\ndb.1\n"));
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "kept\n");
}

#[tokio::test]
async fn a_task_whose_user_was_taken_away_gets_into_its_volume() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root gives no volume to others");
    }
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
    let links = || [("v".to_owned(), volume.clone())].into();
    let users =
        TaskSpec { user: Some("1234".parse().unwrap()), links: links(), ..script(&bench, "r1", "echo 1 > v/one") };
    assert_eq!(ended(&executor, users).await, (Exit::Code(0), String::new()));
    let roots = TaskSpec { links: links(), ..script(&bench, "r2", "echo 2 > v/two && cat v/one v/two") };
    assert_eq!(ended(&executor, roots).await, (Exit::Code(0), "1\n2\n".into()));
}
