//! kill -9 at any point of a delivery: nothing is lost, and only what was on its way is told twice.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::{answering, setup, told};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::upstream::{Answer, Upstream};

const KILLS: usize = 100;
/// Alerts, each a group of its own, that a life begins with.
const EACH: usize = 3;

/// A delivery: which alert, in which life of the process.
type Delivered = (String, usize);

#[test]
fn after_a_hundred_kills_each_is_told_and_twice_only_what_was_on_its_way() {
    let upstream = answering();
    let life = Arc::new(AtomicUsize::new(0));
    let delivered: Arc<Mutex<Vec<Delivered>>> = Arc::default();
    let hook = {
        let (life, delivered) = (Arc::clone(&life), Arc::clone(&delivered));
        Upstream::start(move |request| {
            let body = request.json();
            assert_eq!(body["alerts"].as_array().unwrap().len(), 1, "{body:#}");
            let run = body["alerts"][0]["labels"]["tag_run"].as_str().unwrap();
            let now = life.load(Ordering::SeqCst);
            delivered.lock().unwrap().push((run.to_owned(), now));
            Answer::new("200 OK").body("")
        })
    };
    let rule = "alert: Each, metric: requests, window: 30d, by: ['tag:run'], warning: 1 requests, \
                max_series: 5000, mode: notify";
    let mut tollgate = setup(&upstream, &["a"], &[rule])
        .setting(&format!(
            "receivers: [{{name: hook, webhook: {{url: 'http://{}/'}}}}]",
            hook.address()
        ))
        .setting("routes: {group_by: ['tag:run'], group_wait: 0s, group_interval: 1h, repeat_interval: 4h}")
        .start();
    for kill in 0..KILLS {
        for number in 0..EACH {
            let messages = json!([{"role": "user", "content": "plain"}]);
            let body = json!({"model": "gpt-5-mini", "messages": messages});
            let request = Request::json("/v1/chat/completions", &body)
                .header("x-tollgate-tags", &format!("run=r{kill}-{number}"));
            assert_eq!(tollgate.send(&request).status, 200);
        }
        // At any point: before it is decided, kept, sent, answered, or settled.
        let pause = RandomState::new().hash_one(kill) % 60;
        sleep(Duration::from_millis(pause));
        tollgate.kill();
        life.store(kill + 1, Ordering::SeqCst);
        tollgate.start_again();
    }
    let count = KILLS * EACH;
    eventually("everything is told", || {
        let known: std::collections::BTreeSet<_> = {
            let delivered = delivered.lock().unwrap();
            delivered.iter().map(|(run, _)| run.clone()).collect()
        };
        let open = told(&tollgate);
        let open = open.iter().any(|known| known["result"] == "open");
        (known.len() == count && !open).then_some(())
    });
    let delivered = delivered.lock().unwrap();
    // One at a time is on its way: what is told again was the last thing that a life told.
    let mut last_of: BTreeMap<usize, &str> = BTreeMap::new();
    for (run, life) in delivered.iter() {
        last_of.insert(*life, run);
    }
    let mut lives: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (run, life) in delivered.iter() {
        lives.entry(run).or_default().push(*life);
    }
    for (run, lives) in &lives {
        for life in &lives[..lives.len() - 1] {
            assert_eq!(last_of[life], *run, "told in the lives {lives:?}");
        }
        let mut once = lives.clone();
        once.dedup();
        assert_eq!(once, *lives, "twice in one life: {run}");
    }
    let twice = lives.values().filter(|lives| lives.len() > 1).count();
    println!("{count} notifications, {KILLS} kills, {twice} told twice");
}
