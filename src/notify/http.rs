//! How receivers that are reached over HTTP are told: one POST, whose address is nowhere printed.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::fmt::rfc2822;
use reqwest::Url;

use super::build::BuildError;
use super::cut;
use super::delivered::{Delivered, FailureReason};
use super::pace::fingerprint;
use super::plain::visible;
use crate::clock::UnixMicros;
use crate::config::Secret;
use crate::sources::{Cause, http_client};

/// Bytes of an answer that are read; the rest says nothing that matters.
const MOST_READ: usize = 64 << 10;

/// Characters of an answer that are quoted.
const MOST_QUOTED: usize = 200;

/// Parts of an address that are shorter than this are words, and not taken for a credential.
const SHORTEST_CREDENTIAL: usize = 8;

/// The longest that a receiver is believed it wants to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Posts to one address.
pub(super) struct Poster {
    client: reqwest::Client,
    url: Url,
    /// What is never quoted: the address, its parts, and the other secrets; the longest first.
    hidden: Vec<String>,
}

/// The address is a credential, and so may be what comes with it.
impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poster")
    }
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

impl Poster {
    /// Posts to `url`, each time for no longer than `timeout`. `secrets` are never quoted.
    pub(super) fn new(
        url: &Secret,
        secrets: &[Option<&Secret>],
        timeout: Duration,
    ) -> Result<Self, BuildError> {
        let url = Url::parse(url.expose()).map_err(|_| BuildError::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BuildError::NotUrl);
        }
        let client = http_client()
            .timeout(timeout)
            // A credential goes nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| BuildError::Client(Cause::from(error)))?;
        let hidden = hidden(&url, secrets);
        Ok(Self {
            client,
            url,
            hidden,
        })
    }

    /// The parameters of the address.
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        let value = self.url.query_pairs().find(|(known, _)| known == name);
        value.is_some_and(|(_, value)| !value.is_empty())
    }

    /// A number for the address that does not give it away, for what shares its limits.
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(self.url.as_str())
    }

    /// Posts JSON, with `parameters` added to the address and `headers` to what is usual.
    pub(super) async fn post(
        &self,
        parameters: &[(&str, &str)],
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, Delivered> {
        let mut url = self.url.clone();
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .headers(headers)
            .body(body);
        self.exchange(request)
            .await
            .map_err(|error| self.unsent(error))
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let mut response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while body.len() < MOST_READ {
            let Some(chunk) = response.chunk().await? else {
                break;
            };
            let room = MOST_READ - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// There was no answer, or not all of one.
    fn unsent(&self, error: reqwest::Error) -> Delivered {
        let reason = if error.is_timeout() {
            FailureReason::Timeout
        } else {
            FailureReason::Connect
        };
        let cause = Cause::from(error).to_string();
        Delivered::Again {
            after: None,
            reason,
            detail: self.quoted(&cause),
        }
    }

    /// What somebody else says, so that it can be repeated: in one line, not too long, and without any
    /// secret of this receiver.
    pub(super) fn quoted(&self, text: &str) -> String {
        // Cut first, so that looking for secrets takes no longer the more there is; a secret that the
        // cut falls into is too short to be one then, or hidden with what is left of it.
        let text: String = text.chars().take(MOST_READ).collect();
        let mut text = visible(&text).into_owned();
        for secret in &self.hidden {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[secret]");
            }
        }
        cut::title(text.trim(), MOST_QUOTED).into_owned()
    }

    /// What an answer means by its status alone, where that is not 2xx.
    pub(super) fn refused(&self, answer: &Answer) -> Delivered {
        let words = self.quoted(&answer.text());
        let words = if words.is_empty() || words.starts_with('<') {
            // A page of somebody in between says nothing in a line.
            String::new()
        } else {
            format!(": {words}")
        };
        let status = answer.status;
        let detail = |hint: &str| format!("it answered {}{words}{hint}", status.as_u16());
        let again = |reason| Delivered::Again {
            after: answer.retry_after(),
            reason,
            detail: detail(""),
        };
        let give_up = |reason, hint: &str| Delivered::GiveUp {
            reason,
            detail: detail(hint),
        };
        match status.as_u16() {
            429 => again(FailureReason::RateLimited),
            408 => again(FailureReason::Timeout),
            500.. => again(FailureReason::ServerError),
            401 | 403 => give_up(FailureReason::Credential, "; check its credential"),
            404 | 410 => give_up(FailureReason::Gone, "; check its address"),
            413 => give_up(FailureReason::TooLong, ""),
            300..=399 => give_up(
                FailureReason::Refused,
                "; its address leads elsewhere, and redirects are not followed",
            ),
            _ => give_up(FailureReason::Refused, ""),
        }
    }

    /// An answer that should have been of this kind and is not.
    pub(super) fn unreadable(&self, answer: &Answer, expected: &str) -> Delivered {
        let words = self.quoted(&answer.text());
        Delivered::Again {
            after: None,
            reason: FailureReason::Unreadable,
            detail: format!(
                "it answered {} with something that is not {expected}: {words}; check its address",
                answer.status.as_u16()
            ),
        }
    }
}

impl Answer {
    /// The body as text, for people.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, where it is JSON.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// How long to wait, where it says.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        retry_after(value, UnixMicros::now())
    }

    /// A number of seconds in another header.
    pub(super) fn seconds(&self, name: &HeaderName) -> Option<Duration> {
        let value = self.headers.get(name)?.to_str().ok()?;
        value.trim().parse().ok().map(Duration::from_secs)
    }

    /// Its sender's clock.
    pub(super) fn date(&self) -> Option<UnixMicros> {
        http_date(self.headers.get(header::DATE)?.to_str().ok()?)
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a moment; at most an hour.
fn retry_after(value: &str, now: UnixMicros) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(value)?.since(now),
    };
    Some(wait.min(LONGEST_WAIT))
}

