//! Prices in Tollgate's own shape: YAML, read with the machinery of the settings, so that every
//! problem of a file is told at once, with its place. `prices.example.yaml` documents the shape.

mod tiers;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::names::canonical;
use super::rate::{Factor, Fees, Rate, Rates};
use super::row::PriceRow;
use super::table::Alias;
use crate::clock::UnixMicros;
use crate::config::{
    Entry, Place, Problem, Problems, Reader, Refusal, Section, parse_yaml, switch, whole,
};
use crate::record::{TokenType, Unit};

/// The rate of cache writes that live an hour, among those of tokens.
const CACHE_WRITE_1H: &str = Unit::CacheWrite1h.as_str();

/// More tokens than any model takes or makes: what is larger is a slip of the pen.
const MOST_TOKENS: u64 = 1_000_000_000;

/// The rows and aliases of a file.
#[derive(Debug, Default)]
pub(super) struct OwnPrices {
    pub(super) rows: Vec<PriceRow>,
    pub(super) aliases: Vec<Alias>,
}

/// What a file says once for all its rows.
#[derive(Debug, Default)]
struct Common {
    provider: String,
    source: String,
    residency: Option<Factor>,
}

/// Reads prices in Tollgate's own shape. `file` is the path as it was written by the operator, for
/// problems and as the source of rows that name none.
pub(super) fn read(file: &Path, text: &str) -> Result<OwnPrices, Problems> {
    let nowhere = Path::new("");
    let no_env = |_: &str| None;
    let mut reader = Reader::new(Some(Arc::from(file)), nowhere, nowhere, &no_env);
    let (root, flaws) = parse_yaml(text);
    for flaw in flaws {
        let place = reader.at(flaw.at);
        reader.problem(&place, "", flaw.message, flaw.hint);
    }
    let mut prices = OwnPrices::default();
    let mut places: Vec<Place> = Vec::new();
    if let Some(root) = root {
        Section::top(&mut reader, Some(&root), |top, reader| {
            let mut common = Common {
                provider: String::new(),
                source: file.display().to_string(),
                residency: None,
            };
            top.set(reader, "provider", &mut common.provider, provider);
            top.set(reader, "source", &mut common.source, name);
            let residency = |text: &str| tiers::factor(text).map(Some);
            top.set(reader, "residency", &mut common.residency, residency);
            let listed = top.list(reader, "prices", |section, reader| {
                let place = section.place.clone().unwrap_or(Place::Default);
                if let Some(row) = row(section, reader, &common, &mut prices.aliases) {
                    prices.rows.push(row);
                    places.push(place);
                }
            });
            if listed.is_none() && !top.has("prices") {
                let place = top.place.clone().unwrap_or(Place::Default);
                let hint = Some("list them: `prices:`, and below it `- model: …` for each");
                reader.problem(&place, "prices", "is missing", hint);
            }
        });
        overlaps(&mut reader, &prices.rows, &places);
        reader.refuse_unknown();
    }
    if reader.problems.is_empty() {
        return Ok(prices);
    }
    reader
        .problems
        .sort_by(|left, right| left.place.cmp(&right.place));
    Err(Problems(reader.problems))
}

/// Two rows of one model must not both hold at a moment.
fn overlaps(reader: &mut Reader<'_>, rows: &[PriceRow], places: &[Place]) {
    for (index, (row, place)) in rows.iter().zip(places).enumerate() {
        let earlier = rows[..index].iter().zip(places).find(|(other, _)| {
            let begins = |row: &PriceRow| row.effective_from.map_or(i64::MIN, |from| from.0);
            let ends = |row: &PriceRow| row.effective_to.map_or(i64::MAX, |to| to.0);
            (&other.provider, &other.model) == (&row.provider, &row.model)
                && begins(other) < ends(row)
                && begins(row) < ends(other)
        });
        if let Some((_, first)) = earlier {
            let message = format!(
                "`{}` has another price at the same time, at {first}",
                row.model
            );
            let hint =
                Some("give the rows `effective_from` and `effective_to` that do not overlap");
            reader.problem(place, &format!("prices[{index}]"), message, hint);
        }
    }
}

