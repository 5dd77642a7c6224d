//! The admin port: metrics, health, and the API over the ledger. Apart from traffic, so that it can
//! be closed off, and so that neither can starve the other of connections.

mod readiness;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use jiff::tz::TimeZone;

use crate::config::Secret;
use crate::ledger::LedgerStats;
use crate::meter::Meter;

pub use readiness::{NotReady, Readiness};
pub use serve::serve;

/// What the composition hands to the admin port.
#[derive(Debug)]
pub struct AdminParts {
    /// The traffic's cells.
    pub meter: Arc<Meter>,
    /// What the ledger says about itself.
    pub ledger: Arc<LedgerStats>,
    /// The ledger's folder, for connections that read it.
    pub data_dir: PathBuf,
    /// The bearer token of `/api/v1/`.
    pub token: Option<Secret>,
    /// The bearer token of `/metrics`, `/livez` and `/readyz`.
    pub metrics_token: Option<Secret>,
    /// The calendar of days where a question names none.
    pub timezone: TimeZone,
    /// Whether traffic is welcome.
    pub readiness: Arc<Readiness>,
}

/// Everything the admin port's handlers share.
#[derive(Debug)]
pub struct AdminState {
    parts: AdminParts,
}

impl AdminState {
    /// Fails only when two metric families have one name, which is a fault of the program.
    pub fn new(parts: AdminParts) -> prometheus::Result<Self> {
        Ok(Self { parts })
    }
}

/// The admin port's routes. `loopback` says whether only this machine can reach the listener.
#[must_use]
pub fn router(state: Arc<AdminState>, loopback: bool) -> Router {
    let _ = (&state.parts, loopback);
    Router::new()
}
