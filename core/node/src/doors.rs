//! What people and programs come in by: DNS, also encrypted, and HTTP.

use crate::{
    DnsOptions, DnsUpstream,
    api::ErrorCode,
    backend::NodeBackend,
    folder::file,
    http::{HttpConfig, HttpServer},
    machine,
    node::Core,
    start_error::StartError,
    task_dns::udp_config,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fmt::Display,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use taffeta_dns_answer::Name;
use taffeta_dns_server::{
    CookieConfig, Date, DnsConfig, DnsMeter, DnsServer, DnsSockets, EncryptedConfig, EncryptedServer, ForwardConfig,
    Responder, ServeLimits, Sockets, UdpConfig, Upstreams,
};
use taffeta_net::Clock;

/// Counts of DNS, for whoever collects metrics.
pub(crate) struct DnsMeters {
    udp: Option<DnsMeter>,
    responder: Arc<Responder>,
}

impl Core {
    /// Gives the counts of DNS to whoever collects metrics.
    pub(crate) fn measure_dns(&self) {
        metrics::gauge!("taffeta_chaos_active").set(self.own_active_faults() as f64);
        let Some(DnsMeters { udp, responder }) = self.dns_meters.get() else { return };
        let set = |name: &'static str, value: u64| metrics::counter!(name).absolute(value);
        if let Some(counts) = udp.as_ref().map(DnsMeter::counts) {
            set("taffeta_dns_queries_total", counts.queries);
            let ways = [
                ("fast", counts.fast),
                ("cached", counts.cached),
                ("full", counts.full),
                ("relayed", counts.relayed),
                ("silent", counts.silent),
                ("unfair", counts.unfair),
                ("shed", counts.shed),
                ("limited", counts.limited),
                ("slipped", counts.slipped),
                ("unsent", counts.unsent),
            ];
            for (way, value) in ways {
                metrics::counter!("taffeta_dns_handled_total", "way" => way).absolute(value);
            }
            for (code, value) in counts.by_rcode.iter().enumerate().filter(|(_, value)| **value > 0) {
                metrics::counter!("taffeta_dns_replies_total", "rcode" => code.to_string()).absolute(*value);
            }
        }
        let forward = responder.forward_counts();
        set("taffeta_dns_forward_hits_total", forward.hits);
        set("taffeta_dns_forward_misses_total", forward.misses);
        set("taffeta_dns_forward_stale_total", forward.stale);
        set("taffeta_dns_forward_failures_total", forward.failures + forward.failures_remembered);
        set("taffeta_dns_forward_hedges_total", forward.hedges);
        set("taffeta_dns_forward_loops_total", forward.loops);
        set("taffeta_dns_forward_shed_total", forward.shed);
        metrics::gauge!("taffeta_dns_forward_cached_bytes").set(forward.bytes as f64);
    }
}

/// The open doors.
pub(crate) struct Doors {
    pub(crate) responder: Arc<Responder>,
    pub(crate) dns: Option<DnsServer>,
    /// For tasks alone.
    pub(crate) names: Option<DnsServer>,
    pub(crate) encrypted: Option<EncryptedServer>,
    pub(crate) http: Option<HttpServer>,
}

impl Doors {
    /// Opens them.
    pub(crate) fn open(
        core: &Arc<Core>,
        upstreams: Upstreams,
        api_socket: Option<PathBuf>,
        names: Option<DnsSockets>,
    ) -> Result<Self, StartError> {
        let own = own_addresses(core, &upstreams);
        let responder = Arc::new(responder(core, upstreams, own.clone())?);
        let dns = match core.info.dns {
            Some(dns) => Some(listen(core, dns, &responder, own.clone())?),
            None => None,
        };
        let names = match names {
            Some(sockets) => {
                let completing = Arc::new(responder.completing());
                let served = DnsServer::serve(sockets, completing, ServeLimits::default(), udp_config(own));
                Some(served.map_err(StartError::failed)?)
            }
            None => None,
        };
        let meters = DnsMeters { udp: dns.as_ref().map(DnsServer::meter), responder: Arc::clone(&responder) };
        let _ = core.dns_meters.set(meters); // nobody else does
        let encrypted = match encrypted_config(core)? {
            Some(config) => Some(EncryptedServer::bind(&config, &responder).map_err(StartError::failed)?),
            None => None,
        };
        let http = if core.info.http.is_some() || api_socket.is_some() { Some(http(core, api_socket)?) } else { None };
        Ok(Self { responder, dns, names, encrypted, http })
    }

    /// Closes them; when it returns the ports are free.
    pub(crate) async fn close(self) {
        if let Some(http) = self.http {
            http.shutdown().await;
        }
        if let Some(encrypted) = self.encrypted {
            encrypted.shut_down().await;
        }
        for server in self.dns.into_iter().chain(self.names) {
            server.shut_down().await;
        }
    }
}

/// Addresses whose clients are on this machine.
fn own_addresses(core: &Core, upstreams: &Upstreams) -> Vec<IpAddr> {
    let mut own = vec![core.settings.advertise.ip()];
    // Without a resolver of the machine there is no machine, as in a simulation.
    if matches!(upstreams, Upstreams::System { .. }) {
        own.extend(machine::addresses());
    }
    own
}

fn listen(
    core: &Core,
    address: SocketAddr,
    responder: &Arc<Responder>,
    own_addresses: Vec<IpAddr>,
) -> Result<DnsServer, StartError> {
    let plain = UdpConfig::default();
    let replies_per_second = core.settings.dns_options.rate.unwrap_or(plain.replies_per_second);
    let udp = UdpConfig { replies_per_second, own_addresses, ..plain };
    DnsServer::bind_configured(address, Arc::clone(responder), ServeLimits::default(), udp).map_err(StartError::failed)
}

fn responder(core: &Core, machine: Upstreams, own: Vec<IpAddr>) -> Result<Responder, StartError> {
    let options = &core.settings.dns_options;
    let given = options.upstreams.as_deref();
    let forward = ForwardConfig { suffixes: suffixes(given), ..ForwardConfig::new(upstreams(given, machine), own) };
    // A secret of this node alone: a client has a cookie for each address that it asks.
    let secret = core.key.derive("dns-cookie");
    let secret = *secret.first_chunk().expect("16 of 32 bytes");
    let config = DnsConfig {
        cookies: Some(CookieConfig { secret, previous: None, date: Arc::new(NodeDate(Arc::clone(&core.clock))) }),
        nsid: Some(core.settings.name.to_string()),
        transfer: options.networks().map_err(StartError::failed)?,
    };
    let seed = core.entropy.seed();
    Ok(Responder::new(Arc::clone(&core.names), forward, Arc::new(Sockets), seed).configured(config))
}

/// Those that were given for all names, else the machine's.
fn upstreams(given: Option<&[DnsUpstream]>, machine: Upstreams) -> Upstreams {
    let for_all: Vec<_> = given.into_iter().flatten().filter(|upstream| upstream.suffix.is_none()).collect();
    let addresses: Vec<SocketAddr> = for_all.iter().filter_map(|upstream| upstream.address).collect();
    match (for_all.is_empty(), addresses.is_empty()) {
        (true, _) => machine,
        (false, true) => Upstreams::Nobody,
        (false, false) => Upstreams::Listed(addresses),
    }
}

/// Refuses a certificate that cannot be read, before the node joins or creates anything.
pub(crate) fn check_certificate(options: &DnsOptions) -> Result<(), StartError> {
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => given_certificate(certificate, key).map(drop),
        (_, _) => Ok(()),
    }
}

