//! The provider's own account: OpenAI's usage and cost API of an organization
//! (<https://platform.openai.com/docs/api-reference/usage>), read with an admin key.
//!
//! Counts are integers; amounts are decimal numbers, taken from the text, never as floats.

mod error;
mod shapes;

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::http_client;
use super::reconcile::{Bill, BilledItem, BilledUsage};
use crate::config::{BaseUrl, Secret};

use error::{strange, unreachable_at};
use shapes::{Answer, CostResult, ErrorBody, UsageResult};

pub use error::BillingError;

/// What counts requests and tokens, by API. `true` where results can be told apart by `batch`.
const USAGE: [(&str, bool); 6] = [
    ("completions", true),
    ("embeddings", false),
    ("moderations", false),
    ("images", false),
    ("audio_speeches", false),
    ("audio_transcriptions", false),
];

/// Days in a page of usage and of costs, the most there can be.
const USAGE_DAYS: u32 = 31;
const COST_DAYS: u32 = 180;

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Time for a whole answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Tries of one request.
const TRIES: u32 = 6;

/// The pause after the first try that failed; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause, also where the provider asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Bytes of an answer; a page of a month by model has some hundred KiB.
const LARGEST_ANSWER: usize = 32 << 20;

/// Pages of one question; more are a fault of whoever answers.
const MOST_PAGES: usize = 10_000;

/// Characters of a provider's message that are told.
const LONGEST_MESSAGE: usize = 300;

/// The usage and cost API of one organization.
#[derive(Debug)]
pub struct BillingClient {
    http: reqwest::Client,
    base_url: BaseUrl,
    key: Secret,
    project: Option<String>,
}

