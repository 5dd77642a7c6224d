//! What is told and answered: kept before it is sent, settled once, found again by a start.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::sample::START;
use super::{Manual, WITHOUT_HOURS, query_number, settings};
use crate::alert::{
    ChatAnswer, Notification, NotificationFate, NotificationKind, NotificationResult, NotifyReason,
};
use crate::clock::UnixMicros;
use crate::ledger::query::{
    AnswerFilter, NotificationFilter, NotificationState, Reader, StoredNotification, UsedNonce,
};
use crate::ledger::{QueryError, Settings};

const HOUR: Duration = Duration::from_secs(3600);

/// The `n`th: to two receivers in turn, of two groups each in turn, a second after the one before.
pub(super) fn notification(n: usize) -> Notification {
    let at = START.plus(Duration::from_secs(n as u64));
    Notification {
        id: id(n),
        at,
        receiver: ["ops", "mail"][n % 2].into(),
        kind: NotificationKind::ALL[n % NotificationKind::ALL.len()],
        reason: NotifyReason::ALL[n % NotifyReason::ALL.len()],
        group: ["Spend", "a \"b\""][n / 2 % 2].into(),
        title: format!("title {n}").into(),
        deadline: at.plus(HOUR),
        content: format!("{{\"content\": {n}}}").into(),
        told: if n.is_multiple_of(3) {
            "".into()
        } else {
            format!("{{\"told\": {n}}}").into()
        },
    }
}

fn id(n: usize) -> Uuid {
    Uuid::from_u128(0x019a_a0b0_0000_7000_8000_0000_0000_0000 + n as u128)
}

/// What became of the `n`th, after as many tries.
pub(super) fn fate(n: usize) -> NotificationFate {
    let every = |of: usize| n.is_multiple_of(of);
    NotificationFate {
        id: id(n),
        at: notification(n).at.plus(Duration::from_millis(500)),
        result: NotificationResult::ALL[n % NotificationResult::ALL.len()],
        attempts: u32::try_from(n).unwrap(),
        reference: every(2).then(|| n.to_string().into()),
        by: every(3).then(|| id(n + 1)),
        error: every(5).then(|| "refused".into()),
    }
}

/// The `n`th answer; each other one is a command.
pub(super) fn answer(n: usize) -> ChatAnswer {
    let at = START.plus(Duration::from_secs(n as u64));
    let signed = n.is_multiple_of(2);
    ChatAnswer {
        at,
        receiver: ["ops", "second"][n / 2 % 2].into(),
        who: "alice (7)".into(),
        asked: if signed { "silence" } else { "/spend 7d" }.into(),
        subject: "Spend{channel=\"a\"}".into(),
        done: n.is_multiple_of(3),
        outcome: format!("outcome {n}").into(),
        nonce: signed.then_some(u64::MAX - n as u64),
        expires_at: signed.then(|| at.plus(HOUR)),
    }
}

fn stored(n: usize, settled: bool) -> StoredNotification {
    StoredNotification {
        notification: notification(n),
        fate: settled.then(|| fate(n)),
    }
}

/// As lists show it.
fn listed(n: usize, settled: bool) -> StoredNotification {
    let mut stored = stored(n, settled);
    stored.notification.content = "".into();
    stored.notification.told = "".into();
    stored
}

/// Every notification with everything, in the order of recording.
pub(super) fn recorded_notifications(data_dir: &Path) -> Vec<StoredNotification> {
    let reader = match Reader::open(data_dir) {
        Err(QueryError::NoLedger { .. }) => return Vec::new(),
        reader => reader.unwrap(),
    };
    let mut filter = NotificationFilter {
        limit: 7,
        ..NotificationFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = reader.notifications(&filter).unwrap();
        for listed in page.events {
            let whole = reader.notification(listed.notification.id).unwrap();
            found.push(whole.unwrap());
        }
        filter.cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if filter.cursor.is_none() {
            found.reverse();
            return found;
        }
    }
}

