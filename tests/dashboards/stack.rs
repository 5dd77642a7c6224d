//! A Tollgate with a bit of everything to show, under the load of a mock of the provider APIs, and a Prometheus that
//! scrapes it.

use std::path::Path;

use serde_json::{Value, json};

use tollgate::clock::UnixMicros;
use tollgate::ledger::Closed;
use tollgate::money::NanoUsd;
use tollgate::record::{
    Attempt, ErrorSource, Estimate, Outcome, Phase, RequestRecord, TokenType, Unit, Usage,
    UsageSource,
};

use crate::chosen::{KEY, ODD, ODDER, SESSION, ZONE};
use crate::support::client::Request;
use crate::support::clients::Mock;
use crate::support::prometheus::Prometheus;
use crate::support::receivers::hook::Hook;
use crate::support::tollgate::{Setup, Tollgate, free_port};
use crate::support::upstream::{Answer, Step, Upstream};
use crate::support::{answers, eventually};
use crate::traffic::{self, PATIENCE, attempt, id, plain};

/// Rules that count, fire, refuse, and close a channel.
const RULES: &str = "
groups:
- name: shown
  mode: enforce
  rules:
  - {alert: Spend, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: cost, window: day, by: [channel], warning: 0.000001 USD, critical: 100 USD, actions: [{block: {}}]}
  - {alert: Tokens, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: tokens, window: 1h, warning: 1 tokens, mode: notify, actions: [{notify: [ops]}]}
  - {alert: Calls, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, by: [model], critical: 1000 requests, actions: [{block: {}}]}
  - {alert: Never, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, match: {model: forbidden}, critical: 1 requests, actions: [{block: {}}]}
  - {alert: Lost, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, warning: 1 requests, mode: notify, actions: [{notify: [nobody]}]}
";

/// Prices of what has tokens in caches.
const PRICES: &str = "
source: the test
prices:
- {model: gpt-5-mini, per_million: {input: 0.25, input_cached: 0.025, output: 2, input_audio: 1, output_audio: 1, input_image: 1, output_image: 1}}
";

/// All of it; it ends when dropped.
pub(crate) struct Stack {
    pub(crate) tollgate: Tollgate,
    pub(crate) prometheus: Prometheus,
    key: String,
    _hook: Hook,
    _mock: Mock,
    _rated: Upstream,
}

impl Stack {
    /// Starts it, and waits until everything has happened that dashboards show.
    pub(crate) fn start() -> Self {
        let (mock, hook) = (Mock::start(), Hook::start());
        let rated = Upstream::start(|request| limited(&request.json()));
        let nobody = format!("http://{}", free_port());
        let settings = format!(
            "receivers:\n{}- {{name: nobody, webhook: {{url: '{nobody}/'}}, give_up_after: 1s}}\n\
             routes: {{receivers: [ops], group_wait: 0s, group_interval: 1s}}\n\
             payloads: {{capture: all}}\nrules: [rules.yaml]\ntimezone: {ZONE}\n\
             sources: {{new_api: {{base_url: '{nobody}', token: access-token-canary}}}}\n\
             prices: {{files: [prices.yaml]}}",
            hook.receiver("ops", "")
        );
        let key = ", api_key: sk-of-the-channel";
        let mut tollgate = Setup::channels(&[
            ("main", mock.base_url(), &format!("{key}, priority: 1")),
            (
                "rated",
                &rated.base_url(),
                &format!("{key}, max_in_flight: 9"),
            ),
            (
                "gone",
                &format!("{nobody}/v1"),
                &format!("{key}, new_api: {{id: 7}}"),
            ),
            ("shut", mock.base_url(), key),
        ])
        .setting(&settings)
        .file("rules.yaml", RULES)
        .file("prices.yaml", PRICES)
        .start();
        // While it does not run.
        assert!(tollgate.stop().success());
        remember(&tollgate.data_dir());
        tollgate.start_again();
        let made = tollgate.run(&["keys", "create", KEY]);
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let prometheus = Prometheus::scraping(tollgate.admin_address());
        let stack = Self {
            tollgate,
            prometheus,
            key,
            _hook: hook,
            _mock: mock,
            _rated: rated,
        };
        stack.fill();
        stack
    }

