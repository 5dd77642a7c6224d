//! The rules of Grafana's dashboard-linter, and those that dashboards of one house need besides. The linter itself is a Go
//! program that no package registry of this project's languages has.

use std::collections::BTreeSet;

use serde_json::Value;

use tollgate::record::{Api, Outcome, UsageSource};

use crate::boards::{self, INFINITY, POSTGRES, PROMETHEUS, SQLITE, assert_none, list, text};

/// What says how a range vector is to be chosen: as wide as at least four scrapes.
const RATE_INTERVAL: &str = "$__rate_interval";

/// template-datasource, template-on-time-change-reload, uneditable-dashboard.
#[test]
fn dashboards_are_portable() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        let mut say = |what: &str| wrong.push(format!("{}: {what}", board.uid));
        if board.json["editable"] != false {
            say("somebody could edit it, and lose that with the next version");
        }
        if list(&board.json["tags"]) != ["tollgate"] {
            say("the list of dashboards does not find it by its tag");
        }
        if text(&board.json["description"]).is_empty() {
            say("it has no description");
        }
        let asks = |kind| !board.targets(kind).is_empty();
        for (kind, name) in [
            (PROMETHEUS, "datasource"),
            (INFINITY, "ledger"),
            (SQLITE, "ledger"),
            (POSTGRES, "ledger"),
        ] {
            let chosen = board.variables().iter().any(|variable| {
                variable["type"] == "datasource"
                    && variable["name"] == name
                    && variable["query"] == kind
            });
            if asks(kind) && !chosen {
                say(&format!("no variable `{name}` chooses a {kind}"));
            }
        }
        for variable in board.variables() {
            let name = text(&variable["name"]);
            // 2: when the range changes, for what was not there before.
            if variable["type"] == "query" && variable["refresh"] != 2 {
                say(&format!(
                    "`{name}` does not load again when the range changes"
                ));
            }
            if text(&variable["label"]).is_empty() || text(&variable["description"]).is_empty() {
                say(&format!("`{name}` does not say what it is"));
            }
        }
    }
    assert_none(&wrong);
}

/// panel-datasource, panel-title-description, panel-units, panel-no-targets; and words for when there is no data.
#[test]
fn panels_say_what_they_show() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        let mut ids = BTreeSet::new();
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            let mut say = |what: &str| wrong.push(format!("{}: {what}", panel.place()));
            if !ids.insert(panel.json["id"].as_u64()) || panel.json["id"].as_u64() < Some(1) {
                say("its id is not its own");
            }
            if text(&panel.json["title"]).is_empty() || !titles.insert(text(&panel.json["title"])) {
                say("it has no title of its own");
            }
            if text(&panel.json["description"]).len() < 20 {
                say("it does not say how it is read");
            }
            if panel.kind() == "text" {
                continue;
            }
            let defaults = &panel.json["fieldConfig"]["defaults"];
            if text(&defaults["unit"]).is_empty() {
                say("its numbers have no unit");
            }
            if text(&defaults["noValue"]).len() < 10 {
                say("it does not say why it may be empty");
            }
            let targets = list(&panel.json["targets"]);
            if targets.is_empty() {
                say("it asks nothing");
            }
            if panel.json["datasource"]["type"] == PROMETHEUS
                && !text(&defaults["noValue"]).contains("scrape")
            {
                say("it says that there is nothing where Prometheus may not scrape Tollgate");
            }
            let sources = targets.iter().map(|target| &target["datasource"]);
            for source in sources.chain([&panel.json["datasource"]]) {
                let is_mixed = source["type"] == "datasource" && source["uid"] == "-- Mixed --";
                let uid = text(&source["uid"]);
                if !is_mixed && uid != "${datasource}" && uid != "${ledger}" {
                    say(&format!("its data source is {source}, which nobody chose"));
                }
            }
            let refs: BTreeSet<&str> = targets.iter().map(|one| text(&one["refId"])).collect();
            if refs.len() != targets.len() {
                say("two of its questions have one name");
            }
        }
    }
    assert_none(&wrong);
}

/// Rows that become lines lose what is unknown: Grafana makes NaN of it, so they say how that is shown.
#[test]
fn unknown_lines_say_so() {
    let mut count = 0;
    for board in boards::all() {
        for panel in board.panels() {
            let transformed = list(&panel.json["transformations"]).iter();
            let reduced =
                |one: &&Value| one["id"] == "reduce" && one["options"]["mode"] == "seriesToRows";
            if !transformed.into_iter().any(|one| reduced(&one)) {
                continue;
            }
            count += 1;
            let config = &panel.json["fieldConfig"];
            let of_values = list(&config["overrides"])
                .iter()
                .filter(|one| one["matcher"]["options"] == "Last *")
                .flat_map(|one| list(&one["properties"]))
                .filter(|one| one["id"] == "mappings")
                .flat_map(|one| list(&one["value"]));
            let is_told = of_values
                .chain(list(&config["defaults"]["mappings"]))
                .any(|mapping| ["null+nan", "nan"].contains(&text(&mapping["options"]["match"])));
            assert!(is_told, "{}", panel.place());
        }
    }
    assert!(count >= 3, "{count} of them");
}

