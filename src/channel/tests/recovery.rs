//! How channels are closed, and opened again.

use super::*;
use crate::config::{Recovery, Strategy};

fn open(pool: &Registry, name: &str, now: UnixMicros) -> GateState {
    pool.gate_status(name, now).unwrap().state
}

/// Sends a request that ends so.
fn send(pool: &Registry, wanted: &Wanted<'_>, sighted: &Sighted<'_>, now: UnixMicros) -> String {
    let mut place = taken(pool, wanted, now);
    place.end(sighted, now);
    place.channel().name.to_string()
}

fn at(name: &str) -> Wanted<'_> {
    Wanted {
        named: Some(name),
        ..CHAT
    }
}

/// Fails often enough to be closed.
fn break_down(pool: &Registry, name: &str, now: UnixMicros) {
    for _ in 0..5 {
        send(pool, &at(name), &broken(), now);
    }
    assert_eq!(open(pool, name, now), GateState::Closed);
}

#[test]
fn a_closed_channel_gets_nothing_until_its_time_is_over() {
    let pool = pool(named(&["a"]), |_| {});
    pool.close("a", by_operator(Some(after(60))), START)
        .unwrap();
    assert_eq!(
        pool.placing(&CHAT).unwrap().take(after(59)).unwrap_err(),
        NoPlace::Closed(Some(Duration::from_secs(1)))
    );
    assert_eq!(tried(&pool, &CHAT, after(60)), ["a"]);
    let told = pool.witness.heard();
    assert_eq!(
        told,
        [
            (
                "operator".to_owned(),
                GateState::Closed,
                GateState::Closed,
                GateReason::Operator
            ),
            (
                "operator".to_owned(),
                GateState::Open,
                GateState::Open,
                GateReason::Expired
            )
        ]
    );
}

#[test]
fn only_its_owner_or_an_operator_opens_a_channel() {
    let pool = pool(named(&["a"]), |_| {});
    let alert = |name: &str| Owner::Alert(Arc::from(name));
    pool.close("a", by_alert("spend", None), START).unwrap();
    pool.close("a", by_alert("errors", Some(after(10))), START)
        .unwrap();
    let reopen = |by: &Owner| pool.reopen("a", by, None, None, START).unwrap().state;
    assert_eq!(reopen(&alert("other")), GateState::Closed);
    assert_eq!(reopen(&Owner::Breaker), GateState::Closed);
    assert_eq!(reopen(&alert("spend")), GateState::Closed);
    assert_eq!(reopen(&alert("errors")), GateState::Open);
    pool.close("a", by_alert("spend", None), START).unwrap();
    pool.close("a", by_operator(None), START).unwrap();
    assert_eq!(reopen(&Owner::Operator), GateState::Open);
    assert_eq!(
        pool.close("b", by_operator(None), START).unwrap_err(),
        NoSuchChannel("b".to_owned())
    );
}

#[test]
fn so_many_failures_of_so_many_close_a_channel_and_the_requests_own_never_do() {
    let pool = pool(named(&["a", "b"]), |_| {});
    let own = answer(400, Some("invalid_prompt"), Outcome::UpstreamError);
    for round in 0..200 {
        // Three of ten.
        let sighted = match round % 10 {
            0 | 3 | 7 => broken(),
            1 | 4 => own,
            _ => well(),
        };
        send(&pool, &CHAT, &sighted, START);
    }
    assert_eq!(open(&pool, "a", START), GateState::Open);
    for _ in 0..100 {
        send(&pool, &CHAT, &own, START);
    }
    assert_eq!(open(&pool, "a", START), GateState::Open);
    // Failures that are longer ago than the window do not count.
    for minute in 1..20 {
        send(&pool, &CHAT, &broken(), after(minute * 61));
        send(&pool, &CHAT, &broken(), after(minute * 61));
    }
    assert_eq!(open(&pool, "a", after(2000)), GateState::Open);
    break_down(&pool, "a", after(3000));
    assert_eq!(send(&pool, &CHAT, &well(), after(3000)), "b");
}

#[test]
fn slow_answers_count_where_that_is_configured() {
    let slow = Sighted {
        wait: Some(Duration::from_secs(3)),
        ..well()
    };
    for (limit, state) in [(Some(2), GateState::Closed), (None, GateState::Open)] {
        let pool = pool(named(&["a"]), |settings| {
            settings.breaker.slow = limit.map(Duration::from_secs);
        });
        for _ in 0..5 {
            let mut place = taken(&pool, &CHAT, START);
            assert_eq!(place.end(&slow, START).effect, Effect::Success);
        }
        assert_eq!(open(&pool, "a", START), state);
    }
}

