//! `tollgate prices show`.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::amounts::{self, count, usd_exact};
use super::failure::Failure;
use super::output::Output;
use super::prices::{day, in_use};
use super::question::moment;
use super::table::{Sheet, Tone};
use crate::admin::json::{ChargeJson, PriceExplanationJson, PriceJson};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::pricing::{ModelName, PriceTable, Tier, Unpriced};
use crate::record::{Api, TokenType, Tokens, Unit, Units, Usage, UsageSource};

/// `tollgate prices show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model, as a provider or a client names it.
    model: String,
    /// At which moment: a date, RFC 3339, or how long ago (`7d`); now when not given.
    #[arg(long, value_name = "T")]
    at: Option<String>,
    /// What was used: token types and units with their counts.
    #[arg(long, value_name = "TYPE=N,…", value_delimiter = ',', value_parser = counted)]
    tokens: Vec<(Counted, u64)>,
    /// The service tier that was served: standard, batch, flex, priority, ultrafast.
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// Through which API, as the ledger names it: `batches` are many requests in one row, in the tier
    /// `batch`.
    #[arg(
        long,
        value_name = "API",
        default_value = "chat",
        hide_default_value = true
    )]
    api: Api,
    /// Who was asked: openai, `openai_regional` (eu.api.openai.com and the like), azure, anthropic,
    /// gemini, …; not known when not given.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Something that is counted.
#[derive(Clone, Copy, Debug)]
enum Counted {
    Tokens(TokenType),
    Unit(Unit),
}

/// `input=1000`
fn counted(text: &str) -> Result<(Counted, u64), String> {
    let (name, number) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not TYPE=N, as `input=1000`"))?;
    let number = number
        .replace('_', "")
        .parse()
        .map_err(|_| format!("`{number}` is no count"))?;
    let item = match (name.parse::<TokenType>(), name.parse::<Unit>()) {
        (Ok(kind), _) => Counted::Tokens(kind),
        (_, Ok(unit)) => Counted::Unit(unit),
        _ => {
            let kinds = TokenType::ALL.iter().map(|kind| kind.as_str());
            let units = Unit::ALL.iter().map(|unit| unit.as_str());
            let known: Vec<&str> = kinds.chain(units).collect();
            return Err(format!(
                "`{name}` is not counted; one of: {}",
                known.join(", ")
            ));
        }
    };
    Ok((item, number))
}

/// Prints how a price comes about.
pub(super) fn show(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let at = match &arguments.at {
        Some(at) => moment("at", at, now, &settings.timezone)?,
        None => now,
    };
    let table = in_use(settings)?.table();
    let usage = usage(&arguments.tokens);
    let name = ModelName::at(arguments.provider.as_deref(), &arguments.model);
    let of_api = (arguments.api == Api::Batches).then_some(Tier::Batch.as_str());
    let tier = arguments.tier.as_deref().or(of_api);
    let explained = match table.explain(arguments.api, name, tier, &usage, at) {
        Ok(explanation) => PriceExplanationJson::from(&explanation),
        Err(reason) => return Err(Failure::Unpriced(told(&table, name, at, &reason))),
    };
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&explained)?)
    } else {
        let at = format!(
            "{} {}",
            amounts::moment(at, &settings.timezone),
            amounts::zone(&settings.timezone)
        );
        let asked = !arguments.tokens.is_empty();
        render(&arguments.model, &at, &explained, asked, output)
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn usage(counts: &[(Counted, u64)]) -> Usage {
    let (mut tokens, mut units) = (Tokens::default(), Units::NONE);
    for &(item, count) in counts {
        match item {
            Counted::Tokens(kind) => tokens[kind] = Some(count),
            Counted::Unit(unit) => units[unit] = Some(count),
        }
    }
    Usage {
        tokens,
        units,
        total: tokens.sum(),
        source: UsageSource::Reported,
    }
}

/// Why there is no price, and who has one under that name.
fn told(table: &PriceTable, name: ModelName<'_>, at: UnixMicros, reason: &Unpriced) -> String {
    let mut text = format!("`{}` has no price: {reason}", amounts::shown(name.model));
    if *reason == Unpriced::Model {
        let mut sellers: Vec<&str> = table
            .layers()
            .iter()
            .flat_map(|layer| layer.rows())
            .filter(|row| row.model == name.model && row.is_effective(at))
            .map(|row| &*row.provider)
            .collect();
        sellers.sort_unstable();
        sellers.dedup();
        let known = |names: &[&str]| names.join(", ");
        match (name.provider, sellers.as_slice()) {
            (_, []) => {}
            (Some(provider), sellers) => {
                let _ = write!(text, " at `{provider}`; known at: {}", known(sellers));
            }
            (None, sellers) => {
                let _ = write!(
                    text,
                    " without a provider; known at: {} (--provider)",
                    known(sellers)
                );
            }
        }
    }
    text
}

fn render(
    model: &str,
    at: &str,
    explained: &PriceExplanationJson,
    asked: bool,
    output: &Output,
) -> String {
    let mut text = String::new();
    let price = &explained.price;
    let provider = price.provider.as_deref().unwrap_or("any provider");
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {}", amounts::shown(value));
    };
    fact("model", &format!("{model} at {at}"));
    fact(
        "price",
        &format!(
            "{} of {provider}, found by rule `{}`",
            price.model, explained.rule
        ),
    );
    fact("in", &price.layer);
    fact("version", &explained.price_version);
    if let Some(period) = period(price) {
        fact("holds", &period);
    }
    fact("source", &price.source);
    if asked {
        fact("tier", &explained.tier);
        if let Some(above) = explained.above_input_tokens {
            fact(
                "threshold",
                &format!("past {} input tokens: the whole request", count(above)),
            );
        }
        text.push('\n');
        text.push_str(&sum(explained, output));
    } else {
        text.push('\n');
        text.push_str(&rates(price));
        text.push_str("\nCompute one with --tokens input=1000,output=200\n");
    }
    text
}

