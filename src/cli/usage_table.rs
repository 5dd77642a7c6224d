//! Usage as a table.

use super::amounts::{
    UNKNOWN, count, count_or_unknown, duration_or_unknown, name_or_unknown, shown, usd,
};
use super::output::Output;
use super::table::{Sheet, Tone};
use crate::admin::json::{UsageRowJson, UsageSummaryJson};
use crate::record::TokenType;

/// The summary as a table with its total; only the token types that occur have a column.
pub(super) fn render(summary: &UsageSummaryJson, output: &Output) -> String {
    let total = &summary.total;
    let kinds = token_types(total);
    let with_first_token = total.sums.mean_first_token_us.is_some();
    let with_notes = !notes(total).is_empty();
    let mut sheet = Sheet::new(output);
    for by in &summary.by {
        sheet.column(shown(by), false, 0);
    }
    sheet.column("requests", true, 0);
    sheet.column("errors", true, 0);
    for kind in &kinds {
        sheet.column(kind.as_str().replace('_', " "), true, 3);
    }
    sheet.column("tokens", true, 0);
    sheet.column("cost", true, 0);
    sheet.column("mean time", true, 4);
    if with_first_token {
        sheet.column("first token", true, 5);
    }
    if with_notes {
        sheet.column("not included", false, 0);
    }
    let mut add = |row: &UsageRowJson, groups: Vec<String>, tone: Tone| {
        let mut cells: Vec<(String, Tone)> =
            groups.into_iter().map(|group| (group, tone)).collect();
        let failed = if row.sums.errors > 0 { Tone::Bad } else { tone };
        let doubt = if row.sums.unpriced_requests > 0 || row.sums.missing_usage_requests > 0 {
            Tone::Doubtful
        } else {
            tone
        };
        let tokens = row.sums.tokens.by_type();
        cells.push((count(row.sums.requests), tone));
        cells.push((count(row.sums.errors), failed));
        cells.extend(
            kinds
                .iter()
                .map(|&kind| (count_or_unknown(tokens[kind]), tone)),
        );
        cells.push((total_tokens(row), tone));
        cells.push((cost(row), doubt));
        cells.push((duration_or_unknown(row.sums.mean_total_us), tone));
        if with_first_token {
            cells.push((duration_or_unknown(row.sums.mean_first_token_us), tone));
        }
        if with_notes {
            cells.push((notes(row), doubt));
        }
        sheet.row(cells);
    };
    for row in &summary.rows {
        let groups = summary.by.iter().map(|name| {
            let value = row.group.get(name).and_then(Option::as_deref);
            name_or_unknown(value)
        });
        add(row, groups.collect(), Tone::Plain);
    }
    // Without a grouping the one row is the total.
    if !summary.by.is_empty() {
        let mut groups = vec![String::new(); summary.by.len()];
        "total".clone_into(&mut groups[0]);
        add(total, groups, Tone::Strong);
    }
    sheet.render()
}

/// Input and output always; the others where any request stated them.
fn token_types(total: &UsageRowJson) -> Vec<TokenType> {
    let tokens = total.sums.tokens.by_type();
    TokenType::ALL
        .iter()
        .copied()
        .filter(|&kind| {
            tokens[kind].is_some_and(|count| count > 0)
                || matches!(kind, TokenType::Input | TokenType::Output)
        })
        .collect()
}

fn total_tokens(row: &UsageRowJson) -> String {
    match row.sums.tokens.total_tokens {
        Some(tokens) if row.sums.missing_usage_requests > 0 => format!("≥ {}", count(tokens)),
        tokens => count_or_unknown(tokens),
    }
}

/// What is known of the cost; at least so much, where some requests have none.
fn cost(row: &UsageRowJson) -> String {
    match row.sums.cost_usd {
        None => UNKNOWN.to_owned(),
        Some(cost) if row.sums.unpriced_requests > 0 || row.sums.missing_usage_requests > 0 => {
            format!("≥ {}", usd(cost.0))
        }
        Some(cost) => usd(cost.0),
    }
}

/// What the sums leave out.
fn notes(row: &UsageRowJson) -> String {
    let mut notes = Vec::new();
    if row.sums.unpriced_requests > 0 {
        notes.push(format!("{} unpriced", count(row.sums.unpriced_requests)));
    }
    if row.sums.missing_usage_requests > 0 {
        notes.push(format!(
            "{} without usage",
            count(row.sums.missing_usage_requests)
        ));
    }
    if row.sums.partial_requests > 0 {
        notes.push(format!(
            "{} counted in part by Tollgate",
            count(row.sums.partial_requests)
        ));
    }
    notes.join(", ")
}
