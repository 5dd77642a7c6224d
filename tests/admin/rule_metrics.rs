//! What a scrape tells of rules.

use std::collections::BTreeSet;

use crate::Admin;
use crate::health::promtool_accepts;
use crate::rules::fed;
use crate::traffic::rules::{USD, ask, spend};

async fn samples(admin: &Admin) -> BTreeSet<String> {
    let text = admin.get("/metrics").await.text().await.unwrap();
    let of_rules = |line: &&str| {
        ["tollgate_budget_", "tollgate_alerts", "tollgate_rule_"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    text.lines().filter(of_rules).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_scrape_tells_budgets_alerts_and_health() {
    let (admin, _held) = fed().await;
    let _unknown = ask(&admin.rules, "spare", None, None).expect("something is left");
    let samples = samples(&admin).await;
    let money = |scope: &str| format!("{{rule=\"Spend\",scope=\"channel={scope}\",unit=\"usd\"}}");
    let tokens = "{rule=\"Tokens\",scope=\"all\",unit=\"tokens\"}";
    for expected in [
        format!("tollgate_budget_limit{} 10.5", money("openai")),
        // Of two keys the one that is nearer to its limit.
        format!("tollgate_budget_used{} 12", money("openai")),
        format!("tollgate_budget_remaining{} -1.5", money("openai")),
        format!("tollgate_budget_reserved{} 0", money("openai")),
        format!("tollgate_budget_used{} 1.5", money("spare")),
        // Of one whose most nobody knows, a dollar beside the other.
        format!("tollgate_budget_reserved{} 3", money("spare")),
        format!("tollgate_budget_limit{tokens} 4000"),
        format!("tollgate_budget_used{tokens} 3000"),
        format!("tollgate_budget_remaining{tokens} 1000"),
        "tollgate_budget_overshoot_bound{rule=\"Spend\",unit=\"usd\"} inf".to_owned(),
        "tollgate_alerts{rule=\"Spend\",severity=\"critical\",state=\"firing\"} 1".to_owned(),
        "tollgate_alerts{rule=\"Spend\",severity=\"warning\",state=\"firing\"} 1".to_owned(),
        "tollgate_alerts{rule=\"Spend\",severity=\"critical\",state=\"pending\"} 0".to_owned(),
        "tollgate_alerts{rule=\"Slow\",severity=\"warning\",state=\"pending\"} 1".to_owned(),
        "tollgate_rule_health{rule=\"Slow\"} 1".to_owned(),
        "tollgate_rule_blocked_requests_total{mode=\"enforce\",rule=\"Spend\"} 1".to_owned(),
        "tollgate_rule_blocked_requests_total{mode=\"shadow\",rule=\"Tokens\"} 3".to_owned(),
        "tollgate_rule_folded_requests_total{rule=\"Spend\"} 0".to_owned(),
    ] {
        assert!(
            samples.iter().any(|sample| same(sample, &expected)),
            "{expected} is not in {samples:#?}"
        );
    }
    for sample in &samples {
        for never in ["team-a", "team-b", "key=", "tag:"] {
            assert!(!sample.contains(never), "{sample}");
        }
        // No budget of a rule that is none, no bound of one that is not enforced.
        assert!(
            !(sample.contains("budget") && sample.contains("Slow")),
            "{sample}"
        );
        assert!(
            !(sample.contains("overshoot") && sample.contains("Tokens")),
            "{sample}"
        );
    }
    promtool_accepts(&admin.get("/metrics").await.text().await.unwrap());

    admin.rules.set_unknown("the ledger cannot be read");
    let samples = self::samples(&admin).await;
    assert!(
        samples.contains("tollgate_rule_health{rule=\"Slow\"} 0"),
        "{samples:#?}"
    );
}

/// Whether two samples are one, whatever the order of the labels.
fn same(left: &str, right: &str) -> bool {
    let parts = |sample: &str| -> Option<(String, BTreeSet<String>, String)> {
        let (name, rest) = sample.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        let labels = labels
            .split("\",")
            .map(|label| label.trim_end_matches('"').to_owned());
        Some((name.to_owned(), labels.collect(), value.to_owned()))
    };
    parts(left) == parts(right)
}

#[tokio::test]
async fn a_rule_of_many_models_shows_those_that_are_nearest_to_the_limit() {
    let rules = "\
groups:
- name: g
  rules:
  - {alert: PerChannel, metric: requests, window: 30d, by: [channel], warning: 1k requests}
";
    let admin = Admin::with_rules(None, None, rules).await;
    // The later a channel, the more requests it had.
    for n in 0..230 {
        let channel = format!("c{n:03}");
        for _ in 0..=n / 100 {
            spend(&admin.rules, &channel, None, USD);
        }
    }
    let samples = samples(&admin).await;
    let used: Vec<&String> = samples
        .iter()
        .filter(|sample| sample.starts_with("tollgate_budget_used{"))
        .collect();
    assert_eq!(used.len(), 200);
    let shown = |channel: &str| used.iter().any(|sample| sample.contains(channel));
    assert!(shown("c229") && shown("c100") && shown("c069") && !shown("c070"));
}
