//! What a request costs at most, and what models take and make at most.

use std::sync::Arc;

use proptest::prelude::*;
use tollgate::pricing::{
    Catalogue, Ceiling, Factor, Layer, MediaSet, ModelLimits, ModelName, Most, PriceRow,
    PriceTable, Rate, Rates, Threshold, ThresholdPrice, Tier, TierPrice, catalogue_layer,
    load_files,
};
use tollgate::record::TokenType::{
    Input, InputAudio, InputCacheWrite, InputCached, InputImage, Output, OutputAudio, Reasoning,
};
use tollgate::record::Unit;

use super::{TODAY, row, with_units};

const CEILING: Ceiling = Ceiling {
    input: Rate::milli_usd(30_000),
    output: Rate::milli_usd(180_000),
};

fn most(input_tokens: u64, output_tokens: u64) -> Most {
    Most {
        input_tokens,
        output_tokens,
        ..Most::default()
    }
}

fn usd(model: &str, tier: Option<&str>, most: &Most) -> (String, String) {
    let dearest = PriceTable::builtin().dearest(model, tier, most, &CEILING, TODAY);
    (dearest.cost.to_string(), dearest.input_cost.to_string())
}

#[test]
fn each_side_counts_at_the_dearest_rate_it_may_have() {
    let plain = most(1_000, 100);
    let caching = Most {
        writes_cache: true,
        ..plain
    };
    let for_an_hour = Most {
        writes_cache_1h: true,
        ..caching
    };
    for (model, tier, bounds, expected) in [
        // 1,000 × 1.25 + 100 × 10 per million.
        ("gpt-5", None, plain, ("0.00225", "0.00125")),
        ("gpt-5", Some("priority"), plain, ("0.0045", "0.0025")),
        // It may be served in the usual tier all the same.
        ("gpt-5", Some("flex"), plain, ("0.00225", "0.00125")),
        // Cache writes cost 3.75, those of an hour 6.
        ("claude-sonnet-4-5", None, plain, ("0.0045", "0.003")),
        ("claude-sonnet-4-5", None, caching, ("0.00525", "0.00375")),
        ("claude-sonnet-4-5", None, for_an_hour, ("0.0075", "0.006")),
        // Past its threshold: double for input, half as much again for output.
        (
            "gpt-5.4",
            None,
            most(272_001, 1_000),
            ("1.382505", "1.360005"),
        ),
        ("gpt-5.4", None, most(272_000, 1_000), ("0.695", "0.68")),
        // It makes images without being asked to: 1,000 × 2 + 100 × 120.
        ("gemini-3-pro-image", None, plain, ("0.014", "0.002")),
        // At the ceiling: no such model, no such tier, nothing stated for what may be used.
        ("nobody's", None, plain, ("0.048", "0.03")),
        ("gpt-5", Some("scale"), plain, ("0.048", "0.03")),
    ] {
        let (cost, input) = usd(model, tier, &bounds);
        assert_eq!((&*cost, &*input), expected, "{model} {tier:?} {bounds:?}");
    }
    let heard = Most {
        input_media: MediaSet {
            audio: true,
            image: false,
        },
        ..plain
    };
    assert_eq!(
        usd("gpt-5", None, &heard),
        ("0.031".to_owned(), "0.03".to_owned())
    );
}

#[test]
fn an_operators_price_need_not_repeat_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.yaml");
    let text = "prices:\n\
        - {model: gpt-5, provider: openai, per_million: {input: 1, output: 2}, max_output_tokens: 9}\n\
        - {model: mine, per_million: {input: 1, output: 2}, max_input_tokens: 8}\n";
    std::fs::write(&file, text).unwrap();
    let own = load_files(std::slice::from_ref(&file)).unwrap();
    let shipped = PriceTable::builtin().layers().to_vec();
    let table = PriceTable::new(own.into_iter().chain(shipped));
    let limits = |name| table.limits(ModelName::at(Some("openai"), name), TODAY);
    assert_eq!(
        limits("gpt-5"),
        ModelLimits {
            max_input_tokens: Some(272_000),
            max_output_tokens: Some(9)
        }
    );
    assert_eq!(limits("gpt-5-2025-08-07"), limits("gpt-5"));
    assert_eq!(
        limits("mine"),
        ModelLimits {
            max_input_tokens: Some(8),
            max_output_tokens: None
        }
    );
    assert_eq!(limits("nobody's"), ModelLimits::default());
}

