//! Which series a request is counted in: its own model's, or the one that holds all the others.
//!
//! Clients choose model names freely, and a series once opened stays until the process ends. So
//! the number of models is bounded, and only a model that an upstream served or a price row covers
//! gets one of the places: names that nobody answers to cannot use them up.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use crate::record::{Api, Outcome, RequestRecord};

use super::cell::Cell;

/// The model label of everything that has no series of its own: models beyond the configured
/// number, and names that neither an upstream nor the price table knows.
pub const OTHER_MODELS: &str = "other";

/// Channel, model, API.
pub(super) type Labels = (Arc<str>, Arc<str>, Api);

/// A channel's cells, nested so that a lookup needs no owned key.
type Models = HashMap<Arc<str>, HashMap<Api, Arc<Cell>>>;

/// The model of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model<'a> {
    /// The model that answered, else the one asked for, else `""`. The same choice as the ledger's
    /// roll-ups, so that sums agree.
    pub(super) name: &'a str,
    /// Whether something other than the client vouches for the name.
    pub(super) known: bool,
}

impl<'a> Model<'a> {
    pub(super) fn of(record: &'a RequestRecord) -> Self {
        let served = record.served_model.as_deref();
        Self {
            name: served
                .or(record.admission.requested_model.as_deref())
                .unwrap_or(""),
            // Not every API's answer names its model, and Tollgate does not read them all yet.
            known: served.is_some() || record.cost.is_some() || record.outcome == Outcome::Ok,
        }
    }
}

/// A cell, and whether the model went into [`OTHER_MODELS`].
#[derive(Debug)]
pub(super) struct Found {
    pub(super) cell: Arc<Cell>,
    pub(super) folded: bool,
}

/// The cells by their labels.
#[derive(Debug)]
pub(super) struct Series {
    max_models: usize,
    /// The models with series of their own. Never holds `""` or [`OTHER_MODELS`], which need no
    /// place.
    places: HashSet<Arc<str>>,
    cells: HashMap<Arc<str>, Models>,
}

impl Series {
    pub(super) fn new(max_models: usize) -> Self {
        Self {
            max_models,
            places: HashSet::default(),
            cells: HashMap::default(),
        }
    }

    /// The cell of a request, if it is there already; whatever folds is found here as well.
    pub(super) fn find(&self, channel: &str, model: Model<'_>, api: Api) -> Option<Found> {
        let models = self.cells.get(channel)?;
        let cell = |label: &str| models.get(label)?.get(&api).map(Arc::clone);
        // By the name as it is first: most requests end here.
        if let Some(cell) = cell(model.name) {
            return Some(Found {
                cell,
                folded: false,
            });
        }
        if !self.folds(model) {
            return None;
        }
        cell(OTHER_MODELS).map(|cell| Found { cell, folded: true })
    }

    /// The cell of a request, made if need be.
    pub(super) fn find_or_insert(&mut self, channel: &str, model: Model<'_>, api: Api) -> Found {
        let folded = self.folds(model);
        let label = if folded { OTHER_MODELS } else { model.name };
        let label: Arc<str> = Arc::from(label);
        if needs_place(&label) {
            self.places.insert(Arc::clone(&label));
        }
        let models = self.cells.entry(Arc::from(channel)).or_default();
        let cell = models
            .entry(label)
            .or_default()
            .entry(api)
            .or_insert_with(|| Arc::new(Cell::new()));
        Found {
            cell: Arc::clone(cell),
            folded,
        }
    }

    fn folds(&self, model: Model<'_>) -> bool {
        let may_enter = model.known && self.places.len() < self.max_models;
        needs_place(model.name) && !may_enter && !self.places.contains(model.name)
    }

    /// Every cell with its labels, in a stable order.
    pub(super) fn snapshot(&self) -> Vec<(Labels, Arc<Cell>)> {
        let mut cells: Vec<_> = self
            .cells
            .iter()
            .flat_map(|(channel, models)| {
                models.iter().flat_map(move |(model, apis)| {
                    apis.iter().map(move |(&api, cell)| {
                        (
                            (Arc::clone(channel), Arc::clone(model), api),
                            Arc::clone(cell),
                        )
                    })
                })
            })
            .collect();
        cells.sort_by(|left, right| left.0.cmp(&right.0));
        cells
    }
}

/// Whether a series with this label counts towards the limit.
fn needs_place(label: &str) -> bool {
    !label.is_empty() && label != OTHER_MODELS
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn model(name: &str, known: bool) -> Model<'_> {
        Model { name, known }
    }

    #[test]
    fn what_folds_is_found_without_changing_anything() {
        let mut series = Series::new(1);
        series.find_or_insert("x", model("real", true), Api::Chat);
        let other = series.find_or_insert("x", model("junk-0", false), Api::Chat);
        assert!(other.folded);
        for (name, known) in [("junk-1", false), ("late", true)] {
            let found = series.find("x", model(name, known), Api::Chat).unwrap();
            assert!(found.folded, "{name}");
            assert!(Arc::ptr_eq(&found.cell, &other.cell), "{name}");
        }
    }

    #[test]
    fn a_known_model_is_not_found_in_other_while_there_is_a_place() {
        let mut series = Series::new(1);
        series.find_or_insert("x", model("real", false), Api::Chat);
        assert!(series.find("x", model("real", true), Api::Chat).is_none());
        let own = series.find_or_insert("x", model("real", true), Api::Chat);
        assert!(!own.folded);
        // A place holds in every channel and API, for failures too.
        assert!(series.find("y", model("real", false), Api::Chat).is_none());
        let elsewhere = series.find_or_insert("y", model("real", false), Api::Embeddings);
        assert!(!elsewhere.folded);
    }

    #[test]
    fn a_model_called_other_takes_no_place() {
        let mut series = Series::new(1);
        let other = series.find_or_insert("x", model(OTHER_MODELS, true), Api::Chat);
        let own = series.find_or_insert("x", model("real", true), Api::Chat);
        assert!(!other.folded && !own.folded);
    }
}
