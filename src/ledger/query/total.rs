//! What a group of requests comes to, and what caching saved it.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::count;
use super::reading::Entry;
use super::summary::push_value;
use super::usage::{PricesAt, UsageQuery, UsageRow};
use crate::ledger::sums::{Counted, Stated, Sums, add_known, is_unbilled};
use crate::money::NanoUsd;
use crate::pricing::{CachePrice, CacheUse, ModelName, all_saved};
use crate::record::{Api, Outcome, TokenType, Tokens, Unit, Units};

/// What is paid for by one price: a channel's model by an API.
#[derive(Debug)]
struct Offer {
    channel: String,
    model: String,
    stated_api: String,
    api: Api,
    provider: Option<&'static str>,
    /// What its cached input costs; `None` where that is not known.
    price: Option<CachePrice>,
}

/// The offers that were met, numbered.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// `None`: prices do not matter, and there are no offers.
    prices: Option<PricesAt>,
    numbers: HashMap<String, usize, RandomState>,
    list: Vec<Offer>,
    last: usize,
    key: String,
}

impl Offers {
    /// None so far, at the prices of a query.
    pub(super) fn of(query: &UsageQuery) -> Self {
        Self {
            prices: query.prices.clone(),
            ..Self::default()
        }
    }

    /// The number of an entry's offer; `None` where no cache had to do with it, or it does not matter.
    pub(super) fn number(&mut self, entry: &Entry<'_>) -> Option<usize> {
        let used = |kind| entry.sums.tokens[kind as usize].is_some_and(|count| count > 0);
        let prices = self.prices.as_ref()?;
        if !(used(TokenType::InputCached) || used(TokenType::InputCacheWrite)) {
            return None;
        }
        // Roll-ups are in the order of these, so that often the next one has the offer of the last.
        if let Some(offer) = self.list.get(self.last)
            && offer.model == entry.model
            && offer.channel == entry.channel
            && offer.stated_api == entry.api
        {
            return Some(self.last);
        }
        self.key.clear();
        for part in [entry.channel, entry.model, entry.api] {
            push_value(&mut self.key, Some(part));
        }
        if let Some(&number) = self.numbers.get(&self.key) {
            self.last = number;
            return Some(number);
        }
        let number = self.list.len();
        // What nobody can read is priced as most are.
        let api = entry.api.parse().unwrap_or(Api::Other);
        let provider = prices.book.sellers.get(entry.channel).copied().flatten();
        let name = ModelName::at(provider, entry.model);
        self.list.push(Offer {
            price: prices.book.table.cache_price(name, api, prices.at),
            channel: entry.channel.to_owned(),
            model: entry.model.to_owned(),
            stated_api: entry.api.to_owned(),
            api,
            provider,
        });
        self.numbers.insert(self.key.clone(), number);
        self.last = number;
        Some(number)
    }
}

/// Token sums that a price decides on.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    tokens: [Option<i64>; TokenType::ALL.len()],
    cache_write_1h: Option<i64>,
}

impl Used {
    fn merge(&mut self, other: &Self) {
        for (sum, &tokens) in self.tokens.iter_mut().zip(&other.tokens) {
            add_known(sum, tokens);
        }
        add_known(&mut self.cache_write_1h, other.cache_write_1h);
    }
}

/// What a group of requests comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) sums: Sums,
    /// What caches had to do with, by the number of its offer.
    cached: HashMap<usize, Used, RandomState>,
}

impl Total {
    /// Adds an entry, whose offer is numbered.
    pub(super) fn add(&mut self, entry: &Entry<'_>, offer: Option<usize>) {
        self.sums.merge(&entry.sums);
        let Some(offer) = offer else { return };
        self.cached.entry(offer).or_default().merge(&Used {
            tokens: entry.sums.tokens,
            cache_write_1h: entry.sums.units[Unit::CacheWrite1h as usize],
        });
    }

    /// Adds what others come to.
    pub(super) fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        for (&offer, used) in &other.cached {
            self.cached.entry(offer).or_default().merge(used);
        }
    }

    fn saved(&self, offers: &Offers) -> Option<NanoUsd> {
        offers.prices.as_ref()?;
        let parts = self.cached.iter().filter_map(|(&number, used)| {
            let offer = offers.list.get(number)?;
            let used = CacheUse {
                name: ModelName::at(offer.provider, &offer.model),
                api: offer.api,
                tokens: tokens(&used.tokens),
                cache_write_1h: used.cache_write_1h.map(count),
            };
            Some(offer.price.as_ref().and_then(|price| price.saved(&used)))
        });
        all_saved(parts).map(NanoUsd)
    }

    /// As it is answered.
    pub(super) fn row(&self, group: Vec<Option<String>>, offers: &Offers) -> UsageRow {
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
            cached_saved: self.saved(offers),
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
