//! A node's certificate: renewed in time, by whoever holds the CA, and kept in the folder with the CAs that are believed.
//!
//! A renewal needs no entry in the log and so no quorum: any node that holds the CA's key renews a member that was not
//! removed. The key of the certificate stays the same and never leaves its machine.

use crate::{
    dates::median,
    folder::{file, save},
    node::Core,
    wire::{decode, encode},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use taffeta_model::{Bug, CERTIFICATE_BYTES_MAX, Directory, NodeId, UnixMillis, mix, planted};
use taffeta_net::{CROSSES_MAX, Clock, Lane, PublicKey, sha256};
use tokio::time::{Instant, sleep};

/// How long one node may take to renew a certificate.
const RENEW_LIMIT: Duration = Duration::from_secs(2);
/// Nodes that are asked in one round: five voters and some who may know better.
const ASKED_MAX: usize = 8;
/// First pause after a round in which nobody renewed it; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// It is looked at least this often whether a renewal is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Certificates of a CA that is to go are renewed within this time, not all at once.
const SPREAD: Duration = Duration::from_secs(5);
/// How often a voter asks the others for the date.
const DATES_EVERY: Duration = Duration::from_secs(60);
/// And until it has heard a majority.
const DATES_FIRST: Duration = Duration::from_secs(2);
const DATES_LIMIT: Duration = Duration::from_secs(1);
/// A node that pulls hears the date more often than this.
const DATES_STALE: Duration = Duration::from_secs(15);
/// As many as may vote.
const DATES_ASKED_MAX: usize = 5;

/// What a node shows and believes, as it lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Papers {
    /// The node's certificate, DER.
    pub(crate) certificate: Vec<u8>,
    /// Hash of the CA that signed it.
    pub(crate) issuer: [u8; 32],
    /// Certificates of the CAs that are believed, DER, the one that signs last.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// The keys of these and former CAs as signed by the one before, DER, the newest last; at most [`CROSSES_MAX`].
    pub(crate) crosses: Vec<Vec<u8>>,
}

impl Papers {
    /// Those of a node that has just been born or let in.
    pub(crate) fn new(certificate: Vec<u8>, authority: &[u8], directory: Option<&Directory>) -> Self {
        let issuer = sha256(authority);
        let mut papers = Self { certificate, issuer, authorities: vec![authority.to_vec()], crosses: vec![] };
        if let Some(directory) = directory {
            papers.believe(directory);
        }
        papers
    }

    /// Believes the CAs of the directory; says whether that is a change. A cluster whose CA was never rotated names none.
    fn believe(&mut self, directory: &Directory) -> bool {
        if directory.authorities.is_empty() {
            return false;
        }
        let from = if planted(Bug::RotateAtOnce) { directory.authorities.len() - 1 } else { 0 };
        let named = &directory.authorities[from..];
        let authorities: Vec<_> = named.iter().map(|ca| ca.certificate.clone()).collect();
        let before = (std::mem::replace(&mut self.authorities, authorities), self.crosses.clone());
        self.show(named.iter().map(|ca| ca.cross.clone()).filter(|cross| !cross.is_empty()));
        before != (self.authorities.clone(), self.crosses.clone())
    }

    /// Shows these cross certificates from now on, and of those before the newest ones.
    fn show(&mut self, crosses: impl Iterator<Item = Vec<u8>>) {
        for cross in crosses.filter(|cross| cross.len() <= CERTIFICATE_BYTES_MAX) {
            self.crosses.retain(|known| *known != cross);
            self.crosses.push(cross);
        }
        let surplus = self.crosses.len().saturating_sub(CROSSES_MAX.into());
        self.crosses.drain(..surplus);
    }

    /// Hash of the CA that signs now.
    pub(crate) fn signing(&self) -> [u8; 32] {
        self.authorities.last().map(|der| sha256(der)).unwrap_or_default()
    }
}

/// A renewed certificate, with what is to be believed now.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Renewed {
    certificate: Vec<u8>,
    authorities: Vec<Vec<u8>>,
    crosses: Vec<Vec<u8>>,
}

