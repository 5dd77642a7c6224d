//! The channel API of new-api and one-api, of every generation.
//!
//! Newer ones (new-api since July 2026) change a channel's status with `POST
//! /api/channel/{id}/status` and refuse it in a `PUT`; older ones and one-api know the `PUT` alone.
//! A failure comes as 200 with `"success": false` as often as with a status of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::FollowError;
use crate::config::NewApiSettings;
use crate::sources::{Cause, http_client};

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// Time for a whole answer.
const ANSWER: Duration = Duration::from_secs(15);

/// Bytes of an answer; a channel with hundreds of models has some ten KiB.
const LARGEST_ANSWER: usize = 1 << 20;

/// Characters of the gateway's message that are told.
const LONGEST_MESSAGE: usize = 300;

/// A channel's status there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// 1.
    Enabled,
    /// 2: by hand. Nobody there enables it by itself.
    Disabled,
    /// 3: by the gateway itself, which also enables it again.
    AutoDisabled,
}

impl Status {
    const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::AutoDisabled];

    fn of(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.number() == number)
    }

    pub(super) fn number(self) -> i64 {
        match self {
            Self::Enabled => 1,
            Self::Disabled => 2,
            Self::AutoDisabled => 3,
        }
    }
}

/// A connection to one gateway.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    settings: NewApiSettings,
    /// Whether it was last seen to know the older way alone.
    older: AtomicBool,
}

/// What every answer holds, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    data: Value,
}

/// An answer that came whole.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    /// `None` for what is no JSON of the expected shape.
    envelope: Option<Envelope>,
}

impl Client {
    pub(super) fn new(settings: NewApiSettings) -> Result<Self, Cause> {
        let mut http = http_client()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // The token goes nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if settings.base_url.is_loopback() {
            // What runs on this machine needs no proxy for the world.
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build()?,
            settings,
            older: AtomicBool::new(false),
        })
    }

    /// What a channel is there.
    pub(super) async fn status(&self, id: u64) -> Result<Status, FollowError> {
        let path = format!("/api/channel/{id}");
        let answer = self.ask(Method::GET, &path, None).await?;
        let data = self.judged(&path, answer)?;
        let number = data.get("status").and_then(Value::as_i64);
        number
            .and_then(Status::of)
            .ok_or_else(|| self.strange(&path, "it states no status that is known"))
    }

    /// Wishes a channel to be so. Whether it is, [`status`](Self::status) tells.
    pub(super) async fn set(&self, id: u64, status: Status) -> Result<(), FollowError> {
        let status = status.number();
        if !self.older.load(Ordering::Relaxed) {
            let path = format!("/api/channel/{id}/status");
            let body = json!({ "status": status });
            let answer = self.ask(Method::POST, &path, Some(&body)).await?;
            if !answer.knows_no_such_path() {
                return self.judged(&path, answer).map(drop);
            }
        }
        let path = "/api/channel/";
        let body = json!({ "id": id, "status": status });
        let answer = self.ask(Method::PUT, path, Some(&body)).await;
        let done = answer.and_then(|answer| self.judged(path, answer).map(drop));
        // One that refuses may have become newer meanwhile.
        self.older.store(done.is_ok(), Ordering::Relaxed);
        done
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, FollowError> {
        let failed = |error: reqwest::Error| FollowError::Unreachable {
            url: self.url(path),
            cause: error.into(),
        };
        let mut request = self
            .http
            .request(method, self.url(path))
            // Marked sensitive by reqwest, so that it does not print itself.
            .bearer_auth(self.settings.token.expose());
        if let Some(user) = self.settings.user {
            request = request.header("New-Api-User", user);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if bytes.len() + piece.len() > LARGEST_ANSWER {
                return Err(self.strange(path, "it is larger than any channel"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Answer {
            status,
            retry_after,
            envelope: serde_json::from_slice(&bytes).ok(),
        })
    }

    /// The data of an answer that says it went well.
    fn judged(&self, path: &str, answer: Answer) -> Result<Value, FollowError> {
        let url = self.url(path);
        let status = answer.status;
        let message = answer.envelope.as_ref().and_then(|told| self.words(told));
        match (status, answer.envelope) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(FollowError::Denied {
                url,
                status: status.as_u16(),
                message,
            }),
            (StatusCode::TOO_MANY_REQUESTS, _) => Err(FollowError::TooOften {
                url,
                retry_after: answer.retry_after,
            }),
            (_, Some(told)) if status.is_success() && told.success => Ok(told.data),
            (_, Some(_)) => Err(FollowError::Refused {
                url,
                status: status.as_u16(),
                message,
            }),
            (_, None) if status.is_success() => {
                Err(self.strange(path, "it is no JSON of its kind"))
            }
            (_, None) => Err(FollowError::Refused {
                url,
                status: status.as_u16(),
                message: None,
            }),
        }
    }

    /// What the gateway says went wrong, without the token and in bounds.
    fn words(&self, told: &Envelope) -> Option<String> {
        let text = told.message.as_str().filter(|text| !text.is_empty())?;
        let text = text.replace(self.settings.token.expose(), "[secret]");
        Some(text.chars().take(LONGEST_MESSAGE).collect())
    }

    fn strange(&self, path: &str, reason: &'static str) -> FollowError {
        FollowError::Strange {
            url: self.url(path),
            reason,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings.base_url)
    }
}

impl Answer {
    /// Whether the path is none of this generation's. Some answer any path with their web page.
    fn knows_no_such_path(&self) -> bool {
        let page = self.status.is_success() && self.envelope.is_none();
        let missing = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        page || missing.contains(&self.status)
    }
}

/// How long to wait (RFC 9110, 10.2.3), where it is given in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
