//! Tries that fail in ways of their own: what the next one is, and what the ledger says of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{DEAD, attempts, chat, ok, two};
use crate::support::client::Request;
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, answers, eventually};

/// An answer with an error is an answer: there is nothing to bill.
#[test]
fn an_error_that_was_answered_costs_nothing() {
    let first = Upstream::always(answers::error("500 Broken", "server_error", "a"));
    let tollgate = two(&first.base_url(), DEAD).start();
    let response = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(response.status, 502, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "connect_error");
    assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
}

/// A channel that had the request and said nothing may bill it.
#[test]
fn a_silence_may_have_cost_something() {
    let first = Upstream::always(vec![Step::Reset]);
    let tollgate = two(&first.base_url(), DEAD).start();
    let response = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(response.status, 502, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
}

const POOLED: usize = 12;

/// Answers so many requests, all at a time, each on a connection of its own. From then on these
/// connections break off at the next request, and new ones too unless they are `well`.
fn stale(well: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || serve(socket, &count, well));
        }
    });
    (address, asked)
}

fn serve(mut socket: TcpStream, asked: &AtomicUsize, well: bool) {
    for turn in 0.. {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while !seen.ends_with(b"}") {
            match socket.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => seen.extend_from_slice(&buffer[..length]),
            }
        }
        let number = asked.fetch_add(1, Ordering::SeqCst);
        if number >= POOLED && (turn > 0 || !well) {
            return;
        }
        while asked.load(Ordering::SeqCst) < POOLED {
            std::thread::yield_now();
        }
        let body = answers::chat();
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let _ = write!(socket, "{head}: {length}\r\n\r\n{body}");
    }
}

/// However many connections went stale in the pool, a request goes to a channel twice at most: the
/// second time over a new one.
#[test]
fn a_stale_connection_is_made_good_once() {
    for well in [true, false] {
        let (address, asked) = stale(well);
        let good = Upstream::always(ok());
        let tollgate = two(&format!("http://{address}/v1"), &good.base_url()).start();
        let to = tollgate.address();
        let clients: Vec<_> = (0..POOLED)
            .map(|_| std::thread::spawn(move || chat("m").send(to).status))
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 200);
        }
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(asked.load(Ordering::SeqCst), POOLED + 2);
        let others = usize::from(!well);
        assert_eq!(attempts(&tollgate, &response).len(), 2 + others);
        assert_eq!(good.received().len(), others);
    }
}

/// What a killed process leaves is a row of the channel that had the request.
#[test]
fn a_request_killed_at_the_second_channel_is_of_the_second() {
    let first = Upstream::always(answers::error("500 Broken", "server_error", "a"));
    let second = Upstream::always(vec![Step::Hang]);
    let mut tollgate = two(&first.base_url(), &second.base_url()).start();
    let mut client = TcpStream::connect(tollgate.address()).unwrap();
    client.write_all(&chat("m").bytes()).unwrap();
    second.until("it is there", |received| received.len() == 1);
    tollgate.kill();
    tollgate.start_again();
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "interrupted");
    assert_eq!(row.text("channel"), Some("second"));
}

/// A request whose own time is over before there is a connection says nothing of the channel.
#[test]
fn a_connection_that_the_request_has_no_time_for_is_no_failure_of_the_channel() {
    // It takes connections, and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}/v1", listener.local_addr().unwrap());
    let tollgate = Setup::channels(&[("tls", &base, ", api_key: k")])
        .setting("limits: {total: 200ms}")
        .setting("breaker: {failures: 1, of: 1, probe_after: 1h, probe_at_most: 1h}")
        .start();
    for _ in 0..2 {
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.status, 504, "{response:?}");
        let error = response.headers.get("x-tollgate-error");
        assert_eq!(error, Some("total_timeout"));
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "timeout");
        assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
    }
    let state = tollgate.admin("/api/v1/channels/tls").json();
    assert_eq!(state["state"], "open", "{state}");
}

