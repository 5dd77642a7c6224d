//! The operator's settings: one YAML file, environment twins, secrets in files of their own.
//!
//! [`load`] returns either [`Settings`] that are checked and ready for use, or every [`Problem`]
//! at once, each with its place, the reason and a remedy. On the way the file becomes a tree that
//! remembers positions (`tree`), is read key by key (`section`, `sections`, `channels`), and is
//! checked as a whole (`consistency`). Other rooms read files of their own with the same machinery.
//! The environment is handed in, never read here.

mod admin;
mod base_url;
mod budgets;
mod channels;
mod consistency;
mod credentials;
#[cfg(test)]
mod example;
mod expand;
mod file_state;
mod json_path;
mod keys;
mod load;
mod models;
mod notify;
mod origin;
mod patterns;
mod payloads;
mod prices;
mod problem;
mod quantity;
mod reader;
mod routing;
mod rules;
mod secret;
mod section;
mod sections;
mod settings;
mod sources;
mod tree;
mod units;

pub(crate) use load::read_text;
#[cfg(test)]
pub(crate) use notify::{METRICS, STATS};
pub(crate) use quantity::quantity;
pub(crate) use reader::{Given, Reader, is_near, likeliest};
pub(crate) use section::Section;
pub(crate) use tree::{Entry, Node, Value, parse as parse_yaml};
pub(crate) use units::{Refusal, duration, duration_or_zero, months, switch, time_zone, whole};

pub use base_url::{BaseUrl, BaseUrlError};
pub use budgets::BudgetSettings;
pub use file_state::FileStates;
pub use json_path::{JsonPath, JsonPathError, MOST_STEPS, PathStep};
pub use load::{DEFAULT_FILE, Loaded, Unsound, examine, load};
pub use notify::{
    AlertmanagerSettings, ChatName, DigestSchedule, DigestSettings, DingtalkSettings,
    EmailSettings, FactMatcher, FeishuSettings, GrafanaSettings, InhibitSettings, InhibitSource,
    Language, MuteTimes, NoticeSettings, NotifySettings, ReceiverKind, ReceiverSettings,
    RouteSettings, SlackSettings, SmtpEncryption, TargetSettings, TelegramAnswers,
    TelegramSettings, TemplateSettings, TimeSpan, WebhookSettings, WecomSettings, WecomStyle,
};
pub use origin::Origin;
pub use patterns::ModelPattern;
pub use payloads::{NoShare, PayloadCapture, PayloadSettings, Share};
pub use problem::{Place, Position, Problem, Problems};
pub use routing::{
    BreakerSettings, KeyGrant, KeySettings, ModelList, ModelListSettings, ModelsSettings, Recovery,
    RoutingSettings, Strategy,
};
pub use secret::{CREDENTIAL_HEADERS, Secret, holds_credential, secrets_in};
pub use settings::{
    AdminSettings, BillingSettings, ChannelKind, ChannelSettings, LedgerSettings, LedgerStore,
    Limits, LogFormat, LogSettings, MetricsSettings, NewApiSettings, OnClientClose,
    OnLedgerFailure, PriceUpdateSettings, PricesSettings, Settings, SourcesSettings,
    StreamingSettings, TlsSettings,
};
