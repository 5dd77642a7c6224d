//! Fills a ledger with a made-up past: what `make demo` shows before its own traffic begins.
//!
//! `past_traffic DATA_DIR DAYS PER_DAY PER_MINUTE`: so many days up to now, about so many requests on a working day
//! (fewer at night and at weekends), and so many a minute in the last hour. The rows go through Tollgate's own journal
//! and writer, and their costs come from the prices that it ships. The folder must have no running Tollgate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use tollgate::clock::UnixMicros;
use tollgate::ledger::{Closed, Journal, Ledger, Settings, Takeover};
use tollgate::pricing::PriceTable;
use tollgate::record::{
    Admission, Api, Attempt, ErrorSource, Outcome, Phase, Phases, RequestId, RequestRecord, Source,
    TokenType, Tokens, Units, Usage, UsageSource,
};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Requests between two looks at whether the writer keeps up.
const BATCH: u64 = 5_000;

/// Who asks, for what, how large, of 100 requests how many. The demo's own traffic has the same.
const CLIENTS: [Client; 5] = [
    Client::new("web", "shop", "gpt-5.4-mini", (2_400, 280), 38),
    Client::new("mobile", "shop", "gpt-5.4-mini", (1_600, 180), 22),
    Client::new("agents", "support", "gpt-5.4", (9_000, 700), 20),
    Client::new("evals", "research", "gpt-5.4", (3_000, 500), 8),
    Client::new("search", "search", "text-embedding-3-small", (2_000, 0), 12),
];

struct Client {
    key: &'static str,
    project: &'static str,
    model: &'static str,
    tokens: (u64, u64),
    share: u64,
}

