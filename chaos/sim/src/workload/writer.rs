//! A client that writes unique serials: join tokens of which each may be used as often as its serial says, which is how
//! the serial is found again in the replicated state.

use super::{Ending, Fate, History, Question, pause};
use crate::{cluster::Cluster, moments::Moment, random::stream};
use rand::rngs::SmallRng;
use std::time::Duration;
use taffeta_node::api::{ErrorCode, TokenRequest, TokenView};

/// Writes of a run: the state keeps a thousand tokens.
const WRITES_MAX: usize = 900;

/// A client gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Writer {
    rng: SmallRng,
    /// Mean pause between two writes.
    thinks: Duration,
    next: Duration,
    /// The write under way, since when, whether the node that was asked was ready, and the question.
    asking: Option<(u32, Duration, bool, Question<TokenView>)>,
}

impl Writer {
    pub(super) fn new(seed: u64, number: usize, thinks: Duration) -> Self {
        Self { rng: stream(seed, &format!("writer {number}")), thinks, next: Duration::ZERO, asking: None }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, history: &mut History) {
        let now = cluster.now();
        if let Some((serial, began, ready, question)) = &mut self.asking {
            let fate = match question.ending(cluster) {
                // A side that was left behind, and has not heard of it, may acknowledge what will not last.
                Some(Ending::Done(_)) if question.generation(cluster).is_some_and(|met| met < cluster.generation) => {
                    Fate::Unknown
                }
                Some(Ending::Done(_)) => Fate::Acknowledged(now),
                Some(Ending::Refused(error)) => {
                    if error.code == ErrorCode::NoQuorum {
                        cluster.moments.note(Moment::WriteRefused);
                        if cluster.quorum_lost.is_some() {
                            cluster.moments.note(Moment::RefusedWithoutQuorum);
                        }
                    }
                    cluster.tell(format!("write {serial} was refused: {}", error.message));
                    Fate::Refused
                }
                Some(Ending::Unknown) => Fate::Unknown,
                None if now - *began > PATIENCE => Fate::Unknown,
                None => return,
            };
            history.end(*serial, fate);
            if *ready && matches!(fate, Fate::Acknowledged(_)) {
                history.note_wait(*serial, now);
            }
            self.asking = None;
            self.next = now + pause(&mut self.rng, self.thinks);
        }
        if now < self.next || history.len() >= WRITES_MAX {
            return;
        }
        self.next = now + pause(&mut self.rng, self.thinks);
        let serial = history.begin(now);
        let request = TokenRequest { role: None, ttl_seconds: Some(300 * 86_400), uses: Some(serial) };
        let question =
            Question::ask(cluster, &mut self.rng, |backend| async move { backend.create_token(request).await });
        match question {
            Some(question) => {
                let ready = cluster.is_ready(question.machine());
                self.asking = Some((serial, now, ready, question));
            }
            None => history.take_back(serial), // nobody was there to take it
        }
    }

    pub(super) fn give_up(&mut self, _: &Cluster, history: &mut History) {
        if let Some((serial, ..)) = self.asking.take() {
            history.end(serial, Fate::Unknown);
        }
    }
}