/// Every answer, in the order of recording.
pub(super) fn recorded_answers(data_dir: &Path) -> Vec<ChatAnswer> {
    let reader = match Reader::open(data_dir) {
        Err(QueryError::NoLedger { .. }) => return Vec::new(),
        reader => reader.unwrap(),
    };
    let mut filter = AnswerFilter {
        limit: 7,
        ..AnswerFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = reader.answers(&filter).unwrap();
        found.extend(page.events);
        filter.cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if filter.cursor.is_none() {
            found.reverse();
            return found;
        }
    }
}

/// Those of these numbers kept, those of these settled.
fn with(ledger: &mut Manual, kept: impl Iterator<Item = usize>, settled: &[usize]) {
    for n in kept {
        assert!(ledger.journal.notification_kept(&notification(n)));
    }
    for &n in settled {
        assert!(ledger.journal.notification_settled(&fate(n)));
    }
    ledger.round();
}

#[test]
fn what_is_kept_is_open_until_its_fate_is_known() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    with(&mut ledger, 0..8, &[0, 3, 4, 5, 6]);
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(
        reader.open_notifications().unwrap(),
        [1, 2, 7].map(notification)
    );
    assert_eq!(reader.notification(id(3)).unwrap(), Some(stored(3, true)));
    assert_eq!(reader.notification(id(7)).unwrap(), Some(stored(7, false)));
    assert_eq!(reader.notification(id(99)).unwrap(), None);
    assert_eq!(
        recorded_notifications(folder.path()),
        [
            (0, true),
            (1, false),
            (2, false),
            (3, true),
            (4, true),
            (5, true),
            (6, true),
            (7, false)
        ]
        .map(|(n, settled)| stored(n, settled))
    );
}

#[test]
fn the_same_twice_changes_nothing_and_the_first_fate_counts() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    with(&mut ledger, 0..2, &[0]);
    let otherwise = Notification {
        title: "another".into(),
        ..notification(0)
    };
    ledger.journal.notification_kept(&otherwise);
    ledger.journal.notification_kept(&notification(1));
    ledger.journal.notification_settled(&fate(0));
    let late = NotificationFate {
        result: NotificationResult::Dead,
        attempts: 9,
        ..fate(0)
    };
    ledger.journal.notification_settled(&late);
    // Nothing is known of it: nobody counts it, and what comes after it is kept.
    ledger.journal.notification_settled(&fate(77));
    ledger.journal.notification_kept(&notification(2));
    ledger.round();
    assert_eq!(
        recorded_notifications(folder.path()),
        [stored(0, true), stored(1, false), stored(2, false)]
    );
    assert_eq!(ledger.stats.rejected(), 0);
}

#[test]
fn the_last_of_each_conversation_is_found() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    with(&mut ledger, 0..10, &[0, 1, 2, 3, 4, 5, 6, 8, 9]);
    let reader = Reader::open(folder.path()).unwrap();
    let without_content = |n: usize, settled| {
        let mut last = stored(n, settled);
        last.notification.content = "".into();
        last
    };
    let last = reader.last_notifications(UnixMicros(0)).unwrap();
    let expected = [(6, true), (7, false), (8, true), (9, true)];
    assert_eq!(
        last,
        expected.map(|(n, settled)| without_content(n, settled))
    );
    // The moment itself is in the range.
    let since = notification(8).at;
    let last = reader.last_notifications(since).unwrap();
    assert_eq!(last, [8, 9].map(|n| without_content(n, true)));
}

/// Whether the notification of this number is one that is asked for.
type IsWanted = fn(usize) -> bool;

