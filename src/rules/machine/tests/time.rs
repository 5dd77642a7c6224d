//! Clocks that are set, rules that are edited, and when a machine wants to be asked again.

use super::*;

#[test]
fn a_clock_that_is_set_back_begins_the_wait_anew() {
    let conditions = Conditions {
        hold: 10 * MINUTE,
        keep_firing: 10 * MINUTE,
        ..PLAIN
    };
    let mut machine = Machine::default();
    let step = |machine: &mut Machine, minute, value| {
        machine.step(at(minute), Observation::Value(value), &conditions);
        (machine.state(), machine.severity())
    };
    assert_eq!(step(&mut machine, 600, 50), WAITS);
    // Ten hours back: the wait neither takes ten hours more nor is it over.
    assert_eq!(step(&mut machine, 0, 50), WAITS);
    assert_eq!(step(&mut machine, 9, 50), WAITS);
    assert_eq!(step(&mut machine, 10, 50), WARNS);
    assert_eq!(step(&mut machine, 600, 0), WARNS);
    assert_eq!(step(&mut machine, 20, 0), WARNS);
    assert_eq!(machine.fired_at(), Some(at(10)));
    assert_eq!(step(&mut machine, 30, 0), NO);
}

#[test]
fn workers_that_read_the_clock_in_another_order_note_nothing() {
    let conditions = Conditions {
        hold: 10 * MINUTE,
        ..PLAIN
    };
    let mut machine = Machine::default();
    let seen = Observation::Value(50);
    machine.step(at(1), seen, &conditions);
    let earlier = at(1).minus(Duration::from_millis(3));
    assert_eq!(machine.step(earlier, seen, &conditions), None);
    assert_eq!(machine.active_since(), Some(at(1)));
}

#[test]
fn edited_conditions_keep_what_they_can() {
    let with = |warning, critical| Conditions {
        warning,
        critical,
        ..PLAIN
    };
    let waiting = |conditions| Conditions {
        hold: 2 * MINUTE,
        ..conditions
    };
    let both = with(Some(50), Some(100));
    for (name, before, seen, after, expected) in [
        ("the same", both, &[100][..], both, FIRES),
        (
            "higher limits wait for the next value",
            both,
            &[100],
            with(Some(500), Some(900)),
            FIRES,
        ),
        (
            "no critical limit any more",
            both,
            &[100],
            with(Some(50), None),
            WARNS,
        ),
        (
            "no warning any more, critical",
            both,
            &[100],
            with(None, Some(100)),
            FIRES,
        ),
        (
            "no warning any more, warned",
            both,
            &[60],
            with(None, Some(100)),
            NO,
        ),
        (
            "no warning any more, on the way to critical",
            waiting(both),
            &[60, 60, 60, 100],
            waiting(with(None, Some(100))),
            WAITS_CRITICAL,
        ),
        (
            "no warning any more, pending",
            waiting(both),
            &[60],
            waiting(with(None, Some(100))),
            NO,
        ),
        ("a warning more", with(None, Some(100)), &[100], both, FIRES),
        (
            "a critical limit more",
            with(Some(50), None),
            &[100],
            both,
            WARNS,
        ),
        ("at rest", both, &[0], with(None, Some(1)), NO),
    ] {
        let mut machine = Machine::default();
        for (minute, value) in (0..).zip(seen) {
            machine.step(at(minute), Observation::Value(*value), &before);
        }
        let unchanged = machine;
        let change = machine.adopt(&after);
        assert_eq!((machine.state(), machine.severity()), expected, "{name}");
        assert_eq!(change.is_some(), machine != unchanged, "{name}");
        assert_eq!(machine.adopt(&after), None, "{name}");
    }
}

#[test]
fn the_wait_that_was_begun_goes_on_under_edited_conditions() {
    let long = Conditions {
        hold: 60 * MINUTE,
        ..PLAIN
    };
    let short = Conditions {
        hold: 5 * MINUTE,
        ..PLAIN
    };
    let mut machine = Machine::default();
    machine.step(at(0), Observation::Value(60), &long);
    assert_eq!(machine.adopt(&short), None);
    machine.step(at(5), Observation::Value(60), &short);
    assert!(machine.is_firing());
}
