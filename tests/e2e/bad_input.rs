//! Malformed settings, requests and paths, and what each gets.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use tempfile::TempDir;

use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::tollgate::{Setup, Tollgate, command, free_port};
use crate::support::upstream::Upstream;

#[test]
fn every_problem_of_a_settings_file_is_printed_with_its_line() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tollgate.yaml");
    let settings =
        "listen: nonsense\nupstrem: https://api.openai.com/v1\nlimits: {connect: soon}\n";
    fs::write(&file, settings).unwrap();
    for subcommand in ["check", "run"] {
        let output = command()
            .args([subcommand, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let printed =
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(64), "{subcommand}: {printed}");
        for place in ["tollgate.yaml:1", "tollgate.yaml:2", "tollgate.yaml:3"] {
            assert!(
                printed.contains(place),
                "{subcommand}: no {place} in {printed}"
            );
        }
        // The near miss is named.
        assert!(printed.contains("`upstream`"), "{printed}");
    }
}

#[test]
fn a_file_that_is_no_yaml_is_a_problem_with_a_line() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tollgate.yaml");
    fs::write(&file, "listen: 127.0.0.1:1\nlimits: {connect: [\n").unwrap();
    let output = command()
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(64), "{printed}");
    assert!(printed.contains("tollgate.yaml:"), "{printed}");
}

#[test]
fn a_taken_port_is_named_and_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = free_port();
    for (listen, admin) in [
        (address.clone(), free.to_string()),
        (free.to_string(), address.clone()),
    ] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("tollgate.yaml");
        let settings =
            format!("listen: {listen}\nadmin: {{listen: '{admin}'}}\ndata_dir: ./data\n");
        fs::write(&file, settings).unwrap();
        let output = command()
            .args(["run", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let printed =
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&address), "{printed}");
    }
}

#[test]
fn a_body_over_the_limit_is_a_413_and_reaches_no_upstream_whole() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {request_body: 64KiB, buffered_body: 16KiB}")
        .start();
    let body = json!({"model": "gpt-5-mini", "input": "x".repeat(200_000)}).to_string();
    let announced = Request::new("POST", "/v1/embeddings")
        .header("content-type", "application/json")
        .body(&body);
    let unannounced = Request::new("POST", "/v1/embeddings")
        .header("content-type", "application/json")
        .chunked(body.as_bytes().chunks(10_000));
    for request in [announced, unannounced] {
        let response = tollgate.send(&request);
        assert_eq!(response.status, 413, "{response:?}");
        assert!(
            response.headers.get("x-tollgate-error").is_some(),
            "{response:?}"
        );
        assert!(
            response.json()["error"]["message"].is_string(),
            "{response:?}"
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "refused", "{row:#?}");
        assert_eq!(row.int("status"), Some(413), "{row:#?}");
        assert_eq!(row.text("error_source"), Some("downstream"), "{row:#?}");
    }
    assert!(upstream.received().iter().all(|request| !request.complete));
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {request_body: 64KiB, buffered_body: 16KiB}")
        .start();
    let frame = json!({"model": "gpt-5-mini", "input": ""})
        .to_string()
        .len();
    let body = json!({"model": "gpt-5-mini", "input": "x".repeat(64 * 1024 - frame)});
    assert_eq!(body.to_string().len(), 64 * 1024);
    assert_eq!(
        tollgate
            .send(&Request::json("/v1/embeddings", &body))
            .status,
        200
    );
}

#[test]
fn malformed_json_goes_to_the_upstream_untouched() {
    let upstream = Upstream::always(answers::error(
        "400 Bad Request",
        "invalid_request_error",
        "invalid_json",
    ));
    let tollgate = Tollgate::before(&upstream.base_url());
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"{\"model\": \"gpt-5-mini\", \"stream\": true, \"messages\": [",
        b"[1, 2, 3]",
        b"\"a string\"",
        b"{\"model\": 7, \"stream\": \"yes\", \"stream_options\": []}",
        b"{\"model\": \"\xff\xfe\", \"stream\": true}",
        b"\xef\xbb\xbf{\"model\": \"gpt-5-mini\", \"stream\": true} trailing",
    ];
    for (count, body) in bodies.iter().enumerate() {
        let request = Request::new("POST", "/v1/chat/completions")
            .header("content-type", "application/json")
            .body(body);
        let response = tollgate.send(&request);
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(response.headers.get("x-tollgate-error"), None);
        assert_eq!(&upstream.received()[count].body, body);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("error_code"), Some("invalid_json"), "{row:#?}");
        assert_eq!(row.text("api"), Some("chat"), "{row:#?}");
    }
}

#[test]
fn paths_that_climb_or_make_no_sense_are_a_400() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let targets = [
        "/v1/../secret",
        "/v1/./chat/completions",
        "/v1/..",
        "/v1/%2e%2e/secret",
        "/v1/%2E./secret",
        "/v1/a/%2e%2e%2fsecret",
        "/v1/..%5csecret",
        "/v1/bad%zzescape",
        "/c/openai/../v1/chat",
    ];
    for target in targets {
        let response = tollgate.send(&Request::new("GET", target));
        assert_eq!(response.status, 400, "{target}: {response:?}");
        assert!(response.json()["error"]["message"].is_string(), "{target}");
    }
    // Dots inside a segment are nothing special.
    assert_eq!(
        tollgate
            .send(&Request::new("GET", "/v1/files/..a..b.txt"))
            .status,
        404
    );
    let reached: Vec<_> = upstream.received().into_iter().map(|r| r.target).collect();
    assert_eq!(reached, ["/v1/files/..a..b.txt"]);
}

#[test]
fn what_is_no_http_gets_a_400_or_the_door() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let pieces: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: h\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nhost: h\r\ncontent-length: nine\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ];
    for piece in pieces {
        let mut connection = Connection::open(tollgate.address());
        connection.write(piece).ok();
        let first = connection.first();
        let refused = first.is_none_or(|head| head.start.contains(" 400 "));
        assert!(refused, "{}", String::from_utf8_lossy(piece));
    }
    assert_eq!(upstream.received().len(), 0);
    // It is none the worse for it.
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    assert_eq!(
        tollgate
            .send(&Request::json("/v1/embeddings", &body))
            .status,
        200
    );
}

#[test]
fn malformed_tags_do_no_harm() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    for tags in ["", ",,,", "=", "novalue", "a=b=c", "a=1,a=2", "ä=ö"] {
        let request = Request::json("/v1/embeddings", &body).header("x-tollgate-tags", tags);
        let response = tollgate.send(&request);
        assert_eq!(response.status, 200, "{tags}: {response:?}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "ok", "{tags}: {row:#?}");
    }
}