/// The beginning of a CA's hash, which nodes publish.
pub(crate) fn short(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// When this node's certificate is to be renewed.
struct Schedule {
    life: Duration,
    /// By which part of the spread this node comes before others.
    jitter: f64,
    /// When the present certificate came, in this life of the process.
    received: Option<Instant>,
    /// Not before this, after a failure.
    not_before: Instant,
    pause: Duration,
    /// When it was noticed that the certificate is of a CA that is to go.
    outdated: Option<Instant>,
}

impl Schedule {
    fn new(life: Duration, node: NodeId) -> Self {
        // Ids are hashes of keys, and this one is mixed once more: nodes are spread evenly.
        let jitter = (mix(node.0) % 1_000) as f64 / 1_000.0;
        let now = Instant::now();
        Self { life, jitter, received: None, not_before: now, pause: Self::first_pause(life), outdated: None }
    }

    fn first_pause(life: Duration) -> Duration {
        PAUSE.min(life / 48)
    }

    /// Whether to renew now. `remains` is what is left of the certificate by the agreed date.
    fn is_due(&mut self, remains: Duration, outdated: bool) -> bool {
        let now = Instant::now();
        let noticed = *self.outdated.get_or_insert(now);
        if !outdated {
            self.outdated = None;
        }
        let spread = SPREAD.min(self.life / 6).mul_f64(self.jitter);
        let early = self.life.mul_f64(self.jitter / 24.0);
        let age = self.received.map(|at| now - at);
        let due = if outdated {
            now >= noticed + spread
        } else {
            // By the date; and by the time that has passed here, whatever the date may be. A date that says that the newest
            // certificate is old already is not believed at once, or it would be renewed for ever.
            let by_date = remains < self.life / 3 + early && age.is_none_or(|age| age >= self.life / 3);
            by_date || age.is_some_and(|age| age + early >= self.life * 2 / 3)
        };
        due && now >= self.not_before
    }

    fn renewed(&mut self) {
        self.received = Some(Instant::now());
        self.outdated = None;
        self.pause = Self::first_pause(self.life);
    }

    fn failed(&mut self) {
        self.not_before = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX).min(self.life / 12);
    }
}

