//! kill -9 in the middle of load, a database that is locked: nothing is lost or counted twice.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::eventually;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Received, Upstream};

const KILLS: usize = 20;

/// Clients that ask without pause, and what they saw end.
#[derive(Default)]
struct Load {
    next: AtomicUsize,
    stop: AtomicBool,
    /// Ids of the requests whose answer a client had whole.
    ended: Mutex<BTreeSet<String>>,
}

impl Load {
    fn ended(&self) -> usize {
        self.ended.lock().unwrap().len()
    }

    /// Asks again and again until told to stop or until Tollgate is gone.
    fn run(&self, to: SocketAddr) {
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            if self.ask(to, n).is_none() {
                return;
            }
        }
    }

    fn ask(&self, to: SocketAddr, n: usize) -> Option<()> {
        let mut connection = Connection::over(Box::new(TcpStream::connect(to).ok()?));
        connection
            .write(&request(n, "plain", n.is_multiple_of(3)).bytes())
            .ok()?;
        let (response, _connection) = connection.try_incoming("POST")?.finish_on();
        if response.whole {
            assert_eq!(response.status, 200, "{response:?}");
            self.ended.lock().unwrap().insert(response.request_id());
        }
        Some(())
    }
}

fn request(n: usize, prompt: &str, stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages, "stream": stream,
        "user": n.to_string()});
    Request::json("/v1/chat/completions", &body)
}

fn end_user(request: &Received) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    body["user"].as_str().map(str::to_owned)
}

#[test]
fn twenty_kills_lose_nothing_and_count_nothing_twice() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let load = Load::default();
    let mut held = BTreeSet::new();
    for _ in 0..KILLS {
        let before = load.ended();
        let to = tollgate.address();
        // One stream that is certainly under way when the kill comes.
        let n = load.next.fetch_add(1, Ordering::SeqCst);
        let mut stream = request(n, "hold", true).start(to);
        stream.read_until(&mut Vec::new(), "Hello");
        held.insert(
            stream
                .headers()
                .get("x-tollgate-request-id")
                .unwrap()
                .to_owned(),
        );
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| load.run(to));
            }
            eventually("some requests have ended", || {
                (load.ended() >= before + 20).then_some(())
            });
            tollgate.kill();
            load.stop.store(true, Ordering::SeqCst);
        });
        load.stop.store(false, Ordering::SeqCst);
        tollgate.start_again();
    }
    assert!(tollgate.stop().success());
    let ledger = tollgate.ledger();
    assert_eq!(ledger.integrity(), "ok");
    let rows = ledger.requests();
    let ids: BTreeSet<_> = rows.iter().filter_map(|row| row.text("id")).collect();
    assert_eq!(ids.len(), rows.len(), "an id has one row");
    let ended = load.ended.into_inner().unwrap();
    for row in &rows {
        let id = row.text("id").unwrap();
        if ended.contains(id) {
            assert_eq!(row.outcome(), "ok", "{row:#?}");
            assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
        } else if held.contains(id) {
            assert_eq!(row.outcome(), "interrupted", "{row:#?}");
            assert_eq!(
                (row.tokens(), row.int("cost_nanousd")),
                (vec![], None),
                "{row:#?}"
            );
        } else {
            // Its answer was on the way to the client, or it was cut off before.
            assert!(["ok", "interrupted"].contains(&row.outcome()), "{row:#?}");
        }
    }
    for id in ended.iter().chain(&held) {
        assert!(
            ids.contains(id.as_str()),
            "request {id} is not in the ledger"
        );
    }
    // Whatever reached the upstream has a row, and one only.
    let users: Vec<_> = rows.iter().filter_map(|row| row.text("end_user")).collect();
    let received = upstream.received();
    for user in received
        .iter()
        .filter(|request| request.complete)
        .filter_map(end_user)
    {
        let count = users.iter().filter(|&&other| other == user).count();
        assert_eq!(count, 1, "request {user} reached the upstream");
    }
    let rolled_up = ledger.query("SELECT SUM(requests) AS requests FROM usage_minutely");
    assert_eq!(
        rolled_up[0].int("requests"),
        Some(i64::try_from(rows.len()).unwrap())
    );
}

#[test]
fn a_locked_database_delays_rows_and_no_request() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&request(0, "plain", false));
    tollgate.ledger().only();
    let path = tollgate.data_dir().join("tollgate.db");
    let locking = rusqlite::Connection::open(path).unwrap();
    locking.busy_timeout(crate::support::PATIENCE).unwrap();
    locking.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 1..=20 {
        assert_eq!(tollgate.send(&request(n, "plain", false)).status, 200);
    }
    assert_eq!(tollgate.ledger().requests().len(), 1, "the lock holds");
    locking.execute_batch("ROLLBACK").unwrap();
    tollgate.ledger().exactly(21);
}

#[test]
fn the_ledger_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&request(0, "plain", false));
    tollgate.ledger().only();
    let mut folders = vec![tollgate.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            assert_eq!(
                metadata.permissions().mode() & 0o077,
                0,
                "{:?}",
                entry.path()
            );
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}
