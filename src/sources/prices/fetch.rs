//! Fetches a catalogue: bounded in size and time, asking only for what is new.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri, header};
use reqwest::redirect::{Attempt, Policy};

use super::store::{LastGood, Origin};
use crate::clock::UnixMicros;
use crate::pricing::MOST_CATALOGUE_BYTES;
use crate::sources::{Cause, http_client};

/// What bounds one fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// From the connection to the last byte.
    pub(super) total: Duration,
    /// Bytes of the body.
    pub(super) most_bytes: u64,
}

impl Bounds {
    pub(super) const USUAL: Self = Self {
        total: Duration::from_secs(60),
        most_bytes: MOST_CATALOGUE_BYTES,
    };
}

const CONNECT: Duration = Duration::from_secs(10);

/// Hops that an address may lead on to.
const MOST_REDIRECTS: usize = 5;

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or none to the end.
    #[error("cannot fetch it: {0}")]
    Exchange(#[source] Cause),
    /// It answered with something else than a catalogue.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// More than any catalogue has.
    #[error("it is larger than {most_bytes} bytes")]
    TooLarge {
        /// The bound.
        most_bytes: u64,
    },
    /// No text.
    #[error("it is not UTF-8")]
    NotText,
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Exchange(error.into())
    }
}

/// What came of asking.
#[derive(Debug)]
pub enum Fetched {
    /// What is known already.
    NotModified,
    /// Something else.
    New(LastGood),
}

/// Fetches catalogues.
#[derive(Clone, Debug)]
pub struct Fetcher {
    http: reqwest::Client,
    bounds: Bounds,
}

impl Fetcher {
    /// With the usual bounds: a minute, 64 MiB.
    pub fn usual() -> Result<Self, FetchError> {
        Self::new(Bounds::USUAL)
    }

    pub(super) fn new(bounds: Bounds) -> Result<Self, FetchError> {
        let http = http_client()
            .connect_timeout(CONNECT)
            .timeout(bounds.total)
            .redirect(Policy::custom(follow))
            .build()?;
        Ok(Self { http, bounds })
    }

    /// Asks for what is at `url`, unless it is what `known` came from.
    pub async fn fetch(
        &self,
        url: &Uri,
        known: Option<&Origin>,
        now: UnixMicros,
    ) -> Result<Fetched, FetchError> {
        let address = url.to_string();
        let mut request = self.http.get(&address);
        if let Some(known) = known.filter(|known| known.address == address) {
            for (name, value) in [
                (header::IF_NONE_MATCH, &known.etag),
                (header::IF_MODIFIED_SINCE, &known.last_modified),
            ] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let mut response = request.send().await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => return Ok(Fetched::NotModified),
            StatusCode::OK => {}
            status => return Err(FetchError::Status(status)),
        }
        let stated = |headers: &HeaderMap, name| {
            let value = headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let origin = Origin {
            address,
            etag: stated(response.headers(), header::ETAG),
            last_modified: stated(response.headers(), header::LAST_MODIFIED),
            fetched_at: now,
        };
        let most_bytes = self.bounds.most_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if (body.len() + chunk.len()) as u64 > most_bytes {
                return Err(FetchError::TooLarge { most_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).map_err(|_| FetchError::NotText)?;
        Ok(Fetched::New(LastGood { origin, text }))
    }
}

/// Follows a few hops, but never from https to http.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_safe = attempt.previous().iter().any(|hop| hop.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("it leads on too often")
    } else if was_safe && attempt.url().scheme() != "https" {
        attempt.error("it leads from https to http")
    } else {
        attempt.follow()
    }
}