fn http_date(value: &str) -> Option<UnixMicros> {
    let moment = rfc2822::parse(value.trim()).ok()?;
    Some(UnixMicros::from(moment.timestamp()))
}

fn hidden(url: &Url, secrets: &[Option<&Secret>]) -> Vec<String> {
    let mut hidden = vec![url.as_str().to_owned()];
    hidden.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
    hidden.extend(url.query().map(str::to_owned));
    hidden.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    hidden.extend([url.username(), url.password().unwrap_or("")].map(str::to_owned));
    hidden.retain(|part| part.len() >= SHORTEST_CREDENTIAL);
    let named = secrets.iter().flatten().map(|secret| secret.expose());
    hidden.extend(named.filter(|text| !text.is_empty()).map(str::to_owned));
    // A part of another one would leave the rest of that.
    hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
    hidden.dedup();
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poster(url: &str) -> Poster {
        let secret = Secret::new("SEC-canary");
        Poster::new(
            &Secret::new(url),
            &[Some(&secret), None],
            Duration::from_secs(1),
        )
        .unwrap()
    }

    #[test]
    fn waits_as_long_as_it_is_told_but_no_longer_than_an_hour() {
        let now = http_date("Fri, 20 Nov 2026 22:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("7", Some(7)),
            ("Fri, 20 Nov 2026 22:01:30 GMT", Some(90)),
            ("Fri, 20 Nov 2026 21:00:00 GMT", Some(0)),
            ("99999999", Some(3600)),
            ("soon", None),
            ("-1", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, now), expected, "{value}");
        }
    }

    #[test]
    fn what_is_quoted_holds_no_secret() {
        let poster =
            poster("https://me:password1@h.example/services/T0/B0/path-canary?key=query-canary");
        let said = "no https://me:password1@h.example/services/T0/B0/path-canary?key=query-canary, \
                    path-canary, query-canary, SEC-canary, password1\n\x1b[2J";
        let quoted = poster.quoted(said);
        assert!(
            !quoted.contains("canary") && !quoted.contains("password1"),
            "{quoted}"
        );
        assert!(
            quoted.contains("[secret]") && !quoted.contains('\x1b'),
            "{quoted}"
        );
        assert!(poster.quoted(&"x".repeat(1 << 20)).chars().count() <= MOST_QUOTED);
        assert!(!format!("{poster:?}").contains("canary"));
    }

    #[test]
    fn an_address_is_one_or_it_is_told() {
        for text in ["", "hooks.example/x", "ftp://h/x", "/work", "https://"] {
            let made = Poster::new(&Secret::new(text), &[], Duration::from_secs(1));
            assert!(matches!(made, Err(BuildError::NotUrl)), "{text}");
        }
    }

    #[test]
    fn one_address_has_one_fingerprint() {
        let [one, same, other] = [
            "https://h/a?key=1",
            "https://h/a?key=1",
            "https://h/a?key=2",
        ]
        .map(|url| poster(url).fingerprint());
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
