//! Finds a model's price by name and date.

use std::sync::Arc;

use foldhash::HashMap;

use super::builtin;
use super::row::{PriceRow, Tier};
use crate::clock::UnixMicros;
use crate::record::{Cost, Usage, closed_set};

closed_set! {
    /// Which rule found a model's price.
    MatchRule ("match rule") {
        /// The row has the very name.
        Exact => "exact",
        /// The row has the name without its date at the end, `-YYYY-MM-DD` or `-MMDD`.
        Dated => "dated",
        /// The name is declared to cost what another model costs.
        Alias => "alias",
        /// The name begins with the longest name that is declared a family.
        Prefix => "prefix",
    }
}

/// A row that was found.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t> {
    /// The row.
    pub row: &'t PriceRow,
    /// How its name was found.
    pub rule: MatchRule,
    /// `table/model@since:rule`, as the ledger keeps it.
    pub price_version: &'t Arc<str>,
}

/// Price rows, ready to be searched. Immutable; a lookup hashes the name at most four times,
/// takes no lock and allocates nothing.
#[derive(Debug)]
pub struct PriceTable {
    rows: HashMap<String, Vec<VersionedRow>>,
    aliases: HashMap<String, String>,
    /// Longest first.
    families: Vec<String>,
}

#[derive(Debug)]
struct VersionedRow {
    row: PriceRow,
    /// One text for each rule, so that pricing a request does not write one.
    versions: [Arc<str>; MatchRule::ALL.len()],
}

impl PriceTable {
    /// The prices that Tollgate ships.
    #[must_use]
    pub fn builtin() -> Self {
        let aliases = builtin::ALIASES
            .iter()
            .map(|&(name, model)| (name.to_owned(), model.to_owned()));
        Self::new(builtin::VERSION, builtin::rows(), aliases)
    }

    /// A table of `rows`, and names that cost what another model costs. `version` names the table
    /// in each price version. Where the periods of two rows overlap the earlier in the list holds.
    #[must_use]
    pub fn new(
        version: &str,
        rows: impl IntoIterator<Item = PriceRow>,
        aliases: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut by_model: HashMap<String, Vec<VersionedRow>> = HashMap::default();
        let mut families = Vec::new();
        for row in rows {
            if row.family && !families.iter().any(|family| *family == row.model) {
                families.push(row.model.clone().into_owned());
            }
            let versions = versions(version, &row);
            by_model
                .entry(row.model.clone().into_owned())
                .or_default()
                .push(VersionedRow { row, versions });
        }
        families.sort_by_key(|family| std::cmp::Reverse(family.len()));
        Self {
            rows: by_model,
            aliases: aliases.into_iter().collect(),
            families,
        }
    }

    /// The price of `model` at a moment: its own row, else that of the name without its date, else
    /// that of the model it is an alias of, else that of the longest family it belongs to. A rule
    /// that finds a model decides, even when none of the model's rows holds at that moment.
    #[must_use]
    pub fn find(&self, model: &str, at: UnixMicros) -> Option<Match<'_>> {
        let (rows, rule) = self.named(model)?;
        let found = rows
            .iter()
            .find(|versioned| versioned.row.is_effective(at))?;
        Some(Match {
            row: &found.row,
            rule,
            price_version: &found.versions[rule as usize],
        })
    }

    /// What a request cost. `service_tier` is the provider's word for the tier that was served.
    /// `None` when the model, the tier or a token type that was used has no price, or nothing is
    /// known of the usage; counts of zero cost zero.
    #[must_use]
    pub fn price(
        &self,
        model: &str,
        service_tier: Option<&str>,
        usage: &Usage,
        at: UnixMicros,
    ) -> Option<Cost> {
        let found = self.find(model, at)?;
        let tier = Tier::of(service_tier)?;
        Some(Cost {
            amount: found.row.amount(tier, &usage.tokens)?,
            price_version: Arc::clone(found.price_version),
        })
    }

    fn named(&self, model: &str) -> Option<(&[VersionedRow], MatchRule)> {
        let rows = |name: &str| self.rows.get(name).map(Vec::as_slice);
        if let Some(found) = rows(model) {
            return Some((found, MatchRule::Exact));
        }
        let undated = without_date(model);
        if let Some(found) = undated.and_then(rows) {
            return Some((found, MatchRule::Dated));
        }
        let alias = self
            .aliases
            .get(model)
            .or_else(|| self.aliases.get(undated?));
        if let Some(found) = alias.and_then(|target| rows(target)) {
            return Some((found, MatchRule::Alias));
        }
        let family = self.families.iter().find(|family| {
            model
                .strip_prefix(family.as_str())
                .is_some_and(|rest| rest.starts_with('-'))
        })?;
        Some((rows(family)?, MatchRule::Prefix))
    }
}

fn versions(table: &str, row: &PriceRow) -> [Arc<str>; MatchRule::ALL.len()] {
    let since = row.effective_from.map_or_else(String::new, |from| {
        let date = from.timestamp().strftime("%Y-%m-%d");
        format!("@{date}")
    });
    [
        MatchRule::Exact,
        MatchRule::Dated,
        MatchRule::Alias,
        MatchRule::Prefix,
    ]
    .map(|rule| Arc::from(format!("{table}/{}{since}:{rule}", row.model)))
}

/// The name without a date at its end; `None` when there is none.
fn without_date(model: &str) -> Option<&str> {
    /// A full date; its first five characters are the shape of `-MMDD` too.
    const SHAPE: &str = "-####-##-##";
    let day_and_month = |month: &str, day: &str| {
        let within = |text: &str, max: u8| text.parse().is_ok_and(|n: u8| (1..=max).contains(&n));
        within(month, 12) && within(day, 31)
    };
    let tail = |length: usize| {
        let (name, tail) = model.split_at_checked(model.len().checked_sub(length)?)?;
        let shaped = tail.bytes().zip(SHAPE.bytes()).all(|(byte, shape)| {
            if shape == b'#' {
                byte.is_ascii_digit()
            } else {
                byte == shape
            }
        });
        (shaped && !name.is_empty()).then_some((name, tail))
    };
    let long = tail(11).filter(|(_, tail)| day_and_month(&tail[6..8], &tail[9..11]));
    let short = || tail(5).filter(|(_, tail)| day_and_month(&tail[1..3], &tail[3..5]));
    long.or_else(short).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_taken_off_names_and_other_endings_stay() {
        for (model, name) in [
            ("gpt-5.4-2026-03-05", Some("gpt-5.4")),
            ("gpt-4-0613", Some("gpt-4")),
            ("a-2026-13-01", None),
            ("a-2026-00-01", None),
            ("a-2026-01-32", None),
            ("a-20260101", None),
            ("a-1301", None),
            ("a-0600", None),
            ("a-+101", None),
            ("a-061", None),
            ("-0613", None),
            ("-2026-01-01", None),
            ("", None),
            ("ключ", None),
            ("é-0613", Some("é")),
            ("xéxx-é13", None),
        ] {
            assert_eq!(without_date(model), name, "{model}");
        }
    }
}
