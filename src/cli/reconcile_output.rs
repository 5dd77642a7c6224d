//! Ledger against bill, as a table, JSON and CSV.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::amounts::{UNKNOWN, count_or_unknown, name_or_unknown, shown, signed, usd};
use super::csv::{self, Cell};
use super::output::Output;
use super::table::{Sheet, Tone};
use crate::admin::json::{Moment, Usd};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::sources::reconcile::{Cause, Line, Reconciliation, Side, Terms};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct ReconciliationJson {
    since: Moment,
    until: Moment,
    /// Whose bill it is.
    base_url: String,
    /// `null`: the whole organization's.
    project: Option<String>,
    /// What of the ledger it is compared with.
    channels: Vec<String>,
    rows: Vec<LineJson>,
    total: LineJson,
    /// Items of the bill that are no model's.
    unmapped: Vec<UnmappedJson>,
    #[serde(skip)]
    causes: BTreeSet<Cause>,
}

/// One line; unknown is `null`.
#[derive(Debug, Serialize)]
struct LineJson {
    day: Option<String>,
    model: Option<String>,
    ledger: SideJson,
    bill: SideJson,
    /// Ledger less bill, as far as both are known.
    difference: DifferenceJson,
    causes: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct SideJson {
    requests: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost_usd: Option<Usd>,
}

#[derive(Debug, Serialize)]
struct DifferenceJson {
    requests: i64,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_usd: Usd,
}

#[derive(Debug, Serialize)]
struct UnmappedJson {
    day: Option<String>,
    line_item: Option<String>,
    cost_usd: Usd,
}

impl ReconciliationJson {
    pub(super) fn new(
        (since, until): (UnixMicros, UnixMicros),
        base_url: &str,
        project: Option<&str>,
        channels: Vec<String>,
        result: Reconciliation,
    ) -> Self {
        Self {
            since: Moment(since),
            until: Moment(until),
            base_url: base_url.to_owned(),
            project: project.map(str::to_owned),
            channels,
            causes: result.total.causes.clone(),
            rows: result.lines.iter().map(LineJson::new).collect(),
            total: LineJson::new(&result.total),
            unmapped: result
                .unmapped
                .into_iter()
                .map(|item| UnmappedJson {
                    day: item.day.map(|day| day.to_string()),
                    line_item: item.line_item,
                    cost_usd: Usd(item.cost),
                })
                .collect(),
        }
    }
}

impl LineJson {
    fn new(line: &Line) -> Self {
        Self {
            day: line.day.map(|day| day.to_string()),
            model: line.model.clone(),
            ledger: SideJson::new(&line.ledger),
            bill: SideJson::new(&line.bill),
            difference: DifferenceJson::new(&line.ledger, &line.bill),
            causes: line.causes.iter().map(|cause| cause.as_str()).collect(),
        }
    }
}

impl SideJson {
    fn new(side: &Side) -> Self {
        Self {
            requests: side.requests,
            input_tokens: side.input_tokens,
            output_tokens: side.output_tokens,
            cost_usd: side.cost.map(Usd),
        }
    }

    fn tokens(&self) -> Option<u64> {
        match (self.input_tokens, self.output_tokens) {
            (None, None) => None,
            (input, output) => Some(input.unwrap_or(0).saturating_add(output.unwrap_or(0))),
        }
    }
}

impl DifferenceJson {
    fn new(ledger: &Side, bill: &Side) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let less = |one: Option<u64>, other: Option<u64>| {
            signed(one.unwrap_or(0)).saturating_sub(signed(other.unwrap_or(0)))
        };
        // An API whose tokens the provider does not count differs in nothing.
        let tokens = |one, other: Option<u64>| other.map(|_| less(one, other));
        let nanos = |cost: Option<NanoUsd>| cost.unwrap_or_default().0;
        Self {
            requests: less(ledger.requests, bill.requests),
            input_tokens: tokens(ledger.input_tokens, bill.input_tokens),
            output_tokens: tokens(ledger.output_tokens, bill.output_tokens),
            cost_usd: Usd(NanoUsd(nanos(ledger.cost).saturating_sub(nanos(bill.cost)))),
        }
    }
}

/// As a table, with what each cause means below it.
pub(super) fn as_table(answer: &ReconciliationJson, terms: &Terms<'_>, output: &Output) -> String {
    let mut text = format!(
        "Ledger ({}) against the bill of {}{}, days in UTC\n\n",
        answer
            .channels
            .iter()
            .map(|name| shown(name))
            .collect::<Vec<_>>()
            .join(", "),
        answer.base_url,
        answer
            .project
            .as_ref()
            .map_or_else(String::new, |project| format!(
                ", project {}",
                shown(project)
            )),
    );
    if answer.rows.is_empty() {
        text.push_str("Neither the ledger nor the bill has anything in these days.\n");
    } else {
        text.push_str(&sheet(answer, terms, output));
    }
    // Writing to a String does not fail.
    let _ = unmapped(&mut text, answer);
    let _ = meanings(&mut text, &answer.causes);
    text
}