#[test]
fn notifications_are_found_by_what_they_are() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let settled: Vec<_> = (0..24).filter(|n| n % 5 != 1).collect();
    with(&mut ledger, 0..24, &settled);
    let reader = Reader::open(folder.path()).unwrap();
    let is_settled = |n: usize| n % 5 != 1;
    let all = NotificationFilter::default();
    let cases: [(NotificationFilter, IsWanted); 7] = [
        (all.clone(), |_| true),
        (
            NotificationFilter {
                receiver: Some("mail".into()),
                ..all.clone()
            },
            |n| n % 2 == 1,
        ),
        (
            NotificationFilter {
                kind: Some(NotificationKind::Digest),
                ..all.clone()
            },
            |n| n % 4 == 2,
        ),
        (
            NotificationFilter {
                state: Some(NotificationState::Open),
                ..all.clone()
            },
            |n| n % 5 == 1,
        ),
        (
            NotificationFilter {
                state: Some(NotificationState::Dead),
                ..all.clone()
            },
            |n| n % 5 != 1 && n % 4 == 3,
        ),
        (
            NotificationFilter {
                since: Some(notification(4).at),
                until: Some(notification(9).at),
                ..all.clone()
            },
            |n| (4..9).contains(&n),
        ),
        (
            NotificationFilter {
                receiver: Some("ops".into()),
                kind: Some(NotificationKind::Alert),
                state: Some(NotificationState::Sent),
                since: Some(notification(4).at),
                until: Some(notification(20).at),
                ..all
            },
            |n| (4..20).contains(&n) && n % 4 == 0 && n % 5 != 1,
        ),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<_> = (0..24)
            .rev()
            .filter(|&n| wanted(n))
            .map(|n| listed(n, is_settled(n)))
            .collect();
        assert_eq!(
            reader.notifications(&filter).unwrap().events,
            expected,
            "{filter:?}"
        );
        // The same page by page.
        let mut paged = NotificationFilter { limit: 2, ..filter };
        let mut found = Vec::new();
        loop {
            let page = reader.notifications(&paged).unwrap();
            assert!(page.events.len() <= 2);
            found.extend(page.events);
            paged.cursor = page.next;
            if paged.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{paged:?}");
    }
}

#[test]
fn a_state_is_said_of_each_result() {
    assert_eq!(NotificationState::of(None), NotificationState::Open);
    for &result in NotificationResult::ALL {
        let state = NotificationState::of(Some(result));
        assert_eq!(state.as_str(), result.as_str());
    }
}

#[test]
fn answers_are_kept_and_their_numbers_remembered_until_they_expire() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let answers: Vec<_> = (0..8).map(answer).collect();
    for answer in &answers {
        assert!(ledger.journal.answered(answer));
    }
    // Pressed once more, and refused.
    let again = ChatAnswer {
        done: false,
        ..answer(4)
    };
    ledger.journal.answered(&again);
    ledger.round();
    assert_eq!(
        recorded_answers(folder.path()),
        [answers.clone(), vec![again.clone()]].concat()
    );
    let reader = Reader::open(folder.path()).unwrap();
    let filter = AnswerFilter {
        receiver: Some("ops".into()),
        since: Some(answers[1].at),
        until: Some(answers[5].at),
        ..AnswerFilter::default()
    };
    let found = reader.answers(&filter).unwrap();
    assert_eq!(
        found.events,
        [again, answers[4].clone(), answers[1].clone()]
    );
    assert_eq!(found.next, None);
    // At the moment of its expiry it is forgotten.
    let used = |now| -> BTreeMap<u64, UnixMicros> {
        let used = reader.used_answers(now).unwrap().into_iter();
        used.map(|UsedNonce { nonce, expires_at }| (nonce, expires_at))
            .collect()
    };
    let expected = |numbers: &[usize]| -> BTreeMap<u64, UnixMicros> {
        let answers = numbers.iter().map(|&n| answer(n));
        answers
            .map(|answer| (answer.nonce.unwrap(), answer.expires_at.unwrap()))
            .collect()
    };
    assert_eq!(used(START), expected(&[0, 2, 4, 6]));
    assert_eq!(used(answers[2].expires_at.unwrap()), expected(&[4, 6]));
}

