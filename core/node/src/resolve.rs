//! What DNS answers, and why: the same snapshot as DNS's, in words for people and JSON for programs.

use crate::{
    api::{ApiError, BehindView, ErrorCode, HiddenView, RecordView, ResolveView, SourceView, ZoneView},
    node::Core,
};
use std::collections::BTreeMap;
use taffeta_dns_answer::{Answer, Data, Explained, Name, Record, RecordType, SOA_TIMERS, Subject, explain};
use taffeta_model::NodeId;

impl Core {
    /// What DNS answers, and why.
    pub(crate) fn resolve(&self, name: &str, record_type: &str) -> Result<ResolveView, ApiError> {
        let wrong = |field: &str, e: String| ApiError::new(ErrorCode::Invalid, e).field(field);
        let record_type: RecordType = record_type.parse().map_err(|e| wrong("type", format!("{e}")))?;
        let snapshot = self.names.load_full();
        let full = self.in_full(name);
        let parsed: Name = full.parse().map_err(|e| wrong("name", format!("{e}")))?;
        let explained = explain(&snapshot, &parsed, record_type, self.entropy.seed());
        let mut notes = vec![];
        if snapshot.is_stale() {
            notes.push("this node sees less than half of the ring: last-known answers".into());
        }
        let (status, records, additional) = match explained.answer {
            Answer::Data { records, additional, .. } => ("NOERROR", records, additional),
            Answer::NoData { .. } => ("NOERROR", vec![], vec![]),
            Answer::NxDomain { .. } => ("NXDOMAIN", vec![], vec![]),
            Answer::NotReady => ("SERVFAIL", vec![], vec![]),
            Answer::Refused => ("REFUSED", vec![], vec![]),
            Answer::NotOurs => {
                notes.push("not a name of the fabric: it is passed on to the machine's upstream resolvers".into());
                ("NOTOURS", vec![], vec![])
            }
        };
        if let Some(read) = &explained.alias {
            notes.push(match &read.name {
                Some(name) => format!("a name of the zone {}, read as {name}", read.zone),
                None => format!("a name of the zone {}, which stands for nothing here", read.zone),
            });
        }
        if let Subject::Service { app, service, .. } = &explained.subject
            && explained.behind.is_empty()
        {
            notes.push(format!("`{service}` of `{app}` is registered, but no machine runs it"));
        }
        Ok(ResolveView {
            name: format!("{}.", full.trim_end_matches('.')),
            record_type: record_type.to_string(),
            status: status.into(),
            records: records.iter().map(record_view).collect(),
            additional: additional.iter().map(record_view).collect(),
            hidden: explained.behind.iter().filter(|e| !e.verdict.is_given()).map(hidden_view).collect(),
            behind: self.behind(explained.behind),
            notes,
        })
    }

    /// A part of the zone.
    pub(crate) fn zone(&self, after: usize, limit: usize) -> Result<ZoneView, ApiError> {
        let snapshot = self.names.load_full();
        if !snapshot.is_ready() {
            return Err(ApiError::new(ErrorCode::Failed, "this node has no view of the ring yet"));
        }
        let zone = snapshot.transfer(snapshot.domain()).into_iter().flatten();
        let mut rest = zone.skip(after);
        let records: Vec<_> = rest.by_ref().take(limit).map(|record| record_view(&record)).collect();
        let next = rest.next().map(|_| after + records.len());
        Ok(ZoneView { zone: snapshot.domain().to_string(), serial: snapshot.serial(), records, next })
    }

    /// Short names are completed, as a task's resolver would with its search list.
    fn in_full(&self, name: &str) -> String {
        let bare = name.trim_end_matches('.');
        let zones = self.settings.dns_options.zones();
        let zones = zones.iter().map(|zone| zone.domain.to_string());
        let mut zones = zones.chain([self.domain.clone(), "arpa".into()]);
        let is_whole = zones.any(|zone| {
            let zone = zone.trim_end_matches('.');
            bare == zone || bare.strip_suffix(zone).is_some_and(|below| below.ends_with('.'))
        });
        if name.ends_with('.') || is_whole { bare.to_owned() } else { format!("{bare}.{}", self.domain) }
    }

    /// What could stand behind the name, with the set of its machine that says so.
    fn behind(&self, explained: Vec<Explained>) -> Vec<BehindView> {
        let mut sources: BTreeMap<&str, Option<SourceView>> =
            explained.iter().map(|e| (e.node.as_str(), None)).collect();
        let directory = std::sync::Arc::clone(&self.directory.borrow());
        let members = directory.members.iter().map(|(id, member)| (*id, member.name.as_str()));
        for (id, name) in members.chain([(self.me, self.settings.name.as_str())]) {
            if let Some(source) = sources.get_mut(name) {
                *source = self.source(id);
            }
        }
        let view = |e: &Explained| BehindView {
            instance: e.name.clone(),
            node: e.node.clone(),
            address: e.address.to_string(),
            port: e.port,
            given: e.verdict.is_given(),
            reason: e.verdict.to_string(),
            source: sources.get(e.node.as_str()).cloned().flatten(),
        };
        explained.iter().map(view).collect()
    }

    fn source(&self, owner: NodeId) -> Option<SourceView> {
        let head = self.gossip.sets().get(&owner)?.head;
        let heard = *self.heard.load().get(&owner)?;
        let age_s = self.now().since(heard).as_secs_f64();
        Some(SourceView { epoch: head.epoch, seq: head.seq, age_s: (age_s * 1e3).round() / 1e3 })
    }
}

fn hidden_view(explained: &Explained) -> HiddenView {
    HiddenView { instance: explained.name.clone(), node: explained.node.clone(), reason: explained.verdict.to_string() }
}

fn record_view(record: &Record) -> RecordView {
    let data = match &record.data {
        Data::A(address) => address.to_string(),
        Data::Aaaa(address) => address.to_string(),
        Data::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
        Data::Txt(texts) => texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(" "),
        Data::Https(binding) | Data::Svcb(binding) => binding.to_string(),
        Data::Ptr(name) | Data::Ns(name) => name.to_string(),
        Data::Soa { mname, rname, serial, minimum } => {
            let [refresh, retry, expire] = SOA_TIMERS;
            format!("{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}")
        }
    };
    RecordView {
        name: record.name.to_string(),
        record_type: record.data.record_type().to_string(),
        ttl: record.ttl,
        data,
    }
}
