//! What rules cost a request: none, a few, a thousand with ten thousand live series.
//!
//! `cargo bench --bench rules`. `request` is one admission and one end; `every_stat` is a rule for each
//! statistic over every request; `tick` is what the clock costs once a second.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may stop at any fault, and its entry point is made by a macro"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::clock::UnixMicros;
use tollgate::config::BudgetSettings;
use tollgate::money::NanoUsd;
use tollgate::record::{Api, Dimensions, ModelNames, Sample, Worst};
use tollgate::rules::{self, Demand, KnownNames, NoHands, RuleSet, Rules};

const KEYS: usize = 1_000;
const MODELS: usize = 10;

/// A rule for each key, by model, and a few that concern everybody.
fn thousand() -> String {
    let mut text = String::from("groups:\n  - name: bench\n    rules:\n");
    for key in 0..KEYS - 10 {
        let _infallible = writeln!(
            text,
            "      - {{alert: Key{key}, metric: cost, stat: sum, window: day, match: {{key: key-{key}}}, \
             by: [model], critical: 1000000 USD, mode: enforce, actions: [{{block: {{status: 429}}}}]}}"
        );
    }
    every_request(&mut text, "by: [channel], ");
    text
}

/// Every statistic over every request.
const STATS: [(&str, &str, &str); 10] = [
    ("cost", "sum", "1000000 USD"),
    ("tokens", "mean", "1M tokens"),
    ("requests", "count", "1000000000 requests"),
    ("error_ratio", "ratio", "99%"),
    ("latency", "p50", "1000s"),
    ("latency", "p90", "1000s"),
    ("latency", "p95", "1000s"),
    ("ttft", "p99", "1000s"),
    ("latency", "max", "1000s"),
    ("latency", "mean", "1000s"),
];

fn every_stat() -> String {
    let mut text = String::from("groups:\n  - name: bench\n    rules:\n");
    every_request(&mut text, "");
    text
}

/// A rule for each statistic, over all requests.
fn every_request(text: &mut String, by: &str) {
    for (n, (metric, stat, critical)) in STATS.iter().enumerate() {
        let _infallible = writeln!(
            text,
            "      - {{alert: All{n}, metric: {metric}, stat: {stat}, window: 5m, {by}critical: {critical}, \
             mode: notify}}"
        );
    }
}

fn loaded(text: &str) -> RuleSet {
    let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    rules::load(
        &[file.path().to_owned()],
        &jiff::tz::TimeZone::UTC,
        &KnownNames::default(),
    )
    .unwrap()
    .set
}

fn engine(set: &RuleSet) -> Rules {
    Rules::new(set, BudgetSettings::default(), false, Arc::new(NoHands))
}

/// The request of a number: keys and models in turn, so that no path is warm.
struct Traffic {
    keys: Vec<String>,
    models: Vec<String>,
    turn: usize,
    now: UnixMicros,
}

impl Traffic {
    fn new() -> Self {
        Self {
            keys: (0..KEYS).map(|key| format!("key-{key}")).collect(),
            models: (0..MODELS).map(|model| format!("model-{model}")).collect(),
            turn: 0,
            now: UnixMicros(1_795_176_000_000_000),
        }
    }

    fn request(&mut self, rules: &Rules) {
        self.turn += 1;
        // A thousand a second.
        self.now = self.now.plus(Duration::from_millis(1));
        let dimensions = Dimensions {
            channel: "main",
            api: Api::Chat,
            key: Some(&self.keys[self.turn * 7 % KEYS]),
            model: ModelNames {
                asked: Some(&self.models[self.turn / KEYS % MODELS]),
                ..ModelNames::default()
            },
            tags: None,
        };
        let demand = Demand {
            started_at: self.now,
            dimensions,
            worst: Worst {
                cost: Some(NanoUsd(1_000_000)),
                ..Worst::default()
            },
        };
        let held = rules.admit(black_box(&demand), self.now).unwrap();
        let latency_us = 200_000 + (self.turn as u64 * 7_919) % 2_000_000;
        let sample = Sample {
            started_at: self.now,
            ended_at: self.now,
            dimensions,
            error: self.turn.is_multiple_of(100),
            settles: false,
            cost_nanousd: Some(900_000),
            tokens: Some(900),
            input_tokens: Some(800),
            output_tokens: Some(100),
            latency_us: Some(latency_us),
            ttft_us: Some(latency_us / 4),
            pace_milli: Some(40_000),
            position: None,
        };
        rules.observe(black_box(&sample), held, self.now);
    }
}

fn requests(criterion: &mut Criterion) {
    for (name, set) in [
        ("none", RuleSet::default()),
        ("every_stat", loaded(&every_stat())),
        ("1000_rules", loaded(&thousand())),
    ] {
        let rules = engine(&set);
        let mut traffic = Traffic::new();
        for _ in 0..KEYS * MODELS {
            traffic.request(&rules);
        }
        let now = traffic.now;
        let series: usize = rules.view(now).iter().map(|rule| rule.alerts.len()).sum();
        criterion.bench_function(
            &format!("rules/request/{name}/{series}_series"),
            |bencher| {
                bencher.iter(|| traffic.request(&rules));
            },
        );
        let now = traffic.now;
        criterion.bench_function(&format!("rules/tick/{name}"), |bencher| {
            bencher.iter(|| rules.tick(black_box(now)));
        });
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
