//! How a node comes to be a member: it creates the cluster, joins one by a token, or goes on where it stopped.

use crate::{
    api::ErrorCode,
    folder::{Folder, Membership, Settings, file, load, save},
    lives::REMEMBERED_MAX,
    machine::Offer,
    node::{NOT_NOW, OLD_VERSION},
    renewal::Papers,
    start_error::StartError,
    wire::{JoinRequest, Welcome, decode, encode},
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use taffeta_model::{ClusterId, Fence, Life, Member, NodeId, Versions};
use taffeta_net::{
    Authority, Clock, Entropy, JoinError, JoinToken, Lives, NodeKey, PublicKey, SealedAuthority, Unjoined, sha256,
};
use taffeta_store::WAY_BACK;
use tokio::time::{Instant, sleep};

/// First pause between two rounds over the addresses; each is twice as long as the one before.
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// What to do where nobody answers.
const REACHABLE: &str = "is a node running there, and does UDP reach it? `--join HOST[:PORT]` is its fabric address";
/// Longest one: how late a machine may notice that the cluster is there.
const JOIN_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a node is born with.
pub(crate) struct Born {
    pub(crate) membership: Membership,
    /// What it shows and believes.
    pub(crate) papers: Papers,
    /// The CAs whose keys it holds, the newest last.
    pub(crate) authorities: Vec<Authority>,
    /// Addresses of members that are known.
    pub(crate) peers: BTreeMap<NodeId, SocketAddr>,
    /// What came with a join.
    pub(crate) welcome: Option<Welcome>,
    /// Hash of the administrator's token, when the cluster was created now.
    pub(crate) created: Option<[u8; 32]>,
}

/// The node's key: read, or made.
pub(crate) fn key(folder: &dyn Folder, entropy: &dyn Entropy) -> Result<NodeKey, StartError> {
    if let Some(seed) = folder.read(file::KEY)? {
        let seed = <[u8; 32]>::try_from(seed.as_slice());
        let key = seed.map(NodeKey::from_seed).map_err(|_| StartError::damaged(file::KEY))?;
        let id = folder.read(file::NODE_ID)?;
        // Any 32 bytes are a key; whether they are ours, the id tells, which follows from it.
        if id.is_some_and(|id| id.trim_ascii() != key.public().node_id().to_string().as_bytes()) {
            let message = "`node.key` and `node.id` in the data folder do not belong together: one of them is damaged";
            return Err(StartError::new(ErrorCode::Failed, message).help(WAY_BACK));
        }
        return Ok(key);
    }
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    folder.write(file::KEY, &seed)?;
    Ok(NodeKey::from_seed(seed))
}

/// Counts this start, durably, before anything is sent under it.
pub(crate) fn count_start(folder: &dyn Folder) -> Result<u64, StartError> {
    let starts: u64 = load::<u64>(folder, file::STARTS)?.unwrap_or(0).saturating_add(1);
    save(folder, file::STARTS, &starts)?;
    Ok(starts)
}

/// Adds a life to those that the folder remembers, durably, before anything is said in it.
pub(crate) fn begin_life(folder: &dyn Folder, life: Life) -> Result<Vec<Life>, StartError> {
    let mut lives: Vec<Life> = load(folder, file::LIVES)?.unwrap_or_default();
    lives.push(life);
    let older = lives.len().saturating_sub(REMEMBERED_MAX);
    lives.drain(..older);
    save(folder, file::LIVES, &lives)?;
    Ok(lives)
}

/// Encrypts the CAs' keys under the node's own and stores them.
pub(crate) fn seal_authorities(
    folder: &dyn Folder,
    entropy: &dyn Entropy,
    key: &NodeKey,
    authorities: &[Authority],
) -> std::io::Result<()> {
    let seal = |authority: &Authority| {
        let mut nonce = [0; 12];
        entropy.fill(&mut nonce);
        authority.seal(key, nonce)
    };
    let sealed: Vec<SealedAuthority> = authorities.iter().map(seal).collect();
    save(folder, file::AUTHORITY, &sealed)
}

/// Goes on with the membership that the folder holds.
pub(crate) fn resume(
    folder: &dyn Folder,
    key: &NodeKey,
    membership: Membership,
    token: Option<&JoinToken>,
) -> Result<Born, StartError> {
    if let Some(token) = token.filter(|token| token.cluster != membership.cluster) {
        let message = format!(
            "the data folder belongs to the cluster {}, the token to the cluster {}",
            membership.cluster, token.cluster
        );
        return Err(StartError::new(ErrorCode::Invalid, message)
            .help("give another --data to join the other cluster, or leave --join and --token out"));
    }
    let sealed: Vec<SealedAuthority> = load(folder, file::AUTHORITY)?.unwrap_or_default();
    let authorities: Result<Vec<Authority>, _> = sealed.into_iter().map(|s| s.open(key)).collect();
    let mut authorities = authorities.map_err(|_| StartError::damaged(file::AUTHORITY))?;
    // A first start that did not get far leaves the CA of a cluster that never was.
    if authorities.iter().any(|a| a.cluster() != membership.cluster) {
        folder.remove(file::AUTHORITY)?;
        authorities.clear();
    }
    let peers = load(folder, file::PEERS)?.unwrap_or_default();
    let as_born = || Papers::new(membership.certificate.clone(), &membership.authority, None);
    let papers = load(folder, file::CERTIFICATE)?.unwrap_or_else(as_born);
    Ok(Born { membership, papers, authorities, peers, welcome: None, created: None })
}

/// Creates a cluster of which this node is the only member.
pub(crate) fn create(
    folder: &dyn Folder,
    entropy: &dyn Entropy,
    (clock, lives): (&dyn Clock, Lives),
    key: &NodeKey,
) -> Result<Born, StartError> {
    let mut random = [0; 16];
    entropy.fill(&mut random);
    let cluster = ClusterId(u128::from_be_bytes(random).max(1)); // zero stands for "none yet"
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let authority = Authority::create(cluster, seed, clock.date()).map_err(StartError::failed)?;
    let certificate = authority.certify(key.public(), clock.date(), lives.certificate).map_err(StartError::failed)?;
    let mut secret = [0; 24];
    entropy.fill(&mut secret);
    let admin_token: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.write(file::ADMIN_TOKEN, admin_token.as_bytes())?;
    let authorities = vec![authority.clone()];
    seal_authorities(folder, entropy, key, &authorities)?;
    let papers = Papers::new(certificate.clone(), authority.certificate(), None);
    let membership = Membership { cluster, certificate, authority: authority.certificate().to_vec() };
    let created = Some(sha256(admin_token.as_bytes()));
    Ok(Born { membership, papers, authorities, peers: BTreeMap::new(), welcome: None, created })
}

/// The machine as a member.
pub(crate) fn member(settings: &Settings, key: PublicKey, offer: &Offer) -> Member {
    Member {
        id: key.node_id(),
        name: settings.name.clone(),
        address: settings.advertise,
        public_key: key.0,
        zone: settings.zone.clone(),
        attributes: settings.attributes.clone(),
        capacity: offer.capacity,
        custom: offer.custom.clone(),
        draining: false,
        maintenance: vec![],
        joined: Fence::default(),
        assigned_fence: Fence::default(),
    }
}

/// Joins a cluster: asks the given addresses in turn, names resolved anew each time, until one lets it in; for ever,
/// unless a patience is given.
pub(crate) async fn join(
    endpoint: &Unjoined,
    (addresses, patience): (&[String], Option<Duration>),
    token: &JoinToken,
    (member, speaks): (Member, Versions),
    key: &NodeKey,
) -> Result<Born, StartError> {
    let request = request(token, member, key, speaks);
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut pause = JOIN_PAUSE;
    loop {
        let mut last = String::new();
        for address in addresses {
            let resolved = resolve(address).await?;
            if resolved.is_empty() {
                last = format!("`{address}` does not resolve");
            }
            for resolved in resolved {
                match endpoint.join(resolved, token, &encode(&request)).await {
                    Ok(reply) => return welcomed(token, &reply),
                    Err(error) => last = refused_join(error)?,
                }
            }
        }
        let now = Instant::now();
        if let (Some(deadline), Some(patience)) = (deadline, patience)
            && now >= deadline
        {
            let message = format!("no node could be joined within {} s: {last}", patience.as_secs());
            return Err(StartError::new(ErrorCode::Timeout, message).help(REACHABLE));
        }
        tracing::warn!(why = last, retry_in = ?pause, "no node could be joined yet; {REACHABLE}");
        sleep(deadline.map_or(pause, |deadline| pause.min(deadline - now))).await;
        pause = (pause * 2).min(JOIN_PAUSE_MAX);
    }
}

fn request(token: &JoinToken, member: Member, key: &NodeKey, speaks: Versions) -> JoinRequest {
    let signature = key.sign(&JoinRequest::signed_part(token.id, &member)).to_vec();
    JoinRequest { token: token.id, secret: token.secret, member, signature, speaks }
}

/// What may pass by itself is given back as a reason to try again; what will not is an error.
fn refused_join(error: JoinError) -> Result<String, StartError> {
    match error {
        JoinError::Unreachable(..) => Ok(error.to_string()),
        JoinError::Refused(why) if why.starts_with(NOT_NOW) => Ok(why),
        JoinError::Refused(why) => {
            let help = if why.contains(OLD_VERSION) {
                "install the version of taffeta that the members run, or a newer one"
            } else if why.contains("token") {
                "mint a new one on a member: `taffeta token create`"
            } else {
                "choose another --name or --address, or start the machine that had them with its own data folder; if \
                 that is lost, `taffeta remove` its name on a member first"
            };
            Err(StartError::new(ErrorCode::Conflict, format!("the cluster refused: {why}")).help(help))
        }
        JoinError::ForeignCluster(_) => Err(StartError::new(ErrorCode::Conflict, error.to_string())
            .help("mint a token on a member of the cluster that is to be joined: `taffeta token create`")),
        JoinError::OtherVersion(..) => Err(StartError::new(ErrorCode::Conflict, error.to_string())
            .help("install the version of taffeta that the members run, or upgrade them first")),
        JoinError::Tls(e) => Err(StartError::failed(e)),
    }
}

fn welcomed(token: &JoinToken, reply: &[u8]) -> Result<Born, StartError> {
    let welcome: Welcome = decode(reply).map_err(|e| StartError::new(ErrorCode::Failed, e))?;
    // The token may pin the CA before the one that signs now, while that one is still believed.
    let papers = Papers::new(welcome.certificate.clone(), &welcome.authority, Some(&welcome.directory));
    let pinned = papers.authorities.iter().any(|der| sha256(der) == token.ca_hash);
    if welcome.cluster != token.cluster || !pinned {
        return Err(StartError::new(ErrorCode::Failed, "the certificate that was given is of another cluster"));
    }
    let membership = Membership {
        cluster: welcome.cluster,
        certificate: welcome.certificate.clone(),
        authority: welcome.authority.clone(),
    };
    let peers = welcome.members.iter().copied().collect();
    Ok(Born { membership, papers, authorities: vec![], peers, welcome: Some(welcome), created: None })
}

/// What an address to join is.
enum Seed<'a> {
    At(SocketAddr),
    /// To be looked up.
    Named(&'a str, u16),
}

/// Refuses what cannot be an address to join.
pub(crate) fn check_seed(address: &str) -> Result<(), StartError> {
    seed(address).map(drop)
}

/// `HOST`, `HOST:PORT`, `IP` or `[IPv6]:PORT`.
fn seed(address: &str) -> Result<Seed<'_>, StartError> {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok(Seed::At(address));
    }
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        return Ok(Seed::At(SocketAddr::new(ip, crate::config::FABRIC_PORT)));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong_address(address))?),
        None => (address, crate::config::FABRIC_PORT),
    };
    let is_none = host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/');
    if is_none { Err(wrong_address(address)) } else { Ok(Seed::Named(host, port)) }
}

/// Where an address to join leads now: nowhere, if its name does not resolve.
pub(crate) async fn resolve(address: &str) -> Result<Vec<SocketAddr>, StartError> {
    let (host, port) = match seed(address)? {
        Seed::At(address) => return Ok(vec![address]),
        Seed::Named(host, port) => (host, port),
    };
    #[expect(clippy::disallowed_methods, reason = "only names reach it, and a simulator gives addresses")]
    let found = tokio::net::lookup_host((host, port)).await;
    Ok(found.map(Iterator::collect).unwrap_or_default()) // the name may resolve later
}

fn wrong_address(address: &str) -> StartError {
    StartError::new(ErrorCode::Invalid, format!("`{address}` is not an address to join: expected HOST[:PORT]"))
        .help("as in `--join 10.0.0.1` or `--join n1.example.org:7400`")
}
