//! The settings as the program uses them: checked, typed, with every default in place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use jiff::tz::TimeZone;

use super::base_url::BaseUrl;
use super::budgets::BudgetSettings;
use super::notify::NotifySettings;
use super::patterns::ModelPattern;
use super::payloads::PayloadSettings;
use super::routing::{BreakerSettings, KeySettings, ModelsSettings, RoutingSettings};
use super::secret::{CREDENTIAL_HEADERS, Secret, holds_credential, secrets_in};
use crate::record::closed_set;

/// Everything an operator can set. All paths are absolute or relative to the working folder as it
/// was at load; nothing here needs another look at the file or the environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the data plane listens.
    pub listen: SocketAddr,
    /// TLS in front of the data plane; cleartext when `None`.
    pub tls: Option<TlsSettings>,
    /// The upstreams in order of mention; at least one, names unique.
    pub channels: Vec<ChannelSettings>,
    /// How a request finds its channel, and the next one when that fails.
    pub routing: RoutingSettings,
    /// When a channel is closed by itself, and opened again.
    pub breaker: BreakerSettings,
    /// Names of models, and the list of them.
    pub models: ModelsSettings,
    /// The clients' own keys, in order of mention; names unique. Any makes a key required.
    pub keys: Vec<KeySettings>,
    /// The folder of the database and the journal. It may not exist yet.
    pub data_dir: PathBuf,
    /// The zone of calendar days.
    pub timezone: TimeZone,
    /// The admin port.
    pub admin: AdminSettings,
    /// Logging.
    pub log: LogSettings,
    /// The ledger.
    pub ledger: LedgerSettings,
    /// Sizes, times and counts that bound a request.
    pub limits: Limits,
    /// Streams.
    pub streaming: StreamingSettings,
    /// The bytes of requests and answers.
    pub payloads: PayloadSettings,
    /// Prometheus.
    pub metrics: MetricsSettings,
    /// What requests cost.
    pub prices: PricesSettings,
    /// The files of rules, in the order in which they are read.
    pub rules: Vec<PathBuf>,
    /// What budgets take for granted.
    pub budgets: BudgetSettings,
    /// Whom is told what.
    pub notify: NotifySettings,
    /// What is read from elsewhere.
    pub sources: SourcesSettings,
}

impl Settings {
    /// The settings of an operator who set nothing; `base_dir` is what relative paths start from.
    #[must_use]
    pub fn defaults(base_dir: &Path) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            channels: vec![ChannelSettings::openai(BaseUrl::openai())],
            routing: RoutingSettings::default(),
            breaker: BreakerSettings::default(),
            models: ModelsSettings::default(),
            keys: Vec::new(),
            data_dir: base_dir.join("data"),
            timezone: TimeZone::UTC,
            admin: AdminSettings::default(),
            log: LogSettings::default(),
            ledger: LedgerSettings::default(),
            limits: Limits::default(),
            streaming: StreamingSettings::default(),
            payloads: PayloadSettings::default(),
            metrics: MetricsSettings::default(),
            prices: PricesSettings::default(),
            rules: Vec::new(),
            budgets: BudgetSettings::default(),
            notify: NotifySettings::default(),
            sources: SourcesSettings::default(),
        }
    }
}

/// `tls`: the certificate the data plane shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file, the server's certificate first, then the chain.
    pub cert: PathBuf,
    /// PEM file, the certificate's private key.
    pub key: PathBuf,
}

closed_set! {
    /// Which provider's conventions a channel follows: where its base URL ends, and in which header
    /// it takes a key.
    ChannelKind ("channel kind") {
        /// OpenAI and every host that is shaped like it.
        Openai => "openai",
        /// Azure, classic and v1.
        Azure => "azure",
        /// Anthropic and every host that is shaped like it.
        Anthropic => "anthropic",
        /// Gemini.
        Gemini => "gemini",
    }
}

impl ChannelKind {
    /// The kind of a channel that says none: by the providers' own hosts.
    #[must_use]
    pub fn of(base_url: &BaseUrl) -> Self {
        const AZURE: [&str; 3] = [
            ".openai.azure.com",
            ".cognitiveservices.azure.com",
            ".services.ai.azure.com",
        ];
        match base_url.host.as_str() {
            "api.anthropic.com" => Self::Anthropic,
            // Below `/v1beta/openai` it is shaped like OpenAI.
            "generativelanguage.googleapis.com" if !base_url.path.ends_with("/openai") => {
                Self::Gemini
            }
            host if AZURE.iter().any(|domain| host.ends_with(domain)) => Self::Azure,
            _ => Self::Openai,
        }
    }
}

