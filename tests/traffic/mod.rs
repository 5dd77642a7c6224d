//! A ledger with known traffic in it.

pub(crate) mod rules;
pub(crate) mod told;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollgate::channel::{GateObserver, Registry};
use tollgate::clock::UnixMicros;
use tollgate::config::{BaseUrl, ChannelSettings, Settings as Configured};
use tollgate::ledger::{Journal, Ledger, Settings, Takeover};
use tollgate::money::NanoUsd;
use tollgate::record::{
    Admission, Api, Attempt, ChannelEvent, Cost, ErrorSource, Outcome, Phase, Phases, RequestId,
    RequestRecord, Source, TokenType, Tokens, Units, Usage, UsageSource,
};

/// When the first request starts, 2026-11-20T10:00:00Z; each next one a minute later.
pub(crate) const START: UnixMicros = UnixMicros(1_795_168_800_000_000);

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the ledger in `data_dir`, which keeps rows for ever.
pub(crate) fn open(data_dir: &Path) -> Ledger {
    let settings = Settings {
        retention: None,
        tick: Duration::from_millis(5),
        ..Settings::new(data_dir)
    };
    Ledger::open(&settings, Takeover::Refuse).unwrap()
}

/// Writes what happens to gates into a ledger's journal.
#[derive(Debug)]
struct Recorded(Arc<Journal>);

impl GateObserver for Recorded {
    fn changed(&self, event: &ChannelEvent) {
        self.0.gate_changed(event);
    }
}

/// The channels `openai` and `spare`, whose gates `ledger` records, and their settings.
pub(crate) fn channels(ledger: &Ledger) -> (Arc<Registry>, Vec<ChannelSettings>) {
    let channels = ["openai", "spare"].map(|name| ChannelSettings {
        name: name.into(),
        ..ChannelSettings::openai(BaseUrl::openai())
    });
    let settings = Configured {
        channels: channels.to_vec(),
        ..Configured::defaults(Path::new(""))
    };
    let registry = Registry::new(&settings, Arc::new(Recorded(ledger.journal()))).unwrap();
    (Arc::new(registry), settings.channels)
}

/// Records `requests` and waits until they are in the database.
pub(crate) fn record(ledger: &Ledger, requests: &[RequestRecord]) {
    for request in requests {
        ledger.journal().end(request);
    }
    assert!(ledger.flush(PATIENCE), "the ledger does not commit");
}

