//! Where a request goes at a channel: path and query, by the channel's kind.
//!
//! A client calls an API where its own SDK expects it: below `/v1`, as classic Azure has it
//! (`/openai/deployments/<deployment>/…?api-version=…`), or at a provider's own path. An API of
//! OpenAI's is found where the channel's provider has it:
//!
//! | kind | `/v1/chat/completions` goes to |
//! |---|---|
//! | `openai` | what `base_url` has before it |
//! | `azure` | `/openai/v1/chat/completions` |
//! | `azure` with `api_version` | `/openai/deployments/<model>/chat/completions?api-version=…` |
//! | `anthropic` | `/v1/chat/completions` |
//! | `gemini` | `/v1beta/openai/chat/completions` |
//!
//! Sources: Azure's "REST API reference" and "API lifecycle"
//! (<https://learn.microsoft.com/azure/ai-foundry/openai/reference>), Google's "OpenAI
//! compatibility" (<https://ai.google.dev/gemini-api/docs/openai>), Anthropic's "OpenAI SDK
//! compatibility" (<https://platform.claude.com/docs/en/api/openai-sdk>).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Channel;
use crate::config::{ChannelKind, ChannelSettings};
use crate::protocol::{PathBase, knows_stream_options};
use crate::record::Api;

/// What a path's segment and a query's value may hold as it is (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The operations that classic Azure has below a deployment; all others stand below `/openai`
/// ("REST API reference", 2024-10-21 and 2025-04-01-preview; Azure's SDKs have the same list).
const OF_A_DEPLOYMENT: [&str; 8] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/audio/transcriptions",
    "/audio/translations",
    "/audio/speech",
    "/images/generations",
    "/images/edits",
];

const OPENAI: &str = "/openai";
const DEPLOYMENTS: &str = "/deployments/";
const API_VERSION: &str = "api-version";

/// Where Google has OpenAI's APIs.
const GOOGLES_OPENAI: &str = "/v1beta/openai";

/// The names of a query's pairs that hold a key: Azure's for a WebSocket, and Gemini's.
const QUERY_CREDENTIALS: [&str; 2] = ["api-key", "key"];

/// What a client asks for, as far as it decides where that is.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The API called.
    pub api: Api,
    /// What `rest` is put behind.
    pub base: PathBase,
    /// What of the path goes upstream ([`Route::rest`](crate::protocol::Route::rest)).
    pub rest: &'a str,
    /// The client's query.
    pub query: Option<&'a str>,
    /// The client's whole path, with the channel's name where it has one.
    pub path: &'a str,
    /// The model by the upstream's name: the client's, or what an alias and the channel's
    /// `model_map` make of it. `None` while nobody knows it.
    pub model: Option<&'a str>,
}

/// Where that is at one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Path and query to ask the upstream for; `None` when they are the client's own.
    pub path: Option<String>,
    /// Whether the upstream takes `stream_options` there. Classic Azure refuses it before
    /// `api-version` 2024-09-01.
    pub knows_stream_options: bool,
}

impl Channel {
    /// Where a request goes at this channel. Asked once for each try, since the next may be at a
    /// channel of another kind.
    #[must_use]
    pub fn destination(&self, asked: &Asked<'_>) -> Destination {
        self.paths.destination(asked)
    }
}

/// Where a channel's paths begin.
#[derive(Debug)]
pub(super) struct Paths {
    kind: ChannelKind,
    /// Before what brings its version, or Azure's `/openai`, itself.
    root: String,
    /// Before what follows `/v1` in a client's path.
    v1: String,
    /// The same for OpenAI's APIs.
    openai: String,
    /// The channel speaks classic Azure.
    classic: Option<Classic>,
    /// A client's key in the query stays here, because the channel has its own.
    withholds_keys: bool,
}

#[derive(Debug)]
struct Classic {
    /// `api-version`, percent-encoded.
    version: String,
    /// The only deployment, where the base URL names one; as it stands there.
    deployment: Option<String>,
}

/// A path and query on their way to the upstream.
struct Line<'a> {
    prefix: Cow<'a, str>,
    rest: Cow<'a, str>,
    query: Option<Cow<'a, str>>,
}

/// What becomes of a query.
#[derive(Clone, Copy, Default)]
struct Edits<'a> {
    /// Azure's `api-version` means nothing there.
    drops_version: bool,
    /// `api-version`, where the client states none.
    version: Option<&'a str>,
    /// The name under which Realtime's model goes.
    model_name: Option<&'static str>,
    /// And the model.
    model: Option<&'a str>,
}

