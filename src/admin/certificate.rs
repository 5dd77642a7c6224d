//! The certificate that clients are shown.

use crate::clock::UnixMicros;

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateValidity {
    /// Its first moment.
    pub not_before: UnixMicros,
    /// Its last.
    pub not_after: UnixMicros,
}
