//! What a group of requests comes to, and what caching saved it.

use std::collections::HashMap;

use super::count;
use super::reading::Entry;
use super::summary::push_value;
use super::usage::{UsageQuery, UsageRow};
use crate::ledger::sums::{Counted, Stated, Sums, add_known, is_unbilled};
use crate::money::NanoUsd;
use crate::pricing::{CacheUse, ModelName};
use crate::record::{Api, Outcome, TokenType, Tokens, Unit, Units};

/// What is paid for by one price: a channel's model by an API.
#[derive(Debug)]
struct Offer {
    channel: String,
    model: String,
    api: Api,
}

/// The offers that were met, numbered.
#[derive(Debug, Default)]
pub(super) struct Offers {
    numbers: HashMap<String, usize>,
    list: Vec<Offer>,
    key: String,
}

impl Offers {
    /// The number of an entry's offer; `None` where no cache had to do with it, or it does not matter.
    pub(super) fn number(&mut self, entry: &Entry<'_>, matters: bool) -> Option<usize> {
        let used = |kind| entry.sums.tokens[kind as usize].is_some_and(|count| count > 0);
        if !matters || !(used(TokenType::InputCached) || used(TokenType::InputCacheWrite)) {
            return None;
        }
        self.key.clear();
        for part in [entry.channel, entry.model, entry.api] {
            push_value(&mut self.key, Some(part));
        }
        if let Some(&number) = self.numbers.get(&self.key) {
            return Some(number);
        }
        let number = self.list.len();
        self.list.push(Offer {
            channel: entry.channel.to_owned(),
            model: entry.model.to_owned(),
            // What nobody can read is priced as most are.
            api: entry.api.parse().unwrap_or(Api::Other),
        });
        self.numbers.insert(self.key.clone(), number);
        Some(number)
    }
}

/// Token sums that a price decides on.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    tokens: [Option<i64>; TokenType::ALL.len()],
    cache_write_1h: Option<i64>,
}

/// What a group of requests comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) sums: Sums,
    /// What caches had to do with, by the number of its offer.
    cached: HashMap<usize, Used>,
}

impl Total {
    /// Adds an entry, whose offer is numbered.
    pub(super) fn add(&mut self, entry: &Entry<'_>, offer: Option<usize>) {
        self.sums.merge(&entry.sums);
        let Some(offer) = offer else { return };
        let used = self.cached.entry(offer).or_default();
        for (sum, &tokens) in used.tokens.iter_mut().zip(&entry.sums.tokens) {
            add_known(sum, tokens);
        }
        let hour = entry.sums.units[Unit::CacheWrite1h as usize];
        add_known(&mut used.cache_write_1h, hour);
    }

    fn saved(&self, offers: &Offers, query: &UsageQuery) -> Option<NanoUsd> {
        let prices = query.prices.as_ref()?;
        let uses = self.cached.iter().filter_map(|(&number, used)| {
            let offer = offers.list.get(number)?;
            let seller = prices.book.sellers.get(&offer.channel);
            Some(CacheUse {
                name: ModelName::at(seller.copied().flatten(), &offer.model),
                api: offer.api,
                tokens: tokens(&used.tokens),
                cache_write_1h: used.cache_write_1h.map(count),
            })
        });
        let saved = prices.book.table.saved_by_caches(uses, prices.at);
        saved.map(NanoUsd)
    }

    /// As it is answered.
    pub(super) fn row(
        &self,
        group: Vec<Option<String>>,
        offers: &Offers,
        query: &UsageQuery,
    ) -> UsageRow {
        let sums = &self.sums;
        let mut units = Units::default();
        for &unit in Unit::ALL {
            units[unit] = sums.units[unit as usize].map(count);
        }
        let counted = |sum| count(sums.counted(sum));
        let mean = |sum, of| counted(sum).checked_div(counted(of));
        UsageRow {
            group,
            requests: count(sums.requests(|_| true)),
            outcomes: sums.outcomes.map(count),
            errors: count(sums.requests(Outcome::is_error)),
            unbilled_requests: count(sums.requests(is_unbilled)),
            tokens: tokens(&sums.tokens),
            total_tokens: sums.stated(Stated::TotalTokens).map(count),
            cost: sums.stated(Stated::Cost).map(NanoUsd),
            cached_saved: self.saved(offers, query),
            unpriced_requests: counted(Counted::Unpriced),
            missing_usage_requests: counted(Counted::MissingUsage),
            partial_requests: counted(Counted::Partial),
            estimated_requests: counted(Counted::Estimated),
            units,
            estimated_cost: sums.stated(Stated::EstimatedCost).map(NanoUsd),
            request_bytes: counted(Counted::RequestBytes),
            response_bytes: counted(Counted::ResponseBytes),
            mean_total_us: mean(Counted::TotalUs, Counted::TotalUsCount),
            mean_first_token_us: mean(Counted::FirstTokenUs, Counted::FirstTokenUsCount),
        }
    }
}

fn tokens(sums: &[Option<i64>; TokenType::ALL.len()]) -> Tokens {
    let mut tokens = Tokens::default();
    for (&kind, sum) in TokenType::ALL.iter().zip(sums) {
        tokens[kind] = sum.map(count);
    }
    tokens
}
