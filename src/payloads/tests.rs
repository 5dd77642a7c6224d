//! The whole way of a payload, with real files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tempfile::TempDir;

use super::*;
use crate::clock::UnixMicros;

const PATIENCE: Duration = Duration::from_secs(60);

/// 2026-11-20T10:00:00Z.
const NOW: UnixMicros = UnixMicros(1_795_168_800_000_000);

const DAY: Duration = Duration::from_secs(24 * 3600);

fn settings(capture: PayloadCapture) -> PayloadSettings {
    PayloadSettings {
        capture,
        retention: 10_000 * DAY,
        ..PayloadSettings::default()
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter();
    fields
        .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

/// What remains to be said of a payload: its id, and the two bodies.
fn payload(payloads: &Payloads, id: RequestId, request: &[u8], answer: Option<&[u8]>) -> Payload {
    let body = |bytes: &[u8]| {
        let mut body = payloads.body();
        bytes.chunks(7).for_each(|piece| body.push(piece));
        body
    };
    Payload {
        id,
        outcome: Outcome::UpstreamError,
        channel: None,
        request: Request {
            method: Method::POST,
            uri: Uri::from_static("/v1/chat/completions?api-key=sk-query-12345"),
            headers: headers(&[
                ("authorization", "Bearer sk-client-12345"),
                ("content-type", "application/json"),
                ("x-note", "it is sk-client-12345"),
            ]),
            body: body(request),
        },
        answer: answer.map(|bytes| Answer {
            status: 500,
            headers: headers(&[("set-cookie", "a=abcdefghijk; HttpOnly")]),
            body: body(bytes),
        }),
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

#[test]
fn what_was_submitted_is_read_back_without_its_secrets() {
    let data_dir = TempDir::new().unwrap();
    let (payloads, writer) =
        Payloads::start(&settings(PayloadCapture::All), data_dir.path()).unwrap();
    let id = RequestId::generate_at(NOW);
    assert_eq!(read(data_dir.path(), id).unwrap(), None);
    let request = br#"{"key":"sk-query-12345"}"#;
    let answer = b"Incorrect API key: sk-client-12345, cookie abcdefghijk, \xff";
    payloads.submit(payload(&payloads, id, request, Some(answer)));
    assert!(writer.close(PATIENCE));

    let stored = read(data_dir.path(), id).unwrap().unwrap();
    assert_eq!(stored.request.path, "/v1/chat/completions");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        stored.request.headers,
        [
            pair("authorization", "[redacted]"),
            pair("content-type", "application/json"),
            pair("x-note", "it is [redacted]"),
        ]
    );
    let body = StoredBody {
        bytes: request.len() as u64,
        truncated: false,
        content: text(r#"{"key":"[redacted]"}"#),
    };
    assert_eq!(stored.request.body, body);
    let answer = stored.answer.unwrap();
    assert_eq!(answer.headers, [pair("set-cookie", "[redacted]")]);
    let plain = b"Incorrect API key: [redacted], cookie [redacted], \xff";
    let base64 = STANDARD.encode(plain);
    assert_eq!(answer.body.content, Content::Base64(base64));

    let day = data_dir.path().join("payloads/2026-11-20");
    let file = day.join(format!("{id}.json.zst"));
    for (path, mode) in [(&day, 0o700), (&file, 0o600)] {
        let permissions = fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{}", path.display());
    }
    assert_eq!(fs::read_dir(&day).unwrap().count(), 1);
    assert_eq!(payloads.stats().written(), 1);
}

#[test]
fn only_so_much_of_a_body_is_kept() {
    let data_dir = TempDir::new().unwrap();
    let settings = PayloadSettings {
        max_bytes: 1024,
        redact: vec!["input".parse().unwrap()],
        ..settings(PayloadCapture::All)
    };
    let (payloads, writer) = Payloads::start(&settings, data_dir.path()).unwrap();
    let id = RequestId::generate_at(NOW);
    let long = format!(
        r#"{{"a":"{}","input":"secret","b":"{}"}}"#,
        "é".repeat(490),
        "x".repeat(900)
    );
    payloads.submit(payload(
        &payloads,
        id,
        long.as_bytes(),
        Some(&vec![b'x'; 5000]),
    ));
    assert!(writer.close(PATIENCE));
    let stored = read(data_dir.path(), id).unwrap().unwrap();
    let body = stored.request.body;
    assert_eq!((body.bytes, body.truncated), (long.len() as u64, true));
    let Content::Text(kept) = body.content else {
        panic!("no text");
    };
    let beginning = kept.trim_end_matches('x');
    assert!(
        beginning.ends_with(r#"é","input":"[redacted]","b":""#),
        "{kept}"
    );
    assert!(beginning.len() < kept.len() && !kept.ends_with('"'));
    let answer = stored.answer.unwrap().body;
    assert_eq!((answer.bytes, answer.truncated), (5000, true));
    let note = "[unreadable: not stored because payloads.redact is set]";
    assert_eq!(answer.content, text(note));
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_and_the_room_is_given_back() {
    let data_dir = TempDir::new().unwrap();
    let settings = PayloadSettings {
        max_bytes: BUDGET_BYTES / 4,
        ..settings(PayloadCapture::All)
    };
    let (payloads, writer) = Payloads::start(&settings, data_dir.path()).unwrap();
    let large = vec![b'x'; settings.max_bytes];
    // Held and not submitted, so that the writer gives nothing back in between.
    let full = || payload(&payloads, RequestId::generate_at(NOW), &large, None);
    let mut held: Vec<Payload> = (0..5).map(|_| full()).collect();
    payloads.submit(held.pop().unwrap());
    let stats = payloads.stats();
    assert_eq!((stats.dropped(), stats.written()), (1, 0));
    held.clear();
    payloads.submit(full());
    assert!(writer.close(PATIENCE));
    assert_eq!((stats.dropped(), stats.written()), (1, 1));
    // Nobody writes any more.
    payloads.submit(full());
    assert_eq!(stats.dropped(), 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_a_counted_failure() {
    let data_dir = TempDir::new().unwrap();
    fs::write(data_dir.path().join("payloads"), "in the way").unwrap();
    let (payloads, writer) =
        Payloads::start(&settings(PayloadCapture::All), data_dir.path()).unwrap();
    let id = RequestId::generate_at(NOW);
    payloads.submit(payload(&payloads, id, b"{}", None));
    assert!(writer.close(PATIENCE));
    assert_eq!(payloads.stats().failed(), 1);
    assert!(read(data_dir.path(), id).is_err());
}

#[test]
fn a_file_that_is_no_payload_is_an_error_and_not_a_payload() {
    let data_dir = TempDir::new().unwrap();
    let id = RequestId::generate_at(NOW);
    let day = data_dir.path().join("payloads/2026-11-20");
    fs::create_dir_all(&day).unwrap();
    let file = day.join(format!("{id}.json.zst"));
    let cut = &zstd::encode_all(&b"{\"id\":"[..], 3).unwrap()[..];
    for content in [&b""[..], b"no zstd", cut] {
        fs::write(&file, content).unwrap();
        let error = read(data_dir.path(), id).unwrap_err();
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
}

#[test]
fn age_alone_decides_what_is_deleted() {
    let data_dir = TempDir::new().unwrap();
    let folder = data_dir.path().join("payloads");
    let retention = 7 * DAY;
    let place = |age: Duration, ending: &str| -> PathBuf {
        let moment = NOW.minus(age);
        let day = moment.timestamp().to_string();
        let id = RequestId::generate_at(moment);
        folder.join(&day[..10]).join(format!("{id}{ending}"))
    };
    let hour = Duration::from_secs(3600);
    let gone = [
        place(retention + hour, ".json.zst"),
        place(retention + 2 * hour, ".json.zst.unfinished"),
        place(retention + DAY, ".json.zst"),
        place(100 * DAY, ".json.zst.unfinished"),
        folder.join("2025-01-01/whatever"),
        folder.join("2025-01-02/sub/folder"),
    ];
    let kept = [
        place(Duration::ZERO, ".json.zst"),
        place(6 * DAY + 23 * hour, ".json.zst"),
        place(6 * DAY + 23 * hour, ".json.zst.unfinished"),
        // Of a clock that was wrong.
        place(Duration::ZERO, ".json.zst").with_file_name("whatever"),
        // Not ours.
        folder.join("notes/2020.txt"),
        folder.join("2025-1-1/x"),
    ];
    for file in gone.iter().chain(&kept) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }
    // Whoever runs it, and however often.
    for _ in 0..2 {
        store::expire(&folder, retention, NOW).unwrap();
        for file in &gone {
            assert!(!file.exists(), "{}", file.display());
        }
        for file in &kept {
            assert!(file.exists(), "{}", file.display());
        }
    }
    assert!(!folder.join("2025-01-01").exists());
    store::expire(&data_dir.path().join("absent"), retention, NOW).unwrap();
}

#[test]
fn who_is_chosen_is_decided_by_the_settings_and_the_id() {
    let data_dir = TempDir::new().unwrap();
    let start = |capture| {
        Payloads::start(&settings(capture), data_dir.path())
            .unwrap()
            .0
    };
    let id = RequestId::generate_at(NOW);
    assert_eq!(start(PayloadCapture::Off).choice(id), Choice::No);
    assert_eq!(start(PayloadCapture::Errors).choice(id), Choice::IfFailed);
    assert_eq!(start(PayloadCapture::All).choice(id), Choice::Yes);
    let tenth = start(PayloadCapture::Sample("10%".parse().unwrap()));
    let ids = (0..10_000).map(|_| RequestId::generate_at(NOW));
    let chosen = ids.filter(|&id| tenth.choice(id) == Choice::Yes).count();
    // Ten standard deviations.
    assert!((700..1300).contains(&chosen), "{chosen}");
    assert!(!data_dir.path().join("payloads").exists());

    assert!(Choice::IfFailed.keeps(Outcome::Timeout));
    assert!(!Choice::IfFailed.keeps(Outcome::Ok));
    assert!(!Choice::IfFailed.keeps(Outcome::ClientClosed));
    assert!(Choice::Yes.keeps(Outcome::Ok));
}
