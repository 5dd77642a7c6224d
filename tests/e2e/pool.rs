//! Several upstreams as one: what clients see of a channel that fails, and what it is spared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::chaos::{Chaos, Trouble};
use crate::support::client::{Connection, Request};
use crate::support::clients::{self, Call, Mock};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Received, Script, Step, Upstream};
use crate::support::{Gate, answers, eventually};

fn chat(model: &str) -> Request {
    let messages = json!([{"role": "user", "content": "plain"}]);
    Request::json(
        "/v1/chat/completions",
        &json!({"model": model, "messages": messages}),
    )
}

fn broken(_: &Received) -> Script {
    Answer::new("500 Internal Server Error")
        .header("content-type", "application/json")
        .body(r#"{"error":{"message":"down","type":"server_error","param":null,"code":null}}"#)
}

/// Two channels, `left` before `right`.
fn two(left: &str, right: &str) -> Setup {
    Setup::channels(&[("left", left, ""), ("right", right, "")])
}

/// The state of a channel's gate, by the metric.
fn is_open(tollgate: &Tollgate, channel: &str) -> bool {
    let metrics = tollgate.metrics();
    let gauges: Vec<_> = metrics
        .matching("tollgate_channel_open", &[("channel", channel)])
        .map(|sample| sample.value)
        .collect();
    assert_eq!(gauges.len(), 1, "{channel}: {gauges:?}");
    gauges[0] > 0.0
}

fn post(tollgate: &Tollgate, target: &str) {
    let answer = tollgate.ask(&Request::new("POST", target).header("content-length", "0"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn one_dead_upstream_of_three_costs_no_client_an_answer() {
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 8;
    const LONG: Duration = Duration::from_secs(3);
    /// Tries after the first second, when the breaker knows.
    const LATER: &str = "started_at > (SELECT min(started_at) FROM attempts) + 1000000";
    let dead = Upstream::start(broken);
    let [b, c] = [(); 2].map(|()| Upstream::start(answers::provider));
    let tollgate = Setup::channels(&[
        ("dead", &dead.base_url(), ""),
        ("b", &b.base_url(), ""),
        ("c", &c.base_url(), ""),
    ])
    .setting("routing: {strategy: round_robin}")
    .start();
    let request = chat("gpt-5-mini").bytes();
    let since = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, request) = (tollgate.address(), request.clone());
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                let (mut failed, mut sent) = (0, 0);
                // So many, and for so long that the breaker's work shows.
                while sent < REQUESTS / CLIENTS || since.elapsed() < LONG {
                    sent += 1;
                    connection.write(&request).unwrap();
                    let (answer, same) = connection.incoming("POST").finish_on();
                    failed += usize::from(answer.status != 200 || !answer.whole);
                    connection = same;
                }
                (failed, sent)
            })
        })
        .collect();
    let ends = clients.into_iter().map(|client| client.join().unwrap());
    let (failed, sent) = ends.fold((0, 0), |(failed, sent), end| (failed + end.0, sent + end.1));
    assert_eq!(failed, 0);

    let ledger = tollgate.ledger();
    let count = |sql: &str| ledger.query(sql)[0].int("count").unwrap();
    eventually("every request is in the ledger", || {
        let rows = count("SELECT count(*) AS count FROM requests WHERE outcome = 'ok'");
        (usize::try_from(rows) == Ok(sent)).then_some(())
    });
    let tries = count("SELECT count(*) AS count FROM attempts");
    let later = |which: &str| {
        let from = "SELECT count(*) AS count FROM attempts WHERE";
        count(&format!("{from} {which} AND {LATER}"))
    };
    let (in_vain, of) = (later("channel = 'dead'"), later("channel <> 'dead'"));
    assert!(of >= 1000, "{of} of {tries} tries after a second");
    assert!(in_vain * 100 < of, "{in_vain} in vain, {of} not");
    assert!(!is_open(&tollgate, "dead"));
    assert!(is_open(&tollgate, "b") && is_open(&tollgate, "c"));
    // Each row is of the channel that answered, and its tries add up.
    assert_eq!(
        count("SELECT count(*) AS count FROM requests WHERE channel = 'dead'"),
        0
    );
    assert_eq!(
        count("SELECT sum(attempts) AS count FROM requests"),
        tries,
        "tries by rows and by attempts"
    );
}

