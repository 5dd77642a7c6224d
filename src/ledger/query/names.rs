//! Filters by name: what a question says of a channel, a model, a key, and the like.

mod choice;

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;

use crate::record::UnknownName;

use choice::{Choice, words};

/// Most names in one filter: SQLite bounds how deep a condition may be.
const MOST_NAMES: usize = 200;

/// What a dashboard's variable stands for when everything is chosen: a regular expression, because the
/// same variable goes to Prometheus.
const GRAFANAS_ALL: &str = ".*";

/// Names, or patterns of names (`*` any characters, `?` one), of which one is to fit; written with
/// commas between them, and a backslash before a character that means itself. Or a list in JSON, as
/// Grafana writes what is chosen (`${model:json}`): each is a name then, whatever its characters. `*`
/// (or `.*`) is everything, also what has no name; `(none)`, in a list `""` too, is what has none;
/// every other pattern wants one. Everything, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// Empty: everything.
    choices: Vec<Choice>,
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFilterError {
    /// Too long a list.
    #[error(
        "{0} names are more than {MOST_NAMES}, the most that one filter takes; use patterns (`gpt-5*`)"
    )]
    TooMany(usize),
    /// What a series of usage is called that is the rest of a question's answer.
    #[error(
        "`(other)` is no name: a series over time calls so all that are not among its largest, which \
         differ from question to question; name the ones that are meant, or ask for more of them (`top`)"
    )]
    Rest,
}

impl NameFilter {
    /// Exactly this name.
    #[must_use]
    pub fn exactly(name: &str) -> Self {
        Self {
            choices: vec![Choice::exactly(name)],
        }
    }

    /// Exactly this name, whatever its characters; `(none)` is what has none.
    #[must_use]
    pub fn one(name: &str) -> Self {
        let name = if name == choice::NONE { "" } else { name };
        Self::exactly(name)
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.choices.is_empty()
    }

    /// Whether it lets through what has this name; `None`, or none of any characters, is what has none.
    #[must_use]
    pub fn matches(&self, name: Option<&str>) -> bool {
        let name = name.filter(|name| !name.is_empty());
        self.is_everything() || self.choices.iter().any(|choice| choice.matches(name))
    }

    /// The names, where it says nothing else: neither a pattern nor what has none, nor everything.
    pub(in crate::ledger) fn exact_names(&self) -> Option<Vec<&str>> {
        let names = self.choices.iter().map(|choice| match choice {
            Choice::Name(name) => Some(name.as_str()),
            Choice::Nameless | Choice::Pattern(_) => None,
        });
        names
            .collect::<Option<Vec<_>>>()
            .filter(|names| !names.is_empty())
    }

    /// The same filter with `names` in place of the name `word`, which stands for them.
    #[must_use]
    pub fn with_word(mut self, word: &str, names: &[&str]) -> Self {
        let before = self.choices.len();
        let is_word = |choice: &Choice| matches!(choice, Choice::Name(name) if name == word);
        self.choices.retain(|choice| !is_word(choice));
        if self.choices.len() < before {
            self.choices
                .extend(names.iter().copied().map(Choice::exactly));
        }
        self
    }

    /// Fails on a name or pattern that fits none of `words`, which are all there are of
    /// `vocabulary`.
    pub fn check(&self, vocabulary: &'static str, words: &[&str]) -> Result<(), UnknownName> {
        let is_stray = |choice: &&Choice| {
            **choice != Choice::Nameless && !words.iter().any(|word| choice.matches(Some(word)))
        };
        match self.choices.iter().find(is_stray) {
            Some(stray) => Err(UnknownName::new(&stray.to_string(), vocabulary, words)),
            None => Ok(()),
        }
    }

    /// The SQL condition that `column` fits, with the values it speaks of in their order; `None` of
    /// everything. A column that is NULL or `''`, which stands for none in sums, fits `(none)` only.
    pub(in crate::ledger) fn condition(&self, column: &str) -> Option<(String, Vec<Value>)> {
        let (mut names, mut patterns, mut is_nameless) = (Vec::new(), Vec::new(), false);
        for choice in &self.choices {
            match choice {
                Choice::Nameless => is_nameless = true,
                Choice::Name(name) => names.push(Value::Text(name.clone())),
                Choice::Pattern(symbols) => {
                    patterns.push(Value::Text(choice::sql_pattern(symbols)));
                }
            }
        }
        let mut choices = Vec::new();
        match names.len() {
            0 => {}
            1 => choices.push(format!("{column} = ?")),
            more => choices.push(format!("{column} IN (?{})", ", ?".repeat(more - 1))),
        }
        choices.extend(patterns.iter().map(|_| format!("{column} GLOB ?")));
        if is_nameless {
            choices.push(format!("coalesce({column}, '') = ''"));
        }
        names.append(&mut patterns);
        match choices.as_slice() {
            [] => None,
            [only] => Some((only.clone(), names)),
            several => Some((format!("({})", several.join(" OR ")), names)),
        }
    }
}

impl FromStr for NameFilter {
    type Err = NameFilterError;

