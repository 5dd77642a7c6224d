//! A new-api or one-api with channels, of every generation that differs: its channel API, as the
//! projects' own code answers it, and the ways in which it fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::Gate;
use super::upstream::{Answer, Received, Script, Step, Upstream};

/// The access token of its administrator.
pub(crate) const TOKEN: &str = "access-token-canary";
/// That administrator's number.
pub(crate) const USER: u64 = 1;

/// Which gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// new-api since July 2026: a status has a path of its own.
    Newer,
    /// new-api before: a status is part of a `PUT`.
    Older,
    /// one-api: the same, and no header that names the user.
    One,
    /// one-api of early versions, which answers a path it does not know with its web page.
    EarlyOne,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Newer, Self::Older, Self::One, Self::EarlyOne];

    fn asks_for_user(self) -> bool {
        matches!(self, Self::Newer | Self::Older)
    }
}

/// How it fails once.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It answers when the test opens the gate.
    Wait(Gate),
    /// The connection breaks before anything is done.
    Drop,
    /// It does what it is asked, and the connection breaks before it says so.
    DropAfter,
    /// 429 with that many seconds, or with none stated.
    TooOften(Option<u64>),
    /// 200, and a body that says no.
    SaysNo,
    /// 200, a body that says yes, and nothing done. Waits for a request that changes something.
    Pretends,
    /// 502 of a proxy in front of it.
    BadGateway,
}

struct State {
    kind: Kind,
    statuses: BTreeMap<u64, i64>,
    faults: VecDeque<Fault>,
    /// What changed a status, in order.
    changes: Vec<(u64, i64)>,
    token: String,
}

/// The gateway.
pub(crate) struct OutsideGateway {
    upstream: Upstream,
    state: Arc<Mutex<State>>,
}

impl OutsideGateway {
    /// With these channels, by number and status.
    pub(crate) fn start(kind: Kind, statuses: impl IntoIterator<Item = (u64, i64)>) -> Self {
        let state = Arc::new(Mutex::new(State {
            kind,
            statuses: statuses.into_iter().collect(),
            faults: VecDeque::new(),
            changes: Vec::new(),
            token: TOKEN.to_owned(),
        }));
        let answering = Arc::clone(&state);
        let upstream = Upstream::start(move |request| answering.lock().unwrap().answer(request));
        Self { upstream, state }
    }

