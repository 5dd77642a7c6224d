//! What Grafana puts in place of variables, for several choices of a reader.

use std::collections::BTreeMap;

use tollgate::clock::UnixMicros;

use crate::boards::{Board, text};

/// A model that has traffic here and whose name has all that lists, patterns, regular expressions, SQL and JSON take
/// for signs, but for a double quote: Grafana does not escape that one for Prometheus.
pub(crate) const ODD: &str = r"odd, n*me? [x]+(1)'s\";
/// A name with that too (Grafana escapes it only where `prometheusSpecialCharsInLabelValues` is switched on); only the
/// ledger has traffic of it.
pub(crate) const ODDER: &str = r#"odder, "n*me"? [x]+(1)'s\"#;
/// A key and a session that have traffic in the ledger.
pub(crate) const KEY: &str = "team-a";
pub(crate) const SESSION: &str = "session-1";

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// What a reader chose.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    /// For who reads what went wrong.
    pub(crate) name: &'static str,
    /// Some of the variables; the others are as the dashboard has them.
    values: &'static [(&'static str, &'static [&'static str])],
    /// How long the range is, in seconds, and its steps.
    range_s: i64,
    step: &'static str,
}

pub(crate) const EVERYTHING: Choice = Choice {
    name: "everything",
    values: &[],
    range_s: HOUR_S,
    step: "30s",
};

/// Of the choices this one is for the ledger alone.
pub(crate) const LEDGER_ONLY: &str = "names of signs in the ledger";

/// The others.
pub(crate) const CHOICES: &[Choice] = &[
    Choice {
        name: "one name of each",
        values: &[
            ("channel", &["main"]),
            ("model", &["gpt-5-mini"]),
            ("api", &["chat"]),
            ("key", &[KEY]),
        ],
        ..EVERYTHING
    },
    Choice {
        name: "a name of signs",
        values: &[("model", &[ODD])],
        ..EVERYTHING
    },
    Choice {
        name: LEDGER_ONLY,
        values: &[
            ("channel", &[ODDER]),
            ("model", &[ODDER]),
            ("key", &[ODDER]),
        ],
        ..EVERYTHING
    },
    Choice {
        name: "several names, failures, boxes, ninety days",
        values: &[
            ("channel", &["main", "rated"]),
            ("model", &["gpt-5-mini", ODD]),
            ("api", &["chat", "responses"]),
            ("key", &[KEY, ODDER]),
            ("outcome", &["failed", "timeout"]),
            ("usage_source", &["missing", "none"]),
            ("order", &["slowest"]),
            ("status", &["429"]),
            ("session", &[SESSION]),
            ("measure", &["tokens"]),
            ("percentile", &["0.99"]),
        ],
        range_s: 90 * DAY_S,
        step: "1d",
    },
];

/// The zone of the reader: days begin within an hour of UTC.
pub(crate) const ZONE: &str = "Asia/Kolkata";

enum Value {
    /// What stands for everything; no format changes it.
    All(String),
    One(String),
    /// Of a variable of several values, though it be one.
    Several(Vec<String>),
}

/// What stands for what on one dashboard.
pub(crate) struct Filling {
    values: BTreeMap<String, Value>,
    builtin: BTreeMap<&'static str, String>,
}

impl Choice {
    fn step_ms(self) -> i64 {
        let (count, unit) = self.step.split_at(self.step.len() - 1);
        let seconds = if unit == "d" { DAY_S } else { 1 };
        count.parse::<i64>().unwrap() * seconds * 1_000
    }
}

