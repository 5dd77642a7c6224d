//! Fills a ledger with made-up requests, through the journal and the writer as Tollgate itself does.
//!
//! `fill_ledger FOLDER REQUESTS DAYS`: so many requests, spread over the days until now with more by
//! day than by night. Some names are rare on purpose (one request in 50,000 and in 1,000,000), for
//! what is rare is what a listing has to look for longest. `scripts/bench-dashboards` uses it.

#![allow(
    clippy::print_stdout,
    reason = "a program that prints how far it has come"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tollgate::clock::UnixMicros;
use tollgate::ledger::{Closed, Ledger, Settings, Takeover};
use tollgate::money::NanoUsd;
use tollgate::record::{
    Admission, Api, Attempt, Cost, ErrorSource, Outcome, Phase, Phases, RequestId, RequestRecord,
    Source, TokenType, Tokens, Units, Usage, UsageSource,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOUR_US: i64 = 3_600_000_000;
/// Requests between two lines of the report; the writer catches up at each.
const STEP: usize = 100_000;
const USAGE: &str = "usage: fill_ledger FOLDER REQUESTS DAYS";

/// Channels with their shares in a million.
const CHANNELS: &[(&str, u64)] = &[
    ("openai", 640_000),
    ("azure-eu", 230_000),
    ("anthropic", 100_000),
    ("gemini", 29_979),
    ("rare-channel", 20),
    ("once-channel", 1),
];
/// The models of the channels, in their order.
const MODELS: &[&[(&str, Api)]] = &[
    &[
        ("gpt-5-mini-2025-08-07", Api::Chat),
        ("gpt-5-2025-08-07", Api::Responses),
        ("text-embedding-3-large", Api::Embeddings),
    ],
    &[
        ("gpt-5-mini-2025-08-07", Api::Chat),
        ("gpt-4.1-2025-04-14", Api::Chat),
    ],
    &[
        ("claude-opus-4-5", Api::Messages),
        ("claude-haiku-4-5", Api::Messages),
    ],
    &[("gemini-2.5-pro", Api::Gemini)],
    &[("rare-model", Api::Chat)],
    &[("once-model", Api::Chat)],
];
/// Keys with their shares in a million.
const KEYS: &[(&str, u64)] = &[
    ("team-search", 420_000),
    ("team-support", 260_000),
    ("ci", 150_000),
    ("team-data", 90_000),
    ("intern-laptop", 50_000),
    ("nightly", 29_980),
    ("rare-key", 20),
];
/// How requests end, with shares in a million.
const OUTCOMES: &[(Outcome, u64)] = &[
    (Outcome::Ok, 968_000),
    (Outcome::ClientClosed, 12_000),
    (Outcome::RateLimited, 9_000),
    (Outcome::UpstreamError, 6_900),
    (Outcome::Timeout, 3_000),
    (Outcome::Blocked, 1_000),
    (Outcome::ConnectError, 98),
    (Outcome::QuotaExhausted, 2),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, requests, days] = arguments.as_slice() else {
        anyhow::bail!(USAGE);
    };
    let requests: usize = requests.parse().context(USAGE)?;
    let days: i64 = days.parse().context(USAGE)?;
    ensure!(days > 0, USAGE);
    let mut settings = Settings::new(folder);
    settings.retention = None;
    let ledger = Ledger::open(&settings, Takeover::Refuse)?;
    let journal = ledger.journal();
    let mut traffic = Traffic::new();
    let began = Instant::now();
    for (done, started_at) in moments(UnixMicros::now(), days, requests).enumerate() {
        let record = traffic.request(started_at);
        journal.admit(&record.admission);
        journal.end(&record);
        if (done + 1).is_multiple_of(STEP) {
            ensure!(ledger.flush(Duration::from_secs(600)), "the writer hangs");
            println!("{} requests, {:.0?}", done + 1, began.elapsed());
        }
    }
    let closed = ledger.close(Duration::from_secs(600));
    ensure!(
        closed == Closed::Complete,
        "the ledger was not written whole"
    );
    Ok(())
}

/// The moments at which requests start: `requests` of them in `days` until `now`, in order.
fn moments(now: UnixMicros, days: i64, requests: usize) -> impl Iterator<Item = UnixMicros> {
    let hours = days * 24;
    let first = now.0 - hours * HOUR_US;
    let weight = move |hour: i64| match (first / HOUR_US + hour).rem_euclid(24) {
        0..6 => 1_usize,
        6..9 | 20..24 => 2,
        _ => 4,
    };
    let all: usize = (0..hours).map(weight).sum();
    let mut before = 0;
    (0..hours).flat_map(move |hour| {
        let from = requests * before / all;
        before += weight(hour);
        let count = requests * before / all - from;
        let begin = first + hour * HOUR_US;
        (0..count).map(move |n| {
            let share = i64::try_from(n).unwrap_or(0) * HOUR_US / i64::try_from(count).unwrap_or(1);
            UnixMicros(begin + share)
        })
    })
}

/// Makes requests. The same ones every time, but for their ids and moments.
struct Traffic {
    state: u64,
    openai_request: Arc<str>,
    names: BTreeMap<&'static str, Arc<str>>,
    sessions: Vec<(Arc<str>, u64)>,
}

impl Traffic {
    fn new() -> Self {
        Self {
            state: 7,
            openai_request: "req_0123456789abcdef0123456789abcdef".into(),
            names: BTreeMap::new(),
            sessions: vec![("session-0000".into(), 0); 40],
        }
    }

