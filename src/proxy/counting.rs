//! Tollgate's own count of tokens, for accounts whose provider stated none, or not all.
//!
//! Counting takes milliseconds, and the first count of a process loads a vocabulary. So an account
//! that needs one is closed on the blocking pool, a moment after the request ended; until then it
//! counts as open, and the journal holds its admission. It is closed exactly once there too: a
//! pool that is shut down drops what it does not run, and the drop closes the account.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::clock::UnixMicros;
use crate::protocol::{AnswerText, RequestText, writes_text};
use crate::record::{Api, Estimate, TokenType, Usage, UsageSource};
use crate::tokenizer::{Encoding, count_roughly};

use super::account::Account;
use super::body::Plain;
use super::exchange::Entered;

/// What a count is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It completes what the provider stated before the answer broke off.
    Complete,
    /// It stands beside a usage that is missing.
    Beside,
    /// It says how much of a stated output the client received.
    Delivered,
}

/// What is counted, and why.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) purpose: Purpose,
    pub(super) api: Api,
    /// The request, where its text is at hand.
    pub(super) request: Option<Asked>,
    /// The answer, where one began.
    pub(super) answer: Option<AnswerText>,
    /// Bytes of the answer's content that the client was sent, where it was not sent all.
    pub(super) received: Option<u64>,
    /// The client left before there was an answer: none was made as far as anybody knows.
    pub(super) unanswered: bool,
    /// The process stops, or something in it broke: nobody waits for an exact count.
    pub(super) at_once: bool,
}

/// A request whose text is counted.
#[derive(Debug)]
pub(super) enum Asked {
    /// Its body, with the room it takes.
    Whole(Plain),
    /// What is counted of it.
    Text(Option<RequestText>),
}

/// An account that is closed as soon as its tokens are counted.
struct Pending {
    account: Account,
    counting: Option<Counting>,
    /// A shutdown waits for it.
    _entered: Entered,
}

/// Counts at the same time at most: many answers break off at once when an upstream goes down,
/// and those that go on come first.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Accounts that wait for their turn…
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// …and how many may, each with up to 36 KiB of text. Those beyond are counted roughly, at once.
const MOST_WAITING: usize = 1024;

/// Closes `account`, its tokens counted, off the threads that serve requests; at once where there
/// is no time left.
pub(super) fn close(account: Account, mut counting: Counting, entered: Entered) {
    let before = WAITING.fetch_add(1, Ordering::Relaxed);
    counting.at_once |= before >= MOST_WAITING;
    let at_once = counting.at_once;
    let mut pending = Pending {
        account,
        counting: Some(counting),
        _entered: entered,
    };
    if at_once {
        return;
    }
    // A runtime that is shut down drops what it does not run, and with it `pending`.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            // Before it waits: bodies take the room that other requests need.
            let shortened = tokio::task::spawn_blocking(move || {
                pending.shorten();
                pending
            });
            // A panic in it has closed the account, and is in the log.
            let Ok(pending) = shortened.await else {
                return;
            };
            let _turn = TURNS.acquire().await;
            let _ = tokio::task::spawn_blocking(move || drop(pending)).await;
        });
    }
}

impl Pending {
    /// Keeps of the request what is counted, and gives its body back.
    fn shorten(&mut self) {
        if let Some(counting) = &mut self.counting
            && let Some(Asked::Whole(plain)) = &counting.request
        {
            let text = RequestText::of(counting.api, &plain.body);
            counting.request = Some(Asked::Text(text));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        let closing = Closing(&mut self.account);
        if let Some(counting) = self.counting.take().filter(|_| !std::thread::panicking()) {
            counting.apply(closing.0);
        }
    }
}

/// Settles the account even where its count panics.
struct Closing<'a>(&'a mut Account);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.settle(UnixMicros::now());
    }
}

impl Counting {
    fn apply(self, account: &mut Account) {
        let encoding = Encoding::of(account.model().unwrap_or_default());
        let at_once = self.at_once;
        let count = &mut |text: &str| {
            if at_once {
                count_roughly(text)
            } else {
                encoding.count(text)
            }
        };
        let text = self.answer.as_ref();
        if let (Some(received), Some(text)) = (self.received, text) {
            account.record.delivered_output_tokens = Some(text.count_first(received, count));
        }
        let answer = text.map(|text| text.count_first(text.bytes(), count));
        match self.purpose {
            Purpose::Delivered => {}
            Purpose::Complete => {
                let output = answer.or(self.unanswered.then_some(0));
                if let Some(usage) = self.completed(&account.record.usage, output, count) {
                    account.record.usage = usage;
                    account.missing_reason = None;
                } else {
                    self.estimate(account, output, count);
                }
            }
            Purpose::Beside => self.estimate(account, answer, count),
        }
    }

    /// Puts what is known beside the usage that is missing.
    fn estimate(
        &self,
        account: &mut Account,
        output_tokens: Option<u64>,
        count: &mut dyn FnMut(&str) -> u64,
    ) {
        let input_tokens = self.request_tokens(count);
        if input_tokens.or(output_tokens).is_none() {
            return;
        }
        let usage = counted(input_tokens, output_tokens);
        // Half a usage has no price.
        let whole = input_tokens.is_some() && (output_tokens.is_some() || !writes_text(self.api));
        let cost = account.price(&usage).filter(|_| whole);
        account.record.estimate = Some(Estimate {
            input_tokens,
            output_tokens,
            cost: cost.map(|cost| cost.amount),
        });
    }

    fn request_tokens(&self, count: &mut dyn FnMut(&str) -> u64) -> Option<u64> {
        match self.request.as_ref()? {
            Asked::Whole(plain) => Some(RequestText::of(self.api, &plain.body)?.count(count)),
            Asked::Text(text) => Some(text.as_ref()?.count(count)),
        }
    }

    /// What was stated, and the rest by Tollgate's own count; `None` when neither says how long
    /// request and answer were: half a usage would look cheaper than it was.
    fn completed(
        &self,
        stated: &Usage,
        output: Option<u64>,
        count: &mut dyn FnMut(&str) -> u64,
    ) -> Option<Usage> {
        let mut usage = *stated;
        if stated.tokens.sum().is_none() {
            if output.is_none() && writes_text(self.api) {
                return None;
            }
            usage = Usage {
                units: stated.units,
                ..counted(Some(self.request_tokens(count)?), output)
            };
        } else if let Some(output) = output {
            let shown = self.answer.as_ref();
            let reasoning = stated.tokens[TokenType::Reasoning]
                .filter(|_| shown.is_some_and(AnswerText::may_show_reasoning));
            let output = output.saturating_sub(reasoning.unwrap_or(0));
            // What had been stated so far counts at least: it may hold what no client sees.
            let known = stated.tokens[TokenType::Output].unwrap_or(0);
            usage.tokens[TokenType::Output] = Some(known.max(output));
            usage.total = usage.tokens.sum();
        }
        usage.source = UsageSource::Partial;
        Some(usage)
    }
}

/// A usage of these counts.
fn counted(input: Option<u64>, output: Option<u64>) -> Usage {
    let estimate = Estimate {
        input_tokens: input,
        output_tokens: output,
        cost: None,
    };
    estimate.usage()
}