#[test]
fn what_breaks_upstream_the_sdks_never_see() {
    if clients::left_out() {
        return;
    }
    let (bad, good) = (Mock::start(), Mock::start());
    for (number, rates) in [
        json!({"rateLimitRate": 1}),
        json!({"dropRate": 1}),
        json!({"disconnectRate": 1}),
    ]
    .into_iter()
    .enumerate()
    {
        let tollgate =
            Setup::channels(&[("bad", bad.base_url(), ""), ("good", good.base_url(), "")]).start();
        bad.chaos(&rates);
        let calls: Vec<Call> = (0..12)
            .map(|n| Call {
                n,
                channel: "tollgate",
                api: if n % 3 == 0 { "responses" } else { "chat" },
                model: "gpt-5-mini",
                prompt: if n % 3 == 0 {
                    "responses-short"
                } else {
                    "chat-short"
                },
                stream: n % 2 == 0,
                include_usage: None,
                how: "parsed",
            })
            .collect();
        let bases = [("tollgate", tollgate.base_url())];
        let seen = if number % 2 == 0 {
            clients::python_retrying(2, &bases, &calls)
        } else {
            clients::javascript_retrying(2, &bases, &calls)
        };
        for (n, seen) in seen {
            assert_eq!(seen["status"], 200, "{rates} call {n}: {seen}");
            assert_eq!(seen["error"], serde_json::Value::Null, "{rates} call {n}");
        }
        // Its own retries were not needed: a row for each call, and no more.
        let rows = tollgate.ledger().exactly(calls.len());
        for row in &rows {
            assert_eq!(row.outcome(), "ok");
            assert_eq!(row.text("channel"), Some("good"));
            assert_eq!(row.text("usage_source"), Some("reported"));
        }
        let tries = tollgate
            .ledger()
            .query("SELECT outcome, status, error_code FROM attempts WHERE channel = 'bad'");
        assert!(!tries.is_empty(), "{rates}");
        for row in &tries {
            let expected = match number {
                0 => ("rate_limited", Some(429), Some("chaos_ratelimit")),
                1 => ("upstream_error", Some(500), None),
                _ => ("upstream_error", None, None),
            };
            assert_eq!(row.outcome(), expected.0, "{rates}: {row:?}");
            assert_eq!(row.int("status"), expected.1, "{rates}: {row:?}");
            if expected.2.is_some() {
                assert_eq!(row.text("error_code"), expected.2, "{rates}: {row:?}");
            }
        }
        bad.chaos(&json!({}));
    }
}

