//! The settings of how a request finds its channel, and of what clients call models.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::patterns::ModelPattern;
use super::reader::Reader;
use super::section::Section;
use super::units::{self, Refusal};
use crate::record::closed_set;

closed_set! {
    /// Which of several channels of one priority a request tries first.
    Strategy ("routing strategy") {
        /// In the order of the settings.
        Ordered => "ordered",
        /// Each in turn, for every key and model.
        RoundRobin => "round_robin",
        /// By chance, in proportion to their weights.
        Weighted => "weighted",
        /// The one with the fewest requests on their way.
        LeastInFlight => "least_in_flight",
    }
}

/// `routing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingSettings {
    /// Which channel is tried first.
    pub strategy: Strategy,
    /// Further tries at other channels after one that failed.
    pub retries: u32,
    /// How long a request waits for a place where every channel has `max_in_flight` requests.
    pub queue: Duration,
    /// Requests that are equal in one of these headers stay on one channel; the first that a
    /// request has counts.
    pub session_headers: Vec<HeaderName>,
}

impl Default for RoutingSettings {
    fn default() -> Self {
        Self {
            strategy: Strategy::Ordered,
            retries: 2,
            queue: Duration::from_secs(5),
            session_headers: Vec::new(),
        }
    }
}

closed_set! {
    /// What opens a channel again that the provider refuses to serve.
    Recovery ("recovery") {
        /// A request, let through from time to time, that succeeds.
        Probe => "probe",
        /// Only an operator.
        Operator => "operator",
    }
}

/// `breaker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures …
    pub failures: u32,
    /// … of so many of the last requests close the channel; at least `failures`.
    pub of: u32,
    /// Requests that ended longer ago do not count.
    pub window: Duration,
    /// An answer that takes longer than this to begin is a failure; `None` for never.
    pub slow: Option<Duration>,
    /// From the closing to the first probe; doubled after each that fails.
    pub probe_after: Duration,
    /// The longest time between two probes.
    pub probe_at_most: Duration,
    /// What opens a channel that is out of money.
    pub out_of_money: Recovery,
    /// What opens a channel whose credential is refused.
    pub bad_credential: Recovery,
    /// Whether it may close the last channel that is open for a model. Where it may not, requests
    /// go there all the same once no other is left.
    pub allow_last: bool,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            of: 10,
            window: Duration::from_secs(60),
            slow: None,
            probe_after: Duration::from_secs(5),
            probe_at_most: Duration::from_secs(300),
            out_of_money: Recovery::Probe,
            bad_credential: Recovery::Operator,
            allow_last: false,
        }
    }
}

closed_set! {
    /// What `GET /v1/models` answers.
    ModelList ("model list") {
        /// What the upstream says.
        Passthrough => "passthrough",
        /// The names in `models.preset`.
        Preset => "preset",
        /// Those, and what the upstreams say.
        Merge => "merge",
    }
}

/// `models`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelsSettings {
    /// What a client may call a model, and what that means: names unique, no meaning is an alias.
    pub aliases: Vec<(Arc<str>, Arc<str>)>,
    /// What the list is made of.
    pub list: ModelListSettings,
}

/// `models.list` and `models.preset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelListSettings {
    /// Whose names.
    pub from: ModelList,
    /// Tollgate's own, in order, each once.
    pub preset: Vec<Arc<str>>,
}

impl Default for ModelListSettings {
    fn default() -> Self {
        Self {
            from: ModelList::Passthrough,
            preset: Vec::new(),
        }
    }
}

/// One of `keys`: what a client shows instead of a provider's key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySettings {
    /// As channel names: the key's name in ledger and API.
    pub name: Arc<str>,
    /// What the client shows.
    pub secret: super::Secret,
    /// What it may do.
    pub grant: KeyGrant,
}

