//! Requests to record.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{
    Admission, Api, Attempt, Cost, Deferral, ErrorSource, Estimate, Outcome, Phase, Phases,
    RequestId, RequestRecord, Source, TokenType, Tokens, Unit, Units, Usage, UsageSource, Worst,
};

/// 2026-11-20T10:00:00Z.
pub(crate) const START: UnixMicros = UnixMicros(1_795_168_800_000_000);

/// An ordinary streamed chat request, the `n`th.
pub(crate) fn admission(n: u64) -> Admission {
    Admission {
        id: RequestId::generate(),
        started_at: UnixMicros(START.0 + i64::try_from(n).unwrap() * 1_000),
        channel: Some("openai".into()),
        key: Some("team-a".into()),
        api: Api::Chat,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        requested_model: Some("gpt-5-mini".into()),
        stream: Some(true),
        request_bytes: 512,
        session: None,
        end_user: None,
        tags: BTreeMap::new(),
        billable: true,
        worst: None,
        interrupted_cost: None,
    }
}

/// How an ordinary request ended.
pub(crate) fn record(admission: Admission) -> RequestRecord {
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(100);
    tokens[TokenType::Output] = Some(20);
    let mut phases = Phases::default();
    phases[Phase::Total] = Some(1_500_000);
    phases[Phase::FirstToken] = Some(300_000);
    RequestRecord {
        served_model: Some("gpt-5-mini-2025-08-07".into()),
        service_tier: Some("default".into()),
        status: Some(200),
        outcome: Outcome::Ok,
        error_source: None,
        error_code: None,
        error_message: None,
        attempts: vec![Attempt {
            channel: "openai".into(),
            started_at: admission.started_at,
            outcome: Outcome::Ok,
            status: Some(200),
            error_code: None,
            connect_us: Some(900),
            wait_us: Some(250_000),
        }],
        usage: Usage {
            tokens,
            units: Units::NONE,
            total: Some(120),
            source: UsageSource::Reported,
        },
        cost: Some(Cost {
            amount: NanoUsd(65_000),
            price_version: "2026-11-01".into(),
        }),
        phases,
        response_bytes: 4_096,
        upstream_request_id: Some("req_0123456789abcdef".into()),
        source: Source::Proxy,
        response_id: None,
        deferral: None,
        estimate: None,
        delivered_output_tokens: None,
        upstream_bytes: None,
        priced_at: None,
        assumed_cost: None,
        admission,
    }
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

fn some_text() -> impl Strategy<Value = Option<Arc<str>>> {
    proptest::option::of(text())
}

/// Few names, so that requests share roll-ups.
fn name() -> impl Strategy<Value = Option<Arc<str>>> {
    select(vec![None, Some(""), Some("a"), Some("b"), Some("ü—")])
        .prop_map(|name| name.map(Arc::from))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..1_000_000_u64]
}

fn some_number() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(number())
}

/// Any admission, within three hours.
pub(super) fn any_admission() -> impl Strategy<Value = Admission> {
    (
        (0..10_800_000_000_i64, name(), name(), select(Api::ALL)),
        (text(), text(), name(), any::<Option<bool>>(), number()),
        (
            some_text(),
            some_text(),
            proptest::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..3),
        ),
        (any::<bool>(), any_worst(), some_money()),
    )
        .prop_map(
            |((after, channel, key, api), request, (session, end_user, tags), rules)| {
                let (billable, worst, interrupted_cost) = rules;
                let (method, path, requested_model, stream, request_bytes) = request;
                Admission {
                    id: RequestId::generate(),
                    started_at: UnixMicros(START.0 + after),
                    channel,
                    key,
                    api,
                    method,
                    path,
                    requested_model,
                    stream,
                    request_bytes,
                    session,
                    end_user,
                    tags,
                    billable,
                    worst,
                    interrupted_cost,
                }
            },
        )
}

fn any_worst() -> impl Strategy<Value = Option<Worst>> {
    let stated = proptest::option::of((some_money(), some_money(), some_number()));
    stated.prop_map(|worst| {
        worst.map(|(cost, input_cost, input_tokens)| Worst {
            cost,
            input_cost,
            input_tokens,
            output_tokens: input_tokens,
        })
    })
}

