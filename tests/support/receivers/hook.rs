//! A webhook that takes what it is told, or answers what a test says, and knows what it took.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::webhook::{Alert, Body};
use crate::support::eventually;
use crate::support::upstream::{Answer, Received, Script, Step, Upstream};

/// What became of a request: what to answer, and whether that takes it.
type Turn = dyn Fn(&Body) -> (Script, bool) + Send + Sync;

/// The webhook.
pub(crate) struct Hook {
    upstream: Upstream,
    taken: Arc<Mutex<Vec<Arc<Body>>>>,
    status: Arc<AtomicU16>,
}

impl Hook {
    /// One that takes all, until [`says`](Self::says) has it do otherwise.
    pub(crate) fn start() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let said = Arc::clone(&status);
        let turn = move |_: &Body| {
            let status = said.load(Ordering::SeqCst);
            (answer(status), status == 200)
        };
        Self::run(status, Box::new(turn))
    }

    /// One that does with each body what `turn` says.
    pub(crate) fn judging(turn: impl Fn(&Body) -> (Script, bool) + Send + Sync + 'static) -> Self {
        Self::run(Arc::default(), Box::new(turn))
    }

    fn run(status: Arc<AtomicU16>, turn: Box<Turn>) -> Self {
        let taken: Arc<Mutex<Vec<Arc<Body>>>> = Arc::default();
        let filled = Arc::clone(&taken);
        let upstream = Upstream::start(move |request: &Received| {
            let body: Body = serde_json::from_slice(&request.body).unwrap();
            let (script, is_taken) = turn(&body);
            if is_taken {
                filled.lock().unwrap().push(Arc::new(body));
            }
            script
        });
        Self {
            upstream,
            taken,
            status,
        }
    }

    /// What it answers from now on; 200 takes.
    pub(crate) fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// It as a receiver of that name, with further settings (YAML flow style).
    pub(crate) fn receiver(&self, name: &str, more: &str) -> String {
        let address = self.upstream.address();
        format!("- {{name: {name}, webhook: {{url: 'http://{address}/'}}{more}}}\n")
    }

    /// How often it was tried.
    pub(crate) fn tries(&self) -> usize {
        self.upstream.received().len()
    }

    /// How often whoever told it closed the connection before it had answered.
    pub(crate) fn left(&self) -> usize {
        self.upstream.abandoned()
    }

    /// Waits until it has done with all that was told by a process that is gone.
    pub(crate) fn until_idle(&self) {
        self.upstream.until_idle();
    }

    /// What it took, in order.
    pub(crate) fn taken(&self) -> Vec<Arc<Body>> {
        self.taken.lock().unwrap().clone()
    }

    /// Each body that has alerts of that rule: of each alert its status and its channel, in order.
    pub(crate) fn told(&self, rule: &str) -> Vec<Vec<(String, String)>> {
        let of_rule = |alert: &&Alert| alert.labels["alertname"] == rule;
        let told = |body: Arc<Body>| {
            let alerts = body.alerts.iter().filter(of_rule);
            let mut told: Vec<_> = alerts
                .map(|alert| (alert.status.clone(), alert.labels["channel"].clone()))
                .collect();
            told.sort();
            told
        };
        let bodies = self.taken().into_iter().map(told);
        bodies.filter(|told| !told.is_empty()).collect()
    }

    /// Waits until it was told so of that rule.
    pub(crate) fn until_told(&self, rule: &str, status: &str, channel: &str) {
        let wanted = (status.to_owned(), channel.to_owned());
        eventually(&format!("{rule} of {channel} is told as {status}"), || {
            let told = self.told(rule);
            told.iter()
                .flatten()
                .any(|told| *told == wanted)
                .then_some(())
        });
    }
}

/// An answer of that status.
pub(crate) fn answer(status: u16) -> Script {
    Answer::new(&format!("{status} -")).body("")
}

/// A connection that is open, and no answer.
pub(crate) fn hang() -> Script {
    vec![Step::Hang]
}
