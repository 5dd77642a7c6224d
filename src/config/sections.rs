//! Reads every section of the settings, in the order of the documentation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::admin::admin;
use super::channels::{self, GivenChannel};
use super::keys::{self, GivenKey};
use super::models;
use super::payloads;
use super::problem::Place;
use super::reader::Reader;
use super::routing;
use super::rules;
use super::section::Section;
use super::settings::{
    LedgerSettings, LedgerStore, Limits, LogFormat, LogSettings, MetricsSettings, OnClientClose,
    OnLedgerFailure, Settings, StreamingSettings, TlsSettings,
};
use super::tree::Node;
use super::units::{self, Refusal};

/// The settings and where those were set that others depend on.
pub(super) struct GivenSettings {
    pub(super) settings: Settings,
    pub(super) channels: Vec<GivenChannel>,
    pub(super) keys: Vec<GivenKey>,
    /// Where `sources.new_api` is.
    pub(super) new_api: Option<Place>,
    pub(super) listen: Place,
    pub(super) admin_listen: Place,
    pub(super) request_body: Place,
    pub(super) buffered_body: Place,
    pub(super) buffered_total: Place,
    /// `limits.total`.
    pub(super) total: Place,
}

/// Reads the settings. What is refused keeps its default, so that everything else can be checked
/// all the same.
pub(super) fn read(reader: &mut Reader<'_>, root: &Node, base_dir: &Path) -> GivenSettings {
    let mut given = GivenSettings {
        settings: Settings::defaults(base_dir),
        channels: Vec::new(),
        keys: Vec::new(),
        new_api: None,
        listen: Place::Default,
        admin_listen: Place::Default,
        request_body: Place::Default,
        buffered_body: Place::Default,
        buffered_total: Place::Default,
        total: Place::Default,
    };
    Section::top(reader, Some(root), |top, reader| {
        top_level(top, reader, &mut given);
        top.section(reader, "tls", |section, reader| {
            given.settings.tls = tls(section, reader);
        });
        let settings = &mut given.settings;
        top.section(reader, "routing", |section, reader| {
            routing::read_routing(section, reader, &mut settings.routing);
        });
        top.section(reader, "breaker", |section, reader| {
            routing::read_breaker(section, reader, &mut settings.breaker);
        });
        top.section(reader, "models", |section, reader| {
            models::read(section, reader, &mut settings.models);
        });
        top.section(reader, "admin", |section, reader| {
            given.admin_listen = admin(section, reader, &mut settings.admin);
        });
        top.section(reader, "log", |section, reader| {
            log(section, reader, &mut settings.log);
        });
        top.section(reader, "ledger", |section, reader| {
            ledger(section, reader, &mut settings.ledger);
        });
        top.section(reader, "limits", |section, reader| {
            limits(section, reader, &mut given);
        });
        let settings = &mut given.settings;
        top.section(reader, "streaming", |section, reader| {
            streaming(section, reader, &mut settings.streaming);
        });
        top.section(reader, "payloads", |section, reader| {
            payloads::read(section, reader, &mut settings.payloads);
        });
        top.section(reader, "metrics", |section, reader| {
            metrics(section, reader, &mut settings.metrics);
        });
        top.section(reader, "prices", |section, reader| {
            super::prices::read(section, reader, &mut settings.prices);
        });
        rules::read_files(top, reader, &mut settings.rules);
        top.section(reader, "budgets", |section, reader| {
            rules::read_budgets(section, reader, &mut settings.budgets);
        });
        let names: Vec<_> = settings
            .channels
            .iter()
            .map(|channel| channel.name.clone())
            .collect();
        settings.notify = super::notify::read(top, reader, &settings.timezone, &names);
        top.section(reader, "sources", |section, reader| {
            given.new_api = super::sources::read(section, reader, &mut settings.sources);
        });
    });
    given
}

