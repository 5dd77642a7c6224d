//! Tables of rules that were fed with requests.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::BudgetSettings;
use crate::record::{Api, Dimensions, ModelNames, Sample};
use crate::rules::{KnownNames, NoHands, Reservation, Rules, parse};

const NOW: UnixMicros = UnixMicros(1_795_168_800_000_000); // 2026-11-20T10:00:00Z
const RULES: &str = "\
groups:
- name: g
  rules:
  - {alert: Calm, metric: requests, window: 1h, by: [channel], warning: 2k requests, critical: 12k requests}
  - {alert: Slow, metric: latency, stat: max, window: 5m, warning: 2s, for: 1h}
  - {alert: Silent, metric: ttft, stat: p50, window: 5m, by: [model], critical: 1m 30s}
  - alert: Spend
    metric: cost
    window: day
    by: [channel, key]
    warning: 5 USD
    critical: 10 USD
    mode: enforce
    actions:
    - disable_channel: {until: window_end, allow_last: true}
    - notify: [ops]
    annotations:
      runbook: https://x/{{ rule }}
      summary: |-
        {{ labels.key or 'nobody' }}
        {{ value }}
  - alert: Tokens
    metric: tokens
    window: month
    warning: 1.5M tokens
    critical: 2M tokens
    mode: shadow
    actions:
    - block:
  - {alert: Few, metric: errors, window: 1h, by: [channel], max_series: 2, critical: 9 errors}
  - {alert: Traffic, metric: requests, side: below, window: 1h, critical: 1 request}
";

fn rules() -> Rules {
    let loaded = parse(
        Path::new("r.yaml"),
        RULES,
        &TimeZone::UTC,
        &KnownNames::default(),
    );
    let set = loaded.unwrap_or_else(|problems| panic!("{problems}")).set;
    Rules::new(&set, BudgetSettings::default(), false, Arc::new(NoHands))
}

/// A request of some minutes ago.
fn spend(rules: &Rules, channel: &str, key: Option<&str>, cents: i64) {
    let at = NOW.minus(Duration::from_secs(200));
    let sample = Sample {
        started_at: at,
        ended_at: at,
        dimensions: Dimensions {
            channel,
            api: Api::Chat,
            key,
            model: ModelNames::default(),
            tags: None,
        },
        error: false,
        settles: false,
        cost_nanousd: Some(cents * 10_000_000),
        tokens: Some(1_234_567),
        input_tokens: None,
        output_tokens: None,
        latency_us: Some(3_210_000),
        ttft_us: None,
        pace_milli: None,
        position: None,
    };
    rules.observe(&sample, Reservation::default(), at);
}

fn table(rules: &Rules, all: bool) -> String {
    let rules: Vec<RuleJson> = {
        let views = rules.view(NOW).into_iter();
        views
            .map(|view| RuleJson::new(&view, Some(&[]), NOW))
            .collect()
    };
    alerts(&rules, all, NOW, &TimeZone::UTC, &Output::plain(None))
}

#[test]
fn what_fires_stands_at_the_front_and_nothing_steers_the_terminal() {
    let rules = rules();
    spend(&rules, "main", Some("a\x1b[2J"), 1_200);
    spend(&rules, "main", None, 350);
    insta::assert_snapshot!(table(&rules, false), @r#"
    rule     labels                  state                  value                 limit  of limit  runs out   reserved  forecast  window                                           done
    Tokens                           firing critical  2.4M tokens      1.5M / 2M tokens      123%  now               0     10.7M  month until 2026-12-01 00:00:00 (in 10days 14h)  would refuse requests with 429 until 2026-12-01T00:00:00.000000Z
    Spend    channel=main key=a�[2J  firing critical       $12.00        $5.00 / $10.00      120%  now           $0.00    $68.00  day until 2026-11-21 00:00:00 (in 14h)           closed the channel `main` until 2026-11-21T00:00:00.000000Z; notify ops
    Slow                             pending warning       3.21 s                2.00 s      160%                                 5m
    Spend    channel=main key=–      inactive               $3.50        $5.00 / $10.00       35%  in 5h 34m     $0.00    $19.83  day until 2026-11-21 00:00:00 (in 14h)
    Calm     channel=main            inactive          2 requests  2,000 / 12k requests        0%  –                 0         –  1h
    Few      channel=main            inactive          0 requests            9 requests        0%                                 1h
    Silent   model=–                 inactive                   –               90.00 s                                           5m
    Traffic                          inactive          2 requests             1 request                                           1h

    Spend{channel="main",key="a\u{1b}[2J"}
      runbook: https://x/Spend
      summary: a�[2J
        12 USD
    "#);
    rules.set_unknown("the ledger cannot be read");
    let text = table(&rules, false);
    assert!(text.ends_with(
        "\nTraffic cannot be judged, so it neither fires nor resolves: the ledger cannot be \
         read\n"
    ));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn what_shares_an_alert_is_told() {
    let rules = rules();
    for n in 0..3 {
        spend(&rules, &format!("c{n}"), None, 1);
    }
    let text = table(&rules, false);
    assert_eq!(text.matches("1 folded").count(), 1, "{text}");
    assert!(
        text.contains(
            "\nFew has more combinations than its `max_series` (2); the others share one \
             alert, requests so far: 1\n"
        ),
        "{text}"
    );
}

#[test]
fn many_inactive_alerts_are_left_out_unless_asked_for() {
    let rules = rules();
    for n in 0..13 {
        for _ in 0..=n {
            spend(&rules, &format!("c{n:02}"), None, 1);
        }
    }
    let told = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    let few = table(&rules, false);
    assert_eq!(told(&few, "Calm"), MOST_INACTIVE);
    assert!(told(&few, "c12") > 0 && told(&few, "c02") == 0, "{few}");
    assert!(
        few.ends_with("\n6 more alerts are inactive; `--all` shows them.\n"),
        "{few}"
    );
    let all = table(&rules, true);
    assert_eq!(told(&all, "Calm"), 13);
    assert!(!all.contains("--all"));
}
