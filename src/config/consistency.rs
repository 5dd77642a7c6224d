//! Checks that look at several settings at once.

use std::net::{IpAddr, SocketAddr};

use super::base_url::BaseUrl;
use super::problem::Place;
use super::reader::Reader;
use super::sections::GivenSettings;

/// Notes what does not go together, and what does but is dubious.
pub(super) fn check(reader: &mut Reader<'_>, given: &GivenSettings) {
    listeners(reader, given);
    buffers(reader, given);
    channels(reader, given);
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

fn channels(reader: &mut Reader<'_>, given: &GivenSettings) {
    let listen = given.settings.listen;
    for channel in &given.channels {
        let (key, place) = (channel.url_key.as_str(), &channel.url_place);
        let url = &channel.settings.base_url;
        if leads_to(url, listen) {
            reader.problem(
                place,
                key,
                format!(
                    "`{url}` is where Tollgate itself listens: requests would go round for ever"
                ),
                Some("name the provider here, and Tollgate in the clients"),
            );
        } else if !url.tls && !url.is_loopback() {
            reader.warning(
                place,
                key,
                format!("`{url}` is not encrypted: prompts, answers and credentials cross the network in clear"),
                Some("use https:// where the upstream speaks it"),
            );
        }
        if channel.settings.api_key.is_some() && !listen.ip().is_loopback() {
            let name = &channel.settings.name;
            reader.warning(
                &given.listen,
                "listen",
                format!("whoever reaches {listen} can spend the API key of the channel `{name}`"),
                Some("listen on 127.0.0.1, or let only trusted networks reach the port"),
            );
        }
    }
}

/// Whether a connection to `url` would arrive at `listen` on this very machine.
fn leads_to(url: &BaseUrl, listen: SocketAddr) -> bool {
    let named = url.host.parse::<IpAddr>() == Ok(listen.ip());
    let loopback = url.is_loopback() && (listen.ip().is_loopback() || listen.ip().is_unspecified());
    url.port == listen.port() && (named || loopback)
}