fn sheet(answer: &ReconciliationJson, terms: &Terms<'_>, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    if terms.by_day {
        sheet.column("day", false, 0);
    }
    if terms.by_model {
        sheet.column("model", false, 0);
    }
    for (title, spare) in [
        ("requests", 2),
        ("billed", 2),
        ("tokens", 1),
        ("billed", 1),
        ("cost", 0),
        ("billed", 0),
        ("difference", 0),
    ] {
        sheet.column(title, true, spare);
    }
    sheet.column("likely cause", false, 0);
    let mut add = |line: &LineJson, name: Option<&str>| {
        let agrees = line.causes.is_empty();
        let tone = if name.is_some() {
            Tone::Strong
        } else {
            Tone::Plain
        };
        let mut cells = Vec::new();
        if terms.by_day {
            cells.push(name.map_or_else(|| name_or_unknown(line.day.as_deref()), str::to_owned));
        }
        if terms.by_model {
            cells.push(match name {
                Some(_) if terms.by_day => String::new(),
                Some(name) => name.to_owned(),
                None => name_or_unknown(line.model.as_deref()),
            });
        }
        cells.extend([
            count_or_unknown(line.ledger.requests),
            count_or_unknown(line.bill.requests),
            count_or_unknown(line.ledger.tokens()),
            count_or_unknown(line.bill.tokens()),
            usd_or_unknown(line.ledger.cost_usd),
            usd_or_unknown(line.bill.cost_usd),
            signed(line.difference.cost_usd.0),
        ]);
        let mut cells: Vec<(String, Tone)> = cells.into_iter().map(|text| (text, tone)).collect();
        let doubt = if agrees { tone } else { Tone::Doubtful };
        // The total has the causes of all lines, which explain nothing.
        let causes = match name {
            Some(_) => String::new(),
            None if agrees => "agrees".to_owned(),
            None => line.causes.join(", "),
        };
        cells.push((causes, doubt));
        sheet.row(cells);
    };
    for line in &answer.rows {
        add(line, None);
    }
    if terms.by_day || terms.by_model {
        add(&answer.total, Some("total"));
    }
    sheet.render()
}

fn usd_or_unknown(cost: Option<Usd>) -> String {
    cost.map_or_else(|| UNKNOWN.to_owned(), |cost| usd(cost.0))
}

fn unmapped(text: &mut String, answer: &ReconciliationJson) -> std::fmt::Result {
    if answer.unmapped.is_empty() {
        return Ok(());
    }
    let sum: NanoUsd = answer.unmapped.iter().map(|item| item.cost_usd.0).sum();
    writeln!(text, "\nOn the bill besides, for no model ({}):", usd(sum))?;
    for item in &answer.unmapped {
        let day = item
            .day
            .as_ref()
            .map_or_else(String::new, |day| format!("{day}  "));
        let name = item.line_item.as_deref().map_or(UNKNOWN.into(), shown);
        writeln!(text, "  {day}{}  {name}", usd(item.cost_usd.0))?;
    }
    Ok(())
}

fn meanings(text: &mut String, causes: &BTreeSet<Cause>) -> std::fmt::Result {
    if causes.is_empty() {
        return Ok(());
    }
    let width = causes
        .iter()
        .map(|cause| cause.as_str().len())
        .max()
        .unwrap_or(0);
    text.push('\n');
    for cause in causes {
        writeln!(text, "  {cause:<width$}  {}", cause.explained())?;
    }
    Ok(())
}

/// The lines, exactly, without a total; items without a model have their words as the model and
/// the cause `unmapped`.
pub(super) fn as_csv(answer: &ReconciliationJson) -> String {
    let mut text = String::new();
    let header = [
        "day",
        "model",
        "ledger_requests",
        "bill_requests",
        "ledger_input_tokens",
        "bill_input_tokens",
        "ledger_output_tokens",
        "bill_output_tokens",
        "ledger_cost_usd",
        "bill_cost_usd",
        "difference_cost_usd",
        "causes",
    ];
    let exact = |value: &str| Cell::Exact(value.to_owned());
    csv::line(&mut text, header.map(exact));
    let name = |value: &Option<String>| value.clone().map_or(Cell::Empty, Cell::Text);
    for row in &answer.rows {
        let (ledger, bill) = (&row.ledger, &row.bill);
        let mut cells = vec![name(&row.day), name(&row.model)];
        for counts in [
            [ledger.requests, bill.requests],
            [ledger.input_tokens, bill.input_tokens],
            [ledger.output_tokens, bill.output_tokens],
        ] {
            cells.extend(counts.map(Cell::number));
        }
        cells.extend([ledger.cost_usd, bill.cost_usd].map(|cost| Cell::number(cost.map(|c| c.0))));
        cells.push(Cell::number(Some(row.difference.cost_usd.0)));
        cells.push(exact(&row.causes.join(" ")));
        csv::line(&mut text, cells);
    }
    for item in &answer.unmapped {
        let mut cells = vec![name(&item.day), name(&item.line_item)];
        cells.extend(std::iter::repeat_n(Cell::Empty, 7));
        cells.push(Cell::number(Some(item.cost_usd.0)));
        cells.push(Cell::number(Some(NanoUsd(
            item.cost_usd.0.0.saturating_neg(),
        ))));
        cells.push(exact("unmapped"));
        csv::line(&mut text, cells);
    }
    text
}
