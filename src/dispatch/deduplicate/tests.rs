use super::*;
use crate::dispatch::tests::{at_limit, closing, firing, resolved};

const WISHES: Wishes = Wishes {
    repeat_interval: Duration::from_secs(3600),
    send_resolved: true,
};
const REMEMBERED: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> UnixMicros {
    UnixMicros(seconds * 1_000_000)
}

fn current(event: &AlertEvent) -> Current {
    Current {
        fingerprint: event.alert.fingerprint(),
        event: Arc::new(event.clone()),
        came_and_went: false,
        kept_back: false,
    }
}

/// What is told at each of these times of these alerts, and what is then known to be told.
struct Receiver {
    told: Option<Told>,
    wishes: Wishes,
}

impl Receiver {
    fn new() -> Self {
        Self {
            told: None,
            wishes: WISHES,
        }
    }

    fn look(&mut self, alerts: &[Current], seconds: i64) -> Decision {
        let now = at(seconds);
        let decision = decide(self.told.as_ref(), alerts, self.wishes, now);
        if matches!(decision, Decision::Tell(_)) {
            let thread = Uuid::from_u128(u128::from(seconds.unsigned_abs()));
            let after = told_after(self.told.as_ref(), alerts, thread, REMEMBERED, now);
            self.told = Some(after);
        }
        decision
    }
}

#[test]
fn each_change_is_told_once_and_by_its_name() {
    use Decision::{Skip, Tell};
    let mut receiver = Receiver::new();
    let a = firing("A", &[("channel", "a")], 0);
    let b = firing("A", &[("channel", "b")], 20);
    assert_eq!(receiver.look(&[], 0), Skip(SkipReason::Nothing));
    assert_eq!(receiver.look(&[current(&a)], 10), Tell(NotifyReason::First));
    assert_eq!(
        receiver.look(&[current(&a)], 20),
        Skip(SkipReason::Unchanged)
    );
    let both = [current(&a), current(&b)];
    assert_eq!(receiver.look(&both, 30), Tell(NotifyReason::Firing));
    let worse = at_limit(&a, Severity::Critical, 40);
    let both = [current(&worse), current(&b)];
    assert_eq!(receiver.look(&both, 40), Tell(NotifyReason::Severity));
    let both = [current(&closing(&worse)), current(&b)];
    assert_eq!(receiver.look(&both, 50), Tell(NotifyReason::Acted));
    assert_eq!(receiver.look(&both, 60), Skip(SkipReason::Unchanged));
    let over = resolved(&closing(&worse), 70);
    let both = [current(&over), current(&b)];
    assert_eq!(receiver.look(&both, 70), Tell(NotifyReason::Resolved));
    assert_eq!(receiver.look(&both, 80), Skip(SkipReason::Unchanged));
    // Measured from when anything was told last.
    assert_eq!(receiver.look(&both, 70 + 3599), Skip(SkipReason::Unchanged));
    assert_eq!(receiver.look(&both, 70 + 3600), Tell(NotifyReason::Repeat));
}

#[test]
fn what_changed_without_news_is_not_told() {
    let mut receiver = Receiver::new();
    let a = firing("A", &[], 0);
    receiver.look(&[current(&a)], 0);
    let mut higher = at_limit(&a, Severity::Warning, 5);
    higher.value = Some(crate::alert::Quantity {
        unit: crate::alert::Unit::Tokens,
        value: 7,
    });
    assert_eq!(
        receiver.look(&[current(&higher)], 10),
        Decision::Skip(SkipReason::Unchanged)
    );
}

#[test]
fn an_alert_that_fires_anew_is_news_and_one_that_resolved_untold_is_none() {
    let mut receiver = Receiver::new();
    let a = firing("A", &[], 0);
    let gone = current(&resolved(&a, 5));
    assert_eq!(
        receiver.look(std::slice::from_ref(&gone), 10),
        Decision::Skip(SkipReason::Nothing)
    );
    receiver.look(&[current(&a)], 20);
    // It resolved and fired again between two looks.
    let anew = firing("A", &[], 25);
    assert_eq!(
        receiver.look(&[current(&anew)], 30),
        Decision::Tell(NotifyReason::Firing)
    );
}

