//! Questions to the sidecar's admin port.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::banner::reachable;
use crate::admin::ErrorBody;
use crate::admin::json::{
    ChangedChannelJson, ChannelEventList, ChannelList, Info, KeyJson, KeyList, KeyRequest,
    KeysOffJson, MadeKeyJson, NotificationList, PayloadJson, RepriceReportJson, RequestDetailJson,
    RequestList, RuleList, SilenceJson, SilenceList, SilenceRequest, UsageSummaryJson,
};
use crate::config::{AdminSettings, Secret};
use crate::ledger::RepriceQuery;
use crate::ledger::query::{
    GateEventFilter, NotificationFilter, RequestFilter, Sequence, UsageQuery,
};
use crate::record::RequestId;
use crate::sources::http_client;

/// Whether a sidecar is there is known at once: it is on this machine, or a near one.
const CONNECT: Duration = Duration::from_millis(500);

/// An answer from a large ledger may take a while.
const ANSWER: Duration = Duration::from_secs(60);

/// Work on every row of a large ledger takes longer.
const LONG_ANSWER: Duration = Duration::from_secs(3_600);

/// Who am I talking to, and are you well: answered from memory.
const SHORT_ANSWER: Duration = Duration::from_secs(3);

/// Why the admin port gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody answers there, or not to the end.
    #[error("no answer from the admin port at {address}: {source}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why, down to the system's reason.
        source: Reason,
    },
    /// It answered with a failure.
    #[error("the admin port at {address} answered {status}: {message}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// The HTTP status.
        status: StatusCode,
        /// Its own words.
        message: String,
        /// The same for programs; `None` when it gave none.
        code: Option<String>,
    },
    /// It answered something else.
    #[error(
        "the admin port at {address} answered what this version does not understand ({source}); \
         is it another version, or another program?"
    )]
    Strange {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl AskError {
    /// What the admin port says is wrong, for programs.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            Self::Unreachable { .. } | Self::Strange { .. } => None,
        }
    }

    /// Whether asking again later may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Strange { .. } => false,
        }
    }
}

/// The innermost cause of a failed exchange: `connection refused`, not `error sending request`.
#[derive(Debug)]
pub(super) struct Reason(reqwest::Error);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_timeout() {
            return f.write_str("it took too long");
        }
        let mut cause: &dyn std::error::Error = &self.0;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        write!(f, "{cause}")
    }
}

impl std::error::Error for Reason {}

/// A connection to one admin port.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Option<Secret>,
    metrics_token: Option<Secret>,
}

impl Client {
    /// The admin port of these settings.
    pub(super) fn new(admin: &AdminSettings) -> Result<Self, AskError> {
        let address = reachable(admin.listen);
        let http = http_client()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // It is the operator's own port: a proxy for the world has no business in between.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unreachable_at(address, error))?;
        Ok(Self {
            http,
            address,
            token: admin.token.clone(),
            metrics_token: admin.metrics_token.clone(),
        })
    }

    /// Where it asks.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who answers there.
    pub(super) async fn info(&self) -> Result<Info, AskError> {
        let request = self.api("info").timeout(SHORT_ANSWER);
        self.ask(request).await
    }

