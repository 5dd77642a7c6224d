//! What comes from outside, and not by way of the proxy.

pub mod prices;
