//! Closings that leave the last channel open, and channels that come back by one request.

use std::thread;

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn serving(name: &str, models: Option<&[&str]>) -> ChannelSettings {
    ChannelSettings {
        models: models.map(|models| models.iter().map(|text| ModelPattern::new(text)).collect()),
        ..settings(name)
    }
}

fn alert(name: &str) -> Owner {
    Owner::Alert(Arc::from(name))
}

/// The model that `name` is the last for; `None` where it was closed.
fn last_of(pool: &Registry, name: &str, owner: &str, now: UnixMicros) -> Option<String> {
    match pool.close_unless_last(name, by_alert(owner, None), now) {
        Ok(Guarded::Closed(status)) => {
            assert_eq!(status.state, GateState::Closed);
            None
        }
        Ok(Guarded::LastOpen(model)) => Some(model.to_string()),
        Err(stranger) => panic!("{stranger}"),
    }
}

#[test]
fn another_open_channel_must_serve_all_that_the_closed_one_does() {
    type Models = Option<&'static [&'static str]>;
    let cases: [(Models, &[Models], Option<&str>); 11] = [
        (None, &[], Some("*")),
        (None, &[None], None),
        (None, &[Some(&["gpt-5"])], Some("*")),
        (None, &[Some(&["*"])], None),
        (Some(&["gpt-5"]), &[None], None),
        (Some(&["gpt-5"]), &[Some(&["gpt-*"])], None),
        (Some(&["gpt-5*"]), &[Some(&["gpt-5*"])], None),
        (Some(&["gpt-5*"]), &[Some(&["gpt-*"])], None),
        (Some(&["gpt-5*"]), &[Some(&["gpt-5?"])], Some("gpt-5*")),
        (Some(&["gpt-5", "o4"]), &[Some(&["gpt-5"])], Some("o4")),
        (
            Some(&["gpt-5", "o4"]),
            &[Some(&["gpt-5"]), Some(&["o4"])],
            None,
        ),
    ];
    for (models, others, last) in cases {
        let mut channels = vec![serving("a", models)];
        let more = (0..).zip(others);
        channels.extend(more.map(|(n, models)| serving(&format!("b{n}"), *models)));
        let pool = pool(channels, |_| {});
        let found = last_of(&pool, "a", "spend", START);
        assert_eq!(found.as_deref(), last, "{models:?} {others:?}");
        let state = pool.gate_status("a", START).unwrap().state;
        assert_eq!(state == GateState::Open, last.is_some());
    }
}

#[test]
fn what_a_channel_maps_counts_as_served() {
    let mut first = serving("a", Some(&["gpt-5"]));
    first.model_map = vec![(Arc::from("mini"), Arc::from("gpt-5-mini"))];
    let mut second = serving("b", Some(&["gpt-5"]));
    let channels = || vec![first.clone(), second.clone()];
    let pool_without = pool(channels(), |_| {});
    let found = last_of(&pool_without, "a", "spend", START);
    assert_eq!(found.as_deref(), Some("mini"));
    second.model_map = first.model_map.clone();
    let pool_with = pool(vec![first.clone(), second.clone()], |_| {});
    assert_eq!(last_of(&pool_with, "a", "spend", START), None);
}

#[test]
fn neither_a_held_channel_nor_one_of_another_kind_is_a_replacement() {
    let mut channels = named(&["a", "b"]);
    channels.push(ChannelSettings {
        kind: ChannelKind::Anthropic,
        ..settings("claude")
    });
    for owner in [Owner::Operator, Owner::Breaker, alert("errors")] {
        let pool = pool(channels.clone(), |_| {});
        let held = Closing {
            owner: owner.clone(),
            ..by_operator(Some(after(60)))
        };
        pool.close("b", held, START).unwrap();
        let found = last_of(&pool, "a", "spend", START);
        assert_eq!(found.as_deref(), Some("*"), "{owner}");
        // One whose hold is over is open, whoever saw it end.
        if owner != Owner::Breaker {
            assert_eq!(last_of(&pool, "a", "spend", after(60)), None);
        }
    }
}

#[test]
fn an_owner_changes_the_hold_that_it_has_and_another_gets_none_beside_it() {
    let pool = pool(named(&["a", "b"]), |_| {});
    assert_eq!(last_of(&pool, "a", "spend", START), None);
    pool.close("b", by_operator(None), START).unwrap();
    assert_eq!(last_of(&pool, "a", "spend", START), None);
    assert_eq!(last_of(&pool, "a", "errors", START).as_deref(), Some("*"));
    pool.reopen("a", &alert("spend"), None, None, START)
        .unwrap();
    assert_eq!(tried(&pool, &CHAT, START), ["a"]);
    assert!(
        pool.close_unless_last("c", by_alert("spend", None), START)
            .is_err()
    );
}

