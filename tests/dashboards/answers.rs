//! What the ledger's API is asked through Infinity: every question is answered with rows, whatever a reader chooses, and
//! somewhere in them is a value for each column; panels name columns that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::boards::{Board, INFINITY, Panel, list, text};
use crate::chosen::{CHOICES, EVERYTHING, Filling};
use crate::stack::Stack;

/// Panels whose list is right to be empty here, and why. That the API answers, and with such a list, is seen all the same.
const EMPTY: &[(&str, &str, &str)] = &[(
    "tollgate-request",
    "Priced anew",
    "no price changed since the request",
)];

/// What makes a text of an object or a list; the plugin makes nothing of one by itself.
const AS_TEXT: &str = "@tostr";

/// Columns that are right to be unknown in every row here: the panel, the column, and why.
const UNKNOWN: &[(&str, &str, &str)] = &[
    ("Gates now", "next_probe", "no breaker holds one closed"),
    (
        "Gates now",
        "holds.1.owner",
        "nobody holds what another holds",
    ),
    (
        "Gates now",
        "cooldowns.0.until",
        "no provider asked for a pause",
    ),
    (
        "Gates now",
        "cooldowns.0.model",
        "no provider asked for a pause",
    ),
    (
        "What happened to gates",
        "who",
        "the machine's user has no name",
    ),
    ("Rules", "unhealthy_reason", "all are well"),
    (
        "Firing and pending",
        "silenced_by.0",
        "what is silenced does not fire",
    ),
    ("Firing and pending", "actions.1.detail", "none has two"),
    (
        "What was asked, and where the numbers come from",
        "deferral",
        "nothing is made in the background",
    ),
    (
        "Request: body",
        "request.body.base64",
        "what passed is text",
    ),
    ("Answer: body", "answer.body.base64", "what passed is text"),
];

/// All that is wrong.
pub(crate) fn check(stack: &Stack, boards: &[Board]) -> Vec<String> {
    let ids = stack.requests();
    let mut wrong = Vec::new();
    for board in boards {
        for target in board.targets(INFINITY) {
            let title = text(&target.panel.json["title"]);
            let may_be_empty = EMPTY
                .iter()
                .any(|(uid, panel, _)| *uid == board.uid && *panel == title);
            let all = everything(stack, board, target.json, &ids, may_be_empty);
            match all {
                Ok(rows) => wrong.extend(
                    unknown(&rows, target.json, title)
                        .into_iter()
                        .map(|column| format!("{}: {column}", target.place())),
                ),
                Err(error) => wrong.push(format!("{}: {error}", target.place())),
            }
            for &choice in CHOICES {
                let filling = Filling::new(board, choice, &ids[0]);
                let rows = ask(stack, target.json, &filling, may_be_empty);
                if let Err(error) = rows {
                    wrong.push(format!("{}, {}: {error}", target.place(), choice.name));
                }
            }
        }
        for panel in board.panels() {
            wrong.extend(unknown_columns(panel));
        }
        for variable in board.variables() {
            let query = &variable["query"]["infinityQuery"];
            if variable["datasource"]["type"] == INFINITY
                && let Err(error) = everything(stack, board, query, &ids, false)
            {
                wrong.push(format!("{} ${}: {error}", board.uid, variable["name"]));
            }
        }
    }
    wrong
}

/// The rows when everything is chosen; those of each request where one is asked about.
fn everything(
    stack: &Stack,
    board: &Board,
    query: &Value,
    ids: &[String],
    may_be_empty: bool,
) -> Result<Vec<Value>, String> {
    let is_of_one = text(&query["url"]).contains("${id}");
    let asked = if is_of_one { ids } else { &ids[..1] };
    let mut rows = Vec::new();
    for id in asked {
        let filling = Filling::new(board, EVERYTHING, id);
        // A request that failed has no answer to show.
        rows.extend(ask(stack, query, &filling, may_be_empty || is_of_one)?);
    }
    if rows.is_empty() && !may_be_empty {
        return Err("no rows of any request".to_owned());
    }
    Ok(rows)
}

/// Asks as the plugin does, and holds the answer against the columns.
fn ask(
    stack: &Stack,
    query: &Value,
    filling: &Filling,
    may_be_empty: bool,
) -> Result<Vec<Value>, String> {
    let parameters = list(&query["url_options"]["params"]);
    let encoded = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters.iter().map(|parameter| {
            let value = filling.fill(text(&parameter["value"]), "glob");
            (text(&parameter["key"]), value)
        }))
        .finish();
    let target = format!("{}?{encoded}", filling.fill(text(&query["url"]), "glob"));
    let answer = stack.tollgate.admin(&target);
    if answer.status != 200 {
        return Err(format!("{target}: {} {}", answer.status, answer.text()));
    }
    let answer = answer.json();
    let root = match text(&query["root_selector"]) {
        "" => &answer,
        path => match at(&answer, path) {
            // The plugin makes an error of it, and Grafana shows that in red.
            None | Some(Value::Null) => return Err(format!("{target}: nothing at {path}")),
            Some(root) => root,
        },
    };
    // One object is one row.
    let rows = root
        .as_array()
        .map_or(std::slice::from_ref(root), Vec::as_slice);
    if rows.is_empty() && !may_be_empty {
        return Err(format!("{target}: no rows"));
    }
    for column in list(&query["columns"]) {
        let selector = text(&column["selector"]);
        let is_made_text = selector.ends_with(AS_TEXT);
        let odd = rows
            .iter()
            .filter_map(|row| at(row, selector))
            .find(|value| !is_made_text && !fits(value, text(&column["type"])));
        if let Some(odd) = odd {
            return Err(format!(
                "{target}: `{selector}` is no {}: {odd}",
                column["type"]
            ));
        }
    }
    Ok(rows.to_vec())
}

/// Columns that have a value in none of the rows. A name that is not right has none either.
fn unknown(rows: &[Value], query: &Value, title: &str) -> Vec<String> {
    let columns = list(&query["columns"]).iter();
    columns
        .filter(|column| {
            let selector = text(&column["selector"]);
            let may_be = UNKNOWN
                .iter()
                .any(|(panel, unknown, _)| *panel == title && *unknown == selector);
            let has_value = |row| at(row, selector).is_some_and(|value| !value.is_null());
            !rows.is_empty() && !may_be && !rows.iter().any(has_value)
        })
        .map(|column| format!("no value of {} in {}", column["selector"], rows[0]))
        .collect()
}

/// What is at a path of names and numbers, as the plugin's parser reads one (gjson).
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        value if step == AS_TEXT => Some(value),
        value => value.get(step),
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
