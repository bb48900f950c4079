//! How a node is to run.

use super::{Key, Settings, Value, wrong};
use crate::{
    args::NodeFlags,
    failure::{Failure, Outcome},
    units,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};
use taffeta_model::{CUSTOM_MAX, NodeName};
use taffeta_node::{
    DNS_PORT, DnsOptions, FABRIC_PORT, FabricConfig, HTTP_PORT, HostPaths, JoinToken, OfferChanges, RingPreset,
    TaskDns, TaskOptions,
};

/// A whole number of seconds, 1 to a year.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u64>().ok().filter(|n| (1..=31_536_000).contains(n));
    number.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is not a number of seconds from 1 to 31536000"))
}

fn size(text: &str) -> Result<u64, String> {
    units::size(text).map_err(|why| format!("`{text}` is not a size: {why}"))
}

impl NodeFlags {
    /// These flags as settings.
    pub(crate) fn given(self) -> Vec<(Key, Value)> {
        let texts = [
            (Key::Name, self.name),
            (Key::Address, self.address),
            (Key::Advertise, self.advertise),
            (Key::Http, self.http),
            (Key::Dns, self.dns),
            (Key::Zone, self.zone),
            (Key::Cpus, self.cpus),
            (Key::Memory, self.memory),
            (Key::Disk, self.disk),
            (Key::Ring, self.ring),
            (Key::JoinTimeout, self.join_timeout),
            (Key::DnsRate, self.dns_rate),
            (Key::DnsTtl, self.dns_ttl),
            (Key::DnsTls, self.dns_tls),
            (Key::DnsHttps, self.dns_https),
            (Key::DnsQuic, self.dns_quic),
            (Key::DnsCertFile, self.dns_cert),
            (Key::DnsKeyFile, self.dns_key),
            (Key::TaskDns, self.task_dns),
            (Key::FetchMax, self.fetch_max),
            (Key::FetchCache, self.fetch_cache),
            (Key::FetchTimeout, self.fetch_timeout),
        ];
        let lists = [
            (Key::Attr, self.attr),
            (Key::Resource, self.resource),
            (Key::Join, self.join),
            (Key::DnsAlias, self.dns_alias),
            (Key::DnsUpstream, self.dns_upstream),
            (Key::DnsTransfer, self.dns_transfer),
            (Key::AllowHostPath, self.allow_host_path),
        ];
        let switches = [
            (Key::NoGso, self.no_gso),
            (Key::ApiOpen, self.api_open),
            (Key::BestEffort, self.best_effort),
            (Key::Chaos, self.chaos),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?))));
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(key, list)| (key, Value::List(list)));
        let switches = switches.into_iter().filter(|(_, on)| *on).map(|(key, on)| (key, Value::Switch(on)));
        texts.chain(lists).chain(switches).collect()
    }
}

impl Settings {
    /// The node that is wanted.
    pub(crate) fn fabric_config(&self) -> Outcome<FabricConfig> {
        let data = self.data().ok_or_else(|| {
            Failure::wrong("there is no home folder to keep the node's data in").help("give a folder: --data DIR")
        })?;
        Ok(FabricConfig {
            name: self.parsed(Key::Name, |s| NodeName::new(s).map_err(|e| e.to_string()))?,
            address: self.socket(Key::Address, FABRIC_PORT)?,
            advertise: self.socket(Key::Advertise, FABRIC_PORT)?,
            http: self.socket(Key::Http, HTTP_PORT)?,
            dns: self.socket(Key::Dns, DNS_PORT)?,
            zone: self.text(Key::Zone).map(|(zone, _)| zone.to_owned()),
            attributes: self.attributes()?,
            offer: OfferChanges {
                cpus: self.parsed(Key::Cpus, units::cpus)?,
                memory: self.parsed(Key::Memory, size)?,
                disk: self.parsed(Key::Disk, size)?,
            },
            custom: self.resources()?,
            join: self.join()?,
            join_patience: self.parsed(Key::JoinTimeout, seconds)?,
            ring: self.parsed(Key::Ring, |s| s.parse::<RingPreset>())?,
            no_gso: self.switch(Key::NoGso),
            token: self.parsed(Key::JoinToken, |s| s.trim().parse::<JoinToken>().map_err(|e| e.to_string()))?,
            api_open: self.switch(Key::ApiOpen),
            best_effort: self.switch(Key::BestEffort),
            chaos: self.switch(Key::Chaos),
            dns_options: self.dns_options()?,
            task_options: self.task_options()?,
            masked: vec![self.file.clone()], // tokens may be in it
            ..FabricConfig::new(data)
        })
    }

    /// Where DNS listens, if that was given.
    pub(crate) fn dns_address(&self) -> Outcome<Option<SocketAddr>> {
        self.socket(Key::Dns, DNS_PORT)
    }