#[test]
fn of_many_alerts_at_once_none_closes_the_last_channel() {
    let names = ["a", "b", "c"];
    for _ in 0..300 {
        let pool = pool(named(&names), |_| {});
        let closed: usize = thread::scope(|scope| {
            let close = |name| {
                let pool = &pool;
                scope.spawn(move || last_of(pool, name, name, START).is_none())
            };
            let threads = names.map(close);
            let closed = threads.map(|thread| thread.join().unwrap());
            closed.into_iter().filter(|closed| *closed).count()
        });
        assert_eq!(closed, 2);
        assert_eq!(tried(&pool, &CHAT, START).len(), 1);
    }
}

fn models() -> impl Strategy<Value = Option<Vec<&'static str>>> {
    let pattern = prop_oneof![
        Just("m1"),
        Just("m2"),
        Just("m3"),
        Just("m*"),
        Just("m?"),
        Just("*"),
    ];
    proptest::option::of(proptest::collection::vec(pattern, 1..3))
}

proptest! {
    /// Whatever alerts close and reopen: a model that had an open channel has one.
    #[test]
    fn no_model_loses_its_last_channel(
        channels in proptest::collection::vec(models(), 1..5),
        steps in proptest::collection::vec((0_usize..5, 0_usize..3, 0_u8..4), 1..40),
    ) {
        let named = (0..).zip(&channels);
        let named = named.map(|(n, models)| serving(&n.to_string(), models.as_deref()));
        let pool = pool(named.collect(), |_| {});
        let serves = |model: &'static str| {
            let wanted = Wanted { model: Some(model), ..CHAT };
            pool.placing(&wanted).is_ok_and(|mut placing| placing.take(START).is_ok())
        };
        let served: Vec<_> = ["m1", "m2", "m3", "m44"].into_iter().filter(|m| serves(m)).collect();
        for (channel, owner, act) in steps {
            let name = (channel % channels.len()).to_string();
            let owner = ["x", "y", "z"][owner];
            if act == 0 {
                pool.reopen(&name, &alert(owner), None, None, START).unwrap();
            } else {
                let before = pool.gate_status(&name, START).unwrap();
                if last_of(&pool, &name, owner, START).is_some() {
                    prop_assert_eq!(pool.gate_status(&name, START).unwrap(), before);
                }
            }
            for model in &served {
                prop_assert!(serves(model), "{}", model);
            }
        }
    }
}

/// Closes `a` for ten seconds, one request to go first afterwards.
fn close_with_probe(pool: &Registry, now: UnixMicros) {
    let until = now.plus(Duration::from_secs(10));
    pool.close("a", by_alert("spend", Some(until)), now)
        .unwrap();
    pool.probe_after("a", &alert("spend"), now).unwrap();
}

#[test]
fn after_the_hold_one_request_goes_and_the_rest_follow_when_it_succeeds() {
    // Its time is over, or its owner ends it.
    for by_time in [true, false] {
        let pool = pool(named(&["a"]), |settings| settings.breaker.allow_last = true);
        close_with_probe(&pool, START);
        assert!(pool.placing(&CHAT).unwrap().take(after(9)).is_err());
        if !by_time {
            pool.reopen("a", &alert("spend"), None, None, after(10))
                .unwrap();
        }
        let mut probe = taken(&pool, &CHAT, after(10));
        assert!(probe.is_probe());
        assert!(pool.placing(&CHAT).unwrap().take(after(10)).is_err());
        probe.end(&broken(), after(10));
        assert!(pool.placing(&CHAT).unwrap().take(after(11)).is_err());
        let due = pool
            .gate_status("a", after(11))
            .unwrap()
            .next_probe
            .unwrap();
        taken(&pool, &CHAT, due).end(&well(), due);
        assert_eq!(pool.gate_status("a", due).unwrap().state, GateState::Open);
    }
}

#[test]
fn the_probe_goes_first_where_the_hold_ended_while_no_process_ran() {
    let first = pool(named(&["a"]), |_| {});
    close_with_probe(&first, START);
    let events = std::mem::take(&mut *first.witness.0.lock().unwrap());
    let second = pool(named(&["a"]), |settings| settings.breaker.allow_last = true);
    second.restore(&events, after(3600));
    assert!(taken(&second, &CHAT, after(3600)).is_probe());
}

#[test]
fn who_has_no_hold_leaves_the_gate_as_it_is() {
    let pool = pool(named(&["a"]), |_| {});
    close_with_probe(&pool, START);
    pool.reopen("a", &Owner::Operator, Some("ada"), None, after(1))
        .unwrap();
    pool.probe_after("a", &alert("spend"), after(1)).unwrap();
    assert!(!taken(&pool, &CHAT, after(1)).is_probe());
    assert!(pool.probe_after("b", &alert("spend"), START).is_err());
}

#[test]
fn what_passed_before_a_closing_opens_nothing_after_it() {
    let pool = pool(named(&["a"]), |settings| settings.breaker.allow_last = true);
    close_with_probe(&pool, START);
    let mut probe = taken(&pool, &CHAT, after(10));
    assert!(probe.is_probe());
    close_with_probe(&pool, after(10));
    assert_eq!(
        pool.gate_status("a", after(10)).unwrap().state,
        GateState::Closed
    );
    probe.end(&well(), after(11));
    assert!(taken(&pool, &CHAT, after(20)).is_probe());
}
