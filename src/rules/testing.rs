//! Tests of rules: files that say what requests there were and what the rules make of them, run through
//! the real engine with a clock of their own.
//!
//! `docs/rules.md` documents the format. [`load`] reads files, with every problem at its place;
//! [`TestFile::run`] runs their tests.

mod compare;
mod format;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::definition::RuleSet;
use crate::alert::{AlertState, Labels, Quantity, Severity};
use crate::clock::UnixMicros;
use crate::config::Place;
use crate::record::{Api, Worst};

pub use format::load;

/// A file of tests, and the rules it names.
#[derive(Debug)]
pub struct TestFile {
    /// As it was named by whoever asked.
    pub file: Arc<Path>,
    /// Its tests, in its order.
    pub tests: Vec<RuleTest>,
    set: RuleSet,
}

/// One test. All times in it count from its start.
#[derive(Debug)]
pub struct RuleTest {
    /// What it shows.
    pub name: Arc<str>,
    start: UnixMicros,
    /// The channels that there are; `None` when any can be closed and another is always open.
    channels: Option<BTreeSet<Arc<str>>>,
    requests: Vec<Requests>,
    quotas: Vec<QuotaWord>,
    asked: Vec<Asked>,
    restarts: Vec<Duration>,
    expected: Vec<Expected>,
}

/// Whose a request is.
#[derive(Clone, Debug)]
struct Whose {
    channel: Arc<str>,
    api: Api,
    key: Option<Arc<str>>,
    model: Option<Arc<str>>,
    tags: BTreeMap<String, String>,
}

/// Something again and again.
#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Duration,
    every: Duration,
    times: u32,
}

impl Beat {
    fn moments(self) -> impl Iterator<Item = Duration> {
        (0..self.times).map(move |time| self.at.saturating_add(self.every.saturating_mul(time)))
    }
}

/// Requests that differ in their time only.
#[derive(Clone, Debug)]
struct Requests {
    /// When they begin.
    beat: Beat,
    whose: Whose,
    error: bool,
    cost_nanousd: Option<i64>,
    tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    latency_us: Option<u64>,
    ttft_us: Option<u64>,
}

/// A provider's word on a plan's window.
#[derive(Clone, Debug)]
struct QuotaWord {
    beat: Beat,
    channel: Arc<str>,
    window: Arc<str>,
    used_ppm: i64,
}

/// A request that asks whether it may go, and what it is to be told.
#[derive(Clone, Debug)]
struct Asked {
    place: Place,
    at: Duration,
    whose: Whose,
    worst: Worst,
    /// For how long it is on its way, its worst case held.
    held: Duration,
    /// By which rule it is refused; `None` when it is admitted.
    refused_by: Option<Refuser>,
}

/// Who refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refuser {
    /// Any rule.
    Any,
    /// This one.
    Rule(Arc<str>),
}

/// What is expected at a moment.
#[derive(Clone, Debug)]
struct Expected {
    place: Place,
    at: Duration,
    /// By rule: every alert of it that is not inactive.
    alerts: BTreeMap<Arc<str>, Vec<ExpectedAlert>>,
    /// The channels that alerts hold closed; `None` when nothing is said of them.
    closed: Option<BTreeSet<Arc<str>>>,
}

/// An alert that is expected. What is `None` is not looked at.
#[derive(Clone, Debug)]
struct ExpectedAlert {
    labels: Labels,
    state: AlertState,
    severity: Option<Severity>,
    value: Option<Quantity>,
    /// The actions that were taken.
    actions: Option<BTreeSet<Arc<str>>>,
    /// The actions that were not, for the rule's mode or for another reason.
    withheld: Option<BTreeSet<Arc<str>>>,
}

/// What a test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The test.
    pub name: Arc<str>,
    /// What was not as expected, in the order of time; nothing when it passed.
    pub failures: Vec<TestFailure>,
}

/// Something was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure {
    /// Where that is written.
    pub place: Place,
    /// How long after the test's start.
    pub at: Duration,
    /// The moment.
    pub moment: UnixMicros,
    /// What should have been.
    pub expected: Vec<String>,
    /// What was.
    pub found: Vec<String>,
}

/// The place and the time on a line, then what was expected and what was found, a line each.
impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = humantime::format_duration(self.at);
        write!(
            f,
            "{}: after {at}, at {}",
            self.place,
            self.moment.timestamp()
        )?;
        for (what, lines) in [("expected", &self.expected), ("found", &self.found)] {
            for line in lines {
                write!(f, "\n    {what:<8}  {line}")?;
            }
            if lines.is_empty() {
                write!(f, "\n    {what:<8}  nothing")?;
            }
        }
        Ok(())
    }
}