    /// Usage.
    pub(super) async fn usage(&self, query: &UsageQuery) -> Result<UsageSummaryJson, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "since", query.since);
        push(&mut pairs, "until", query.until);
        push(&mut pairs, "timezone", query.timezone.iana_name());
        let by: Vec<String> = query.by.iter().map(ToString::to_string).collect();
        push(&mut pairs, "by", (!by.is_empty()).then(|| by.join(",")));
        self.ask(self.api("usage/summary").query(&pairs)).await
    }

    /// One page of requests, from `cursor` on.
    pub(super) async fn requests(
        &self,
        filter: &RequestFilter,
        cursor: Option<&str>,
    ) -> Result<RequestList, AskError> {
        let mut pairs = filter_pairs(filter);
        push(&mut pairs, "order", Some(filter.order));
        push(&mut pairs, "cursor", cursor);
        self.ask(self.api("requests").query(&pairs)).await
    }

    /// What was recorded after `after`; from now on, where `None`.
    pub(super) async fn follow(
        &self,
        filter: &RequestFilter,
        after: Option<Sequence>,
    ) -> Result<RequestList, AskError> {
        let mut pairs = filter_pairs(filter);
        let after = after.map_or_else(|| "now".to_owned(), |after| after.0.to_string());
        push(&mut pairs, "after", Some(after));
        self.ask(self.api("requests").query(&pairs)).await
    }

    /// One request; `None` when the ledger has none of this id.
    pub(super) async fn request(
        &self,
        id: RequestId,
    ) -> Result<Option<RequestDetailJson>, AskError> {
        match self.ask(self.api(&format!("requests/{id}"))).await {
            Err(AskError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The bytes of a request; `None` when they were not kept, or not any more.
    pub(super) async fn payload(&self, id: RequestId) -> Result<Option<PayloadJson>, AskError> {
        let path = format!("requests/{id}/payload");
        match self.ask(self.api(&path)).await {
            Err(AskError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            answer => answer.map(|payload: PayloadJson| payload.captured.then_some(payload)),
        }
    }

    /// Has the sidecar price history anew. Takes as long as it takes.
    pub(super) async fn reprice(
        &self,
        query: &RepriceQuery,
        dry_run: bool,
    ) -> Result<RepriceReportJson, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "since", Some(query.since));
        push(&mut pairs, "until", Some(query.until));
        push(&mut pairs, "model", query.model.as_ref());
        push(&mut pairs, "dry_run", Some(dry_run));
        push(&mut pairs, "by", Some(&query.who));
        let url = self.api_url("prices/reprice");
        let request = authorised(self.http.post(url), self.token.as_ref());
        self.ask(request.timeout(LONG_ANSWER).query(&pairs)).await
    }

    /// Every rule with its alerts.
    pub(super) async fn rules(&self) -> Result<RuleList, AskError> {
        self.ask(self.api("rules")).await
    }

    /// Every channel.
    pub(super) async fn channels(&self) -> Result<ChannelList, AskError> {
        self.ask(self.api("channels")).await
    }

    /// One page of what happened to the channels' gates, from `cursor` on.
    pub(super) async fn channel_events(
        &self,
        filter: &GateEventFilter,
        cursor: Option<&str>,
    ) -> Result<ChannelEventList, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "channel", filter.channel.as_ref());
        push(&mut pairs, "since", filter.since);
        push(&mut pairs, "until", filter.until);
        push(&mut pairs, "limit", Some(filter.limit));
        push(&mut pairs, "cursor", cursor);
        self.ask(self.api("channel-events").query(&pairs)).await
    }

    /// Closes a channel, for `span` or for good.
    pub(super) async fn disable(
        &self,
        name: &str,
        span: Option<Duration>,
        reason: Option<&str>,
        who: Option<&str>,
    ) -> Result<ChangedChannelJson, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "for", span.map(humantime::format_duration));
        push(&mut pairs, "reason", reason);
        push(&mut pairs, "who", who);
        self.change(name, "disable", &pairs).await
    }

    /// Opens a channel.
    pub(super) async fn enable(
        &self,
        name: &str,
        reason: Option<&str>,
        who: Option<&str>,
    ) -> Result<ChangedChannelJson, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "reason", reason);
        push(&mut pairs, "who", who);
        self.change(name, "enable", &pairs).await
    }

    /// `name` holds nothing that means something in a path.
    async fn change(
        &self,
        name: &str,
        what: &str,
        pairs: &[(&'static str, String)],
    ) -> Result<ChangedChannelJson, AskError> {
        let url = self.api_url(&format!("channels/{name}/{what}"));
        let request = authorised(self.http.post(url), self.token.as_ref());
        self.ask(request.query(pairs)).await
    }

    /// One page of what was told to whom, from `cursor` on.
    pub(super) async fn notifications(
        &self,
        filter: &NotificationFilter,
        cursor: Option<&str>,
    ) -> Result<NotificationList, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "receiver", filter.receiver.as_ref());
        push(&mut pairs, "kind", filter.kind);
        push(&mut pairs, "result", filter.state);
        push(&mut pairs, "since", filter.since);
        push(&mut pairs, "until", filter.until);
        push(&mut pairs, "limit", Some(filter.limit));
        push(&mut pairs, "cursor", cursor);
        self.ask(self.api("notifications").query(&pairs)).await
    }

    /// The silences that hold or will; with `all` those that are over as well.
    pub(super) async fn silences(&self, all: bool) -> Result<SilenceList, AskError> {
        let mut pairs = Vec::new();
        push(&mut pairs, "all", Some(all));
        self.ask(self.api("silences").query(&pairs)).await
    }

    /// Has the sidecar make a silence.
    pub(super) async fn create_silence(
        &self,
        silence: &SilenceRequest,
    ) -> Result<SilenceJson, AskError> {
        let request = self.http.post(self.api_url("silences")).json(silence);
        self.ask(authorised(request, self.token.as_ref())).await
    }

    /// Has the sidecar end a silence.
    pub(super) async fn end_silence(&self, id: Uuid) -> Result<SilenceJson, AskError> {
        let request = self.http.delete(self.api_url(&format!("silences/{id}")));
        self.ask(authorised(request, self.token.as_ref())).await
    }

    /// Every key.
    pub(super) async fn keys(&self) -> Result<KeyList, AskError> {
        self.ask(self.api("keys")).await
    }

    /// Has the sidecar make a key.
    pub(super) async fn create_key(&self, key: &KeyRequest) -> Result<MadeKeyJson, AskError> {
        let request = self.http.post(self.api_url("keys")).json(key);
        self.ask(authorised(request, self.token.as_ref())).await
    }

    /// Has the sidecar revoke the key of this name, which must be one.
    pub(super) async fn revoke_key(&self, name: &str) -> Result<KeyJson, AskError> {
        let request = self.http.post(self.api_url(&format!("keys/{name}/revoke")));
        self.ask(authorised(request, self.token.as_ref())).await
    }

    /// Has the sidecar stop requiring keys.
    pub(super) async fn keys_off(&self) -> Result<KeysOffJson, AskError> {
        let request = self.http.post(self.api_url("keys/off"));
        self.ask(authorised(request, self.token.as_ref())).await
    }

    /// `/readyz`: its status and words.
    pub(super) async fn readiness(&self) -> Result<(StatusCode, String), AskError> {
        let url = format!("http://{}/readyz", self.address);
        let request = authorised(self.http.get(url), self.metrics_token.as_ref());
        let failed = |error| unreachable_at(self.address, error);
        let response = request.timeout(SHORT_ANSWER).send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        Ok((status, text.trim().to_owned()))
    }

    fn api(&self, path: &str) -> RequestBuilder {
        authorised(self.http.get(self.api_url(path)), self.token.as_ref())
    }

    fn api_url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.address)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AskError> {
        let address = self.address;
        let failed = |error| unreachable_at(address, error);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            let (message, code) = match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(body) => (body.error.message, Some(body.error.code)),
                Err(_) => ("no reason given".to_owned(), None),
            };
            return Err(AskError::Refused {
                address,
                status,
                message,
                code,
            });
        }
        serde_json::from_slice(&body).map_err(|source| AskError::Strange { address, source })
    }
}

