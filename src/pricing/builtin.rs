//! The prices that Tollgate ships: facts of its own, as known on the day in [`VERSION`].
//!
//! Figures are thousandths of a dollar per million tokens, so that 2.50 USD reads 2500. OpenAI's
//! pricing page is the source of the standard, batch and flex rates. Priority is mostly double,
//! but not on older models; those rates are taken from the catalogue of the Python package `litellm`
//! (1.109), which states them model by model. Where nobody states a rate there is none here, and
//! such a request stays unpriced.

use std::borrow::Cow;

use super::rate::{Rate, Rates, Tenths};
use super::row::{LongContext, PriceRow, Tier, TierPrice};
use crate::clock::UnixMicros;

/// Names the table in each price version.
pub(super) const VERSION: &str = "builtin-2026-11-20";

/// Names that cost what another model costs, tier by tier.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("gpt-5-chat-latest", "gpt-5"),
    ("gpt-5-codex", "gpt-5"),
    ("gpt-5.1-chat-latest", "gpt-5.1"),
    ("gpt-5.1-codex", "gpt-5.1"),
    ("gpt-5.1-codex-max", "gpt-5.1"),
    ("gpt-5.1-codex-mini", "gpt-5-mini"),
    ("gpt-5.2-chat-latest", "gpt-5.2"),
    ("gpt-5.2-codex", "gpt-5.2"),
    ("gpt-5.6", "gpt-5.6-sol"),
    ("text-embedding-ada-002-v2", "text-embedding-ada-002"),
];

const PRICING_PAGE: &str = "https://developers.openai.com/api/docs/pricing";
const WITH_CATALOGUE: &str =
    "https://developers.openai.com/api/docs/pricing, priority from litellm 1.109";
const LAUNCH: &str = "OpenAI's announcement of GPT-5.6, 2026-06-26";

/// 2026-07-30T00:00:00Z, when gpt-5.6-terra and gpt-5.6-luna became cheaper.
const TERRA_AND_LUNA_CUT: UnixMicros = UnixMicros(1_785_369_600_000_000);
/// 2026-08-21T00:00:00Z, when the promotion of gpt-5.6-sol began.
const SOL_PROMOTION: UnixMicros = UnixMicros(1_787_270_400_000_000);
/// 2026-11-22T00:00:00Z: the promotion of gpt-5.6-sol is guaranteed through 21 November 2026.
const SOL_PROMOTION_END: UnixMicros = UnixMicros(1_795_305_600_000_000);

/// Thousandths of a dollar per million tokens: input, cached, cache write, output.
type Figures = (u64, Option<u64>, Option<u64>, Option<u64>);

/// How the priority tier is priced.
#[derive(Clone, Copy)]
enum Priority {
    /// Nobody states it.
    Unstated,
    /// The standard rates by a factor in tenths.
    Times(u32),
    /// Its own rates: input, cached, output.
    Stated(u64, Option<u64>, u64),
}

use Priority::{Stated, Times, Unstated};

