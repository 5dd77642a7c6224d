//! What Prometheus is asked: every expression is answered with data, and understood whatever a reader chooses; every list of
//! choices has some.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::boards::{Board, PROMETHEUS, list, text};
use crate::chosen::{CHOICES, EVERYTHING, Filling, LEDGER_ONLY, ODD};
use crate::stack::Stack;

/// Panels that are right to be empty here, and why.
const EMPTY: &[(&str, &str, &str)] = &[
    (
        "tollgate-latency",
        "Time to first token, ${percentile:text}, and a day ago",
        "a day ago this Prometheus did not run",
    ),
    (
        "tollgate-latency",
        "Duration, ${percentile:text}, and a day ago",
        "a day ago this Prometheus did not run",
    ),
    (
        "tollgate-self",
        "Prices over time",
        "nothing was read again: the files stayed as they are, and there is no catalogue",
    ),
    (
        "tollgate-self",
        "Certificate ends in",
        "clients come without TLS",
    ),
];

/// All that is wrong.
pub(crate) fn check(stack: &Stack, boards: &[Board]) -> Vec<String> {
    let mut wrong = Vec::new();
    for board in boards {
        let everything = Filling::new(board, EVERYTHING, "");
        let filled = |template: &str| everything.fill(template, "prometheus");
        for target in board.targets(PROMETHEUS) {
            let expr = filled(target.expr());
            let is_instant = target.json["instant"] == true;
            let is_empty = match ask(stack, &expr, is_instant) {
                Ok(result) => !list(&result["result"]).iter().any(has_a_number),
                Err(error) => {
                    wrong.push(format!("{}: {error}", target.place()));
                    continue;
                }
            };
            let title = text(&target.panel.json["title"]);
            let may_be = EMPTY
                .iter()
                .any(|(uid, panel, _)| *uid == board.uid && *panel == title);
            if is_empty && !may_be {
                wrong.push(format!("{}: no data: {expr}", target.place()));
            }
            for &choice in CHOICES.iter().filter(|choice| choice.name != LEDGER_ONLY) {
                let expr = Filling::new(board, choice, "").fill(target.expr(), "prometheus");
                // At the end: what is chosen may have had nothing, and must be understood.
                if let Err(error) = ask(stack, &expr, true) {
                    wrong.push(format!(
                        "{}, {}: {error}: {expr}",
                        target.place(),
                        choice.name
                    ));
                }
            }
        }
        for variable in board.variables() {
            if variable["datasource"]["type"] == PROMETHEUS {
                let query = text(&variable["query"]["query"]);
                if let Err(error) = choices(stack, &filled(query)) {
                    wrong.push(format!("{} ${}: {error}", board.uid, variable["name"]));
                }
            }
        }
        for annotation in list(&board.json["annotations"]["list"]) {
            let expr = filled(text(&annotation["expr"]));
            if let Err(error) = ask(stack, &expr, false) {
                wrong.push(format!("{} {}: {error}", board.uid, annotation["name"]));
            }
        }
    }
    wrong
}

fn ask(stack: &Stack, expr: &str, is_instant: bool) -> Result<Value, String> {
    if is_instant {
        return stack.prometheus.ask("query", &[("query", expr)]);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (start, end) = (now.as_secs() - 300, now.as_secs());
    stack.prometheus.ask(
        "query_range",
        &[
            ("query", expr),
            ("start", &start.to_string()),
            ("end", &end.to_string()),
            ("step", "1"),
        ],
    )
}

/// Whether a series has a value that is one: a share of nothing is `NaN`.
fn has_a_number(series: &Value) -> bool {
    let instant = [&series["value"]];
    let values = list(&series["values"]).iter().chain(instant);
    values
        .map(|value| text(&value[1]))
        .any(|value| !value.is_empty() && value != "NaN")
}

/// What `label_values(selector, label)` gives: Grafana asks Prometheus for the label's values.
fn choices(stack: &Stack, query: &str) -> Result<(), String> {
    let inside = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(|| format!("{query} is no label_values(…)"))?;
    let (selector, label) = inside.rsplit_once(',').ok_or(query)?;
    let path = format!("label/{}/values", label.trim());
    let values = stack
        .prometheus
        .ask(&path, &[("match[]", selector.trim())])?;
    match list(&values) {
        [] => Err(format!("no values for {query}")),
        _ => Ok(()),
    }
}

/// An expression as Grafana sends it when everything is chosen.
pub(crate) fn filled(expr: &str, board: &Board) -> String {
    Filling::new(board, EVERYTHING, "").fill(expr, "prometheus")
}

/// Whether a name that is full of signs finds its series, through the matchers that panels have.
pub(crate) fn check_odd_name(stack: &Stack, boards: &[Board]) -> Vec<String> {
    let choice = CHOICES
        .iter()
        .find(|choice| choice.name == "a name of signs")
        .unwrap();
    let board = boards
        .iter()
        .find(|board| board.uid == "tollgate-overview")
        .unwrap();
    let template =
        "sum by (model) (tollgate_requests_total{model=~\"$model\", channel=~\"$channel\"})";
    let expr = Filling::new(board, *choice, "").fill(template, "prometheus");
    let found = ask(stack, &expr, true);
    let series = found
        .as_ref()
        .map_or(&[][..], |found| list(&found["result"]));
    match series {
        [only] if only["metric"]["model"] == ODD => Vec::new(),
        _ => vec![format!("{expr}: {found:?}")],
    }
}
