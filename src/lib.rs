//! Tollgate: a reverse proxy that meters, records and guards calls to OpenAI and every API shaped
//! like it.
//!
//! The rooms stand on floors; a module imports only from the floors below its own. See
//! `ARCHITECTURE.md`.

// Floor 0: words everybody speaks.
pub mod alert;
pub mod clock;
pub mod money;
pub mod record;

// Floor 1: the operator's settings, the prices, the wire's shapes, the count of tokens.
pub mod config;
pub mod pricing;
pub mod protocol;
pub mod tokenizer;

// Floor 2: what is chosen, kept, counted and judged.
pub mod channel;
pub mod keys;
pub mod ledger;
pub mod meter;
pub mod payloads;
pub mod rules;

// Floor 3: what comes from outside, and what is told there.
pub mod dispatch;
pub mod notify;
pub mod sources;

// Floor 4: the way of a request, and the way in for operators.
pub mod admin;
pub mod proxy;

// Floor 5: composition and command line.
pub mod app;
pub mod cli;