/// One of `channels`: an upstream with one credential.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSettings {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`; the label in metrics and ledger.
    pub name: Arc<str>,
    /// The provider's conventions.
    pub kind: ChannelKind,
    /// Where requests go.
    pub base_url: BaseUrl,
    /// Replaces the client's own credential; `None` passes the client's through. Visible ASCII
    /// only, so it fits a header.
    pub api_key: Option<Secret>,
    /// Set on every request to the upstream, in place of the client's of the same name. The values
    /// are marked sensitive, so they do not print themselves.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Which models it serves; `None` serves every model. Also what a client asks for by an alias.
    pub models: Option<Vec<ModelPattern>>,
    /// What a model is called there: the client's name and the upstream's, names unique.
    pub model_map: Vec<(Arc<str>, Arc<str>)>,
    /// Channels with a higher one are tried first.
    pub priority: i32,
    /// Its share among channels of one priority, where the strategy is `weighted`; not zero.
    pub weight: u32,
    /// Requests at the same time; `None` sets no bound.
    pub max_in_flight: Option<u32>,
    /// Azure's classic API in this version (`api-version` in the query, the deployment in the
    /// path); `None` for its v1 API, and for other kinds.
    pub api_version: Option<Arc<str>>,
    /// The number of the same channel in new-api or one-api, which is disabled and enabled along.
    pub new_api: Option<u64>,
}

impl ChannelSettings {
    /// Whether it has a credential of its own: its key, or a header that takes the key's place.
    #[must_use]
    pub fn brings_credential(&self) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name.as_str());
        self.api_key.is_some() || names.any(|name| CREDENTIAL_HEADERS.contains(&name))
    }

    /// What it shows its upstream and nobody else is to see: its key, and what its headers hold of
    /// the kind. Longer ones first, since one may stand in another.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let headers = self.headers.iter();
        let values = headers
            .filter(|(name, _)| holds_credential(name))
            .filter_map(|(_, value)| value.to_str().ok());
        let in_headers = values.flat_map(secrets_in).map(Secret::new);
        let mut secrets: Vec<_> = self.api_key.iter().cloned().chain(in_headers).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets
    }

    /// The channel that the short setting `upstream` stands for.
    #[must_use]
    pub fn openai(base_url: BaseUrl) -> Self {
        Self {
            name: Arc::from("openai"),
            kind: ChannelKind::of(&base_url),
            base_url,
            api_key: None,
            headers: Vec::new(),
            models: None,
            model_map: Vec::new(),
            priority: 0,
            weight: 1,
            max_in_flight: None,
            api_version: None,
            new_api: None,
        }
    }
}

/// `admin`: metrics, health and the API, apart from traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where the admin port listens; off loopback there is a `token`.
    pub listen: SocketAddr,
    /// The bearer token of `/api/v1/`; `None` asks for none.
    pub token: Option<Secret>,
    /// A bearer token of `/api/v1/` that changes nothing; `None` where nobody has one. Never without `token`.
    pub read_token: Option<Secret>,
    /// The bearer token of `/metrics`, `/livez` and `/readyz`; `None` asks for none.
    pub metrics_token: Option<Secret>,
    /// Where people reach the admin port with a browser, without a path at its end; `None` puts no
    /// links to it into messages.
    pub public_url: Option<Uri>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            token: None,
            read_token: None,
            metrics_token: None,
            public_url: None,
        }
    }
}

closed_set! {
    /// How log lines are written.
    LogFormat ("log format") {
        /// For people.
        Text => "text",
        /// One JSON object a line.
        Json => "json",
    }
}

/// `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Filter directives, e.g. `info` or `info,tollgate=debug`: levels (off, error, warn, info,
    /// debug, trace), alone or for a target.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

closed_set! {
    /// Where the ledger's tables are.
    LedgerStore ("ledger store") {
        /// `tollgate.db` in the data folder.
        Sqlite => "sqlite",
    }
}

closed_set! {
    /// What happens to requests when the journal cannot be written.
    OnLedgerFailure ("reaction to a ledger failure") {
        /// They go on, counted but unrecorded.
        Proxy => "proxy",
        /// They are refused.
        Refuse => "refuse",
    }
}

