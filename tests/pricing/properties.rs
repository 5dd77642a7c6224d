use proptest::prelude::*;
use tollgate::pricing::{
    Catalogue, Factor, PriceRow, Rate, Rates, Threshold, ThresholdPrice, Tier, TierPrice,
    load_files,
};
use tollgate::record::TokenType::{
    self, Input, InputAudio, InputCacheWrite, InputCached, Output, Reasoning,
};
use tollgate::record::Usage;

use super::{row, usage};

fn any_row() -> impl Strategy<Value = PriceRow> {
    let rate = || (0..200_000_000_000_u64).prop_map(Rate);
    (
        rate(),
        rate(),
        rate(),
        rate(),
        rate(),
        1..10_000_u32,
        any::<bool>(),
    )
        .prop_map(
            |(input, cached, write, output, audio, priority, long)| PriceRow {
                standard: Rates::text(input, Some(cached), Some(write), Some(output))
                    .with(InputAudio, audio),
                tiers: vec![(Tier::Priority, TierPrice::Times(Factor(priority)))],
                thresholds: Vec::from_iter(long.then_some(Threshold {
                    above_input_tokens: 1_000,
                    price: ThresholdPrice::Times {
                        input: Factor(2_000),
                        output: Factor(1_500),
                    },
                })),
                ..row("any", Rates::default())
            },
        )
}

/// Types that `any_row` has rates for.
const PRICED: [TokenType; 6] = [
    Input,
    InputCached,
    InputCacheWrite,
    InputAudio,
    Output,
    Reasoning,
];

fn any_counts(max: u64) -> impl Strategy<Value = [u64; PRICED.len()]> {
    std::array::from_fn(|_| 0..max)
}

fn used(counts: [u64; PRICED.len()]) -> Usage {
    let pairs: Vec<_> = PRICED.into_iter().zip(counts).collect();
    usage(&pairs)
}

proptest! {
    /// Fragments of price files and catalogues in any order: most make no sense, none may panic.
    #[test]
    fn any_text_is_prices_or_problems(parts in prop::collection::vec(
        prop::sample::select(vec![
            "prices", "model", "per_million", "input", "tiers", "thresholds", "above", "times", "batch",
            "effective_from", "2026-11-22", "1e400", "-1", "0.5", "18446744073709551615", ": ", ":\n  ",
            "\n", "- ", "{", "}", "[", "]", ", ", "\"", "\"litellm_provider\"", "\"openai\"",
            "\"input_cost_per_token\"", "\"tiered_pricing\"", "\"range\"", "\"models\"", "\"cost\"", ":",
            "null", "\u{0}", "é", "#", "&a ", "*a",
        ]),
        0..40,
    )) {
        let text = parts.concat();
        let _ = Catalogue::parse(&text);
        let _ = Catalogue::parse(&format!("{{\"a\": {{\"litellm_provider\": \"b\", {text}}}}}"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, &text).unwrap();
        let _ = load_files(std::slice::from_ref(&file));
    }

    #[test]
    fn more_tokens_never_cost_less(
        row in any_row(),
        counts in any_counts(2_000),
        which in 0..PRICED.len(),
        more in 1..5_000_u64,
        priority in any::<bool>(),
    ) {
        let tier = if priority { Tier::Priority } else { Tier::Standard };
        let mut larger = counts;
        larger[which] += more;
        let (less, more) = (row.amount(tier, &used(counts)), row.amount(tier, &used(larger)));
        prop_assert!(less.unwrap() <= more.unwrap());
    }

    #[test]
    fn parts_cost_what_the_whole_does_within_rounding(
        row in any_row(),
        left in any_counts(100_000),
        right in any_counts(100_000),
    ) {
        // A threshold makes the whole dearer than its parts, by design.
        let row = PriceRow { thresholds: Vec::new(), ..row };
        let whole: [u64; PRICED.len()] = std::array::from_fn(|i| left[i] + right[i]);
        let amount = |counts| row.amount(Tier::Priority, &used(counts)).unwrap().0;
        let difference = amount(whole) - amount(left) - amount(right);
        prop_assert!((-1..=1).contains(&difference), "{difference}");
    }
}