/// Every row. Rows of one model have periods that do not overlap.
pub(super) fn rows() -> Vec<PriceRow> {
    let mut rows = vec![
        row(
            "gpt-4o",
            chat(2_500, 1_250, 10_000),
            Stated(4_250, Some(2_125), 17_000),
        ),
        // The first snapshot kept its higher price; its date must not lead to the row above.
        row(
            "gpt-4o-2024-05-13",
            uncached(5_000, 15_000),
            Stated(8_750, None, 26_250),
        ),
        row(
            "gpt-4o-mini",
            chat(150, 75, 600),
            Stated(250, Some(125), 1_000),
        ),
        row(
            "gpt-4.1",
            chat(2_000, 500, 8_000),
            Stated(3_500, Some(875), 14_000),
        ),
        row(
            "gpt-4.1-mini",
            chat(400, 100, 1_600),
            Stated(700, Some(175), 2_800),
        ),
        row(
            "gpt-4.1-nano",
            chat(100, 25, 400),
            Stated(200, Some(50), 800),
        ),
        row("gpt-5", chat(1_250, 125, 10_000), Times(20)),
        row(
            "gpt-5-mini",
            chat(250, 25, 2_000),
            Stated(450, Some(45), 3_600),
        ),
        row("gpt-5-nano", chat(50, 5, 400), Unstated),
        row("gpt-5-pro", uncached(15_000, 120_000), Unstated),
        row("gpt-5.1", chat(1_250, 125, 10_000), Times(20)),
        row("gpt-5.2", chat(1_750, 175, 14_000), Times(20)),
        row("gpt-5.3-codex", chat(1_750, 175, 14_000), Times(20)),
        long(row("gpt-5.4", chat(2_500, 250, 15_000), Times(20))),
        row("gpt-5.4-mini", chat(750, 75, 4_500), Times(20)),
        row("gpt-5.4-nano", chat(200, 20, 1_250), Unstated),
        long(row("gpt-5.5", chat(5_000, 500, 30_000), Times(25))),
        long(row("gpt-6-luna", writes(100, 10, 125, 500), Times(20))),
        long(row(
            "gpt-6-sol",
            writes(2_000, 200, 2_500, 10_000),
            Times(20),
        )),
        ultrafast(long(row(
            "gpt-6-astra",
            writes(10_000, 1_000, 12_500, 50_000),
            Times(20),
        ))),
        ultrafast(long(row(
            "gpt-6.1-sol",
            writes(2_000, 100, 2_500, 10_000),
            Times(20),
        ))),
        long(row(
            "gpt-6.1-terra",
            writes(1_000, 50, 1_250, 5_000),
            Times(20),
        )),
        row("o1", chat(15_000, 7_500, 60_000), Unstated),
        row(
            "o3",
            chat(2_000, 500, 8_000),
            Stated(3_500, Some(875), 14_000),
        ),
        row("o3-mini", chat(1_100, 550, 4_400), Unstated),
        row("o3-pro", uncached(20_000, 80_000), Unstated),
        row(
            "o4-mini",
            chat(1_100, 275, 4_400),
            Stated(2_000, Some(500), 8_000),
        ),
        row("text-embedding-3-small", embedding(20), Unstated),
        row("text-embedding-3-large", embedding(130), Unstated),
        row("text-embedding-ada-002", embedding(100), Unstated),
    ];
    rows.extend(gpt_5_6());
    rows
}

/// The models of this family changed their prices.
fn gpt_5_6() -> [PriceRow; 7] {
    let row = |model, figures| long(row(model, figures, Times(20)));
    let sol_list = || row("gpt-5.6-sol", writes(5_000, 500, 6_250, 30_000));
    [
        launch(SOL_PROMOTION, sol_list()),
        between(
            SOL_PROMOTION,
            SOL_PROMOTION_END,
            row("gpt-5.6-sol", writes(4_000, 400, 5_000, 20_000)),
        ),
        since(SOL_PROMOTION_END, sol_list()),
        launch(
            TERRA_AND_LUNA_CUT,
            row("gpt-5.6-terra", writes(2_500, 250, 3_125, 15_000)),
        ),
        since(
            TERRA_AND_LUNA_CUT,
            row("gpt-5.6-terra", writes(2_000, 200, 2_500, 12_000)),
        ),
        launch(
            TERRA_AND_LUNA_CUT,
            row("gpt-5.6-luna", writes(1_000, 100, 1_250, 6_000)),
        ),
        since(
            TERRA_AND_LUNA_CUT,
            row("gpt-5.6-luna", writes(200, 20, 250, 1_200)),
        ),
    ]
}

