//! Reads `channels`.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::base_url::BaseUrl;
use super::problem::Place;
use super::reader::Reader;
use super::section::Section;
use super::settings::{ChannelKind, ChannelSettings};
use super::tree::shown;
use super::units::{self, Refusal};

/// A channel and where its parts were set, for the checks that look at several settings.
pub(super) struct GivenChannel {
    pub(super) settings: ChannelSettings,
    /// The key of its base URL, e.g. `channels[0].base_url`.
    pub(super) url_key: String,
    pub(super) url_place: Place,
}

/// Reads `upstream` and `channels`; the default channel when neither is there. What is refused is
/// left out.
pub(super) fn read(top: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<GivenChannel> {
    let mut base_url = BaseUrl::openai();
    let upstream_place = top.set(reader, "upstream", &mut base_url, units::base_url);
    let mut channels = Vec::new();
    let mut names = HashMap::new();
    let mut members = 0;
    let list_place = top.list(reader, "channels", |section, reader| {
        members += 1;
        channels.extend(channel(section, reader, &mut names));
    });
    let Some(list_place) = list_place else {
        return vec![GivenChannel {
            settings: ChannelSettings::openai(base_url),
            url_key: "upstream".to_owned(),
            url_place: upstream_place.unwrap_or(Place::Default),
        }];
    };
    if let Some(place) = upstream_place {
        reader.problem(
            &place,
            "upstream",
            format!("`upstream` and `channels` (at {list_place}) are both given"),
            Some("`upstream` is short for one channel; keep one of the two"),
        );
    } else if members == 0 {
        reader.problem(
            &list_place,
            "channels",
            "the list is empty, so no request could go anywhere",
            Some("add a channel, or take the key away to proxy https://api.openai.com/v1"),
        );
    }
    channels
}

fn channel(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    names: &mut HashMap<Arc<str>, Place>,
) -> Option<GivenChannel> {
    let mut name: Option<Arc<str>> = None;
    let mut kind = None;
    let mut base_url: Option<BaseUrl> = None;
    let name_key = section.key("name");
    let name_given = section.has("name");
    let name_place = section.set(reader, "name", &mut name, |text| {
        channel_name(text).map(Some)
    });
    section.set(reader, "kind", &mut kind, |text| {
        units::word(ChannelKind::ALL, ChannelKind::as_str)(text).map(Some)
    });
    let url_key = section.key("base_url");
    let url_given = section.has("base_url");
    let url_place = section.set(reader, "base_url", &mut base_url, |text| {
        units::base_url(text).map(Some)
    });
    let api_key = section.secret(reader, Some("api_key"), "api_key_file");
    let headers = headers(section, reader, api_key.is_some());

    let place = section.place.clone()?;
    for (key, given) in [(&name_key, name_given), (&url_key, url_given)] {
        if !given {
            reader.problem(&place, key, "is missing; every channel needs it", None);
        }
    }
    if let (Some(name), Some(place)) = (&name, name_place) {
        if let Some(first) = names.get(name) {
            let message = format!("the name `{name}` is taken by the channel at {first}");
            let hint = Some("give each channel a name of its own");
            reader.problem(&place, &name_key, message, hint);
        } else {
            names.insert(Arc::clone(name), place);
        }
    }
    let base_url = base_url?;
    Some(GivenChannel {
        settings: ChannelSettings {
            name: name?,
            kind: kind.unwrap_or_else(|| ChannelKind::of(&base_url)),
            api_key,
            headers,
            ..ChannelSettings::openai(base_url)
        },
        url_key,
        url_place: url_place.unwrap_or(Place::Default),
    })
}

fn channel_name(text: &str) -> Result<Arc<str>, Refusal> {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits {
        Ok(Arc::from(text))
    } else {
        Err(Refusal::new(
            "is not a channel name",
            "write 1 to 64 of the characters A-Z a-z 0-9 . _ -",
        ))
    }
}

fn headers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    has_api_key: bool,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for entry in section.names(reader, "headers") {
        let path = format!("{}.{}", section.key("headers"), shown(&entry.key));
        let place = reader.at(entry.key_at);
        let Some(given) = reader.hidden_scalar(entry, &path) else {
            continue;
        };
        let name = match header_name(&entry.key, has_api_key) {
            Ok(name) => name,
            Err(refusal) => {
                reader.problem(&place, &path, refusal.reason, refusal.remedy.as_deref());
                continue;
            }
        };
        if headers.iter().any(|(earlier, _)| *earlier == name) {
            reader.problem(
                &place,
                &path,
                "the header is given twice; upper and lower case are the same",
                None,
            );
            continue;
        }
        if holds_credential(name.as_str()) {
            reader.note_secret(&given);
        }
        match HeaderValue::from_str(&given.text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((name, value));
            }
            Err(_) => reader.problem(
                &given.place,
                &path,
                "the value holds a line break or another character that an HTTP header cannot carry",
                None,
            ),
        }
    }
    headers
}

fn header_name(text: &str, has_api_key: bool) -> Result<HeaderName, Refusal> {
    /// What the proxy itself decides for each connection and body (RFC 9110, 7.6.1 and 8.6).
    const OWN: &[HeaderName] = &[
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Refusal::new(
            "is not a header name",
            "write letters, digits and hyphens, as `OpenAI-Organization`",
        )
    })?;
    if OWN.contains(&name) || ["keep-alive", "proxy-connection"].contains(&name.as_str()) {
        return Err(Refusal::new(
            "the header is the proxy's own to set",
            "take it away",
        ));
    }
    if name.as_str().starts_with("x-tollgate-") {
        return Err(Refusal::new(
            "headers of Tollgate's own never reach an upstream",
            "take it away",
        ));
    }
    if has_api_key && name == header::AUTHORIZATION {
        return Err(Refusal::new(
            "the header is given, and so is an API key that sets it",
            "keep one of the two",
        ));
    }
    Ok(name)
}

fn holds_credential(header: &str) -> bool {
    ["auth", "cookie", "key", "secret", "token"]
        .iter()
        .any(|word| header.contains(word))
}
