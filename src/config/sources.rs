//! Reads `sources`.

use super::reader::Reader;
use super::section::Section;
use super::settings::{BillingSettings, SourcesSettings};
use super::units::{self, Refusal};

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    sources: &mut SourcesSettings,
) {
    section.section(reader, "billing", |section, reader| {
        billing(section, reader, &mut sources.billing);
    });
}

fn billing(section: &mut Section<'_>, reader: &mut Reader<'_>, billing: &mut BillingSettings) {
    billing.admin_key = section.secret(reader, None, "admin_key_file");
    let place = section.set(reader, "base_url", &mut billing.base_url, units::base_url);
    let url = &billing.base_url;
    if let Some(place) = place.filter(|_| !url.tls && !url.is_loopback()) {
        let message =
            format!("`{url}` is not encrypted: the admin key crosses the network in clear");
        let hint = Some("use https://");
        reader.warning(&place, &section.key("base_url"), message, hint);
    }
    section.set(reader, "project", &mut billing.project, |text| {
        project(text).map(Some)
    });
}

fn project(text: &str) -> Result<String, Refusal> {
    let fits = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Refusal::new(
            "is no id of a project",
            "write it as the provider's pages show it, as `proj_abc`",
        ))
    }
}
