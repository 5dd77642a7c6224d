//! Where a message leads: Grafana's dashboards with their time and variables filled in, lists of
//! requests, runbooks. Nothing but `http` and `https` addresses, whatever a name or an annotation says.

use std::time::Duration;

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::alert::{AlertEvent, AlertState, Labels};
use crate::clock::UnixMicros;
use crate::config::ModelPattern;
use crate::notify::content::{Link, LinkKind};
use crate::rules::{Metric, Rule};

/// What is escaped in a query's values: all but RFC 3986's unreserved characters.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What no address may hold as it is. What is escaped already (`%20`) stays.
const ADDRESS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Longer addresses are cut by chats, or refused.
const LONGEST_ADDRESS: usize = 2_048;

/// The annotations that say what to do.
const RUNBOOKS: [&str; 2] = ["runbook_url", "runbook"];

/// How much is shown before and after a window: a tenth of it, within these.
const LEAST_MARGIN: Duration = Duration::from_secs(5 * 60);
const MOST_MARGIN: Duration = Duration::from_secs(6 * 60 * 60);

/// What is shown before an alert or a closing whose window is not known.
const USUALLY_BEFORE: Duration = Duration::from_secs(60 * 60);

/// Makes links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Without a slash at its end. Likewise the other.
    grafana: Option<String>,
    public_url: Option<String>,
}

/// The dashboards, by their uids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dashboard {
    Overview,
    Cost,
    Latency,
    Channels,
    Budgets,
    Requests,
}

impl Dashboard {
    const fn uid(self) -> &'static str {
        match self {
            Self::Overview => "tollgate-overview",
            Self::Cost => "tollgate-cost",
            Self::Latency => "tollgate-latency",
            Self::Channels => "tollgate-channels",
            Self::Budgets => "tollgate-budgets",
            Self::Requests => "tollgate-requests",
        }
    }
}

/// What part of the time a link shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: UnixMicros,
    /// `None` for now, whenever it is opened.
    to: Option<UnixMicros>,
}

/// Which requests a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Failed,
    Slowest,
    Dearest,
    /// All of them: what has no price would be missing among the dearest.
    Newest,
}

/// What a link is limited to: names of variables and their values.
type Variables<'a> = Vec<(&'static str, &'a str)>;

impl Links {
    /// Links to Grafana and to Tollgate's own API, where people reach them. An address that is neither
    /// `http` nor `https`, or that holds a password, leads nowhere.
    #[must_use]
    pub fn new(grafana: Option<&Uri>, public_url: Option<&Uri>) -> Self {
        Self {
            grafana: grafana.and_then(base),
            public_url: public_url.and_then(base),
        }
    }

    /// Of an alert: a dashboard of what is wrong, and the requests that made it so. `window_start` is
    /// where the window of its value begins, where that is known.
    #[must_use]
    pub fn alert(
        &self,
        event: &AlertEvent,
        rule: Option<&Rule>,
        window_start: Option<UnixMicros>,
    ) -> Vec<Link> {
        let Some(rule) = rule else {
            return Vec::new();
        };
        let range = range_of(event, window_start);
        let variables = variables(&event.alert.labels, rule);
        let (dashboard, listing) = match rule.metric {
            Metric::Cost
            | Metric::Tokens
            | Metric::InputTokens
            | Metric::OutputTokens
            | Metric::Requests => {
                let dashboard = if rule.budget_limit().is_some() {
                    Dashboard::Budgets
                } else {
                    Dashboard::Cost
                };
                let listing = match rule.metric {
                    Metric::Cost => Listing::Dearest,
                    _ => Listing::Newest,
                };
                (dashboard, Some(listing))
            }
            Metric::Latency | Metric::Ttft | Metric::TokensPerSecond => {
                (Dashboard::Latency, Some(Listing::Slowest))
            }
            Metric::Errors | Metric::ErrorRatio => (Dashboard::Channels, Some(Listing::Failed)),
            Metric::QuotaUsed => (Dashboard::Channels, None),
        };
        let listed = listing.and_then(|listing| self.requests(listing, range, &variables));
        let dashboard = self.dashboard(dashboard, range, &variables);
        dashboard.into_iter().chain(listed).collect()
    }

    /// Of what happened to a channel from `since` on.
    #[must_use]
    pub fn channel(&self, channel: &str, since: UnixMicros) -> Vec<Link> {
        let range = Range {
            from: since.minus(USUALLY_BEFORE),
            to: None,
        };
        let variables = vec![("channel", channel)];
        let failed = self.requests(Listing::Failed, range, &variables);
        let dashboard = self.dashboard(Dashboard::Channels, range, &variables);
        dashboard.into_iter().chain(failed).collect()
    }

    /// Of a time.
    #[must_use]
    pub fn digest(&self, since: UnixMicros, until: UnixMicros) -> Vec<Link> {
        let range = Range {
            from: since,
            to: Some(until),
        };
        let none = Variables::new();
        let dearest = self.requests(Listing::Dearest, range, &none);
        let dashboard = self.dashboard(Dashboard::Overview, range, &none);
        dashboard.into_iter().chain(dearest).collect()
    }

    fn dashboard(
        &self,
        dashboard: Dashboard,
        range: Range,
        variables: &Variables<'_>,
    ) -> Option<Link> {
        let grafana = self.grafana.as_deref()?;
        link(
            LinkKind::Dashboard,
            shown(grafana, dashboard, range, &[], variables),
        )
    }