    /// Two rounds with a scrape in between: a rate needs a series that was there before.
    fn fill(&self) {
        let closed = self.tollgate.run(&[
            "channels",
            "disable",
            "shut",
            "--for",
            "1h",
            "--reason",
            "to be seen",
        ]);
        assert!(closed.status.success(), "{closed:?}");
        let silenced = self
            .tollgate
            .run(&["silences", "add", "rule=Calls", "--for", "2h"]);
        assert!(silenced.status.success(), "{silenced:?}");
        self.tollgate
            .edit_file("prices.yaml", |prices| prices + "# Read again.\n");
        let mut sent = 0;
        for _ in 0..2 {
            sent += self.round();
            eventually("a scrape of that round", || {
                (self.seen("sum(tollgate_requests_total)") >= f64::from(sent)).then_some(())
            });
        }
        eventually("rates", || {
            // Of a moment ago: what is asked for a range ends with the last whole second.
            (self.seen("sum(rate(tollgate_requests_total[1m] offset 3s))") > 0.0
                && self
                    .seen("sum(rate(tollgate_time_per_output_token_seconds_count[1m] offset 3s))")
                    > 0.0
                && self.seen("sum(tollgate_notifications_total{result=\"sent\"})") > 0.0
                && self.seen("sum(tollgate_notifications_total{result=\"dead\"})") > 0.0
                && self.seen("sum(tollgate_prices_file_reloads_total)") > 0.0)
                .then_some(())
        });
    }

    /// One number of Prometheus, 0 while there is none.
    fn seen(&self, expr: &str) -> f64 {
        let found = self.prometheus.ask("query", &[("query", expr)]).unwrap();
        let value = &found["result"][0]["value"][1];
        value.as_str().map_or(0.0, |value| value.parse().unwrap())
    }

    /// Sends one request of each kind; how many these are.
    fn round(&self) -> u32 {
        let ask = |prompt: &str, model: &str, stream: bool| {
            json!({"model": model, "stream": stream, "max_tokens": 100,
                   "messages": [{"role": "user", "content": prompt}]})
        };
        let chat = "/v1/chat/completions";
        let requests = [
            (chat, ask("chat-short", "gpt-5-mini", false)),
            (chat, ask("chat-long", "gpt-5-mini", true)),
            (chat, ask("chat-long", "gpt-5", true)),
            (chat, ask("chat-short", "unheard-of", false)),
            (chat, ask("fail-400", "gpt-5-mini", false)),
            (chat, ask("fail-503", "gpt-5-mini", false)),
            (chat, ask("chat-short", "forbidden", false)),
            (
                "/c/rated/v1/chat/completions",
                ask("plain", "gpt-5-mini", false),
            ),
            ("/c/rated/v1/chat/completions", ask("plain", "mute", false)),
            ("/c/rated/v1/chat/completions", ask("plain", ODD, false)),
            (
                "/c/gone/v1/chat/completions",
                ask("plain", "gpt-5-mini", false),
            ),
            (
                "/c/shut/v1/chat/completions",
                ask("chat-short", "gpt-5-mini", false),
            ),
            (
                "/v1/responses",
                json!({"model": "gpt-5-mini", "input": "responses-short"}),
            ),
            (
                "/v1/embeddings",
                json!({"model": "text-embedding-3-small", "input": "embed-one"}),
            ),
        ];
        let count = u32::try_from(requests.len()).unwrap();
        for (path, body) in requests {
            let request = Request::new("POST", path)
                .header("authorization", &format!("Bearer {}", self.key))
                .header("content-type", "application/json")
                .header("x-tollgate-tags", "project=shown")
                .body(body.to_string());
            self.tollgate.send(&request);
        }
        count
    }

    /// The ids of a request that went well and took tokens from a cache, of one that streamed, of one that failed, and of
    /// one of which everything is known but its bytes: those were not kept.
    pub(crate) fn requests(&self) -> [String; 4] {
        let newest = |chosen: &str| {
            let target = format!("/api/v1/requests?since=15m&{chosen}");
            let listed = self.tollgate.admin(&target).json();
            let id = listed["requests"][0]["id"].as_str();
            id.unwrap_or_else(|| panic!("{target}: {listed}"))
                .to_owned()
        };
        [
            newest("outcome=ok&channel=rated&usage_source=reported"),
            newest("outcome=ok&channel=main&model=gpt-5"),
            newest("outcome=upstream_error"),
            id(0).to_string(),
        ]
    }
}

