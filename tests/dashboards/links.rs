//! Links lead to dashboards that there are, and set variables that they have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::boards::{self, assert_none, list, text};

/// Where notifications lead, and what they set there (`src/dispatch/links.rs` makes them).
const FROM_NOTIFICATIONS: &[(&str, &[&str])] = &[
    ("tollgate-overview", &[]),
    ("tollgate-cost", &["channel", "model", "key", "api"]),
    ("tollgate-latency", &["channel", "model", "api"]),
    ("tollgate-channels", &["channel"]),
    ("tollgate-budgets", &[]),
    (
        "tollgate-requests",
        &["channel", "model", "key", "api", "outcome", "order"],
    ),
];

fn choices() -> BTreeMap<String, BTreeSet<String>> {
    let boards = boards::all();
    let named = boards.iter().map(|board| {
        let names = board.variables().iter();
        let names = names.map(|variable| text(&variable["name"]).to_owned());
        (board.uid.clone(), names.collect())
    });
    named.collect()
}

#[test]
fn what_notifications_link_to_is_there() {
    let choices = choices();
    for (uid, variables) in FROM_NOTIFICATIONS {
        let known = choices.get(*uid).unwrap_or_else(|| panic!("no {uid}"));
        for variable in *variables {
            assert!(known.contains(*variable), "{uid} has no {variable}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let choices = choices();
    let mut wrong = Vec::new();
    let mut count = 0;
    for board in boards::all() {
        // Those of the dashboard's own top too, beside those of panels.
        let mut urls = Vec::new();
        addresses(&board.json, &mut urls);
        for url in urls.iter().filter(|url| url.starts_with("/d/")) {
            count += 1;
            let (uid, query) = url["/d/".len()..].split_once('?').unwrap();
            let Some(known) = choices.get(uid) else {
                wrong.push(format!("{}: no dashboard {uid}: {url}", board.uid));
                continue;
            };
            if !query.contains("${__url_time_range}")
                && !query.contains("from=")
                && !query.contains("time=")
            {
                wrong.push(format!("{}: the range is lost: {url}", board.uid));
            }
            for (name, _) in form_urlencoded::parse(query.as_bytes()) {
                if let Some(name) = name.strip_prefix("var-")
                    && !known.contains(name)
                {
                    wrong.push(format!(
                        "{}: {uid} has no variable {name}: {url}",
                        board.uid
                    ));
                }
            }
        }
        for link in list(&board.json["links"]) {
            let url = text(&link["url"]);
            if link["type"] == "link" && !url.starts_with("/d/") {
                wrong.push(format!("{}: a link at the top leads to {url:?}", board.uid));
            }
        }
    }
    assert_none(&wrong);
    assert!(count > 50, "{count} links");
}

/// The first dashboard shows that something is off; each of its numbers leads to what explains it.
#[test]
fn every_number_of_the_overview_leads_on() {
    let boards = boards::all();
    let overview = boards
        .iter()
        .find(|board| board.uid == "tollgate-overview")
        .unwrap();
    for panel in overview.panels() {
        let mut urls = Vec::new();
        addresses(panel.json, &mut urls);
        assert!(
            panel.kind() == "text" || urls.iter().any(|url| url.starts_with("/d/")),
            "{}",
            panel.place()
        );
    }
    let listed = &overview.json["links"][0];
    assert_eq!(listed["includeVars"], true);
    assert_eq!(listed["keepTime"], true);
    assert_eq!(list(&listed["tags"]), ["tollgate"]);
}

/// Every `url` of an object in it that is a link: it has a title too.
fn addresses(value: &Value, urls: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let (Some(Value::String(url)), Some(_)) = (members.get("url"), members.get("title"))
            {
                urls.push(url.clone());
            }
            members.values().for_each(|member| addresses(member, urls));
        }
        Value::Array(elements) => elements.iter().for_each(|element| addresses(element, urls)),
        _ => {}
    }
}
