//! The bytes of requests and answers: kept where the settings say so, without secrets, for a while.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::answers;
use crate::support::client::{self, Request, Response};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Step, Upstream};
use crate::support::{Gate, eventually};

const FOLDER: &str = "payloads";

fn setup(upstream: &Upstream, payloads: &str) -> Setup {
    Setup::upstream(&upstream.base_url()).setting(&format!("payloads: {payloads}"))
}

/// A chat that `answers::provider` treats as the prompt says.
fn chat(prompt: &str, stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages, "stream": stream});
    Request::json("/v1/chat/completions?api-key=sk-query-91ab77", &body)
}

/// Waits until so many payloads are written.
fn written(tollgate: &Tollgate, count: f64) {
    eventually(&format!("{count} payloads are written"), || {
        let metrics = tollgate.metrics();
        let sum = metrics.sum("tollgate_payloads_total", &[("result", "written")]);
        assert!(sum <= count, "{sum} were written");
        (sum >= count).then_some(())
    });
}

/// What the API shows of a request's bytes.
fn payload(tollgate: &Tollgate, answer: &Response) -> Value {
    let target = format!("/api/v1/requests/{}/payload", answer.request_id());
    let shown = tollgate.admin(&target);
    assert_eq!(shown.status, 200, "{}", shown.text());
    shown.json()
}

/// Every file that was written, decompressed.
fn files(tollgate: &Tollgate) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let days = fs::read_dir(tollgate.data_dir().join(FOLDER));
    for day in days.into_iter().flatten() {
        for file in fs::read_dir(day.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = answers::decompress("zstd", &fs::read(&path).unwrap());
            found.push((path, text));
        }
    }
    found
}

#[test]
fn off_by_default_and_then_there_is_not_even_a_folder() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let answer = tollgate.send(&chat("fail", false));
    tollgate.ledger().request(&answer.request_id());
    let target = format!("/api/v1/requests/{}/payload", answer.request_id());
    let none = tollgate.admin(&target);
    // An answer, not an error: of most requests nothing is kept.
    assert_eq!(none.status, 200);
    let none = none.json();
    assert_eq!(none["captured"], false);
    assert_eq!(none["outcome"], "upstream_error");
    for part in ["request", "answer"] {
        assert_eq!(none[part]["headers"], json!([]), "{part}");
        assert_eq!(none[part]["body"]["bytes"], Value::Null, "{part}");
    }
    let nobody = "/api/v1/requests/019e1a2b-0000-7000-8000-000000000000/payload";
    let unknown = tollgate.admin(nobody);
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "not_found");
    let shown = tollgate.run(&["requests", "--id", &answer.request_id(), "--format", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown.get("payload"), Some(&Value::Null));
    assert!(tollgate.stop().success());
    assert!(!tollgate.data_dir().join(FOLDER).exists());
}

#[test]
fn errors_are_kept_and_what_went_well_is_not() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = setup(&upstream, "{capture: errors}").start();
    for stream in [false, true] {
        assert_eq!(tollgate.send(&chat("well", stream)).status, 200);
    }
    let failed = tollgate.send(&chat("fail", false));
    assert_eq!(failed.status, 500);
    let cut = tollgate.send(&chat("cut", true));
    assert!(!cut.whole);
    let nowhere = tollgate.send(&chat("lost", false).header("x-tollgate-channel", "nowhere"));
    assert_eq!(nowhere.status, 404);
    written(&tollgate, 3.0);

    let shown = payload(&tollgate, &failed);
    assert_eq!(shown["outcome"], "upstream_error");
    assert_eq!(shown["request"]["method"], "POST");
    assert_eq!(shown["request"]["path"], "/v1/chat/completions");
    let body = shown["request"]["body"]["text"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["messages"][0]["content"], "fail");
    assert_eq!(shown["answer"]["status"], 500);
    assert_eq!(shown["answer"]["body"]["text"], failed.text());
    assert_eq!(shown["answer"]["body"]["bytes"], failed.body.len());
    assert_eq!(shown["answer"]["body"]["truncated"], false);

    let shown = payload(&tollgate, &cut);
    assert_eq!(shown["answer"]["status"], 200);
    assert_eq!(shown["answer"]["body"]["text"], cut.text());

    // Refused by Tollgate itself: what was asked is kept, and there was no answer to keep.
    let shown = payload(&tollgate, &nowhere);
    assert_eq!(shown["outcome"], "no_channel");
    assert_eq!(shown["captured"], true);
    assert_eq!(shown["answer"]["status"], Value::Null);
    assert_eq!(shown["answer"]["headers"], json!([]));
    assert!(
        shown["request"]["body"]["text"]
            .as_str()
            .unwrap()
            .contains("lost")
    );
    assert_eq!(files(&tollgate).len(), 3);
}

