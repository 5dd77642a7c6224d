//! Filters by name: what a question says of a channel, a model, a key, and the like.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;

use crate::config::ModelPattern;
use crate::record::UnknownName;

/// Most names in one filter: SQLite bounds how deep a condition may be.
const MOST_NAMES: usize = 200;

/// What a dashboard's variable stands for when everything is chosen: a regular expression, because the
/// same variable goes to Prometheus.
const GRAFANAS_ALL: &str = ".*";

/// Names, or patterns of names (`*` any characters, `?` one), of which one is to fit; written with
/// commas between them. `*` (or `.*`) is everything, also what has no name; every other pattern wants one.
/// Everything, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// Empty: everything.
    patterns: Vec<ModelPattern>,
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} names are more than {MOST_NAMES}, the most that one filter takes; use patterns (`gpt-5*`)"
)]
pub struct NameFilterError(usize);

impl NameFilter {
    /// Exactly this name.
    #[must_use]
    pub fn exactly(name: &str) -> Self {
        Self {
            patterns: vec![ModelPattern::new(name)],
        }
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether it lets through what has this name; `None` is what has none.
    #[must_use]
    pub fn matches(&self, name: Option<&str>) -> bool {
        self.is_everything()
            || name.is_some_and(|name| self.patterns.iter().any(|pattern| pattern.matches(name)))
    }

    /// The names, where it says nothing else: neither a pattern nor everything.
    pub(in crate::ledger) fn exact_names(&self) -> Option<Vec<&str>> {
        let are_names = self.patterns.iter().all(ModelPattern::is_exact);
        (are_names && !self.is_everything())
            .then(|| self.patterns.iter().map(ModelPattern::as_str).collect())
    }

    /// Fails on a name or pattern that fits none of `words`, which are all there are of
    /// `vocabulary`.
    pub fn check(&self, vocabulary: &'static str, words: &[&str]) -> Result<(), UnknownName> {
        let stray = |pattern: &&ModelPattern| !words.iter().any(|word| pattern.matches(word));
        match self.patterns.iter().find(stray) {
            Some(stray) => Err(UnknownName::new(stray.as_str(), vocabulary, words)),
            None => Ok(()),
        }
    }

    /// The SQL condition that `column` fits, with the values it speaks of in their order; `None` of
    /// everything. A column that is NULL fits none.
    pub(in crate::ledger) fn condition(&self, column: &str) -> Option<(String, Vec<Value>)> {
        let (names, globs): (Vec<_>, Vec<_>) =
            self.patterns.iter().partition(|pattern| pattern.is_exact());
        let mut choices = Vec::new();
        match names.len() {
            0 => {}
            1 => choices.push(format!("{column} = ?")),
            more => choices.push(format!("{column} IN (?{})", ", ?".repeat(more - 1))),
        }
        choices.extend(globs.iter().map(|_| format!("{column} GLOB ?")));
        let values = names
            .iter()
            .map(|name| name.as_str().to_owned())
            // A bracket begins a set of characters in SQL's patterns, in ours it is one.
            .chain(globs.iter().map(|glob| glob.as_str().replace('[', "[[]")))
            .map(Value::Text)
            .collect();
        match choices.as_slice() {
            [] => None,
            [only] => Some((only.clone(), values)),
            several => Some((format!("({})", several.join(" OR ")), values)),
        }
    }
}

impl FromStr for NameFilter {
    type Err = NameFilterError;

    fn from_str(text: &str) -> Result<Self, NameFilterError> {
        let names = text.split(',').map(str::trim);
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        if names.len() > MOST_NAMES {
            return Err(NameFilterError(names.len()));
        }
        if names
            .iter()
            .any(|name| *name == GRAFANAS_ALL || name.bytes().all(|byte| byte == b'*'))
        {
            return Ok(Self::default());
        }
        Ok(Self {
            patterns: names.into_iter().map(ModelPattern::new).collect(),
        })
    }
}

impl fmt::Display for NameFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.pad("*");
        }
        let names: Vec<&str> = self.patterns.iter().map(ModelPattern::as_str).collect();
        f.pad(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};
    use rusqlite::{Connection, params_from_iter};

    use super::*;

    fn filter(text: &str) -> NameFilter {
        text.parse().unwrap()
    }

    /// What the database says of each name.
    fn by_sql(filter: &NameFilter, names: &[Option<String>]) -> Vec<bool> {
        let connection = Connection::open_in_memory().unwrap();
        let (condition, values) = filter
            .condition("name")
            .unwrap_or_else(|| ("true".to_owned(), Vec::new()));
        let sql = format!("SELECT coalesce({condition}, false) FROM (SELECT ? AS name)");
        let mut statement = connection.prepare(&sql).unwrap();
        let fits = |name: &Option<String>| {
            let name = name.clone().map_or(Value::Null, Value::Text);
            let values = values.iter().cloned().chain([name]);
            statement
                .query_row(params_from_iter(values), |row| row.get(0))
                .unwrap()
        };
        names.iter().map(fits).collect()
    }

    #[test]
    fn one_of_the_names_is_to_fit() {
        for (text, name, fits) in [
            ("", Some("a"), true),
            ("*", None, true),
            (".*", None, true),
            ("gpt-5, o?,", Some("gpt-5"), true),
            ("gpt-5,o?", Some("o4"), true),
            ("gpt-5,o?", Some("gpt-5.1"), false),
            ("gpt-*,claude-*", Some("claude-opus"), true),
            ("gpt-*,*", Some("claude-opus"), true),
            ("?*", None, false),
            ("GPT-5", Some("gpt-5"), false),
            ("[ab]*", Some("a"), false),
            ("[ab]*", Some("[ab]c"), true),
        ] {
            let filter = filter(text);
            let sql = by_sql(&filter, &[name.map(ToOwned::to_owned)]);
            assert_eq!(filter.matches(name), fits, "{text} {name:?}");
            assert_eq!(sql, [fits], "{text} {name:?}");
        }
        assert!(filter("a,**").is_everything());
        assert_eq!(filter(" a , b* ").to_string(), "a,b*");
        assert!(NameFilter::exactly("a").matches(Some("a")));
    }

    #[test]
    fn a_word_that_there_is_not_is_told_with_those_there_are() {
        let words = ["chat", "responses"];
        assert_eq!(filter("chat,resp*").check("api", &words), Ok(()));
        assert_eq!(filter("*").check("api", &words), Ok(()));
        let error = filter("chat,chta").check("api", &words).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`chta` is no api; one of: chat, responses"
        );
    }

    #[test]
    fn no_filter_is_too_deep_for_the_database() {
        let globs = |count: usize| vec!["a*"; count].join(",");
        let widest = filter(&globs(MOST_NAMES));
        assert_eq!(by_sql(&widest, &[Some("ab".to_owned())]), [true]);
        let error = globs(MOST_NAMES + 1).parse::<NameFilter>().unwrap_err();
        assert!(error.to_string().starts_with("201 names are"), "{error}");
    }

    proptest! {
        #[test]
        fn the_database_matches_as_this_program_does(
            text in r"[ab\[\]^*?,é-]{0,10}",
            names in proptest::collection::vec(
                proptest::option::of(r"[ab\[\]^*?é-]{1,5}"), 1..20,
            ),
        ) {
            let filter = filter(&text);
            let expected: Vec<bool> =
                names.iter().map(|name| filter.matches(name.as_deref())).collect();
            prop_assert_eq!(by_sql(&filter, &names), expected);
        }
    }
}
