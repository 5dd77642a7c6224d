//! The admin port over real sockets, in front of a real ledger.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod access;
mod answers;
mod channels;
mod connections;
mod document;
mod health;
mod keys;
mod latency;
mod names;
mod notifications;
mod questions;
mod repricing;
mod rule_metrics;
mod rules;
mod silences;
#[path = "../traffic/mod.rs"]
mod traffic;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use tollgate::admin::{AdminParts, AdminState, Readiness, serve};
use tollgate::config::{ReceiverSettings, Secret, Settings};
use tollgate::dispatch::DispatchStats;
use tollgate::dispatch::answering::{Answerer, AnswererParts, LedgerLog, Signer};
use tollgate::keys::Keys;
use tollgate::ledger::Ledger;
use tollgate::meter::Meter;
use tollgate::pricing::Prices;
use tollgate::rules::Rules;
use tollgate::sources::http_client;

use traffic::{START, id, mixed, record};

/// The receivers that there are.
pub(crate) const RECEIVERS: [&str; 2] = ["ops", "mail"];

/// A ledger and the admin port in front of it.
pub(crate) struct Admin {
    address: SocketAddr,
    ledger: Ledger,
    meter: Arc<Meter>,
    rules: Arc<Rules>,
    dispatch: Arc<DispatchStats>,
    readiness: Arc<Readiness>,
    data_dir: tempfile::TempDir,
    signer: Arc<Signer>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    client: Client,
}

impl Admin {
    pub(crate) async fn start(token: Option<&str>, metrics_token: Option<&str>) -> Self {
        Self::with_rules(token, metrics_token, traffic::rules::NO_RULES).await
    }

    /// With the rules of a file with this text.
    pub(crate) async fn with_rules(
        token: Option<&str>,
        metrics_token: Option<&str>,
        rules: &str,
    ) -> Self {
        Self::with_receivers(token, metrics_token, rules, Vec::new()).await
    }

    /// With links in what these receivers are told; without any, with none.
    pub(crate) async fn with_receivers(
        token: Option<&str>,
        metrics_token: Option<&str>,
        rules: &str,
        receivers: Vec<ReceiverSettings>,
    ) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let ledger = traffic::open(data_dir.path());
        let meter = Arc::new(Meter::new(200));
        let readiness = Arc::new(Readiness::default());
        let (channels, channel_settings) = traffic::channels(&ledger);
        let rules = traffic::rules::rules(&ledger, &channels, rules);
        let settings = Settings {
            data_dir: data_dir.path().to_owned(),
            ..Settings::defaults(data_dir.path())
        };
        let keys = Keys::open(&settings, ledger.key_writer()).unwrap();
        let signer = Arc::new(Signer::of_folder(data_dir.path()).unwrap());
        let answerer = (!receivers.is_empty()).then(|| {
            let folder = data_dir.path().to_owned();
            let log = LedgerLog::new(ledger.journal(), ledger.recovery(), folder.clone());
            let answerer = Answerer::new(AnswererParts {
                channels: Arc::clone(&channels),
                rules: Arc::clone(&rules),
                silences: ledger.silence_writer(),
                log: Arc::new(log),
                data_dir: folder,
                signer: Arc::clone(&signer),
            });
            answerer.set_receivers(&receivers);
            Arc::new(answerer)
        });
        let state = AdminState::new(AdminParts {
            meter: Arc::clone(&meter),
            prices: Arc::new(Prices::builtin()),
            ledger: ledger.stats(),
            payloads: Arc::default(),
            channels,
            channel_settings,
            journal: ledger.journal(),
            rules: Arc::clone(&rules),
            silences: ledger.silence_writer(),
            repricer: ledger.repricer(),
            sellers: Arc::new([("openai".to_owned(), Some("openai"))].into()),
            keys: Arc::new(keys),
            data_dir: data_dir.path().to_owned(),
            token: token.map(Secret::new),
            read_token: token.map(|token| Secret::new(format!("read-{token}"))),
            metrics_token: metrics_token.map(Secret::new),
            timezone: TimeZone::UTC,
            readiness: Arc::clone(&readiness),
            started_at: START,
        })
        .unwrap();
        let dispatch = Arc::new(DispatchStats::new(&RECEIVERS.map(Arc::from)));
        let state = state.with_dispatch(Arc::clone(&dispatch)).unwrap();
        let public_url = "https://tollgate.example.com/gate".parse().unwrap();
        let state = match answerer {
            Some(answerer) => state.with_answers(answerer, &public_url),
            None => state,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, Arc::new(state), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            ledger,
            meter,
            rules,
            dispatch,
            readiness,
            data_dir,
            signer,
            stop: Some(stop),
            serving,
            client: http_client().no_proxy().build().unwrap(),
        }
    }

    pub(crate) async fn with_traffic() -> Self {
        let admin = Self::start(None, None).await;
        record(&admin.ledger, &mixed());
        admin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// The status and the answer of a request that changes something.
    pub(crate) async fn post(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client.post(self.url(path)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Waits until everything so far is in the database.
    pub(crate) fn flush(&self) {
        assert!(self.ledger.flush(traffic::PATIENCE));
    }

    /// The status and the failure of a request that fails.
    pub(crate) async fn failure(&self, path: &str) -> (StatusCode, Value) {
        let response = self.get(path).await;
        let status = response.status();
        let mut body: Value = response.json().await.unwrap();
        (status, body["error"].take())
    }
}

pub(crate) fn ids(list: &Value) -> Vec<String> {
    let requests = list["requests"].as_array().unwrap();
    requests
        .iter()
        .map(|request| request["id"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn expected(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|&n| id(n).to_string()).collect()
}