#[test]
fn a_sample_is_none_or_all_at_its_ends() {
    let upstream = Upstream::start(answers::provider);
    let mut none = setup(&upstream, "{capture: sample(0%)}").start();
    let all = setup(&upstream, "{capture: sample(100%)}").start();
    for tollgate in [&none, &all] {
        for prompt in ["well", "fail"] {
            tollgate.send(&chat(prompt, false));
        }
    }
    written(&all, 2.0);
    // What waits to be written is written before a process ends.
    assert!(none.stop().success());
    assert!(!none.data_dir().join(FOLDER).exists());
}

#[test]
fn everything_is_kept_as_it_passed_and_readable() {
    let upstream = Upstream::start(|request| {
        if request.target.contains("speech") {
            let audio = [0xff, 0xfb, 0x00, 0x01].repeat(1000);
            return Answer::new("200 OK")
                .header("content-type", "audio/mpeg")
                .body(audio);
        }
        answers::provider(request)
    });
    let tollgate = setup(&upstream, "{capture: all, max_bytes: 1KiB}").start();
    let stream = tollgate.send(&chat("well", true));
    let coded: Vec<Response> = ["gzip", "br", "zstd"]
        .map(|coding| tollgate.send(&chat(coding, false)))
        .into();
    let packed = answers::compress("gzip", br#"{"model":"gpt-5-mini","messages":[]}"#);
    let packed = Request::new("POST", "/v1/chat/completions")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(packed);
    let packed = tollgate.send(&packed);
    let speech = Request::json("/v1/audio/speech", &json!({"input": "say it"}));
    let speech = tollgate.send(&speech);
    let upload = Request::new("POST", "/v1/files")
        .header("content-type", "text/plain")
        .chunked([&b"first "[..], &[b'x'; 2000], b"last"]);
    let upload = tollgate.send(&upload);
    written(&tollgate, 7.0);

    let body = payload(&tollgate, &stream)["answer"]["body"].clone();
    assert_eq!(body["bytes"], stream.body.len());
    let text = body["text"].as_str().unwrap();
    assert_eq!(body["truncated"], stream.body.len() > 1024);
    assert!(stream.text().starts_with(text), "{text}");
    for answer in &coded {
        let body = payload(&tollgate, answer)["answer"]["body"].clone();
        let text = body["text"].as_str().unwrap();
        assert!(answers::chat().starts_with(text), "{text}");
        assert_eq!(body["bytes"], answer.body.len());
    }
    let body = payload(&tollgate, &packed)["request"]["body"].clone();
    assert_eq!(body["text"], r#"{"model":"gpt-5-mini","messages":[]}"#);
    let body = payload(&tollgate, &speech)["answer"]["body"].clone();
    assert_eq!(
        (&body["text"], &body["bytes"]),
        (&Value::Null, &json!(4000))
    );
    assert!(body["base64"].as_str().unwrap().starts_with("//sAAf/7AAH"));
    let body = payload(&tollgate, &upload)["request"]["body"].clone();
    assert_eq!(
        (&body["truncated"], &body["bytes"]),
        (&json!(true), &json!(2010))
    );
    assert!(body["text"].as_str().unwrap().starts_with("first xxx"));

    // For people: text as it is, binary by its size.
    let show = |answer: &Response| {
        tollgate.ledger().request(&answer.request_id());
        let output = tollgate.run(&["requests", "--id", &answer.request_id()]);
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show(&speech);
    assert!(shown.contains("4,000 bytes that are no text"), "{shown}");
    assert!(shown.contains(r#"{"input":"say it"}"#), "{shown}");
    assert!(shown.contains("authorization: [redacted]"), "{shown}");
    assert!(show(&upload).contains("the beginning of 2,010 bytes"));
}

#[test]
fn the_command_line_reads_the_files_without_the_sidecar() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = setup(&upstream, "{capture: errors}").start();
    let answer = tollgate.send(&chat("fail", false));
    // What waits to be written is written before the process ends.
    assert!(tollgate.stop().success());
    let show = |format| {
        let id = answer.request_id();
        let output = tollgate.run(&["requests", "--id", &id, "--format", format]);
        String::from_utf8(output.stdout).unwrap()
    };
    let shown: Value = serde_json::from_str(&show("json")).unwrap();
    assert_eq!(shown["payload"]["answer"]["body"]["text"], answer.text());
    assert_eq!(shown["outcome"], "upstream_error");
    assert!(show("table").contains("answer HTTP 500"));

    // A file that is damaged is told, and the row is shown all the same.
    for (path, _) in files(&tollgate) {
        fs::write(path, "damaged").unwrap();
    }
    let output = tollgate.run(&["requests", "--id", &answer.request_id()]);
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot read the payload"), "{told}");
}

#[test]
fn secrets_never_reach_the_disk() {
    let upstream = Upstream::start(|request| {
        let quoted: Vec<String> = ["authorization", "x-team-token"]
            .iter()
            .filter_map(|name| request.headers.get(name))
            .map(ToString::to_string)
            .collect();
        let message = format!("Incorrect: {}, {}", quoted.join(", "), request.target);
        let body = json!({"error": {"message": message, "code": "invalid_api_key"}}).to_string();
        Answer::new("401 Unauthorized")
            .header("content-type", "application/json")
            .header("set-cookie", "session=sk-set-cookie-6d6d; HttpOnly")
            .header("x-echo", &quoted.join(", "))
            .header("content-encoding", "gzip")
            .body(answers::compress("gzip", body.as_bytes()))
    });
    let more = ", api_key: sk-channel-4f1c, headers: {x-team-token: tok-channel-77aa}";
    let mut tollgate = Setup::channels(&[
        ("paid", &upstream.base_url(), more),
        ("free", &upstream.base_url(), ""),
    ])
    .setting("payloads: {capture: all}")
    .setting("log: {level: trace}")
    .start();
    let body = json!({"model": "m", "messages": [{"content": "my key is sk-client-8e2d"}]});
    for channel in ["paid", "free"] {
        let target = format!("/c/{channel}/v1/chat/completions?api-key=sk-query-91ab&x=known");
        let request = Request::new("POST", &target)
            .header("authorization", "Bearer sk-client-8e2d")
            .header("x-api-key", "sk-field-3b3b")
            .header("proxy-authorization", "Basic c2stcHJveHktMTIzNA==")
            .header("cookie", "a=1; session=sk-cookie-5c5c")
            .header("content-type", "application/json")
            .body(body.to_string());
        assert_eq!(tollgate.send(&request).status, 401);
    }
    written(&tollgate, 2.0);
    assert!(tollgate.stop().success());
    let files = files(&tollgate);
    assert_eq!(files.len(), 2);
    let mut all = tollgate.log();
    for (_, text) in &files {
        assert!(text.contains("Incorrect: ") && text.contains("my key is [redacted]"));
        all += text;
    }
    for secret in [
        "sk-channel-4f1c",
        "tok-channel-77aa",
        "sk-query-91ab",
        "sk-client-8e2d",
        "sk-field-3b3b",
        "c2stcHJveHktMTIzNA",
        "sk-cookie-5c5c",
        "sk-set-cookie-6d6d",
    ] {
        if let Some(at) = all.find(secret) {
            panic!("{secret} in {}", &all[at.saturating_sub(200)..at + 50]);
        }
    }
}

#[test]
fn configured_values_are_replaced_in_json_and_in_events_and_nothing_else_is_kept() {
    let upstream = Upstream::start(|request| {
        if request.target.contains("broken") {
            return answers::json("200 OK", "no json: Hello and SECRET");
        }
        answers::provider(request)
    });
    let redact = "[user, 'messages[*].content', '..content', '..text', '..delta']";
    let settings = format!("{{capture: all, max_bytes: 2KiB, redact: {redact}}}");
    let tollgate = setup(&upstream, &settings).start();
    let body = |prompt: &str, stream| {
        json!({"model": "gpt-5-mini", "user": "SECRET", "stream": stream, "metadata": {"a": "kept"},
            "messages": [{"role": "user", "content": [{"type": "text", "text": "SECRET"}]},
                         {"role": "user", "content": prompt}], "input": prompt})
    };
    let ask = |target: &str, stream| {
        let request = Request::json(target, &body("SECRET", stream));
        tollgate.send(&request)
    };
    let plain = ask("/v1/chat/completions", false);
    let streams = [
        ask("/v1/chat/completions", true),
        ask("/v1/responses", true),
    ];
    assert!(streams[1].text().contains("Hello"));
    let broken = ask("/v1/broken", false);
    let mut large = body("SECRET", false);
    large["zz"] = json!("z".repeat(5000) + "SECRET");
    let large = tollgate.send(&Request::json("/v1/chat/completions", &large));
    let form = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nSECRET\r\n--b--\r\n");
    let form = tollgate.send(&form);
    written(&tollgate, 6.0);

    for (_, text) in files(&tollgate) {
        for secret in ["Hello", "wörld"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        // `input` is not among the paths.
        let rest = text.replace(r#"\"input\":\"SECRET\""#, "");
        assert!(!rest.contains("SECRET"), "{text}");
    }
    let shown = payload(&tollgate, &plain);
    let sent = shown["request"]["body"]["text"].as_str().unwrap();
    let sent: Value = serde_json::from_str(sent).unwrap();
    assert_eq!(
        sent["messages"][0],
        json!({"role": "user", "content": "[redacted]"})
    );
    assert_eq!(sent["metadata"]["a"], "kept");
    for stream in &streams {
        let shown = payload(&tollgate, stream);
        let text = shown["answer"]["body"]["text"].as_str().unwrap();
        assert!(text.contains("[redacted]"), "{text}");
        assert!(text.contains("gpt-5-mini-2025-08-07"), "{text}");
    }
    let unreadable = "[unreadable: not stored because payloads.redact is set]";
    let body = |answer, part: &str| payload(&tollgate, answer)[part]["body"]["text"].clone();
    assert_eq!(body(&broken, "answer"), unreadable);
    assert_eq!(body(&form, "request"), unreadable);
    let large = body(&large, "request");
    assert!(
        large
            .as_str()
            .unwrap()
            .contains(r#""user":"[redacted]","zz":"zzz"#),
        "{large}"
    );
}

#[test]
fn they_are_deleted_by_age_whatever_became_of_their_requests() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = setup(&upstream, "{capture: errors, retention: 3d}").start();
    let answer = tollgate.send(&chat("fail", false));
    assert!(tollgate.stop().success());
    let old = tollgate.data_dir().join(FOLDER).join("2024-02-29");
    fs::create_dir_all(&old).unwrap();
    for name in ["x.json.zst", "y.json.zst.unfinished", "whatever"] {
        fs::write(old.join(name), "x").unwrap();
    }
    tollgate.start_again();
    eventually("the old day is gone", || (!old.exists()).then_some(()));
    // What is young stays.
    assert_eq!(payload(&tollgate, &answer)["answer"]["status"], 500);
}

#[test]
fn a_folder_that_cannot_be_written_fails_no_request() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = setup(&upstream, "{capture: all}").start();
    fs::write(tollgate.data_dir().join(FOLDER), "in the way").unwrap();
    let answers: Vec<Response> = (0..3)
        .map(|_| tollgate.send(&chat("well", false)))
        .collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    eventually("three failures are counted", || {
        let metrics = tollgate.metrics();
        let failed = metrics.sum("tollgate_payloads_total", &[("result", "failed")]);
        (failed >= 3.0).then_some(())
    });
    // The reason is told once, not for each of them.
    assert_eq!(
        tollgate.log().matches("payloads cannot be written").count(),
        1
    );
    let target = format!("/api/v1/requests/{}/payload", answers[0].request_id());
    assert_eq!(tollgate.admin(&target).status, 500);
    tollgate.ledger().request(&answers[0].request_id());
    let shown = tollgate.run(&["requests", "--id", &answers[0].request_id()]);
    assert!(shown.status.success());

    // And when there is room again, it goes on by itself.
    fs::remove_file(tollgate.data_dir().join(FOLDER)).unwrap();
    tollgate.fill_disk(true);
    assert_eq!(tollgate.send(&chat("well", false)).status, 200);
    eventually("a fourth failure is counted", || {
        let metrics = tollgate.metrics();
        let failed = metrics.sum("tollgate_payloads_total", &[("result", "failed")]);
        (failed >= 4.0).then_some(())
    });
    tollgate.fill_disk(false);
    let answer = tollgate.send(&chat("well", true));
    written(&tollgate, 1.0);
    let shown = payload(&tollgate, &answer);
    assert_eq!(shown["answer"]["body"]["text"], answer.text());
    let left = files(&tollgate);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(tollgate.stop().success());
}

#[test]
fn one_that_hangs_up_in_the_middle_is_no_error_but_belongs_to_all() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = setup(&upstream, "{capture: all}").start();
    let mut incoming = chat("hold", true).start(tollgate.address());
    let mut seen = Vec::new();
    incoming.read_until(&mut seen, "Hello");
    drop(incoming);
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "client_closed");
    written(&tollgate, 1.0);
    let target = format!("/api/v1/requests/{}/payload", row.text("id").unwrap());
    let shown = tollgate.admin(&target).json();
    let text = shown["answer"]["body"]["text"].as_str().unwrap();
    assert!(text.contains("Hello"), "{text}");
}

/// Reads what is there, or waits for it.
fn read_on(socket: &mut TcpStream, received: &mut Vec<u8>) {
    let mut piece = [0; 16384];
    let length = socket.read(&mut piece).unwrap();
    assert!(length > 0, "closed in the middle");
    received.extend_from_slice(&piece[..length]);
}

/// What may be held of all requests together, in KiB.
const BUDGET_KIB: u64 = 64 * 1024;

/// What the process may grow by besides, with so many connections, in KiB.
const GROWTH_KIB: u64 = 144 * 1024;

#[test]
fn memory_is_bounded_and_what_finds_no_room_is_dropped_and_counted() {
    const CLIENTS: usize = 100;
    const BODY: usize = 3_000_000;
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |_| {
            let length = (BODY + 4).to_string();
            vec![
                Answer::new("500 Internal Server Error")
                    .header("content-type", "text/plain")
                    .header("content-length", &length)
                    .head(),
                Step::Repeat(vec![b'x'; BODY / 3], 3),
                Step::Await(gate.clone()),
                Step::Send(b"tail".to_vec()),
            ]
        }
    });
    let tollgate = setup(&upstream, "{capture: errors, max_bytes: 4MiB}").start();
    let before = tollgate.peak_resident_kib();
    let (to, request) = (tollgate.address(), chat("any", false).bytes());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut socket = client::socket(to);
                    socket.write_all(&request).unwrap();
                    let mut received = Vec::with_capacity(BODY + 4096);
                    while received.len() < BODY {
                        read_on(&mut socket, &mut received);
                    }
                    (socket, received)
                })
            })
            .collect();
        let held: Vec<_> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        // Every body is held now, or was let go for want of room.
        let growth = tollgate.peak_resident_kib() - before;
        assert!(
            growth < BUDGET_KIB + GROWTH_KIB,
            "grew by {growth} KiB from {before} KiB"
        );
        gate.open();
        for (mut socket, mut received) in held {
            while !received.ends_with(b"tail") {
                read_on(&mut socket, &mut received);
            }
        }
    });
    let (written, dropped) = eventually("each is written or counted as dropped", || {
        let metrics = tollgate.metrics();
        let count = |result| metrics.sum("tollgate_payloads_total", &[("result", result)]);
        let (written, dropped) = (count("written"), count("dropped"));
        (written + dropped >= 100.0).then_some((written, dropped))
    });
    assert!(written > 0.0 && dropped > 50.0, "{written} {dropped}");
    assert_eq!(files(&tollgate).len().to_string(), written.to_string());
    // There is room again.
    let answer = tollgate.send(&chat("any", false));
    eventually("one more is written", || {
        let target = format!("/api/v1/requests/{}/payload", answer.request_id());
        let answer = tollgate.admin(&target);
        (answer.json()["captured"] == true).then_some(())
    });
}
