//! What the ledger's API is asked through Infinity: every question is answered with rows that have the columns, and panels
//! name columns that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use tollgate::clock::UnixMicros;

use crate::boards::{Board, INFINITY, Panel, list, text};
use crate::stack::Stack;

/// Panels whose list is right to be empty here, and why. That the API answers, and with such a list, is seen all the same.
const EMPTY: &[(&str, &str, &str)] = &[(
    "tollgate-request",
    "Priced anew",
    "no price changed since the request",
)];

/// What makes a text of an object or a list; the plugin makes nothing of one by itself.
const AS_TEXT: &str = "@tostr";

/// All that is wrong.
pub(crate) fn check(stack: &Stack, boards: &[Board]) -> Vec<String> {
    let request = stack.request();
    let mut wrong = Vec::new();
    for board in boards {
        let known = values(board, text(&request["id"]));
        for target in board.targets(INFINITY) {
            let title = text(&target.panel.json["title"]);
            let may_be_empty = EMPTY
                .iter()
                .any(|(uid, panel, _)| *uid == board.uid && *panel == title);
            if let Err(error) = ask(stack, target.json, &known, may_be_empty) {
                wrong.push(format!("{}: {error}", target.place()));
            }
        }
        for panel in board.panels() {
            wrong.extend(unknown_columns(panel));
        }
        for variable in board.variables() {
            let query = &variable["query"]["infinityQuery"];
            if variable["datasource"]["type"] == INFINITY
                && let Err(error) = ask(stack, query, &known, false)
            {
                wrong.push(format!("{} ${}: {error}", board.uid, variable["name"]));
            }
        }
    }
    wrong
}

/// Asks as the plugin does, and holds the answer against the columns.
fn ask(
    stack: &Stack,
    query: &Value,
    values: &BTreeMap<String, String>,
    may_be_empty: bool,
) -> Result<(), String> {
    let parameters = list(&query["url_options"]["params"]);
    let encoded = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters.iter().map(|parameter| {
            let value = filled(text(&parameter["value"]), values);
            (text(&parameter["key"]), value)
        }))
        .finish();
    let target = format!("{}?{encoded}", filled(text(&query["url"]), values));
    let answer = stack.tollgate.admin(&target);
    if answer.status != 200 {
        return Err(format!("{target}: {} {}", answer.status, answer.text()));
    }
    let answer = answer.json();
    let root = at(&answer, text(&query["root_selector"]))
        .ok_or_else(|| format!("{target}: nothing at {}", query["root_selector"]))?;
    // One object is one row.
    let rows = root
        .as_array()
        .map_or(std::slice::from_ref(root), Vec::as_slice);
    if rows.is_empty() {
        return if may_be_empty {
            Ok(())
        } else {
            Err(format!("{target}: no rows"))
        };
    }
    for column in list(&query["columns"]) {
        let selector = text(&column["selector"]);
        let found: Vec<&Value> = rows.iter().filter_map(|row| at(row, selector)).collect();
        if found.is_empty() {
            return Err(format!("{target}: no `{selector}` in {}", rows[0]));
        }
        let is_made_text = selector.ends_with(AS_TEXT);
        if let Some(odd) = found
            .iter()
            .find(|value| !is_made_text && !fits(value, text(&column["type"])))
        {
            return Err(format!(
                "{target}: `{selector}` is no {}: {odd}",
                column["type"]
            ));
        }
    }
    Ok(())
}

/// What is at a path of names and numbers, as the plugin's parser reads one (gjson). Within what is not known, nothing is:
/// a row that was not there in the period before has no sums of then.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(value);
    }
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(elements) => {
            let place = step.parse::<usize>().ok()?;
            Some(elements.get(place).unwrap_or(&Value::Null))
        }
        Value::Null => Some(value),
        _ if step == AS_TEXT => Some(value),
        _ => value.get(step),
    })
}

/// Whether the plugin makes a value of that kind of it.
fn fits(value: &Value, kind: &str) -> bool {
    match (kind, value) {
        (_, Value::Null) => true,
        ("string", value) => !value.is_object() && !value.is_array(),
        ("number", Value::String(text)) => text.parse::<f64>().is_ok(),
        ("number", value) => value.is_number(),
        ("boolean", value) => value.is_boolean(),
        ("timestamp", Value::String(text)) => text.parse::<jiff::Timestamp>().is_ok(),
        _ => false,
    }
}

/// What Grafana's variables stand for when everything is chosen.
fn values(board: &Board, id: &str) -> BTreeMap<String, String> {
    let now = UnixMicros::now();
    let before = UnixMicros(now.0 - 3_600_000_000);
    let mut values: BTreeMap<String, String> = [
        ("__from:date:iso", before.to_string()),
        ("__to:date:iso", now.to_string()),
        ("__from", (before.0 / 1_000).to_string()),
        ("__to", (now.0 / 1_000).to_string()),
        ("__interval", "30s".to_owned()),
        ("__timezone", "UTC".to_owned()),
        ("id", id.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for variable in board.variables() {
        let name = text(&variable["name"]);
        let value = match &variable["current"]["value"] {
            Value::String(value) if value == "$__all" => ".*".to_owned(),
            Value::String(value) => value.clone(),
            _ => String::new(),
        };
        for form in ["", ":csv", ":raw", ":percentencode"] {
            values
                .entry(format!("{name}{form}"))
                .or_insert_with(|| value.clone());
        }
    }
    values
}

fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values.iter().rev() {
        filled = filled.replace(&format!("${{{name}}}"), value);
        filled = filled.replace(&format!("${name}"), value);
    }
    filled
}

/// Columns that overrides of a panel name and no question of it gives. Where a transformation makes columns, only a
/// reader can tell.
fn unknown_columns(panel: Panel<'_>) -> Vec<String> {
    let targets = list(&panel.json["targets"]);
    let has_columns = targets.iter().all(|target| target["columns"].is_array());
    if !has_columns || !list(&panel.json["transformations"]).is_empty() {
        return Vec::new();
    }
    let columns = targets.iter().flat_map(|target| list(&target["columns"]));
    let columns: BTreeSet<&str> = columns.map(|column| text(&column["text"])).collect();
    let overrides = list(&panel.json["fieldConfig"]["overrides"]).iter();
    overrides
        .filter(|one| one["matcher"]["id"] == "byName")
        .map(|one| text(&one["matcher"]["options"]))
        .filter(|name| !columns.contains(name))
        .map(|name| format!("{}: there is no column `{name}`", panel.place()))
        .collect()
}