/// When the next probe may go.
fn next_probe(pool: &Registry, name: &str, now: UnixMicros) -> UnixMicros {
    pool.gate_status(name, now).unwrap().next_probe.unwrap()
}

#[test]
fn a_broken_channel_is_probed_at_growing_intervals_and_recovers() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    let mut now = START;
    for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
        let due = next_probe(&pool, "a", now);
        let pause = due.since(now);
        let longest = Duration::from_secs(expected);
        assert!(pause <= longest && pause >= longest * 4 / 5, "{pause:?}");
        let before = UnixMicros(due.0 - 1);
        assert_eq!(send(&pool, &CHAT, &well(), before), "b");
        assert_eq!(send(&pool, &CHAT, &broken(), due), "a");
        now = due;
    }
    let due = next_probe(&pool, "a", now);
    pool.witness.heard();
    assert_eq!(send(&pool, &CHAT, &well(), due), "a");
    assert_eq!(open(&pool, "a", due), GateState::Open);
    let told: Vec<_> = pool
        .witness
        .heard()
        .into_iter()
        .map(|told| told.3)
        .collect();
    assert_eq!(told, [GateReason::Failures, GateReason::Recovered]);
    // It begins anew, with the first pause.
    break_down(&pool, "a", due);
    assert!(next_probe(&pool, "a", due).since(due) <= Duration::from_secs(5));
}

#[test]
fn one_request_probes_at_a_time_and_says_so() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    let due = next_probe(&pool, "a", START);
    let first = taken(&pool, &CHAT, due);
    assert!(first.is_probe());
    assert_eq!(open(&pool, "a", due), GateState::Probing);
    for _ in 0..10 {
        assert_eq!(send(&pool, &CHAT, &well(), due), "b");
    }
    drop(first);
    assert_eq!(open(&pool, "a", due), GateState::Closed);
    let next = next_probe(&pool, "a", due);
    assert!(taken(&pool, &CHAT, next).is_probe(), "it said nothing");
}

#[test]
fn a_probe_that_finds_out_nothing_is_made_again_after_the_same_pause() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    let mut now = next_probe(&pool, "a", START);
    pool.witness.heard();
    let own = answer(404, None, Outcome::UpstreamError);
    for _ in 0..5 {
        assert_eq!(send(&pool, &CHAT, &own, now), "a");
        assert_eq!(pool.witness.heard().len(), 2);
        for _ in 0..10 {
            assert_eq!(send(&pool, &CHAT, &own, now), "b");
        }
        assert_eq!(pool.witness.heard(), []);
        let pause = next_probe(&pool, "a", now).since(now);
        assert!(pause <= Duration::from_secs(5), "{pause:?}");
        now = now.plus(pause);
    }
}

#[test]
fn a_probe_that_is_not_needed_costs_nothing() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    let due = next_probe(&pool, "a", START);
    pool.witness.heard();
    for _ in 0..10 {
        let place = pool.placing(&CHAT).unwrap().take(due).unwrap();
        assert!(place.is_probe());
        assert_eq!(open(&pool, "a", due), GateState::Closed);
        let mut other = pool.placing(&CHAT).unwrap();
        assert_eq!(&*other.take(due).unwrap().channel().name, "b");
    }
    assert_eq!(pool.witness.heard(), []);
}

#[test]
fn a_probe_whose_answer_begins_well_opens_the_channel_before_its_end() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    let due = next_probe(&pool, "a", START);
    let mut first = taken(&pool, &CHAT, due);
    first.answered(&broken(), due);
    assert_eq!(open(&pool, "a", due), GateState::Probing);
    first.answered(&well(), due);
    assert_eq!(open(&pool, "a", due), GateState::Open);
    // Its end is that of any request.
    let cut = Sighted {
        fault: Some(Fault::CutShort),
        ..well()
    };
    first.end(&cut, due);
    for _ in 0..4 {
        assert_eq!(open(&pool, "a", due), GateState::Open);
        send(&pool, &CHAT, &broken(), due);
    }
    assert_eq!(open(&pool, "a", due), GateState::Closed);
}