fn top_level(top: &mut Section<'_>, reader: &mut Reader<'_>, given: &mut GivenSettings) {
    let settings = &mut given.settings;
    if let Some(place) = top.set(
        reader,
        "listen",
        &mut settings.listen,
        units::socket_address,
    ) {
        given.listen = place;
    }
    let given_channels = channels::read(top, reader);
    settings.channels = given_channels
        .channels
        .iter()
        .map(|channel| channel.settings.clone())
        .collect();
    for data_dir in top.values(reader, "data_dir") {
        let path = reader.resolve(&data_dir);
        if data_dir.text.is_empty() || (path.exists() && !path.is_dir()) {
            let refusal = Refusal::new("is not a folder", "name a folder; it is made when needed");
            reader.refuse(&data_dir, "data_dir", &refusal);
        } else {
            settings.data_dir = path;
        }
    }
    top.set(reader, "timezone", &mut settings.timezone, units::time_zone);
    given.keys = keys::read(top, reader, &given_channels.names, &settings.timezone);
    settings.keys = given.keys.iter().map(|key| key.settings.clone()).collect();
    given.channels = given_channels.channels;
}

fn tls(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TlsSettings> {
    let cert = pem(section, reader, "cert", "CERTIFICATE-----", false);
    let key = pem(section, reader, "key", "PRIVATE KEY-----", true);
    for (has, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(has) && !section.has(other) {
            let place = section.place.clone().unwrap_or(Place::Default);
            let message = format!("`{has}` is given without `{other}`");
            let hint = Some("give both to serve TLS, or neither to serve cleartext");
            reader.problem(&place, "tls", message, hint);
        }
    }
    Some(TlsSettings {
        cert: cert?,
        key: key?,
    })
}

/// The path of a PEM file, when it can be read and holds a block whose label ends in `label`.
pub(super) fn pem(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    label: &str,
    private: bool,
) -> Option<PathBuf> {
    let given = section.values(reader, key).pop()?;
    let path = section.key(key);
    let text = reader.small_file(&given, &path, private)?;
    let begins = |line: &&str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(label);
    let Some(line) = text.lines().find(begins) else {
        let message = format!("the file holds no PEM block `-----BEGIN {label}`");
        reader.problem(&given.place, &path, message, None);
        return None;
    };
    if line.contains("ENCRYPTED") {
        let hint = Some("decrypt it, and let only the service's user read it");
        reader.problem(&given.place, &path, "the private key is encrypted", hint);
        return None;
    }
    Some(reader.resolve(&given))
}

fn log(section: &mut Section<'_>, reader: &mut Reader<'_>, log: &mut LogSettings) {
    section.set(reader, "level", &mut log.level, units::log_level);
    let format = units::word(LogFormat::ALL, LogFormat::as_str);
    section.set(reader, "format", &mut log.format, format);
}

fn ledger(section: &mut Section<'_>, reader: &mut Reader<'_>, ledger: &mut LedgerSettings) {
    section.set(reader, "url", &mut ledger.store, ledger_store);
    let retention = units::or_none(units::duration);
    section.set_duration(reader, "retention", &mut ledger.retention, retention);
    let on_failure = units::word(OnLedgerFailure::ALL, OnLedgerFailure::as_str);
    section.set(reader, "on_failure", &mut ledger.on_failure, on_failure);
}

fn ledger_store(text: &str) -> Result<LedgerStore, Refusal> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(Refusal::new(
            "names PostgreSQL, which this version cannot use yet",
            "write `sqlite`",
        ));
    }
    if text.starts_with("sqlite:") {
        return Err(Refusal::new(
            "names a database file, but its place follows from `data_dir`",
            "write `sqlite`, and set `data_dir`",
        ));
    }
    units::word(LedgerStore::ALL, LedgerStore::as_str)(text)
}

fn limits(section: &mut Section<'_>, reader: &mut Reader<'_>, given: &mut GivenSettings) {
    let limits = &mut given.settings.limits;
    for (key, target, place) in [
        (
            "request_body",
            &mut limits.request_body_bytes,
            &mut given.request_body,
        ),
        (
            "buffered_body",
            &mut limits.buffered_body_bytes,
            &mut given.buffered_body,
        ),
        (
            "buffered_total",
            &mut limits.buffered_total_bytes,
            &mut given.buffered_total,
        ),
    ] {
        if let Some(from) = section.set(reader, key, target, units::size) {
            *place = from;
        }
    }
    // Whoever lowers one bound has not to know that another one follows it.
    if given.buffered_body == Place::Default {
        limits.buffered_body_bytes = limits
            .buffered_body_bytes
            .min(limits.request_body_bytes)
            .min(limits.buffered_total_bytes);
    }
    section.set(reader, "header", &mut limits.header_bytes, header_size);
    if let Some(from) = times(section, reader, limits) {
        given.total = from;
    }
    let in_flight = units::or_none(units::count(1_000_000));
    section.set(reader, "in_flight", &mut limits.in_flight, in_flight);
}

