//! Reads `prices`: which files, and which catalogue.

use std::time::Duration;

use http::Uri;

use super::problem::Place;
use super::reader::Reader;
use super::section::Section;
use super::settings::{PriceUpdateSettings, PricesSettings};
use super::units::{self, Refusal};

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    prices: &mut PricesSettings,
) {
    for (index, given) in section.texts(reader, "files").into_iter().enumerate() {
        let path = reader.resolve(&given);
        if path.is_file() {
            prices.files.push(path);
        } else {
            let refusal = Refusal::new(
                "is not there, or is no file",
                "name a file of prices; relative paths start at this file's folder",
            );
            reader.refuse(&given, &format!("prices.files[{index}]"), &refusal);
        }
    }
    section.section(reader, "update", |section, reader| {
        prices.update = update(section, reader);
    });
}

fn update(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<PriceUpdateSettings> {
    let mut url: Option<Uri> = None;
    let from = section.set(reader, "url", &mut url, |text| address(text).map(Some));
    let mut every = PriceUpdateSettings::USUALLY;
    section.set_duration(reader, "every", &mut every, at_least_a_second);
    if section.has("every") && !section.has("url") {
        let place = section.place.clone().unwrap_or(Place::Default);
        let hint = Some("name the catalogue's address, or take `update` away");
        reader.problem(
            &place,
            "prices.update",
            "`every` is given without `url`",
            hint,
        );
    }
    let url = url?;
    let loopback = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme_str() == Some("http") && !loopback {
        let place = from.unwrap_or(Place::Default);
        let message = "prices come over an open connection, where others can change them";
        let hint = Some("use https:// where the server speaks it");
        reader.warning(&place, "prices.update.url", message, hint);
    }
    Some(PriceUpdateSettings { url, every })
}

fn at_least_a_second(text: &str) -> Result<Duration, Refusal> {
    let every = units::duration(text)?;
    if every < Duration::from_secs(1) {
        return Err(Refusal::new(
            "is shorter than a second",
            "write how often to look for newer prices, as `24h`",
        ));
    }
    Ok(every)
}

fn address(text: &str) -> Result<Uri, Refusal> {
    const FORM: &str = "write an address, as `https://models.dev/api.json`";
    let uri: Uri = text
        .parse()
        .map_err(|_| Refusal::new("is not an address", FORM))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(Refusal::new("is not an http or https address", FORM));
    }
    if uri
        .authority()
        .is_some_and(|host| host.as_str().contains('@'))
    {
        return Err(Refusal::new(
            "holds user information, which would be shown in logs",
            "serve the catalogue where it needs none",
        ));
    }
    Ok(uri)
}