fn unreachable_at(address: SocketAddr, error: reqwest::Error) -> AskError {
    AskError::Unreachable {
        address,
        source: Reason(error.without_url()),
    }
}

fn authorised(request: RequestBuilder, token: Option<&Secret>) -> RequestBuilder {
    match token {
        // Marked sensitive by reqwest, so that it does not print itself.
        Some(token) => request.bearer_auth(token.expose()),
        None => request,
    }
}

fn filter_pairs(filter: &RequestFilter) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    push(&mut pairs, "since", filter.since);
    push(&mut pairs, "until", filter.until);
    for (name, names) in [
        ("channel", &filter.channel),
        ("model", &filter.model),
        ("api", &filter.api),
        ("key", &filter.key),
        ("outcome", &filter.outcome),
        ("usage_source", &filter.usage_source),
        ("session", &filter.session),
    ] {
        push(&mut pairs, name, (!names.is_everything()).then_some(names));
    }
    push(&mut pairs, "status", filter.status);
    push(&mut pairs, "failed", filter.failed_only.then_some(true));
    push(&mut pairs, "unpriced", filter.unpriced_only.then_some(true));
    let min_total = filter.min_total_us.map(|us| format!("{us}us"));
    push(&mut pairs, "min_total", min_total);
    push(&mut pairs, "limit", Some(filter.limit));
    pairs
}

fn push(pairs: &mut Vec<(&'static str, String)>, name: &'static str, value: Option<impl ToString>) {
    pairs.extend(value.map(|value| (name, value.to_string())));
}
