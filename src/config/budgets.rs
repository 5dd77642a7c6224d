//! `budgets`: what is taken for granted where a request's worst case cannot be known exactly.

use std::time::Duration;

use crate::money::NanoUsd;

/// What budgets go by where a price, a model's limit or an end is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// What a million input tokens of a model without a price count as.
    pub ceiling_input: NanoUsd,
    /// What a million output tokens of a model without a price count as.
    pub ceiling_output: NanoUsd,
    /// The largest input of a model whose limit is not known, in tokens.
    pub max_input_tokens: u64,
    /// The largest output of a model whose limit is not known, in tokens.
    pub max_output_tokens: u64,
    /// What a request counts as while nobody can say what it may cost at most: a batch, a request with
    /// tools that the provider runs.
    pub unbounded_cost: NanoUsd,
    /// For how long after its start the worst case counts of a request whose end nobody saw (kill -9).
    pub lease: Duration,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        const USD: i64 = 1_000_000_000;
        Self {
            ceiling_input: NanoUsd(30 * USD),
            ceiling_output: NanoUsd(180 * USD),
            max_input_tokens: 1_000_000,
            max_output_tokens: 128_000,
            unbounded_cost: NanoUsd(USD),
            lease: Duration::from_secs(2 * 60 * 60),
        }
    }
}
