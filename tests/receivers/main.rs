//! Receivers, each against something that judges as the real one does.
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

mod alertmanager;
mod email;
