//! The public price catalogues: two shapes, told apart by what is in them.
//!
//! A catalogue is somebody else's file. What is in it that Tollgate does not understand leaves a
//! model unpriced rather than priced without it, and what makes no sense as a whole is refused.

mod fields;
mod litellm;
mod models_dev;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::rate::{Item, Rate, Rates};
use super::row::{PriceRow, ThresholdPrice, TierPrice};
use crate::record::{Unit, closed_set};

closed_set! {
    /// Whose shape a catalogue has.
    Shape ("catalogue shape") {
        /// `LiteLLM`'s `model_prices_and_context_window.json`.
        Litellm => "litellm",
        /// `models.dev`'s `api.json`.
        ModelsDev => "models-dev",
    }
}

/// What a catalogue states, as far as it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Its shape.
    pub shape: Shape,
    /// Its prices.
    pub rows: Vec<PriceRow>,
    /// The models whose prices it states in a way that cannot be taken over.
    pub skipped: Vec<Skipped>,
}

/// A model left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The model, as the catalogue has it.
    pub model: String,
    /// Why.
    pub reason: String,
}

/// Why a catalogue is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is no JSON, or not to its end.
    #[error("it is not a JSON object: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Neither shape.
    #[error(
        "it has neither shape that is known: a map of models as LiteLLM's \
         model_prices_and_context_window.json, or of providers as models.dev's api.json"
    )]
    UnknownShape,
    /// Nothing in it can be used.
    #[error("it states no price that can be used ({skipped} models were left out)")]
    Empty {
        /// How many.
        skipped: usize,
    },
    /// Too many prices make no sense: the units are others than they should be.
    #[error(
        "{count} of its {of} prices are beyond reason, as {rate} of `{model}`; are its units others?"
    )]
    Absurd {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// One of them.
        model: String,
        /// Its rate in words.
        rate: String,
    },
    /// It has lost most of what the last good one had.
    #[error("it has {now} prices where the last good one has {before}")]
    Shrunk {
        /// Prices in it.
        now: usize,
        /// Prices before.
        before: usize,
    },
    /// Prices moved as no provider moves them.
    #[error(
        "{count} of {of} prices changed more than {JUMP}-fold, as `{model}`; are its units others?"
    )]
    Jumped {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// One of them.
        model: String,
    },
}

/// A price that changes by more than this factor is suspect.
const JUMP: u64 = 20;

type Members<'j> = BTreeMap<String, &'j RawValue>;

impl Catalogue {
    /// Reads a catalogue of either shape.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let members: Members<'_> = serde_json::from_str(text)?;
        let shape = shape(&members).ok_or(CatalogueError::UnknownShape)?;
        let mut catalogue = Self {
            shape,
            rows: Vec::new(),
            skipped: Vec::new(),
        };
        match shape {
            Shape::Litellm => litellm::read(&members, &mut catalogue),
            Shape::ModelsDev => models_dev::read(&members, &mut catalogue),
        }
        catalogue.leave_out_the_absurd()?;
        if catalogue.rows.is_empty() {
            return Err(CatalogueError::Empty {
                skipped: catalogue.skipped.len(),
            });
        }
        Ok(catalogue)
    }

    /// Whether it may take the place of `before`.
    pub fn may_follow(&self, before: &Self) -> Result<(), CatalogueError> {
        if self.rows.len() * 2 < before.rows.len() {
            return Err(CatalogueError::Shrunk {
                now: self.rows.len(),
                before: before.rows.len(),
            });
        }
        let old: BTreeMap<_, _> = before.rows.iter().map(|row| (key(row), row)).collect();
        let mut jumped = Vec::new();
        let mut shared = 0;
        for row in &self.rows {
            let Some(old) = old.get(&key(row)) else {
                continue;
            };
            shared += 1;
            let is_jump = row.standard.iter().any(|(item, now)| {
                let before = old.standard.iter().find(|(other, _)| *other == item);
                before.is_some_and(|(_, before)| {
                    let (low, high) = (before.min(now), before.max(now));
                    low.0 > 0 && high.0 / low.0 > JUMP
                })
            });
            if is_jump {
                jumped.push(row);
            }
        }
        match jumped.first() {
            // One in ten: a handful of corrections is no reason to refuse the rest.
            Some(row) if jumped.len() * 10 > shared => Err(CatalogueError::Jumped {
                count: jumped.len(),
                of: shared,
                model: row.model.clone().into_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn skip(&mut self, model: &str, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            model: model.to_owned(),
            reason: reason.into(),
        });
    }

    /// A price beyond reason is a slip; many of them are a misunderstanding.
    fn leave_out_the_absurd(&mut self) -> Result<(), CatalogueError> {
        let of = self.rows.len();
        let mut absurd = Vec::new();
        self.rows.retain(|row| match absurdity(row) {
            None => true,
            Some(what) => {
                absurd.push((row.model.clone().into_owned(), what));
                false
            }
        });
        let count = absurd.len();
        for (model, rate) in &absurd {
            self.skip(model, format!("{rate} is beyond reason"));
        }
        match absurd.pop() {
            // One in fifty.
            Some((model, rate)) if count * 50 > of => Err(CatalogueError::Absurd {
                count,
                of,
                model,
                rate,
            }),
            _ => Ok(()),
        }
    }
}

/// What a row is known by.
pub(super) fn key(row: &PriceRow) -> (&str, &str) {
    (&row.provider, &row.model)
}

fn shape(members: &Members<'_>) -> Option<Shape> {
    let has = |raw: &RawValue, name: &str| {
        serde_json::from_str::<Members<'_>>(raw.get()).is_ok_and(|inner| inner.contains_key(name))
    };
    if members.values().any(|raw| has(raw, "litellm_provider")) {
        Some(Shape::Litellm)
    } else if members.values().any(|raw| has(raw, "models")) {
        Some(Shape::ModelsDev)
    } else {
        None
    }
}

/// The first rate that no provider asks, in words.
fn absurdity(row: &PriceRow) -> Option<String> {
    let beyond = |(item, rate): (Item, Rate)| {
        let most_usd_per_million: u64 = match item {
            Item::Tokens(_) | Item::Unit(Unit::CacheWrite1h | Unit::Character | Unit::AudioMs) => {
                10_000
            }
            // A hundred for one.
            Item::Unit(Unit::WebSearch | Unit::FileSearch | Unit::Image | Unit::OtherTool) => {
                100_000_000
            }
        };
        (rate.0 / 1_000_000_000 > most_usd_per_million).then(|| {
            format!(
                "{} USD for a million of {}",
                rate.0 / 1_000_000_000,
                item.as_str()
            )
        })
    };
    let tiers = row.tiers.iter().filter_map(|(_, price)| match price {
        TierPrice::Stated(rates) => Some(rates),
        TierPrice::Times(_) => None,
    });
    let thresholds = row.thresholds.iter().flat_map(|threshold| {
        let stated = match &threshold.price {
            ThresholdPrice::Stated(tiers) => tiers.as_slice(),
            ThresholdPrice::Times { .. } => &[],
        };
        stated.iter().map(|(_, rates)| rates)
    });
    let fees = row.fees.iter().map(|(unit, rate)| (Item::Unit(unit), rate));
    std::iter::once(&row.standard)
        .chain(tiers)
        .chain(thresholds)
        .flat_map(Rates::iter)
        .chain(fees)
        .find_map(beyond)
}