#[test]
fn both_catalogues_state_limits() {
    let litellm = r#"{"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-6,
        "max_input_tokens": 1000, "max_output_tokens": "20"},
        "b": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "max_input_tokens": 0}}"#;
    let models_dev = r#"{"openai": {"models": {
        "a": {"cost": {"input": 1, "output": 2}, "limit": {"context": 1000, "output": 20}},
        "b": {"cost": {"input": 1, "output": 2}, "limit": {"context": 0, "output": 0}}}}}"#;
    for text in [litellm, models_dev] {
        let layer = catalogue_layer(Catalogue::parse(text).unwrap(), text, TODAY);
        let table = PriceTable::new([Arc::new(layer)]);
        let limits = |name| table.limits(ModelName::at(Some("openai"), name), TODAY);
        assert_eq!(
            limits("a"),
            ModelLimits {
                max_input_tokens: Some(1_000),
                max_output_tokens: Some(20)
            }
        );
        assert_eq!(limits("b"), ModelLimits::default());
    }
}

fn any_rates() -> impl Strategy<Value = Rates> {
    let rate = || prop::option::of((0..200_000_000_000_u64).prop_map(Rate));
    (rate(), rate(), rate(), rate(), rate(), rate(), rate()).prop_map(
        |(input, cached, write, hour, output, reasoning, audio)| {
            let kinds = [
                (Input, input),
                (InputCached, cached),
                (InputCacheWrite, write),
                (Output, output),
                (Reasoning, reasoning),
                (InputAudio, audio),
                (OutputAudio, audio),
            ];
            let rates = kinds
                .into_iter()
                .fold(Rates::default(), |rates, (kind, rate)| {
                    rate.map_or(rates, |rate| rates.with(kind, rate))
                });
            hour.map_or(rates, |rate| rates.with_cache_write_1h(rate))
        },
    )
}

fn any_row() -> impl Strategy<Value = PriceRow> {
    let priority = prop_oneof![
        (1..10_000_u32).prop_map(|factor| TierPrice::Times(Factor(factor))),
        any_rates().prop_map(TierPrice::Stated),
    ];
    let beyond = prop_oneof![
        (1..10_000_u32, 1..10_000_u32).prop_map(|(input, output)| ThresholdPrice::Times {
            input: Factor(input),
            output: Factor(output),
        }),
        any_rates().prop_map(|rates| ThresholdPrice::Stated(vec![(Tier::Standard, rates)])),
    ];
    (
        any_rates(),
        priority,
        prop::collection::vec(beyond, 0..3),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(standard, priority, beyond, [as_text, audio, image])| PriceRow {
                tiers: vec![(Tier::Priority, priority)],
                thresholds: beyond
                    .into_iter()
                    .zip(1..)
                    .map(|(price, thousands)| Threshold {
                        above_input_tokens: thousands * 1_000,
                        price,
                    })
                    .collect(),
                images_as_text: as_text,
                cache_not_of: MediaSet { audio, image },
                ..row("any", standard)
            },
        )
}

proptest! {
    #[test]
    fn no_usage_within_the_bounds_costs_more(
        row in any_row(),
        inputs in prop::array::uniform5(0..2_000_u64),
        outputs in prop::array::uniform3(0..2_000_u64),
        hour in 0..2_000_u64,
        [writes, hours, audio, image, speaks] in any::<[bool; 5]>(),
        slack in 0..2_000_u64,
        priority in any::<bool>(),
    ) {
        let tier = priority.then_some("priority");
        let counts = [
            (Input, inputs[0]),
            (InputCached, inputs[1]),
            (InputCacheWrite, if writes { inputs[2] } else { 0 }),
            (InputAudio, if audio { inputs[3] } else { 0 }),
            (InputImage, if image { inputs[4] } else { 0 }),
            (Output, outputs[0]),
            (Reasoning, outputs[1]),
            (OutputAudio, if speaks { outputs[2] } else { 0 }),
        ];
        let sum = |counts: &[(_, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
        let hour = if hours { hour.min(counts[2].1) } else { 0 };
        let used = with_units(&counts, &[(Unit::CacheWrite1h, hour)]);
        let most = Most {
            input_tokens: sum(&counts[..5]) + slack,
            output_tokens: sum(&counts[5..]) + slack,
            writes_cache: writes,
            writes_cache_1h: hours,
            input_media: MediaSet { audio, image },
            output_media: MediaSet { audio: speaks, image: false },
        };
        let table = PriceTable::new([Arc::new(Layer::new("test", [row], []))]);
        let dearest = table.dearest("any", tier, &most, &CEILING, TODAY);
        prop_assert!(dearest.input_cost <= dearest.cost);
        // Whatever tier it is served in.
        for served in [tier, None] {
            if let Some(cost) = table.price("any", served, &used, TODAY) {
                prop_assert!(cost.amount <= dearest.cost, "{} > {}", cost.amount, dearest.cost);
            }
        }
        let unpriced = CEILING.cost(most.input_tokens, most.output_tokens);
        prop_assert_eq!(
            PriceTable::new([]).dearest("any", tier, &most, &CEILING, TODAY),
            unpriced
        );
    }
}