/// Writes a past into a ledger that nobody has open: what went well and what failed, half an hour ago, in the hour before
/// (and in the one before that: the tiers of a range are those of its whole hours), in the ninety days and before them.
fn remember(data_dir: &Path) {
    const MINUTE_US: i64 = 60_000_000;
    const DAY_US: i64 = 24 * 60 * MINUTE_US;
    let now = UnixMicros::now();
    let mut past = Vec::new();
    for ago in [
        30 * MINUTE_US,
        90 * MINUTE_US,
        150 * MINUTE_US,
        40 * DAY_US,
        100 * DAY_US,
    ] {
        for names in [["main", "gpt-5-mini", KEY], ["rated", ODD, KEY], [ODDER; 3]] {
            for went in [went_well, failed] {
                let mut request = plain(0);
                let admission = &mut request.admission;
                admission.id = id(past.len() as u64);
                admission.started_at = UnixMicros(now.0 - ago);
                admission.channel = Some(names[0].into());
                admission.requested_model = Some(names[1].into());
                admission.key = Some(names[2].into());
                admission.session = Some(SESSION.into());
                request.served_model = Some(names[1].into());
                went(&mut request);
                past.push(request);
            }
        }
    }
    let ledger = traffic::open(data_dir);
    traffic::record(&ledger, &past);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
}

/// A stream of which everything is known that can be known of one or another.
fn went_well(request: &mut RequestRecord) {
    let is_priced = request.served_model.as_deref() == Some("gpt-5-mini");
    request.admission.stream = Some(true);
    request.admission.end_user = Some("alice".into());
    request.admission.tags = [("project".to_owned(), "shown".to_owned())].into();
    request.service_tier = Some("flex".into());
    for &kind in TokenType::ALL {
        let is_cache = matches!(kind, TokenType::InputCached | TokenType::InputCacheWrite);
        request.usage.tokens[kind] = (is_priced || !is_cache).then_some(100);
    }
    for &unit in Unit::ALL {
        request.usage.units[unit] = Some(2);
    }
    request.usage.total = Some(900);
    request.phases[Phase::FirstToken] = Some(350_000);
    request.attempts[0].channel = request.admission.channel.clone().unwrap_or_default();
    request.estimate = Some(Estimate {
        input_tokens: Some(90),
        output_tokens: Some(9),
        cost: Some(NanoUsd(1)),
    });
    request.delivered_output_tokens = Some(50);
    request.upstream_bytes = Some(5_000);
    request.response_id = Some(format!("resp_{}", request.admission.id).into());
    request.priced_at = Some(request.admission.started_at);
    request.upstream_request_id = Some("req_abc".into());
}

fn failed(request: &mut RequestRecord) {
    request.served_model = None;
    request.status = Some(429);
    request.outcome = Outcome::RateLimited;
    request.error_source = Some(ErrorSource::Upstream);
    request.error_code = Some("rate_limit_exceeded".into());
    request.error_message = Some("slow down".into());
    request.usage = Usage::absent(UsageSource::None);
    request.cost = None;
    let channel = request.admission.channel.clone().unwrap_or_default();
    request.attempts = vec![Attempt {
        error_code: request.error_code.clone(),
        ..attempt(
            &channel,
            request.admission.started_at,
            Outcome::RateLimited,
            429,
        )
    }];
}

/// An answer with everything that a provider says of limits; to the model `mute` it says nothing of usage.
fn limited(asked: &Value) -> Vec<Step> {
    let mut answer = Answer::new("200 OK").header("content-type", "application/json");
    for (name, value) in [
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "321"),
        ("x-ratelimit-reset-requests", "1m0s"),
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "12000"),
        ("x-ratelimit-reset-tokens", "1m0s"),
        ("x-codex-primary-used-percent", "42"),
        ("x-codex-primary-window-minutes", "300"),
        ("x-codex-primary-reset-after-seconds", "3600"),
    ] {
        answer = answer.header(name, value);
    }
    let mut body: Value = serde_json::from_str(&answers::chat()).unwrap();
    if asked["model"] == "mute" {
        body["usage"] = Value::Null;
    }
    if asked["model"] == ODD {
        body["model"] = ODD.into();
    }
    answer.body(body.to_string())
}
