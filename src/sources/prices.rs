//! The price catalogue: fetched on a schedule, judged before it replaces anything, and kept.
//!
//! A catalogue that cannot be had, cannot be read or makes no sense changes nothing: the last good
//! one stays in use and on disk, a log event says why, and so does a metric.

mod fetch;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::time::{Instant, sleep_until};

use crate::clock::UnixMicros;
use crate::pricing::{Catalogue, CatalogueError, Layer, Prices, Refresh, catalogue_layer};

pub use fetch::{FetchError, Fetched, Fetcher};
pub use store::{LastGood, Origin, Store, StoreError};

/// How soon a failed attempt is repeated, where the schedule is longer.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// How often files are looked at: the last good catalogue's, for another process (`tollgate prices
/// update`) may have brought a newer one, and the operator's own.
const LOOK: Duration = Duration::from_secs(2);

/// Why there is no newer catalogue.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// It could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came makes no sense.
    #[error("the catalogue is refused: {0}")]
    Refused(#[from] CatalogueError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process ends.
    #[error("the process is stopping")]
    Stopped,
}

/// A catalogue that was judged good.
#[derive(Debug)]
pub struct Good {
    /// What it states.
    pub catalogue: Catalogue,
    /// The same as it came, with its origin.
    pub kept: LastGood,
}

impl Good {
    /// Judges a text, also against the one before it from the same address: another catalogue may be
    /// smaller, and in other units.
    pub fn judge(kept: LastGood, before: Option<&Self>) -> Result<Self, CatalogueError> {
        let catalogue = Catalogue::parse(&kept.text)?;
        let same = before.filter(|before| before.kept.origin.address == kept.origin.address);
        if let Some(before) = same {
            catalogue.may_follow(&before.catalogue)?;
        }
        Ok(Self { catalogue, kept })
    }

    /// As prices are looked up in it.
    #[must_use]
    pub fn layer(&self) -> Arc<Layer> {
        let (text, at) = (&self.kept.text, self.kept.origin.as_of());
        Arc::new(catalogue_layer(self.catalogue.clone(), text, at))
    }
}

/// The last good catalogue of a data folder; `None` when there is none. One that is damaged is told
/// in the log and ignored.
#[must_use]
pub fn last_good(data_dir: &Path) -> Option<Good> {
    let store = Store::new(data_dir);
    let told = |error: &dyn std::fmt::Display| told_damaged(&store, error);
    let kept = store.load().map_err(|error| told(&error)).ok()??;
    Good::judge(kept, None).map_err(|error| told(&error)).ok()
}

/// Keeps the catalogue of a running sidecar up to date.
#[derive(Debug)]
pub struct Refresher {
    prices: Arc<Prices>,
    store: Store,
    update: Option<Schedule>,
    good: Option<Arc<Good>>,
}

#[derive(Debug)]
struct Schedule {
    url: Uri,
    every: Duration,
    fetcher: Fetcher,
}

impl Refresher {
    /// Puts the last good catalogue of `data_dir` into use, when there is one. `update` says where a
    /// newer one is, and how often to look.
    pub fn new(
        prices: Arc<Prices>,
        data_dir: &Path,
        update: Option<(Uri, Duration)>,
    ) -> Result<Self, FetchError> {
        let update = match update {
            Some((url, every)) => Some(Schedule {
                url,
                every,
                fetcher: Fetcher::new(fetch::Bounds::USUAL)?,
            }),
            None => None,
        };
        let mut refresher = Self {
            prices,
            store: Store::new(data_dir),
            update,
            good: None,
        };
        if let Some(good) = last_good(data_dir) {
            let layer = good.layer();
            refresher.use_it(Arc::new(good), layer);
        }
        Ok(refresher)
    }

    /// Looks for a newer catalogue as scheduled, for ever.
    pub async fn run(mut self) {
        let mut next = Instant::now() + self.wait_at_first(UnixMicros::now());
        loop {
            let look = Instant::now() + LOOK;
            match &self.update {
                Some(schedule) if next <= look => {
                    let every = schedule.every;
                    sleep_until(next).await;
                    let result = self.refresh(UnixMicros::now()).await;
                    let worked = matches!(result, Refresh::Updated | Refresh::Unchanged);
                    next = Instant::now() + if worked { every } else { every.min(AGAIN) };
                }
                _ => sleep_until(look).await,
            }
            self.take_what_another_brought().await;
            self.take_changed_files().await;
        }
    }

