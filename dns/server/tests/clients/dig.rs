//! The tools that people look with.

use crate::{
    program::{installed, lines, output},
    served::{CROWD, GIVEN_MAX, Served, both, name, web, words},
};
use std::process::Command;

/// A tool with the syntax of dig.
struct Tool {
    program: &'static str,
    port: String,
}

impl Tool {
    fn of(program: &'static str, served: &Served) -> Self {
        Self { program, port: served.port().to_string() }
    }

    fn ask(&self, words: &[&str]) -> String {
        output(Command::new(self.program).args(["@127.0.0.1", "-p", &self.port, "+time=5"]).args(words))
    }

    /// The data of the answer, one record a line.
    fn short(&self, words: &[&str]) -> String {
        self.ask(&[words, &["+short"]].concat())
    }

    fn assert_reads_records(&self) {
        let (web_name, both_name) = (name("web"), name("both"));
        assert_eq!(lines(&self.short(&[&web_name, "A"])), words(&web()));
        assert_eq!(lines(&self.short(&[&web_name, "A", "+tcp"])), words(&web()));
        assert_eq!(lines(&self.short(&[&both_name, "AAAA"])), words(&both()[1..]));
        let srv = [1, 2].map(|n| format!("0 10 31000 {n}.{web_name}."));
        assert_eq!(lines(&self.short(&[&format!("_http._tcp.{web_name}"), "SRV"])), srv.into());
        assert_eq!(self.short(&["-x", "10.1.0.1"]).trim(), format!("1.{web_name}."));
        assert_eq!(self.short(&["-x", "fd00::4"]).trim(), format!("4.{both_name}."));
        let soa = self.short(&["fabric.internal", "SOA"]);
        assert!(soa.starts_with("n1.node.fabric.internal. hostmaster.fabric.internal. 1 "), "{soa}");
        assert_eq!(self.short(&["fabric.internal", "NS"]).trim(), "n1.node.fabric.internal.");
    }

    fn assert_tells_nothing_from_no_such_name(&self) {
        let nodata = self.ask(&[&name("idle"), "A"]);
        assert!(nodata.contains("NOERROR") && nodata.contains("SOA"), "{nodata}");
        let nxdomain = self.ask(&[&name("nosuch"), "A"]);
        assert!(nxdomain.contains("NXDOMAIN") && nxdomain.contains("SOA"), "{nxdomain}");
        let refused = self.ask(&["example.com", "A"]);
        assert!(refused.contains("REFUSED"), "{refused}");
    }

    fn assert_takes_what_is_cut_by_a_stream(&self) {
        assert!(usize::try_from(CROWD).unwrap() > GIVEN_MAX);
        assert_eq!(lines(&self.short(&[&name("crowd"), "A"])).len(), GIVEN_MAX);
        let cut = self.ask(&[&name("crowd"), "A", "+ignore"]);
        assert!(cut.contains(" tc"), "{cut}");
    }
}

#[test]
fn dig_reads_every_kind_of_answer() {
    if !installed([("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let dig = Tool::of("dig", &served);
    dig.assert_reads_records();
    dig.assert_tells_nothing_from_no_such_name();
    dig.assert_takes_what_is_cut_by_a_stream();
}

#[test]
fn dig_finds_no_fault_with_odd_questions() {
    if !installed([("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let dig = Tool::of("dig", &served);
    let mixed = dig.ask(&["wEb.ShOp.fabric.INTERNAL", "A", "+noedns"]);
    assert!(mixed.contains(";wEb.ShOp.fabric.INTERNAL.") && mixed.contains("10.1.0.1"), "{mixed}");
    let any = dig.short(&[&name("both"), "ANY", "+notcp"]);
    assert!(!any.is_empty());
    let chaos = dig.ask(&["version.bind", "TXT", "CH"]);
    assert!(chaos.contains("REFUSED"), "{chaos}");
    let notify = dig.ask(&["fabric.internal", "SOA", "+opcode=NOTIFY"]);
    assert!(notify.contains("NOTIMP"), "{notify}");
    let future = dig.ask(&["fabric.internal", "SOA", "+edns=1", "+noednsnegotiation"]);
    assert!(future.contains("BADVERS"), "{future}");
    for odd in [&mixed, &chaos, &notify, &future] {
        assert!(!odd.contains("malformed") && !odd.contains("mismatch"), "{odd}");
    }
}

#[test]
fn dig_transfers_the_whole_zone() {
    if !installed([("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let zone = Tool::of("dig", &served).ask(&["fabric.internal", "AXFR", "+noall", "+answer"]);
    let records: Vec<Vec<&str>> = zone.lines().map(|line| line.split_whitespace().collect()).collect();
    let is_soa = |record: Option<&Vec<&str>>| record.is_some_and(|record| record.get(3) == Some(&"SOA"));
    assert!(is_soa(records.first()) && is_soa(records.last()), "{zone}");
    let of = |owner: &str| records.iter().filter(|r| r[0] == format!("{owner}.") && r[3] == "A").count();
    assert_eq!(of(&name("web")), web().len());
    assert_eq!(of(&name("crowd")), GIVEN_MAX);
    assert_eq!(of(&format!("{CROWD}.{}", name("crowd"))), 1);
}

#[test]
fn kdig_reads_every_kind_of_answer() {
    if !installed([("kdig", "knot-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let kdig = Tool::of("kdig", &served);
    kdig.assert_reads_records();
    kdig.assert_tells_nothing_from_no_such_name();
    kdig.assert_takes_what_is_cut_by_a_stream();
}

#[test]
fn kdig_asks_several_questions_of_one_connection() {
    if !installed([("kdig", "knot-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let kdig = Tool::of("kdig", &served);
    let (web_name, both_name) = (name("web"), name("both"));
    let given = kdig.ask(&["+tcp", "+keepopen", "+short", &web_name, "A", &both_name, "A", &both_name, "AAAA"]);
    assert_eq!(lines(&given), words(&[web(), both()].concat()));
}