    /// The next number below `bound` (`SplitMix64`).
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One of `choices`, by their shares, and its place among them.
    fn one_of<T: Copy>(&mut self, choices: &[(T, u64)]) -> (usize, T) {
        let mut left = self.below(choices.iter().map(|(_, share)| share).sum());
        for (place, &(choice, share)) in choices.iter().enumerate() {
            match left.checked_sub(share) {
                Some(more) => left = more,
                None => return (place, choice),
            }
        }
        (0, choices[0].0)
    }

    fn name(&mut self, name: &'static str) -> Arc<str> {
        Arc::clone(self.names.entry(name).or_insert_with(|| name.into()))
    }

    /// The session of the next request; six in ten have one, of some twelve requests.
    fn session(&mut self, started_at: UnixMicros) -> Option<Arc<str>> {
        if self.below(10) >= 6 {
            return None;
        }
        let place = usize::try_from(self.below(self.sessions.len() as u64)).unwrap_or(0);
        if self.sessions[place].1 == 0 {
            let id = RequestId::generate_at(started_at).to_string().into();
            self.sessions[place] = (id, 1 + self.below(24));
        }
        self.sessions[place].1 -= 1;
        Some(Arc::clone(&self.sessions[place].0))
    }

    fn request(&mut self, started_at: UnixMicros) -> RequestRecord {
        let (place, channel) = self.one_of(CHANNELS);
        let models = MODELS[place];
        let (model, api) = models[usize::try_from(self.below(models.len() as u64)).unwrap_or(0)];
        let (_, key) = self.one_of(KEYS);
        let (_, outcome) = self.one_of(OUTCOMES);
        let (channel, model, key) = (self.name(channel), self.name(model), self.name(key));
        // Durations that spread over three orders of magnitude, as those of models do.
        let octave = self.below(11);
        let total = (50_000 << octave) + self.below(50_000 << octave);
        let session = self.session(started_at);
        let answered = matches!(outcome, Outcome::Ok | Outcome::ClientClosed);
        let (usage, cost) = self.usage(answered);
        let mut phases = Phases::default();
        phases[Phase::ReadRequest] = Some(200 + self.below(400));
        phases[Phase::Admit] = Some(20 + self.below(30));
        phases[Phase::Connect] = Some(self.below(20) / 19 * 30_000);
        phases[Phase::Wait] = Some(total / 3);
        phases[Phase::FirstByte] = Some(300);
        phases[Phase::FirstToken] = answered.then_some(total / 2);
        phases[Phase::Stream] = Some(total / 2);
        phases[Phase::Total] = Some(total);
        phases[Phase::Overhead] = Some(250 + self.below(200));
        let (status, error_source, error_code) = match outcome {
            Outcome::Ok | Outcome::ClientClosed => (200, None, None),
            Outcome::RateLimited => (429, Some(ErrorSource::Upstream), Some("rate_limited")),
            Outcome::Timeout => (504, Some(ErrorSource::Upstream), Some("upstream_timeout")),
            Outcome::Blocked => (429, Some(ErrorSource::Internal), Some("budget_exceeded")),
            Outcome::ConnectError => (502, Some(ErrorSource::Upstream), Some("connect_error")),
            _ => (500, Some(ErrorSource::Upstream), Some("server_error")),
        };
        RequestRecord {
            admission: Admission {
                id: RequestId::generate_at(started_at),
                started_at,
                channel: Some(Arc::clone(&channel)),
                key: Some(key),
                api,
                method: self.name("POST"),
                path: self.name("/v1/chat/completions"),
                requested_model: Some(Arc::clone(&model)),
                stream: Some(true),
                request_bytes: 5_120 + self.below(40_000),
                session,
                end_user: None,
                tags: BTreeMap::from([("project".to_owned(), "search".to_owned())]),
                billable: true,
                worst: None,
                interrupted_cost: None,
            },
            served_model: answered.then_some(model),
            service_tier: Some(self.name("default")),
            status: Some(status),
            outcome,
            error_source,
            error_code: error_code.map(|code| self.name(code)),
            error_message: error_code.map(|_| self.name("what the provider said of it")),
            attempts: vec![Attempt {
                channel,
                started_at,
                outcome,
                status: Some(status),
                error_code: error_code.map(|code| self.name(code)),
                connect_us: phases[Phase::Connect],
                wait_us: phases[Phase::Wait],
            }],
            usage,
            cost,
            phases,
            response_bytes: 2_000 + self.below(60_000),
            upstream_request_id: Some(Arc::clone(&self.openai_request)),
            source: Source::Proxy,
            response_id: None,
            deferral: None,
            estimate: None,
            delivered_output_tokens: None,
            upstream_bytes: None,
            priced_at: None,
            assumed_cost: None,
        }
    }

    fn usage(&mut self, answered: bool) -> (Usage, Option<Cost>) {
        let source = match self.below(10_000) {
            _ if !answered => return (Usage::absent(UsageSource::None), None),
            0..5 => return (Usage::absent(UsageSource::Missing), None),
            5..100 => UsageSource::Estimated,
            _ => UsageSource::Reported,
        };
        let mut tokens = Tokens::default();
        tokens[TokenType::Input] = Some(200 + self.below(3_000));
        tokens[TokenType::InputCached] = Some(self.below(8) * 1_024);
        tokens[TokenType::Output] = Some(20 + self.below(900));
        tokens[TokenType::Reasoning] = Some(self.below(600));
        let usage = Usage {
            tokens,
            units: Units::NONE,
            total: tokens.sum(),
            source,
        };
        let priced = self.below(100_000) > 2;
        let cost = Cost {
            amount: NanoUsd(i64::try_from(self.below(40_000_000)).unwrap_or(0)),
            price_version: self.name("builtin-2026-11:gpt-5-mini"),
        };
        (usage, priced.then_some(cost))
    }
}
