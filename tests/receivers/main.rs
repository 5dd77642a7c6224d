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

/// What judges what is sent.
use support::receivers as judges;

mod alertmanager;
mod bench;
mod email;
mod robots;
mod table;
mod telegram;
mod told;
