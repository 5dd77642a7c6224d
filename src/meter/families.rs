//! Metric families in Prometheus' data model, for whoever reads its own counts at scrape time.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// One family's identity: its name, its help text, its label names.
pub type Family = (&'static str, &'static str, &'static [&'static str]);

/// What a collector of `families` describes itself by. Fails only when one of them is malformed.
pub fn descriptions(families: &[Family]) -> prometheus::Result<Vec<Desc>> {
    families
        .iter()
        .map(|&(name, help, labels)| {
            Desc::new(
                name.to_owned(),
                help.to_owned(),
                labels.iter().map(|&label| label.to_owned()).collect(),
                HashMap::new(),
            )
        })
        .collect()
}

/// A family with its series.
#[must_use]
pub fn family((name, help, _): Family, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// A counter's series with these label values.
#[must_use]
pub fn counter(family: Family, values: &[&str], count: f64) -> Metric {
    let mut metric = Metric::from_label(labels(family, values));
    let mut counter = Counter::default();
    counter.set_value(count);
    metric.set_counter(counter);
    metric
}

/// A gauge's series with these label values.
#[must_use]
pub fn gauge(family: Family, values: &[&str], value: f64) -> Metric {
    let mut metric = Metric::from_label(labels(family, values));
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

/// A histogram's series, of times in µs told in seconds: `cumulative` are the upper bounds with
/// the observations up to each, the last without a bound left out.
#[must_use]
pub fn histogram(
    family: Family,
    values: &[&str],
    cumulative: impl IntoIterator<Item = (u64, u64)>,
    count: u64,
    sum_us: u64,
) -> Metric {
    let mut model = Histogram::default();
    model.set_sample_count(count);
    model.set_sample_sum(seconds(sum_us));
    model.set_bucket(
        cumulative
            .into_iter()
            .map(|(bound_us, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(seconds(bound_us));
                bucket.set_cumulative_count(count);
                bucket
            })
            .collect(),
    );
    let mut metric = Metric::from_label(labels(family, values));
    metric.set_histogram(model);
    metric
}

/// Microseconds as the seconds that Prometheus counts in.
#[must_use]
pub fn seconds(us: u64) -> f64 {
    float(us) / 1e6
}

/// A count as a sample.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus' samples are f64; beyond 2^53 a counter loses its last digit"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

fn labels((_, _, names): Family, values: &[&str]) -> Vec<LabelPair> {
    names
        .iter()
        .zip(values)
        .map(|(&name, &value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        })
        .collect()
}
