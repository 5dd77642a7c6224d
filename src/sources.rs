//! What comes from outside and goes there, and not by way of the proxy.

mod amount;
pub mod billing;
mod cause;
pub mod models;
pub mod new_api;
pub mod prices;
pub mod reconcile;
#[cfg(test)]
mod scripted;

pub use amount::{Amount, AmountError};
pub use cause::Cause;

/// An HTTP client in the making. Every one begins here: TLS is ring's, as in the proxy, and the
/// library wants to be told so before it builds the first.
pub fn http_client() -> reqwest::ClientBuilder {
    // One that is installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
}