    fn from_str(text: &str) -> Result<Self, NameFilterError> {
        let choices = match serde_json::from_str::<Vec<Option<String>>>(text) {
            Ok(names) if names.iter().flatten().any(|name| name == GRAFANAS_ALL) => Vec::new(),
            Ok(names) => names
                .into_iter()
                .map(|name| Choice::of_name(name.unwrap_or_default()))
                .collect::<Result<Vec<_>, _>>()?,
            Err(_no_list) => words(text)
                .iter()
                .filter_map(|word| Choice::of_word(word).transpose())
                .collect::<Result<Vec<_>, _>>()?,
        };
        if choices.len() > MOST_NAMES {
            return Err(NameFilterError::TooMany(choices.len()));
        }
        if choices.iter().any(Choice::is_everything) {
            return Ok(Self::default());
        }
        Ok(Self { choices })
    }
}

/// As it is read again.
impl fmt::Display for NameFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.pad("*");
        }
        let choices: Vec<String> = self.choices.iter().map(ToString::to_string).collect();
        f.pad(&choices.join(","))
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
            ("?*", Some(""), false),
            ("GPT-5", Some("gpt-5"), false),
            ("[ab]*", Some("a"), false),
            ("[ab]*", Some("[ab]c"), true),
            ("a*b*c", Some("abbbxc"), true),
            ("a*b*c", Some("abbbxcd"), false),
        ] {
            assert_fits(text, name, fits);
        }
        assert!(filter("a,**").is_everything());
        assert_eq!(filter(" a , b* ").to_string(), "a,b*");
        assert!(NameFilter::exactly("a").matches(Some("a")));
    }

    fn assert_fits(text: &str, name: Option<&str>, fits: bool) {
        let filter = filter(text);
        let sql = by_sql(&filter, &[name.map(ToOwned::to_owned)]);
        assert_eq!(filter.matches(name), fits, "{text} {name:?}");
        assert_eq!(sql, [fits], "{text} {name:?}");
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_the_character_after_it() {
        for (text, name, fits) in [
            (r"a\,b", "a,b", true),
            (r"a\,b", "a", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\**", "a*b", true),
            (r"a\**", "aab", false),
            (r"a\?,b", "a?", true),
            (r"a\\b", r"a\b", true),
            (r"a\", r"a\", true),
            (r"\(none\)", "(none)", true),
            (r"\(other)", "(other)", true),
            (r".\*", ".*", true),
            (r".\*", "gpt-5", false),
            (r"\ a", " a", true),
        ] {
            assert_fits(text, Some(name), fits);
        }
    }

    /// As Grafana writes what is chosen: `${model:json}`.
    #[test]
    fn a_list_in_json_is_of_names_whatever_their_characters() {
        for name in ["a,b", "a*", "?", r#"a"b"#, r"a\b", "[ab]", "ü", " a ", "*"] {
            let one = serde_json::to_string(&[name]).unwrap();
            let several = serde_json::to_string(&["gpt-5", name]).unwrap();
            for text in [one, several] {
                assert_fits(&text, Some(name), true);
                assert_fits(&text, Some("ab"), false);
                assert_fits(&text, None, false);
            }
        }
        assert_fits(r#"["gpt-5", "a,b"]"#, Some("gpt-5"), true);
        assert!(filter(r#"[".*"]"#).is_everything());
        assert!(filter("[]").is_everything());
        // No list: a pattern.
        assert_fits(r#"["a","#, Some(r#"["a""#), true);
    }

    #[test]
    fn what_has_no_name_can_be_asked_for() {
        for text in [
            "(none)",
            "a, (none)",
            r#"["(none)"]"#,
            r#"[""]"#,
            r#"["a", null]"#,
        ] {
            assert_fits(text, None, true);
            // As sums have it.
            assert_fits(text, Some(""), true);
            assert_fits(text, Some("b"), false);
            assert_fits(text, Some("(none)"), false);
            assert_eq!(filter(text).exact_names(), None);
            assert_eq!(filter(text).check("api", &["a"]), Ok(()));
        }
        assert_fits("a, (none)", Some("a"), true);
    }

    #[test]
    fn the_rest_of_a_series_cannot_be_asked_for() {
        for text in ["(other)", "a, (other) ", r#"["a", "(other)"]"#] {
            let error = text.parse::<NameFilter>().unwrap_err();
            assert_eq!(error, NameFilterError::Rest, "{text}");
        }
        let told = NameFilterError::Rest.to_string();
        assert!(told.starts_with("`(other)` is no name: "), "{told}");
    }

    #[test]
    fn a_word_can_stand_for_names() {
        let failed = |text: &str| filter(text).with_word("failed", &["timeout", "internal"]);
        assert_eq!(failed("ok,failed"), filter("ok,timeout,internal"));
        assert_eq!(failed(r#"["failed"]"#), filter("timeout,internal"));
        assert_eq!(failed("ok"), filter("ok"));
        assert_eq!(failed("*"), filter("*"));
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
            text in r"[ab\[\]^*?,é\\-]{0,10}",
            names in proptest::collection::vec(
                proptest::option::of(r"[ab\[\]^*?é,\\-]{0,5}"), 1..20,
            ),
        ) {
            let filter = filter(&text);
            let expected: Vec<bool> =
                names.iter().map(|name| filter.matches(name.as_deref())).collect();
            prop_assert_eq!(by_sql(&filter, &names), expected);
        }

        #[test]
        fn what_is_written_is_read_again(text in r#"[ab\[\]*?, ."\\()]{0,8}"#, name in r#"[a\[\]*?, ."\\()]{0,6}"#) {
            let read = filter(&text);
            prop_assert_eq!(filter(&read.to_string()), read);
            let exactly = NameFilter::exactly(&name);
            prop_assert_eq!(filter(&exactly.to_string()), exactly);
        }
    }
}