/// What a client's key is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyGrant {
    /// From when on it is no longer; `None` never expires.
    pub expires_at: Option<crate::clock::UnixMicros>,
    /// Models it may ask for; `None` for every model.
    pub models: Option<Vec<ModelPattern>>,
    /// Channels it may use; `None` for every channel.
    pub channels: Option<Vec<Arc<str>>>,
    /// The channel its requests go to that name none.
    pub channel: Option<Arc<str>>,
    /// Tags of every request made with it; a request's own of the same name give way.
    pub tags: std::collections::BTreeMap<String, String>,
}

pub(super) fn read_routing(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    routing: &mut RoutingSettings,
) {
    let strategy = units::word(Strategy::ALL, Strategy::as_str);
    section.set(reader, "strategy", &mut routing.strategy, strategy);
    section.set(
        reader,
        "retries",
        &mut routing.retries,
        units::whole(0, 100),
    );
    let queue = &mut routing.queue;
    section.set_duration(reader, "queue", queue, units::duration_or_zero);
    let path = section.key("session_headers");
    for given in section.texts(reader, "session_headers") {
        let headers = &mut routing.session_headers;
        match session_header(&given.text, headers) {
            Ok(name) => headers.push(name),
            Err(refusal) => reader.refuse(&given, &path, &refusal),
        }
    }
}

fn session_header(text: &str, earlier: &[HeaderName]) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Refusal::new(
            "is not a header name",
            "write letters, digits and hyphens, as `x-session-id`",
        )
    })?;
    if earlier.contains(&name) {
        return Err(Refusal::new(
            "is in the list twice; upper and lower case are the same",
            "take one of them away",
        ));
    }
    Ok(name)
}

pub(super) fn read_breaker(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    breaker: &mut BreakerSettings,
) {
    let (failures, of) = (&mut breaker.failures, &mut breaker.of);
    let failures = section.set(reader, "failures", failures, units::whole(1, 1000));
    let of = section.set(reader, "of", of, units::whole(1, 1000));
    section.set_duration(reader, "window", &mut breaker.window, units::duration);
    let slow = units::or_none(units::duration);
    section.set_duration(reader, "slow", &mut breaker.slow, slow);
    let (after, most) = (&mut breaker.probe_after, &mut breaker.probe_at_most);
    let after = section.set_duration(reader, "probe_after", after, units::duration);
    let most = section.set_duration(reader, "probe_at_most", most, units::duration);
    for (key, target) in [
        ("out_of_money", &mut breaker.out_of_money),
        ("bad_credential", &mut breaker.bad_credential),
    ] {
        let recovery = units::word(Recovery::ALL, Recovery::as_str);
        section.set(reader, key, target, recovery);
    }
    section.set(reader, "allow_last", &mut breaker.allow_last, units::switch);

    // Whoever sets one of two has not to know that the other one follows it.
    match (&failures, &of) {
        (Some(_), None) => breaker.of = breaker.of.max(breaker.failures),
        (None, Some(_)) => breaker.failures = breaker.failures.min(breaker.of),
        _ => {}
    }
    match (&after, &most) {
        (Some(_), None) => breaker.probe_at_most = breaker.probe_at_most.max(breaker.probe_after),
        (None, Some(_)) => breaker.probe_after = breaker.probe_after.min(breaker.probe_at_most),
        _ => {}
    }
    if let Some(place) = failures.filter(|_| breaker.failures > breaker.of) {
        let (failures, of) = (breaker.failures, breaker.of);
        let message = format!("{failures} failures of {of} requests cannot be");
        let hint = Some("lower `failures`, or raise `of`");
        reader.problem(&place, &section.key("failures"), message, hint);
    }
    if let Some(place) = after.filter(|_| breaker.probe_after > breaker.probe_at_most) {
        let message = "the first probe comes later than `probe_at_most` allows";
        let hint = Some("lower `probe_after`, or raise `probe_at_most`");
        reader.problem(&place, &section.key("probe_after"), message, hint);
    }
}
