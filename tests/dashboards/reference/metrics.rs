//! The reference of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;

use crate::stack::Stack;
use crate::support::eventually;
use crate::support::http2::Certificate;
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Upstream};

const HEAD: &str = "# Metrics

What `/metrics` on the admin port tells Prometheus, made of what a running Tollgate says of itself (`make references`).

- Base units: seconds, bytes, dollars, ratios from 0 to 1. Counters end in `_total` and begin anew with the process: ask for
  `rate()` or `increase()` of them.
- What is not known is absent, not 0.
- `sum()` over any label means something. Types of tokens are disjoint, so they add up.
- No label has a key, a user, a path or an id. Models beyond `metrics.max_models`, and names that nobody answers to, are
  counted under `other`; `tollgate_folded_labels_total` says how often.
- Exact sums of money and tokens over a range are the ledger's, not Prometheus': [grafana.md](grafana.md) says why.
";

const GROUPS: &[(&str, &[&str])] = &[
    (
        "Requests",
        &[
            "tollgate_requests",
            "tollgate_tokens",
            "tollgate_cost",
            "tollgate_request_",
            "tollgate_time_",
            "tollgate_phase",
            "tollgate_overhead",
            "tollgate_in_flight",
            "tollgate_unpriced",
            "tollgate_usage",
            "tollgate_folded",
            "tollgate_payloads",
        ],
    ),
    (
        "Channels",
        &[
            "tollgate_channel",
            "tollgate_upstream",
            "tollgate_quota",
            "tollgate_new_api",
        ],
    ),
    (
        "Rules and budgets",
        &["tollgate_budget", "tollgate_alerts", "tollgate_rule"],
    ),
    ("Notifications", &["tollgate_notification"]),
    ("Ledger", &["tollgate_ledger", "tollgate_data_dir"]),
    (
        "Prices and settings",
        &[
            "tollgate_prices",
            "tollgate_config",
            "tollgate_tls",
            "tollgate_build",
        ],
    ),
    ("Process", &["process_"]),
];

/// The reference. A family is exposed once it has something to say, so what the stack has no part in is asked of
/// another Tollgate.
pub(super) fn reference(stack: &Stack) -> String {
    let shown = stack.tollgate.admin("/metrics").text();
    table(&(shown + &with_the_rest()))
}

/// What a Tollgate exposes that clients come to by TLS and that fetched a price catalogue.
fn with_the_rest() -> String {
    let certificate = Certificate::make();
    let catalogue = json!({"acme-1": {
        "litellm_provider": "openai", "mode": "chat",
        "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06
    }});
    let json = Answer::new("200 OK").header("content-type", "application/json");
    let served = Upstream::always(json.body(catalogue.to_string()));
    let settings = format!(
        "tls: {{cert: '{}', key: '{}'}}\n\
         prices: {{update: {{url: 'http://{}/prices.json', every: 1s}}}}",
        certificate.cert_file.display(),
        certificate.key_file.display(),
        served.address()
    );
    let tollgate = Setup::upstream(&served.base_url())
        .setting(&settings)
        .start();
    eventually("a price catalogue", || {
        let shown = tollgate.admin("/metrics").text();
        shown
            .contains("\ntollgate_prices_last_success_timestamp_seconds ")
            .then_some(shown)
    })
}

fn table(exposition: &str) -> String {
    let mut families: BTreeMap<&str, (&str, String, BTreeSet<&str>)> = BTreeMap::new();
    for line in exposition.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            families.entry(name).or_default().1 = help.replace("\\n", " ").replace('|', "\\|");
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            families.entry(name).or_default().0 = kind;
        }
    }
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let name = &line[..end];
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| families.contains_key(family))
            .unwrap_or(name);
        let labels = line[end..]
            .strip_prefix('{')
            .map_or("", |rest| rest.split('}').next().unwrap());
        for pair in labels.split("\",") {
            if let Some((label, _)) = pair.split_once('=')
                && label != "le"
            {
                families.get_mut(family).unwrap().2.insert(label);
            }
        }
    }
    let mut made = HEAD.to_owned();
    for (title, prefixes) in GROUPS {
        write!(
            made,
            "\n## {title}\n\n| metric | kind | labels | |\n|---|---|---|---|\n"
        )
        .unwrap();
        for (name, (kind, help, labels)) in &families {
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
                writeln!(
                    made,
                    "| `{name}` | {kind} | {} | {help} |",
                    labels.join(", ")
                )
                .unwrap();
            }
        }
    }
    for name in families.keys() {
        assert!(
            made.contains(&format!("| `{name}` |")),
            "{name} belongs to no group"
        );
    }
    made
}
