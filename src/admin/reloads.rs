//! What came of reading the settings and the rules again.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::clock::UnixMicros;

/// Written by who reads them, shown by `/metrics`.
#[derive(Debug)]
pub struct ReloadStats {
    /// Whether what is in force is what the files say.
    success: AtomicBool,
    last_success_us: AtomicI64,
}

impl ReloadStats {
    /// At a start, whose own reading went well.
    #[must_use]
    pub const fn new(started_at: UnixMicros) -> Self {
        Self {
            success: AtomicBool::new(true),
            last_success_us: AtomicI64::new(started_at.0),
        }
    }

    /// Notes that the files were read, and whether what they say is in force.
    pub fn note(&self, success: bool, now: UnixMicros) {
        if success {
            self.last_success_us.store(now.0, Ordering::Relaxed);
        }
        self.success.store(success, Ordering::Relaxed);
    }

    /// Whether the last reading went well.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.success.load(Ordering::Relaxed)
    }

    /// When one last did.
    #[must_use]
    pub fn last_success(&self) -> UnixMicros {
        UnixMicros(self.last_success_us.load(Ordering::Relaxed))
    }
}