/// Whose way of writing a path is.
enum Shape<'a> {
    /// `/v1/…`: what follows it.
    V1(&'a str),
    /// Classic Azure's: the operation, and the deployment where one is named.
    Classic {
        deployment: Option<&'a str>,
        operation: &'a str,
    },
    /// Any other, which stands as it is below a provider's root.
    Own,
}

impl<'a> Shape<'a> {
    fn of(asked: &Asked<'a>) -> Self {
        if asked.base == PathBase::BaseUrl {
            return Self::V1(asked.rest);
        }
        let Some(below) = asked.rest.strip_prefix(OPENAI) else {
            return Self::Own;
        };
        if let Some(named) = below.strip_prefix(DEPLOYMENTS)
            && let Some(end) = named.find('/').filter(|&end| end > 0)
        {
            let (deployment, operation) = named.split_at(end);
            return Self::Classic {
                deployment: Some(deployment),
                operation,
            };
        }
        // Azure's v1 API knows versions too (`preview`), and needs none.
        let is_v1 = below == "/v1" || below.starts_with("/v1/");
        let is_versioned = asked.query.is_some_and(states_version);
        if below.starts_with('/') && !is_v1 && is_versioned {
            return Self::Classic {
                deployment: None,
                operation: below,
            };
        }
        Self::Own
    }
}

impl Paths {
    pub(super) fn new(settings: &ChannelSettings) -> Self {
        let path = settings.base_url.path.as_str();
        let without = |endings: &[&str]| {
            let end = endings.iter().find_map(|end| path.strip_suffix(end));
            end.unwrap_or(path).to_owned()
        };
        let (root, v1, openai) = match settings.kind {
            // The SDKs' base URL has the version; all else stands at the host's root.
            ChannelKind::Openai => (String::new(), path.to_owned(), path.to_owned()),
            ChannelKind::Azure => {
                let (before, _) = split_deployment(path);
                let root = ["/openai/v1", OPENAI, "/v1"]
                    .iter()
                    .find_map(|end| before.strip_suffix(end))
                    .unwrap_or(before);
                let v1 = match path {
                    "" => format!("{OPENAI}/v1"),
                    path if path.ends_with(OPENAI) => format!("{path}/v1"),
                    path => path.to_owned(),
                };
                (root.to_owned(), v1.clone(), v1)
            }
            // The SDKs put the version behind; a base URL that has it all the same means the same.
            ChannelKind::Anthropic => {
                let root = without(&["/v1"]);
                let v1 = format!("{root}/v1");
                (root, v1.clone(), v1)
            }
            ChannelKind::Gemini => {
                let root = without(&[GOOGLES_OPENAI, "/v1beta", "/v1"]);
                let (v1, openai) = (format!("{root}/v1"), format!("{root}{GOOGLES_OPENAI}"));
                (root, v1, openai)
            }
        };
        let is_azure = settings.kind == ChannelKind::Azure;
        let version = settings.api_version.as_deref().filter(|_| is_azure);
        Self {
            kind: settings.kind,
            root,
            v1,
            openai,
            classic: version.map(|version| Classic {
                version: utf8_percent_encode(version, ESCAPED).to_string(),
                deployment: split_deployment(path).1.map(str::to_owned),
            }),
            withholds_keys: settings.api_key.is_some(),
        }
    }

    /// Whether a path of the upstream's belongs to OpenAI's APIs at a provider that has others of
    /// its own: its credential is a bearer token there, as the SDKs of OpenAI send it.
    pub(super) fn is_openais(&self, path: &str) -> bool {
        let below = path.strip_prefix(&*self.openai);
        match self.kind {
            ChannelKind::Openai | ChannelKind::Azure => false,
            ChannelKind::Anthropic => below == Some("/chat/completions"),
            ChannelKind::Gemini => below.is_some_and(|below| below.starts_with('/')),
        }
    }

    pub(super) fn destination(&self, asked: &Asked<'_>) -> Destination {
        let line = self.line(asked);
        let query = line.query.as_deref();
        // `OPTIONS *` asks about the whole server.
        let unchanged = asked.rest == "*"
            || query == asked.query
                && asked
                    .path
                    .strip_prefix(&*line.prefix)
                    .and_then(|tail| tail.strip_prefix(&*line.rest))
                    .is_some_and(str::is_empty);
        Destination {
            knows_stream_options: knows_stream_options(query),
            path: (!unchanged).then(|| line.written()),
        }
    }

