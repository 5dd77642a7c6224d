//! Mail's bench: a real server behind what listens to the conversation, and spoils it when told to.

use std::time::Duration;

use tollgate::config::{EmailSettings, Secret, SmtpEncryption, TargetSettings};
use tollgate::notify::FailureReason;

use super::{Bench, Wire};
use crate::judges::Answer;
use crate::judges::smtp::{PASSWORD, USER};
use crate::judges::smtp_judge::{self, PLAIN_LOGIN};

pub(super) async fn bench(timeout: Duration) -> Bench {
    let judge = smtp_judge::start().await;
    let target = TargetSettings::Email(EmailSettings {
        host: "127.0.0.1".into(),
        port: judge.address.port(),
        // So that the judge hears what is said; settings refuse it for other machines.
        encryption: SmtpEncryption::None,
        login: Some((USER.into(), Secret::new(PASSWORD))),
        ca_file: None,
        from: "Tollgate <alerts@example.com>".into(),
        to: vec!["ann@example.com".into()],
    });
    let says = |code, words: &str| Answer::new(code, words);
    Bench {
        again: vec![
            (
                says(421, "4.3.2 Going down"),
                FailureReason::ServerError,
                None,
            ),
            (
                says(451, "4.3.0 Try again"),
                FailureReason::ServerError,
                None,
            ),
            (
                says(452, "4.3.1 No room for now"),
                FailureReason::RateLimited,
                None,
            ),
        ],
        give_up: vec![
            (says(500, "5.5.2 What?"), FailureReason::Refused),
            (says(552, "5.3.4 Too big"), FailureReason::TooLong),
            (says(554, "5.7.1 Looks like spam"), FailureReason::Policy),
        ],
        mentions: false,
        wire: Wire::Smtp,
        ..Bench::new("email", judge, target, timeout, &[PASSWORD, PLAIN_LOGIN])
    }
}
