//! Gates under any sequence of changes, and under real threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// What somebody does to a channel.
#[derive(Clone, Debug)]
enum Step {
    /// For so many seconds; whether one request is to go first afterwards.
    Close(Owner, Option<u64>, bool),
    Reopen(Owner),
    /// So many seconds pass.
    Wait(u64),
    /// A request comes, and ends so; `None` says nothing.
    Request(Option<bool>),
    /// The process is started anew.
    Restart,
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::Operator),
        Just(Owner::Alert(Arc::from("spend"))),
        Just(Owner::Alert(Arc::from("errors"))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (owner(), proptest::option::of(0_u64..20), any::<bool>())
            .prop_map(|(owner, lasts, probes)| Step::Close(owner, lasts, probes)),
        2 => owner().prop_map(Step::Reopen),
        2 => (0_u64..30).prop_map(Step::Wait),
        6 => proptest::option::of(any::<bool>()).prop_map(Step::Request),
        1 => Just(Step::Restart),
    ]
}

/// What a gate should be, in the simplest words.
#[derive(Debug, Default)]
struct Model {
    holds: BTreeMap<Owner, Option<UnixMicros>>,
    /// When the breaker lets the next request through.
    broken: Option<UnixMicros>,
}

impl Model {
    fn expire(&mut self, now: UnixMicros) {
        self.holds
            .retain(|_, until| until.is_none_or(|end| now < end));
    }

    fn state(&self) -> GateState {
        if self.holds.is_empty() && self.broken.is_none() {
            GateState::Open
        } else {
            GateState::Closed
        }
    }
}

fn one_failure() -> Pool {
    pool(named(&["a"]), |settings| {
        settings.breaker.failures = 1;
        settings.breaker.of = 1;
        settings.breaker.allow_last = true;
    })
}

/// The gate's holds without what a restart may forget: when they began.
fn lasting(pool: &Registry, now: UnixMicros) -> Vec<(GateState, Closing)> {
    let status = pool.gate_status("a", now).unwrap();
    let mut holds: Vec<_> = status
        .holds
        .into_iter()
        .map(|hold| (hold.state, hold.closing))
        .collect();
    holds.sort_by(|a, b| a.1.owner.cmp(&b.1.owner));
    holds
}

proptest! {
    #[test]
    fn a_gate_is_open_exactly_while_nobody_holds_it(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pool = one_failure();
        let mut last_events = BTreeMap::new();
        let mut told = GateState::Open;
        let mut model = Model::default();
        let mut now = START;
        for step in steps {
            model.expire(now);
            match step {
                Step::Close(owner, lasts, probes) => {
                    let until = lasts.map(|seconds| now.plus(Duration::from_secs(seconds)));
                    let closing = Closing { owner: owner.clone(), ..by_operator(until) };
                    pool.close("a", closing, now).unwrap();
                    model.holds.insert(owner.clone(), until);
                    model.expire(now);
                    if probes {
                        pool.probe_after("a", &owner, now).unwrap();
                        if model.holds.contains_key(&owner) {
                            model.broken.get_or_insert(now);
                        }
                    }
                }
                Step::Reopen(by) => {
                    pool.reopen("a", &by, None, None, now).unwrap();
                    model.holds.remove(&by);
                    if by == Owner::Operator {
                        model = Model::default();
                    }
                }
                Step::Wait(seconds) => now = now.plus(Duration::from_secs(seconds)),
                Step::Request(ending) => {
                    let place = pool.placing(&CHAT).unwrap().take(now);
                    let due = model.broken.is_none_or(|due| due <= now);
                    prop_assert_eq!(place.is_ok(), model.holds.is_empty() && due, "{:?}", place);
                    if let (Ok(mut place), Some(works)) = (place, ending) {
                        let probes = model.broken.is_some();
                        prop_assert_eq!(place.is_probe(), probes);
                        place.begin(now);
                        place.end(&if works { well() } else { broken() }, now);
                        let next = pool.gate_status("a", now).unwrap().next_probe;
                        prop_assert_eq!(next.is_some(), !works);
                        model.broken = next;
                    }
                }
                Step::Restart => {
                    let before = lasting(&pool, now);
                    let events: Vec<_> = last_events.values().cloned().collect();
                    pool = one_failure();
                    pool.restore(&events, now);
                    prop_assert_eq!(lasting(&pool, now), before);
                }
            }
            model.expire(now);
            prop_assert_eq!(pool.gate_status("a", now).unwrap().state, model.state());
            for event in pool.witness.0.lock().unwrap().drain(..) {
                told = event.state;
                last_events.insert(event.owner.clone(), event);
            }
            // Whoever only hears of the changes knows the gate.
            prop_assert_eq!(told, model.state());
            let held = last_events.values().any(|event| event.hold != GateState::Open);
            prop_assert_eq!(held, model.state() != GateState::Open);
        }
    }
}

#[test]
fn no_request_that_comes_after_a_closing_returned_passes() {
    const ROUNDS: u64 = 200;
    const MOST_ROUNDS: u64 = 1_000_000;
    let pool = pool(named(&["a"]), |_| {});
    // Odd while the channel is closed for certain.
    let period = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let (passed, judged) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let before = period.load(Ordering::SeqCst);
                    let place = pool.placing(&CHAT).unwrap().take(START);
                    let after = period.load(Ordering::SeqCst);
                    let closed = before == after && before % 2 == 1;
                    assert!(!(closed && place.is_ok()), "it passed a closed gate");
                    passed.fetch_add(u64::from(place.is_ok()), Ordering::Relaxed);
                    judged.fetch_add(u64::from(closed), Ordering::Relaxed);
                }
            });
        }
        let seen = |count: &AtomicU64| count.load(Ordering::Relaxed) > 0;
        for round in 0..MOST_ROUNDS {
            // On a busy machine the other threads may come late: until they saw both.
            if round >= ROUNDS && seen(&passed) && seen(&judged) {
                break;
            }
            pool.close("a", by_operator(None), START).unwrap();
            period.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            period.fetch_add(1, Ordering::SeqCst);
            pool.reopen("a", &Owner::Operator, None, None, START)
                .unwrap();
        }
        over.store(true, Ordering::SeqCst);
    });
    let (passed, judged) = (passed.into_inner(), judged.into_inner());
    assert!(passed > 0 && judged > 0, "{passed} passed, {judged} judged");
}

#[test]
fn of_many_at_once_exactly_one_probes() {
    for round in 0..200 {
        let pool = one_failure();
        taken(&pool, &CHAT, START).end(&broken(), START);
        let now = after(5 + round);
        let places: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| pool.placing(&CHAT).unwrap().take(now)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(places.iter().filter(|place| place.is_ok()).count(), 1);
    }
}

#[test]
fn a_hold_that_ends_is_told_once_however_many_see_it() {
    for _ in 0..200 {
        let pool = pool(named(&["a"]), |_| {});
        pool.close("a", by_operator(Some(after(1))), START).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(pool.placing(&CHAT).unwrap().take(after(1)).is_ok()));
            }
        });
        let told = pool.witness.heard();
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
