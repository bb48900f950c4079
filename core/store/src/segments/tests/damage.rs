use super::common::*;

/// The start is refused with the name of a file, or everything is there.
fn is_refused(image: &Image, held: &Loaded, what: &str) -> Option<String> {
    match load(image) {
        Ok(found) => {
            assert_eq!(found, *held, "{what}: a damaged log was opened");
            None
        }
        Err(e) => {
            assert_eq!(e.kind(), io::ErrorKind::InvalidData, "{what}: {e}");
            let text = e.to_string();
            assert!(text.contains("`raft/"), "{what}: {text}");
            assert!(load(image).is_err(), "{what}: it was refused once only");
            Some(text)
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    let (files, held) = logged();
    let image = files.image();
    assert!(image.len() >= 4, "some segments and a snapshot: {:?}", image.keys());
    for (name, bytes) in &image {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let (mut refused, mut harmless) = (0, 0);
        for at in 0..bytes.len() {
            let mut harmed = image.clone();
            harmed.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            match is_refused(&harmed, &held, &format!("byte {at} of {name}")) {
                Some(text) => {
                    assert!(text.contains(name.as_str()), "byte {at} of {name}: {text}");
                    refused += 1;
                }
                None => {
                    assert!(at >= used, "byte {at} of {name}: nobody noticed");
                    harmless += 1;
                }
            }
        }
        assert!(refused >= used, "{name}: {refused} refused, {harmless} harmless");
    }
}

#[test]
fn a_file_that_is_missing_is_refused() {
    let (files, held) = logged();
    let image = files.image();
    for name in image.keys() {
        let mut harmed = image.clone();
        harmed.remove(name);
        let text = is_refused(&harmed, &held, name).unwrap_or_else(|| panic!("{name} was not missed"));
        assert!(text.contains(name.as_str()) && text.contains("missing"), "{name}: {text}");
    }
    let snapshot_only = image.into_iter().filter(|(name, _)| name.starts_with("snapshot")).collect();
    is_refused(&snapshot_only, &held, "no segment").expect("a snapshot alone is no log");
}

#[test]
fn a_file_that_was_shortened_is_refused() {
    let (files, held) = logged();
    let image = files.image();
    let last = image.keys().rfind(|name| name.ends_with(".log")).unwrap();
    for (name, bytes) in &image {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for length in (0..used).step_by(7) {
            // Of the last one a part may always have been torn off, where a sector ends.
            if name == last && (length % 512 == 0 || length % 16 == 0) {
                continue;
            }
            let mut harmed = image.clone();
            harmed.get_mut(name).unwrap().truncate(length);
            let text = is_refused(&harmed, &held, name).unwrap_or_else(|| panic!("{name}, {length} bytes"));
            assert!(text.contains(name.as_str()), "{text}");
        }
    }
}

#[test]
fn files_that_were_swapped_are_refused() {
    let (files, held) = logged();
    let image = files.image();
    let names: Vec<&String> = image.keys().collect();
    for one in &names {
        for other in names.iter().filter(|other| *other != one) {
            let mut harmed = image.clone();
            harmed.insert((*one).clone(), image[*other].clone());
            is_refused(&harmed, &held, &format!("{other} as {one}")).expect("another file");
        }
    }
}

#[test]
fn an_older_copy_of_a_file_is_refused() {
    let files = MemoryFiles::default();
    let mut disk = opened(&files);
    let mut older = files.image();
    for n in 0..40_u8 {
        let ops = [Op::Append(vec![(n.into(), vec![n; 300])]), Op::Snapshot(vec![n], vec![n; 50])];
        disk.commit(&ops, None).unwrap();
        let image = files.image();
        let held = load(&image).unwrap();
        for (name, bytes) in older.iter().filter(|(name, bytes)| image.get(*name).is_some_and(|now| now != *bytes)) {
            if image.keys().rfind(|name| name.ends_with(".log")) != Some(name) {
                let mut harmed = image.clone();
                harmed.insert(name.clone(), bytes.clone());
                is_refused(&harmed, &held, name).expect("what came later is missing");
            }
        }
        older = image;
    }
}

#[test]
fn a_file_of_another_node_is_refused_by_name() {
    let (files, held) = logged();
    let other = MemoryFiles::default();
    let mut disk = SegmentDisk::open(Arc::new(other.clone()), NodeId(6), SMALL).unwrap();
    disk.load().unwrap();
    disk.commit(&[Op::Append(vec![(0, vec![1; 300])]), Op::Snapshot(vec![1], vec![1; 50])], None).unwrap();
    assert!(is_refused(&other.image(), &held, "all").unwrap().contains("another node"));
    let image = files.image();
    for name in image.keys() {
        let mut harmed = image.clone();
        let foreign = if name.ends_with(".log") { "00000001.log" } else { "snapshot-00000001" };
        harmed.insert(name.clone(), other.image()[foreign].clone());
        is_refused(&harmed, &held, name).expect("a foreign file");
    }
}

#[test]
fn segments_that_came_back_after_they_were_removed_are_harmless() {
    let files = MemoryFiles::default();
    let mut disk = opened(&files);
    let mut ever = Image::new();
    for n in 0..100_u64 {
        let mut ops = vec![Op::Append(vec![(n, vec![1; 300])])];
        ops.extend((n % 10 == 9).then(|| Op::Purge(n - 2, vec![2; 5])));
        disk.commit(&ops, None).unwrap();
        ever.extend(files.image());
    }
    let held = load(&files.image()).unwrap();
    let gone: Vec<&String> = ever.keys().filter(|name| !files.image().contains_key(*name)).collect();
    assert!(gone.len() >= 4, "{gone:?}");
    for back in 0..1 << gone.len().min(8) {
        let mut image = files.image();
        for (_, name) in gone.iter().rev().enumerate().filter(|(bit, _)| back >> bit & 1 == 1) {
            image.insert((*name).clone(), ever[*name].clone());
        }
        assert_eq!(load(&image).unwrap(), held, "{:?}", image.keys());
    }
}