    fn line<'a>(&'a self, asked: &Asked<'a>) -> Line<'a> {
        match (Shape::of(asked), self.kind) {
            (Shape::V1(rest), ChannelKind::Azure) => match &self.classic {
                Some(classic) => self.classic_line(classic, rest, asked),
                None => self.v1_line(rest, asked),
            },
            (Shape::V1(rest), _) => self.v1_line(rest, asked),
            (Shape::Classic { deployment, .. }, ChannelKind::Azure) => {
                self.azure_line(deployment, asked)
            }
            (Shape::Classic { operation, .. }, _) => {
                let edits = Edits {
                    drops_version: true,
                    ..Edits::realtime("model", asked)
                };
                Line {
                    query: self.query(asked, edits),
                    ..self.v1_line(operation, asked)
                }
            }
            (Shape::Own, _) => Line {
                prefix: Cow::Borrowed(&self.root),
                rest: with_model(asked.rest, asked),
                query: self.query(asked, Edits::default()),
            },
        }
    }

    /// Below a version.
    fn v1_line<'a>(&'a self, rest: &'a str, asked: &Asked<'a>) -> Line<'a> {
        let prefix = match asked.api {
            Api::Messages | Api::Gemini | Api::Other => &self.v1,
            _ => &self.openai,
        };
        Line {
            prefix: Cow::Borrowed(prefix),
            rest: with_model(rest, asked),
            query: self.query(asked, Edits::realtime("model", asked)),
        }
    }

    /// Classic Azure for a client that knows nothing of it.
    fn classic_line<'a>(
        &'a self,
        classic: &'a Classic,
        rest: &'a str,
        asked: &Asked<'a>,
    ) -> Line<'a> {
        let operation = rest.trim_end_matches('/');
        let deployment = classic.deployment.as_deref().map(Cow::Borrowed);
        let deployment = deployment.or_else(|| segment(asked.model?).map(Cow::Owned));
        let prefix = match deployment.filter(|_| OF_A_DEPLOYMENT.contains(&operation)) {
            Some(deployment) => format!("{}{OPENAI}{DEPLOYMENTS}{deployment}", self.root),
            None => format!("{}{OPENAI}", self.root),
        };
        let edits = Edits {
            version: Some(&classic.version),
            ..Edits::realtime("deployment", asked)
        };
        Line {
            prefix: Cow::Owned(prefix),
            rest: Cow::Borrowed(rest),
            query: self.query(asked, edits),
        }
    }

    /// Classic Azure for a client that speaks it.
    fn azure_line<'a>(&'a self, deployment: Option<&'a str>, asked: &Asked<'a>) -> Line<'a> {
        let other = deployment
            .zip(asked.model)
            .filter(|(named, model)| decoded(named) != *model)
            .and_then(|(named, model)| Some((named, segment(model)?)));
        let rest = match other {
            Some((named, model)) => {
                let start = OPENAI.len() + DEPLOYMENTS.len();
                let behind = asked.rest.get(start + named.len()..).unwrap_or_default();
                Cow::Owned(format!("{OPENAI}{DEPLOYMENTS}{model}{behind}"))
            }
            None => Cow::Borrowed(asked.rest),
        };
        let edits = Edits {
            version: self.classic.as_ref().map(|classic| &*classic.version),
            ..Edits::realtime("deployment", asked)
        };
        Line {
            prefix: Cow::Borrowed(&self.root),
            rest,
            query: self.query(asked, edits),
        }
    }

    fn query<'a>(&self, asked: &Asked<'a>, edits: Edits<'a>) -> Option<Cow<'a, str>> {
        let Some(given) = asked.query else {
            let version = edits.version?;
            return Some(Cow::Owned(format!("{API_VERSION}={version}")));
        };
        let version = edits.version.filter(|_| !states_version(given));
        let edited = |pair: &'a str| self.edited(pair, given, edits);
        let untouched = |pair| matches!(edited(pair), Some(Cow::Borrowed(_)));
        if version.is_none() && given.split('&').all(untouched) {
            return Some(Cow::Borrowed(given));
        }
        let version = version.map(|version| Cow::Owned(format!("{API_VERSION}={version}")));
        let pairs = given.split('&').filter(|pair| !pair.is_empty());
        let pairs: Vec<_> = pairs.filter_map(edited).chain(version).collect();
        let query = pairs.join("&");
        (!query.is_empty()).then_some(Cow::Owned(query))
    }

    /// What becomes of one pair of the query `given`; `None` takes it out.
    fn edited<'a>(&self, pair: &'a str, given: &str, edits: Edits<'a>) -> Option<Cow<'a, str>> {
        if self.withholds_keys && key_in_pair(pair).is_some() {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if edits.drops_version && name == API_VERSION {
            return None;
        }
        let Some(wanted) = edits.model_name.filter(|_| names_model(name)) else {
            return Some(Cow::Borrowed(pair));
        };
        if name != wanted && given.split('&').any(|pair| has_name(pair, wanted)) {
            return None;
        }
        match edits.model.filter(|model| decoded(value) != *model) {
            Some(model) => {
                let model = utf8_percent_encode(model, ESCAPED);
                Some(Cow::Owned(format!("{wanted}={model}")))
            }
            None if name == wanted => Some(Cow::Borrowed(pair)),
            None => Some(Cow::Owned(format!("{wanted}={value}"))),
        }
    }
}

