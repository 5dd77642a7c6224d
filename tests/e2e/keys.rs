//! Keys for clients: who needs one, what one is good for, and that none goes further than Tollgate.

mod bounds;
mod callers;
mod secret;

use serde_json::{Value, json};

use crate::support::answers;
use crate::support::client::{Request, Response};
use crate::support::clients::{self, Call};
use crate::support::eventually;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Received, Step, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn, close_from_server};

const CHAT: &str = "/v1/chat/completions";

/// Makes a key on the command line and returns what its client shows.
fn created(tollgate: &Tollgate, arguments: &[&str]) -> String {
    let output = tollgate.run(&[&["keys", "create"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let key = printed.strip_suffix('\n').unwrap();
    assert!(key.starts_with("tg-") && key.len() == 46, "{key}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the only time"), "{said}");
    assert!(!said.contains(key), "{said}");
    key.to_owned()
}

fn revoke(tollgate: &Tollgate, name: &str) {
    let output = tollgate.run(&["keys", "revoke", name]);
    assert!(output.status.success(), "{output:?}");
}

fn post(target: &str, key: &str, model: &str) -> Request {
    Request::new("POST", target)
        .header("authorization", &format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(json!({"model": model, "messages": []}).to_string())
}

fn chat(key: &str) -> Request {
    post(CHAT, key, "gpt-5-mini")
}

fn assert_refused(response: &Response, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{response:?}");
    let error = response.headers.get("x-tollgate-error");
    assert_eq!(error, Some(reason), "{response:?}");
}

#[test]
fn from_the_first_key_on_every_request_needs_one() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
    let key = created(&tollgate, &["ci", "--tag", "team=a"]);

    let before = upstream.received().len();
    for (request, message) in [
        (chat("sk-own"), "not one of this gateway's"),
        (chat(&key[..45]), "not one of this gateway's"),
        (Request::new("GET", "/v1/models"), "is required"),
        (Request::new("GET", "/unknown"), "is required"),
    ] {
        let response = tollgate.send(&request);
        assert_refused(&response, 401, "invalid_api_key");
        assert_eq!(response.headers.get("www-authenticate"), Some("Bearer"));
        let error = &response.json()["error"];
        assert_eq!(error["code"], "invalid_api_key", "{error}");
        assert_eq!(error["type"], "invalid_request_error", "{error}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(message), "{said}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "refused", "{row:#?}");
        assert_eq!(row.text("error_code"), Some("invalid_api_key"), "{row:#?}");
        assert_eq!(row.text("key"), None, "{row:#?}");
        assert_eq!(row.text("channel"), None, "{row:#?}");
    }
    assert_eq!(upstream.received().len(), before);

    let request = chat(&key).header("x-tollgate-tags", "team=b,project=c");
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("key"), Some("ci"), "{row:#?}");
    assert_eq!(row.json("tags"), json!({"team": "a", "project": "c"}));
    let metrics = tollgate.admin("/metrics").text();
    assert!(!metrics.contains("\"ci\""), "keys are no labels");
}

#[test]
fn each_api_refuses_in_its_own_shape() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    created(&tollgate, &["ci"]);
    let error = |target: &str| {
        let response = tollgate.send(&post(target, "sk-own", "m"));
        assert_refused(&response, 401, "invalid_api_key");
        response.json()
    };
    let messages = error("/v1/messages");
    assert_eq!(messages["type"], "error", "{messages}");
    assert_eq!(messages["error"]["type"], "authentication_error");
    let gemini = error("/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(gemini["error"]["code"], 401, "{gemini}");
    assert_eq!(gemini["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(error(CHAT)["error"]["code"], "invalid_api_key");
    assert_eq!(upstream.received().len(), 0);
}

/// Everything of a request that reached an upstream.
fn sent(received: &Received) -> String {
    let body = String::from_utf8_lossy(&received.body);
    format!("{} {:?} {body}", received.target, received.headers)
}

#[test]
fn a_key_is_taken_wherever_clients_put_it_and_goes_no_further() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[
        ("paid", &upstream.base_url(), ", api_key: sk-channel"),
        // What a client brings besides its key is not for the upstream either.
        ("free", &upstream.base_url(), ""),
    ])
    .start();
    let key = created(&tollgate, &["ci"]);
    for channel in ["paid", "free"] {
        let chat = format!("/c/{channel}{CHAT}");
        let in_header =
            |name: &str, value: &str| (chat.clone(), vec![(name.to_owned(), value.to_owned())]);
        let bearer = format!("Bearer {key}");
        for (target, fields) in [
            in_header("authorization", &bearer),
            in_header("authorization", &format!("bearer  {key}")),
            in_header("x-api-key", &key),
            in_header("api-key", &key),
            in_header("x-goog-api-key", &key),
            (format!("{chat}?key={key}"), vec![]),
            (format!("{chat}?a=1&api-key={key}&b=2"), vec![]),
            (format!("http://localhost{chat}?key={key}"), vec![]),
            (
                format!("{chat}?key=sk-other"),
                vec![
                    ("authorization".to_owned(), "Bearer sk-other".to_owned()),
                    ("x-api-key".to_owned(), key.clone()),
                ],
            ),
        ] {
            let mut request =
                Request::new("POST", &target).header("content-type", "application/json");
            for (name, value) in &fields {
                request = request.header(name, value);
            }
            let body = json!({"model": "gpt-5-mini", "messages": []});
            let response = tollgate.send(&request.body(body.to_string()));
            assert_eq!(response.status, 200, "{target} {fields:?}: {response:?}");
            let received = upstream.received().pop().unwrap();
            let sent = sent(&received);
            assert!(
                !sent.contains("tg-") && !sent.contains("sk-other"),
                "{sent}"
            );
            let expected = (channel == "paid").then_some("Bearer sk-channel");
            assert_eq!(received.headers.get("authorization"), expected, "{sent}");
            if target.contains("a=1") {
                assert!(received.target.ends_with("?a=1&b=2"), "{sent}");
            }
        }
    }
}

#[test]
fn a_browsers_key_for_a_websocket_goes_no_further() {
    for credential in ["", ", api_key: sk-channel"] {
        let script = vec![Turn::Send(close_from_server(1000)), Turn::Close];
        let upstream = SocketUpstream::start(&[], script);
        let tollgate = Setup::channels(&[("a", &upstream.base_url(), credential)]).start();
        let key = created(&tollgate, &["browser"]);
        let protocols = format!("realtime, openai-insecure-api-key.{key}");
        let fields = [("sec-websocket-protocol", protocols.as_str())];
        let target = "/v1/realtime?model=gpt-5-mini";
        let socket = Socket::open(tollgate.address(), target, &fields);
        let id = socket.request_id();
        socket.finish();
        let handshake = upstream.handshake();
        let offered = handshake.headers.get("sec-websocket-protocol");
        assert_eq!(offered, Some("realtime"));
        assert!(!format!("{handshake:?}").contains("tg-"), "{handshake:?}");
        let row = tollgate.ledger().request(&id);
        assert_eq!(row.text("key"), Some("browser"), "{row:#?}");
    }
}

#[test]
fn a_revoked_key_is_refused_at_once_and_a_restart_changes_nothing() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let first = created(&tollgate, &["first"]);
    let second = created(&tollgate, &["second"]);
    for round in 0..20 {
        let name = format!("short-{round}");
        let short = created(&tollgate, &[&name]);
        assert_eq!(tollgate.send(&chat(&short)).status, 200);
        let revoked = Request::new("POST", &format!("/api/v1/keys/{name}/revoke"));
        assert_eq!(tollgate.ask(&revoked).status, 200);
        assert_refused(&tollgate.send(&chat(&short)), 401, "invalid_api_key");
    }
    revoke(&tollgate, "first");
    assert_refused(&tollgate.send(&chat(&first)), 401, "invalid_api_key");
    for end in [Tollgate::kill, |tollgate: &mut Tollgate| {
        tollgate.stop();
    }] {
        end(&mut tollgate);
        tollgate.start_again();
        assert_refused(&tollgate.send(&chat(&first)), 401, "invalid_api_key");
        assert_eq!(tollgate.send(&chat(&second)).status, 200);
    }

    // Without a sidecar, too; and the end of the last key opens nothing.
    tollgate.stop();
    let third = created(&tollgate, &["third"]);
    revoke(&tollgate, "second");
    tollgate.start_again();
    assert_refused(&tollgate.send(&chat(&second)), 401, "invalid_api_key");
    assert_eq!(tollgate.send(&chat(&third)).status, 200);
    revoke(&tollgate, "third");
    tollgate.stop();
    tollgate.start_again();
    for credential in [&third, "sk-own"] {
        assert_refused(&tollgate.send(&chat(credential)), 401, "invalid_api_key");
    }
}

