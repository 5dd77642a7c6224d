//! A bounded memory of what was used last, for many readers.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::HashMap;

/// Parts with a lock each, so that writers of different keys rarely meet.
const SHARDS: usize = 16;

/// Remembers by hash what was put or found last. Two generations take turns: when the young one is
/// full it becomes the old one, and what was in the old one and not asked for since is forgotten.
/// So at least half of the capacity is kept, in constant time and without a list of ages.
#[derive(Debug)]
pub(super) struct Recent<V> {
    shards: [RwLock<Generations<V>>; SHARDS],
    /// What a generation of one shard weighs at most.
    bound: usize,
}

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<u64, Kept<V>>,
    old: HashMap<u64, Kept<V>>,
    young_weight: usize,
}

#[derive(Clone, Debug)]
struct Kept<V> {
    value: V,
    weight: usize,
}

impl<V: Clone> Recent<V> {
    /// A memory that weighs at most about `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                RwLock::new(Generations {
                    young: HashMap::default(),
                    old: HashMap::default(),
                    young_weight: 0,
                })
            }),
            bound: (capacity / 2 / SHARDS).max(1),
        }
    }

    /// What was put under `key`, while it is remembered. Keys are hashes: two things with the same
    /// key are one to this memory.
    pub(super) fn get(&self, key: u64) -> Option<V> {
        let shard = self.read(key);
        if let Some(kept) = shard.young.get(&key) {
            return Some(kept.value.clone());
        }
        let kept = shard.old.get(&key)?.clone();
        drop(shard);
        let value = kept.value.clone();
        self.write(key).put(key, kept, self.bound);
        Some(value)
    }

    /// Remembers `value`. What weighs more than a generation may is not remembered.
    pub(super) fn put(&self, key: u64, value: V, weight: usize) {
        if weight <= self.bound {
            self.write(key).put(key, Kept { value, weight }, self.bound);
        }
    }

    fn read(&self, key: u64) -> RwLockReadGuard<'_, Generations<V>> {
        self.shard(key)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: u64) -> RwLockWriteGuard<'_, Generations<V>> {
        self.shard(key)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: u64) -> &RwLock<Generations<V>> {
        // The low bits: the map inside mixes all of them anew.
        let [low, ..] = key.to_le_bytes();
        &self.shards[usize::from(low) % SHARDS]
    }
}

impl<V> Generations<V> {
    fn put(&mut self, key: u64, kept: Kept<V>, bound: usize) {
        let former = self.young.get(&key).map_or(0, |former| former.weight);
        if self.young_weight - former + kept.weight > bound {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        } else {
            self.young_weight -= former;
        }
        self.old.remove(&key);
        self.young_weight += kept.weight;
        self.young.insert(key, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(recent: &Recent<u64>) -> usize {
        let shards = recent.shards.iter().map(|shard| {
            let shard = shard.read().unwrap();
            let kept = shard.young.values().chain(shard.old.values());
            kept.map(|kept| kept.weight).sum::<usize>()
        });
        shards.sum()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let recent = Recent::new(320);
        recent.put(0, 1000, 1);
        for key in 1..10_000 {
            recent.put(key, key, 1);
            assert_eq!(recent.get(0), Some(1000), "after {key}");
        }
        assert!(weight(&recent) <= 320, "{}", weight(&recent));
        assert_eq!(recent.get(9_999), Some(9_999));
        assert_eq!(recent.get(5), None);
    }

    #[test]
    fn what_is_heavy_takes_the_place_of_more() {
        let recent = Recent::new(320);
        for key in 0..1_000 {
            recent.put(key, key, 5);
            recent.put(key, key, 6);
            assert!(weight(&recent) <= 320, "{}", weight(&recent));
        }
        recent.put(7_777, 1, 11);
        assert_eq!(recent.get(7_777), None, "heavier than a generation");
    }
}