    /// Where it is, as `sources.new_api.base_url` has it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.upstream.address())
    }

    /// A channel's status now.
    pub(crate) fn status(&self, id: u64) -> i64 {
        self.state().statuses[&id]
    }

    /// Somebody, or the gateway itself, changes a channel there.
    pub(crate) fn change(&self, id: u64, status: i64) {
        self.state().statuses.insert(id, status);
    }

    /// Its own recovery: what it disabled itself it enables again.
    pub(crate) fn recover(&self) {
        for status in self.state().statuses.values_mut() {
            if *status == 3 {
                *status = 1;
            }
        }
    }

    /// Becomes another generation, as by an update.
    pub(crate) fn becomes(&self, kind: Kind) {
        self.state().kind = kind;
    }

    /// Takes another token for valid.
    pub(crate) fn takes(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// The next requests fail so.
    pub(crate) fn fails(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// What was changed by way of its API, in order: number and status.
    pub(crate) fn changes(&self) -> Vec<(u64, i64)> {
        self.state().changes.clone()
    }

    /// Method and path of every request.
    pub(crate) fn requests(&self) -> Vec<String> {
        let received = self.upstream.received();
        let line = |request: &Received| format!("{} {}", request.method, request.target);
        received.iter().map(line).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(status: &str, body: &Value) -> Script {
    Answer::new(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(body.to_string())
}

fn no(message: &str) -> Script {
    answer("200 OK", &json!({"success": false, "message": message}))
}

impl State {
    fn answer(&mut self, request: &Received) -> Script {
        let waits = matches!(self.faults.front(), Some(Fault::Pretends));
        let fault = if waits && request.method == "GET" {
            None
        } else {
            self.faults.pop_front()
        };
        match fault {
            None => self.serve(request),
            Some(Fault::Wait(gate)) => {
                let mut script = vec![Step::Await(gate)];
                script.extend(self.serve(request));
                script
            }
            Some(Fault::Drop) => vec![Step::Close],
            Some(Fault::DropAfter) => {
                self.serve(request);
                vec![Step::Reset]
            }
            Some(Fault::TooOften(seconds)) => {
                let mut answer = Answer::new("429 Too Many Requests");
                if let Some(seconds) = seconds {
                    answer = answer.header("retry-after", &seconds.to_string());
                }
                answer.body("")
            }
            Some(Fault::SaysNo) => no("database is locked"),
            Some(Fault::Pretends) => answer("200 OK", &json!({"success": true, "message": ""})),
            Some(Fault::BadGateway) => Answer::new("502 Bad Gateway").body("<html>nginx</html>"),
        }
    }

    fn serve(&mut self, request: &Received) -> Script {
        if let Err(refusal) = self.authorize(request) {
            return refusal;
        }
        let path = request.target.strip_prefix("/api/channel/");
        let newer = self.kind == Kind::Newer;
        match (request.method.as_str(), path) {
            ("GET", Some(id)) if id.parse::<u64>().is_ok() => self.show(id.parse().unwrap()),
            ("POST", Some(rest)) if newer && rest.ends_with("/status") => {
                let id = rest.trim_end_matches("/status").parse().unwrap();
                self.set(id, &request.json()["status"])
            }
            ("PUT", Some("")) => {
                let body = request.json();
                if newer {
                    return no("status cannot be changed by this endpoint");
                }
                self.set(body["id"].as_u64().unwrap(), &body["status"])
            }
            _ if self.kind == Kind::EarlyOne => Answer::new("200 OK")
                .header("content-type", "text/html; charset=utf-8")
                .body("<!doctype html><title>One API</title>"),
            (method, _) => answer(
                "404 Not Found",
                &json!({"error": {
                    "message": format!("Invalid URL ({method} {})", request.target),
                    "type": "invalid_request_error", "param": "", "code": "",
                }}),
            ),
        }
    }

    fn authorize(&self, request: &Received) -> Result<(), Script> {
        let token = request.headers.get("authorization").unwrap_or_default();
        let token = token.trim_start_matches("Bearer ");
        if token != self.token {
            // It quotes what it was shown.
            let told = format!("无权进行此操作，access token 无效: {token}");
            return Err(match self.kind {
                Kind::Newer => answer(
                    "401 Unauthorized",
                    &json!({"success": false, "message": told}),
                ),
                _ => no(&told),
            });
        }
        let user = request.headers.get("new-api-user");
        if self.kind.asks_for_user() && user != Some(USER.to_string().as_str()) {
            let told = "无权进行此操作，未提供 New-Api-User";
            return Err(answer(
                "401 Unauthorized",
                &json!({"success": false, "message": told}),
            ));
        }
        Ok(())
    }

    fn show(&self, id: u64) -> Script {
        let Some(status) = self.statuses.get(&id) else {
            return no("record not found");
        };
        answer(
            "200 OK",
            &json!({"success": true, "message": "", "data": {
                "id": id, "type": 1, "key": "", "status": status, "name": "openai", "weight": 0,
                "models": "gpt-5,gpt-5-mini", "group": "default", "priority": 0,
            }}),
        )
    }

    fn set(&mut self, id: u64, status: &Value) -> Script {
        let status = status.as_i64().unwrap();
        if !self.statuses.contains_key(&id) {
            return no("record not found");
        }
        self.statuses.insert(id, status);
        self.changes.push((id, status));
        answer(
            "200 OK",
            &json!({"success": true, "message": "", "data": true}),
        )
    }
}
