//! Requests as a table, and as the lines that following prints.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::amounts::{
    UNKNOWN, count_or_unknown, duration_or_unknown, moment, name_or_unknown, shown, usd, zone,
};
use super::output::Output;
use super::table::{Sheet, Tone};
use crate::admin::json::RequestJson;
use crate::record::{TokenType, Tokens};

/// One row a request.
pub(super) fn render(requests: &[RequestJson], timezone: &TimeZone, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column(format!("started ({})", zone(timezone)), false, 0);
    sheet.column("outcome", false, 0);
    sheet.column("channel", false, 4);
    sheet.column("api", false, 5);
    sheet.column("model", false, 0);
    sheet.column("in", true, 1);
    sheet.column("out", true, 1);
    sheet.column("cost", true, 0);
    sheet.column("first token", true, 3);
    sheet.column("total", true, 0);
    sheet.column("id", false, 2);
    for request in requests {
        let tone = if request.outcome.is_error() {
            Tone::Bad
        } else {
            Tone::Plain
        };
        let plain = |text: String| (text, Tone::Plain);
        sheet.row([
            plain(moment(request.started_at.0, timezone)),
            (outcome(request), tone),
            plain(name_or_unknown(request.channel.as_deref())),
            plain(request.api.to_string()),
            plain(model(request)),
            plain(count_or_unknown(input(request))),
            plain(count_or_unknown(generated(request))),
            plain(cost(request)),
            plain(duration_or_unknown(request.phases.first_token_us)),
            plain(duration_or_unknown(request.phases.total_us)),
            plain(request.id.to_string()),
        ]);
    }
    sheet.render()
}

/// One line for one request. The columns have widths that fit the usual, so that lines line up
/// without knowing those to come.
pub(super) fn line(request: &RequestJson, timezone: &TimeZone, output: &Output) -> String {
    let outcome = format!("{:<20}", outcome(request));
    let outcome = if request.outcome.is_error() {
        output.paint(Style::new().fg_color(Some(AnsiColor::Red.into())), &outcome)
    } else {
        outcome
    };
    let id = output.paint(Style::new().dimmed(), &request.id.to_string());
    format!(
        "{}  {outcome}  {:<10}  {:<11}  {:<24}  {:>9} in  {:>8} out  {:>9}  {:>8}  {id}\n",
        moment(request.started_at.0, timezone),
        name_or_unknown(request.channel.as_deref()),
        request.api,
        model(request),
        count_or_unknown(input(request)),
        count_or_unknown(generated(request)),
        cost(request),
        duration_or_unknown(request.phases.total_us),
    )
}

/// How it ended, with the status where that says more.
pub(super) fn outcome(request: &RequestJson) -> String {
    match request.status {
        Some(200) | None => request.outcome.to_string(),
        Some(status) => format!("{} {status}", request.outcome),
    }
}

fn model(request: &RequestJson) -> String {
    let model = request
        .served_model
        .as_deref()
        .or(request.requested_model.as_deref());
    name_or_unknown(model)
}

fn cost(request: &RequestJson) -> String {
    request
        .cost_usd
        .map_or_else(|| UNKNOWN.to_owned(), |cost| usd(cost.0))
}

/// Everything that went in, cached or not.
fn input(request: &RequestJson) -> Option<u64> {
    sum(
        &request.tokens.by_type(),
        &[
            TokenType::Input,
            TokenType::InputCached,
            TokenType::InputCacheWrite,
            TokenType::InputAudio,
            TokenType::InputImage,
        ],
    )
}

/// Everything that came out, visible or not.
fn generated(request: &RequestJson) -> Option<u64> {
    sum(
        &request.tokens.by_type(),
        &[
            TokenType::Output,
            TokenType::Reasoning,
            TokenType::OutputAudio,
            TokenType::OutputImage,
        ],
    )
}

fn sum(tokens: &Tokens, kinds: &[TokenType]) -> Option<u64> {
    kinds
        .iter()
        .filter_map(|&kind| tokens[kind])
        .reduce(u64::saturating_add)
}

/// The model that answered, and the one asked for where that was another.
pub(super) fn models(request: &RequestJson) -> String {
    match (&request.served_model, &request.requested_model) {
        (Some(served), Some(requested)) if served != requested => {
            format!("{} (asked for {})", shown(served), shown(requested))
        }
        _ => model(request),
    }
}
