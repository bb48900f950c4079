//! How other systems write names, read as names of our own zone.
//!
//! Where they have one name for what are app and service with us, both are joined: `web-shop` is `web.shop`. A label
//! with several hyphens is split at the first where service and app exist. Labels in front of such a name are those of
//! our own zone: `canary.`, `2.` and `_http._tcp.` work everywhere.

use crate::{Name, Snapshot, alias::Meaning};

/// The version of the specification whose names [`kubernetes`] reads.
const KUBERNETES_VERSION: &str = "1.1.0";

/// Mesos-DNS with Marathon. Below a domain of one label, or one that begins with `mesos`: `leader`, `master` (voters),
/// `slave` (machines), and below any framework's label, alone or below `slave`, the names of tasks. A domain such as
/// `marathon.mesos` is a framework's.
pub(crate) fn mesos<'q>(snapshot: &'q Snapshot, domain: &Name, labels: &[&'q str]) -> Option<Meaning<'q>> {
    if domain.labels().count() > 1 && !begins_with(domain, "mesos") {
        return marathon(snapshot, labels);
    }
    match *labels {
        ["leader"] => Some(Meaning::Own(vec!["leader"])),
        ["master"] => Some(Meaning::Own(vec!["voters"])),
        ["slave"] => Some(Meaning::Own(vec!["nodes"])),
        [ref tasks @ .., framework, "slave"] | [ref tasks @ .., framework] if is_plain(framework) => {
            marathon(snapshot, tasks)
        }
        _ => None,
    }
}

/// The names of a framework's tasks: `web-shop`, `_web-shop._tcp` (its first port) and `_http._web-shop._tcp`.
/// Marathon joins the path of a group in reverse, so that `web-shop` was `/shop/web`. A label that is no service and
/// app is an app: its service of the same name, or its only one.
fn marathon<'q>(snapshot: &'q Snapshot, labels: &[&'q str]) -> Option<Meaning<'q>> {
    let task = |label: &'q str| joined(snapshot, label).or_else(|| of_app(snapshot, label));
    match *labels {
        [] | ["_tcp"] => snapshot.has_services().then_some(Meaning::Empty),
        [label, "_tcp"] => {
            let (service, app) = task(label.strip_prefix('_')?)?;
            Some(Meaning::Ports(vec![service, app]))
        }
        [port, label, "_tcp"] => {
            let (service, app) = task(label.strip_prefix('_')?)?;
            Some(Meaning::Own(vec![port, "_tcp", service, app]))
        }
        [ref below @ .., label] => Some(own(below, task(label)?)),
    }
}

/// Consul. `NAME.service` and `NODE.node`, each perhaps with a label for the data centre behind; `_NAME._tcp.service`
/// and `_NAME._TAG.service`. Below a domain that begins with `service` or `node` it is left out. A name is a service
/// and app, joined, or else a service that is the only one of its name; if several apps have one, that of the app of
/// the same name, or nothing: rather no answer than one that changes with the apps of others.
pub(crate) fn consul<'q>(snapshot: &'q Snapshot, domain: &Name, labels: &[&'q str]) -> Option<Meaning<'q>> {
    if begins_with(domain, "service") {
        return consul_service(snapshot, labels);
    } else if begins_with(domain, "node") {
        return consul_node(labels);
    }
    match *labels {
        [ref below @ .., "service"] => consul_service(snapshot, below),
        [ref below @ .., "node"] => consul_node(below),
        [ref below @ .., "service", centre] if is_plain(centre) => consul_service(snapshot, below),
        [ref below @ .., "node", centre] if is_plain(centre) => consul_node(below),
        [centre] if is_plain(centre) => Some(Meaning::Empty),
        _ => None,
    }
}

fn consul_node<'q>(labels: &[&'q str]) -> Option<Meaning<'q>> {
    match *labels {
        [] => Some(Meaning::Empty),
        [node] => Some(Meaning::Own(vec![node, "node"])),
        _ => None,
    }
}

fn consul_service<'q>(snapshot: &'q Snapshot, labels: &[&'q str]) -> Option<Meaning<'q>> {
    let named = |name: &'q str| joined(snapshot, name).or_else(|| only(snapshot, name));
    match *labels {
        [] => snapshot.has_services().then_some(Meaning::Empty),
        [protocol] if protocol.starts_with('_') => snapshot.has_services().then_some(Meaning::Empty),
        [name, "_tcp"] => {
            let (service, app) = named(name.strip_prefix('_')?)?;
            Some(Meaning::Ports(vec![service, app]))
        }
        [name, tag] if tag.starts_with('_') => {
            let (service, app) = named(name.strip_prefix('_')?)?;
            Some(Meaning::Ports(vec![&tag[1..], service, app]))
        }
        [name] => match named(name) {
            Some(pair) => Some(own(&[], pair)),
            None => snapshot.apps_with(name).next().map(|_| Meaning::Empty),
        },
        [ref below @ .., name] => Some(own(below, named(name)?)),
    }
}

/// Kubernetes, an app in the place of a namespace: `SERVICE.APP.svc` with all names below it. Below a domain that
/// begins with `svc` that label is left out. Services are headless ones.
pub(crate) fn kubernetes<'q>(snapshot: &'q Snapshot, domain: &Name, labels: &[&'q str]) -> Option<Meaning<'q>> {
    let below = match *labels {
        _ if begins_with(domain, "svc") => labels,
        ["dns-version"] => return Some(Meaning::Text(KUBERNETES_VERSION)),
        [ref below @ .., "svc"] => below,
        _ => return None,
    };
    match *below {
        [] => snapshot.has_services().then_some(Meaning::Empty),
        // Nothing else that our own zone has is in the place of an app.
        [.., app] => snapshot.has_app(app).then(|| Meaning::Own(below.to_vec())),
    }
}

fn own<'q>(below: &[&'q str], (service, app): (&'q str, &'q str)) -> Meaning<'q> {
    Meaning::Own(below.iter().copied().chain([service, app]).collect())
}

/// `web-shop` as service and app. Also one that is absent just now, so that its name does not mean another meanwhile.
fn joined<'q>(snapshot: &Snapshot, label: &'q str) -> Option<(&'q str, &'q str)> {
    let mut splits = label.match_indices('-').map(|(at, _)| (&label[..at], &label[at + 1..]));
    splits.find(|(service, app)| snapshot.services.contains_key(&((*app).into(), (*service).into())))
}

/// An app's service of the same name, or its only one.
fn of_app<'q>(snapshot: &'q Snapshot, app: &'q str) -> Option<(&'q str, &'q str)> {
    if snapshot.services.contains_key(&(app.into(), app.into())) {
        return Some((app, app));
    }
    let mut services = snapshot.services_of(app);
    let (((_, service), _), None) = (services.next()?, services.next()) else { return None };
    Some((service, app))
}

/// The only service of a name, or that of the app of the same name.
fn only<'q>(snapshot: &'q Snapshot, service: &'q str) -> Option<(&'q str, &'q str)> {
    if snapshot.services.contains_key(&(service.into(), service.into())) {
        return Some((service, service));
    }
    let mut apps = snapshot.apps_with(service);
    let (app, None) = (apps.next()?, apps.next()) else { return None };
    Some((service, app))
}

fn begins_with(domain: &Name, label: &str) -> bool {
    domain.labels().next().is_some_and(|first| first == label.as_bytes())
}

fn is_plain(label: &str) -> bool {
    !label.starts_with('_')
}