/// Once a channel is disabled nothing goes there, also not what had been promised a place.
#[test]
fn a_place_taken_before_a_closing_is_not_used_after_it() {
    let body = r#"{"error":{"message":"m","type":"t","code":"slow_down"}}"#;
    for others in [false, true] {
        let gate = Gate::default();
        let mut script = Answer::new("429 Slow")
            .header("content-type", "application/json")
            .open_chunked();
        script.extend([
            chunk(&body.as_bytes()[..20]),
            Step::Await(gate.clone()),
            chunk(&body.as_bytes()[20..]),
            last_chunk(),
        ]);
        let (first, second) = (Upstream::always(script), Upstream::always(ok()));
        let third = Upstream::always(ok());
        let mut channels = vec![
            ("first", first.base_url(), ", api_key: k"),
            (
                "second",
                second.base_url(),
                ", api_key: k, max_in_flight: 1",
            ),
        ];
        if others {
            channels.push(("third", third.base_url(), ", api_key: k"));
        }
        let channels: Vec<_> = channels
            .iter()
            .map(|(name, url, more)| (*name, &**url, *more))
            .collect();
        let tollgate = Setup::channels(&channels).start();
        let to = tollgate.address();
        let request = std::thread::spawn(move || chat("m").send(to));
        eventually("a place at the second is taken", || {
            let state = tollgate.admin("/api/v1/channels/second").json();
            (state["in_flight"] == 1).then_some(())
        });
        let disable = "/api/v1/channels/second/disable?reason=x";
        let disable = Request::new("POST", disable).header("content-length", "0");
        assert_eq!(tollgate.ask(&disable).status, 200);
        gate.open();
        let response = request.join().unwrap();
        assert_eq!(second.received().len(), 0);
        if others {
            assert_eq!(response.status, 200);
        } else {
            assert_eq!((response.status, &*response.text()), (429, body));
        }
    }
}

/// A client's credential goes to the host that it was sent to first, and to no other.
#[test]
fn a_clients_credential_is_not_handed_on() {
    let first = Upstream::always(answers::error("500 Broken", "server_error", "a"));
    let second = Upstream::always(ok());
    let elsewhere = second.base_url().replace("127.0.0.1", "localhost");
    let same = second.base_url();
    let showing = |credential: &str| {
        let request = Request::new("POST", super::CHAT).header("content-type", "application/json");
        let request = match credential {
            "" => request,
            shown => request.header("authorization", &format!("Bearer {shown}")),
        };
        request.body(r#"{"model":"m","messages":[]}"#)
    };
    // Whether the first and the second have one of their own, where the second is, and whether a
    // request goes on that shows one.
    for (credentials, base, goes_on) in [
        (["", ""], &elsewhere, false),
        ([", api_key: k", ""], &elsewhere, false),
        (["", ", api_key: k"], &elsewhere, true),
        (["", ", headers: {authorization: k}"], &elsewhere, true),
        (["", ""], &same, true),
    ] {
        let tollgate = Setup::channels(&[
            ("first", &first.base_url(), credentials[0]),
            ("second", base, credentials[1]),
        ])
        .setting("breaker: {failures: 1000, of: 1000}")
        .start();
        let before = second.received().len();
        let response = tollgate.send(&showing("sk-client"));
        let status = if goes_on { 200 } else { 500 };
        assert_eq!(response.status, status, "{credentials:?} {base}");
        assert_eq!(second.received().len() - before, usize::from(goes_on));
        // Who shows none has nothing to lose.
        assert_eq!(tollgate.send(&showing("")).status, 200);
        // A key of Tollgate's own never goes anywhere.
        let guarded = Setup::channels(&[
            ("first", &first.base_url(), credentials[0]),
            ("second", base, credentials[1]),
        ])
        .setting("keys: [{name: team, key: not-a-real-secret}]")
        .start();
        let response = guarded.send(&showing("not-a-real-secret"));
        assert_eq!(response.status, 200);
    }
}

/// Where only the path names the model, channels that read it from the body cannot help.
#[test]
fn a_model_that_only_azures_path_names_stays_with_azure() {
    let first = Upstream::always(answers::error("503 Down", "server_error", "a"));
    let (second, third) = (Upstream::always(ok()), Upstream::always(ok()));
    let azure = ", kind: azure, api_key: k, api_version: '2024-10-21'";
    let host = |upstream: &Upstream| format!("http://{}", upstream.address());
    let setup = |third: &str| {
        Setup::channels(&[
            ("first", &host(&first), azure),
            ("openai", &second.base_url(), ", api_key: k"),
            ("third", third, azure),
        ])
        .setting("breaker: {failures: 1000, of: 1000}")
        .start()
    };
    let path = "/openai/deployments/gpt-5-mini/chat/completions?api-version=2024-10-21";
    let unnamed = Request::json(path, &json!({"messages": []}));
    let named = Request::json(path, &json!({"model": "gpt-5-mini", "messages": []}));
    let (with, without) = (setup(&host(&third)), setup("http://127.0.0.1:1"));
    assert_eq!(with.send(&unnamed).status, 200);
    assert_eq!(third.received().len(), 1);
    assert_eq!(without.send(&unnamed).status, 502);
    assert_eq!(second.received().len(), 0);
    assert_eq!(with.send(&named).status, 200);
    assert_eq!(second.received().len(), 1);
}
