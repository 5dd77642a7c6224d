//! Secrets go nowhere but to their upstream.

use std::fs;

use serde_json::json;

use crate::support::answers;
use crate::support::client::Request;
use crate::support::http2::post_cleartext;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Step, Upstream};

/// Everything Tollgate wrote or says: log, journal, database, metrics, admin API.
fn everything(tollgate: &mut Tollgate) -> Vec<u8> {
    let mut all = tollgate.log().into_bytes();
    for target in ["/metrics", "/api/v1/requests", "/api/v1/usage/summary"] {
        all.extend(tollgate.admin(target).body);
    }
    tollgate.kill();
    let mut folders = vec![tollgate.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                // A socket cannot be read and holds nothing.
                all.extend(fs::read(path).unwrap_or_default());
            }
        }
    }
    all
}

/// `known` is what must be found: the search would find the secrets if they were there.
fn assert_nowhere(secrets: &[&str], known: &[&str], tollgate: &mut Tollgate) {
    assert_nowhere_in(&everything(tollgate), secrets, known);
}

fn assert_nowhere_in(all: &[u8], secrets: &[&str], known: &[&str]) {
    let find = |text: &str| {
        all.windows(text.len())
            .position(|bytes| bytes == text.as_bytes())
    };
    for text in known {
        assert!(find(text).is_some(), "{text} is nowhere");
    }
    for secret in secrets {
        if let Some(at) = find(secret) {
            let around = &all[at.saturating_sub(200)..all.len().min(at + 100)];
            panic!("{secret} in {:?}", String::from_utf8_lossy(around));
        }
    }
}

#[test]
fn the_most_talkative_log_holds_no_secret() {
    let upstream = Upstream::start(|request| {
        if request.target.contains("broken") {
            return vec![Step::Close];
        }
        answers::provider(request)
    });
    let more = ", api_key: sk-channel-4f1c, headers: {x-team-token: tok-channel-77aa}";
    let mut tollgate = Setup::channels(&[
        ("paid", &upstream.base_url(), more),
        ("free", &upstream.base_url(), ""),
        ("down", "http://127.0.0.1:1/v1", ""),
    ])
    .setting("log: {level: trace}")
    .start();
    let messages = json!([{"role": "user", "content": "a word-of-the-conversation-d00d"}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages, "stream": true});
    for target in [
        "/c/paid/v1/chat/completions?api-key=sk-query-91ab",
        "/c/free/v1/chat/completions",
        "/c/free/v1/broken",
        "/c/down/v1/chat/completions",
        "/c/nowhere/v1/chat/completions",
        "/c/free/v1/../x",
    ] {
        let request = Request::new("POST", target)
            .header("authorization", "Bearer sk-client-8e2d")
            .header("api-key", "sk-field-3b3b")
            .header("cookie", "session=sk-cookie-5c5c")
            .header("content-type", "application/json")
            .body(body.to_string());
        tollgate.send(&request);
    }
    // The libraries of HTTP/2 have logs of their own.
    let path = "/c/free/v1/chat/completions";
    post_cleartext(tollgate.address(), path, &body.to_string());
    tollgate.ledger().exactly(7);
    let secrets = [
        "sk-channel-4f1c",
        "tok-channel-77aa",
        "sk-query-91ab",
        "sk-client-8e2d",
        "sk-client-secret",
        "sk-field-3b3b",
        "sk-cookie-5c5c",
        "word-of-the-conversation-d00d",
    ];
    let known = ["WARN", "gpt-5-mini", "SQLite format 3", "# HELP"];
    assert_nowhere(&secrets, &known, &mut tollgate);
}

#[test]
fn a_key_of_tollgates_own_is_nowhere() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Setup::channels(&[
        ("paid", &upstream.base_url(), ", api_key: sk-channel-4f1c"),
        ("free", &upstream.base_url(), ""),
        ("down", "http://127.0.0.1:1/v1", ""),
    ])
    .setting("log: {level: trace}")
    .setting("payloads: {capture: all}")
    .start();
    let created = tollgate.run(&["keys", "create", "canary"]);
    let key = String::from_utf8(created.stdout).unwrap();
    let key = key.trim();
    let wrong = "tg-canary-of-nobodys";
    let body = json!({"model": "gpt-5-mini", "messages": []}).to_string();
    let mut sent = 0;
    for channel in ["paid", "free", "down", "nowhere"] {
        for text in [key, wrong] {
            let chat = format!("/c/{channel}/v1/chat/completions");
            let target = format!("{chat}?key={text}");
            let post = |target: &str| {
                Request::new("POST", target)
                    .header("content-type", "application/json")
                    .body(&body)
            };
            for request in [
                post(&chat).header("authorization", &format!("Bearer {text}")),
                post(&chat).header("x-api-key", text),
                post(&target),
            ] {
                tollgate.send(&request);
                sent += 1;
            }
        }
    }
    tollgate.ledger().exactly(sent);
    for received in upstream.received() {
        let head = format!("{} {:?}", received.target, received.headers);
        assert!(!head.contains("tg-"), "{head}");
    }
    let secret = fs::read(tollgate.data_dir().join("key-secret")).unwrap();
    let all = everything(&mut tollgate);
    let holds = |text: &[u8]| {
        all.windows(text.len())
            .filter(|bytes| *bytes == text)
            .count()
    };
    // In its own file.
    assert_eq!(holds(&secret), 1);
    let known = ["canary", "invalid_api_key", "SQLite format 3", "# HELP"];
    assert_nowhere_in(&all, &[key, &key[3..], wrong], &known);
}

