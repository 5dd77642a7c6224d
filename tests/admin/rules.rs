//! What rules show of themselves to the API.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate::alert::{AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit};
use tollgate::clock::UnixMicros;

use crate::Admin;
use crate::traffic::rules::{USD, ask, spend};

/// A month's end is far away, whenever this is run.
pub(crate) fn text() -> String {
    let day = UnixMicros::now()
        .timestamp()
        .to_zoned(jiff::tz::TimeZone::UTC);
    let month_start = (day.day() + 13) % 28 + 1;
    format!(
        "\
groups:
- name: budgets
  month_start: {month_start}
  rules:
  - alert: Spend
    metric: cost
    window: 30d
    by: [channel, key]
    match: {{channel: '*', model: 'gpt-5*', api: [chat]}}
    warning: 5 USD
    critical: 10.5 USD
    clear: 92.5%
    mode: enforce
    actions:
    - disable_channel: {{until: 2h, allow_last: true}}
    - block:
    annotations: {{odd: '{{% if labels.key != labels.channel %}}{{{{ labels.key | float }}}}{{% endif %}}', summary: '{{{{ labels.key }}}} spent {{{{ value }}}} of {{{{ limit }}}}'}}
  - alert: Tokens
    metric: tokens
    window: month
    critical: 4k tokens
    mode: shadow
    actions:
    - block: {{status: 402}}
- name: pace
  rules:
  - {{alert: Slow, metric: latency, stat: p95, window: 5m, by: ['tag:team'], warning: 2s, for: 1h}}
"
    )
}

/// `openai` spent too much with one key, and nearly so with another; on `spare` a request is on its
/// way, which is what is returned.
pub(crate) async fn fed() -> (Admin, tollgate::rules::Reservation) {
    let admin = Admin::with_rules(None, None, &text()).await;
    let rules = &admin.rules;
    spend(rules, "openai", Some("team-a"), 12 * USD);
    spend(rules, "openai", Some("team-b"), 6 * USD);
    spend(rules, "spare", None, USD + USD / 2);
    let held = ask(rules, "spare", None, Some(2 * USD)).expect("there is room");
    assert!(ask(rules, "openai", Some("team-a"), Some(USD)).is_none());
    (admin, held)
}

fn moment(told: &Value) -> UnixMicros {
    let told: jiff::Timestamp = told.as_str().unwrap().parse().unwrap();
    told.into()
}

fn named<'j>(list: &'j Value, name: &str) -> &'j Value {
    let rules = list["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["name"] == name).unwrap()
}