fn some_money() -> impl Strategy<Value = Option<NanoUsd>> {
    some_number().prop_map(|amount| amount.map(|amount| NanoUsd(i64::try_from(amount).unwrap())))
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    (
        (text(), any::<i64>(), select(Outcome::ALL)),
        (
            any::<Option<u16>>(),
            some_text(),
            some_number(),
            some_number(),
        ),
    )
        .prop_map(
            |((channel, at, outcome), (status, error_code, connect_us, wait_us))| Attempt {
                channel,
                started_at: UnixMicros(at),
                outcome,
                status,
                error_code,
                connect_us,
                wait_us,
            },
        )
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (
        proptest::collection::vec(some_number(), TokenType::ALL.len()),
        proptest::collection::vec(some_number(), Unit::ALL.len()),
        some_number(),
        select(UsageSource::ALL),
    )
        .prop_map(|(counts, units, total, source)| {
            let mut tokens = Tokens::default();
            let mut all_units = Units::default();
            for (&unit, count) in Unit::ALL.iter().zip(units) {
                all_units[unit] = count;
            }
            for (&kind, count) in TokenType::ALL.iter().zip(counts) {
                tokens[kind] = count;
            }
            Usage {
                tokens,
                units: all_units,
                total,
                source,
            }
        })
}

fn any_phases() -> impl Strategy<Value = Phases> {
    // Some over minutes.
    let duration = prop_oneof![4 => some_number(), 1 => (0..400_000_000_u64).prop_map(Some)];
    proptest::collection::vec(duration, Phase::ALL.len()).prop_map(|durations| {
        let mut phases = Phases::default();
        for (&phase, us) in Phase::ALL.iter().zip(durations) {
            phases[phase] = us;
        }
        phases
    })
}

fn any_cost() -> impl Strategy<Value = Option<Cost>> {
    proptest::option::of((number(), text()).prop_map(|(amount, price_version)| Cost {
        amount: NanoUsd(i64::try_from(amount).unwrap()),
        price_version,
    }))
}

fn any_estimate() -> impl Strategy<Value = Option<Estimate>> {
    let stated = proptest::option::of((number(), some_number(), any_cost()));
    stated.prop_map(|estimate| {
        estimate.map(|(input, output_tokens, cost)| Estimate {
            input_tokens: Some(input),
            output_tokens,
            cost: cost.map(|cost| cost.amount),
        })
    })
}

/// Any record.
pub(crate) fn any_record() -> impl Strategy<Value = RequestRecord> {
    (
        (any_admission(), name(), some_text(), any::<Option<u16>>()),
        (
            select(Outcome::ALL),
            proptest::option::of(select(ErrorSource::ALL)),
            some_text(),
            some_text(),
        ),
        (
            proptest::collection::vec(any_attempt(), 0..3),
            any_usage(),
            any_cost(),
            any_phases(),
        ),
        (number(), some_text()),
        (
            some_text(),
            // What settles is judged by what was opened: that has tests of its own.
            proptest::option::of(Just(Deferral::Opened)),
            any_estimate(),
            some_number(),
            (
                some_number(),
                proptest::option::of(any::<i64>().prop_map(UnixMicros)),
                some_money(),
            ),
        ),
    )
        .prop_map(
            |(request, ending, account, (response_bytes, upstream_request_id), billing)| {
                let (
                    response_id,
                    deferral,
                    estimate,
                    delivered_output_tokens,
                    (upstream_bytes, priced_at, assumed_cost),
                ) = billing;
                let (admission, served_model, service_tier, status) = request;
                let (outcome, error_source, error_code, error_message) = ending;
                let (attempts, usage, cost, phases) = account;
                RequestRecord {
                    admission,
                    served_model,
                    service_tier,
                    status,
                    outcome,
                    error_source,
                    error_code,
                    error_message,
                    attempts,
                    usage,
                    cost,
                    phases,
                    response_bytes,
                    upstream_request_id,
                    source: Source::Proxy,
                    response_id,
                    deferral,
                    estimate,
                    delivered_output_tokens,
                    upstream_bytes,
                    priced_at,
                    assumed_cost,
                }
            },
        )
}