/// target-rate-interval, target-counter-agg: a counter is never shown as it is, and rates are taken over what the range and the
/// scrape interval make sensible. (target-promql and template-label-promql: a real Prometheus answers them, see `metrics`.)
#[test]
fn counters_are_rates() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        for target in board.targets(PROMETHEUS) {
            // What is asked once, for a number, may be asked of the whole range.
            let once = target.json["instant"] == true;
            let ranges: &[&str] = if once {
                &[RATE_INTERVAL, "$__range"]
            } else {
                &[RATE_INTERVAL]
            };
            for what in misused_counters(target.expr(), ranges) {
                wrong.push(format!("{}: {what}", target.place()));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_rule_of_counters_sees_what_it_is_for() {
    for good in [
        "sum(rate(a_total{b=\"c\"}[$__rate_interval]))",
        "histogram_quantile(0.9, sum by (le) (rate(a_seconds_bucket{}[$__rate_interval])))",
        "increase(a_total[$__rate_interval]) / ignoring(x) increase(b_total[$__rate_interval] offset 1d)",
        "a_bytes / b_bytes",
    ] {
        let wrong = misused_counters(good, &[RATE_INTERVAL]);
        assert_eq!(wrong, Vec::<String>::new(), "{good}");
    }
    for bad in [
        "a_total",
        "sum(a_total{b=\"c\"})",
        "rate(a_total[5m])",
        "rate(a_total[$__range])",
        "avg_over_time(a_total[$__rate_interval])",
        "rate(sum(a_total)[$__rate_interval:])",
        "sum by (le) (a_seconds_bucket)",
    ] {
        assert_eq!(misused_counters(bad, &[RATE_INTERVAL]).len(), 1, "{bad}");
    }
}

/// Each use of a counter that is no rate, increase or change over one of `ranges`.
fn misused_counters(expr: &str, ranges: &[&str]) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut wrong = Vec::new();
    let mut at = 0;
    while let Some(begin) = expr[at..].find(is_word).map(|found| at + found) {
        let length = expr[begin..].find(|c| !is_word(c));
        let end = length.map_or(expr.len(), |length| begin + length);
        at = end;
        let name = &expr[begin..end];
        let counter = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        if !counter {
            // What is within quotes and braces is no metric's name, but none ends like a counter's.
            continue;
        }
        let mut rest = &expr[end..];
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels.find('}').map_or("", |close| &labels[close + 1..]);
        }
        let is_ranged = ranges
            .iter()
            .any(|range| rest.starts_with(&format!("[{range}]")));
        let before = expr[..begin].trim_end();
        let function = before.strip_suffix('(').is_some_and(|before| {
            ["rate", "irate", "increase", "resets"]
                .iter()
                .any(|name| before.ends_with(name))
        });
        if !is_ranged || !function {
            wrong.push(format!("`{name}` is a counter: {expr}"));
        }
    }
    wrong
}

/// 0 is shown of what is known to be none: not where Prometheus scrapes no Tollgate. How many it scrapes is one thing that
/// it always knows.
#[test]
fn unknown_is_not_shown_as_none() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        for target in board.targets(PROMETHEUS) {
            let expr = target.expr();
            if expr.contains("vector(0)") && !expr.starts_with("count(tollgate_build_info{") {
                wrong.push(format!("{}: {expr}", target.place()));
            }
        }
    }
    assert_none(&wrong);
}

/// A bucket's bound is matched as a pattern: Prometheus 2 has "5" as Tollgate writes it, Prometheus 3 makes "5.0" of it.
#[test]
fn bounds_of_buckets_are_those_of_any_prometheus() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for board in boards::all() {
        for target in board.targets(PROMETHEUS) {
            let expr = target.expr();
            for (begin, _) in expr.match_indices("le") {
                let before = expr[..begin].trim_end();
                let matcher = expr[begin + 2..].trim_start();
                let is_label = before.ends_with(['{', ',']);
                if is_label && matcher.starts_with(['=', '!']) {
                    count += 1;
                    let pattern = matcher
                        .strip_prefix("=~\"")
                        .and_then(|rest| rest.split('"').next());
                    if !pattern.is_some_and(|pattern| pattern.ends_with("(\\\\.0)?")) {
                        wrong.push(format!("{}: {expr}", target.place()));
                    }
                }
            }
        }
    }
    assert_none(&wrong);
    assert!(count >= 3, "{count} of them");
}

