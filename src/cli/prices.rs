//! `tollgate prices`.

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;
use super::table::{Sheet, Tone};
use super::{price_show, price_update, reprice};
use crate::admin::json::{Moment, PriceFilter, PriceJson, PriceList};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::pricing::{Prices, load_files};
use crate::sources::prices::last_good;

/// `tollgate prices`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explain what a model costs: which price, from where, and each part of the sum.
    Show(price_show::Arguments),
    /// List prices: the operator's files, the catalogue, what Tollgate ships.
    List(ListArguments),
    /// Fetch a catalogue, check it, keep it as the last good one, and say what it changes.
    Update(price_update::Arguments),
    /// Price requests of the past anew after a correction; the old figures are kept.
    Reprice(reprice::Arguments),
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Of models whose name holds this text.
    model: Option<String>,
    /// Charged by this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Does what the arguments say.
pub(super) fn prices(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Show(own) => price_show::show(own, settings, now, output),
        Command::List(own) => list(own, settings, output),
        Command::Update(own) => price_update::update(own, settings, now, output),
        Command::Reprice(own) => reprice::reprice(own, settings, now, output),
    }
}

/// The prices that a sidecar of these settings has: both read the same files.
pub(super) fn in_use(settings: &Settings) -> Result<Prices, Failure> {
    let own = load_files(&settings.prices.files).map_err(Failure::Settings)?;
    let prices = Prices::new(own);
    if let Some(good) = last_good(&settings.data_dir) {
        prices.refreshes.note_last_good(good.kept.origin.fetched_at);
        prices.set_catalogue(good.layer());
    }
    Ok(prices)
}

fn list(
    arguments: &ListArguments,
    settings: &Settings,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let prices = in_use(settings)?;
    let filter = PriceFilter {
        model: arguments.model.clone(),
        provider: arguments.provider.clone(),
    };
    let confirmed = prices.refreshes.last_success().map(Moment);
    let list = PriceList::new(&prices.table(), confirmed, &filter, usize::MAX);
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&list)?)
    } else if list.prices.is_empty() {
        format!("No such prices in {}.\n", list.layers.join(", "))
    } else {
        table(&list, output)
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(list: &PriceList, output: &Output) -> String {
    const RATES: [(&str, &str); 4] = [
        ("input", "input"),
        ("input_cached", "cached"),
        ("input_cache_write", "cache write"),
        ("output", "output"),
    ];
    let mut sheet = Sheet::new(output);
    sheet.column("provider", false, 0);
    sheet.column("model", false, 0);
    for (_, title) in RATES {
        sheet.column(title, true, 0);
    }
    sheet.column("from", false, 1);
    sheet.column("until", false, 1);
    sheet.column("more", false, 2);
    sheet.column("in", false, 3);
    for price in &list.prices {
        let rate = |name: &str| price.per_million.get(name).cloned().unwrap_or_default();
        let mut cells = vec![
            price.provider.clone().unwrap_or_default(),
            price.model.clone(),
        ];
        cells.extend(RATES.map(|(name, _)| rate(name)));
        cells.extend([price.effective_from, price.effective_to].map(day));
        cells.push(more(price));
        cells.push(price.layer.clone());
        sheet.row(
            cells
                .into_iter()
                .map(|cell| (super::amounts::shown(&cell).into_owned(), Tone::Plain)),
        );
    }
    format!("USD for a million tokens\n\n{}", sheet.render())
}

/// The day of a moment; nothing where there is no bound.
pub(super) fn day(moment: Option<Moment>) -> String {
    moment.map_or_else(String::new, |moment| {
        moment.0.timestamp().strftime("%Y-%m-%d").to_string()
    })
}

/// What a line has no room for.
fn more(price: &PriceJson) -> String {
    let mut more: Vec<String> = price.tiers.keys().cloned().collect();
    more.extend(
        price
            .thresholds
            .iter()
            .map(|threshold| format!(">{}", super::amounts::count(threshold.above_input_tokens))),
    );
    more.extend(price.per_unit.keys().cloned());
    more.join(" ")
}
