//! The references in `docs`: settings, metrics and the API, made of what Tollgate itself says of them. `make references`
//! writes them; without that they are compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::boards::{list, text};
use crate::stack::Stack;

mod metrics;
mod settings;

const WRITES: &str = "TOLLGATE_WRITE_REFERENCES";

#[test]
fn the_reference_of_settings_is_the_example() {
    compare("settings.md", &settings::reference());
}

/// What is wrong with the references of a running Tollgate.
pub(crate) fn check(stack: &Stack) {
    compare("metrics.md", &metrics::reference(stack));
    compare(
        "api.md",
        &api(&stack.tollgate.admin("/api/v1/openapi.json").json()),
    );
}

fn compare(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os(WRITES).is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let line = kept
        .lines()
        .zip(made.lines())
        .position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "docs/{name} is not what Tollgate says, from line {:?} on: `make references` writes it",
        line.map(|line| line + 1)
    );
}

const API: &str = "# The API

What Tollgate answers on the admin port under `/api/v1/`, made of its own description (`make references`), which is at
`/api/v1/openapi.json`.

- A token, where one is set: `authorization: Bearer <token>`. `admin.token_file` may do everything, `admin.read_token_file` only read.
- Times are RFC 3339 in UTC; a range is `since` (inclusive) and `until` (exclusive), as a time, a date, or how long ago (`90m`, `7d`).
- Money is decimal strings of USD, exact to the nano-dollar. What is not known is `null`.
- Lists have pages: `next` of an answer is the `cursor` of the next question. An empty parameter counts as not given; an unknown
  one is an error that names what there is.
- Filters by name (`channel`, `model`, `key`, `outcome`, …) take names and patterns (`*` any characters, `?` one) with commas between
  them; a backslash makes a sign a character (`a\\,b`). `(none)` is what has no name. A list in JSON (`[\"a,b\",\"gpt-5\"]`, what
  Grafana makes of `${model:json}`) is of names only, whatever their characters. `*` is everything. `(other)`, the rest of a series
  over time, cannot be asked for: it is refused, and never taken for everything.
- Errors: `{\"error\": {\"message\", \"type\", \"param\", \"code\"}}`.
";

fn api(document: &Value) -> String {
    let mut made = API.to_owned();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let told: BTreeSet<&str> = schemas
        .iter()
        .filter(|(_, schema)| is_told(schema))
        .map(|(name, _)| &**name)
        .collect();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            write!(
                made,
                "\n## {} {path}\n\n{}\n",
                method.to_uppercase(),
                one_line(&operation["summary"])
            )
            .unwrap();
            if let Some(more) = operation["description"].as_str() {
                write!(made, "\n{more}\n").unwrap();
            }
            let parameters = list(&operation["parameters"]);
            if !parameters.is_empty() {
                made += "\n| parameter | |\n|---|---|\n";
            }
            for parameter in parameters {
                let values: Vec<&str> = list(&parameter["schema"]["enum"])
                    .iter()
                    .map(text)
                    .collect();
                let values = if values.is_empty() {
                    String::new()
                } else {
                    format!(" One of: {}.", values.join(", "))
                };
                let text = one_line(&parameter["description"]);
                writeln!(
                    made,
                    "| `{}` | {text}{values} |",
                    parameter["name"].as_str().unwrap()
                )
                .unwrap();
            }
            let answer =
                &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            if let Some(name) = schema(answer) {
                write!(
                    made,
                    "\nAnswers with a [{name}](#{}).\n",
                    name.to_lowercase()
                )
                .unwrap();
            }
        }
    }
    made += "\n# Its objects\n";
    for (name, schema) in schemas {
        if !told.contains(&**name) {
            continue;
        }
        let members = members(schema, &told);
        let values: Vec<String> = list(&schema["enum"])
            .iter()
            .map(|value| format!("`{}`", text(value)))
            .collect();
        write!(
            made,
            "\n## {name}\n\n{}\n",
            one_line(&schema["description"])
        )
        .unwrap();
        if !values.is_empty() {
            write!(made, "\nOne of: {}.\n", values.join(", ")).unwrap();
            continue;
        }
        for example in list(&schema["examples"]) {
            write!(made, "\nAs `{}`.\n", text(example)).unwrap();
        }
        if !members.is_empty() {
            made += "\n| member | |\n|---|---|\n";
        }
        for (member, about) in members {
            writeln!(made, "| `{member}` | {about} |").unwrap();
        }
    }
    made
}

/// Whether there is something to say of it: a plain map of names says it all where it stands.
fn is_told(schema: &Value) -> bool {
    ["description", "enum", "properties", "allOf"]
        .iter()
        .any(|part| !schema[part].is_null())
}

/// The members of an object, those of the parts it is made of too. What they are is said by a link to what is `told`.
fn members(schema: &Value, told: &BTreeSet<&str>) -> Vec<(String, String)> {
    let mut members = Vec::new();
    for part in list(&schema["allOf"]) {
        if let Some(name) = self::schema(&part["$ref"]) {
            let link = format!("all members of [{name}](#{})", name.to_lowercase());
            members.push(("…".to_owned(), link));
        }
        members.extend(self::members(part, told));
    }
    let own = schema["properties"].as_object().into_iter().flatten();
    members.extend(own.map(|(name, value)| {
        let parts = list(&value["oneOf"]).iter().chain(list(&value["allOf"]));
        let all = || parts.clone().chain([value, &value["items"]]);
        let about = all().find_map(|part| part["description"].as_str());
        let kind = all()
            .find_map(|part| self::schema(&part["$ref"]))
            .filter(|kind| told.contains(kind));
        let mut about = about
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        if let Some(kind) = kind {
            write!(about, " ([{kind}](#{}))", kind.to_lowercase()).unwrap();
        }
        (name.clone(), about.trim().to_owned())
    }));
    members
}

fn schema(reference: &Value) -> Option<&str> {
    reference.as_str()?.rsplit('/').next()
}

fn one_line(value: &Value) -> String {
    text(value).replace('\n', " ").replace('|', "\\|")
}
