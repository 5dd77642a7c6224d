//! The official SDKs speak to a mock of the provider, directly and through Tollgate.

use serde_json::Value;

use super::in_order;
use crate::support::clients::{self, Mock, Talk, fixture_usage};
use crate::support::http2::Certificate;
use crate::support::tollgate::{Setup, Tollgate};

/// What two conversations have in common: all but when the session expires.
fn comparable(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        if let Some(session) = event["session"].as_object_mut() {
            session.remove("expires_at");
        }
    }
    events
}

const PROMPTS: [&str; 3] = ["chat-short", "chat-long", "unknown"];

/// The rows of so many conversations of [`PROMPTS`]: the mock's Realtime states usage of zero.
fn assert_talks(tollgate: &Tollgate, api: &str, count: usize) {
    let rows = in_order(tollgate.ledger().exactly(count * (1 + PROMPTS.len())));
    for talk in rows.chunks(1 + PROMPTS.len()) {
        let [connection, made @ ..] = talk else {
            unreachable!("a chunk is not empty");
        };
        assert_eq!(connection.int("status"), Some(101), "{connection:#?}");
        assert_eq!(connection.outcome(), "ok", "{connection:#?}");
        for (row, prompt) in made.iter().zip(PROMPTS) {
            assert_eq!(row.text("session"), connection.text("id"), "{row:#?}");
            assert_eq!(row.text("api"), Some(api), "{row:#?}");
            assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{row:#?}");
            let (outcome, tokens) = match (prompt, api) {
                ("unknown", "responses") => ("upstream_error", vec![]),
                ("unknown", _) => ("upstream_error", vec![("input", 0), ("output", 0)]),
                (_, "responses") => {
                    let usage = fixture_usage(prompt);
                    let count = |name: &str| usage[name].as_i64().unwrap();
                    (
                        "ok",
                        vec![
                            ("input", count("prompt_tokens")),
                            ("output", count("completion_tokens")),
                        ],
                    )
                }
                _ => ("ok", vec![("input", 0), ("output", 0)]),
            };
            assert_eq!(row.outcome(), outcome, "{row:#?}");
            assert_eq!(row.tokens(), tokens, "{row:#?}");
            assert_eq!(
                row.text("error_code"),
                (outcome != "ok").then_some("no_fixture_match"),
                "{row:#?}"
            );
        }
    }
}

#[test]
fn the_official_clients_see_what_a_direct_connection_sees() {
    if clients::left_out() {
        return;
    }
    let mock = Mock::start();
    for api in ["realtime", "responses"] {
        let certificate = Certificate::make();
        let plain = Tollgate::before(mock.base_url());
        let tls = format!(
            "tls: {{cert: '{}', key: '{}'}}",
            certificate.cert_file.display(),
            certificate.key_file.display()
        );
        let with_tls = Setup::upstream(mock.base_url()).setting(&tls).start();
        let base = |scheme, tollgate: &Tollgate| {
            format!("{scheme}://localhost:{}/v1", tollgate.address().port())
        };
        let talk = Talk {
            api,
            model: "gpt-5-mini",
            prompts: &PROMPTS,
            bases: &[mock.base_url().to_owned(), base("http", &plain)],
            tls: None,
        };
        let secure = Talk {
            bases: &["tls:".to_owned(), base("https", &with_tls)],
            tls: Some((
                &certificate.cert_file,
                &certificate.key_file,
                mock.base_url(),
            )),
            ..talk
        };
        for mut seen in [talk.python(), secure.javascript()] {
            let (through, direct) = (seen.pop().unwrap(), seen.pop().unwrap());
            assert!(direct.len() > 20, "{direct:#?}");
            assert_eq!(comparable(through), comparable(direct), "{api}");
        }
        assert_talks(&plain, api, 1);
        assert_talks(&with_tls, api, 1);
    }
}
