//! `isolation`, `user` and `rlimits`.

use super::{job, refuse_line};
use crate::{Account, Isolation, Job, Measure, Profile, Rlimit, RlimitBounds, RunAs};
use std::collections::BTreeMap;

#[test]
fn a_job_says_how_it_is_kept_apart() {
    assert_eq!(job("").isolation, Isolation::default());
    let named = |name: &str| job(&format!("isolation = \"{name}\"")).isolation;
    for profile in Profile::ALL {
        assert_eq!(named(profile.name()), Isolation { profile: Some(profile), without: [].into() });
    }
    let read = job("isolation = { profile = \"standard\", without = [\"seccomp\", \"pid-namespace\"] }").isolation;
    assert_eq!(read.without, [Measure::PidNamespace, Measure::Seccomp].into());
    assert_eq!(read.to_string(), "standard without pid-namespace, seccomp");
    assert!(!read.measures(Profile::None).contains(&Measure::Seccomp));
    assert!(read.measures(Profile::None).contains(&Measure::Landlock), "the profile that is named counts");
    let loosened = job("isolation = { without = [\"landlock\"] }").isolation;
    assert_eq!((loosened.profile, loosened.measures(Profile::Standard).len()), (None, Measure::ALL.len() - 2));
    for measure in Measure::ALL {
        let read = job(&format!("isolation = {{ profile = \"strict\", without = [\"{measure}\"] }}")).isolation;
        assert_eq!(&Profile::Strict.measures() - &read.measures(Profile::None), [measure].into());
    }
}

#[test]
fn a_job_says_who_it_runs_as_and_what_it_may_use() {
    let user = |text: &str| job(&format!("user = \"{text}\"")).user.expect("a user").to_string();
    for text in ["www-data", "1000", "1000:1000", "www-data:adm", "svc.web_1:0"] {
        assert_eq!(user(text), text);
    }
    assert_eq!(
        job("user = \"1000:www\"").user,
        Some(RunAs { user: Account::Id(1000), group: Some(Account::Name("www".into())) })
    );
    let limits = job(
        "rlimits = { nofile = 4096, core = 0, memlock = \"unlimited\", nproc = { soft = 10, hard = \"unlimited\" } }",
    );
    let both = RlimitBounds::both;
    let wanted = [
        (Rlimit::Core, both(Some(0))),
        (Rlimit::Memlock, both(None)),
        (Rlimit::Nofile, both(Some(4096))),
        (Rlimit::Nproc, RlimitBounds { soft: Some(10), hard: None }),
    ];
    assert_eq!(limits.rlimits, wanted.into());
    for limit in Rlimit::ALL {
        job(&format!("isolation = \"none\"\nrlimits = {{ {limit} = 1 }}"));
    }
    let dumps = "isolation = { without = [\"core-dumps\"] }\nrlimits = { core = \"unlimited\" }";
    assert_eq!(job(dumps).rlimits[&Rlimit::Core], both(None));
}

#[test]
fn a_wrong_isolation_user_or_limit_is_told_by_field() {
    let cases = [
        ("isolation = \"stric\"", "isolation", "`stric` is no profile; did you mean `strict`?"),
        ("isolation = true", "isolation", "expected the name of a profile, or a table, found true"),
        ("isolation = { profil = \"none\" }", "isolation.profil", "did you mean `profile`?"),
        ("isolation = { without = \"seccomp\" }", "isolation.without", "expected an array of measures"),
        (
            "isolation = { without = [\"secomp\"] }",
            "isolation.without",
            "`secomp` is no measure; did you mean `seccomp`?",
        ),
        ("isolation = { profile = \"none\", without = [\"seccomp\"] }", "isolation", "leave `without` out"),
        ("user = 1000", "user", "expected a string, found 1000"),
        ("user = \"\"", "user", "is not a user or group"),
        ("user = \"a b\"", "user", "is not a user or group"),
        ("user = \"root:\"", "user", "is not a user or group"),
        ("user = \"1:2:3\"", "user", "is not a user or group"),
        ("user = \"4294967295\"", "user", "is too large"),
        ("rlimits = { nofiles = 1 }", "rlimits.nofiles", "did you mean `nofile`?"),
        ("rlimits = { nofile = -1 }", "rlimits.nofile", "expected a whole number, `unlimited`, or a table"),
        ("rlimits = { nofile = \"many\" }", "rlimits.nofile", "found the string \"many\""),
        ("rlimits = { nofile = { soft = 1 } }", "rlimits.nofile.hard", "missing"),
        (
            "rlimits = { nofile = { soft = 2, hard = 1 } }",
            "rlimits",
            "nofile: the soft limit 2 is above the hard one, 1",
        ),
        ("rlimits = { nofile = { soft = \"unlimited\", hard = 1 } }", "rlimits", "the soft limit unlimited is above"),
        ("rlimits = { core = 1000 }", "rlimits", "add `core-dumps` to `without`"),
    ];
    for (line, field, message) in cases {
        let error = refuse_line(line);
        assert_eq!(error.field, format!("service.web.{field}"), "{line}");
        assert!(error.message.contains(message), "{line}: {error}");
    }
    let help = refuse_line("isolation = { without = [\"x\"] }").help.expect("what there is");
    assert!(help.contains("known measures: pid-namespace,"), "{help}");
}

#[test]
fn what_is_said_survives_the_log_and_the_records_of_a_run() {
    let job = job("isolation = { profile = \"strict\", without = [\"landlock\"] }\nuser = \"www-data:1000\"\n\
         rlimits = { nofile = 9, stack = { soft = 1, hard = \"unlimited\" } }");
    let kept: Job = postcard::from_bytes(&postcard::to_stdvec(&job).unwrap()).unwrap();
    assert_eq!(kept, job);
    let text = serde_json::to_string(&(&job.isolation, &job.user, &job.rlimits)).unwrap();
    assert_eq!(
        text,
        "[{\"profile\":\"strict\",\"without\":[\"landlock\"]},\"www-data:1000\",\
         {\"nofile\":{\"soft\":9,\"hard\":9},\"stack\":{\"soft\":1,\"hard\":null}}]"
    );
    let read: (Isolation, Option<RunAs>, BTreeMap<Rlimit, RlimitBounds>) = serde_json::from_str(&text).unwrap();
    assert_eq!(read, (job.isolation, job.user, job.rlimits));
    assert!(serde_json::from_str::<RunAs>("\"a b\"").is_err(), "what no machine can know is not read either");
}