/// Where `total` was set.
fn times(section: &mut Section<'_>, reader: &mut Reader<'_>, limits: &mut Limits) -> Option<Place> {
    let times: [(&'static str, &mut Duration); 3] = [
        ("connect", &mut limits.connect),
        ("first_byte", &mut limits.first_byte),
        ("idle", &mut limits.idle),
    ];
    for (key, target) in times {
        section.set_duration(reader, key, target, units::duration);
    }
    let total = units::or_none(units::duration);
    let place = section.set_duration(reader, "total", &mut limits.total, total);
    section.set_duration(reader, "grace", &mut limits.grace, units::duration_or_zero);
    place
}

/// The HTTP/1 parser stops just below 1 MiB whatever is set, and a request without room for a
/// credential and a few cookies is of no use.
fn header_size(text: &str) -> Result<u64, Refusal> {
    match units::size(text)? {
        bytes @ 4096..1_048_575 => Ok(bytes),
        _ => Err(Refusal::new(
            "is not in range",
            "write a size from 4 KiB to 1023 KiB",
        )),
    }
}

fn streaming(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    streaming: &mut StreamingSettings,
) {
    section.set(
        reader,
        "include_usage",
        &mut streaming.include_usage,
        units::switch,
    );
    section.set(
        reader,
        "on_client_close",
        &mut streaming.on_client_close,
        on_client_close,
    );
}

/// A drain keeps a connection to the upstream for an answer that nobody reads any more.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// `cancel`, or `drain(…)` with a time.
fn on_client_close(text: &str) -> Result<OnClientClose, Refusal> {
    const FORM: &str = "write `cancel`, or `drain(10s)` with the time to wait at most";
    if text == "cancel" {
        return Ok(OnClientClose::Cancel);
    }
    let time = text
        .strip_prefix("drain(")
        .and_then(|rest| rest.strip_suffix(')'));
    match time.map(str::trim) {
        Some(time) => match units::duration(time)? {
            time if time <= LONGEST_DRAIN => Ok(OnClientClose::Drain(time)),
            _ => Err(Refusal::new("is longer than an hour", FORM)),
        },
        None if text == "drain" => Err(Refusal::new("does not say for how long", FORM)),
        None => Err(Refusal::new("is not known", FORM)),
    }
}

fn metrics(section: &mut Section<'_>, reader: &mut Reader<'_>, metrics: &mut MetricsSettings) {
    section.set(reader, "max_models", &mut metrics.max_models, |text| {
        units::count(100_000)(text).map(|models| usize::try_from(models).unwrap_or(usize::MAX))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_say_for_how_long() {
        for (text, expected) in [
            ("cancel", OnClientClose::Cancel),
            ("drain(10s)", OnClientClose::Drain(Duration::from_secs(10))),
            (
                "drain( 1m 30s )",
                OnClientClose::Drain(Duration::from_secs(90)),
            ),
            ("drain(1h)", OnClientClose::Drain(LONGEST_DRAIN)),
        ] {
            assert_eq!(on_client_close(text), Ok(expected), "{text}");
        }
        for (text, reason) in [
            ("drain", "does not say for how long"),
            ("drain()", "is not a duration"),
            ("drain(10)", "has no unit"),
            ("drain(0s)", "must be longer than zero"),
            ("drain(2h)", "is longer than an hour"),
            ("drain(10s", "is not known"),
            ("Cancel", "is not known"),
            ("", "is not known"),
        ] {
            let refusal = on_client_close(text).unwrap_err();
            assert_eq!(refusal.reason, reason, "{text}");
            assert!(refusal.remedy.is_some(), "{text}");
        }
    }
}