#[test]
fn what_came_and_went_is_told_where_it_matters_afterwards() {
    let mut receiver = Receiver::new();
    let mut quiet = current(&resolved(&firing("A", &[], 0), 5));
    quiet.came_and_went = true;
    assert_eq!(
        receiver.look(std::slice::from_ref(&quiet), 10),
        Decision::Skip(SkipReason::Nothing)
    );
    let mut acted = current(&resolved(&closing(&firing("B", &[], 0)), 5));
    acted.came_and_went = true;
    let mut critical = current(&resolved(
        &at_limit(&firing("C", &[], 0), Severity::Critical, 0),
        5,
    ));
    critical.came_and_went = true;
    assert_eq!(critical.change(None), Some(AlertChange::CameAndWent));
    let alerts = [quiet, acted];
    assert_eq!(
        receiver.look(&alerts, 10),
        Decision::Tell(NotifyReason::CameAndWent)
    );
    assert_eq!(
        receiver.look(&alerts, 20),
        Decision::Skip(SkipReason::Nothing)
    );
}

#[test]
fn what_is_kept_back_is_told_when_it_is_no_longer_and_its_end_all_the_same() {
    let mut receiver = Receiver::new();
    let a = firing("A", &[], 0);
    let mut silenced = current(&a);
    silenced.kept_back = true;
    let nothing = Decision::Skip(SkipReason::Nothing);
    assert_eq!(receiver.look(std::slice::from_ref(&silenced), 10), nothing);
    assert_eq!(
        receiver.look(&[current(&a)], 20),
        Decision::Tell(NotifyReason::First)
    );
    // Silenced again, it does not repeat.
    let long_after = 20 + 7200;
    assert_eq!(
        receiver.look(std::slice::from_ref(&silenced), long_after),
        nothing
    );
    let mut over = current(&resolved(&a, 30));
    over.kept_back = true;
    assert_eq!(
        receiver.look(&[over], long_after + 1),
        Decision::Tell(NotifyReason::Resolved)
    );
}

#[test]
fn who_does_not_want_to_know_of_the_end_is_not_told_and_the_next_firing_is_new() {
    let mut receiver = Receiver::new();
    receiver.wishes.send_resolved = false;
    let a = firing("A", &[], 0);
    receiver.look(&[current(&a)], 0);
    assert_eq!(
        receiver.look(&[current(&resolved(&a, 5))], 10),
        Decision::Skip(SkipReason::ResolvedUnwanted)
    );
    assert_eq!(
        receiver.look(&[current(&firing("A", &[], 20))], 20),
        Decision::Tell(NotifyReason::Firing)
    );
}

#[test]
fn a_conversation_lasts_from_the_first_firing_to_the_last_end() {
    let mut receiver = Receiver::new();
    let thread = |receiver: &Receiver| receiver.told.as_ref().unwrap().thread.as_u128();
    let a = firing("A", &[("channel", "a")], 0);
    let b = firing("A", &[("channel", "b")], 20);
    receiver.look(&[current(&a)], 10);
    receiver.look(&[current(&resolved(&a, 15)), current(&b)], 30);
    assert_eq!(thread(&receiver), 10);
    receiver.look(&[current(&resolved(&b, 40))], 50);
    assert_eq!(thread(&receiver), 10);
    receiver.look(&[current(&firing("A", &[("channel", "a")], 60))], 70);
    assert_eq!(thread(&receiver), 70);
}

#[test]
fn what_is_over_is_remembered_for_a_while() {
    let mut receiver = Receiver::new();
    let a = firing("A", &[("channel", "a")], 0);
    let end = resolved(&a, 20);
    receiver.look(&[current(&a)], 10);
    receiver.look(&[current(&end)], 30);
    let told = receiver.told.clone().unwrap();
    let print = a.alert.fingerprint();
    assert!(told.knows(print, &end) && !told.fires());
    let later = 20 + 3601;
    receiver.look(&[current(&firing("A", &[("channel", "b")], later))], later);
    assert!(!receiver.told.unwrap().knows(print, &end));
}

#[test]
fn what_was_told_is_read_as_it_is_written() {
    let mut receiver = Receiver::new();
    receiver.look(&[current(&firing("A", &[("channel", "a")], 0))], 10);
    let told = receiver.told.unwrap();
    let text = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Told>(&text).unwrap(), told);
}
