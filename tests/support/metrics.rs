//! A scrape of `/metrics`, parsed as Prometheus' text format.

use std::collections::BTreeMap;

/// The samples of one scrape.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<Sample>);

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The sample's name, with `_sum`, `_count` or `_bucket` for histograms.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value.
    pub(crate) value: f64,
}

impl Metrics {
    /// Reads an exposition. Label values in these tests hold neither quotes nor commas.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines();
        let lines = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Self(lines.map(sample).collect())
    }

    /// The samples of that name whose labels include these.
    pub(crate) fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        })
    }

    /// Their sum; 0 when there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',');
    let labels = labels.filter(|label| !label.is_empty()).map(|label| {
        let (label, value) = label.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().unwrap(),
    }
}
