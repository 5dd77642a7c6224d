//! The settings of whom is told what: `receivers`, `routes`, `inhibit`, `mute_times`, `digests`,
//! `templates` and `grafana`.

mod addresses;
mod digests;
mod email;
mod facts;
mod inhibit;
mod machines;
mod names;
mod receivers;
mod robots;
mod routes;
mod targets;
mod telegram;
mod times;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::base_url::{BaseUrl, BaseUrlError};
use super::channels::needed;
use super::patterns::ModelPattern;
use super::reader::{Given, Reader};
use super::section::Section;
use super::units::Refusal;
use crate::record::closed_set;
use names::ReceiverNames;

#[cfg(test)]
pub(crate) use facts::{METRICS, STATS};
pub use targets::{
    AlertmanagerSettings, ChatName, DingtalkSettings, EmailSettings, FeishuSettings, ReceiverKind,
    ReceiverSettings, SlackSettings, SmtpEncryption, TargetSettings, TelegramAnswers,
    TelegramSettings, WebhookSettings, WecomSettings, WecomStyle,
};

closed_set! {
    /// In what language people are told.
    Language ("language") {
        /// English.
        En => "en",
        /// Chinese, simplified.
        Zh => "zh",
    }
}

/// Template files by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Of alerts.
    pub alert: Option<PathBuf>,
    /// Of channels' notices.
    pub channel: Option<PathBuf>,
    /// Of digests.
    pub digest: Option<PathBuf>,
}

/// `routes`, and each route below it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// What an alert has to fit, all of it; the topmost takes every alert.
    pub matchers: Vec<FactMatcher>,
    /// Who is told; not empty.
    pub receivers: Vec<Arc<str>>,
    /// Alerts with the same values of these are told together. Names of facts.
    pub group_by: Vec<Arc<str>>,
    /// How long a group's first message waits for more.
    pub group_wait: Duration,
    /// The shortest time between two messages of a group.
    pub group_interval: Duration,
    /// When what did not change is told again.
    pub repeat_interval: Duration,
    /// Whether the routes after this one are asked too.
    pub goes_on: bool,
    /// Names of `mute_times` in which nothing is sent; what changed is told after.
    pub mute_times: Vec<Arc<str>>,
    /// Names of `mute_times` outside of which nothing is sent.
    pub active_times: Vec<Arc<str>>,
    /// Asked first, in order; what they do not say is as here.
    pub routes: Vec<RouteSettings>,
}

/// Asks for a value of a fact of an alert: `rule`, `group`, `severity`, `mode`, `metric`, `stat`, or
/// a label (`channel`, `model`, `api`, `key`, `tag:NAME`, `window`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactMatcher {
    /// The fact.
    pub name: Arc<str>,
    /// Values or patterns, of which one has to fit; an alert without the fact has the value `""`.
    pub any: Vec<ModelPattern>,
    /// Whether none may fit instead.
    pub negated: bool,
}

impl FactMatcher {
    /// Whether a value fits.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.any.iter().any(|pattern| pattern.matches(value)) != self.negated
    }
}

/// One of `inhibit`: while a source fires, targets are told to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InhibitSettings {
    /// What the one that inhibits has to fit.
    pub source: InhibitSource,
    /// What an alert has to fit to be inhibited.
    pub target: Vec<FactMatcher>,
    /// Facts of which both must have the same value.
    pub equal: Vec<Arc<str>>,
}

/// What inhibits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InhibitSource {
    /// An alert that fires and fits.
    Alert(Vec<FactMatcher>),
    /// A closed channel; its facts are `channel` and nothing else.
    ClosedChannel,
}

/// One of `mute_times`: when it is any of these.
#[derive(Clone, Debug, PartialEq)]
pub struct MuteTimes {
    /// Its name.
    pub name: Arc<str>,
    /// Each a set of conditions, all of which must hold.
    pub any: Vec<TimeSpan>,
}