impl Client {
    const fn new(
        key: &'static str,
        project: &'static str,
        model: &'static str,
        tokens: (u64, u64),
        share: u64,
    ) -> Self {
        Self {
            key,
            project,
            model,
            tokens,
            share,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let mut given = std::env::args().skip(1);
    let mut next = |name: &str| given.next().with_context(|| format!("{name} is missing"));
    let folder = PathBuf::from(next("DATA_DIR")?);
    let days: i64 = next("DAYS")?.parse()?;
    let per_day: f64 = next("PER_DAY")?.parse()?;
    let per_minute: f64 = next("PER_MINUTE")?.parse()?;

    let ledger = Ledger::open(&Settings::new(&folder), Takeover::Refuse)?;
    let journal = ledger.journal();
    let prices = PriceTable::builtin();
    let mut chance = Chance(0x7011_6a7e);
    let now = UnixMicros::now().0;
    let mut at = now - days * DAY;
    let mut written = 0;
    while at < now {
        let last_hour = now - HOUR;
        at = if at < last_hour {
            let rate = per_day / 1_440.0 * shape(at) * growth(now - at);
            // A long wait at night ends where the last hour begins.
            (at + gap(rate, &mut chance)).min(last_hour)
        } else {
            at + gap(per_minute, &mut chance)
        };
        // What is on its way at the end is the demo's own.
        if at > now - MINUTE / 2 {
            break;
        }
        append(&journal, &prices, &mut chance, at);
        written += 1;
        if written % BATCH == 0 {
            ensure!(
                ledger.flush(Duration::from_secs(120)),
                "the ledger does not commit"
            );
        }
    }
    ensure!(
        ledger.close(Duration::from_secs(120)) == Closed::Complete,
        "the ledger does not close"
    );
    Ok(())
}

/// There is more from week to week: how much of today's there was so long ago.
fn growth(ago: i64) -> f64 {
    1.3 / (1.0 + to_float(ago) / to_float(120 * DAY))
}

/// How busy a moment is: working hours and working days more.
fn shape(at: i64) -> f64 {
    let hour = to_float(at.rem_euclid(DAY)) / to_float(HOUR);
    let day_of_week = (at.div_euclid(DAY) + 3).rem_euclid(7);
    let weekend = if day_of_week >= 5 { 0.35 } else { 1.0 };
    let daylight = 1.0 - ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
    weekend * (2.1 - daylight).max(0.1)
}

/// Microseconds to the next request at `rate` requests a minute.
fn gap(rate: f64, chance: &mut Chance) -> i64 {
    let wait = -(1.0 - chance.share()).ln() / rate.max(1e-3) * 60.0;
    i64::try_from(Duration::from_secs_f64(wait.clamp(0.001, 3_600.0)).as_micros()).unwrap_or(HOUR)
}

fn append(journal: &Journal, prices: &PriceTable, chance: &mut Chance, at: i64) {
    let mut drawn = chance.below(100);
    let client = CLIENTS
        .iter()
        .find(|client| {
            let found = drawn < client.share;
            drawn = drawn.saturating_sub(client.share);
            found
        })
        .unwrap_or(&CLIENTS[0]);
    let channel = if chance.below(5) < 3 {
        "openai-main"
    } else {
        "openai-eu"
    };
    let failure = match chance.below(1_000) {
        0..3 => Some((
            Outcome::RateLimited,
            429,
            "rate_limit_exceeded",
            "Rate limit reached",
        )),
        3..5 => Some((
            Outcome::UpstreamError,
            503,
            "server_error",
            "The server is overloaded",
        )),
        _ => None,
    };
    let record = request(client, channel, failure, prices, chance, UnixMicros(at));
    journal.admit(&record.admission);
    journal.end(&record);
}

type Failure = (Outcome, u16, &'static str, &'static str);

fn request(
    client: &Client,
    channel: &str,
    failure: Option<Failure>,
    prices: &PriceTable,
    chance: &mut Chance,
    started_at: UnixMicros,
) -> RequestRecord {
    let embeddings = client.tokens.1 == 0;
    let outcome = failure.map_or(Outcome::Ok, |(outcome, ..)| outcome);
    let usage = if failure.is_some() {
        Usage {
            tokens: Tokens::default(),
            units: Units::NONE,
            total: None,
            source: UsageSource::None,
        }
    } else {
        usage(client, chance)
    };
    let output = usage.tokens[TokenType::Output].unwrap_or(0);
    let wait = 180_000 + chance.below(220_000);
    let total = wait
        + if failure.is_some() {
            2_000
        } else {
            output * 11_000
        };
    let mut phases = Phases::default();
    phases[Phase::ReadRequest] = Some(200 + chance.below(400));
    phases[Phase::Admit] = Some(60 + chance.below(80));
    phases[Phase::Wait] = Some(wait);
    phases[Phase::FirstByte] = Some(80);
    phases[Phase::FirstToken] = (failure.is_none() && !embeddings).then_some(wait + 1_500);
    phases[Phase::Stream] = (failure.is_none()).then_some(total - wait);
    phases[Phase::Total] = Some(total + 900);
    phases[Phase::Overhead] = Some(250 + chance.below(400));
    let cost = match failure {
        Some(_) => None,
        None => prices.price(client.model, None, &usage, started_at),
    };
    RequestRecord {
        admission: Admission {
            id: RequestId::generate_at(started_at),
            started_at,
            channel: Some(channel.into()),
            key: Some(client.key.into()),
            api: if embeddings {
                Api::Embeddings
            } else {
                Api::Chat
            },
            method: "POST".into(),
            path: if embeddings {
                "/v1/embeddings"
            } else {
                "/v1/chat/completions"
            }
            .into(),
            requested_model: Some(client.model.into()),
            stream: Some(!embeddings),
            request_bytes: client.tokens.0 * 4,
            session: None,
            end_user: None,
            tags: BTreeMap::from([("project".to_owned(), client.project.to_owned())]),
            billable: true,
            worst: None,
            interrupted_cost: None,
        },
        served_model: Some(client.model.into()),
        service_tier: None,
        status: Some(failure.map_or(200, |(_, status, ..)| status)),
        outcome,
        error_source: failure.map(|_| ErrorSource::Upstream),
        error_code: failure.map(|(_, _, code, _)| code.into()),
        error_message: failure.map(|(.., message)| message.into()),
        attempts: vec![Attempt {
            channel: channel.into(),
            started_at,
            outcome,
            status: Some(failure.map_or(200, |(_, status, ..)| status)),
            error_code: failure.map(|(_, _, code, _)| code.into()),
            connect_us: None,
            wait_us: Some(wait),
        }],
        response_bytes: 400 + output * 180,
        usage,
        cost,
        phases,
        upstream_request_id: None,
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

/// Around the client's usual size; two thirds of the input come from the provider's cache.
fn usage(client: &Client, chance: &mut Chance) -> Usage {
    let (input, output) = client.tokens;
    let spread = |usual: u64, chance: &mut Chance| usual / 2 + chance.below(usual.max(1));
    let input = spread(input, chance);
    let mut tokens = Tokens::default();
    if output == 0 {
        tokens[TokenType::Input] = Some(input);
    } else {
        let cached = if chance.below(3) < 2 {
            input * 3 / 4 / 128 * 128
        } else {
            0
        };
        tokens[TokenType::Input] = Some(input - cached);
        tokens[TokenType::InputCached] = Some(cached);
        tokens[TokenType::Output] = Some(spread(output, chance));
    }
    Usage {
        total: tokens.sum(),
        tokens,
        units: Units::NONE,
        source: UsageSource::Reported,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a day and numbers of weeks are small"
)]
fn to_float(number: i64) -> f64 {
    number as f64
}

/// Chance that is the same in every run (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 0 to below 1, in millionths.
    fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1_000_000)).unwrap_or(0)) / 1e6
    }
}