#[test]
fn a_refused_account_is_closed_at_once_and_opens_as_configured() {
    let broke = answer(429, Some("insufficient_quota"), Outcome::QuotaExhausted);
    let refused = answer(401, Some("invalid_api_key"), Outcome::UpstreamError);
    for (sighted, reason) in [
        (broke, GateReason::OutOfMoney),
        (refused, GateReason::BadCredential),
    ] {
        for recovery in Recovery::ALL {
            let pool = pool(named(&["a", "b"]), |settings| {
                settings.breaker.out_of_money = *recovery;
                settings.breaker.bad_credential = *recovery;
            });
            assert_eq!(send(&pool, &CHAT, &sighted, START), "a");
            let status = pool.gate_status("a", START).unwrap();
            assert_eq!(status.state, GateState::Closed);
            assert_eq!(status.holds[0].closing.reason, reason);
            assert_eq!(status.holds[0].closing.note.as_deref(), sighted.code);
            let by_probe = *recovery == Recovery::Probe;
            assert_eq!(status.next_probe.is_some(), by_probe);
            let first = taken(&pool, &CHAT, after(1_000_000)).channel().name.clone();
            assert_eq!(&*first, if by_probe { "a" } else { "b" });
        }
    }
}

#[test]
fn what_was_on_its_way_before_is_no_news() {
    let pool = pool(named(&["a", "b"]), |_| {});
    let mut places: Vec<Place> = (0..20).map(|_| taken(&pool, &CHAT, START)).collect();
    for place in &mut places[..5] {
        place.end(&broken(), START);
    }
    let due = next_probe(&pool, "a", START);
    places[5].end(&well(), after(1));
    assert_eq!(open(&pool, "a", after(1)), GateState::Closed);
    assert_eq!(send(&pool, &CHAT, &well(), due), "a");
    for place in &mut places[6..] {
        place.end(&broken(), due);
    }
    assert_eq!(open(&pool, "a", due), GateState::Open);
}

#[test]
fn the_last_channel_of_a_model_is_asked_all_the_same() {
    let pool = pool(named(&["a", "b"]), |_| {});
    break_down(&pool, "a", START);
    break_down(&pool, "b", START);
    assert_eq!(tried(&pool, &CHAT, after(1)), ["a", "b"]);
    // Its failure is no news, its success opens the channel.
    let until = next_probe(&pool, "a", START);
    assert_eq!(send(&pool, &CHAT, &broken(), after(1)), "a");
    assert_eq!(next_probe(&pool, "a", START), until);
    assert_eq!(send(&pool, &CHAT, &well(), after(2)), "a");
    assert_eq!(open(&pool, "a", after(2)), GateState::Open);
    // An operator's word holds.
    pool.close("a", by_operator(None), after(3)).unwrap();
    pool.close("b", by_operator(None), after(3)).unwrap();
    let mut placing = pool.placing(&CHAT).unwrap();
    assert_eq!(placing.take(after(3)).unwrap_err(), NoPlace::Closed(None));
}

#[test]
fn the_last_channel_stays_closed_where_that_is_allowed() {
    let pool = pool(named(&["a"]), |settings| {
        settings.breaker.allow_last = true;
    });
    break_down(&pool, "a", START);
    let mut placing = pool.placing(&CHAT).unwrap();
    let wait = next_probe(&pool, "a", START).since(START);
    assert_eq!(
        placing.take(START).unwrap_err(),
        NoPlace::Closed(Some(wait))
    );
    let due = next_probe(&pool, "a", START);
    let _probe = taken(&pool, &CHAT, due);
    assert_eq!(
        pool.placing(&CHAT).unwrap().take(due).unwrap_err(),
        NoPlace::Closed(Some(Duration::from_secs(1))),
        "whoever is told to come back at once asks again and again"
    );
}

fn limited(seconds: u64) -> Sighted<'static> {
    Sighted {
        pause: Some(Pause::Stated(Duration::from_secs(seconds))),
        ..answer(429, Some("rate_limit_exceeded"), Outcome::RateLimited)
    }
}