/// Those that were given for a suffix, in the order given.
fn suffixes(given: Option<&[DnsUpstream]>) -> Vec<(Name, Vec<SocketAddr>)> {
    let mut all: Vec<(Name, Vec<SocketAddr>)> = Vec::new();
    for (suffix, address) in given.into_iter().flatten().filter_map(|u| Some((u.suffix.clone()?, u.address))) {
        match all.iter_mut().find(|(known, _)| *known == suffix) {
            Some((_, addresses)) => addresses.extend(address),
            None => all.push((suffix, address.into_iter().collect())),
        }
    }
    all
}

/// `None` if nothing encrypted is to be listened for.
fn encrypted_config(core: &Core) -> Result<Option<EncryptedConfig>, StartError> {
    let options = &core.settings.dns_options;
    if core.info.dns.is_none() || (options.tls, options.https, options.quic) == (None, None, None) {
        return Ok(None);
    }
    let unusable = |e: rustls::Error| {
        StartError::new(ErrorCode::Invalid, format!("the certificate for encrypted DNS cannot be used: {e}"))
            .help("give a certificate chain and the private key that belongs to it: --dns-cert FILE --dns-key FILE")
    };
    let tls = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = given_certificate(certificate, key)?;
            EncryptedConfig::tls(chain, key)
        }
        (_, _) => own_certificate(core)?,
    };
    let tls = tls.map_err(unusable)?;
    let config = EncryptedConfig::new(tls);
    Ok(Some(EncryptedConfig { dot: options.tls, doh: options.https, doq: options.quic, ..config }))
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn given_certificate(certificate: &Path, key: &Path) -> Result<Credentials, StartError> {
    let wrong = |flag: &str, path: &Path, e: &dyn Display| {
        StartError::new(ErrorCode::Invalid, format!("{flag}: {}: {e}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| wrong("--dns-cert", certificate, &e))?;
    if chain.is_empty() {
        return Err(wrong("--dns-cert", certificate, &"it holds no certificate in PEM"));
    }
    Ok((chain, PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("--dns-key", key, &e))?))
}

/// The one that the fabric's CA gave this node, as it is at each handshake. Clients check it with the CA's certificate,
/// which is written beside the node's other files, under the name that is told here.
fn own_certificate(core: &Core) -> Result<Result<Arc<ServerConfig>, rustls::Error>, StartError> {
    store_authorities(core)?;
    let name = taffeta_net::server_name(core.cluster, core.me);
    tracing::info!(
        name,
        ca = file::AUTHORITY_PEM,
        "encrypted DNS uses the node's own certificate; clients check it with"
    );
    Ok(EncryptedConfig::tls_resolving(Arc::clone(&core.credentials) as _))
}

/// Writes the certificates of the CAs that are believed, for clients of encrypted DNS: anew whenever they change.
pub(crate) fn store_authorities(core: &Core) -> io::Result<()> {
    let text: String = core.credentials.identity().authorities.iter().map(|der| pem(der)).collect();
    core.folder.write(file::AUTHORITY_PEM, text.as_bytes())
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn http(core: &Arc<Core>, unix_socket: Option<PathBuf>) -> Result<HttpServer, StartError> {
    if core.settings.api_open {
        tracing::warn!(
            "the API wants no token (--api-open): every program of this machine, its tasks as well, may deploy what it likes, \
             also with isolation = \"none\""
        );
    }
    let config = HttpConfig {
        listen: core.info.http,
        unix_socket,
        open: core.settings.api_open,
        metrics: machine::metrics_handle(),
    };
    HttpServer::bind(config, Arc::new(NodeBackend(Arc::clone(core)))).map_err(|e| {
        let help = e.help();
        StartError::failed(e).help(help)
    })
}

/// The node's date, for cookies.
#[derive(Debug)]
struct NodeDate(Arc<dyn Clock>);

impl Date for NodeDate {
    fn unix_seconds(&self) -> u64 {
        self.0.date().0 / 1000
    }
}
