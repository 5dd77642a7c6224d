//! Which models a channel's upstream says it has: asked for as a client would ask, bounded in time
//! and size, and kept for a short while.
//!
//! A list that is kept was asked for with the channel's own credential, so it is the same for every
//! client. Whoever comes while it is being asked for waits for that answer. Where a channel has no
//! credential, the list is the asking client's, and no other is shown it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Cause, http_client};
use crate::channel::{Asked, Channel, Credential, Registry};
use crate::config::{ChannelKind, Secret};
use crate::protocol::{ListShape, ListedModel, PathBase, read_models};
use crate::record::Api;

/// How long a list is kept.
const FRESH: Duration = Duration::from_secs(60);

/// How long it is kept that there was none.
const FAILED: Duration = Duration::from_secs(15);

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(3);

/// Bytes of a list; one of hundreds of models with their descriptions has less than 1 MiB.
const LARGEST: usize = 4 << 20;

/// Anthropic's version of the API, which its hosts want to be told
/// (<https://platform.claude.com/docs/en/api/versioning>).
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Why a channel's models are not known.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No connection, or none to the end.
    #[error("{0}")]
    Exchange(#[source] Cause),
    /// It refused, or led elsewhere.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// More than any list has.
    #[error("its list is larger than {LARGEST} bytes")]
    TooLarge,
    /// It did not answer in time.
    #[error("it took too long")]
    TooLong,
    /// It answered with something else.
    #[error("its answer is no list of models")]
    NoList,
    /// A credential, or the address, fits no request.
    #[error("it cannot be asked: its address or the credential fits no request")]
    Unsendable,
}

impl From<reqwest::Error> for ListError {
    fn from(error: reqwest::Error) -> Self {
        Self::Exchange(Cause::from(error))
    }
}

/// There is no list; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotListed;

/// The models of a channel.
pub type Listed = Result<Arc<[ListedModel]>, NotListed>;

/// The lists of all channels.
#[derive(Debug)]
pub struct ModelLists {
    http: reqwest::Client,
    kept: HashMap<Arc<str>, Mutex<Option<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    listed: Listed,
    until: Instant,
}

impl ModelLists {
    /// Of these channels; nobody is asked yet.
    pub fn new(channels: &Registry) -> Result<Self, ListError> {
        let http = http_client()
            .connect_timeout(CONNECT)
            // A credential goes nowhere else, and the list by the way that requests go.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let names = channels.iter().map(|channel| Arc::clone(&channel.name));
        Ok(Self {
            http,
            kept: names.map(|name| (name, Mutex::default())).collect(),
        })
    }

    /// The models that `channel` says it has, by `over` at the latest. `client` is what the client
    /// shows the provider, for a channel without a credential of its own.
    pub async fn of(
        &self,
        channel: &Channel,
        client: Option<&Secret>,
        now: Instant,
        over: Instant,
    ) -> Listed {
        let own = channel.credential.is_some() || client.is_none();
        match self.kept.get(&channel.name).filter(|_| own) {
            Some(kept) => {
                let keeping = self.keep(kept, channel, now, over);
                // Somebody else's asking may take as long as it likes.
                timeout_at(over, keeping).await.unwrap_or(Err(NotListed))
            }
            None => self.ask_by(channel, client, over).await,
        }
    }

    async fn keep(
        &self,
        kept: &Mutex<Option<Kept>>,
        channel: &Channel,
        now: Instant,
        over: Instant,
    ) -> Listed {
        let mut kept = kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > now) {
            return kept.listed.clone();
        }
        let asking = Instant::now();
        let listed = self.ask_by(channel, None, over).await;
        let time = if listed.is_ok() { FRESH } else { FAILED };
        *kept = Some(Kept {
            listed: listed.clone(),
            until: now + asking.elapsed() + time,
        });
        listed
    }

    async fn ask_by(&self, channel: &Channel, client: Option<&Secret>, over: Instant) -> Listed {
        let asked = timeout_at(over, self.ask(channel, client)).await;
        let asked = asked.unwrap_or(Err(ListError::TooLong));
        asked.map_err(|error| {
            let channel = &*channel.name;
            tracing::warn!(channel, %error, "a channel does not say which models it has");
            NotListed
        })
    }

    async fn ask(
        &self,
        channel: &Channel,
        client: Option<&Secret>,
    ) -> Result<Arc<[ListedModel]>, ListError> {
        let shape = shape_of(channel.kind);
        let path = path_of(channel);
        let scheme = if channel.base.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", channel.base.authority);
        let mut request = self.http.get(url);
        if shape == ListShape::Anthropic {
            request = request.header("anthropic-version", ANTHROPIC_VERSION);
        }
        if let Some((name, value)) = credential(channel, client, &path)? {
            request = request.header(name, value);
        }
        let mut request = request.build().map_err(|_| ListError::Unsendable)?;
        for (name, value) in &channel.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let mut response = self.http.execute(request).await?;
        if response.status() != StatusCode::OK {
            return Err(ListError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > LARGEST {
                return Err(ListError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let models = read_models(shape, &body).ok_or(ListError::NoList)?;
        Ok(Arc::from(models))
    }
}

fn shape_of(kind: ChannelKind) -> ListShape {
    match kind {
        ChannelKind::Openai | ChannelKind::Azure => ListShape::Openai,
        ChannelKind::Anthropic => ListShape::Anthropic,
        ChannelKind::Gemini => ListShape::Gemini,
    }
}

/// The path of a channel's list, on as few pages as there may be: one.
fn path_of(channel: &Channel) -> String {
    let (base, rest, query) = match channel.kind {
        ChannelKind::Openai | ChannelKind::Azure => (PathBase::BaseUrl, "/models", None),
        // "Ranges from 1 to 1000."
        ChannelKind::Anthropic => (PathBase::BaseUrl, "/models", Some("limit=1000")),
        // "At most 1000 models per page, even if you pass a larger pageSize."
        ChannelKind::Gemini => (PathBase::Origin, "/v1beta/models", Some("pageSize=1000")),
    };
    let destination = channel.destination(&Asked {
        api: Api::Models,
        base,
        rest,
        query,
        // No client's: whatever the upstream's is, it is another.
        path: "",
        model: None,
    });
    destination.path.unwrap_or_default()
}

fn credential(
    channel: &Channel,
    client: Option<&Secret>,
    path: &str,
) -> Result<Option<Credential>, ListError> {
    let path = path.split('?').next().unwrap_or_default();
    if let Some(own) = channel.credential_for(path) {
        return Ok(Some(own.clone()));
    }
    let credential = client.map(|client| channel.credential_of_client(client.expose(), path));
    credential.transpose().map_err(|_| ListError::Unsendable)
}

#[cfg(test)]
mod tests;