impl BillingClient {
    /// Asks at `base_url` with an admin key; about one project, or about the whole organization.
    pub fn new(
        base_url: BaseUrl,
        key: Secret,
        project: Option<String>,
    ) -> Result<Self, BillingError> {
        let mut http = http_client()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // The key goes nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if base_url.is_loopback() {
            // What runs on this machine needs no proxy for the world.
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| unreachable_at(&base_url.to_string(), error))?;
        Ok(Self {
            http,
            base_url,
            key,
            project,
        })
    }

    /// The account of the days from `since` up to but without `until`, UTC.
    pub async fn bill(&self, since: Date, until: Date) -> Result<Bill, BillingError> {
        let mut bill = Bill::default();
        for (api, by_batch) in USAGE {
            let path = format!("organization/usage/{api}");
            let mut by = vec!["model"];
            by.extend(by_batch.then_some("batch"));
            let mut query = self.query(since, until, &by, USAGE_DAYS);
            let url = self.url(&path);
            let pages = Pages::new(&url);
            self.read(pages, &mut query, |day, result: UsageResult| {
                bill.usage.push(BilledUsage {
                    day,
                    model: result.model,
                    requests: result.num_model_requests,
                    input_tokens: result.input_tokens,
                    output_tokens: result.output_tokens,
                    batch: result.batch.unwrap_or(false),
                });
                Ok(())
            })
            .await?;
        }
        let mut query = self.query(since, until, &["line_item"], COST_DAYS);
        let url = self.url("organization/costs");
        let pages = Pages::new(&url);
        self.read(pages, &mut query, |day, result: CostResult| {
            // Without an amount there is nothing to pay.
            let Some(stated) = result.amount else {
                return Ok(());
            };
            let amount = stated.amount(&url)?;
            bill.items.push(BilledItem {
                day,
                line_item: result.line_item,
                amount,
            });
            Ok(())
        })
        .await?;
        Ok(bill)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url)
    }

    fn query(
        &self,
        since: Date,
        until: Date,
        by: &[&'static str],
        limit: u32,
    ) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("start_time", unix_seconds(since).to_string()),
            ("end_time", unix_seconds(until).to_string()),
            ("bucket_width", "1d".to_owned()),
            ("limit", limit.to_string()),
        ];
        query.extend(by.iter().map(|by| ("group_by[]", (*by).to_owned())));
        query.extend(
            self.project
                .iter()
                .map(|project| ("project_ids[]", project.clone())),
        );
        query
    }

    /// Reads every page, handing each result on with its day.
    async fn read<T: DeserializeOwned>(
        &self,
        mut pages: Pages<'_>,
        query: &mut Vec<(&'static str, String)>,
        mut take: impl FnMut(Date, T) -> Result<(), BillingError>,
    ) -> Result<(), BillingError> {
        let url = pages.url;
        loop {
            let body = self.get(url, query).await?;
            let page: Answer<T> =
                serde_json::from_slice(&body).map_err(|error| strange(url, error.to_string()))?;
            for bucket in page.data {
                let day = day_of(bucket.start_time)
                    .ok_or_else(|| strange(url, format!("`{}` is no time", bucket.start_time)))?;
                for result in bucket.results {
                    take(day, result)?;
                }
            }
            let Some(next) = pages.next(page.has_more, page.next_page)? else {
                return Ok(());
            };
            query.retain(|(name, _)| *name != "page");
            query.push(("page", next));
        }
    }

    /// One answer, asked for again while that may help.
    async fn get(
        &self,
        url: &str,
        query: &[(&'static str, String)],
    ) -> Result<Vec<u8>, BillingError> {
        let mut pause = FIRST_PAUSE;
        for tries_left in (0..TRIES).rev() {
            let (error, asked_pause) = match self.try_get(url, query).await {
                Ok(body) => return Ok(body),
                Err(failure) if !failure.passes || tries_left == 0 => return Err(failure.error),
                Err(failure) => (failure.error, failure.retry_after),
            };
            let wait = asked_pause.unwrap_or(pause).min(LONGEST_PAUSE);
            tracing::debug!(%error, ?wait, "asking the provider again");
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2);
        }
        Err(strange(url, "it was never asked".to_owned()))
    }

    async fn try_get(
        &self,
        url: &str,
        query: &[(&'static str, String)],
    ) -> Result<Vec<u8>, Failed> {
        let passing = |error| Failed {
            error: unreachable_at(url, error),
            passes: true,
            retry_after: None,
        };
        // Marked sensitive by reqwest, so that it does not print itself.
        let request = self
            .http
            .get(url)
            .query(query)
            .bearer_auth(self.key.expose());
        let mut response = request.send().await.map_err(passing)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(passing)? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err(Failed::for_good(strange(
                    url,
                    format!("it is larger than {LARGEST_ANSWER} bytes"),
                )));
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(body);
        }
        let passes = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        Err(Failed {
            error: self.refusal(url, status, &body),
            passes,
            retry_after,
        })
    }

    fn refusal(&self, url: &str, status: StatusCode, body: &[u8]) -> BillingError {
        let message = serde_json::from_slice::<ErrorBody>(body)
            .ok()
            .map(|body| body.error.message);
        let lacks_rights = message
            .as_ref()
            .is_some_and(|message| message.to_ascii_lowercase().contains("missing scopes"));
        let url = url.to_owned();
        match status {
            StatusCode::FORBIDDEN => BillingError::NotAdmin {
                url,
                status: status.as_u16(),
            },
            StatusCode::UNAUTHORIZED if lacks_rights => BillingError::NotAdmin {
                url,
                status: status.as_u16(),
            },
            // Its words quote the key in part.
            StatusCode::UNAUTHORIZED => BillingError::WrongKey { url },
            _ => BillingError::Refused {
                url,
                status: status.as_u16(),
                message: message.map(|message| {
                    let message = message.replace(self.key.expose(), "[secret]");
                    message.chars().take(LONGEST_MESSAGE).collect()
                }),
            },
        }
    }
}

/// A try that failed.
struct Failed {
    error: BillingError,
    /// Whether another try may succeed.
    passes: bool,
    /// How long the provider asks to wait before it.
    retry_after: Option<Duration>,
}

impl Failed {
    fn for_good(error: BillingError) -> Self {
        Self {
            error,
            passes: false,
            retry_after: None,
        }
    }
}

/// The way through the pages of one question.
struct Pages<'u> {
    url: &'u str,
    seen: BTreeSet<String>,
}

impl<'u> Pages<'u> {
    fn new(url: &'u str) -> Self {
        Self {
            url,
            seen: BTreeSet::new(),
        }
    }

    /// The cursor of the next page; `None` after the last. A cursor that comes again would lead
    /// round for ever.
    fn next(
        &mut self,
        has_more: bool,
        next: Option<String>,
    ) -> Result<Option<String>, BillingError> {
        let Some(next) = next.filter(|next| has_more && !next.is_empty()) else {
            if has_more {
                return Err(strange(
                    self.url,
                    "`has_more` is true without a `next_page`".to_owned(),
                ));
            }
            return Ok(None);
        };
        if !self.seen.insert(next.clone()) || self.seen.len() > MOST_PAGES {
            return Err(strange(self.url, "its pages do not end".to_owned()));
        }
        Ok(Some(next))
    }
}

/// How long to wait (RFC 9110, 10.2.3), where it is given in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn unix_seconds(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC)
        .map_or(0, |start| start.timestamp().as_second())
}

fn day_of(unix_seconds: i64) -> Option<Date> {
    let moment = jiff::Timestamp::from_second(unix_seconds).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).date())
}