    /// What is left of the schedule since the last good catalogue came; nothing when that came from
    /// another address than the one that is set now.
    fn wait_at_first(&self, now: UnixMicros) -> Duration {
        match (&self.update, &self.good) {
            (Some(schedule), Some(good))
                if good.kept.origin.address == schedule.url.to_string() =>
            {
                let age = now.since(good.kept.origin.fetched_at);
                schedule.every.saturating_sub(age)
            }
            _ => Duration::ZERO,
        }
    }

    /// Looks for a newer catalogue once.
    pub async fn refresh(&mut self, now: UnixMicros) -> Refresh {
        let result = match self.look(now).await {
            Ok(true) => Refresh::Updated,
            Ok(false) => Refresh::Unchanged,
            Err(error) => {
                let url = self.update.as_ref().map(|schedule| shown(&schedule.url));
                tracing::warn!(url, %error, "no newer price catalogue; the last good one stays");
                match error {
                    UpdateError::Refused(_) => Refresh::Refused,
                    UpdateError::Fetch(_) | UpdateError::Store(_) | UpdateError::Stopped => {
                        Refresh::Failed
                    }
                }
            }
        };
        self.prices.refreshes.note(result, now);
        result
    }

    async fn look(&mut self, now: UnixMicros) -> Result<bool, UpdateError> {
        let Some(schedule) = &self.update else {
            return Ok(false);
        };
        let known = self.good.as_ref().map(|good| &good.kept.origin);
        let kept = match schedule.fetcher.fetch(&schedule.url, known, now).await? {
            Fetched::NotModified => return Ok(false),
            Fetched::New(kept) => kept,
        };
        let (before, store) = (self.good.clone(), self.store.clone());
        let good = aside(move || {
            let good = Good::judge(kept, before.as_deref())?;
            // In use only when it is kept: a restart must not go back in time.
            store.save(&good.kept)?;
            Ok(good)
        });
        self.take(good.await?).await;
        Ok(true)
    }

    /// Whoever writes the file has judged it; it is judged again all the same.
    async fn take_what_another_brought(&mut self) {
        let store = self.store.clone();
        let known = self.good.as_ref().map(|good| good.kept.origin.fetched_at);
        let brought = aside(move || {
            let changed = store.load_if_changed()?;
            let other = changed.filter(|kept| known != Some(kept.origin.fetched_at));
            Ok(other.map(|kept| Good::judge(kept, None)).transpose()?)
        });
        match brought.await {
            Ok(None) => {}
            Ok(Some(good)) => self.take(good).await,
            Err(error) => told_damaged(&self.store, &error),
        }
    }

    /// The operator's own files, where one changed since they were read.
    async fn take_changed_files(&self) {
        let prices = Arc::clone(&self.prices);
        let reload = move || prices.reload_if_changed(UnixMicros::now());
        // An error means that the process ends.
        match tokio::task::spawn_blocking(reload).await.ok().flatten() {
            Some(Ok(Refresh::Updated)) => {
                let table = self.prices.table();
                let versions: Vec<&str> = table.layers().iter().map(|own| own.version()).collect();
                tracing::info!(?versions, "the price files changed and are in use");
            }
            Some(Err(problems)) => {
                tracing::warn!(%problems, "a price file is wrong; the prices before stay in use");
            }
            Some(Ok(_)) | None => {}
        }
    }

    async fn take(&mut self, good: Good) {
        let good = Arc::new(good);
        let own = Arc::clone(&good);
        if let Ok(layer) = aside(move || Ok(own.layer())).await {
            self.use_it(good, layer);
        }
    }

    fn use_it(&mut self, good: Arc<Good>, layer: Arc<Layer>) {
        tracing::info!(
            version = layer.version(),
            prices = good.catalogue.rows.len(),
            left_out = good.catalogue.skipped.len(),
            "price catalogue in use"
        );
        self.prices
            .refreshes
            .note_last_good(good.kept.origin.fetched_at);
        self.prices.set_catalogue(layer);
        self.good = Some(good);
    }
}

/// Does work of some milliseconds where it holds up nobody.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpdateError> + Send + 'static,
) -> Result<T, UpdateError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(UpdateError::Stopped))
}

fn told_damaged(store: &Store, error: &dyn std::fmt::Display) {
    tracing::warn!(
        file = %store.file().display(), %error,
        "the last good price catalogue is damaged and ignored"
    );
}

/// An address without its query, which may hold a credential.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{}", url.path())
}
