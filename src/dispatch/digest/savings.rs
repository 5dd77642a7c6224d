//! What caching saved, by the prices of now.

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::ledger::query::{PeriodGroup, PeriodSums};
use crate::pricing::{ModelName, PriceRow, PriceTable, Tier};
use crate::record::{Api, TokenType, Unit, Usage, UsageSource};

/// Nano-dollars that were not spent because input came out of a cache: what that would have cost as
/// other input, less what it cost, and less what writing the cache cost more. Negative where the writing
/// cost more than it brought. `None` where there was a cache and no price of it is known; with some
/// prices only, what is known.
pub(super) fn saved(
    channels: &Registry,
    prices: &PriceTable,
    groups: &[PeriodGroup],
    now: UnixMicros,
) -> Option<i64> {
    let cached = groups.iter().filter(|group| {
        let used = |kind| group.sums.tokens[kind].is_some_and(|count| count > 0);
        used(TokenType::InputCached) || used(TokenType::InputCacheWrite)
    });
    let mut any = false;
    let known = cached.filter_map(|group| {
        any = true;
        let provider = channels
            .channel(&group.channel)
            .and_then(|channel| channel.provider);
        let found = prices.find(ModelName::at(provider, &group.model), now)?;
        // A threshold is one request's, and these are sums of many.
        let row = PriceRow {
            thresholds: Vec::new(),
            ..found.row.clone()
        };
        let tier = match group.api {
            Api::Batches => Tier::Batch,
            _ => Tier::Standard,
        };
        let residency = found.residency()?;
        let cost = |usage: &Usage| row.amount_for(Api::Chat, tier, residency, usage);
        let (with, without) = inputs(&group.sums);
        Some(cost(&without)?.0.saturating_sub(cost(&with)?.0))
    });
    let saved = known.reduce(i64::saturating_add);
    saved.or(if any { None } else { Some(0) })
}

/// The input that a cache had to do with: as it was, and as it would have been without. With both the
/// kinds of tokens that some models' caches are priced otherwise for.
fn inputs(sums: &PeriodSums) -> (Usage, Usage) {
    let mut with = Usage::absent(UsageSource::Reported);
    for kind in [
        TokenType::InputAudio,
        TokenType::InputImage,
        TokenType::OutputAudio,
    ] {
        with.tokens[kind] = sums.tokens[kind];
    }
    let mut without = with;
    let read = sums.tokens[TokenType::InputCached].unwrap_or(0);
    let written = sums.tokens[TokenType::InputCacheWrite].unwrap_or(0);
    with.tokens[TokenType::InputCached] = Some(read);
    with.tokens[TokenType::InputCacheWrite] = Some(written);
    with.units[Unit::CacheWrite1h] = sums.cache_write_1h.map(|hour| hour.min(written));
    without.tokens[TokenType::Input] = Some(read.saturating_add(written));
    (with, without)
}