#[tokio::test]
async fn rules_are_listed_with_what_they_say_and_did() {
    let (admin, _held) = fed().await;
    let list = admin.json("/api/v1/rules").await;
    let names: Vec<&Value> = list["rules"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = names
        .iter()
        .map(|rule| rule["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Spend", "Tokens", "Slow"]);

    let spend = named(&list, "Spend");
    for (field, told) in [
        ("group", json!("budgets")),
        ("place", json!("rules/test.yaml:5:5")),
        ("mode", json!("enforce")),
        ("metric", json!("cost")),
        ("stat", json!("sum")),
        ("window", json!("30d")),
        ("by", json!(["channel", "key"])),
        ("unit", json!("usd")),
        ("side", json!("above")),
        ("warning", json!("5")),
        ("critical", json!("10.5")),
        ("clear", json!("0.925")),
        ("for_us", json!(0)),
        ("compare_us", json!(null)),
        ("healthy", json!(true)),
        ("unhealthy_reason", json!(null)),
        ("is_budget", json!(true)),
        ("overshoot_bound", json!("0")),
        ("unbounded", json!(false)),
        ("blocked", json!(1)),
        ("would_block", json!(0)),
        ("folded", json!(0)),
    ] {
        assert_eq!(spend[field], told, "{field}");
    }
    assert_eq!(
        spend["annotations"]["summary"],
        "{{ labels.key }} spent {{ value }} of {{ limit }}"
    );
    assert_eq!(
        spend["match"],
        json!({"channel": "*", "model": "gpt-5*", "api": ["chat"], "key": null, "tags": {}})
    );
    assert_eq!(spend["actions"][0]["until"], "2h");
    assert_eq!(spend["actions"][0]["status"], Value::Null);
    assert_eq!(spend["actions"][1]["action"], "block");
    assert_eq!(spend["actions"][1]["status"], 429);

    let [critical, warning, inactive] = spend["alerts"].as_array().unwrap().as_slice() else {
        panic!("{spend}");
    };
    assert_eq!(critical["alert"], r#"Spend{channel="openai",key="team-a"}"#);
    assert_eq!(
        critical["labels"],
        json!({"channel": "openai", "key": "team-a"})
    );
    assert_eq!(critical["state"], "firing");
    assert_eq!(critical["severity"], "critical");
    assert_eq!(critical["value"], "12");
    assert_eq!(critical["limit"], "10.5");
    assert_eq!(critical["requests"], 1);
    assert_eq!(critical["window_end"], Value::Null);
    assert_eq!(critical["actions"][0]["action"], "disable_channel");
    assert_eq!(critical["actions"][0]["done"], true);
    let until: UnixMicros = moment(&critical["actions"][0]["until"]);
    assert!(until > UnixMicros::now(), "{critical}");
    assert_eq!(critical["actions"][1]["until"], Value::Null);
    let annotations = &critical["annotations"];
    assert_eq!(annotations["summary"], "team-a spent 12 USD of 10.5 USD");
    // Good with the sample, whose labels are alike, and not with this key.
    let odd = annotations["odd"].as_str().unwrap();
    assert!(
        odd.starts_with("the annotation `odd` cannot be filled in: "),
        "{odd}"
    );
    assert_eq!(warning["severity"], "warning");
    assert_eq!(warning["limit"], "5");
    assert_eq!(inactive["labels"], json!({"channel": "spare", "key": ""}));
    assert_eq!(inactive["state"], "inactive");
    assert_eq!(inactive["severity"], Value::Null);
    assert_eq!(inactive["value"], "1.5");
    assert_eq!(inactive["reserved"], "2");
    assert_eq!(inactive["annotations"], json!({}));

    // Shadow: the first request found room for 3,000 tokens at most, had it been let.
    let tokens = named(&list, "Tokens");
    assert_eq!(
        (&tokens["blocked"], &tokens["would_block"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(tokens["overshoot_bound"], Value::Null);
    assert_eq!(tokens["unbounded"], false);
    let window = tokens["window"].as_str().unwrap();
    assert!(window.starts_with("month (UTC"), "{window}");
    let of_month = &tokens["alerts"][0];
    assert_eq!(
        (&of_month["value"], &of_month["unit"]),
        (&json!("3000"), &json!("tokens"))
    );
    assert!(of_month["window_end"].is_string(), "{of_month}");
    assert_eq!(named(&list, "Slow")["for_us"], 3_600_000_000_u64);
}

#[tokio::test]
async fn a_bound_that_nobody_knows_is_not_told_as_none() {
    let (admin, _held) = fed().await;
    let _unknown = ask(&admin.rules, "spare", None, None).expect("something is left");
    let list = admin.json("/api/v1/rules").await;
    let spend = named(&list, "Spend");
    assert_eq!(spend["overshoot_bound"], Value::Null);
    assert_eq!(spend["unbounded"], true);
}

#[tokio::test]
async fn alerts_that_are_on_are_listed_and_filtered() {
    let (admin, _held) = fed().await;
    let told = async |query: &str| -> Vec<String> {
        let list = admin.json(&format!("/api/v1/alerts{query}")).await;
        let alerts = list["alerts"].as_array().unwrap();
        let texts = alerts.iter().map(|alert| {
            let [state, severity] =
                ["state", "severity"].map(|field| alert[field].as_str().unwrap());
            format!("{state} {severity} {}", alert["alert"].as_str().unwrap())
        });
        texts.collect()
    };
    let team_a = r#"firing critical Spend{channel="openai",key="team-a"}"#;
    let team_b = r#"firing warning Spend{channel="openai",key="team-b"}"#;
    let slow = r#"pending warning Slow{tag:team=""}"#;
    for (query, expected) in [
        ("", &[team_a, team_b, slow][..]),
        ("?state=pending", &[slow]),
        ("?state=firing", &[team_a, team_b]),
        ("?state=firing&severity=warning", &[team_b]),
        ("?rule=Spend&severity=critical", &[team_a]),
        ("?rule=Tokens", &[]),
        ("?state=&rule=&severity=", &[team_a, team_b, slow]),
    ] {
        assert_eq!(told(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_channel_says_which_alert_holds_it() {
    let (admin, _held) = fed().await;
    let channel = admin.json("/api/v1/channels/openai").await;
    assert_eq!(channel["state"], "closed");
    let hold = &channel["holds"][0];
    assert_eq!(
        hold["owner"],
        r#"alert:Spend{channel="openai",key="team-a"}"#
    );
    assert_eq!(hold["reason"], "alert");
    assert!(hold["until"].is_string(), "{hold}");
    let note = hold["note"].as_str().unwrap();
    assert!(
        note.contains("12 USD") && note.contains("10.5 USD"),
        "{note}"
    );
}

#[tokio::test]
async fn what_happened_to_alerts_is_paged_and_filtered() {
    let admin = Admin::with_rules(None, None, &text()).await;
    for n in 0..5 {
        let usd = |value| Quantity {
            unit: Unit::Usd,
            value,
        };
        let event = AlertEvent {
            at: UnixMicros(crate::START.0 + n * 60_000_000),
            alert: AlertId {
                rule: ["Spend", "Gone"][usize::try_from(n % 2).unwrap()].into(),
                labels: Labels::new([(Arc::from("key"), Arc::from("a\"b"))]),
            },
            state: AlertState::Firing,
            severity: Some(Severity::Critical),
            active_since: Some(crate::START),
            fired_at: Some(crate::START),
            cleared_since: None,
            critical_since: None,
            critical_cleared_since: None,
            value: Some(usd(n * USD / 2)),
            limit: None,
            window_end: None,
            mode: Mode::Enforce,
            told: true,
            actions: Vec::new(),
        };
        assert!(admin.ledger.journal().alert_changed(&event));
    }
    admin.flush();
    let values = |list: &Value| -> Vec<String> {
        let events = list["events"].as_array().unwrap();
        let values = events.iter().map(|event| event["value"].as_str().unwrap());
        values.map(str::to_owned).collect()
    };
    let first = admin.json("/api/v1/alert-events?limit=3").await;
    assert_eq!(values(&first), ["2", "1.5", "1"]);
    assert_eq!(first["events"][0]["alert"], r#"Spend{key="a\"b"}"#);
    assert_eq!(first["events"][0]["labels"], json!({"key": "a\"b"}));
    assert_eq!(first["events"][0]["unit"], "usd");
    assert_eq!(first["events"][0]["limit"], Value::Null);
    assert_eq!(
        first["events"][0]["annotations"]["summary"],
        "a\"b spent 2 USD of unknown"
    );
    // The rule is gone, and its texts with it.
    assert_eq!(first["events"][1]["annotations"], json!({}));
    let next = first["next"].as_str().unwrap();
    let second = admin
        .json(&format!("/api/v1/alert-events?limit=3&cursor={next}"))
        .await;
    assert_eq!(values(&second), ["0.5", "0"]);
    assert_eq!(second["next"], Value::Null);
    let gone = "rule=Gone&since=2026-11-20T10:01:30Z&until=2026-11-20T10:04:00Z";
    let gone = admin.json(&format!("/api/v1/alert-events?{gone}")).await;
    assert_eq!(values(&gone), ["1.5"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_remedy() {
    let admin = Admin::start(None, None).await;
    for (path, parameter, remedy) in [
        ("alerts?state=inactive", "state", "`/api/v1/rules` has them"),
        ("alerts?state=on", "state", "firing"),
        ("alerts?severity=high", "severity", "warning, critical"),
        (
            "alerts?serverity=warning",
            "serverity",
            "did you mean `severity`?",
        ),
        ("alerts?rule=a&rule=b", "rule", "once is enough"),
        ("rules?state=firing", "state", "this path takes none"),
        ("alert-events?cursor=g1", "cursor", "`g1`"),
        ("alert-events?limit=0", "limit", "1 to 1000"),
        ("alert-events?since=soon", "since", "write RFC 3339"),
    ] {
        let (status, failure) = admin.failure(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {failure}");
        assert_eq!(failure["param"], parameter, "{path}");
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(remedy), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_rule_that_cannot_be_judged_says_why() {
    let (admin, _held) = fed().await;
    admin.rules.set_unknown("the ledger cannot be read");
    let list = admin.json("/api/v1/rules").await;
    let slow = named(&list, "Slow");
    assert_eq!(slow["healthy"], false);
    assert_eq!(slow["unhealthy_reason"], "the ledger cannot be read");
}