#[test]
fn a_limited_model_goes_elsewhere_for_exactly_as_long_as_the_provider_says() {
    let pool = pool(named(&["a", "b"]), |_| {});
    assert_eq!(send(&pool, &CHAT, &limited(30), START), "a");
    assert_eq!(open(&pool, "a", START), GateState::Open);
    let just_before = UnixMicros(after(30).0 - 1);
    assert_eq!(tried(&pool, &CHAT, just_before), ["b", "a"]);
    assert_eq!(tried(&pool, &CHAT, after(30)), ["a", "b"]);
    let other = Wanted {
        model: Some("o4"),
        ..CHAT
    };
    assert_eq!(tried(&pool, &other, after(1)), ["a", "b"]);
    let cooling = pool.gate_status("a", after(1)).unwrap().cooling;
    assert_eq!(cooling[0].model.as_deref(), Some("gpt-5"));
    assert_eq!(cooling[0].until, after(30));
}

#[test]
fn two_names_of_one_upstream_model_cool_together() {
    let channel = ChannelSettings {
        model_map: vec![(Arc::from("fast"), Arc::from("gpt-5"))],
        ..settings("a")
    };
    let pool = pool(vec![channel, settings("b")], |_| {});
    send(&pool, &CHAT, &limited(30), START);
    let fast = Wanted {
        model: Some("fast"),
        ..CHAT
    };
    assert_eq!(tried(&pool, &fast, after(1)), ["b", "a"]);
}

#[test]
fn a_restart_leaves_the_gates_as_they_were() {
    let before = pool(named(&["a", "b", "gone"]), |_| {});
    break_down(&before, "a", START);
    before.close("a", by_operator(None), after(1)).unwrap();
    before
        .close("b", by_alert("x", Some(after(9))), after(2))
        .unwrap();
    before.close("gone", by_operator(None), after(2)).unwrap();
    let mut events: Vec<_> = before.witness.0.lock().unwrap().clone();
    events.reverse();
    let new = pool(named(&["b", "a"]), |_| {});
    new.restore(&events, after(5));
    assert_eq!(new.witness.heard(), []);
    for name in ["a", "b"] {
        let status = |pool: &Registry| pool.gate_status(name, after(5)).unwrap();
        assert_eq!(status(&new), status(&before), "{name}");
    }
    assert_eq!(new.expire(after(5)), Some(after(9)));
    assert_eq!(new.expire(after(9)), None);
    assert_eq!(new.witness.heard().len(), 1, "the end of the alert's hold");
}

#[test]
fn a_restart_in_the_middle_of_a_probe_leaves_it_due() {
    let before = pool(named(&["a", "b"]), |_| {});
    let broke = answer(429, Some("insufficient_quota"), Outcome::QuotaExhausted);
    send(&before, &CHAT, &broke, START);
    let due = next_probe(&before, "a", START);
    let _probe = taken(&before, &CHAT, due);
    let last = before.witness.0.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.hold, GateState::Probing);
    let new = pool(named(&["a", "b"]), |_| {});
    new.restore(&[last], due);
    let reason = |pool: &Registry| pool.gate_status("a", due).unwrap().holds[0].closing.reason;
    assert_eq!(reason(&new), reason(&before));
    assert_eq!(send(&new, &CHAT, &broken(), due), "a");
    // The pauses go on growing.
    let next = next_probe(&new, "a", due).since(due);
    assert!(next > Duration::from_secs(5), "{next:?}");
}

/// A client of a proxy that tries `retries` further channels; whether it gets an answer, and the
/// tries at `dead`, which fails whatever it is asked.
fn request(pool: &Registry, retries: usize, now: UnixMicros) -> (bool, u32) {
    let mut placing = pool.placing(&CHAT).unwrap();
    let mut tries = 0;
    for _ in 0..=retries {
        let Ok(mut place) = placing.take(now) else {
            break;
        };
        if &*place.channel().name != "dead" {
            place.end(&well(), now);
            return (true, tries);
        }
        tries += 1;
        assert!(place.end(&broken(), now).fails_over);
    }
    (false, tries)
}

#[test]
fn a_dead_channel_costs_no_request_and_is_soon_left_alone() {
    const REQUESTS: u64 = 10_000;
    for strategy in Strategy::ALL {
        let pool = pool(named(&["dead", "b", "c"]), |settings| {
            settings.routing.strategy = *strategy;
        });
        let mut after_a_second = 0;
        for number in 0..REQUESTS {
            let now = START.plus(Duration::from_millis(number));
            let (answered, tries) = request(&pool, 2, now);
            assert!(answered, "{strategy}: request {number}");
            if number >= 1_000 {
                after_a_second += tries;
            }
        }
        assert!(after_a_second < 90, "{strategy}: {after_a_second} of 9,000");
        assert!(after_a_second > 0, "{strategy}: nobody looked after it");
    }
}
