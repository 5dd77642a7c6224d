//! Notifications and answers in a ledger.

use std::time::Duration;

use tollgate::alert::{
    ChatAnswer, Notification, NotificationFate, NotificationKind, NotificationResult, NotifyReason,
};
use tollgate::ledger::Ledger;
use uuid::Uuid;

use super::{PATIENCE, START};

/// The id of notification `n`.
pub(crate) fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_a0b0_0000_7000_8000_0000_0000_0000 + n)
}

/// Tells `ops` and `mail` in turn, a minute after the other, and settles all but the last: sent, dead,
/// replaced by the one after the next. Then two answers.
pub(crate) fn tell(ledger: &Ledger) {
    let journal = ledger.journal();
    let receivers = ["ops", "mail"];
    let reasons = [
        NotifyReason::First,
        NotifyReason::Firing,
        NotifyReason::Repeat,
        NotifyReason::Notice,
    ];
    for (n, reason) in (0..4).zip(reasons) {
        let at = START.plus(Duration::from_secs(60 * n));
        let number = usize::try_from(n).unwrap();
        let about_channel = n == 3;
        let notification = Notification {
            id: id(n.into()),
            at,
            receiver: receivers[number % 2].into(),
            kind: if about_channel {
                NotificationKind::Channel
            } else {
                NotificationKind::Alert
            },
            reason,
            group: if about_channel { "openai" } else { "Spend" }.into(),
            title: format!("Spend is too high, {n} times\u{1b}[2J").into(),
            deadline: at.plus(Duration::from_secs(4 * 3600)),
            content: if n == 1 {
                "".into()
            } else {
                format!("{{\"alerts\": [{n}, null]}}").into()
            },
            told: "[]".into(),
        };
        assert!(journal.notification_kept(&notification));
        let result = match n {
            0 => NotificationResult::Sent,
            1 => NotificationResult::Dead,
            2 => NotificationResult::Replaced,
            _ => continue,
        };
        let fate = NotificationFate {
            id: notification.id,
            at: at.plus(Duration::from_millis(1_500)),
            result,
            attempts: u32::try_from(n).unwrap() + 1,
            reference: (n == 0).then(|| "4711".into()),
            by: (n == 2).then(|| id(3)),
            error: (n == 1).then(|| "=refused: 550 no such mailbox".into()),
        };
        assert!(journal.notification_settled(&fate));
    }
    for n in 0..2 {
        let answer = ChatAnswer {
            at: START.plus(Duration::from_secs(600 + n)),
            receiver: receivers[usize::try_from(n).unwrap()].into(),
            who: "alice (7)".into(),
            asked: "silence".into(),
            subject: "Spend{channel=\"openai\"}".into(),
            done: n == 0,
            outcome: "silenced for 1 h".into(),
            nonce: Some(123_456_789),
            expires_at: Some(START.plus(Duration::from_secs(3600))),
        };
        assert!(journal.answered(&answer));
    }
    assert!(ledger.flush(PATIENCE));
}