    fn dns_options(&self) -> Outcome<DnsOptions> {
        let path = |key| self.text(key).map(|(path, _)| path.into());
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is not a whole number"));
        let options = DnsOptions {
            aliases: self.each(Key::DnsAlias)?,
            upstreams: self.each(Key::DnsUpstream)?,
            transfer: Some(self.list(Key::DnsTransfer).0.to_vec()).filter(|list| !list.is_empty()),
            rate: self.parsed(Key::DnsRate, number)?,
            ttl: self.parsed(Key::DnsTtl, number)?,
            tls: self.socket(Key::DnsTls, 853)?,
            https: self.socket(Key::DnsHttps, 443)?,
            quic: self.socket(Key::DnsQuic, 853)?,
            certificate: path(Key::DnsCertFile),
            key: path(Key::DnsKeyFile),
        };
        options.check().map_err(|(key, why)| Failure::wrong(format!("{key}: {why}")))?;
        Ok(options)
    }

    fn task_options(&self) -> Outcome<TaskOptions> {
        let host_paths = match self.list(Key::AllowHostPath) {
            (list, Some(source)) => Some(HostPaths::read(list).map_err(|why| wrong(Key::AllowHostPath, source, &why))?),
            (_, None) => None,
        };
        Ok(TaskOptions {
            dns: self.parsed(Key::TaskDns, |s| s.parse::<TaskDns>())?,
            host_paths,
            fetch_max: self.parsed(Key::FetchMax, size)?,
            fetch_cache: self.parsed(Key::FetchCache, size)?,
            fetch_seconds: self.parsed(Key::FetchTimeout, seconds)?.map(|limit| limit.as_secs()),
        })
    }

    /// The values of a list; `None` if it was not given.
    fn each<T: FromStr<Err = String>>(&self, key: Key) -> Outcome<Option<Vec<T>>> {
        let (list, Some(source)) = self.list(key) else { return Ok(None) };
        let read = |item: &String| item.parse().map_err(|why: String| wrong(key, source, &why));
        list.iter().map(read).collect::<Outcome<_>>().map(Some)
    }

    fn socket(&self, key: Key, port: u16) -> Outcome<Option<SocketAddr>> {
        self.parsed(key, |text| socket(text, port))
    }

    fn attributes(&self) -> Outcome<BTreeMap<String, String>> {
        let (list, source) = self.list(Key::Attr);
        let mut attributes = BTreeMap::new();
        for item in list {
            let why = match item.split_once('=') {
                Some((key, _)) if attributes.contains_key(key) => format!("`{key}` is given twice"),
                Some((key, value)) if !key.is_empty() => {
                    attributes.insert(key.to_owned(), value.to_owned());
                    continue;
                }
                Some(_) | None => format!("`{item}` is not KEY=VALUE, as disk=ssd"),
            };
            return Err(source.map_or_else(|| Failure::wrong(why.clone()), |source| wrong(Key::Attr, source, &why)));
        }
        Ok(attributes)
    }

    fn resources(&self) -> Outcome<BTreeMap<String, u64>> {
        let (list, Some(source)) = self.list(Key::Resource) else { return Ok(BTreeMap::new()) };
        let wrong = |why: String| wrong(Key::Resource, source, &why);
        let mut resources = BTreeMap::new();
        for item in list {
            let (name, count) = units::resource(item).map_err(wrong)?;
            if resources.insert(name, count).is_some() {
                return Err(wrong(format!("`{item}`: this resource is given twice")));
            }
        }
        if resources.len() > CUSTOM_MAX {
            return Err(wrong(format!("{} resources; at most {CUSTOM_MAX} are offered", resources.len())));
        }
        Ok(resources)
    }

    /// Hosts are looked up by the node; here only what cannot be one is refused.
    fn join(&self) -> Outcome<Vec<String>> {
        let (list, source) = self.list(Key::Join);
        let odd = |host: &&String| host.is_empty() || host.contains("://") || host.contains(char::is_whitespace);
        if let (Some(host), Some(source)) = (list.iter().find(odd), source) {
            let why = format!("`{host}` is not HOST[:PORT], as 10.0.0.5 or n1.example:7400");
            return Err(wrong(Key::Join, source, &why));
        }
        Ok(list.to_vec())
    }
}

/// `IP`, `IP:PORT` or `[IP]:PORT`.
fn socket(text: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(whole) = text.parse() {
        return Ok(whole);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let ip: Result<IpAddr, _> = bare.parse();
    ip.map(|ip| SocketAddr::new(ip, port))
        .map_err(|_| format!("`{text}` is not an address: write IP or IP:PORT, as 10.0.0.5 or 10.0.0.5:{port}"))
}
