//! The settings of receivers: where each is, and how it is spoken to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Language, TemplateSettings};
use crate::config::base_url::BaseUrl;
use crate::config::secret::Secret;
use crate::record::closed_set;

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

impl ReceiverKind {
    /// Whether programs read it, which are told of every alert one by one.
    #[must_use]
    pub const fn is_machine(self) -> bool {
        matches!(self, Self::Webhook | Self::Alertmanager)
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