#[test]
fn what_a_start_needs_does_not_expire() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(HOUR),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    // More than a step's.
    for n in 0..200 {
        ledger.journal.notification_kept(&notification(n));
        if n != 17 {
            ledger.journal.notification_settled(&fate(n));
        }
    }
    for n in 0..8 {
        ledger.journal.answered(&answer(n));
    }
    let lasting = ChatAnswer {
        expires_at: Some(START.plus(24 * HOUR)),
        ..answer(8)
    };
    ledger.journal.answered(&lasting);
    ledger.round_at(START);
    assert_eq!(recorded_notifications(folder.path()).len(), 200);
    assert_eq!(recorded_answers(folder.path()).len(), 9);

    for minutes in 0..20 {
        ledger.round_at(START.plus(3 * HOUR + Duration::from_secs(60 * minutes)));
    }
    let kept = recorded_notifications(folder.path());
    assert_eq!(
        kept,
        [
            (17, false),
            (196, true),
            (197, true),
            (198, true),
            (199, true)
        ]
        .map(|(n, settled)| {
            let mut stored = stored(n, settled);
            if settled {
                // Nothing is made of it any more.
                stored.notification.content = "".into();
            }
            stored
        })
    );
    assert_eq!(recorded_answers(folder.path()), [lasting]);

    // It expires once a newer one is there.
    ledger.journal.notification_kept(&notification(20_000));
    ledger.round_at(START.plus(4 * HOUR));
    ledger.round_at(START.plus(5 * HOUR));
    let kept = recorded_notifications(folder.path());
    let numbers: Vec<_> = kept.iter().map(|kept| kept.notification.id).collect();
    assert_eq!(numbers, [17, 197, 198, 199, 20_000].map(id));

    // What a start does not ask for is not kept for it: only what is to be sent is.
    ledger.round_at(START.plus(31 * 24 * HOUR));
    let kept = recorded_notifications(folder.path());
    assert_eq!(kept.len(), 5);
    for minutes in 1..3 {
        ledger.round_at(START.plus(32 * 24 * HOUR + Duration::from_secs(60 * minutes)));
    }
    let kept = recorded_notifications(folder.path());
    let numbers: Vec<_> = kept.iter().map(|kept| kept.notification.id).collect();
    assert_eq!(numbers, [17, 20_000].map(id));
}

#[test]
fn what_is_larger_than_an_entry_may_be_is_cut() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let text = |bytes: usize| std::sync::Arc::<str>::from("ü".repeat(bytes / 2));
    let most = Notification {
        content: text(Notification::MOST_BYTES),
        told: text(Notification::MOST_BYTES),
        ..notification(0)
    };
    let larger = Notification {
        content: text(2 << 20),
        title: text(2 << 20),
        ..notification(1)
    };
    let dead = NotificationFate {
        error: Some(text(2 << 20)),
        ..fate(1)
    };
    let long = ChatAnswer {
        asked: text(2 << 20),
        ..answer(0)
    };
    assert!(ledger.journal.notification_kept(&most));
    assert!(ledger.journal.notification_kept(&larger));
    assert!(ledger.journal.notification_settled(&dead));
    assert!(ledger.journal.answered(&long));
    ledger.round();
    let [whole, cut] = recorded_notifications(folder.path()).try_into().unwrap();
    assert_eq!(whole.notification, most);
    assert_eq!(
        cut.notification,
        Notification {
            content: "".into(),
            title: text(1 << 10),
            ..larger
        }
    );
    assert_eq!(cut.fate.unwrap().error, Some(text(1 << 10)));
    let [answered] = recorded_answers(folder.path()).try_into().unwrap();
    assert_eq!(answered.asked, text(1 << 10));
}

#[test]
fn a_ledger_of_the_version_before_gets_its_tables_at_the_start() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    ledger.round();
    ledger.kill();
    let connection =
        rusqlite::Connection::open(crate::ledger::database::path_in(folder.path())).unwrap();
    connection
        .execute_batch(&format!(
            "{WITHOUT_HOURS} DROP TABLE notifications; DROP TABLE chat_answers; \
             PRAGMA user_version = 7"
        ))
        .unwrap();
    drop(connection);
    let mut ledger = Manual::open(&settings(&folder));
    with(&mut ledger, 0..2, &[1]);
    ledger.journal.answered(&answer(0));
    ledger.round();
    assert_eq!(
        query_number(folder.path(), "PRAGMA user_version"),
        crate::ledger::migrations::VERSION
    );
    assert_eq!(recorded_notifications(folder.path()).len(), 2);
    assert_eq!(recorded_answers(folder.path()), [answer(0)]);
}
