//! Runs a test: everything in it in the order of time, through the engine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::compare;
use super::{
    Asked, Expected, Refuser, Requests, RuleTest, TestFailure, TestFile, TestResult, Whose,
};
use crate::clock::UnixMicros;
use crate::record::{Dimensions, ModelNames, Sample, pace_milli};
use crate::rules::definition::RuleSet;
use crate::rules::demand::Demand;
use crate::rules::engine::Reservation;
use crate::rules::trial::Trial;

/// What happens at a moment; of the same moment in this order, so that what is expected then has seen
/// all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A request of these, which began then, ends.
    Ends(usize, Duration),
    /// A quota is told.
    Quota(usize),
    /// What was held for this demand is given back.
    GivenBack(usize),
    /// The process ends and another begins.
    Restart,
    /// A request asks whether it may go.
    Asks(usize),
    /// Something is expected.
    Expects(usize),
}

impl TestFile {
    /// Runs its tests.
    #[must_use]
    pub fn run(&self) -> Vec<TestResult> {
        let tests = self.tests.iter();
        tests.map(|test| Run::of(test, &self.set)).collect()
    }
}

/// A test on its way.
struct Run<'t> {
    test: &'t RuleTest,
    trial: Trial,
    /// The requests that ended, for whoever begins anew.
    past: Vec<Sample<'t>>,
    held: HashMap<usize, Reservation>,
    failures: Vec<TestFailure>,
}

impl<'t> Run<'t> {
    fn of(test: &'t RuleTest, set: &RuleSet) -> TestResult {
        let mut run = Run {
            test,
            trial: Trial::new(set, test.channels.clone(), test.start),
            past: Vec::new(),
            held: HashMap::new(),
            failures: Vec::new(),
        };
        let mut steps = steps(test);
        while let Some(Reverse((at, step))) = steps.pop() {
            run.trial.advance(test.start.plus(at));
            run.take(at, step);
        }
        TestResult {
            name: test.name.clone(),
            failures: run.failures,
        }
    }

    fn take(&mut self, at: Duration, step: Step) {
        match step {
            Step::Ends(index, began) => {
                if let Some(requests) = self.test.requests.get(index) {
                    let sample = sample(requests, self.test.start.plus(began), self.trial.now());
                    self.past.push(sample);
                    self.trial.observe(&sample, Reservation::default());
                }
            }
            Step::Quota(index) => {
                if let Some(quota) = self.test.quotas.get(index) {
                    let (channel, window) = (&quota.channel, &quota.window);
                    self.trial.quota(channel, window, quota.used_ppm);
                }
            }
            Step::GivenBack(index) => drop(self.held.remove(&index)),
            Step::Restart => {
                self.trial.settle();
                self.held.clear();
                self.trial.restart(&self.past);
            }
            Step::Asks(index) => {
                if let Some(asked) = self.test.asked.get(index) {
                    self.ask(index, asked);
                }
            }
            Step::Expects(index) => {
                if let Some(expected) = self.test.expected.get(index) {
                    self.expect(at, expected);
                }
            }
        }
    }

    fn ask(&mut self, index: usize, asked: &Asked) {
        let demand = Demand {
            started_at: self.trial.now(),
            dimensions: dimensions(&asked.whose),
            worst: asked.worst,
        };
        let found = match self.trial.admit(&demand) {
            Ok(held) => {
                if !asked.held.is_zero() {
                    self.held.insert(index, held);
                }
                None
            }
            Err(blocked) => Some(blocked),
        };
        let as_expected = match (&asked.refused_by, &found) {
            (None, None) | (Some(Refuser::Any), Some(_)) => true,
            (Some(Refuser::Rule(rule)), Some(blocked)) => *rule == blocked.alert.rule,
            _ => false,
        };
        if !as_expected {
            let expected = match &asked.refused_by {
                None => "admitted".to_owned(),
                Some(Refuser::Any) => "blocked".to_owned(),
                Some(Refuser::Rule(rule)) => format!("blocked by `{rule}`"),
            };
            let found = match found {
                None => "admitted".to_owned(),
                Some(blocked) => format!("blocked: {blocked}"),
            };
            self.failures.push(TestFailure {
                place: asked.place.clone(),
                at: asked.at,
                moment: self.trial.now(),
                expected: vec![expected],
                found: vec![found],
            });
        }
    }

    fn expect(&mut self, at: Duration, expected: &Expected) {
        self.trial.settle();
        let now = self.trial.now();
        let closed = self.trial.channels().closed(now);
        let differs = compare::differences(expected, &self.trial.view(), &closed);
        if let Some((expected_lines, found)) = differs {
            self.failures.push(TestFailure {
                place: expected.place.clone(),
                at,
                moment: now,
                expected: expected_lines,
                found,
            });
        }
    }
}

/// Everything that happens, the earliest on top.
fn steps(test: &RuleTest) -> BinaryHeap<Reverse<(Duration, Step)>> {
    let mut steps = BinaryHeap::new();
    for (index, requests) in test.requests.iter().enumerate() {
        let latency = Duration::from_micros(requests.latency_us.unwrap_or(0));
        let ends = requests.beat.moments().map(|began| {
            let ends = began.saturating_add(latency);
            Reverse((ends, Step::Ends(index, began)))
        });
        steps.extend(ends);
    }
    for (index, quota) in test.quotas.iter().enumerate() {
        let told = quota.beat.moments();
        steps.extend(told.map(|at| Reverse((at, Step::Quota(index)))));
    }
    for (index, asked) in test.asked.iter().enumerate() {
        steps.push(Reverse((asked.at, Step::Asks(index))));
        if !asked.held.is_zero() {
            let ends = asked.at.saturating_add(asked.held);
            steps.push(Reverse((ends, Step::GivenBack(index))));
        }
    }
    steps.extend(test.restarts.iter().map(|&at| Reverse((at, Step::Restart))));
    for (index, expected) in test.expected.iter().enumerate() {
        steps.push(Reverse((expected.at, Step::Expects(index))));
    }
    steps
}

fn sample(requests: &Requests, started_at: UnixMicros, ended_at: UnixMicros) -> Sample<'_> {
    let stream = requests.latency_us.zip(requests.ttft_us);
    Sample {
        started_at,
        ended_at,
        dimensions: dimensions(&requests.whose),
        error: requests.error,
        settles: false,
        cost_nanousd: requests.cost_nanousd,
        tokens: requests.tokens,
        input_tokens: requests.input_tokens,
        output_tokens: requests.output_tokens,
        latency_us: requests.latency_us,
        ttft_us: requests.ttft_us,
        pace_milli: stream
            .zip(requests.output_tokens)
            .and_then(|((latency, ttft), output)| pace_milli(output, latency, ttft)),
        position: None,
    }
}

fn dimensions(whose: &Whose) -> Dimensions<'_> {
    let model = whose.model.as_deref();
    Dimensions {
        channel: &whose.channel,
        api: whose.api,
        key: whose.key.as_deref(),
        model: ModelNames {
            asked: model,
            meant: model,
            called: model,
            served: model,
        },
        tags: Some(&whose.tags),
    }
}