fn row(model: &'static str, standard: Figures, priority: Priority) -> PriceRow {
    let half = TierPrice::Times(Tenths(5));
    let mut tiers = vec![(Tier::Batch, half), (Tier::Flex, half)];
    match priority {
        Unstated => {}
        Times(tenths) => tiers.push((Tier::Priority, TierPrice::Times(Tenths(tenths)))),
        Stated(input, cached, output) => {
            let stated = rates((input, cached, None, Some(output)));
            tiers.push((Tier::Priority, TierPrice::Stated(stated)));
        }
    }
    PriceRow {
        provider: Cow::Borrowed("openai"),
        model: Cow::Borrowed(model),
        effective_from: None,
        effective_to: None,
        source: Cow::Borrowed(match priority {
            Stated(..) => WITH_CATALOGUE,
            Unstated | Times(_) => PRICING_PAGE,
        }),
        family: false,
        standard: rates(standard),
        tiers,
        long_context: None,
    }
}

fn rates((input, cached, cache_write, output): Figures) -> Rates {
    Rates::text(
        Rate::milli_usd(input),
        cached.map(Rate::milli_usd),
        cache_write.map(Rate::milli_usd),
        output.map(Rate::milli_usd),
    )
}

const fn chat(input: u64, cached: u64, output: u64) -> Figures {
    (input, Some(cached), None, Some(output))
}

const fn writes(input: u64, cached: u64, cache_write: u64, output: u64) -> Figures {
    (input, Some(cached), Some(cache_write), Some(output))
}

const fn uncached(input: u64, output: u64) -> Figures {
    (input, None, None, Some(output))
}

const fn embedding(input: u64) -> Figures {
    (input, None, None, None)
}

/// Past 272,000 input tokens the whole request pays double for input and cache, and half as much
/// again for output.
fn long(row: PriceRow) -> PriceRow {
    PriceRow {
        long_context: Some(LongContext {
            up_to_input_tokens: 272_000,
            input: Tenths(20),
            output: Tenths(15),
        }),
        ..row
    }
}

fn ultrafast(mut row: PriceRow) -> PriceRow {
    row.tiers
        .push((Tier::Ultrafast, TierPrice::Times(Tenths(60))));
    row
}

fn since(from: UnixMicros, row: PriceRow) -> PriceRow {
    PriceRow {
        effective_from: Some(from),
        ..row
    }
}

/// The price from the beginning to the first change.
fn launch(to: UnixMicros, row: PriceRow) -> PriceRow {
    PriceRow {
        source: Cow::Borrowed(LAUNCH),
        ..until(to, row)
    }
}

fn until(to: UnixMicros, row: PriceRow) -> PriceRow {
    PriceRow {
        effective_to: Some(to),
        ..row
    }
}

fn between(from: UnixMicros, to: UnixMicros, row: PriceRow) -> PriceRow {
    since(from, until(to, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_are_what_their_names_say() {
        for (moment, text) in [
            (TERRA_AND_LUNA_CUT, "2026-07-30T00:00:00.000000Z"),
            (SOL_PROMOTION, "2026-08-21T00:00:00.000000Z"),
            (SOL_PROMOTION_END, "2026-11-22T00:00:00.000000Z"),
        ] {
            assert_eq!(moment.to_string(), text);
        }
    }

    #[test]
    fn every_moment_has_at_most_one_row_a_model() {
        let rows = rows();
        for row in &rows {
            let others = rows.iter().filter(|other| other.model == row.model);
            for edge in [row.effective_from, row.effective_to].into_iter().flatten() {
                let holding = others
                    .clone()
                    .filter(|other| other.is_effective(edge))
                    .count();
                assert_eq!(holding, 1, "{} at {edge}", row.model);
            }
            let always = row.effective_from.is_none() && row.effective_to.is_none();
            assert!(!always || others.count() == 1, "{}", row.model);
        }
    }

    #[test]
    fn aliases_lead_to_rows_and_hide_none() {
        let rows = rows();
        for (name, model) in ALIASES {
            assert!(rows.iter().any(|row| row.model == *model), "{model}");
            assert!(rows.iter().all(|row| row.model != *name), "{name}");
        }
    }
}
