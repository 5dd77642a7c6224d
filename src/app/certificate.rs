//! Until when the certificate in front is good. It is read once, as the data plane reads it once: a
//! file that was renewed since is not what clients are shown.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::admin::{AdminState, CertificateValidity};
use crate::clock::UnixMicros;
use crate::config::Settings;

/// Has the admin port show the certificate's times, where there is one.
pub(super) fn shown(
    state: AdminState,
    settings: &Settings,
) -> Result<AdminState, prometheus::Error> {
    let Some(tls) = &settings.tls else {
        return Ok(state);
    };
    match validity(&tls.cert) {
        Ok(validity) => state.with_certificate(validity),
        Err(reason) => {
            tracing::warn!(
                certificate = %tls.cert.display(),
                reason,
                "when the certificate in tls.cert ends cannot be read; /metrics does not say it"
            );
            Ok(state)
        }
    }
}

/// The times of the first certificate of a PEM file, which is the one that stands for the server.
fn validity(path: &Path) -> Result<CertificateValidity, String> {
    let mut certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let first = certificates
        .next()
        .ok_or("the file holds no certificate")?
        .map_err(|error| error.to_string())?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(&first).map_err(|error| error.to_string())?;
    let moment = |seconds: i64| UnixMicros(seconds.saturating_mul(1_000_000));
    let validity = certificate.validity();
    Ok(CertificateValidity {
        not_before: moment(validity.not_before.timestamp()),
        not_after: moment(validity.not_after.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pem(until_year: i32) -> String {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2026, 1, 2);
        parameters.not_after = date_time_ymd(until_year, 3, 4);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_first_of_a_chain_is_the_one_that_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        fs::write(&path, format!("{}{}", pem(2027), pem(2050))).unwrap();
        let validity = validity(&path).unwrap();
        assert_eq!(
            validity.not_before.to_string(),
            "2026-01-02T00:00:00.000000Z"
        );
        assert_eq!(
            validity.not_after.to_string(),
            "2027-03-04T00:00:00.000000Z"
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        validity(&path).unwrap_err();
        fs::write(&path, "").unwrap();
        assert_eq!(
            validity(&path).unwrap_err(),
            "the file holds no certificate"
        );
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&path, text).unwrap();
        validity(&path).unwrap_err();
    }
}