#[test]
fn a_key_that_the_upstream_repeats_in_its_error_is_not_kept() {
    let upstream = Upstream::start(|request| {
        let key = request.headers.get("authorization").unwrap();
        let message = format!("Incorrect API key provided: {key}. Find yours at https://a.b/c.");
        let body = json!({"error": {"message": message, "type": "invalid_request_error",
            "param": null, "code": "invalid_api_key"}});
        answers::json("401 Unauthorized", &body.to_string())
    });
    let more = ", api_key: sk-proj-Channel0123456789abcdefghijklmnop";
    let mut tollgate = Setup::channels(&[
        ("paid", &upstream.base_url(), more),
        ("free", &upstream.base_url(), ""),
    ])
    .start();
    let body = json!({"model": "gpt-5-mini", "messages": []});
    for channel in ["paid", "free"] {
        let request = Request::new("POST", "/v1/chat/completions")
            .header("x-tollgate-channel", channel)
            .header(
                "authorization",
                "Bearer sk-proj-Client0123456789abcdefghijklmnopq",
            )
            .header("content-type", "application/json")
            .body(body.to_string());
        let response = tollgate.send(&request);
        assert_eq!(response.status, 401);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("error_code"), Some("invalid_api_key"), "{row:#?}");
    }
    let secrets = ["Channel0123456789", "Client0123456789"];
    assert_nowhere(&secrets, &["Incorrect API key provided"], &mut tollgate);
}

#[test]
fn a_key_of_the_query_that_the_upstream_repeats_is_not_kept() {
    let upstream = Upstream::start(|request| {
        let decoded = request.target.replace("%2B", "+");
        let message = format!("wrong: {}, {decoded}", request.target);
        let body = json!({"error": {"message": message}});
        answers::json("401 Unauthorized", &body.to_string())
    });
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "messages": []});
    for query in ["api-key=0123%2B4567", "a=1&key=qrstuvwx"] {
        let request = Request::json(&format!("/v1/chat/completions?{query}"), &body);
        assert_eq!(tollgate.send(&request).status, 401);
    }
    tollgate.ledger().exactly(2);
    let secrets = ["0123%2B4567", "0123+4567", "qrstuvwx"];
    assert_nowhere(&secrets, &["wrong: "], &mut tollgate);
}

/// What an upstream says that repeats all it was sent, as debugging servers and careless gateways do.
fn repeating(request: &crate::support::upstream::Received) -> serde_json::Value {
    let message = format!("wrong: {} {:?}", request.target, request.headers);
    json!({"error": {"message": message, "type": "invalid_request_error", "code": "refused"}})
}

#[test]
fn whatever_its_scheme_and_place_no_credential_is_kept_and_no_channels_is_shown() {
    let upstream = Upstream::start(|request| {
        let body = repeating(request);
        if request.json()["stream"] == true {
            return answers::stream(&[format!("data: {body}\n\n")]);
        }
        let mut head = Answer::new("400 Bad Request").header("content-type", "application/json");
        for name in ["authorization", "api-key", "x-auth-token", "cookie"] {
            let shown = request.headers.get(name).unwrap_or_default();
            head = head.header("x-shown", &format!("{name} {shown}"));
        }
        head.body(body.to_string())
    });
    let base = upstream.base_url();
    let own = |header: &str| format!(", headers: {{{header}}}");
    let headers = [
        ("bearer", own("authorization: bEaReR zz-channel-01")),
        ("basic", own("authorization: Basic zz-channel-02")),
        ("azure", own("api-key: zz-channel-03")),
        ("token", own("x-auth-token: zz-channel-04")),
        ("scheme", own("x-auth-token: Token zz-channel-05")),
        ("cookie", own("cookie: 'a=b; session=zz-channel-06'")),
        ("key", ", api_key: zz-channel-07".to_owned()),
        ("none", String::new()),
    ];
    let channels: Vec<_> = headers
        .iter()
        .map(|(name, more)| (*name, base.as_str(), more.as_str()))
        .collect();
    let mut tollgate = Setup::channels(&channels)
        .setting("log: {level: trace}")
        .start();
    let clients = [
        ("authorization", "bearer zz-client-01"),
        ("authorization", "BEARER  zz-client-02"),
        ("authorization", "Basic zz-client-03"),
        ("authorization", "zz-client-04"),
        ("x-api-key", "Bearer zz-client-05"),
        ("x-auth-token", "zz-client-06"),
        ("proxy-authorization", "Basic zz-client-07"),
        ("cookie", "a=b; session=zz-client-08"),
    ];
    let mut sent = 0;
    for (channel, ..) in channels {
        for (name, value) in clients {
            for stream in [false, true] {
                let target = format!("/c/{channel}/v1/chat/completions?key=zz-client-09");
                let body = json!({"model": "gpt-5-mini", "messages": [], "stream": stream});
                let request = Request::json(&target, &body).header(name, value);
                let response = tollgate.send(&request);
                assert!(response.text().contains("wrong: "), "{}", response.text());
                if !stream {
                    let all = format!("{:?} {}", response.headers, response.text());
                    assert!(all.contains("x-shown"), "{all}");
                    assert!(!all.contains("zz-channel"), "{all}");
                }
                sent += 1;
            }
        }
    }
    for row in tollgate.ledger().exactly(sent) {
        let message = row.text("error_message").unwrap();
        assert!(message.contains("wrong: "), "{message}");
    }
    let known = ["wrong: ", "[secret]", "SQLite format 3", "# HELP"];
    assert_nowhere(&["zz-channel", "zz-client"], &known, &mut tollgate);
}
