//! Reads `channels`.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::base_url::BaseUrl;
use super::models;
use super::problem::Place;
use super::reader::Reader;
use super::secret::holds_credential;
use super::section::Section;
use super::settings::{ChannelKind, ChannelSettings};
use super::tree::shown;
use super::units::{self, Refusal};

/// A channel and where its parts were set, for the checks that look at several settings.
pub(super) struct GivenChannel {
    pub(super) settings: ChannelSettings,
    /// What stands before the names of its keys, e.g. `channels[0].`.
    pub(super) path: String,
    /// The key of its base URL, e.g. `channels[0].base_url`.
    pub(super) url_key: String,
    pub(super) url_place: Place,
    /// Where the channel stands.
    pub(super) place: Place,
    pub(super) weight: Option<Place>,
    pub(super) new_api: Option<Place>,
    /// Of each of `model_map`.
    pub(super) mapped: Vec<Place>,
}

impl GivenChannel {
    /// The full path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }
}

/// All channels.
pub(super) struct GivenChannels {
    pub(super) channels: Vec<GivenChannel>,
    /// Every name with its place, also of channels that are refused for something else.
    pub(super) names: HashMap<Arc<str>, Place>,
}

/// Reads `upstream` and `channels`; the default channel when neither is there. What is refused is
/// left out.
pub(super) fn read(top: &mut Section<'_>, reader: &mut Reader<'_>) -> GivenChannels {
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
        return only(base_url, upstream_place.unwrap_or(Place::Default));
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
    GivenChannels { channels, names }
}

/// The channel that `upstream` is short for.
fn only(base_url: BaseUrl, place: Place) -> GivenChannels {
    let settings = ChannelSettings::openai(base_url);
    GivenChannels {
        names: HashMap::from([(Arc::clone(&settings.name), place.clone())]),
        channels: vec![GivenChannel {
            settings,
            path: String::new(),
            url_key: "upstream".to_owned(),
            url_place: place.clone(),
            place,
            weight: None,
            new_api: None,
            mapped: Vec::new(),
        }],
    }
}

fn channel(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    names: &mut HashMap<Arc<str>, Place>,
) -> Option<GivenChannel> {
    let name = name_of_own(section, reader, names, "channel");
    let mut kind = None;
    section.set(reader, "kind", &mut kind, |text| {
        units::word(ChannelKind::ALL, ChannelKind::as_str)(text).map(Some)
    });
    let mut base_url: Option<BaseUrl> = None;
    let url_key = section.key("base_url");
    let url_place = section.set(reader, "base_url", &mut base_url, |text| {
        units::base_url(text).map(Some)
    });
    needed(section, reader, "base_url", "every channel needs it");
    let api_key = section.secret(reader, Some("api_key"), "api_key_file");
    let headers = headers(section, reader, api_key.is_some());
    let kind = kind.or_else(|| base_url.as_ref().map(ChannelKind::of));
    let api_version = api_version(section, reader, kind);
    let models = models::patterns(section, reader, "models");
    let model_map = models::pairs(section, reader, "model_map");
    let share = share(section, reader);
    let new_api = new_api(section, reader);
    Some(GivenChannel {
        path: section.key(""),
        url_key,
        url_place: url_place.unwrap_or(Place::Default),
        place: section.place.clone()?,
        weight: share.weight_place,
        new_api: new_api.as_ref().map(|(_, place)| place.clone()),
        mapped: model_map.iter().map(|(.., place)| place.clone()).collect(),
        settings: ChannelSettings {
            name: name?,
            kind: kind?,
            api_key,
            headers,
            models,
            model_map: models::without_places(model_map),
            priority: share.priority,
            weight: share.weight,
            max_in_flight: share.max_in_flight,
            api_version,
            new_api: new_api.map(|(id, _)| id),
            base_url: base_url?,
        },
    })
}

/// Notes a key that has to be there and is not.
pub(super) fn needed(section: &Section<'_>, reader: &mut Reader<'_>, key: &str, who: &str) {
    if let Some(place) = section.place.clone().filter(|_| !section.has(key)) {
        let message = format!("is missing; {who}");
        reader.problem(&place, &section.key(key), message, None);
    }
}

/// The `name` of one of several things of a kind, which no other of them has.
pub(super) fn name_of_own(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    names: &mut HashMap<Arc<str>, Place>,
    kind: &str,
) -> Option<Arc<str>> {
    let mut name: Option<Arc<str>> = None;
    let place = section.set(reader, "name", &mut name, |text| {
        // It stands in paths, where dots alone mean something else.
        let has_word = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if has_word && is_name(text, LONGEST_NAME) {
            return Ok(Some(Arc::from(text)));
        }
        Err(Refusal::new(
            format!("is not a {kind} name"),
            "write 1 to 64 of the characters A-Z a-z 0-9 . _ -, a letter or digit among them",
        ))
    });
    needed(section, reader, "name", &format!("every {kind} needs it"));
    if let (Some(name), Some(place)) = (&name, place) {
        if let Some(first) = names.get(name) {
            let message = format!("the name `{name}` is taken by the {kind} at {first}");
            let hint = format!("give each {kind} a name of its own");
            reader.problem(&place, &section.key("name"), message, Some(&hint));
        } else {
            names.insert(Arc::clone(name), place);
        }
    }
    name
}

/// Bytes of a name.
const LONGEST_NAME: usize = 64;

/// Whether a text can stand in a path, a header and a label as it is.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// How much of the requests a channel takes.
struct Share {
    priority: i32,
    weight: u32,
    weight_place: Option<Place>,
    max_in_flight: Option<u32>,
}

fn share(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Share {
    let mut share = Share {
        priority: 0,
        weight: 1,
        weight_place: None,
        max_in_flight: None,
    };
    let priority = units::whole(-1_000_000, 1_000_000);
    section.set(reader, "priority", &mut share.priority, priority);
    let weight = units::whole(1, 1_000_000);
    share.weight_place = section.set(reader, "weight", &mut share.weight, weight);
    let in_flight = units::or_none(units::whole(1, 1_000_000));
    section.set(reader, "max_in_flight", &mut share.max_in_flight, in_flight);
    share
}

/// `api_version`, which only Azure has; `kind` is `None` where nobody knows.
fn api_version(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    kind: Option<ChannelKind>,
) -> Option<Arc<str>> {
    let mut version = None;
    let place = section.set(reader, "api_version", &mut version, |text| {
        let date = text.strip_suffix("-preview").unwrap_or(text);
        let known = date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok();
        known.then(|| Some(Arc::from(text))).ok_or_else(|| {
            Refusal::new(
                "is not a version of Azure's API",
                "write a date, as `2024-10-21` or `2025-04-01-preview`; take the key away for the v1 API, which has none",
            )
        })
    });
    if let (Some(place), Some(kind)) = (place, kind.filter(|kind| *kind != ChannelKind::Azure)) {
        let message = format!("only channels of the kind azure have one, and this one is {kind}");
        let hint = Some("take it away, or set `kind: azure`");
        reader.problem(&place, &section.key("api_version"), message, hint);
    }
    version
}

/// `new_api`: the channel's number there, and where it is set.
fn new_api(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<(u64, Place)> {
    let given = section.has("new_api");
    let mut id = None;
    let mut place = None;
    section.section(reader, "new_api", |section, reader| {
        place = section.set(reader, "id", &mut id, |text| {
            units::count(i64::MAX.unsigned_abs())(text).map(Some)
        });
        if given {
            needed(
                section,
                reader,
                "id",
                "it is the channel's number in new-api",
            );
        }
    });
    id.zip(place)
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
        if holds_credential(&name) {
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
