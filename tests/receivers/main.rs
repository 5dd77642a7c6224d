//! Receivers over real sockets, in front of servers that judge as the real ones do.

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
mod telegram;
