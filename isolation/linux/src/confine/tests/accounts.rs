//! Who is who, by files that the test writes; and whose files they become.

use super::{
    super::{Ids, accounts::resolve_in, give, give_volumes},
    Place, is_root,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};
use taffeta_model::Profile;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www:/var/www:/bin/false\nbroken:x:many:1::/:\n";
const GROUP: &str = "root:x:0:\nadm:x:4:syslog,www-data\nwww-data:x:33:www-data\nssl-cert:x:112:www-data\nbad:x:x:\n";

#[test]
fn a_user_is_looked_up_with_all_its_groups_unless_one_is_named() {
    let etc = tempfile::tempdir().unwrap();
    fs::write(etc.path().join("passwd"), PASSWD).unwrap();
    fs::write(etc.path().join("group"), GROUP).unwrap();
    let of = |text: &str| resolve_in(etc.path(), &text.parse().unwrap());
    let ids = |uid, gid, groups: &[u32]| Ids { uid, gid, groups: groups.to_vec() };
    assert_eq!(of("www-data").unwrap(), ids(33, 33, &[4, 112]));
    assert_eq!(of("33").unwrap(), ids(33, 33, &[4, 112]), "a number that has a name");
    assert_eq!(of("www-data:adm").unwrap(), ids(33, 4, &[]));
    assert_eq!(of("1000:ssl-cert").unwrap(), ids(1000, 112, &[]));
    assert_eq!(of("1000").unwrap(), ids(1000, 1000, &[]), "a number that has none");
    for (text, words) in [
        ("nobody-such", "user `nobody-such`: this machine has none"),
        ("root:nogroup-such", "group `nogroup-such`: this machine has none"),
        ("broken", "the line of `broken` has no numbers"),
        ("root:bad", "the line of `bad` has no numbers"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn where_there_are_no_such_files_numbers_still_stand_for_themselves() {
    let etc = tempfile::tempdir().unwrap();
    let of = |text: &str| resolve_in(etc.path(), &text.parse().unwrap());
    assert_eq!(of("7:8").unwrap(), Ids { uid: 7, gid: 8, groups: vec![] });
    assert_eq!(of("7").unwrap().gid, 7);
    assert!(of("root").unwrap_err().to_string().contains("No such file"));
}

#[test]
fn a_tasks_files_become_its_users_and_what_links_lead_to_does_not() {
    let Some(place) = Place::new() else { return };
    if !is_root() {
        return;
    }
    let volume = place.data.join("volume");
    fs::create_dir_all(place.work().join("sub")).unwrap();
    fs::create_dir_all(volume.join("kept")).unwrap();
    fs::write(place.work().join("sub/file"), "x").unwrap();
    fs::write(place.others_work().join("file"), "x").unwrap();
    symlink(place.others_work().join("file"), place.work().join("link")).unwrap();
    let mut spec = place.spec(Profile::Standard, &[]);
    spec.links = [("data".to_owned(), volume.clone()), ("gone".to_owned(), place.data.join("nowhere"))].into();
    give(&spec, &Ids { uid: 1234, gid: 4321, groups: vec![] }).unwrap();
    let owner = |path: &std::path::Path| fs::symlink_metadata(path).map(|about| (about.uid(), about.gid())).unwrap();
    for given in [place.work(), place.work().join("sub/file"), place.work().join("link"), volume.clone()] {
        assert_eq!(owner(&given), (1234, 4321), "{}", given.display());
    }
    for kept in [place.others_work().join("file"), volume.join("kept"), place.data.join("tasks/own")] {
        assert_eq!(owner(&kept), (0, 0), "{}", kept.display());
    }
    give_volumes(&spec, &Ids::ROOT).unwrap();
    assert_eq!((owner(&volume), owner(&place.work())), ((0, 0), (1234, 4321)), "root's again, and nothing else");
}
