//! What `/metrics` says of the certificate that clients are shown.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::gauge;
use crate::admin::CertificateValidity;
use crate::clock::UnixMicros;
use crate::meter::families::{self, Family, seconds};

const START: Family = (
    "tollgate_tls_certificate_start_timestamp_seconds",
    "From when on the certificate that clients are shown (the first in tls.cert, as it was read at the \
     start) is valid. Absent without TLS.",
    &[],
);
const EXPIRY: Family = (
    "tollgate_tls_certificate_expiry_timestamp_seconds",
    "When the certificate that clients are shown (the first in tls.cert, as it was read at the start) \
     ends. Absent without TLS.",
    &[],
);

/// Shows one certificate's times.
#[derive(Debug)]
pub(super) struct CertificateCollector {
    validity: CertificateValidity,
    descriptions: Vec<Desc>,
}

impl CertificateCollector {
    pub(super) fn new(validity: CertificateValidity) -> prometheus::Result<Self> {
        Ok(Self {
            validity,
            descriptions: families::descriptions(&[START, EXPIRY])?,
        })
    }
}

impl Collector for CertificateCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            gauge(START, since_epoch(self.validity.not_before)),
            gauge(EXPIRY, since_epoch(self.validity.not_after)),
        ]
    }
}

/// Seconds; what was before 1970 is its beginning.
fn since_epoch(moment: UnixMicros) -> f64 {
    seconds(u64::try_from(moment.0).unwrap_or_default())
}
