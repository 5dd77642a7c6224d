//! What requests cost: examples worked out by hand, and what holds for any of them.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod catalogue;
mod dearest;
mod fees;
mod files;
mod names;
mod properties;
mod successors;

use tollgate::clock::UnixMicros;
use tollgate::money::NanoUsd;
use tollgate::pricing::{PriceRow, PriceTable, Rate, Rates, Tier};
use tollgate::record::TokenType::{
    Input, InputAudio, InputCacheWrite, InputCached, Output, OutputAudio, OutputImage, Reasoning,
};
use tollgate::record::{Api, TokenType, Tokens, Unit, Units, Usage, UsageSource};

/// 2026-11-20T00:00:00Z
const TODAY: UnixMicros = UnixMicros(1_795_132_800_000_000);

fn usage(counts: &[(TokenType, u64)]) -> Usage {
    let mut tokens = Tokens::default();
    for &(kind, count) in counts {
        tokens[kind] = Some(count);
    }
    Usage {
        tokens,
        units: Units::NONE,
        total: tokens.sum(),
        source: UsageSource::Reported,
    }
}

/// The same with units.
fn with_units(counts: &[(TokenType, u64)], units: &[(Unit, u64)]) -> Usage {
    let mut usage = usage(counts);
    for &(unit, count) in units {
        usage.units[unit] = Some(count);
    }
    usage
}

/// A row of nobody's in particular.
fn row(model: &'static str, standard: Rates) -> PriceRow {
    PriceRow::new("", model, "this test", standard)
}

/// The built-in price in USD, as the API would state it.
fn usd_at(
    at: UnixMicros,
    model: &str,
    tier: Option<&str>,
    counts: &[(TokenType, u64)],
) -> Option<String> {
    PriceTable::builtin()
        .price(model, tier, &usage(counts), at)
        .map(|cost| cost.amount.to_string())
}

fn usd(model: &str, tier: Option<&str>, counts: &[(TokenType, u64)]) -> Option<String> {
    usd_at(TODAY, model, tier, counts)
}

const MILLION: u64 = 1_000_000;

/// USD per million tokens of input, cached input, cache writes and output. A dash is a rate that
/// nobody states, which is then the input's.
const STANDARD: &str = "
gpt-4o 2.5 1.25 - 10
gpt-4o-mini 0.15 0.075 - 0.6
gpt-4.1 2 0.5 - 8
gpt-4.1-mini 0.4 0.1 - 1.6
gpt-4.1-nano 0.1 0.025 - 0.4
gpt-5 1.25 0.125 - 10
gpt-5.1 1.25 0.125 - 10
gpt-5-mini 0.25 0.025 - 2
gpt-5-nano 0.05 0.005 - 0.4
gpt-5-pro 15 - - 120
gpt-5.2 1.75 0.175 - 14
gpt-5.3-codex 1.75 0.175 - 14
gpt-5.4 2.5 0.25 - 15
gpt-5.4-mini 0.75 0.075 - 4.5
gpt-5.4-nano 0.2 0.02 - 1.25
gpt-5.5 5 0.5 - 30
gpt-5.6-sol 4 0.4 5 20
gpt-5.6-terra 2 0.2 2.5 12
gpt-5.6-luna 0.2 0.02 0.25 1.2
gpt-6-astra 10 1 12.5 50
gpt-6-sol 2 0.2 2.5 10
gpt-6-luna 0.1 0.01 0.125 0.5
gpt-6.1-sol 2 0.1 2.5 10
gpt-6.1-terra 1 0.05 1.25 5
o1 15 7.5 - 60
o3 2 0.5 - 8
o3-pro 20 - - 80
o3-mini 1.1 0.55 - 4.4
o4-mini 1.1 0.275 - 4.4
";

#[test]
fn standard_rates_are_the_published_ones() {
    let mut models = 0;
    for line in STANDARD.trim().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [model, input, cached, write, output] = fields[..] else {
            panic!("{line}");
        };
        let stated = |rate: &str| {
            if rate == "-" {
                input.to_owned()
            } else {
                rate.to_owned()
            }
        };
        // 100,000 tokens stay below every threshold; ten times their cost is the rate.
        let rate = |kind| {
            let cost = usd(model, None, &[(kind, MILLION / 10)])?;
            Some(NanoUsd(cost.parse::<NanoUsd>().unwrap().0 * 10).to_string())
        };
        assert_eq!(rate(Input), Some(input.to_owned()), "{line}");
        assert_eq!(rate(InputCached), Some(stated(cached)), "{line}");
        assert_eq!(rate(InputCacheWrite), Some(stated(write)), "{line}");
        assert_eq!(rate(Output), Some(output.to_owned()), "{line}");
        assert_eq!(rate(Reasoning), Some(output.to_owned()), "{line}");
        models += 1;
    }
    assert_eq!(models, 29);
}

