//! Ending it, and handing over to a successor.

use std::net::{SocketAddr, TcpStream};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Incoming, Request};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, eventually};

fn chat() -> Request {
    let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
    Request::json("/v1/chat/completions", &body)
}

/// An upstream whose streams wait for the gate after their first content.
fn gated(gate: &Gate) -> Upstream {
    let events = answers::chat_stream(true);
    let mut script = answers::begin(&events, [Step::Await(gate.clone())]);
    script.extend(events[4..].iter().map(|event| chunk(event.as_bytes())));
    script.push(last_chunk());
    Upstream::always(script)
}

/// A stream that has begun.
fn under_way(tollgate: &Tollgate) -> (Incoming, Vec<u8>) {
    let mut incoming = chat().start(tollgate.address());
    let mut seen = Vec::new();
    incoming.read_until(&mut seen, "Hello");
    (incoming, seen)
}

/// Waits until new connections are refused.
fn refuses(address: SocketAddr) {
    eventually("new connections are refused", || {
        TcpStream::connect(address).is_err().then_some(())
    });
}

fn assert_orderly(status: ExitStatus, tollgate: &Tollgate) {
    assert!(status.success(), "{status}:\n{}", tollgate.log());
}

#[test]
fn told_to_stop_it_lets_streams_end_and_takes_no_new_ones() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let (incoming, mut seen) = under_way(&tollgate);
    // A connection that is open and idle does not hold it up.
    let _idle = TcpStream::connect(tollgate.address()).unwrap();
    tollgate.signal(Signal::TERM);
    refuses(tollgate.address());
    gate.open();
    let response = incoming.finish();
    seen.extend(&response.body);
    assert!(response.whole);
    let expected = answers::chat_stream(false).concat();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);
    assert_orderly(tollgate.ended(), &tollgate);
    // Nothing is left in the journal: what is in the ledger now is all there will be.
    let rows = tollgate.ledger().requests();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0].outcome(), "ok", "{rows:#?}");
    assert_eq!(rows[0].tokens(), answers::CHAT_TOKENS, "{rows:#?}");
}

#[test]
fn a_second_signal_hurries() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let mut tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {grace: 1h}")
        .start();
    let (incoming, _) = under_way(&tollgate);
    tollgate.signal(Signal::TERM);
    refuses(tollgate.address());
    tollgate.signal(Signal::TERM);
    tollgate.ended();
    assert!(!incoming.finish().whole);
    // What was under way is found at the next start, if it was not written before.
    tollgate.start_again();
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "interrupted", "{row:#?}");
    gate.open();
}

#[test]
fn what_outlasts_the_grace_period_is_interrupted() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let mut tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {grace: 300ms}")
        .start();
    let (incoming, _) = under_way(&tollgate);
    tollgate.stop();
    assert!(!incoming.finish().whole);
    tollgate.start_again();
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "interrupted", "{row:#?}");
    gate.open();
}

#[test]
fn an_interrupt_from_the_terminal_stops_it_too() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    assert!(chat().send(tollgate.address()).whole);
    tollgate.signal(Signal::INT);
    assert_orderly(tollgate.ended(), &tollgate);
    assert_eq!(tollgate.ledger().requests().len(), 1);
}

#[test]
fn a_successor_takes_over_and_no_connection_is_refused() {
    let gate = Gate::default();
    let held = gated(&gate);
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Setup::channels(&[
        ("held", &held.base_url(), ""),
        ("plain", &upstream.base_url(), ""),
    ])
    .start();
    let plain = chat().header("x-tollgate-channel", "plain");
    let (incoming, mut seen) = under_way(&tollgate);
    let address = tollgate.address();
    let (stop, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let response = plain.send(address);
                assert!(response.status == 200 && response.whole, "{response:?}");
                ended.fetch_add(1, Ordering::SeqCst);
            }
        });
        let some_more = || {
            let before = ended.load(Ordering::SeqCst);
            eventually("requests go on", || {
                (ended.load(Ordering::SeqCst) > before + 20).then_some(())
            });
        };
        some_more();
        let successor = tollgate.successor(&["--upgrade"]);
        tollgate.signal(Signal::QUIT);
        some_more();
        gate.open();
        let status = tollgate.ended();
        some_more();
        tollgate.replace(successor);
        stop.store(true, Ordering::SeqCst);
        assert_orderly(status, &tollgate);
    });
    let response = incoming.finish();
    seen.extend(&response.body);
    let expected = answers::chat_stream(false).concat();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);
    assert_orderly(tollgate.stop(), &tollgate);
    let rows = tollgate.ledger().requests();
    assert_eq!(rows.len(), ended.into_inner() + 1);
    assert!(rows.iter().all(|row| row.outcome() == "ok"), "{rows:#?}");
}

#[test]
fn a_connection_that_is_kept_open_is_told_of_the_end() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let mut connection = Connection::open(tollgate.address());
    gate.open();
    connection.write(&chat().bytes()).unwrap();
    let (response, mut connection) = connection.incoming("POST").finish_on();
    assert!(response.whole);
    tollgate.signal(Signal::TERM);
    assert_eq!(connection.first(), None);
    assert_orderly(tollgate.ended(), &tollgate);
}