fn off(tollgate: &Tollgate) -> String {
    let output = tollgate.run(&["keys", "off"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn keys_are_off_at_once_and_after_a_restart() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    for round in 0..5 {
        let key = created(&tollgate, &["ci"]);
        let refused = tollgate.run(&["keys", "off"]);
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("`ci` is not revoked"), "{said}");
        assert_refused(&tollgate.send(&chat("sk-own")), 401, "invalid_api_key");
        assert_eq!(tollgate.send(&chat(&key)).status, 200);
        revoke(&tollgate, "ci");
        // With a sidecar and without.
        let offline = round % 2 == 1;
        if offline {
            assert!(tollgate.stop().success());
        }
        assert!(off(&tollgate).contains("no request needs one"));
        assert!(off(&tollgate).contains("nothing was changed"));
        if offline {
            tollgate.start_again();
        }
        assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
        tollgate.kill();
        tollgate.start_again();
        assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
    }
}

/// Starts again before a database that nobody can read until the answer is dropped.
fn start_unreadable(tollgate: &mut Tollgate) -> rusqlite::Connection {
    tollgate.kill();
    let path = tollgate.data_dir().join("tollgate.db");
    let other = rusqlite::Connection::open(path).unwrap();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT * FROM meta")
        .unwrap();
    tollgate.start_again();
    other
}

#[test]
fn where_no_key_was_made_a_ledger_that_cannot_be_read_refuses_nobody() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    // One that was made and taken back is as none.
    created(&tollgate, &["ci"]);
    revoke(&tollgate, "ci");
    off(&tollgate);
    let locking = start_unreadable(&mut tollgate);
    assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
    assert_eq!(tollgate.admin("/readyz").status, 200);
    let log = tollgate.log();
    assert!(log.contains("cannot read the ledger's keys"), "{log}");
    drop(locking);
    eventually("the keys are read", || {
        (tollgate.log().contains("it is known which keys")).then_some(())
    });
    assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
}