/// The id of request `n`.
pub(crate) fn id(n: u64) -> RequestId {
    format!("019aa0b0-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// A plain request `n`: chat, gpt-5-mini through `openai`, 1,000 tokens in and 50 out, $0.00035.
pub(crate) fn plain(n: u64) -> RequestRecord {
    let started_at = UnixMicros(START.0 + i64::try_from(n).unwrap() * 60_000_000);
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(1_000);
    tokens[TokenType::Output] = Some(50);
    let mut phases = Phases::default();
    for (phase, us) in [
        (Phase::ReadRequest, 120),
        (Phase::Admit, 45),
        (Phase::Connect, 12_000),
        (Phase::Wait, 300_000),
        (Phase::FirstByte, 800),
        (Phase::Stream, 90_000),
        (Phase::Total, 403_000),
        (Phase::Overhead, 95),
    ] {
        phases[phase] = Some(us);
    }
    RequestRecord {
        admission: Admission {
            id: id(n),
            started_at,
            channel: Some("openai".into()),
            key: None,
            api: Api::Chat,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            requested_model: Some("gpt-5-mini".into()),
            stream: Some(false),
            request_bytes: 2_048,
            session: None,
            end_user: None,
            tags: BTreeMap::new(),
            billable: true,
            worst: None,
            interrupted_cost: None,
        },
        served_model: Some("gpt-5-mini".into()),
        service_tier: None,
        status: Some(200),
        outcome: Outcome::Ok,
        error_source: None,
        error_code: None,
        error_message: None,
        attempts: vec![attempt("openai", started_at, Outcome::Ok, 200)],
        usage: Usage {
            tokens,
            units: Units::NONE,
            total: Some(1_050),
            source: UsageSource::Reported,
        },
        cost: Some(Cost {
            amount: NanoUsd(350_000),
            price_version: "test/1".into(),
        }),
        phases,
        response_bytes: 4_096,
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

pub(crate) fn attempt(
    channel: &str,
    started_at: UnixMicros,
    outcome: Outcome,
    status: u16,
) -> Attempt {
    Attempt {
        channel: channel.into(),
        started_at,
        outcome,
        status: Some(status),
        error_code: None,
        connect_us: Some(12_000),
        wait_us: Some(300_000),
    }
}

/// One of each kind that reads differently: rich, unpriced, refused upstream, without usage, and
/// with a model's name that a spreadsheet and a terminal would take for commands.
pub(crate) fn mixed() -> Vec<RequestRecord> {
    vec![
        rich(),
        unpriced(),
        rate_limited(),
        without_usage(),
        hostile(),
    ]
}

fn rich() -> RequestRecord {
    let mut rich = plain(0);
    rich.admission.key = Some("team-a".into());
    rich.admission.stream = Some(true);
    rich.admission.session = Some("0199-session".into());
    rich.admission.end_user = Some("alice".into());
    rich.admission.tags = [
        ("project".to_owned(), "apollo".to_owned()),
        ("team".to_owned(), "blue, \"x\"".to_owned()),
    ]
    .into();
    rich.admission.requested_model = Some("gpt-5".into());
    rich.served_model = Some("gpt-5-2025-08-07".into());
    rich.service_tier = Some("default".into());
    rich.upstream_request_id = Some("req_abc".into());
    rich.usage.tokens[TokenType::InputCached] = Some(234_567);
    rich.usage.tokens[TokenType::Reasoning] = Some(640);
    rich.usage.total = Some(236_257);
    rich.cost = Some(Cost {
        amount: NanoUsd(37_470_875),
        price_version: "test/1".into(),
    });
    rich.phases[Phase::Connect] = Some(25_000);
    rich.phases[Phase::Wait] = Some(1_200_000);
    rich.phases[Phase::FirstToken] = Some(1_450_000);
    rich.phases[Phase::Stream] = Some(2_600_000);
    rich.phases[Phase::Total] = Some(3_900_000);
    rich.attempts = vec![
        Attempt {
            error_code: Some("overloaded".into()),
            ..attempt("azure", START, Outcome::UpstreamError, 503)
        },
        attempt(
            "openai",
            START.plus(Duration::from_secs(1)),
            Outcome::Ok,
            200,
        ),
    ];
    rich
}

fn unpriced() -> RequestRecord {
    let mut unpriced = plain(1);
    unpriced.admission.api = Api::Responses;
    unpriced.admission.path = "/v1/responses".into();
    unpriced.admission.requested_model = Some("mystery-1".into());
    unpriced.served_model = Some("mystery-1".into());
    unpriced.cost = None;
    unpriced
}

fn rate_limited() -> RequestRecord {
    let mut limited = plain(2);
    limited.admission.channel = Some("azure".into());
    limited.served_model = None;
    limited.status = Some(429);
    limited.outcome = Outcome::RateLimited;
    limited.error_source = Some(ErrorSource::Upstream);
    limited.error_code = Some("rate_limit_exceeded".into());
    limited.error_message = Some("slow down\u{1b}[2J".into());
    limited.usage = Usage::absent(UsageSource::None);
    limited.cost = None;
    limited.phases = Phases::default();
    limited.phases[Phase::Total] = Some(52_000);
    limited.attempts[0] = Attempt {
        error_code: Some(Arc::from("rate_limit_exceeded")),
        wait_us: None,
        ..attempt(
            "azure",
            limited.admission.started_at,
            Outcome::RateLimited,
            429,
        )
    };
    limited
}

fn without_usage() -> RequestRecord {
    let mut without = plain(3);
    without.admission.api = Api::Embeddings;
    without.admission.path = "/v1/embeddings".into();
    without.admission.requested_model = Some("text-embedding-3-small".into());
    without.served_model = Some("text-embedding-3-small".into());
    without.usage = Usage::absent(UsageSource::Missing);
    without.cost = None;
    without
}

fn hostile() -> RequestRecord {
    let mut hostile = plain(4);
    hostile.admission.requested_model = Some("=HYPERLINK(\"http://x\",\"\u{1b}[31m\")".into());
    hostile.served_model = None;
    hostile.cost = None;
    hostile
}
