//! The composition: what the command line and the program that runs have in common.

use std::net::SocketAddr;

/// What the command line adds to the settings of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Take the listeners over from the process that runs now.
    pub upgrade: bool,
}

/// Where a run listens, once it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The data plane.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}