#[test]
fn the_settings_keys_are_good_while_the_ledgers_cannot_be_read() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Setup::channels(&[("a", &upstream.base_url(), "")])
        .setting("keys: [{name: file, key: key-of-the-settings}]")
        .start();
    let made = created(&tollgate, &["ci"]);
    let locking = start_unreadable(&mut tollgate);
    assert_eq!(tollgate.send(&chat("key-of-the-settings")).status, 200);
    assert_eq!(tollgate.admin("/readyz").status, 200);
    for credential in [&made, "sk-own"] {
        assert_refused(&tollgate.send(&chat(credential)), 503, "keys_unavailable");
    }
    drop(locking);
    eventually("the keys are read", || {
        (tollgate.send(&chat(&made)).status == 200).then_some(())
    });
    assert_refused(&tollgate.send(&chat("sk-own")), 401, "invalid_api_key");
}

#[test]
fn without_a_database_the_settings_keys_are_listed() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Setup::channels(&[("a", &upstream.base_url(), "")])
        .setting("keys: [{name: file, key: key-of-the-settings}]")
        .start();
    let locking = start_unreadable(&mut tollgate);
    std::fs::remove_file(tollgate.data_dir().join("tollgate.db")).unwrap();
    let listed = tollgate.admin("/api/v1/keys");
    assert_eq!(listed.status, 200, "{listed:?}");
    let list = listed.json();
    assert_eq!(list["keys"][0]["name"], "file", "{list}");
    assert_eq!(list["keys"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["required"], true);
    drop(locking);
}

#[test]
fn an_expired_key_says_so() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["short", "--expires", "1s"]);
    let response = eventually("the key expires", || {
        let response = tollgate.send(&chat(&key));
        (response.status != 200).then_some(response)
    });
    assert_refused(&response, 401, "invalid_api_key");
    assert!(response.text().contains("has expired"), "{response:?}");
    let list: Value = tollgate.admin("/api/v1/keys").json();
    assert_eq!(list["keys"][0]["state"], "expired", "{list}");
    assert_eq!(list["required"], true);
}