#[test]
fn a_line_that_breaks_is_left_and_found_again() {
    let [left, right] = [(); 2].map(|()| Upstream::start(answers::provider));
    let mut line = Chaos::before(left.address());
    let tollgate = two(&line.base_url(), &right.base_url())
        .setting("limits: {first_byte: 500ms, connect: 2s}")
        .setting("breaker: {failures: 2, of: 4, probe_after: 300ms, probe_at_most: 300ms}")
        .start();
    let channel_of = |tollgate: &Tollgate| {
        let answer = tollgate.send(&chat("gpt-5-mini"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.headers.get("x-tollgate-channel").unwrap().to_owned()
    };
    assert_eq!(channel_of(&tollgate), "left");
    for trouble in [None, Some(Trouble::Reset), Some(Trouble::Silence)] {
        match trouble {
            None => line.unplug(),
            Some(trouble) => line.set(trouble),
        }
        eventually(&format!("{trouble:?}: the breaker opens"), || {
            assert_eq!(channel_of(&tollgate), "right", "{trouble:?}");
            (!is_open(&tollgate, "left")).then_some(())
        });
        let before = line.connections();
        match trouble {
            None => line.plug_in(),
            Some(_) => line.set(Trouble::None),
        }
        eventually(&format!("{trouble:?}: a probe finds it well"), || {
            (channel_of(&tollgate) == "left").then_some(())
        });
        eventually(&format!("{trouble:?}: the gate is open"), || {
            is_open(&tollgate, "left").then_some(())
        });
        assert!(line.connections() > before || trouble.is_none());
    }
    let events = tollgate
        .ledger()
        .query("SELECT hold, owner, reason FROM channel_events WHERE channel = 'left' ORDER BY at");
    let closings = events.iter().filter(|event| {
        event.text("hold") == Some("closed") && event.text("reason") == Some("failures")
    });
    assert!(closings.count() >= 3, "{events:#?}");
    assert!(
        events
            .iter()
            .all(|event| event.text("owner") == Some("breaker"))
    );
}

#[test]
fn an_answer_that_began_is_never_begun_again() {
    let [left, right] = [(); 2].map(|()| Upstream::start(answers::provider));
    let line = Chaos::before(left.address());
    let tollgate = two(&line.base_url(), &right.base_url()).start();
    line.set(Trouble::CutAfter(200));
    let answer = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(answer.status, 200);
    assert!(!answer.whole);
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "upstream_error");
    assert_eq!(row.text("channel"), Some("left"));
    assert_eq!(row.int("attempts"), Some(1));
    assert_eq!(right.received().len(), 0);
}

#[test]
fn slow_answers_close_a_channel_where_that_is_configured() {
    let [left, right] = [(); 2].map(|()| Upstream::start(answers::provider));
    let line = Chaos::before(left.address());
    let tollgate = two(&line.base_url(), &right.base_url())
        .setting("breaker: {failures: 2, of: 2, slow: 20ms, probe_after: 1h, probe_at_most: 1h}")
        .start();
    line.set(Trouble::Late(Duration::from_millis(60)));
    for _ in 0..2 {
        let answer = tollgate.send(&chat("gpt-5-mini"));
        // Late is not lost: the client has its answer from there.
        assert_eq!(answer.headers.get("x-tollgate-channel"), Some("left"));
    }
    eventually("the gate is closed", || {
        (!is_open(&tollgate, "left")).then_some(())
    });
    let answer = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(answer.headers.get("x-tollgate-channel"), Some("right"));
}

/// A channel whose probe streams: what the answer's header says is enough for it.
#[test]
fn a_probe_that_streams_opens_its_channel_at_once() {
    let gate = Gate::default();
    let (held, count) = (gate.clone(), AtomicUsize::new(0));
    let upstream = Upstream::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => broken(request),
        1 => {
            let events = answers::chat_stream(true);
            answers::begin(&events, [Step::Await(held.clone())])
        }
        _ => answers::provider(request),
    });
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), ", api_key: sk-only")])
        .setting(
            "breaker: {failures: 1, of: 1, probe_after: 1ms, probe_at_most: 1ms, allow_last: true}",
        )
        .start();
    assert_eq!(tollgate.send(&chat("m")).status, 500);
    let body = json!({"model": "m", "messages": [], "stream": true});
    let probe = Request::json("/v1/chat/completions", &body);
    let mut probe = eventually("a probe is due", || {
        let answer = probe.start(tollgate.address());
        (answer.status() == 200).then_some(answer)
    });
    probe.read_until(&mut Vec::new(), "Hello");
    assert!(is_open(&tollgate, "only"));
    assert_eq!(tollgate.send(&chat("m")).status, 200);
    gate.open();
}