impl Filling {
    /// Of what is chosen on `board` now, where the request's id is `id`.
    pub(crate) fn new(board: &Board, choice: Choice, id: &str) -> Self {
        let until = UnixMicros::now();
        let since = UnixMicros(until.0 - choice.range_s * 1_000_000);
        let builtin = [
            ("__from", (since.0 / 1_000).to_string()),
            ("__to", (until.0 / 1_000).to_string()),
            ("__from:date:iso", since.to_string()),
            ("__to:date:iso", until.to_string()),
            ("__interval", choice.step.to_owned()),
            ("__interval_ms", choice.step_ms().to_string()),
            ("__rate_interval", format!("{}s", rate_interval_s(choice))),
            ("__range", format!("{}s", choice.range_s)),
            ("__range_s", choice.range_s.to_string()),
            ("__timezone", ZONE.to_owned()),
        ];
        let variables = board.variables().iter().map(|variable| {
            let name = text(&variable["name"]);
            let chosen = choice.values.iter().find(|(chosen, _)| *chosen == name);
            let is_several = variable["multi"] == true || variable["includeAll"] == true;
            let current = text(&variable["current"]["value"]);
            let value = match chosen {
                _ if name == "id" => Value::One(id.to_owned()),
                Some((_, values)) if is_several => {
                    Value::Several(values.iter().copied().map(str::to_owned).collect())
                }
                Some((_, values)) => Value::One(values.concat()),
                None if current == "$__all" => Value::All(text(&variable["allValue"]).to_owned()),
                None => Value::One(current.to_owned()),
            };
            (name.to_owned(), value)
        });
        Self {
            values: variables.collect(),
            builtin: builtin.into(),
        }
    }

    /// `template` with values in place of `$name`, `${name}` and `${name:format}`; without a format as the data source has
    /// it (`usual`). What is no variable stays.
    pub(crate) fn fill(&self, template: &str, usual: &str) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('$') {
            filled += before;
            let braced = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let (inside, length) = if let Some((inside, _)) = braced {
                (inside, inside.len() + 2)
            } else {
                let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
                let length = from.find(|letter| !is_word(letter)).unwrap_or(from.len());
                (&from[..length], length)
            };
            let (name, format) = inside.split_once(':').unwrap_or((inside, usual));
            match (self.builtin.get(inside), self.values.get(name)) {
                (Some(value), _) => filled += value,
                (None, Some(value)) => filled += &value.formatted(format),
                (None, None) => filled = filled + "$" + &from[..length],
            }
            rest = &from[length..];
        }
        filled + rest
    }
}

/// As Grafana has it with a scrape every second; the first minute of a process is what there is here.
fn rate_interval_s(choice: Choice) -> i64 {
    if choice.range_s > HOUR_S { DAY_S } else { 60 }
}

impl Value {
    /// As Grafana's formats do it (`@grafana/scenes`, `formatRegistry`), and its Prometheus data source.
    fn formatted(&self, format: &str) -> String {
        let values = match self {
            Self::All(everything) => return everything.clone(),
            Self::One(value) if matches!(format, "csv" | "json" | "raw" | "text" | "glob") => {
                return value.clone();
            }
            Self::One(value) if format == "prometheus" => {
                return value.replace('\\', r"\\").replace('"', "\\\"");
            }
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values.as_slice(),
        };
        match format {
            "csv" | "raw" => values.join(","),
            "json" => serde_json::to_string(values).unwrap(),
            "sqlstring" => {
                let quoted = values
                    .iter()
                    .map(|value| format!("'{}'", value.replace('\'', "''")));
                quoted.collect::<Vec<_>>().join(",")
            }
            "percentencode" => {
                form_urlencoded::byte_serialize(values.concat().as_bytes()).collect()
            }
            "prometheus" => match values {
                [one] => escaped(one),
                several => {
                    let escaped: Vec<_> = several.iter().map(|value| escaped(value)).collect();
                    format!("({})", escaped.join("|"))
                }
            },
            "glob" | "text" => match values {
                [one] => one.clone(),
                several => format!("{{{}}}", several.join(",")),
            },
            other => panic!("the format {other}"),
        }
    }
}

/// A value within a regular expression within the quotes of a query.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for letter in value.chars() {
        match letter {
            '\\' => escaped += r"\\\\",
            '$' | '^' | '*' | '{' | '}' | '[' | ']' | '\'' | '+' | '?' | '.' | '(' | ')' | '|' => {
                escaped += r"\\";
                escaped.push(letter);
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}