#[test]
fn while_nobody_knows_which_keys_were_made_nobody_is_let_in() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["ci"]);
    let other = start_unreadable(&mut tollgate);
    let ready = tollgate.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("keys cannot be read"), "{ready:?}");
    for credential in [&key, "sk-own"] {
        let response = tollgate.send(&chat(credential));
        assert_refused(&response, 503, "keys_unavailable");
        assert!(response.headers.get("retry-after").is_some());
    }
    drop(other);
    eventually("the keys are read", || {
        (tollgate.send(&chat(&key)).status == 200).then_some(())
    });
    assert_refused(&tollgate.send(&chat("sk-own")), 401, "invalid_api_key");
    assert_eq!(tollgate.admin("/readyz").status, 200);
}

#[test]
fn an_upstreams_answer_that_quotes_a_key_quotes_no_key_of_ours() {
    let upstream = Upstream::start(|request| {
        let body = json!({"error": {"message": sent(request), "code": "invalid_api_key"}});
        answers::json("401 Unauthorized", &body.to_string())
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["ci"]);
    let response = tollgate.send(&chat(&key));
    assert_eq!(response.status, 401);
    assert!(!response.text().contains("tg-"), "{response:?}");
    assert_eq!(response.headers.get("x-tollgate-error"), None);
}

#[test]
fn an_error_that_quotes_the_channels_key_reaches_the_client_without_it() {
    const KEY: &str = "sk-channel-0123456789";
    let upstream = Upstream::start(|request| {
        let body = format!("{{\"error\":{{\"message\":\"wrong: {}\"}}}}", sent(request));
        let encoding = request.headers.get("x-encoding").unwrap_or("identity");
        let answer = Answer::new("401 Unauthorized").header("content-type", "application/json");
        match encoding {
            "identity" => answer.body(&body),
            "chunked" => answer.chunked(body.as_bytes().chunks(5)),
            coding => answer
                .header("content-encoding", coding)
                .body(answers::compress(coding, body.as_bytes())),
        }
    });
    let channel = format!(", api_key: {KEY}");
    let tollgate = Setup::channels(&[("a", &upstream.base_url(), &channel)]).start();
    for encoding in ["identity", "chunked", "gzip", "zstd"] {
        let response = tollgate.send(&chat("sk-own").header("x-encoding", encoding));
        assert_eq!(response.status, 401);
        assert!(response.whole, "{response:?}");
        assert_eq!(response.headers.get("content-encoding"), None);
        let text = response.text();
        assert!(text.contains("wrong: /v1/chat"), "{encoding}: {text}");
        assert!(text.contains(&"*".repeat(KEY.len())), "{encoding}: {text}");
        assert!(!text.contains("0123456789"), "{encoding}: {text}");
    }
}

#[test]
fn the_sdks_raise_what_they_raise_for_a_wrong_key() {
    if clients::left_out() {
        return;
    }
    let silent = Upstream::always(vec![Step::Hang]);
    let tollgate = Tollgate::before(&silent.base_url());
    created(&tollgate, &["ci"]);
    let call = |n, api| Call {
        n,
        channel: "through",
        api,
        model: "gpt-5-mini",
        prompt: "chat-long",
        stream: false,
        include_usage: None,
        how: "parsed",
    };
    let seen = clients::python(&[("through", tollgate.base_url())], &[call(0, "chat")]);
    assert_eq!(seen[&0]["status"], 401, "{seen:#?}");
    assert_eq!(seen[&0]["error"]["type"], "AuthenticationError");
    assert_eq!(seen[&0]["error"]["code"], "invalid_api_key");

    let origin = format!("http://{}", tollgate.address());
    let calls = [call(0, "messages"), call(1, "gemini"), call(2, "azure")];
    let seen = clients::providers(&[("through", origin)], &calls);
    for (n, raised) in [
        (0, "AuthenticationError"),
        (1, "ClientError"),
        (2, "AuthenticationError"),
    ] {
        let error = &seen[&n]["error"];
        assert_eq!(error["status"], 401, "{error}");
        assert_eq!(error["type"], raised, "{error}");
    }
    assert_eq!(silent.received().len(), 0);
}
