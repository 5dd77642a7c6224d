//! The dashboards: what they say is what Grafana understands, what they ask is answered, and their links lead somewhere.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[allow(dead_code, reason = "each test crate asks for its own part")]
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod boards;
mod change;
mod chosen;
mod fleet;
mod links;
mod lint;
mod live;
mod marks;
mod metrics;
mod reference;
mod room;
mod source;
mod sql;
mod stack;
#[allow(dead_code, reason = "each test crate asks for its own part")]
#[path = "../traffic/mod.rs"]
mod traffic;