#[test]
fn a_closed_gate_is_obeyed_by_every_request_admitted_after_the_call_returned() {
    const ROUNDS: usize = 40;
    const CLIENTS: usize = 4;
    /// The header in which a request says in which phase it was sent.
    const PHASE: &str = "x-phase";
    let strays = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&strays);
    // Odd phases begin after the closing returned and end before the opening is asked for.
    let left = Upstream::start(move |received| {
        let phase: usize = received.headers.get(PHASE).unwrap().parse().unwrap();
        seen.fetch_add(phase % 2, Ordering::SeqCst);
        answers::provider(received)
    });
    let right = Upstream::start(answers::provider);
    let tollgate = two(&left.base_url(), &right.base_url()).start();
    let (phase, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let sent = Arc::new(AtomicUsize::new(0));
    // The phase of each client's request on its way; 0 for none.
    let on_their_way: Arc<[AtomicUsize; CLIENTS]> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (phase, over, sent) = (Arc::clone(&phase), Arc::clone(&over), Arc::clone(&sent));
            let on_their_way = Arc::clone(&on_their_way);
            let address = tollgate.address();
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                while !over.load(Ordering::SeqCst) {
                    let now = loop {
                        let now = phase.load(Ordering::SeqCst);
                        on_their_way[client].store(now, Ordering::SeqCst);
                        // Told before it changed: whoever ends the phase waits for it.
                        if phase.load(Ordering::SeqCst) == now {
                            break now;
                        }
                    };
                    let request = chat("gpt-5-mini").header(PHASE, &now.to_string());
                    connection.write(&request.bytes()).unwrap();
                    let (answer, same) = connection.incoming("POST").finish_on();
                    assert_eq!(answer.status, 200);
                    connection = same;
                    on_their_way[client].store(0, Ordering::SeqCst);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let some_pass = || {
        let before = sent.load(Ordering::SeqCst);
        eventually("requests pass", || {
            (sent.load(Ordering::SeqCst) > before + 8).then_some(())
        });
    };
    for round in 0..ROUNDS {
        post(&tollgate, "/api/v1/channels/left/disable?reason=race");
        phase.store(2 * round + 1, Ordering::SeqCst);
        some_pass();
        phase.store(2 * round + 2, Ordering::SeqCst);
        eventually("every request of the closed phase has its answer", || {
            let odd = |on_its_way: &AtomicUsize| on_its_way.load(Ordering::SeqCst) % 2 == 1;
            (!on_their_way.iter().any(odd)).then_some(())
        });
        post(&tollgate, "/api/v1/channels/left/enable");
        some_pass();
    }
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(strays.load(Ordering::SeqCst), 0);
    assert!(left.received().len() > ROUNDS, "it was open in between");
}

#[test]
fn a_disabled_channel_drains_and_stays_disabled_over_a_restart() {
    let upstream = Upstream::start(answers::provider);
    let gate = crate::support::Gate::default();
    let held = gate.clone();
    let slow = Upstream::start(move |received| {
        let mut script = vec![crate::support::upstream::Step::Await(held.clone())];
        script.extend(answers::provider(received));
        script
    });
    let mut tollgate = Setup::channels(&[
        ("slow", &slow.base_url(), ""),
        ("other", &upstream.base_url(), ""),
    ])
    .start();
    let address = tollgate.address();
    let running = thread::spawn(move || chat("gpt-5-mini").send(address));
    slow.until("it is on its way", |received| received.len() == 1);
    let output = tollgate.run(&[
        "channels",
        "disable",
        "slow",
        "--for",
        "1h",
        "--reason",
        "too expensive",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let next = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(next.headers.get("x-tollgate-channel"), Some("other"));
    gate.open();
    let drained = running.join().unwrap();
    assert_eq!(drained.status, 200);
    assert_eq!(drained.headers.get("x-tollgate-channel"), Some("slow"));
    // Named outright it is closed as well.
    let named = tollgate.send(&chat("gpt-5-mini").header("x-tollgate-channel", "slow"));
    assert_eq!(named.status, 503);
    assert_eq!(named.headers.get("x-tollgate-error"), Some("no_channel"));
    let wait: u64 = named.headers.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");

    tollgate.kill();
    tollgate.start_again();
    assert!(!is_open(&tollgate, "slow"));
    let state = tollgate.admin("/api/v1/channels/slow").json();
    assert_eq!(state["state"], "closed", "{state}");
    assert_eq!(state["holds"][0]["owner"], "operator", "{state}");
    assert_eq!(state["holds"][0]["note"], "too expensive", "{state}");
    let next = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(next.headers.get("x-tollgate-channel"), Some("other"));
    let output = tollgate.run(&["channels", "enable", "slow"]);
    assert!(output.status.success());
    let next = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(next.headers.get("x-tollgate-channel"), Some("slow"));
}
