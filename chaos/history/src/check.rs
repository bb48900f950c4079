//! The check.

use crate::{
    history::{Fate, History, Key, Position, Read, Seen, Strength},
    order::{Places, check_real_time},
    violation::Violation,
};
use std::{collections::BTreeMap, time::Duration};

impl History {
    /// Finds whatever a store that keeps its promises could not have told; nothing if all is well.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut found = vec![];
        let places = Places::of(self, &mut found);
        check_real_time(self, &places, &mut found);
        let unplaced = self.unplaced(&places);
        for (number, read) in self.reads.iter().enumerate() {
            for (key, seen) in &read.seen {
                self.check_origin(number, read, *key, *seen, &mut found);
                check_count(number, read, *key, *seen, &places, &unplaced, &mut found);
            }
            check_prefix(number, read, &places, &mut found);
        }
        self.check_acknowledged(&places, &mut found);
        self.check_forward(&mut found);
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// When writes were sent that may be anywhere or nowhere, by key.
    fn unplaced(&self, places: &Places) -> BTreeMap<Key, Vec<Duration>> {
        let mut unplaced: BTreeMap<Key, Vec<Duration>> = BTreeMap::new();
        for (serial, write) in &self.writes {
            match write.fate {
                Fate::Open | Fate::Unknown if !places.is_known(*serial) => {
                    unplaced.entry(write.key).or_default().push(write.invoked);
                }
                Fate::Open | Fate::Unknown | Fate::Acknowledged { .. } | Fate::Refused => {}
            }
        }
        unplaced.values_mut().for_each(|moments| moments.sort());
        unplaced
    }

    /// What is shown was sent before, to this key, and not refused.
    fn check_origin(&self, number: usize, read: &Read, key: Key, seen: Seen, found: &mut Vec<Violation>) {
        match self.writes.get(&seen.serial) {
            Some(write) if write.key == key && write.invoked <= read.returned => {
                if write.fate == Fate::Refused {
                    found.push(Violation::RefusedIsThere { serial: seen.serial, read: number });
                }
            }
            Some(_) | None => found.push(Violation::Invented { serial: seen.serial, key, read: number }),
        }
    }

    /// A linearizable read shows what was acknowledged before it began, or something newer.
    fn check_acknowledged(&self, places: &Places, found: &mut Vec<Violation>) {
        let mut acknowledged: Vec<(Duration, Position, Key)> = vec![];
        for write in self.writes.values() {
            if let Fate::Acknowledged { at, position } = write.fate {
                acknowledged.push((at, position, write.key));
            }
        }
        acknowledged.sort();
        let mut acknowledged = acknowledged.into_iter().peekable();
        let mut newest: BTreeMap<Key, Position> = BTreeMap::new();
        for number in self.strong_by(|read| read.invoked) {
            let read = &self.reads[number];
            while let Some((_, position, key)) = acknowledged.next_if(|(at, ..)| *at < read.invoked) {
                let known = newest.entry(key).or_insert(position);
                *known = position.max(*known);
            }
            newest.iter().for_each(|(key, due)| demand(number, read, *key, *due, places, found));
        }
    }

    /// No linearizable read shows less than one that had ended before it began.
    fn check_forward(&self, found: &mut Vec<Violation>) {
        let mut ended = self.strong_by(|read| read.returned).into_iter().peekable();
        let mut highest: BTreeMap<Key, (Position, u64, usize)> = BTreeMap::new();
        for later in self.strong_by(|read| read.invoked) {
            let read = &self.reads[later];
            while let Some(earlier) = ended.next_if(|number| self.reads[*number].returned < read.invoked) {
                for (key, seen) in &self.reads[earlier].seen {
                    let known = highest.entry(*key).or_insert((seen.position, seen.count, earlier));
                    *known = (*known).max((seen.position, seen.count, earlier));
                }
            }
            for (key, (position, count, earlier)) in &highest {
                let forward = read.seen.get(key).is_some_and(|s| s.position >= *position && s.count >= *count);
                if !forward {
                    found.push(Violation::WentBack { key: *key, earlier: *earlier, later });
                }
            }
        }
    }

    /// The numbers of linearizable reads, sorted.
    fn strong_by(&self, moment: impl Fn(&Read) -> Duration) -> Vec<usize> {
        let strong = |number: &usize| self.reads[*number].strength == Strength::Linearizable;
        let mut numbers: Vec<usize> = (0..self.reads.len()).filter(strong).collect();
        numbers.sort_by_key(|number| moment(&self.reads[*number]));
        numbers
    }
}

/// A read is of one state: whoever shows something at a position shows all that is known before it.
fn check_prefix(number: usize, read: &Read, places: &Places, found: &mut Vec<Violation>) {
    let Some(top) = read.seen.values().map(|seen| seen.position).max() else { return };
    for key in places.keys() {
        if let Some((_, due)) = places.newest(key, top) {
            demand(number, read, key, due, places, found);
        }
    }
}

/// The read shows the write that is due at this position, or a newer one.
fn demand(number: usize, read: &Read, key: Key, due: Position, places: &Places, found: &mut Vec<Violation>) {
    let shown = match read.seen.get(&key) {
        Some(seen) if seen.position >= due => return,
        Some(seen) => format!("{} at {}", seen.serial, seen.position),
        None => "nothing".into(),
    };
    let Some((serial, position)) = places.newest(key, due) else { return };
    let lost = Violation::Lost { serial, position, key, read: number, shown };
    if !found.contains(&lost) {
        found.push(lost);
    }
}

/// The key has had the writes that are known up to there, and at most those of unknown fate besides.
fn check_count(
    number: usize,
    read: &Read,
    key: Key,
    seen: Seen,
    places: &Places,
    unplaced: &BTreeMap<Key, Vec<Duration>>,
    found: &mut Vec<Violation>,
) {
    let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let least = whole(places.count(key, seen.position));
    let perhaps = unplaced.get(&key).map_or(0, |moments| moments.partition_point(|moment| *moment <= read.returned));
    let most = least.saturating_add(whole(perhaps));
    if !(least..=most).contains(&seen.count) {
        found.push(Violation::Miscounted { key, read: number, count: seen.count, least, most });
    }
}
