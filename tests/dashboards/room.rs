//! Everything has room: panels in the grid, columns in tables, lines behind numbers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::boards::{self, INFINITY, assert_none, list, text};

/// A grid of 24 columns, in which nothing lies on anything else.
#[test]
fn panels_have_room() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        let groups = list(&board.json["panels"])
            .iter()
            .map(|panel| list(&panel["panels"]))
            .chain([list(&board.json["panels"])]);
        for group in groups {
            let mut taken = BTreeSet::new();
            for panel in group {
                let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
                let cells = (at("y")..at("y") + at("h"))
                    .flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)));
                let inside = at("x") + at("w") <= 24 && at("h") > 0 && at("w") > 0;
                if !inside || !cells.into_iter().all(|cell| taken.insert(cell)) {
                    wrong.push(format!("{} “{}”", board.uid, text(&panel["title"])));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// The columns of a table that is asked of the API fit into its width, where a dashboard has 1,600 pixels. What a
/// transformation makes of an answer is not known here.
#[test]
fn columns_of_tables_have_room() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for board in boards::all() {
        for panel in board.panels() {
            let transformed = list(&panel.json["transformations"]).iter();
            let keeps_columns =
                |id: &Value| ["organize", "filterByValue", "sortBy"].contains(&text(id));
            let targets = list(&panel.json["targets"]);
            if panel.kind() != "table"
                || targets[0]["datasource"]["type"] != INFINITY
                || !transformed.into_iter().all(|one| keeps_columns(&one["id"]))
            {
                continue;
            }
            count += 1;
            let needed = width(panel.json, list(&targets[0]["columns"]));
            let room = room(panel.json["gridPos"]["w"].as_f64().unwrap());
            if needed > room {
                wrong.push(format!("{}: {needed} of {room} pixels", panel.place()));
            }
        }
    }
    assert_none(&wrong);
    assert!(count > 20, "{count} tables");
}

/// A number's line is drawn where more than 100 pixels are left of the panel's height: from 5 of the grid on.
#[test]
fn numbers_have_room_for_their_lines() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        for panel in board.panels() {
            let has_line = panel.kind() == "stat" && panel.json["options"]["graphMode"] == "area";
            if has_line && panel.json["gridPos"]["h"].as_u64() < Some(5) {
                wrong.push(panel.place());
            }
        }
    }
    assert_none(&wrong);
}

/// How wide a panel of so many of the grid's 24 columns is within: without its border, padding and a scroll bar.
fn room(columns: f64) -> f64 {
    let (dashboard, gap, around) = (1_568.0, 8.0, 34.0);
    let column = (dashboard - 23.0 * gap) / 24.0;
    (columns * column + (columns - 1.0) * gap - around).floor()
}

/// How wide these columns are at the least: those that say so as they say, the others their minimum.
fn width(panel: &Value, columns: &[Value]) -> f64 {
    let usual = &panel["fieldConfig"]["defaults"]["custom"]["minWidth"];
    let of_column = |column: &Value| {
        let said = |property: &str| {
            let overrides = list(&panel["fieldConfig"]["overrides"]).iter();
            overrides
                .filter(|one| one["matcher"]["options"] == column["text"])
                .flat_map(|one| list(&one["properties"]))
                .rfind(|said| said["id"] == property)
                .map(|said| &said["value"])
        };
        if said("custom.hidden") == Some(&Value::Bool(true)) {
            return 0.0;
        }
        let width = said("custom.width").or_else(|| said("custom.minWidth"));
        width.unwrap_or(usual).as_f64().unwrap()
    };
    columns.iter().map(of_column).sum()
}