    fn requests(&self, listing: Listing, range: Range, variables: &Variables<'_>) -> Option<Link> {
        let kind = match listing {
            Listing::Failed => LinkKind::Failed,
            Listing::Slowest => LinkKind::Slow,
            Listing::Dearest | Listing::Newest => LinkKind::Requests,
        };
        if let Some(grafana) = self.grafana.as_deref() {
            let which = match listing {
                Listing::Failed => ("outcome", "failed"),
                Listing::Slowest => ("order", "slowest"),
                Listing::Dearest => ("order", "dearest"),
                Listing::Newest => ("order", "newest"),
            };
            let dashboard = Dashboard::Requests;
            return link(kind, shown(grafana, dashboard, range, &[which], variables));
        }
        let public_url = self.public_url.as_deref()?;
        link(kind, listed(public_url, listing, range, variables))
    }
}

/// The first of an alert's annotations that leads to what is to be done: an `http` or `https` address.
#[must_use]
pub fn runbook<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Option<Link> {
    let mut stated = RUNBOOKS.into_iter().filter_map(annotation);
    let address = stated.find_map(address)?;
    link(LinkKind::Runbook, address)
}

fn link(kind: LinkKind, url: String) -> Option<Link> {
    (url.len() <= LONGEST_ADDRESS).then_some(Link { kind, url })
}

/// A dashboard's address. Variables are set only to what the alert says: what it leaves open Grafana
/// shows as it does by itself.
fn shown(
    grafana: &str,
    dashboard: Dashboard,
    range: Range,
    chosen: &[(&str, &str)],
    variables: &Variables<'_>,
) -> String {
    let millis = |at: UnixMicros| at.0.div_euclid(1_000).to_string();
    let to = range.to.map_or_else(|| "now".to_owned(), millis);
    let mut url = format!(
        "{grafana}/d/{}?from={}&to={to}",
        dashboard.uid(),
        millis(range.from)
    );
    for (name, value) in chosen.iter().chain(variables) {
        push(&mut url, '&', &format!("var-{name}"), value);
    }
    url
}

/// A list of the API's. It filters by the model that answered, which an alert does not name: it lists
/// more than the alert is about rather than nothing.
fn listed(public_url: &str, listing: Listing, range: Range, variables: &Variables<'_>) -> String {
    let mut url = format!("{public_url}/api/v1/requests");
    push(&mut url, '?', "since", &range.from.to_string());
    if let Some(to) = range.to {
        push(&mut url, '&', "until", &to.to_string());
    }
    match listing {
        Listing::Failed => push(&mut url, '&', "failed", "true"),
        Listing::Slowest => push(&mut url, '&', "order", "slowest"),
        Listing::Dearest => push(&mut url, '&', "order", "dearest"),
        Listing::Newest => {}
    }
    for (name, value) in variables.iter().filter(|(name, _)| *name != "model") {
        push(&mut url, '&', name, value);
    }
    url
}

fn push(url: &mut String, before: char, name: &str, value: &str) {
    url.push(before);
    url.push_str(name);
    url.push('=');
    url.extend(utf8_percent_encode(value, VALUE));
}

/// What an alert says of the requests it is about: its labels, and what its rule names outright. A
/// request without a key has the label `""`, which no variable can say.
fn variables<'a>(labels: &'a Labels, rule: &'a Rule) -> Variables<'a> {
    let matcher = &rule.matcher;
    let exact = |pattern: &'a Option<ModelPattern>| {
        let pattern = pattern.as_ref().filter(|pattern| pattern.is_exact());
        pattern.map(ModelPattern::as_str)
    };
    let api = match matcher.apis.as_slice() {
        [api] => Some(api.as_str()),
        _ => None,
    };
    [
        ("channel", exact(&matcher.channel)),
        ("model", exact(&matcher.model)),
        ("api", api),
        ("key", exact(&matcher.key)),
    ]
    .into_iter()
    .filter_map(|(name, named)| {
        let label = labels.get(name).map(|value| &**value);
        let value = label.or(named).filter(|value| !value.is_empty())?;
        Some((name, value))
    })
    .collect()
}

fn range_of(event: &AlertEvent, window_start: Option<UnixMicros>) -> Range {
    let began = [window_start, event.active_since, event.fired_at];
    let from = began.into_iter().flatten().min();
    let from = from.unwrap_or(event.at.minus(USUALLY_BEFORE)).min(event.at);
    let margin = (event.at.since(from) / 10).clamp(LEAST_MARGIN, MOST_MARGIN);
    let ended = event.state == AlertState::Inactive;
    Range {
        from: from.minus(margin),
        to: ended.then(|| event.at.plus(margin)),
    }
}

/// What paths are put behind; `None` of what is no place on the web, or holds a password.
fn base(uri: &Uri) -> Option<String> {
    let scheme = uri.scheme_str().filter(|scheme| is_web(scheme))?;
    let authority = uri.authority()?.as_str();
    let path = uri.path().trim_end_matches('/');
    (!authority.contains('@')).then(|| format!("{scheme}://{authority}{path}"))
}

/// `text` as an address, where it is one of the web.
fn address(text: &str) -> Option<String> {
    let escaped = utf8_percent_encode(text.trim(), ADDRESS).to_string();
    let uri: Uri = escaped.parse().ok()?;
    base(&uri).map(|_| escaped)
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests;