fn row(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    common: &Common,
    aliases: &mut Vec<Alias>,
) -> Option<PriceRow> {
    // Without a place it is no mapping, which is told already.
    let place = section.place.clone()?;
    let mut model = None;
    section.set(reader, "model", &mut model, |text| name(text).map(Some));
    let mut row = PriceRow::new(
        common.provider.clone(),
        String::new(),
        common.source.clone(),
        Rates::default(),
    );
    let owned = |parse: fn(&str) -> Result<String, Refusal>| {
        move |text: &str| parse(text).map(Cow::<'static, str>::Owned)
    };
    section.set(reader, "provider", &mut row.provider, owned(provider));
    section.set(reader, "source", &mut row.source, owned(name));
    let date = |text: &str| moment(text).map(Some);
    section.set(reader, "effective_from", &mut row.effective_from, date);
    let until = section.set(reader, "effective_to", &mut row.effective_to, date);
    if let (Some(from), Some(to), Some(place)) = (row.effective_from, row.effective_to, &until)
        && to <= from
    {
        let hint = Some("it is the first day or moment at which the price no longer holds");
        reader.problem(
            place,
            &section.key("effective_to"),
            "is not after `effective_from`",
            hint,
        );
    }
    row.residency = common.residency;
    let residency = |text: &str| tiers::factor(text).map(Some);
    section.set(reader, "residency", &mut row.residency, residency);
    section.set(reader, "family", &mut row.family, switch);
    section.set(reader, "images_as_text", &mut row.images_as_text, switch);
    for given in section.texts(reader, "cache_not_of") {
        match given.text.as_str() {
            "audio" => row.cache_not_of.audio = true,
            "image" => row.cache_not_of.image = true,
            _ => {
                let refusal = Refusal::new("is no kind of tokens", "write `audio` or `image`");
                reader.refuse(&given, &section.key("cache_not_of"), &refusal);
            }
        }
    }
    let tokens = |text: &str| whole(1, MOST_TOKENS)(text).map(Some);
    let limits = &mut row.limits;
    section.set(
        reader,
        "max_input_tokens",
        &mut limits.max_input_tokens,
        tokens,
    );
    section.set(
        reader,
        "max_output_tokens",
        &mut limits.max_output_tokens,
        tokens,
    );
    row.standard = rates(section, reader, "per_million");
    row.fees = fees(section, reader);
    row.tiers = tiers::tiers(section, reader);
    row.thresholds = tiers::thresholds(section, reader);
    let names = section.texts(reader, "aliases");
    if !section.has("model") {
        reader.problem(&place, &section.key("model"), "is missing", None);
    } else if !section.has("per_million") && !section.has("per_unit") {
        let hint = Some("state `per_million` (USD for a million tokens) or `per_unit`");
        let key = section.key("per_million");
        reader.problem(&place, &key, "the row has no price", hint);
    }
    let model: String = model?;
    aliases.extend(names.into_iter().map(|given| Alias {
        provider: row.provider.clone().into_owned(),
        name: given.text,
        model: model.clone(),
    }));
    row.model = Cow::Owned(model);
    Some(row)
}

fn rates(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Rates {
    let entries = section.names(reader, key);
    rates_of(reader, entries, &section.key(key))
}

/// `{input: 2.50, output: 10}`
fn rates_of(reader: &mut Reader<'_>, entries: &[Entry], path: &str) -> Rates {
    let mut rates = Rates::default();
    for entry in entries {
        let path = format!("{path}.{}", entry.key);
        let kind = entry.key.parse::<TokenType>();
        if kind.is_err() && entry.key != CACHE_WRITE_1H {
            let kinds: Vec<&str> = TokenType::ALL.iter().map(|kind| kind.as_str()).collect();
            let hint = format!("one of: {}, {CACHE_WRITE_1H}", kinds.join(", "));
            let place = reader.at(entry.key_at);
            reader.problem(&place, &path, "is no type of tokens", Some(&hint));
            continue;
        }
        if let Some(rate) = rate(reader, entry, &path, 0) {
            rates = match kind {
                Ok(kind) => rates.with(kind, rate),
                Err(_) => rates.with_cache_write_1h(rate),
            };
        }
    }
    rates
}

fn rate(reader: &mut Reader<'_>, entry: &Entry, path: &str, per: i32) -> Option<Rate> {
    let given = reader.scalar(entry, path)?;
    match Rate::exactly(&given.text, per) {
        Ok(rate) => Some(rate),
        Err(error) => {
            let refusal = Refusal::new(error.to_string(), "write USD as a number, as `2.50`");
            reader.refuse(&given, path, &refusal);
            None
        }
    }
}

/// `per_unit: {web_search: 0.01, audio_minute: 0.006}`
fn fees(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Fees {
    /// Names, what they price, and the powers of ten between one of them and a million units.
    const NAMES: [(&str, Unit, i32); 6] = [
        ("web_search", Unit::WebSearch, 6),
        ("file_search", Unit::FileSearch, 6),
        ("image", Unit::Image, 6),
        ("character", Unit::Character, 6),
        ("audio_second", Unit::AudioMs, 3),
        ("audio_minute", Unit::AudioMs, 3),
    ];
    let mut fees = Fees::default();
    for entry in section.names(reader, "per_unit") {
        let path = format!("{}.{}", section.key("per_unit"), entry.key);
        let Some(&(name, unit, per)) = NAMES.iter().find(|(name, ..)| *name == entry.key) else {
            let hint = format!("one of: {}", NAMES.map(|(name, ..)| name).join(", "));
            let place = reader.at(entry.key_at);
            reader.problem(&place, &path, "is no unit that is counted", Some(&hint));
            continue;
        };
        let Some(mut rate) = rate(reader, entry, &path, per) else {
            continue;
        };
        if fees.stated(unit).is_some() {
            let place = reader.at(entry.key_at);
            let hint = Some("keep one of the two");
            reader.problem(&place, &path, "audio is priced twice", hint);
        }
        if name == "audio_minute" {
            // Below a nano-dollar for a million milliseconds nothing is lost that shows.
            rate = Rate(rate.0.saturating_add(30) / 60);
        }
        fees = fees.with(unit, rate);
    }
    fees
}

fn name(text: &str) -> Result<String, Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new("is empty", "write a name"));
    }
    Ok(text.to_owned())
}

fn provider(text: &str) -> Result<String, Refusal> {
    name(text).map(|name| canonical(&name).to_owned())
}

/// A day, which begins in UTC, or a moment.
fn moment(text: &str) -> Result<UnixMicros, Refusal> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    let moment = match day {
        Some(day) => day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp()),
        None => text.parse::<jiff::Timestamp>().ok(),
    };
    moment.map(UnixMicros::from).ok_or_else(|| {
        Refusal::new(
            "is no day and no moment",
            "write `2026-11-22`, which begins in UTC, or `2026-11-22T08:00:00Z`",
        )
    })
}

/// A problem with a file as a whole.
pub(super) fn problem(file: &Path, message: String, hint: Option<&str>) -> Problem {
    Problem {
        place: Place::File {
            file: Arc::from(file),
            position: None,
        },
        key: String::new(),
        message,
        hint: hint.map(str::to_owned),
    }
}