impl<'a> Edits<'a> {
    /// Realtime names its model in the query: `model`, or `deployment` in classic Azure.
    fn realtime(name: &'static str, asked: &Asked<'a>) -> Self {
        if asked.api != Api::Realtime {
            return Self::default();
        }
        Self {
            model_name: Some(name),
            model: asked.model,
            ..Self::default()
        }
    }
}

impl Line<'_> {
    fn written(&self) -> String {
        let query = self.query.as_deref().filter(|query| !query.is_empty());
        let length = self.prefix.len() + self.rest.len() + query.map_or(0, str::len) + 2;
        let mut path = String::with_capacity(length);
        path.push_str(&self.prefix);
        path.push_str(&self.rest);
        if path.is_empty() {
            path.push('/');
        }
        if let Some(query) = query {
            path.push('?');
            path.push_str(query);
        }
        path
    }
}

/// The path of a base URL before Azure's `/deployments/<deployment>`, and the deployment.
fn split_deployment(path: &str) -> (&str, Option<&str>) {
    match path.split_once(DEPLOYMENTS) {
        Some((before, deployment)) if !deployment.contains('/') => (before, Some(deployment)),
        _ => (path, None),
    }
}

/// Gemini's `…models/<model>:<verb>` with the upstream's model in it.
fn with_model<'a>(rest: &'a str, asked: &Asked<'_>) -> Cow<'a, str> {
    let replaced = || {
        let model = asked.model.filter(|_| asked.api == Api::Gemini)?;
        let (named, verb) = rest.rsplit_once(':')?;
        let start = ["/models/", "/tunedModels/"]
            .iter()
            .find_map(|folder| Some(named.find(folder)? + folder.len()))?;
        let (before, name) = named.split_at(start);
        let other = decoded(name) != model;
        let model = segment(model).filter(|_| other)?;
        Some(format!("{before}{model}:{verb}"))
    };
    replaced().map_or(Cow::Borrowed(rest), Cow::Owned)
}

/// A model's name as one segment of a path; `None` for a name that could lead out of its place: it
/// is the client's to choose.
fn segment(model: &str) -> Option<String> {
    let leads_out = |part: &str| matches!(part, "" | "." | "..");
    let parts = &['/', '\\', ';'][..];
    if model.chars().any(char::is_control) || model.split(parts).any(leads_out) {
        return None;
    }
    Some(utf8_percent_encode(model, ESCAPED).to_string())
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn states_version(query: &str) -> bool {
    query.split('&').any(|pair| has_name(pair, API_VERSION))
}

fn has_name(pair: &str, name: &str) -> bool {
    pair.split_once('=')
        .is_some_and(|(stated, _)| stated == name)
}

fn names_model(name: &str) -> bool {
    matches!(name, "model" | "deployment")
}

/// The value of a query's pair that is a client's key, percent-decoded.
#[must_use]
pub fn key_in_pair(pair: &str) -> Option<Cow<'_, str>> {
    let (name, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
    QUERY_CREDENTIALS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
        .then_some(value)
}

#[cfg(test)]
mod tests;