/// A recurring time, by the clocks of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSpan {
    /// The zone.
    pub timezone: TimeZone,
    /// Days of the week; empty for all. Of a time that passes midnight, the day it begins on.
    pub weekdays: Vec<Weekday>,
    /// Days of the month, negative from its end; empty for all.
    pub days_of_month: Vec<i8>,
    /// Months; empty for all.
    pub months: Vec<i8>,
    /// From and to (exclusive) in a day, past midnight where the end is not after the begin; empty for
    /// whole days.
    pub times: Vec<(Time, Time)>,
}

/// `notices`: whom changes of channels' gates are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeSettings {
    /// Who is told of channels that close, probe and open; empty for nobody.
    pub channels: Vec<Arc<str>>,
    /// How long a channel's first notice waits for more.
    pub wait: Duration,
    /// The shortest time between two notices of one channel.
    pub interval: Duration,
}

/// One of `digests`.
#[derive(Clone, Debug, PartialEq)]
pub struct DigestSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// When it is told, and of what time.
    pub schedule: DigestSchedule,
    /// By the clocks of this zone.
    pub timezone: TimeZone,
    /// Who is told.
    pub receivers: Vec<Arc<str>>,
    /// How many of each kind it names.
    pub top: usize,
}

/// When a digest is told.
#[derive(Clone, Debug, PartialEq)]
pub enum DigestSchedule {
    /// Every day at this time, of the day before.
    Daily(Time),
    /// Every week, of the seven days before.
    Weekly(Weekday, Time),
    /// As a cron expression says (five fields), of the time since the moment before.
    Cron(Arc<str>),
}

/// `grafana`: what links lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrafanaSettings {
    /// Where people open it, without a path to a dashboard.
    pub url: Uri,
}

/// Whom is told what.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifySettings {
    /// The receivers in order of mention; names unique.
    pub receivers: Vec<ReceiverSettings>,
    /// Who is told of which alerts; `None` without receivers.
    pub routes: Option<RouteSettings>,
    /// What keeps others quiet.
    pub inhibit: Vec<InhibitSettings>,
    /// Times by name.
    pub mute_times: Vec<MuteTimes>,
    /// Channels' notices.
    pub notices: NoticeSettings,
    /// Digests in order of mention.
    pub digests: Vec<DigestSettings>,
    /// Templates for every receiver.
    pub templates: TemplateSettings,
    /// Where Grafana is.
    pub grafana: Option<GrafanaSettings>,
}

