//! Marks on charts: a channel that closes is marked whenever it does so, not only where a window of the query happens to
//! see it.

use std::fmt::Write as _;
use std::process::Command;

use crate::boards::{self, list, text};
use crate::metrics::filled;

/// How far apart scrapes are, and the first one's place in a step, in seconds.
const SCRAPE: usize = 15;
const FIRST: usize = 7;
/// A chart of some hours asks so often, and Grafana makes this `$__rate_interval` of it.
const STEP: &str = "30s";
const RATE_INTERVAL: &str = "60s";
/// Each channel closes one scrape later than the one before: at each place that a step and its windows have.
const CHANNELS: usize = 8;
const CLOSES_AT: usize = 10;
const OPENS_AFTER: usize = 20;

#[test]
fn no_closing_and_no_opening_is_missed() {
    let boards = boards::all();
    let mut count = 0;
    for board in &boards {
        for annotation in list(&board.json["annotations"]["list"]) {
            let expr = text(&annotation["expr"]);
            if !expr.contains("tollgate_channel_open") {
                continue;
            }
            count += 1;
            let expr = expr
                .replace("$__rate_interval", RATE_INTERVAL)
                .replace("$__interval", STEP);
            let told = promtool(&cases(&filled(&expr, board)));
            assert!(told.is_ok(), "{}: {}", board.uid, told.unwrap_err());
        }
    }
    assert!(count >= 3, "{count} dashboards mark gates");
}

/// Channels that close and open again, and how many of them are marked while they do.
fn cases(expr: &str) -> String {
    let mut yaml = "rule_files: []\ntests:\n- interval: 1s\n  input_series:\n".to_owned();
    for channel in 0..CHANNELS {
        let closes = CLOSES_AT + channel;
        let values = (0..60).map(|scrape| {
            let is_open = scrape < closes || scrape >= closes + OPENS_AFTER;
            format!("{} _x{}", u8::from(is_open), SCRAPE - 1)
        });
        let values = values.collect::<Vec<_>>().join(" ");
        writeln!(
            yaml,
            "  - {{series: 'tollgate_channel_open{{channel=\"{channel}\", instance=\"i\"}}', values: '_x{FIRST} {values}'}}"
        )
        .unwrap();
    }
    yaml.push_str("  promql_expr_test:\n");
    let last_to_close = (CLOSES_AT + CHANNELS) * SCRAPE;
    let last_to_open = last_to_close + OPENS_AFTER * SCRAPE;
    for (by, within) in [
        (last_to_close + 60, last_to_close),
        (last_to_open + 60, CHANNELS * SCRAPE + 120),
    ] {
        writeln!(
            yaml,
            "  - {{expr: 'count(count_over_time(({expr})[{within}s:{STEP}]))', eval_time: {by}s, \
             exp_samples: [{{labels: '{{}}', value: {CHANNELS}}}]}}"
        )
        .unwrap();
    }
    yaml
}

/// What promtool says of a file of tests.
pub(crate) fn promtool(cases: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("marks.yaml");
    std::fs::write(&file, cases).unwrap();
    let verdict = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .expect("promtool (Debian package `prometheus`) is not there; `make test` installs it");
    let told = String::from_utf8_lossy(&verdict.stdout) + String::from_utf8_lossy(&verdict.stderr);
    verdict
        .status
        .success()
        .then_some(())
        .ok_or_else(|| told.into_owned())
}
