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
//! Every receiver before a server that judges like the real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bench;
#[path = "../support/receivers/mod.rs"]
mod judges;
mod robots;
mod table;
mod told;