fn period(price: &PriceJson) -> Option<String> {
    match (price.effective_from, price.effective_to) {
        (None, None) => None,
        (Some(from), None) => Some(format!("from {}", day(Some(from)))),
        (None, Some(to)) => Some(format!("before {}", day(Some(to)))),
        (Some(from), Some(to)) => Some(format!(
            "from {}, before {}",
            day(Some(from)),
            day(Some(to))
        )),
    }
}

/// Each part as count × rate = amount, and the total.
fn sum(explained: &PriceExplanationJson, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    let is_regional = explained
        .charges
        .iter()
        .any(|charge| charge.residency_times != "1");
    let titles = [
        ("", false),
        ("count", true),
        ("USD", true),
        ("tier", true),
        ("threshold", true),
        ("residency", true),
        ("amount", true),
    ];
    let shown = |title: &str| is_regional || title != "residency";
    for (title, numeric) in titles.into_iter().filter(|(title, _)| shown(title)) {
        sheet.column(title, numeric, 0);
    }
    let times = |factor: &str| match factor {
        "1" => String::new(),
        factor => format!("× {factor}"),
    };
    for charge in &explained.charges {
        let ChargeJson { item, usd, .. } = charge;
        let tone = if usd.is_some() {
            Tone::Plain
        } else {
            Tone::Bad
        };
        let amount = usd.map_or_else(|| "nobody states it".to_owned(), |usd| usd_exact(usd.0));
        let cells = [
            item.clone(),
            count(charge.count),
            rate(charge),
            times(&charge.tier_times),
            times(&charge.threshold_times),
            times(&charge.residency_times),
            amount,
        ];
        let cells = cells.into_iter().zip(titles);
        let cells = cells.filter(|(_, (title, _))| shown(title));
        sheet.row(cells.map(|(cell, _)| (cell, tone)));
    }
    let (total, tone) = match (explained.usd, &explained.unpriced) {
        (Some(usd), _) => (usd_exact(usd.0), Tone::Strong),
        (None, reason) => (
            format!("unpriced: {}", reason.as_deref().unwrap_or("unknown")),
            Tone::Bad,
        ),
    };
    let cells = titles.map(|(title, _)| (title, String::new()));
    let cells = cells.into_iter().filter(|(title, _)| shown(title));
    let cells = cells.map(|(title, empty)| match title {
        "" => ("total".to_owned(), tone),
        "amount" => (total.clone(), tone),
        _ => (empty, tone),
    });
    sheet.row(cells);
    sheet.render()
}

/// Tokens are priced by the million, everything else by the piece.
fn rate(charge: &ChargeJson) -> String {
    let by_million =
        charge.item.parse::<TokenType>().is_ok() || charge.item == Unit::CacheWrite1h.as_str();
    match (&charge.usd_per_million, &charge.usd_for_one) {
        (Some(usd), _) if by_million => format!("{usd} a million"),
        (_, Some(usd)) => format!("{usd} each"),
        _ => String::new(),
    }
}

/// Everything the price states.
fn rates(price: &PriceJson) -> String {
    let mut text = String::new();
    let listed = |rates: &std::collections::BTreeMap<String, String>| {
        let rates: Vec<String> = rates
            .iter()
            .map(|(name, usd)| format!("{name} {usd}"))
            .collect();
        rates.join(", ")
    };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<18} {value}");
    };
    line("USD per million", listed(&price.per_million));
    if !price.per_unit.is_empty() {
        line("USD for one", listed(&price.per_unit));
    }
    for (tier, tier_price) in &price.tiers {
        let value = match (&tier_price.times, &tier_price.per_million) {
            (Some(times), _) => format!("× {times}"),
            (None, Some(rates)) => listed(rates),
            (None, None) => continue,
        };
        line(tier, value);
    }
    if let Some(times) = &price.residency_times
        && times != "1"
    {
        line("data residency", format!("× {times}"));
    }
    for threshold in &price.thresholds {
        let above = format!("> {} input", count(threshold.above_input_tokens));
        if let (Some(input), Some(output)) = (&threshold.input_times, &threshold.output_times) {
            line(&above, format!("input × {input}, output × {output}"));
        }
        for (tier, rates) in threshold.tiers.iter().flatten() {
            line(&above, format!("{tier}: {}", listed(rates)));
        }
    }
    text
}
