//! Bodies of requests: large, in chunks, in parts, and as they come.

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request, Response};
use crate::support::message::chunks;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Step, Upstream};

const MIB: usize = 1024 * 1024;

fn embeddings(length: usize) -> serde_json::Value {
    // The model comes last, as agents send it.
    json!({"input": "x".repeat(length), "model": "gpt-5-mini"})
}

#[test]
fn a_large_body_arrives_whole_and_its_model_is_known() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for length in [60 * 1024, 64 * 1024, 300 * 1024, 20 * MIB] {
        let body = embeddings(length);
        let response = tollgate.send(&Request::json("/v1/embeddings", &body));
        assert_eq!(response.status, 200, "{response:?}");
        let received = upstream.received().pop().unwrap();
        assert!(received.body == body.to_string().as_bytes(), "{length}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some("gpt-5-mini"));
        let sent = i64::try_from(body.to_string().len()).unwrap();
        assert_eq!(row.int("request_bytes"), Some(sent));
    }
}

#[test]
fn a_body_too_large_to_be_read_first_streams() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {buffered_body: 64KiB}")
        .start();
    let body = embeddings(MIB).to_string();
    let request = Request::new("POST", "/v1/embeddings")
        .header("content-type", "application/json")
        .body(&body);
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    let mut connection = Connection::open(tollgate.address());
    connection
        .write(&[&request.head_bytes(), first].concat())
        .unwrap();
    // The first half reaches the upstream before the second is sent.
    upstream.until("the first half arrived", |received| {
        received
            .first()
            .is_some_and(|request| !request.body.is_empty())
    });
    connection.write(second).unwrap();
    let response = connection.incoming("POST").finish();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(upstream.only().body == body.as_bytes());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.tokens(), answers::EMBEDDINGS_TOKENS, "{row:#?}");
}

/// Memory for bodies is bounded over all requests: what finds no room streams instead of waiting.
#[test]
fn a_body_that_finds_no_room_streams_and_is_answered_all_the_same() {
    const ROOM: usize = 100 * 1024;
    let upstream = Upstream::start(|request| {
        if request.headers.get("x-hold").is_some() {
            return vec![Step::Hang];
        }
        answers::provider(request)
    });
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {buffered_body: 100KiB, buffered_total: 100KiB}")
        .start();
    let body = embeddings(ROOM * 3 / 4);
    let request = Request::json("/v1/embeddings", &body);
    let model = |response: &Response| {
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), answers::EMBEDDINGS_TOKENS, "{row:#?}");
        row.text("requested_model").map(str::to_owned)
    };
    let first = tollgate.send(&request);
    assert!(model(&first).is_some(), "it was read before it was sent");
    let mut held = Connection::open(tollgate.address());
    held.write(&request.clone().header("x-hold", "1").bytes())
        .unwrap();
    upstream.until("one body is held", |received| {
        received
            .iter()
            .any(|request| request.headers.get("x-hold").is_some())
    });
    let second = tollgate.send(&request);
    assert_eq!(second.status, 200, "{second:?}");
    assert_eq!(upstream.received().last().unwrap().json(), body);
    assert_eq!(model(&second), None, "it streamed unread");
    drop(held);
}

#[test]
fn chunked_json_arrives_whole_and_is_understood() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for length in [10, 300 * 1024] {
        let body = json!({"input": "x".repeat(length), "stream": false, "model": "gpt-5-mini"});
        let body = body.to_string();
        let request = Request::new("POST", "/v1/embeddings")
            .header("content-type", "application/json")
            .chunked(body.as_bytes().chunks(1000));
        let response = tollgate.send(&request);
        assert_eq!(response.status, 200, "{response:?}");
        let received = upstream.received().pop().unwrap();
        assert!(received.body == body.as_bytes(), "{length}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{row:#?}");
    }
}

#[test]
fn a_multipart_upload_streams_and_arrives_untouched() {
    let upstream = Upstream::always(Answer::new("200 OK").body("{}"));
    let tollgate = Tollgate::before(&upstream.base_url());
    let part = "--limit\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
                --limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let sound: Vec<u8> = (0..=255).cycle().take(2 * MIB).collect();
    let request = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=limit")
        .header("transfer-encoding", "chunked");
    let mut connection = Connection::open(tollgate.address());
    let start = [request.head_bytes(), chunks([part.as_bytes()])].concat();
    connection.write(&start).unwrap();
    upstream.until("the first part arrived", |received| {
        received
            .first()
            .is_some_and(|request| request.body == part.as_bytes())
    });
    connection.write(&chunks(sound.chunks(50_000))).unwrap();
    connection
        .write(&chunks([&b"\r\n--limit--\r\n"[..]]))
        .unwrap();
    connection.write(b"0\r\n\r\n").unwrap();
    let response = connection.incoming("POST").finish();
    assert_eq!(response.status, 200, "{response:?}");
    let whole = [part.as_bytes(), &sound, b"\r\n--limit--\r\n"].concat();
    assert!(upstream.only().body == whole);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("api"), Some("audio"), "{row:#?}");
    assert_eq!(
        row.int("request_bytes"),
        Some(i64::try_from(whole.len()).unwrap())
    );
}

#[test]
fn a_large_answer_arrives_whole() {
    let content = "y".repeat(20 * MIB);
    let answer = answers::chat().replace("is no usage", &content);
    let upstream = Upstream::always(answers::json("200 OK", &answer));
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "messages": []});
    let response = tollgate.send(&Request::json("/v1/chat/completions", &body));
    assert!(response.body == answer.as_bytes());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
    assert_eq!(
        row.int("response_bytes"),
        Some(i64::try_from(answer.len()).unwrap())
    );
}

#[test]
fn a_client_that_breaks_off_its_upload_is_recorded() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let request = Request::new("POST", "/v1/files")
        .header("content-type", "multipart/form-data; boundary=limit")
        .header("content-length", "1000");
    let mut connection = Connection::open(tollgate.address());
    connection
        .write(&[&request.head_bytes()[..], b"--limit\r\n"].concat())
        .unwrap();
    upstream.until("the first bytes arrived", |received| {
        received
            .first()
            .is_some_and(|request| !request.body.is_empty())
    });
    drop(connection);
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "client_closed", "{row:#?}");
    assert_eq!(row.text("api"), Some("files"), "{row:#?}");
}