/// `ledger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// `ledger.url`: where the tables are.
    pub store: LedgerStore,
    /// How long rows are kept; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// What happens to requests when the journal cannot be written.
    pub on_failure: OnLedgerFailure,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            store: LedgerStore::Sqlite,
            retention: Some(Duration::from_secs(90 * 24 * 3600)),
            on_failure: OnLedgerFailure::Proxy,
        }
    }
}

/// `limits`: no time is zero except `grace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a request body may have; beyond: 413.
    pub request_body_bytes: u64,
    /// Bytes up to which a JSON body is read whole before an upstream is chosen; larger ones
    /// stream. At most `request_body_bytes`.
    pub buffered_body_bytes: u64,
    /// Bytes of all bodies held at once, over all requests. At least `buffered_body_bytes`.
    pub buffered_total_bytes: u64,
    /// Bytes of a request's line and headers together.
    pub header_bytes: u64,
    /// Time to open a connection to the upstream, TLS included.
    pub connect: Duration,
    /// Time from the request sent to the response headers.
    pub first_byte: Duration,
    /// Time without a byte from the upstream, or without the client taking one.
    pub idle: Duration,
    /// Time a whole request may take; `None` sets no bound.
    pub total: Option<Duration>,
    /// Requests in flight at once; beyond: 503. `None` sets no bound.
    pub in_flight: Option<u64>,
    /// Time that running requests have to end when the program is told to stop.
    pub grace: Duration,
}

const MIB: u64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body_bytes: 256 * MIB,
            buffered_body_bytes: 32 * MIB,
            buffered_total_bytes: 256 * MIB,
            header_bytes: MIB / 16,
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            total: None,
            in_flight: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// What happens upstream when the client leaves in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClientClose {
    /// `cancel`: the upstream's answer is cut off at once; what it cost is estimated from there.
    Cancel,
    /// `drain(10s)`: the answer is read on for so long, so that the provider states what it cost.
    Drain(Duration),
}

/// `streaming`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamingSettings {
    /// Whether the upstream is asked for a usage chunk where the client did not; the chunk is
    /// taken out again.
    pub include_usage: bool,
    /// What happens upstream when the client leaves.
    pub on_client_close: OnClientClose,
}

impl Default for StreamingSettings {
    fn default() -> Self {
        Self {
            include_usage: true,
            on_client_close: OnClientClose::Cancel,
        }
    }
}

/// `metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Models with series of their own; the rest fold into `other`.
    pub max_models: usize,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { max_models: 200 }
    }
}

/// `prices`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PricesSettings {
    /// Price files, the one that decides first at the front. They were there at load; what is in
    /// them is read by [`load_files`](crate::pricing::load_files).
    pub files: Vec<PathBuf>,
    /// Where a catalogue is fetched from; `None` fetches none.
    pub update: Option<PriceUpdateSettings>,
}

/// `prices.update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceUpdateSettings {
    /// The catalogue's address: http or https, without user information.
    pub url: Uri,
    /// How often a newer one is looked for.
    pub every: Duration,
}

impl PriceUpdateSettings {
    /// How often, where it is not said.
    pub const USUALLY: Duration = Duration::from_secs(24 * 3600);
}

/// `sources`: what is read from elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourcesSettings {
    /// The provider's own account.
    pub billing: BillingSettings,
    /// The gateway whose channels are disabled and enabled along; `None` for none.
    pub new_api: Option<NewApiSettings>,
}

/// `sources.new_api`: a new-api or one-api.
#[derive(Clone, Debug, PartialEq)]
pub struct NewApiSettings {
    /// Where it is: its origin, without `/api`.
    pub base_url: BaseUrl,
    /// The access token of one of its administrators (no relay token).
    pub token: Secret,
    /// That administrator's number, which new-api asks for; one-api has no such header.
    pub user: Option<u64>,
}

/// `sources.billing`: the provider's usage and cost API, which `tollgate reconcile` reads.
#[derive(Clone, Debug, PartialEq)]
pub struct BillingSettings {
    /// An admin key of the organization; `None` when it is not in the settings.
    pub admin_key: Option<Secret>,
    /// Where it is asked.
    pub base_url: BaseUrl,
    /// The one project that Tollgate's keys belong to; `None` for the whole organization.
    pub project: Option<String>,
}

impl Default for BillingSettings {
    fn default() -> Self {
        Self {
            admin_key: None,
            base_url: BaseUrl::openai(),
            project: None,
        }
    }
}
