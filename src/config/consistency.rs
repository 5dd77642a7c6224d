//! Checks that look at several settings at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::base_url::BaseUrl;
use super::channels::GivenChannel;
use super::keys;
use super::problem::Place;
use super::reader::Reader;
use super::routing::Strategy;
use super::sections::GivenSettings;
use super::tree::shown;
use crate::clock::UnixMicros;

/// Notes what does not go together, and what does but is dubious.
pub(super) fn check(reader: &mut Reader<'_>, given: &GivenSettings, now: UnixMicros) {
    listeners(reader, given);
    buffers(reader, given);
    for channel in &given.channels {
        address(reader, given, channel);
        credential(reader, given, channel);
        choice(reader, given, channel);
    }
    failover(reader, given);
    outside(reader, given);
    keys::not_a_channels(reader, &given.keys, &given.channels);
    keys::expired(reader, &given.keys, now);
}

fn listeners(reader: &mut Reader<'_>, given: &GivenSettings) {
    let (data, admin) = (given.settings.listen, given.settings.admin.listen);
    if overlap(data, admin) {
        // The later of the two was set by somebody, whatever the other one is.
        let (place, key) = match (&given.listen, &given.admin_listen) {
            (listen, Place::Default) => (listen, "listen"),
            (_, admin_listen) => (admin_listen, "admin.listen"),
        };
        let message = format!("`listen` ({data}) and `admin.listen` ({admin}) are the same port");
        let hint = Some("metrics and traffic need a port each");
        reader.problem(place, key, message, hint);
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn buffers(reader: &mut Reader<'_>, given: &GivenSettings) {
    const KEY: &str = "limits.buffered_body";
    let limits = &given.settings.limits;
    for (bound, key, bound_place) in [
        (
            limits.request_body_bytes,
            "limits.request_body",
            &given.request_body,
        ),
        (
            limits.buffered_total_bytes,
            "limits.buffered_total",
            &given.buffered_total,
        ),
    ] {
        if limits.buffered_body_bytes > bound {
            let place = match &given.buffered_body {
                Place::Default => bound_place,
                place => place,
            };
            let message = format!(
                "{} bytes are more than `{key}` allows ({bound} bytes)",
                limits.buffered_body_bytes
            );
            reader.problem(
                place,
                KEY,
                message,
                Some("lower the one or raise the other"),
            );
        }
    }
}

/// Where a channel's requests go.
fn address(reader: &mut Reader<'_>, given: &GivenSettings, channel: &GivenChannel) {
    let (key, place) = (channel.url_key.as_str(), &channel.url_place);
    let url = &channel.settings.base_url;
    if leads_to(url, given.settings.listen) {
        let message =
            format!("`{url}` is where Tollgate itself listens: requests would go round for ever");
        let hint = Some("name the provider here, and Tollgate in the clients");
        reader.problem(place, key, message, hint);
    } else if !url.tls && !url.is_loopback() {
        let message = format!(
            "`{url}` is not encrypted: prompts, answers and credentials cross the network in clear"
        );
        let hint = Some("use https:// where the upstream speaks it");
        reader.warning(place, key, message, hint);
    }
}

/// What the requests to a channel show there, and who may make them.
fn credential(reader: &mut Reader<'_>, given: &GivenSettings, channel: &GivenChannel) {
    let listen = given.settings.listen;
    let name = &channel.settings.name;
    let guarded = !given.keys.is_empty();
    match (&channel.settings.api_key, guarded) {
        (Some(_), false) if !listen.ip().is_loopback() => {
            let message =
                format!("whoever reaches {listen} can spend the API key of the channel `{name}`");
            let hint = Some(
                "give clients keys of their own (`keys`), listen on 127.0.0.1, or let only trusted networks reach the port",
            );
            reader.warning(&given.listen, "listen", message, hint);
        }
        (None, true) if !channel.settings.brings_credential() => {
            let message = format!(
                "the channel `{name}` has no `api_key`: clients' keys are not passed on, so its upstream sees no credential"
            );
            let hint =
                Some("give it an `api_key` or `api_key_file`, unless its upstream asks for none");
            reader.warning(&channel.place, &channel.path_of("api_key"), message, hint);
        }
        _ => {}
    }
}

/// Which requests a channel takes.
fn choice(reader: &mut Reader<'_>, given: &GivenSettings, channel: &GivenChannel) {
    let strategy = given.settings.routing.strategy;
    if let Some(place) = channel
        .weight
        .as_ref()
        .filter(|_| strategy != Strategy::Weighted)
    {
        let message = format!("the weight has no effect: the strategy is {strategy}");
        let hint = Some("set `routing.strategy: weighted`, or take it away");
        reader.warning(place, &channel.path_of("weight"), message, hint);
    }
    let Some(patterns) = &channel.settings.models else {
        return;
    };
    for ((model, _), place) in channel.settings.model_map.iter().zip(&channel.mapped) {
        if !patterns.iter().any(|pattern| pattern.matches(model)) {
            let key = channel.path_of(&format!("model_map.{}", shown(model)));
            let message = format!(
                "`models` leaves `{model}` out, and the channel serves it all the same, because it is here"
            );
            let hint = Some("add it to `models`, or take it out of `model_map`");
            reader.warning(place, &key, message, hint);
        }
    }
}

/// What keeps a request from going on to another channel.
fn failover(reader: &mut Reader<'_>, given: &GivenSettings) {
    let limits = &given.settings.limits;
    if let Some(total) = limits.total
        && given.channels.len() > 1
        && total <= limits.first_byte
    {
        let message = "a request's whole time is over before a silent upstream is given up \
                       (`limits.first_byte`), so no other channel is tried after it";
        let hint = Some("raise it, or lower `limits.first_byte`");
        reader.warning(&given.total, "limits.total", message, hint);
    }
    if !given.keys.is_empty() {
        return;
    }
    let bare = |channel: &&GivenChannel| !channel.settings.brings_credential();
    let mut bare = given.channels.iter().filter(bare);
    let Some(first) = bare.next() else {
        return;
    };
    let host = |channel: &GivenChannel| {
        let url = &channel.settings.base_url;
        (url.tls, url.host.clone())
    };
    if let Some(other) = bare.find(|other| host(other) != host(first)) {
        let message = format!(
            "`{}` and `{}` take the client's own credential and are on different hosts: a request \
             that shows one does not go on from one to the other",
            first.settings.name, other.settings.name
        );
        let hint = Some("give each its `api_key`, unless clients show none");
        reader.warning(&other.place, &other.path_of("api_key"), message, hint);
    }
}

/// What is done in new-api.
fn outside(reader: &mut Reader<'_>, given: &GivenSettings) {
    let mut taken: HashMap<u64, &GivenChannel> = HashMap::new();
    for channel in &given.channels {
        let (Some(id), Some(place)) = (channel.settings.new_api, &channel.new_api) else {
            continue;
        };
        let key = channel.path_of("new_api.id");
        if given.new_api.is_none() {
            let hint = Some("set `sources.new_api`, or take it away");
            let message = "nobody says where new-api is";
            reader.problem(place, &key, message, hint);
        }
        if let Some(first) = taken.get(&id) {
            let name = &first.settings.name;
            let message = format!("the channel {id} of new-api follows `{name}` already");
            let hint = Some("one of new-api's channels can follow one of Tollgate's only");
            reader.problem(place, &key, message, hint);
        } else {
            taken.insert(id, channel);
        }
    }
    if let Some(place) = given.new_api.as_ref()
        && given.settings.sources.new_api.is_some()
        && taken.is_empty()
    {
        let message = "no channel names its number in new-api, so nothing is done there";
        let hint = Some("set `new_api: {id: …}` at the channels that new-api has too");
        reader.warning(place, "sources.new_api", message, hint);
    }
}

/// Whether a connection to `url` would arrive at `listen` on this very machine.
fn leads_to(url: &BaseUrl, listen: SocketAddr) -> bool {
    let named = url.host.parse::<IpAddr>() == Ok(listen.ip());
    let loopback = url.is_loopback() && (listen.ip().is_loopback() || listen.ip().is_unspecified());
    url.port == listen.port() && (named || loopback)
}