#[test]
fn a_request_is_the_sum_of_its_types() {
    // gpt-4o: 1,000 × 2.50 + 2,000 × 1.25 + 300 × 10 + 200 × 10, per million.
    let counts = [
        (Input, 1_000),
        (InputCached, 2_000),
        (Output, 300),
        (Reasoning, 200),
    ];
    assert_eq!(usd("gpt-4o", None, &counts).unwrap(), "0.01");
    // gpt-6-sol: 10 × 2 + 20 × 0.20 + 30 × 2.50 + 40 × 10, per million.
    let counts = [
        (Input, 10),
        (InputCached, 20),
        (InputCacheWrite, 30),
        (Output, 40),
    ];
    assert_eq!(usd("gpt-6-sol", None, &counts).unwrap(), "0.000499");
}

#[test]
fn embeddings_are_priced_by_input_alone() {
    for (model, price) in [
        ("text-embedding-3-small", "0.02"),
        ("text-embedding-3-large", "0.13"),
        ("text-embedding-ada-002", "0.1"),
        ("text-embedding-ada-002-v2", "0.1"),
    ] {
        assert_eq!(usd(model, None, &[(Input, MILLION)]).unwrap(), price);
        assert_eq!(
            usd(model, None, &[(Input, 1), (Output, 1)]),
            None,
            "no output rate"
        );
    }
}

#[test]
fn the_promotion_ends_with_its_last_day() {
    let counts = [
        (Input, 1_000),
        (InputCached, 1_000),
        (InputCacheWrite, 1_000),
        (Output, 1_000),
    ];
    let promotion = (4_000 + 400 + 5_000 + 20_000) * 1_000;
    let list = (5_000 + 500 + 6_250 + 30_000) * 1_000;
    for (at, nanos, since) in [
        // 2026-08-20T23:59:59.999999Z and the microsecond after it
        (1_787_270_399_999_999, list, ""),
        (1_787_270_400_000_000, promotion, "@2026-08-21"),
        // 2026-11-21T23:59:59.999999Z and the microsecond after it
        (1_795_305_599_999_999, promotion, "@2026-08-21"),
        (1_795_305_600_000_000, list, "@2026-11-22"),
    ] {
        for (model, rule) in [("gpt-5.6-sol", "exact"), ("gpt-5.6", "alias")] {
            let cost = PriceTable::builtin()
                .price(model, None, &usage(&counts), UnixMicros(at))
                .unwrap();
            assert_eq!(cost.amount, NanoUsd(nanos), "{at}");
            let version = format!("builtin-2026-11-20/openai/gpt-5.6-sol{since}:{rule}");
            assert_eq!(*cost.price_version, *version);
        }
    }
}

#[test]
fn past_the_threshold_the_whole_request_costs_more() {
    // gpt-5.4: 2.50 and 15, then 5 and 22.50 per million.
    let at = usd("gpt-5.4", None, &[(Input, 272_000), (Output, 1_000)]);
    assert_eq!(at.unwrap(), "0.695");
    let past = usd("gpt-5.4", None, &[(Input, 272_001), (Output, 1_000)]);
    assert_eq!(past.unwrap(), "1.382505");
    // Every input type counts towards it: 200,000 × 0.50 + 72,001 × 5.
    let cached = usd("gpt-5.4", None, &[(Input, 72_001), (InputCached, 200_000)]);
    assert_eq!(cached.unwrap(), "0.460005");
    // Output does not: 272,000 × 2.50 + 100,000 × 15.
    let output = usd("gpt-5.4", None, &[(Input, 272_000), (Output, 100_000)]);
    assert_eq!(output.unwrap(), "2.18");
    // Cache writes double as well: 272,001 × 2.50 × 2.
    let writes = usd("gpt-6-sol", None, &[(InputCacheWrite, 272_001)]);
    assert_eq!(writes.unwrap(), "1.360005");
    // A model without a threshold stays as it is.
    assert_eq!(usd("gpt-4.1", None, &[(Input, MILLION)]).unwrap(), "2");
}

#[test]
fn a_batch_is_many_requests_and_a_threshold_is_of_one() {
    let table = PriceTable::builtin();
    let batch = |model: &str, tokens| {
        let used = usage(&[(Input, tokens), (Output, 1_000)]);
        let (tier, api) = (Some("batch"), Api::Batches);
        let priced = table.price_row(api, model, tier, &used, TODAY);
        let explained = table.explain(api, model, tier, &used, TODAY).unwrap();
        assert_eq!(explained.cost.as_ref().ok(), priced.as_ref());
        let told = explained.cost.map(|cost| cost.amount.to_string());
        told.map_err(|reason| reason.to_string())
    };
    // None of them is longer than all: 272,000 × 1.25 + 1,000 × 7.50.
    assert_eq!(batch("gpt-5.4", 272_000).unwrap(), "0.3475");
    assert_eq!(
        batch("gpt-5.4", 272_001).unwrap_err(),
        "these are the tokens of several requests, together past 272000 input tokens: whether one \
         of them was past that is not known"
    );
    // 1,000,000 × 1 + 1,000 × 4, and no threshold.
    assert_eq!(batch("gpt-4.1", MILLION).unwrap(), "1.004");
}

