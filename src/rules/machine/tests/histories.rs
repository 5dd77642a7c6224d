//! What holds whatever is seen and however the clock goes.

use proptest::prelude::*;

use super::*;

fn any_conditions() -> impl Strategy<Value = Conditions> {
    (
        any::<bool>(),
        0..3_u8,
        prop::sample::select(vec![0, 100, 900, 1_000]),
        0..4_u32,
        0..4_u32,
        prop::sample::select(NoData::ALL.to_vec()),
    )
        .prop_map(|(above, limits, slack, hold, keep, no_data)| {
            let (side, clear_permille, first, second) = if above {
                (Side::Above, 1_000 - slack, 50, 100)
            } else {
                (Side::Below, 1_000 + slack, 100, 50)
            };
            Conditions {
                side,
                warning: (limits != 1).then_some(first),
                critical: (limits != 2).then_some(second),
                clear_permille,
                hold: MINUTE * hold,
                keep_firing: MINUTE * keep,
                no_data,
            }
        })
}

fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        12 => (0..130_i64).prop_map(Observation::Value),
        1 => Just(Observation::TooFew),
        1 => Just(Observation::NoData),
        1 => Just(Observation::Unknown),
    ]
}

/// Observations, each so many half minutes after the one before; sometimes the clock is set back.
fn any_history() -> impl Strategy<Value = Vec<(i64, Observation)>> {
    let pause = prop_oneof![8 => 0..6_i64, 1 => -20..0_i64];
    prop::collection::vec((pause, any_observation()), 1..60)
}

fn moments(history: &[(i64, Observation)]) -> Vec<(UnixMicros, Observation)> {
    let mut now = at(1_000).0;
    let steps = history.iter().map(|&(pause, seen)| {
        now += pause * 30_000_000;
        (UnixMicros(now), seen)
    });
    steps.collect()
}

/// Whether an observation is beyond the limit of `severity`; `None` when it says nothing of that.
fn is_beyond(conditions: &Conditions, severity: Severity, seen: Observation) -> Option<bool> {
    let limit = match severity {
        Warning => conditions.warning.or(conditions.critical),
        Critical => conditions.critical,
    }?;
    match (seen, conditions.no_data) {
        (Observation::Value(value), _) => Some(match conditions.side {
            Side::Above => value >= limit,
            Side::Below => value <= limit,
        }),
        (Observation::NoData, NoData::Firing) => Some(true),
        (Observation::NoData, NoData::Ok) | (Observation::TooFew, _) => Some(false),
        (Observation::NoData, NoData::Keep) | (Observation::Unknown, _) => None,
    }
}

/// Whether an observation is where a firing at the limit of `severity` ends.
fn is_back(conditions: &Conditions, severity: Severity, seen: Observation) -> bool {
    let limit = match severity {
        Warning => conditions.warning.or(conditions.critical),
        Critical => conditions.critical,
    };
    match (seen, limit) {
        (Observation::Value(value), Some(limit)) => {
            let clear = limit * i64::from(conditions.clear_permille);
            match conditions.side {
                Side::Above => value * 1_000 < clear,
                Side::Below => value * 1_000 > clear,
            }
        }
        (Observation::NoData | Observation::TooFew, _) => conditions.no_data == NoData::Ok,
        _ => false,
    }
}

proptest! {
    /// Two processes, one of which is ended and begun anew wherever it pleases, tell the same.
    #[test]
    fn a_restart_changes_nothing(
        conditions in any_conditions(),
        history in any_history(),
        restarts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut steady = Machine::default();
        let mut restarted = Machine::default();
        let mut last = None;
        for ((now, seen), restart) in moments(&history).into_iter().zip(restarts) {
            if restart {
                restarted = last.as_ref().map_or_else(Machine::default, Machine::restore);
                prop_assert_eq!(restarted.adopt(&conditions), None);
            }
            let change = restarted.step(now, seen, &conditions);
            prop_assert_eq!(change, steady.step(now, seen, &conditions));
            if let Some(change) = change {
                last = Some(event(&change, now, &conditions));
            }
        }
    }

    #[test]
    fn the_same_again_changes_nothing(
        conditions in any_conditions(),
        history in any_history(),
    ) {
        let mut machine = Machine::default();
        for (now, seen) in moments(&history) {
            machine.step(now, seen, &conditions);
            prop_assert_eq!(machine.step(now, seen, &conditions), None);
        }
    }

    #[test]
    fn nothing_fires_early_and_nothing_ends_while_it_is_wrong(
        conditions in any_conditions(),
        history in any_history(),
    ) {
        let mut machine = Machine::default();
        let mut past: Vec<(UnixMicros, Observation)> = Vec::new();
        for (now, seen) in moments(&history) {
            let change = machine.step(now, seen, &conditions);
            past.push((now, seen));
            let Some(change) = change else { continue };
            let rose = change.after.is_firing() && change.before.severity() != change.after.severity()
                || change.fires();
            if rose && !(change.before.is_firing() && change.after.severity() == Some(Warning)) {
                let severity = change.after.severity().unwrap();
                // Beyond the limit now, and at every known look of the time before, which is at least
                // `hold` long however the clock was set.
                let mut waited = false;
                for &(then, seen) in past.iter().rev() {
                    match is_beyond(&conditions, severity, seen) {
                        Some(true) => waited |= now.since(then) >= conditions.hold,
                        Some(false) => break,
                        None => {}
                    }
                }
                prop_assert!(waited, "fired early: {change:?}");
            }
            let fell = change.resolves()
                || change.before.is_firing()
                    && change.before.severity() == Some(Critical)
                    && change.after.severity() == Some(Warning);
            if fell {
                let left = if change.resolves() { Warning } else { Critical };
                prop_assert!(is_back(&conditions, left, seen), "ended early: {change:?}");
            }
        }
    }

    #[test]
    fn what_is_told_is_in_order(
        conditions in any_conditions(),
        history in any_history(),
    ) {
        let mut machine = Machine::default();
        for (now, seen) in moments(&history) {
            let before = machine;
            let change = machine.step(now, seen, &conditions);
            prop_assert_eq!(change.map_or(before, |change| change.before), before);
            prop_assert_eq!(change.is_some(), before != machine);
            prop_assert_eq!(machine.severity().is_none(), machine.state() == Inactive);
            prop_assert_eq!(machine.fired_at().is_some(), machine.is_firing());
            prop_assert_eq!(machine.active_since().is_some(), machine.state() != Inactive);
            let limit = match machine.severity() {
                Some(Warning) => conditions.warning,
                Some(Critical) => conditions.critical,
                None => Some(0),
            };
            prop_assert!(limit.is_some(), "fires at a limit that is not there: {machine:?}");
        }
    }
}
