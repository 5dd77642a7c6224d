//! The operator's settings: one YAML file, environment twins, secrets in files.

mod base_url;
mod secret;
mod settings;

pub use base_url::{BaseUrl, BaseUrlError};
pub use secret::Secret;
pub use settings::{
    AdminSettings, ChannelKind, ChannelSettings, LedgerSettings, LedgerStore, Limits, LogFormat,
    LogSettings, MetricsSettings, OnClientClose, OnLedgerFailure, Settings, StreamingSettings,
    TlsSettings,
};
