//! Where tasks may run and how many: constraints, wishes, priorities, and `autoscale`.

use super::{job, refuse, refuse_line};
use crate::{Constraint, JobRef, Operator, PlacementStrategy};
use std::time::Duration;

#[test]
fn placing_is_read() {
    let job = job("resources = { gpu = 2 }\nplacement = \"pack\"\npriority = 70\nrevocable = true\nwith = [\"db\"]\n\
                   apart = [\"mail/spool\"]\nprefer = [\"disk IS ssd\", { rule = \"zone UNLIKE a.*\", weight = -5 }]");
    assert_eq!(job.custom, [("gpu".to_owned(), 2)].into());
    assert_eq!((job.strategy, job.priority, job.revocable), (PlacementStrategy::Pack, 70, true));
    let names = |refs: &[JobRef]| refs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names(&job.with), names(&job.apart)), (vec!["db".to_owned()], vec!["mail/spool".to_owned()]));
    let wishes: Vec<_> = job.prefer.iter().map(|wish| (wish.rule.to_string(), wish.weight)).collect();
    assert_eq!(wishes, [("disk IS ssd".to_owned(), 100), ("zone UNLIKE a.*".to_owned(), -5)]);
}

#[test]
fn placing_that_cannot_be_is_refused() {
    for (line, message) in [
        ("resources = { gpu = 0 }", "expected a number of this resource from 1"),
        ("resources = { memory = 1 }", "`memory` is a key of its own"),
        ("resources = { GPU = 1 }", "`GPU` is not a name"),
        ("placement = \"dense\"", "expected `spread` or `pack`"),
        ("priority = 101", "from 0 to 100"),
        ("with = [\"web\"]", "names the job itself"),
        ("apart = [\"shop/web\"]", "names the job itself"),
        ("apart = [\"db\"]\nwith = [\"db\"]", "is in `with`, too"),
        ("prefer = [\"hostname UNIQUE\"]", "a preference knows IS, LIKE and UNLIKE"),
        ("prefer = [{ rule = \"zone IS a\", weight = 0 }]", "but not 0"),
        ("prefer = [{ weight = 1 }]", "missing; expected a rule"),
        ("constraints = [\"zone LIKE [\"]", "is not a regular expression"),
        ("constraints = [\"zone LIKE a)|(b\"]", "is not a regular expression"),
        ("constraints = [\"zone LIKE\"]", "LIKE needs a regular expression"),
        ("constraints = [\"zone GROUP_BY 0\"]", "at least 1"),
    ] {
        let error = refuse_line(line);
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
    let error = refuse("app = \"shop\"\nteam = \"Red\"\n[service.web]\nrun = [\"x\"]\n");
    assert!(error.to_string().starts_with("line 2: team: `Red` is not a DNS label"), "{error}");
    let error = refuse("app = \"shop\"\n[daemon.web]\nrun = [\"x\"]\ncount = 2\n");
    assert!(error.to_string().contains("a daemon has one instance on each machine that matches"), "{error}");
}

#[test]
fn constraints_are_field_operator_value() {
    let rules =
        job("constraints = [\"zone IS north hall\", \"hostname  UNIQUE\", \"rack MAX_PER 2\", \"@region GROUP_BY\", \
             \"rack GROUP_BY 3\", \"zone CLUSTER\", \"zone CLUSTER a\", \"rack LIKE r[0-9]\", \"rack UNLIKE r9\"]")
        .constraints;
    let rule = |field: &str, operator| Constraint { field: field.into(), operator };
    let expected = [
        rule("zone", Operator::Is("north hall".into())),
        rule("hostname", Operator::Unique),
        rule("rack", Operator::MaxPer(2)),
        rule("@region", Operator::GroupBy(None)),
        rule("rack", Operator::GroupBy(Some(3))),
        rule("zone", Operator::Cluster(None)),
        rule("zone", Operator::Cluster(Some("a".into()))),
        rule("rack", Operator::Like("r[0-9]".into())),
        rule("rack", Operator::Unlike("r9".into())),
    ];
    assert_eq!(rules, expected);
    for (bad, message) in [
        ("hostname", "expected FIELD OPERATOR [VALUE]"),
        ("hostname unique", "unknown operator `unique`; did you mean `UNIQUE`?"),
        ("hostname UNIQUE 2", "UNIQUE takes no value"),
        ("zone IS", "IS needs a value"),
        ("zone MAX_PER", "MAX_PER needs a whole number"),
        ("zone MAX_PER 0", "MAX_PER needs a whole number"),
        ("zone MAX_PER -1", "MAX_PER needs a whole number"),
    ] {
        let error = refuse_line(&format!("constraints = [\"{bad}\"]"));
        assert!(error.message.contains(message), "{bad}: {error}");
    }
}

#[test]
fn a_service_is_scaled_by_its_load() {
    let by_cpu = job("autoscale = { min = 2, max = 10, cpu = 0.7, up_after = \"10s\" }");
    let scale = by_cpu.autoscale.as_ref().expect("it is scaled");
    assert_eq!((by_cpu.count, scale.min, scale.max, scale.cpu), (2, 2, 10, Some(700)), "it begins with the least");
    assert_eq!((scale.up_after, scale.down_after), (Duration::from_secs(10), Duration::from_secs(300)));
    let metric =
        job("ports = [\"http\"]\ncount = 3\nautoscale = { max = 9, memory = 1, metric = \"queue\", target = 2.5 }");
    let scale = metric.autoscale.expect("it is scaled");
    assert_eq!((metric.count, scale.min, scale.memory), (3, 1, Some(1000)));
    let metric = scale.metric.expect("a metric");
    assert_eq!((&*metric.name, &*metric.path, &*metric.port, metric.target), ("queue", "/metrics", "http", 2500));
}

#[test]
fn what_is_wrong_about_scaling_is_said_with_its_line() {
    for (line, says) in [
        ("autoscale = { min = 2, cpu = 0.7 }", "autoscale.max: missing"),
        ("autoscale = { max = 3 }", "at least one of `cpu`, `memory` and `metric`"),
        ("autoscale = { min = 5, max = 3, cpu = 1 }", "1 <= min <= max"),
        ("autoscale = { min = 0, max = 3, cpu = 1 }", "from 1 to 10000"),
        ("autoscale = { max = 3, cpu = 0 }", "from 0.001 to 1000"),
        ("autoscale = { max = 3, memory = 1.5 }", "from 0.001 to 1"),
        ("autoscale = { max = 3, cpu = 1, target = 3 }", "belongs to a `metric`"),
        ("autoscale = { max = 3, metric = \"queue\", target = 3 }", "no port"),
        ("autoscale = { max = 3, metric = \"queue\", port = \"http\" }", "target: missing"),
        ("autoscale = { max = 3, metric = \"queue\", port = \"http\", target = 3 }", "not one of the job's ports"),
        ("autoscale = { max = 3, cpus = 1 }", "did you mean `cpu`"),
        ("autoscale = { max = 3, cpu = 1, down_after = \"2h\" }", "at most 1h"),
    ] {
        let error = refuse_line(line).to_string();
        assert!(error.contains(says), "{line}: {error}");
    }
    let error = refuse_line("count = 7\nautoscale = { max = 3, cpu = 1 }").to_string();
    assert!(error.contains("keeps it from 1 to 3"), "{error}");
    let batch = "app = \"shop\"\n[batch.job]\nrun = [\"./job\"]\nautoscale = { max = 3, cpu = 1 }\n";
    assert!(refuse(batch).to_string().contains("only a service"));
}
