//! A Tollgate with a bit of everything to show, under the load of a mock of the provider APIs, and a Prometheus that
//! scrapes it.

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::clients::Mock;
use crate::support::prometheus::Prometheus;
use crate::support::receivers::hook::Hook;
use crate::support::tollgate::{Setup, Tollgate, free_port};
use crate::support::upstream::{Answer, Step, Upstream};
use crate::support::{answers, eventually};

/// Rules that count, fire, refuse, and close a channel.
const RULES: &str = "
groups:
- name: shown
  mode: enforce
  rules:
  - {alert: Spend, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: cost, window: day, by: [channel], warning: 1 USD, critical: 100 USD, actions: [{block: {}}]}
  - {alert: Tokens, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: tokens, window: 1h, warning: 1 tokens, mode: notify, actions: [{notify: [ops]}]}
  - {alert: Calls, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, by: [model], critical: 1000 requests, actions: [{block: {}}]}
  - {alert: Never, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, match: {model: forbidden}, critical: 1 requests, actions: [{block: {}}]}
  - {alert: Lost, annotations: {summary: '{{ value }} of {{ limit }}'}, metric: requests, window: 1h, warning: 1 requests, mode: notify, actions: [{notify: [nobody]}]}
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
             payloads: {{capture: all}}\nrules: [rules.yaml]\n\
             sources: {{new_api: {{base_url: '{nobody}', token: access-token-canary}}}}\n\
             prices: {{files: [prices.yaml]}}",
            hook.receiver("ops", "")
        );
        let key = ", api_key: sk-of-the-channel";
        let tollgate = Setup::channels(&[
            ("main", mock.base_url(), &format!("{key}, priority: 1")),
            ("rated", &rated.base_url(), key),
            (
                "gone",
                &format!("{nobody}/v1"),
                &format!("{key}, new_api: {{id: 7}}"),
            ),
            ("shut", mock.base_url(), key),
        ])
        .setting(&settings)
        .file("rules.yaml", RULES)
        .file("prices.yaml", "prices: []\n")
        .start();
        let made = tollgate.run(&["keys", "create", "team-a"]);
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
        let closed = self
            .tollgate
            .run(&["channels", "disable", "shut", "--reason", "to be seen"]);
        assert!(closed.status.success(), "{closed:?}");
        let silenced = self
            .tollgate
            .run(&["silences", "add", "rule=Calls", "--for", "2h"]);
        assert!(silenced.status.success(), "{silenced:?}");
        self.tollgate
            .edit_file("prices.yaml", |_| "prices: []\n# Read again.\n".to_owned());
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

    /// A request that went well, was kept, and took tokens from a cache.
    pub(crate) fn request(&self) -> Value {
        let listed = self
            .tollgate
            .admin("/api/v1/requests?outcome=ok&channel=rated")
            .json();
        listed["requests"][0].clone()
    }
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
    answer.body(body.to_string())
}
