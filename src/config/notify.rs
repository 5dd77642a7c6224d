//! The settings of whom is told what: `receivers`, `routes`, `inhibit`, `mute_times`, `digests`,
//! `templates` and `grafana`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::base_url::BaseUrl;
use super::patterns::ModelPattern;
use super::secret::Secret;
use crate::record::closed_set;

closed_set! {
    /// In what language people are told.
    Language ("language") {
        /// English.
        En => "en",
        /// Chinese, simplified.
        Zh => "zh",
    }
}

closed_set! {
    /// What a receiver is.
    ReceiverKind ("kind of receiver") {
        /// A Telegram bot in a chat.
        Telegram => "telegram",
        /// A custom robot of Feishu or Lark.
        Feishu => "feishu",
        /// A group robot of WeCom.
        Wecom => "wecom",
        /// A custom robot of DingTalk.
        Dingtalk => "dingtalk",
        /// An incoming webhook of Slack.
        Slack => "slack",
        /// Mail over SMTP.
        Email => "email",
        /// Whoever takes Alertmanager's webhook body.
        Webhook => "webhook",
        /// Prometheus' Alertmanager.
        Alertmanager => "alertmanager",
    }
}

/// One of `receivers`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Where it is, and how it is spoken to.
    pub target: TargetSettings,
    /// The language of what it is told.
    pub language: Language,
    /// The zone of the times it is told.
    pub timezone: TimeZone,
    /// Whether it is told of alerts that resolved.
    pub send_resolved: bool,
    /// The receiver that is told when this one cannot be reached.
    pub fallback: Option<Arc<str>>,
    /// How long a notification is tried before it is given up.
    pub give_up_after: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// Templates of its own, in place of those of `templates` and of Tollgate's.
    pub templates: TemplateSettings,
}

impl ReceiverSettings {
    /// How long a notification is tried, where it is not said.
    pub const USUALLY_TRIED_FOR: Duration = Duration::from_secs(4 * 3600);
    /// How long a try may take, where it is not said.
    pub const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
}

/// Where a receiver is, by its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSettings {
    /// A Telegram bot in a chat.
    Telegram(TelegramSettings),
    /// A robot of Feishu or Lark.
    Feishu(FeishuSettings),
    /// A robot of WeCom.
    Wecom(WecomSettings),
    /// A robot of DingTalk.
    Dingtalk(DingtalkSettings),
    /// An incoming webhook of Slack.
    Slack(SlackSettings),
    /// Mail.
    Email(EmailSettings),
    /// Alertmanager's webhook body.
    Webhook(WebhookSettings),
    /// Alertmanager.
    Alertmanager(AlertmanagerSettings),
}

impl TargetSettings {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> ReceiverKind {
        match self {
            Self::Telegram(_) => ReceiverKind::Telegram,
            Self::Feishu(_) => ReceiverKind::Feishu,
            Self::Wecom(_) => ReceiverKind::Wecom,
            Self::Dingtalk(_) => ReceiverKind::Dingtalk,
            Self::Slack(_) => ReceiverKind::Slack,
            Self::Email(_) => ReceiverKind::Email,
            Self::Webhook(_) => ReceiverKind::Webhook,
            Self::Alertmanager(_) => ReceiverKind::Alertmanager,
        }
    }
}

/// `telegram`.
#[derive(Clone, Debug, PartialEq)]
pub struct TelegramSettings {
    /// The bot's token, `<number>:<letters>`.
    pub token: Secret,
    /// The chat's number (groups are negative), or a channel's `@name`.
    pub chat: ChatName,
    /// The topic in the group (`message_thread_id`).
    pub topic: Option<i32>,
    /// Without a sound.
    pub silent: bool,
    /// Who may answer, and from where; `None` offers no buttons and takes no commands.
    pub answers: Option<TelegramAnswers>,
    /// The Bot API: Telegram's, or one of the operator's own.
    pub api_url: BaseUrl,
}

/// A Telegram chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChatName {
    /// By its number.
    Id(i64),
    /// A public channel or group by its name, with the `@`.
    Name(Arc<str>),
}

/// `telegram.answers`: who may press buttons and give commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelegramAnswers {
    /// Users by their numbers; not empty.
    pub users: Vec<i64>,
    /// Chats by their numbers, beside the receiver's own where that is a number: a private chat with
    /// one of the users, for one.
    pub chats: Vec<i64>,
    /// How long a button works.
    pub expire_after: Duration,
}

/// `feishu`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeishuSettings {
    /// The robot's whole address, which is its credential.
    pub url: Secret,
    /// What it signs with, where the robot asks for a signature.
    pub secret: Option<Secret>,
    /// A word that each message must contain, where the robot asks for one.
    pub keyword: Option<Arc<str>>,
}

/// `wecom`.
#[derive(Clone, Debug, PartialEq)]
pub struct WecomSettings {
    /// The robot's whole address, `key` included, which is its credential.
    pub url: Secret,
    /// How messages look.
    pub style: WecomStyle,
    /// User ids that are mentioned when something is critical.
    pub mention: Vec<Arc<str>>,
}

closed_set! {
    /// How WeCom messages look.
    WecomStyle ("style of WeCom messages") {
        /// Markdown: up to 4096 bytes of text.
        Markdown => "markdown",
        /// A card with a few lines and a link.
        Card => "card",
    }
}

/// `dingtalk`.
#[derive(Clone, Debug, PartialEq)]
pub struct DingtalkSettings {
    /// The robot's whole address, `access_token` included, which is its credential.
    pub url: Secret,
    /// What it signs with, where the robot asks for a signature (`SEC…`).
    pub secret: Option<Secret>,
    /// A word that each message must contain, where the robot asks for one.
    pub keyword: Option<Arc<str>>,
    /// Phone numbers that are mentioned when something is critical.
    pub mention: Vec<Arc<str>>,
}

/// `slack`.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackSettings {
    /// The incoming webhook's address, which is its credential.
    pub url: Secret,
    /// Ids of users or groups (`U…`, `S…`) that are mentioned when something is critical.
    pub mention: Vec<Arc<str>>,
}

/// `email`.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailSettings {
    /// The server's name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: SmtpEncryption,
    /// Name and password, where the server asks for them.
    pub login: Option<(Arc<str>, Secret)>,
    /// The certificates (PEM) that the server's is checked with, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The sender, `Tollgate <tollgate@example.com>`.
    pub from: Arc<str>,
    /// Who gets it; not empty.
    pub to: Vec<Arc<str>>,
}

closed_set! {
    /// How a connection to a mail server is encrypted.
    SmtpEncryption ("encryption of SMTP") {
        /// From the first byte on (port 465).
        Tls => "tls",
        /// After `STARTTLS`, without which nothing is sent (port 587).
        Starttls => "starttls",
        /// Not at all: for a relay on this machine.
        None => "none",
    }
}

/// `webhook`.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSettings {
    /// Where it is posted to; may hold a credential.
    pub url: Secret,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// The key of the HMAC-SHA256 over the body, sent as `x-tollgate-signature: sha256=<hex>` with
    /// `x-tollgate-timestamp` in front of the body as signed.
    pub hmac_secret: Option<Secret>,
    /// The most alerts in one body; the rest are counted in `truncatedAlerts`. 0 sets no bound.
    pub max_alerts: usize,
}

/// `alertmanager`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerSettings {
    /// Its addresses, without `/api/v2/alerts`: every one of them is told, as Prometheus does.
    pub urls: Vec<BaseUrl>,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// Labels that each alert gets besides its own.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
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

impl Default for NoticeSettings {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            wait: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
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
