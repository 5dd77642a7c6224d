//! Tollgate: a reverse proxy that meters, records and guards calls to OpenAI and every API shaped
//! like it.
//!
//! The rooms stand on floors; a module imports only from the floors below its own. See
//! `ARCHITECTURE.md`.

// Floor 0: words everybody speaks.
pub mod clock;
pub mod money;
pub mod record;

// Floor 1: the operator's settings and the prices.
pub mod config;
pub mod pricing;
