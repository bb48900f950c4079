//! Which of two survivors knows more, and what is lost when the other one is taken.

use super::views::{StretchView, SurveyView};
use serde::Serialize;
use std::fmt;

/// What another survivor knows that is lost when this one is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Entries that only the other has.
    pub entries: Vec<StretchView>,
    /// How many of them it knew to be committed: these were surely acknowledged. Others may have been.
    pub committed: u64,
    /// Apps that only the other has, or has in another version.
    pub apps: Vec<String>,
    /// Members that only the other knows.
    pub members: Vec<String>,
    /// Join tokens that only the other knows, by id.
    pub tokens: Vec<String>,
}

impl Loss {
    /// Whether nothing is lost.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing would be lost");
        }
        let number: u64 = self.entries.iter().map(|s| s.last - s.first + 1).sum();
        let places = self.entries.iter().map(|s| match s.first == s.last {
            true => format!("{} of term {}", s.first, s.term),
            false => format!("{} to {} of term {}", s.first, s.last, s.term),
        });
        let places: Vec<String> = places.collect();
        write!(
            f,
            "would be lost: {number} entries ({}), {} of them surely committed",
            places.join(", "),
            self.committed
        )?;
        for (what, names) in [("apps", &self.apps), ("members", &self.members), ("tokens", &self.tokens)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

impl SurveyView {
    /// Whether the two are survivors of one cluster.
    pub fn check_comparable(&self, other: &Self) -> Result<(), String> {
        if self.cluster != other.cluster {
            return Err(format!("`{}` is of another cluster: {}, not {}", other.name, other.cluster, self.cluster));
        }
        if self.node == other.node {
            return Err(format!("`{}` was to be compared with itself", self.name));
        }
        Ok(())
    }

    /// Whether the other one knows more: it is of a later generation, or its log ends later.
    pub fn knows_less_than(&self, other: &Self) -> bool {
        (self.generation, self.last) < (other.generation, other.last)
    }

    /// What the other one knows that is lost when this one is taken.
    pub fn loss_against(&self, other: &Self) -> Loss {
        let entries: Vec<StretchView> = other.stretches().iter().flat_map(|s| self.lacks(s)).collect();
        let committed = other.committed.map_or(0, |at| at.index);
        let surely = |s: &StretchView| (s.last.min(committed) + 1).saturating_sub(s.first);
        let of = |theirs: &[super::MemberEntry], mine: &[super::MemberEntry]| {
            theirs.iter().filter(|m| !mine.contains(m)).map(|m| m.name.clone()).collect()
        };
        let apps = other.apps.iter().filter(|(name, version)| self.apps.get(*name) != Some(version));
        Loss {
            committed: entries.iter().map(surely).sum(),
            entries,
            apps: apps.map(|(name, version)| format!("{name} (version {version})")).collect(),
            members: of(&other.members, &self.members),
            tokens: other.tokens.iter().filter(|id| !self.tokens.contains(id)).cloned().collect(),
        }
    }

    /// What it knows, entries that only its snapshot has included: of these the last term is known.
    fn stretches(&self) -> Vec<StretchView> {
        let first = self.log.first().map(|s| s.first);
        let covered = self.snapshot.filter(|at| first.is_none_or(|first| first > 0) && at.index > 0);
        let hidden = covered.map(|at| {
            let last = first.map_or(at.index, |first| at.index.min(first.saturating_sub(1)));
            StretchView { term: at.term, first: 0, last }
        });
        hidden.into_iter().chain(self.log.iter().copied()).collect()
    }

    /// The parts of a stretch that are not here. What a snapshot covers counts as here: it was committed, so it is a part
    /// of every log that reaches as far.
    fn lacks(&self, theirs: &StretchView) -> Vec<StretchView> {
        let covered = self.snapshot.map_or(0, |at| at.index + 1);
        let mut lacking = vec![];
        let mut next = theirs.first.max(covered);
        let mut own: Vec<&StretchView> = self.log.iter().filter(|s| s.last >= next && s.first <= theirs.last).collect();
        own.sort_by_key(|s| s.first);
        for mine in own {
            if mine.first > next {
                lacking.push(StretchView { first: next, last: mine.first - 1, ..*theirs });
                next = mine.first;
            }
            let last = mine.last.min(theirs.last);
            if mine.term != theirs.term && last >= next {
                // Of what only their snapshot has, the terms are not known; as it was committed, it is here, too.
                let hidden = theirs.first == 0 && theirs.term > mine.term;
                if !hidden {
                    lacking.push(StretchView { first: next, last, ..*theirs });
                }
            }
            next = next.max(last + 1);
        }
        if next <= theirs.last {
            lacking.push(StretchView { first: next, last: theirs.last, ..*theirs });
        }
        lacking
    }
}

#[cfg(test)]
mod tests;
