//! Reads `sources`.

use super::base_url::BaseUrl;
use super::channels::needed;
use super::problem::Place;
use super::reader::Reader;
use super::section::Section;
use super::settings::{BillingSettings, NewApiSettings, SourcesSettings};
use super::units::{self, Refusal};

/// Reads `sources`. Returns where `new_api` is.
pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    sources: &mut SourcesSettings,
) -> Option<Place> {
    section.section(reader, "billing", |section, reader| {
        billing(section, reader, &mut sources.billing);
    });
    let mut place = None;
    section.section(reader, "new_api", |section, reader| {
        place = new_api(section, reader, &mut sources.new_api);
    });
    place
}

fn billing(section: &mut Section<'_>, reader: &mut Reader<'_>, billing: &mut BillingSettings) {
    billing.admin_key = section.secret(reader, None, "admin_key_file");
    let place = section.set(reader, "base_url", &mut billing.base_url, units::base_url);
    let key = section.key("base_url");
    warn_of_clear_text(reader, &key, place, &billing.base_url, "the admin key");
    section.set(reader, "project", &mut billing.project, |text| {
        project(text).map(Some)
    });
}

/// Notes that a credential is sent where others can read it.
fn warn_of_clear_text(
    reader: &mut Reader<'_>,
    key: &str,
    place: Option<Place>,
    url: &BaseUrl,
    credential: &str,
) {
    if let Some(place) = place.filter(|_| !url.tls && !url.is_loopback()) {
        let message =
            format!("`{url}` is not encrypted: {credential} crosses the network in clear");
        reader.warning(&place, key, message, Some("use https://"));
    }
}

/// Reads `new_api`; nothing where it has no key, or what it has is refused. Returns where it is.
fn new_api(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    settings: &mut Option<NewApiSettings>,
) -> Option<Place> {
    let mut base_url = None;
    let url_place = section.set(reader, "base_url", &mut base_url, |text| {
        gateway(text).map(Some)
    });
    let token = section.secret(reader, Some("token"), "token_file");
    let mut user = None;
    section.set(reader, "user", &mut user, |text| {
        units::count(i64::MAX.unsigned_abs())(text).map(Some)
    });
    let given = ["base_url", "token", "token_file", "user"];
    let place = section.place.clone()?;
    if !given.into_iter().any(|key| section.has(key)) {
        return None;
    }
    needed(section, reader, "base_url", "it says where new-api is");
    if !section.has("token") && !section.has("token_file") {
        let message = "is missing; without it new-api changes nothing";
        let hint = Some(
            "give `token` or `token_file`: an administrator's access token, which new-api makes under personal settings",
        );
        reader.problem(&place, &section.key("token"), message, hint);
    }
    if let (Some(base_url), Some(token)) = (base_url, token) {
        let key = section.key("base_url");
        warn_of_clear_text(reader, &key, url_place, &base_url, "the access token");
        *settings = Some(NewApiSettings {
            base_url,
            token,
            user,
        });
    }
    Some(place)
}

fn gateway(text: &str) -> Result<BaseUrl, Refusal> {
    let url = units::base_url(text)?;
    if ["/api", "/v1"].iter().any(|end| url.path.ends_with(end)) {
        return Err(Refusal::new(
            "is not where new-api itself is",
            "write its address as a browser has it, without `/api` or `/v1`",
        ));
    }
    Ok(url)
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