impl Core {
    /// Renews this node's certificate at two thirds of its life, and when its CA is about to go.
    pub(crate) async fn run_renewal(self: Arc<Self>) {
        let mut schedule = Schedule::new(self.certificate_lives.certificate, self.me);
        let mut directory = self.directory.subscribe();
        let mut turn = 0;
        loop {
            directory.borrow_and_update();
            let (outdated, unstored) = {
                let papers = self.papers();
                if papers.issuer != *self.issuer.borrow() {
                    self.store_papers(&papers);
                }
                (papers.issuer != papers.signing(), papers.issuer != *self.issuer.borrow())
            };
            let remains = self.credentials.ends().0.saturating_sub(self.dates.agreed().0);
            if schedule.is_due(Duration::from_millis(remains), outdated) {
                match self.renew(turn).await {
                    Ok(()) => schedule.renewed(),
                    Err(why) => {
                        tracing::warn!(why, "this node's certificate could not be renewed yet");
                        schedule.failed();
                    }
                }
                turn += 1;
            }
            let look = match (outdated, unstored) {
                (true, _) => Duration::from_millis(100),
                (false, true) => PAUSE,
                (false, false) => LOOK_EVERY,
            }
            .min(self.certificate_lives.certificate / 100);
            tokio::select! {
                () = sleep(look) => {}
                changed = directory.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Has the certificate renewed by this node, and so learns the CAs that it believes.
    pub(crate) async fn renew_by(&self, node: NodeId) -> Result<(), String> {
        let reply = self.net().call(node, Lane::Renew, b"", RENEW_LIMIT).await.map_err(|e| e.to_string())?;
        self.take_renewed(decode(&reply)?)
    }

    /// By this node itself, if it holds the CA, else by whoever does.
    async fn renew(&self, turn: usize) -> Result<(), String> {
        if let Ok(renewed) = self.renewed(self.key.public()) {
            return self.take_renewed(renewed);
        }
        let mut last = "nobody is known who could".to_owned();
        for node in self.renewers(turn) {
            match self.renew_by(node).await {
                Ok(()) => {
                    tracing::info!(by = %node, "this node's certificate was renewed");
                    return Ok(());
                }
                Err(why) => last = format!("{}: {why}", self.name_of(node)),
            }
        }
        Err(last)
    }

    /// The voters, who hold the CA; then any members, in turn: a node that was away for long may not know who votes.
    pub(crate) fn renewers(&self, turn: usize) -> Vec<NodeId> {
        let voters = self.consensus.borrow().voters.clone();
        let members: Vec<NodeId> = self.directory.borrow().members.keys().copied().collect();
        let from = turn.wrapping_mul(ASKED_MAX) % members.len().max(1);
        let others = members.iter().cycle().skip(from).take(members.len()).filter(|id| !voters.contains(id));
        let all = voters.iter().chain(others).copied().filter(|id| *id != self.me);
        all.take(ASKED_MAX).collect()
    }

    /// Renews the certificate of another node, which has shown that it has the key.
    pub(crate) fn answer_renewal(&self, node: NodeId) -> Result<Vec<u8>, String> {
        let member = self.directory.borrow().members.get(&node).map(|member| PublicKey(member.public_key));
        let key = member.ok_or_else(|| format!("{node} is not a member here"))?;
        self.renewed(key).map(|renewed| encode(&renewed))
    }

    fn renewed(&self, key: PublicKey) -> Result<Renewed, String> {
        let authority = self.signing_authority().ok_or("this node does not hold the CA's key")?;
        let certificate = authority.certify(key, self.dates.agreed(), self.certificate_lives.certificate);
        let papers = self.papers().clone();
        Ok(Renewed {
            certificate: certificate.map_err(|e| e.to_string())?,
            authorities: papers.authorities,
            crosses: papers.crosses,
        })
    }

    fn take_renewed(&self, renewed: Renewed) -> Result<(), String> {
        let Renewed { certificate, authorities, crosses } = renewed;
        let ends = self
            .credentials
            .accepts(&certificate, &authorities, &crosses, self.clock.date())
            .map_err(|e| e.to_string())?;
        let mut papers = self.papers();
        let issuer = authorities.last().map(|der| sha256(der)).unwrap_or_default();
        let ended = self.credentials.ends();
        if issuer == papers.issuer && ends < ended {
            return Err("the certificate that was given ends before the present one".into());
        }
        // What is believed is for the directory to say; with an ended certificate it cannot be pulled.
        let mut next = Papers { certificate, issuer, authorities, crosses: papers.crosses.clone() };
        if next.authorities != papers.authorities {
            next.show(crosses.into_iter()); // the directory will say the same
        }
        self.put_in_force(&mut papers, next)
    }

    /// Believes the CAs of a new directory.
    pub(crate) fn believe(&self, directory: &Directory) {
        let mut papers = self.papers();
        let mut next = papers.clone();
        if next.believe(directory)
            && let Err(why) = self.put_in_force(&mut papers, next)
        {
            tracing::error!(why, "the CAs of the directory could not be believed");
        }
    }

    /// Uses and stores them. What cannot be stored is used all the same; after a start meanwhile it is asked for again.
    fn put_in_force(&self, papers: &mut Papers, next: Papers) -> Result<(), String> {
        let Papers { certificate, authorities, crosses, .. } = next.clone();
        self.credentials.renew(certificate, authorities, crosses).map_err(|e| e.to_string())?;
        let believes_others = papers.authorities != next.authorities;
        *papers = next;
        self.store_papers(papers);
        if believes_others && let Err(error) = crate::doors::store_authorities(self) {
            tracing::error!(%error, "the CA certificates for clients of encrypted DNS could not be stored");
        }
        Ok(())
    }

    /// Stores them, and only then lets the ring know of which CA the certificate is: once all are known to have one of the
    /// new CA the former one ends, and a node that had its own in memory only would know nobody after its next start.
    fn store_papers(&self, papers: &Papers) {
        match save(&*self.folder, file::CERTIFICATE, papers) {
            Ok(()) => {
                let issuer = papers.issuer;
                self.issuer.send_if_modified(|known| std::mem::replace(known, issuer) != issuer);
            }
            Err(error) => tracing::error!(%error, "the renewed certificate could not be stored, and is not shown yet"),
        }
    }

    /// Lets a voter ask the others for the date. Whoever does not vote hears it with what it pulls; where nothing can be
    /// pulled, since by its own clock all others' certificates have ended, it asks too.
    pub(crate) async fn run_dates(self: Arc<Self>) {
        loop {
            let voters = self.consensus.borrow().voters.clone();
            let mut pause = DATES_FIRST;
            if voters == [self.me] {
                self.dates.hear(None);
            } else if voters.contains(&self.me) {
                let others: Vec<NodeId> = voters.iter().copied().filter(|id| *id != self.me).collect();
                let mut dates = self.dates_of(&others).await;
                dates.push(self.dates.own_date());
                if dates.len() * 2 > voters.len() {
                    self.dates.hear(median(dates));
                    pause = DATES_EVERY;
                }
            } else if self.dates.is_stale(DATES_STALE) {
                let asked: Vec<NodeId> = self.renewers(0).into_iter().take(DATES_ASKED_MAX).collect();
                if let Some(date) = median(self.dates_of(&asked).await) {
                    self.dates.hear(Some(date));
                }
            }
            sleep(pause).await;
        }
    }

    /// What these nodes' own clocks say, as far as they answer.
    async fn dates_of(&self, nodes: &[NodeId]) -> Vec<UnixMillis> {
        let asked = nodes.iter().map(|id| self.net().date_of(*id, DATES_LIMIT));
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{CROSSES_MAX, NodeId, Papers, Schedule};
    use std::time::Duration;
    use taffeta_model::{CertificateAuthority, Directory, UnixMillis};
    use tokio::time::advance;

    const LIFE: Duration = Duration::from_secs(24 * 3_600);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn named(authorities: &[(u8, Option<u8>)]) -> Directory {
        let ca = |(ca, cross): &(u8, Option<u8>)| CertificateAuthority {
            hash: [*ca; 32],
            certificate: vec![*ca],
            cross: cross.iter().copied().collect(),
            since: UnixMillis(0),
        };
        Directory { authorities: authorities.iter().map(ca).collect(), ..Directory::default() }
    }

    #[test]
    fn cross_certificates_are_shown_when_their_rotation_is_over_and_no_more_than_the_newest() {
        let mut papers = Papers::new(vec![], &[1], None);
        assert!(!papers.believe(&Directory::default()), "no rotation yet");
        for next in 2..12 {
            assert!(papers.believe(&named(&[(next - 1, None), (next, Some(100 + next))])));
            assert_eq!(papers.authorities, [vec![next - 1], vec![next]]);
            let shown = papers.crosses.clone();
            assert_eq!(shown.last(), Some(&vec![100 + next]));
            assert!(!papers.believe(&named(&[(next - 1, None), (next, Some(100 + next))])), "nothing new");
            assert!(papers.believe(&named(&[(next, None)])));
            assert_eq!((&papers.authorities, &papers.crosses), (&vec![vec![next]], &shown));
        }
        let newest: Vec<Vec<u8>> = (0..CROSSES_MAX).map(|n| vec![112 - CROSSES_MAX + n]).collect();
        assert_eq!(papers.crosses, newest);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_at_two_thirds_and_not_before() {
        for node in 0..100 {
            let mut schedule = Schedule::new(LIFE, NodeId(node));
            assert!(!schedule.is_due(HOUR * 10, false));
            assert!(schedule.is_due(HOUR * 8 - Duration::from_secs(1), false));
            schedule.renewed();
            assert!(!schedule.is_due(LIFE, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_date_neither_stops_renewals_nor_makes_them_endless() {
        let mut schedule = Schedule::new(LIFE, NodeId(1));
        schedule.renewed();
        assert!(!schedule.is_due(Duration::ZERO, false), "it has just come");
        advance(LIFE / 3).await;
        assert!(schedule.is_due(Duration::ZERO, false));
        schedule.renewed();
        advance(LIFE * 2 / 3).await;
        assert!(schedule.is_due(LIFE * 30, false), "by a clock that is behind it would be good for weeks");
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_a_ca_that_is_to_go_is_renewed_within_seconds_and_not_by_all_at_once() {
        let mut at_once = 0;
        for node in 0..200 {
            let mut schedule = Schedule::new(LIFE, NodeId(node));
            schedule.renewed();
            at_once += u32::from(schedule.is_due(LIFE, true));
            advance(super::SPREAD).await;
            assert!(schedule.is_due(LIFE, true), "{node}");
            assert!(!schedule.is_due(LIFE, false));
        }
        assert!(at_once < 20, "{at_once}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_followed_by_growing_pauses() {
        let mut schedule = Schedule::new(LIFE, NodeId(1));
        let mut waited = vec![];
        for _ in 0..9 {
            assert!(schedule.is_due(Duration::ZERO, false));
            schedule.failed();
            let mut pause = Duration::ZERO;
            while !schedule.is_due(Duration::ZERO, false) {
                advance(Duration::from_secs(1)).await;
                pause += Duration::from_secs(1);
            }
            waited.push(pause.as_secs());
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
