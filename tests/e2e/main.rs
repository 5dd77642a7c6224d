//! Tollgate end to end: the real binary between real clients and upstreams whose every byte is
//! known.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../golden/exchange.rs"]
mod exchange;
#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod alerts;
mod backup;
mod bad_input;
mod crash;
mod deferred;
mod departures;
mod endings;
mod enforcement;
mod failover;
mod gates;
mod golden;
mod headers;
mod keys;
mod kinds;
mod limits;
mod media;
mod memory;
mod models;
mod new_api;
mod notifications;
mod payloads;
mod pool;
mod prices;
mod protocols;
mod providers;
mod reconcile;
mod reload;
mod rules;
mod secrets;
mod stopping;
mod transparency;
mod uploads;
mod usage;
mod websockets;
