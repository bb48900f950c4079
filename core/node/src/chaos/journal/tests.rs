use super::*;

fn record(number: u64) -> Record {
    Record {
        version: VERSION,
        id: format!("{number:08x}"),
        run: "r".into(),
        node: "n1".into(),
        fault: Fault::Loss { fraction: 0.5 },
        backend: "socket".into(),
        commands: vec![],
        peers: vec![],
        ends: vec![],
        task: None,
        boot: boot_id(),
        begins: boot_millis(),
        until: boot_millis() + 60_000,
        begun_at: number,
        ends_at: number + 60_000,
        agent: Process::look_up(std::process::id()).unwrap(),
        deed: Deed::Table { family: "ip".into(), name: "t".into(), rules: String::new() },
    }
}

fn journal() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().join("chaos"));
    journal.make().unwrap();
    (folder, journal)
}

#[test]
fn what_was_written_is_read_with_what_became_of_it() {
    let (_folder, journal) = journal();
    journal.add(&record(1)).unwrap();
    let entry = journal.entry("00000001").unwrap();
    assert_eq!((&entry.record.deed, entry.told.clone(), entry.to_end), (&record(1).deed, None, false));
    assert!(!entry.is_due(boot_millis(), &boot_id()) && !entry.is_over());
    assert!(entry.is_due(entry.record.until, &boot_id()), "at its end");
    assert!(entry.is_due(boot_millis(), "another boot"), "after a reboot");
    journal.ask_for_end("00000001").unwrap();
    assert!(journal.entry("00000001").unwrap().is_due(boot_millis(), &boot_id()), "when it is asked for");
    journal.tell("00000001", &Told::undone(None)).unwrap();
    assert!(journal.entry("00000001").unwrap().is_over());
    assert_eq!(journal.entries().len(), 1);
}

#[test]
fn only_faults_that_are_over_are_forgotten() {
    let (_folder, journal) = journal();
    for number in 0..REMEMBERED_MAX as u64 + 20 {
        journal.add(&record(number)).unwrap();
        if number != 3 {
            journal.tell(&format!("{number:08x}"), &Told::undone(None)).unwrap();
        }
    }
    journal.add(&record(9_999)).unwrap();
    let ids: Vec<String> = journal.entries().into_iter().map(|entry| entry.record.id).collect();
    assert_eq!(ids.len(), REMEMBERED_MAX + 1);
    assert_eq!((ids[0].as_str(), ids.last().unwrap().as_str()), ("00000003", "0000270f"), "which is still on");
}

/// Names of what somebody is writing, or was.
fn unfinished_parts(journal: &Journal) -> Vec<String> {
    let names = fs::read_dir(journal.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut parts: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
    parts.sort();
    parts
}

#[test]
fn an_end_is_asked_for_by_a_file_that_takes_no_room() {
    let (_folder, journal) = journal();
    journal.add(&record(1)).unwrap();
    journal.ask_for_end("00000001").unwrap();
    assert_eq!(fs::metadata(journal.folder().join("00000001.end")).unwrap().len(), 0);
    assert!(journal.entry("00000001").unwrap().to_end);
}

#[test]
fn nothing_unfinished_stays() {
    let (_folder, journal) = journal();
    // What cannot be replaced.
    fs::create_dir_all(journal.folder().join("00000001.told/in the way")).unwrap();
    journal.tell("00000001", &Told::active()).unwrap_err();
    assert_eq!(unfinished_parts(&journal), Vec::<String>::new());
    // What a process was writing when it was killed, and what one is writing.
    let mine = format!(".00000002.json.{}.7", std::process::id());
    for name in [".00000002.json.4294967295.0", mine.as_str(), ".profile"] {
        fs::write(journal.folder().join(name), "{").unwrap();
    }
    journal.add(&record(3)).unwrap();
    assert_eq!(unfinished_parts(&journal), [mine.as_str(), ".profile"]);
}

#[test]
fn nothing_is_believed_of_an_earlier_fault_of_the_same_name() {
    let (_folder, journal) = journal();
    journal.tell("00000001", &Told::undone(None)).unwrap();
    journal.ask_for_end("00000001").unwrap();
    journal.hear("00000001").unwrap();
    assert!(journal.entry("00000001").is_none(), "its record is not there");
    assert!(journal.is_heard("00000001"));
    journal.add(&record(1)).unwrap();
    assert!(!journal.is_heard("00000001"));
    let entry = journal.entry("00000001").unwrap();
    assert_eq!((entry.told, entry.to_end), (None, false));
}

#[test]
fn an_id_can_name_a_file_and_a_table() {
    assert!(is_id("0123456789abcdef"));
    for wrong in ["", "0123456", "0123456789ABCDEF", "../../etc/passwd", "0123 567", &"0".repeat(33)] {
        assert!(!is_id(wrong), "{wrong}");
    }
}

#[test]
fn a_process_is_not_mistaken_for_another_of_its_number() {
    let own = Process::look_up(std::process::id()).unwrap();
    assert!(own.lives());
    assert!(!Process { start: own.start + 1, ..own }.lives());
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    while Process::look_up(pid).is_some() {
        std::thread::yield_now(); // until it is dead and not reaped
    }
    child.wait().unwrap();
}
