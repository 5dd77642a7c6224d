//! Clients of one provider's SDK before channels of another's: the request goes where that provider
//! has it, with the credential where it is looked for, and the client knows nothing of it.

use serde_json::json;

use crate::support::answers::{self, SERVED_MODEL};
use crate::support::client::Request;
use crate::support::clients::{self, Call};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Received, Script, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn};

const MODEL: &str = "gpt-5-mini";

/// Prices that tell who sold a token.
fn prices() -> String {
    let row = |provider: &str, usd: u32| {
        let types = [
            "input",
            "output",
            "input_audio",
            "output_audio",
            "input_image",
        ];
        let each = types.map(|kind| format!("{kind}: {usd}")).join(", ");
        format!("- {{model: {MODEL}, provider: {provider}, per_million: {{{each}}}}}\n")
    };
    format!("prices:\n{}{}", row("azure", 1000), row("openai", 1))
}

/// Answers as OpenAI does to `operation`, and that there is no such thing to `None`.
fn answer(operation: Option<&str>, request: &Received) -> Script {
    answers::provider(&Received {
        target: format!("/v1/{}", operation.unwrap_or_default()),
        ..request.clone()
    })
}

/// An Azure resource with one deployment.
fn azure(request: &Received) -> Script {
    let authorized = request.headers.get("api-key") == Some("sk-azure")
        && request.headers.get("authorization").is_none();
    let operation = at_azure(&request.target).filter(|_| authorized);
    answer(operation, request)
}

/// The operation that stands there.
fn at_azure(target: &str) -> Option<&str> {
    if let Some(operation) = target.strip_prefix("/openai/v1/") {
        return Some(operation);
    }
    let (path, version) = target.split_once("?api-version=")?;
    if !["2024-10-21", "2025-04-01-preview"].contains(&version) {
        return None;
    }
    let below = path.strip_prefix("/openai/")?;
    match below.strip_prefix("deployments/") {
        Some(deployed) => deployed.strip_prefix("gpt-5-mini/"),
        None => Some(below).filter(|&operation| operation == "responses"),
    }
}

fn origin(upstream: &Upstream) -> String {
    format!("http://{}", upstream.address())
}

/// One call of each API, streamed and not.
fn calls(channel: &'static str, first: usize) -> Vec<Call> {
    let kinds = [
        ("chat", false),
        ("chat", true),
        ("completions", false),
        ("responses", true),
        ("embeddings", false),
    ];
    let call = |(n, (api, stream)): (usize, (&'static str, bool))| Call {
        n: first + n,
        channel,
        api,
        model: MODEL,
        prompt: "Hello",
        stream,
        include_usage: None,
        how: "parsed",
    };
    kinds.into_iter().enumerate().map(call).collect()
}

/// The base URL that clients of a channel are given, without the version.
fn base(tollgate: &Tollgate, channel: &str) -> String {
    format!("http://{}/c/{channel}", tollgate.address())
}

#[test]
fn openais_clients_reach_azure_without_knowing() {
    if clients::left_out() {
        return;
    }
    let upstream = Upstream::start(azure);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(&file, prices()).unwrap();
    let own = ", kind: azure, api_key: sk-azure";
    let tollgate = Setup::channels(&[
        (
            "classic",
            &origin(&upstream),
            &format!("{own}, api_version: 2024-10-21"),
        ),
        ("next", &origin(&upstream), own),
    ])
    .setting(&format!("prices: {{files: ['{}']}}", file.display()))
    .start();
    let bases = ["classic", "next"].map(|name| (name, base(&tollgate, name) + "/v1"));
    let calls = [calls("classic", 0), calls("next", 5)].concat();
    let mut count = 0;
    for (sdk, seen) in [
        ("python", clients::python(&bases, &calls)),
        ("javascript", clients::javascript(&bases, &calls)),
    ] {
        for (n, seen) in seen {
            assert_eq!(seen["status"], 200, "{sdk} {n}: {seen}");
        }
        count += calls.len();
    }
    for row in tollgate.ledger().exactly(count) {
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(row.text("requested_model"), Some(MODEL), "{row:#?}");
        assert_eq!(row.text("served_model"), Some(SERVED_MODEL), "{row:#?}");
        assert_eq!(row.text("usage_source"), Some("reported"), "{row:#?}");
        // A thousand dollars a million tokens, and more than one token.
        assert!(row.int("cost_nanousd") > Some(1_000_000), "{row:#?}");
    }
    let classic = upstream
        .received()
        .into_iter()
        .map(|request| request.target);
    let classic: std::collections::BTreeSet<_> =
        classic.filter(|target| target.contains('?')).collect();
    assert_eq!(
        classic.into_iter().collect::<Vec<_>>(),
        [
            "/openai/deployments/gpt-5-mini/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt-5-mini/completions?api-version=2024-10-21",
            "/openai/deployments/gpt-5-mini/embeddings?api-version=2024-10-21",
            "/openai/responses?api-version=2024-10-21",
        ]
    );
}

#[test]
fn azures_client_reaches_azure_and_openai() {
    if clients::left_out() {
        return;
    }
    let resource = Upstream::start(azure);
    let openai = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[
        (
            "azure",
            &origin(&resource),
            ", kind: azure, api_key: sk-azure",
        ),
        ("openai", &openai.base_url(), ", api_key: sk-openai"),
    ])
    .start();
    let bases = ["azure", "openai"].map(|name| (name, base(&tollgate, name)));
    let call = |n: usize, channel: &'static str, stream: bool| Call {
        n,
        stream,
        channel,
        api: "azure",
        ..calls(channel, 0).remove(0)
    };
    let calls = [
        call(0, "azure", false),
        call(1, "azure", true),
        call(2, "openai", false),
        call(3, "openai", true),
    ];
    let seen = clients::providers(&bases, &calls);
    for (n, seen) in seen {
        assert!(seen["error"].is_null(), "{n}: {seen}");
        assert_eq!(seen["answer"]["model"], SERVED_MODEL, "{n}: {seen}");
    }
    for request in openai.received() {
        assert_eq!(request.target, "/v1/chat/completions");
        assert_eq!(
            request.headers.get("authorization"),
            Some("Bearer sk-openai")
        );
        assert_eq!(request.headers.get("api-key"), None);
        assert_eq!(request.json()["model"], MODEL);
    }
    for row in tollgate.ledger().exactly(calls.len()) {
        assert_eq!(row.text("requested_model"), Some(MODEL), "{row:#?}");
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
    }
}