impl RouteSettings {
    /// The topmost route of settings that say nothing but their receivers.
    #[must_use]
    pub fn to(receivers: Vec<Arc<str>>) -> Self {
        Self {
            matchers: Vec::new(),
            receivers,
            group_by: vec!["rule".into()],
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 3600),
            goes_on: false,
            mute_times: Vec::new(),
            active_times: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// Reads every section of it. `timezone` is that of the settings; `channels` are the names of
/// channels. What is refused is left out, or keeps its default.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
    channels: &[Arc<str>],
) -> NotifySettings {
    let mut notify = NotifySettings::default();
    let mut names = ReceiverNames::default();
    notify.receivers = receivers::read(top, reader, timezone, &mut names);
    let everybody = receivers::told_by_default(&notify.receivers);
    let alertmanagers: Vec<Arc<str>> = notify
        .receivers
        .iter()
        .filter(|receiver| receiver.target.kind() == ReceiverKind::Alertmanager)
        .map(|receiver| Arc::clone(&receiver.name))
        .collect();
    let mut mute_times = HashMap::new();
    notify.mute_times = times::read(top, reader, timezone, &mut mute_times);
    let known = routes::Known {
        receivers: &names,
        everybody: &everybody,
        alertmanagers: &alertmanagers,
        mute_times: &mute_times,
        channels,
    };
    notify.routes = routes::read(top, reader, &known);
    inhibit::read(top, reader, channels, &mut notify.inhibit);
    let usual = notify
        .routes
        .as_ref()
        .map_or(everybody, |routes| routes.receivers.clone());
    top.section(reader, "notices", |section, reader| {
        notify.notices = notices(section, reader, &names, &usual);
    });
    notify.digests = digests::read(top, reader, timezone, &names, &usual);
    top.section(reader, "templates", |section, reader| {
        notify.templates = templates(section, reader);
    });
    top.section(reader, "grafana", |section, reader| {
        notify.grafana = grafana(section, reader);
    });
    notify
}

fn notices(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    names: &ReceiverNames,
    usual: &[Arc<str>],
) -> NoticeSettings {
    let mut notices = NoticeSettings::default();
    let channels = names.listed(section, reader, "channels");
    notices.channels = channels.map_or_else(|| usual.to_vec(), |(_, channels)| channels);
    let (wait, interval) = (&mut notices.wait, &mut notices.interval);
    section.set_duration(reader, "wait", wait, routes::wait);
    section.set_duration(reader, "interval", interval, routes::at_least_a_second);
    notices
}

/// Reads `templates`, of all receivers or of one.
fn templates(section: &mut Section<'_>, reader: &mut Reader<'_>) -> TemplateSettings {
    let mut templates = TemplateSettings::default();
    for (key, target) in [
        ("alert", &mut templates.alert),
        ("channel", &mut templates.channel),
        ("digest", &mut templates.digest),
    ] {
        let path = section.key(key);
        for given in section.values(reader, key) {
            *target = template(reader, &given, &path);
        }
    }
    templates
}

fn template(reader: &mut Reader<'_>, given: &Given, key: &str) -> Option<PathBuf> {
    let path = reader.resolve(given);
    if path.is_file() {
        return Some(path);
    }
    let refusal = Refusal::new(
        "is not there, or is no file",
        "name a template's file; relative paths start at this file's folder",
    );
    reader.refuse(given, key, &refusal);
    None
}

fn grafana(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<GrafanaSettings> {
    let mut url = None;
    section.set(reader, "url", &mut url, |text| {
        let url = browsed(text)?;
        if url.path().split('/').any(|segment| segment == "d") {
            return Err(Refusal::new(
                "leads to a dashboard",
                "end it before `/d/`: links name the dashboard themselves",
            ));
        }
        Ok(Some(url))
    });
    if !section.is_empty() {
        needed(section, reader, "url", "it says where people open Grafana");
    }
    url.map(|url| GrafanaSettings { url })
}

/// Where people open something with a browser: http or https, perhaps with a path that links begin
/// with, without a slash at its end.
pub(super) fn browsed(text: &str) -> Result<Uri, Refusal> {
    const FORM: &str =
        "write its address as a browser has it, as `https://example.com`, without a query";
    let url: BaseUrl = text
        .parse()
        .map_err(|error: BaseUrlError| Refusal::new(error.to_string(), FORM))?;
    url.to_string()
        .parse()
        .map_err(|_| Refusal::new("is not an address", FORM))
}

impl Default for NoticeSettings {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            wait: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
    }
}

impl NotifySettings {
    /// The files of templates, those of single receivers included.
    #[must_use]
    pub fn template_files(&self) -> Vec<PathBuf> {
        let own = self.receivers.iter().map(|receiver| &receiver.templates);
        let all = std::iter::once(&self.templates).chain(own);
        let files = all.flat_map(|of| [&of.alert, &of.channel, &of.digest]);
        files.flatten().cloned().collect()
    }
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            receivers: Vec::new(),
            routes: None,
            inhibit: InhibitSettings::usual(),
            mute_times: Vec::new(),
            notices: NoticeSettings::default(),
            digests: Vec::new(),
            templates: TemplateSettings::default(),
            grafana: None,
        }
    }
}

impl InhibitSettings {
    /// What inhibits where the settings do not say: a closed channel its own alerts of latency and
    /// errors, which say what is known.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let metrics = [
            "latency",
            "ttft",
            "tokens_per_second",
            "errors",
            "error_ratio",
        ];
        vec![Self {
            source: InhibitSource::ClosedChannel,
            target: vec![FactMatcher {
                name: "metric".into(),
                any: metrics.into_iter().map(ModelPattern::new).collect(),
                negated: false,
            }],
            equal: vec!["channel".into()],
        }]
    }
}