#[test]
fn tiers_have_their_own_price() {
    let counts = [(Input, 10_000), (InputCached, 10_000), (Output, 1_000)];
    for (model, tier, expected) in [
        ("gpt-5.5", None, Some("0.085")),
        ("gpt-5.5", Some("default"), Some("0.085")),
        ("gpt-5.5", Some("auto"), Some("0.085")),
        ("gpt-5.5", Some("flex"), Some("0.0425")),
        ("gpt-5.5", Some("batch"), Some("0.0425")),
        ("gpt-5.5", Some("priority"), Some("0.2125")),
        ("gpt-5.5", Some("fast"), Some("0.2125")),
        ("gpt-5.4", Some("priority"), Some("0.085")),
        // Stated, and not double: 10,000 × 4.25 + 10,000 × 2.125 + 1,000 × 17.
        ("gpt-4o", Some("priority"), Some("0.08075")),
        ("gpt-6-astra", Some("ultrafast"), Some("0.96")),
        // Nobody states a price for these.
        ("gpt-5.5", Some("ultrafast"), None),
        ("gpt-5-nano", Some("priority"), None),
        ("gpt-5.5", Some("scale"), None),
        ("gpt-5.5", Some("platinum"), None),
        ("gpt-5.5", Some(""), None),
    ] {
        assert_eq!(
            usd(model, tier, &counts).as_deref(),
            expected,
            "{model} {tier:?}"
        );
    }
    // A tier and the threshold together: 300,000 × 2.50 × 2 ÷ 2.
    let both = usd("gpt-5.4", Some("flex"), &[(Input, 300_000)]);
    assert_eq!(both.unwrap(), "0.75");
}

#[test]
fn rounding_happens_once_and_half_goes_up() {
    // gpt-5-nano cached: 5 nano-dollars a token, 2.5 in flex.
    for (count, nanos) in [(1, 3), (2, 5), (3, 8)] {
        let counts = usage(&[(InputCached, count)]);
        let cost = PriceTable::builtin().price("gpt-5-nano", Some("flex"), &counts, TODAY);
        assert_eq!(cost.unwrap().amount, NanoUsd(nanos));
    }
    // Two types at 2.5 nano-dollars make 5: rounded apart they would make 6.
    let row = row(
        "any",
        Rates::text(Rate(2_500_000), None, None, Some(Rate(2_500_000))),
    );
    let usage = usage(&[(Input, 1), (Output, 1)]);
    assert_eq!(row.amount(Tier::Standard, &usage), Some(NanoUsd(5)));
}

#[test]
fn unknown_is_not_zero_and_zero_is_not_unknown() {
    let table = PriceTable::builtin();
    for source in [UsageSource::Missing, UsageSource::None] {
        assert_eq!(
            table.price("gpt-4o", None, &Usage::absent(source), TODAY),
            None
        );
    }
    assert_eq!(
        usd("gpt-4o", None, &[(Input, 0), (Output, 0)]).unwrap(),
        "0"
    );
    assert_eq!(usd("no-such-model", None, &[(Input, 1)]), None);
    assert_eq!(usd("", None, &[(Input, 1)]), None);
    for kind in [InputAudio, OutputAudio, OutputImage] {
        assert_eq!(
            usd("gpt-4o", None, &[(Input, 1), (kind, 1)]),
            None,
            "{kind}"
        );
        assert_eq!(
            usd("gpt-4o", None, &[(Input, 1), (kind, 0)]).unwrap(),
            "0.0000025",
            "none of {kind} were used"
        );
    }
}

#[test]
fn absurd_counts_stay_at_the_end_of_the_scale() {
    let counts = usage(&[(Input, u64::MAX), (Output, u64::MAX)]);
    let cost = PriceTable::builtin().price("gpt-6-astra", Some("priority"), &counts, TODAY);
    assert_eq!(cost.unwrap().amount, NanoUsd(i64::MAX));
}

#[test]
fn a_snapshot_with_a_price_of_its_own_keeps_it() {
    assert_eq!(
        usd("gpt-4o-2024-05-13", None, &[(Input, 1_000)]).unwrap(),
        "0.005"
    );
    assert_eq!(
        usd("gpt-4o-2024-08-06", None, &[(Input, 1_000)]).unwrap(),
        "0.0025"
    );
}

#[test]
fn a_fine_tuned_model_is_not_its_base() {
    assert_eq!(
        usd("ft:gpt-4o-2024-08-06:acme::id", None, &[(Input, 1)]),
        None
    );
    assert_eq!(usd("gpt-4o-audio-preview", None, &[(Input, 1)]), None);
}