/// Colours that mean something mean it everywhere: thresholds go from green over amber to red, or the other way round.
#[test]
fn thresholds_are_those_of_the_house() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        for panel in board.panels() {
            let config = &panel.json["fieldConfig"];
            let of_fields = list(&config["overrides"])
                .iter()
                .flat_map(|over| list(&over["properties"]));
            let of_fields = of_fields
                .filter(|property| property["id"] == "thresholds")
                .map(|property| &property["value"]);
            for thresholds in of_fields.chain([&config["defaults"]["thresholds"]]) {
                let colours: Vec<&str> = list(&thresholds["steps"])
                    .iter()
                    .map(|step| text(&step["color"]))
                    .collect();
                let known: &[&[&str]] = &[
                    &[],
                    &["blue"],
                    &["transparent"],
                    &["green", "orange", "red"],
                    &["red", "orange", "green"],
                ];
                if !known.contains(&colours.as_slice()) {
                    wrong.push(format!("{}: {colours:?}", panel.place()));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// The variables that a dashboard uses anywhere are there to be chosen: in questions, titles, links of panels and its own,
/// annotations, and in what other variables ask.
#[test]
fn variables_that_are_used_exist() {
    let mut wrong = Vec::new();
    for board in boards::all() {
        let known: BTreeSet<&str> = board
            .variables()
            .iter()
            .map(|one| text(&one["name"]))
            .collect();
        for name in used(&board.json) {
            // A number is a group of a regular expression.
            let is_own = name.starts_with("__") || name.parse::<u8>().is_ok();
            if !is_own && !known.contains(&*name) {
                wrong.push(format!("{}: ${name}", board.uid));
            }
        }
    }
    assert_none(&wrong);
}

/// `other` is Prometheus' name for many models, and the ledger has none of that name.
#[test]
fn models_that_only_prometheus_knows_are_no_choice() {
    let boards = boards::all();
    let mut models = boards
        .iter()
        .flat_map(boards::Board::variables)
        .filter(|one| one["name"] == "model" && one["datasource"]["type"] == PROMETHEUS)
        .peekable();
    assert!(models.peek().is_some());
    assert!(models.all(|one| one["regex"] == "/^(?!other$).*/"));
}

/// What can be chosen of a closed vocabulary is all there is of it: the program's own words.
#[test]
fn vocabularies_are_the_programs_own() {
    let words = |all: Vec<&'static str>| -> BTreeSet<&'static str> { all.into_iter().collect() };
    let own = [
        (
            "api",
            words(Api::ALL.iter().map(|api| api.as_str()).collect()),
        ),
        (
            "outcome",
            words(
                Outcome::ALL
                    .iter()
                    .map(|outcome| outcome.as_str())
                    .chain(["failed"])
                    .collect(),
            ),
        ),
        (
            "usage_source",
            words(UsageSource::ALL.iter().map(|one| one.as_str()).collect()),
        ),
    ];
    let mut seen = BTreeSet::new();
    for board in boards::all() {
        for variable in board.variables() {
            let name = text(&variable["name"]);
            let Some((_, own)) = own.iter().find(|(own, _)| *own == name) else {
                continue;
            };
            let listed = text(&variable["query"]).split(',');
            let listed: BTreeSet<&str> = listed
                .map(|option| option.rsplit(" : ").next().unwrap_or(option).trim())
                .collect();
            assert_eq!(&listed, own, "{} ${name}", board.uid);
            seen.insert(name.to_owned());
        }
    }
    assert_eq!(seen.len(), own.len(), "{seen:?}");
}

/// Names after a dollar, in braces or not, in any text of a value.
fn used(value: &Value) -> BTreeSet<String> {
    let json = value.to_string();
    let names = json.split('$').skip(1).map(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        after[..end.unwrap_or(after.len())].to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// What is told of a field named `time` Grafana takes for told of every field of times.
#[test]
fn a_column_named_time_is_the_only_one_of_times() {
    let mut count = 0;
    for board in boards::all() {
        for panel in board.panels() {
            let is_time = |one: &&Value| {
                one["matcher"]["id"] == "byName"
                    && text(&one["matcher"]["options"]).eq_ignore_ascii_case("time")
            };
            let told = list(&panel.json["fieldConfig"]["overrides"])
                .iter()
                .any(|one| is_time(&one));
            if !told {
                continue;
            }
            count += 1;
            for target in list(&panel.json["targets"]) {
                let columns = list(&target["columns"]).iter();
                let times = columns
                    .filter(|column| text(&column["type"]).starts_with("timestamp"))
                    .count();
                assert!(times <= 1, "{}", panel.place());
            }
        }
    }
    assert!(count >= 1, "{count} of them");
}
