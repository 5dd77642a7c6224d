//! Which models a channel's upstream says it has: asked for as a client would ask, bounded in time
//! and size, and kept for a short while.
//!
//! A list that is kept was asked for with the channel's own credential, so it is the same for every
//! client. Whoever comes while it is being asked for waits for that answer. What is asked for with a
//! client's credential is that client's: no other is shown it, and it is not kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Cause, http_client};
use crate::channel::{Asked, Channel, Credential, Registry};
use crate::config::ChannelKind;
use crate::protocol::{ListShape, ListedModel, PathBase, read_models};
use crate::record::Api;

/// How long a list is kept.
const FRESH: Duration = Duration::from_secs(60);

/// How long it is kept that there was none.
const FAILED: Duration = Duration::from_secs(15);

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(3);

/// Bytes of a list, all its pages together; one of hundreds of models with their descriptions has
/// less than 1 MiB.
const LARGEST: usize = 4 << 20;

/// Bytes of all lists that one request is answered from.
const LARGEST_TOGETHER: usize = 16 << 20;

/// Pages of a list; each is asked to hold a thousand models.
const MOST_PAGES: usize = 10;

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
    /// The other channels' lists take all the memory that one request has.
    #[error("the channels' lists together are larger than {LARGEST_TOGETHER} bytes")]
    NoRoom,
    /// Each page names a next one.
    #[error("its list has more than {MOST_PAGES} pages")]
    TooManyPages,
    /// It did not answer in time.
    #[error("it took too long")]
    TooLong,
    /// It answered with something else.
    #[error("its answer is no list of models")]
    NoList,
    /// The address fits no request.
    #[error("it cannot be asked: its address fits no request")]
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

/// What the lists that one request is answered from may still take.
#[derive(Debug)]
pub struct Room(AtomicUsize);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicUsize::new(LARGEST_TOGETHER))
    }
}

/// Room that one list takes; given back when it is dropped, unless it is kept.
struct Taken<'r> {
    room: &'r Room,
    bytes: usize,
}

impl<'r> Taken<'r> {
    const fn none(room: &'r Room) -> Self {
        Self { room, bytes: 0 }
    }

    fn more(&mut self, bytes: usize) -> Result<(), ListError> {
        let take = |left: usize| left.checked_sub(bytes);
        let left = &self.room.0;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| ListError::NoRoom)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The request has it to its end. How many bytes that are.
    fn keep(mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The lists of all channels.
#[derive(Debug)]
pub struct ModelLists {
    http: reqwest::Client,
    kept: HashMap<Arc<str>, Mutex<Option<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    listed: Listed,
    /// As it came.
    bytes: usize,
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

    /// The models that `channel` says it has, by `over` at the latest, within what `room` there is
    /// left. `client` is what the client shows this channel, which has no credential of its own
    /// then.
    pub async fn of(
        &self,
        channel: &Channel,
        client: &[Credential],
        room: &Room,
        now: Instant,
        over: Instant,
    ) -> Listed {
        match self.kept.get(&channel.name).filter(|_| client.is_empty()) {
            Some(kept) => {
                let keeping = self.keep(kept, channel, room, now, over);
                // Somebody else's asking may take as long as it likes.
                timeout_at(over, keeping).await.unwrap_or(Err(NotListed))
            }
            None => self.ask_by(channel, client, room, over).await.0,
        }
    }

    async fn keep(
        &self,
        kept: &Mutex<Option<Kept>>,
        channel: &Channel,
        room: &Room,
        now: Instant,
        over: Instant,
    ) -> Listed {
        let mut kept = kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > now) {
            let mut taken = Taken::none(room);
            let taken = taken.more(kept.bytes).map(|()| taken.keep());
            taken.map_err(|error| not_listed(channel, &error))?;
            return kept.listed.clone();
        }
        let asking = Instant::now();
        let (listed, bytes) = self.ask_by(channel, &[], room, over).await;
        let time = if listed.is_ok() { FRESH } else { FAILED };
        *kept = Some(Kept {
            listed: listed.clone(),
            bytes,
            until: now + asking.elapsed() + time,
        });
        listed
    }

    /// The list, and how many bytes it takes.
    async fn ask_by(
        &self,
        channel: &Channel,
        client: &[Credential],
        room: &Room,
        over: Instant,
    ) -> (Listed, usize) {
        let mut taken = Taken::none(room);
        let asked = timeout_at(over, self.ask(channel, client, &mut taken)).await;
        match asked.unwrap_or(Err(ListError::TooLong)) {
            Ok(models) => (Ok(Arc::from(models)), taken.keep()),
            Err(error) => (Err(not_listed(channel, &error)), 0),
        }
    }

    /// All pages of the list.
    async fn ask(
        &self,
        channel: &Channel,
        client: &[Credential],
        taken: &mut Taken<'_>,
    ) -> Result<Vec<ListedModel>, ListError> {
        let shape = shape_of(channel.kind);
        let mut models = Vec::new();
        let mut from: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let path = path_of(channel, from.as_deref());
            let body = self.page(channel, client, &path, taken).await?;
            let page = read_models(shape, &body).ok_or(ListError::NoList)?;
            models.extend(page.models);
            // A host that knows no pages gives the same one again.
            if page.next.is_none() || page.next == from {
                return Ok(models);
            }
            from = page.next;
        }
        Err(ListError::TooManyPages)
    }

    async fn page(
        &self,
        channel: &Channel,
        client: &[Credential],
        path: &str,
        taken: &mut Taken<'_>,
    ) -> Result<Vec<u8>, ListError> {
        let scheme = if channel.base.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", channel.base.authority);
        let mut request = self.http.get(url);
        if shape_of(channel.kind) == ListShape::Anthropic {
            request = request.header("anthropic-version", ANTHROPIC_VERSION);
        }
        let own = channel.credential_for(path.split('?').next().unwrap_or_default());
        for (name, value) in own.into_iter().chain(client) {
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
            taken.more(piece.len())?;
            if taken.bytes > LARGEST {
                return Err(ListError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn not_listed(channel: &Channel, error: &ListError) -> NotListed {
    let channel = &*channel.name;
    tracing::warn!(channel, %error, "a channel does not say which models it has");
    NotListed
}

fn shape_of(kind: ChannelKind) -> ListShape {
    match kind {
        ChannelKind::Openai | ChannelKind::Azure => ListShape::Openai,
        ChannelKind::Anthropic => ListShape::Anthropic,
        ChannelKind::Gemini => ListShape::Gemini,
    }
}

/// The path of a channel's list, or of the page of it that begins behind `from`.
fn path_of(channel: &Channel, from: Option<&str>) -> String {
    // A thousand models on a page, where pages may be of any size: few lists have more.
    let (base, rest, size, place) = match channel.kind {
        ChannelKind::Openai | ChannelKind::Azure => (PathBase::BaseUrl, "/models", None, "after"),
        ChannelKind::Anthropic => (PathBase::BaseUrl, "/models", Some("limit"), "after_id"),
        ChannelKind::Gemini => (
            PathBase::Origin,
            "/v1beta/models",
            Some("pageSize"),
            "pageToken",
        ),
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(size.map(|name| (name, "1000")));
    query.extend_pairs(from.map(|from| (place, from)));
    let query = query.finish();
    let destination = channel.destination(&Asked {
        api: Api::Models,
        base,
        rest,
        query: Some(query.as_str()).filter(|query| !query.is_empty()),
        // No client's: whatever the upstream's is, it is another.
        path: "",
        model: None,
    });
    destination.path.unwrap_or_default()
}

#[cfg(test)]
mod tests;
