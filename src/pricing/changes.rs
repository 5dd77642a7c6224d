//! What one catalogue says otherwise than another.

use std::collections::BTreeMap;

use super::catalogue::{Catalogue, key};
use super::rate::{Item, Rate};
use super::row::PriceRow;

/// The differences between two catalogues. Models are named `provider/model`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Models that are new.
    pub new: Vec<String>,
    /// Models that are gone.
    pub gone: Vec<String>,
    /// Models of which something costs more now, and nothing less.
    pub dearer: Vec<Change>,
    /// Models of which something costs less now, and nothing more.
    pub cheaper: Vec<Change>,
    /// Models that changed in another way: more here and less there, tiers, thresholds, fees.
    pub otherwise: Vec<String>,
    /// Models that cost what they did.
    pub unchanged: usize,
}

/// A change of one model's standard rates, shown by the first of them that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The model.
    pub model: String,
    /// What changed.
    pub item: Item,
    /// Its rate before.
    pub before: Rate,
    /// Its rate now.
    pub now: Rate,
}

impl Changes {
    /// From `before` to `now`.
    #[must_use]
    pub fn between(before: &Catalogue, now: &Catalogue) -> Self {
        let by_key = |catalogue: &'_ Catalogue| -> BTreeMap<(String, String), PriceRow> {
            let rows = catalogue.rows.iter().map(|row| {
                let (provider, model) = key(row);
                ((provider.to_owned(), model.to_owned()), row.clone())
            });
            rows.collect()
        };
        let (old, new) = (by_key(before), by_key(now));
        let name = |(provider, model): &(String, String)| format!("{provider}/{model}");
        let mut changes = Self {
            gone: old
                .keys()
                .filter(|key| !new.contains_key(*key))
                .map(name)
                .collect(),
            ..Self::default()
        };
        for (key, row) in &new {
            match old.get(key) {
                None => changes.new.push(name(key)),
                Some(old) => changes.compare(name(key), old, row),
            }
        }
        changes
    }

    fn compare(&mut self, model: String, old: &PriceRow, new: &PriceRow) {
        let same = old.standard == new.standard
            && old.tiers == new.tiers
            && old.thresholds == new.thresholds
            && old.fees == new.fees;
        if same {
            self.unchanged += 1;
            return;
        }
        let mut moved = new.standard.iter().filter_map(|(item, now)| {
            let (_, before) = old.standard.iter().find(|(other, _)| *other == item)?;
            (before != now).then_some((item, before, now))
        });
        let Some((item, before, now)) = moved.next() else {
            self.otherwise.push(model);
            return;
        };
        let up = now > before;
        if moved.any(|(_, before, now)| (now > before) != up) {
            self.otherwise.push(model);
            return;
        }
        let list = if up {
            &mut self.dearer
        } else {
            &mut self.cheaper
        };
        list.push(Change {
            model,
            item,
            before,
            now,
        });
    }
}
