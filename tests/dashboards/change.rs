//! Numbers that are compared with the period before: the last one is what is shown, and a change only where one is known.
//!
//! Grafana works out the change from the first value that is not null to the last such one, so of one value it says 0 %.
//! Of infinity it says nothing: that is what stands before where no change can be told.

use serde_json::Value;

use crate::boards::{self, INFINITY, PROMETHEUS, Panel, Target, assert_none, list, text};

fn targets(panel: Panel<'_>) -> impl Iterator<Item = Target<'_>> {
    let targets = list(&panel.json["targets"]).iter();
    targets.map(move |json| Target { panel, json })
}

/// What a question asks for beside the range: whether of the period before it, and whether of the range.
fn periods(target: &Target<'_>) -> (bool, bool) {
    let kind = text(&target.json["datasource"]["type"]);
    if kind == PROMETHEUS {
        let is_before = target.expr().contains("[$__range] offset $__range");
        let is_whole = target.expr().contains("[$__range]") && target.json["instant"] == true;
        return (is_whole && is_before, is_whole && !is_before);
    }
    if kind == INFINITY {
        let is_compared = text(&target.json["root_selector"]) == "compared"
            && list(&target.json["url_options"]["params"])
                .iter()
                .any(|one| one["key"] == "compare" && one["value"] == "previous");
        return (is_compared, is_compared);
    }
    // Of the tables: two sums, one after the other, where the first may be infinity.
    let sql = [&target.json["queryText"], &target.json["rawSql"]];
    let sql = sql.map(text).concat();
    let both = sql.contains("earlier") && sql.contains("present");
    let guarded = sql.contains("9e999") || sql.contains("'Infinity'");
    (both && guarded, both)
}

fn has_change(panel: &Value) -> bool {
    panel["options"]["showPercentChange"] == true
}

/// The one value before would be shown where nothing is known of the range.
#[test]
fn what_is_shown_is_of_the_range() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for board in boards::all() {
        for panel in board.panels() {
            let compared = targets(panel).any(|target| periods(&target).0);
            let whole = targets(panel).any(|target| periods(&target).1);
            let is_stat = panel.kind() == "stat";
            let mut say = |what: &str| wrong.push(format!("{}: {what}", panel.place()));
            if is_stat && targets(panel).any(|one| text(&one.json["root_selector"]) == "periods") {
                say("rows with null are compared");
            }
            if has_change(panel.json) != (compared && is_stat) {
                say("a change is shown without a period before, or the other way round");
            }
            if !has_change(panel.json) {
                continue;
            }
            seen += 1;
            if !whole {
                say("it does not ask for the range");
            }
            if panel.json["options"]["reduceOptions"]["calcs"] != serde_json::json!(["last"]) {
                say("the period before stands in for a range of which nothing is known");
            }
        }
    }
    assert_none(&wrong);
    assert!(seen > 20, "{seen} panels with a change");
}

/// One after the other, and both always there: a number that is missing would be the other one's.
#[test]
fn quantiles_of_both_periods_are_always_two_values() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        for panel in board.panels() {
            let asked: Vec<Target<'_>> = targets(panel).collect();
            if !has_change(panel.json) || text(&asked[0].json["datasource"]["type"]) != PROMETHEUS {
                continue;
            }
            let order: Vec<(bool, bool)> = asked.iter().map(periods).collect();
            let reduced = &panel.json["transformations"][0];
            if order != [(true, false), (false, true)]
                || !asked[0].expr().contains(" and on () (sum(rate(")
                || !asked[0].expr().ends_with(" or vector(Inf)")
                || !asked[1].expr().ends_with(" or vector(NaN)")
                || reduced["id"] != "reduce"
                || reduced["options"]["reducers"] != serde_json::json!(["last"])
                || panel.json["fieldConfig"]["defaults"]["mappings"][0]["options"]["match"] != "nan"
            {
                wrong.push(panel.place());
            }
        }
    }
    assert_none(&wrong);
}

/// The issue: each number of Overview "now and against the period before".
#[test]
fn overview_begins_with_both_periods() {
    let boards = boards::all();
    let overview = boards.iter().find(|board| board.uid == "tollgate-overview");
    let first = list(&overview.unwrap().json["panels"])
        .iter()
        .take_while(|panel| panel["type"] != "row");
    let first: Vec<&Value> = first.collect();
    assert_eq!(first.len(), 8);
    for panel in first {
        assert!(has_change(panel), "{}", panel["title"]);
    }
}

/// Tiers are known by whole hours of UTC: the API refuses days and steps of a zone that is half an hour off.
#[test]
fn tiers_are_asked_for_by_utc() {
    let mut seen = 0;
    for board in boards::all() {
        for target in board.targets(INFINITY) {
            let parameters = list(&target.json["url_options"]["params"]);
            let given = |key: &str| {
                let one = parameters.iter().find(|one| one["key"] == key);
                one.map_or("", |one| text(&one["value"]))
            };
            if text(&target.json["url"]) == "/api/v1/usage/timeseries" && given("by") == "tier" {
                assert_eq!(given("timezone"), "UTC", "{}", target.place());
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

/// What was blocked has no channel, and a series without its label is called "Value".
#[test]
fn series_by_channel_have_one() {
    // What counts requests; gauges and counters of channels always have theirs.
    const OF_REQUESTS: &[&str] = &[
        "tollgate_requests_total",
        "tollgate_tokens_total",
        "tollgate_cost_usd_total",
        "tollgate_request_duration_seconds",
        "tollgate_time_to_first_token_seconds",
        "tollgate_time_per_output_token_seconds",
        "tollgate_phase_duration_seconds",
    ];
    let mut wrong = Vec::new();
    for board in boards::all() {
        for target in board.targets(PROMETHEUS) {
            let expr = target.expr();
            let legend = text(&target.json["legendFormat"]);
            if legend.contains("{{channel}}")
                && OF_REQUESTS.iter().any(|name| expr.contains(name))
                && !expr.contains("channel!=\"\"")
            {
                wrong.push(format!("{}: {expr}", target.place()));
            }
        }
    }
    assert_none(&wrong);
}