#[test]
fn openais_clients_reach_what_others_have_of_its_apis() {
    if clients::left_out() {
        return;
    }
    for (kind, target) in [
        ("gemini", "/v1beta/openai/chat/completions"),
        ("anthropic", "/v1/chat/completions"),
    ] {
        let upstream = Upstream::start(move |request| {
            let authorized = request.headers.get("authorization") == Some("Bearer sk-own")
                && request.headers.get("x-api-key").is_none()
                && request.headers.get("x-goog-api-key").is_none();
            let known = request.target == target && authorized;
            answer(known.then_some("chat/completions"), request)
        });
        let more = format!(", kind: {kind}, api_key: sk-own");
        let tollgate = Setup::channels(&[("other", &origin(&upstream), &more)]).start();
        let calls = &calls("other", 0)[..2];
        let seen = clients::python(&[("other", tollgate.base_url())], calls);
        for seen in seen.values() {
            assert_eq!(seen["status"], 200, "{kind}: {seen}");
        }
        for row in tollgate.ledger().exactly(calls.len()) {
            assert_eq!(row.text("api"), Some("chat"), "{row:#?}");
            assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
        }
    }
}

#[test]
fn a_session_reaches_classic_azures_deployment() {
    let upstream = SocketUpstream::start(&[], vec![Turn::Close]);
    let base_url = upstream.base_url().replace("/v1", "");
    let more = ", kind: azure, api_key: sk-azure, api_version: 2025-04-01-preview";
    let tollgate = Setup::channels(&[("azure", &base_url, more)]).start();
    let target = "/v1/realtime?model=gpt-realtime";
    let socket = Socket::open(tollgate.address(), target, &[]);
    let id = socket.request_id();
    socket.finish();
    let handshake = upstream.handshake();
    assert_eq!(
        handshake.start,
        "GET /openai/realtime?deployment=gpt-realtime&api-version=2025-04-01-preview HTTP/1.1"
    );
    assert_eq!(handshake.headers.get("api-key"), Some("sk-azure"));
    let row = tollgate.ledger().request(&id);
    assert_eq!(row.text("requested_model"), Some("gpt-realtime"));
}

#[test]
fn a_model_cannot_lead_a_request_out_of_its_place() {
    let upstream = Upstream::start(answers::provider);
    let more = ", kind: azure, api_key: sk-azure, api_version: 2024-10-21";
    let tollgate = Setup::channels(&[("azure", &origin(&upstream), more)]).start();
    for (model, path) in [
        ("../../admin", "/openai/chat/completions"),
        ("..", "/openai/chat/completions"),
        (
            "a?b=/c#d",
            "/openai/deployments/a%3Fb%3D%2Fc%23d/chat/completions",
        ),
    ] {
        let body = json!({"model": model, "messages": []});
        tollgate.send(&Request::json("/v1/chat/completions", &body));
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.target, format!("{path}?api-version=2024-10-21"));
    }
}
