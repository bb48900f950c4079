use super::{Cpus, Resources};

const ROOM: Resources = Resources { cpus: Cpus(1000), memory: 100, disk: 10, ports: 2 };

#[test]
fn a_request_fits_only_if_each_resource_does() {
    assert!(ROOM.fits(&ROOM));
    assert!(ROOM.fits(&Resources::default()));
    assert!(!ROOM.fits(&Resources { cpus: Cpus(1001), ..Resources::default() }));
    assert!(!ROOM.fits(&Resources { memory: 101, ..Resources::default() }));
    assert!(!ROOM.fits(&Resources { disk: 11, ..Resources::default() }));
    assert!(!ROOM.fits(&Resources { ports: 3, ..Resources::default() }));
}

#[test]
fn sums_saturate_and_a_shrunk_machine_has_no_debt() {
    let mut free = ROOM;
    free -= Resources { cpus: Cpus(400), memory: 101, disk: 4, ports: 2 };
    assert_eq!(free, Resources { cpus: Cpus(600), memory: 0, disk: 6, ports: 0 });
    free += Resources { memory: u64::MAX, ports: u32::MAX, ..ROOM };
    free += ROOM;
    assert_eq!(free, Resources { cpus: Cpus(2600), memory: u64::MAX, disk: 26, ports: u32::MAX });
}

#[test]
fn cpus_are_shown_in_cores() {
    assert_eq!((Cpus(250).to_string(), Cpus(2000).to_string()), ("0.25".into(), "2".into()));
}
