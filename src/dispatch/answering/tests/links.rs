//! Links: looking does nothing, following does it once.

use super::*;

#[test]
fn looking_does_nothing_however_often() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let now = NOON.plus(MINUTE);
    let link = run.sealed(
        Way::Link,
        "zh",
        AnswerAction::Reopen,
        &channel("east"),
        NOON,
    );
    for _ in 0..3 {
        let peek = run.answerer.peek(&link, now);
        assert_eq!(peek.standing, Standing::Offered);
        assert_eq!(peek.language, Language::Zh);
        assert!(peek.text.contains("east"), "{}", peek.text);
    }
    assert_eq!(run.state("east"), GateState::Closed);
    assert_eq!(run.kept(), []);

    let address = "192.0.2.7".parse().unwrap();
    let reply = run.answerer.follow(&link, Some(address), now);
    assert_eq!(reply.standing, Standing::Done, "{reply:?}");
    assert_eq!(run.state("east"), GateState::Open);
    assert_eq!(&*run.kept()[0].who, "link of zh (192.0.2.7)");
    assert_eq!(run.answerer.peek(&link, now).standing, Standing::Used);
    let again = run.answerer.follow(&link, None, now);
    assert_eq!(again.standing, Standing::Used);
    // After a start too.
    let run = run.restart();
    assert_eq!(run.answerer.peek(&link, now).standing, Standing::Used);
}

#[test]
fn a_button_of_the_chat_works_by_no_link() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let now = NOON.plus(MINUTE);
    // Everybody in a chat can read a button's characters, allowed to press it or not.
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    assert_eq!(run.answerer.peek(&button, now).standing, Standing::Forged);
    let reply = run.answerer.follow(&button, None, now);
    assert_eq!(reply.standing, Standing::Forged);
    assert_eq!(run.state("east"), GateState::Closed);
}

#[test]
fn a_link_says_why_it_does_not_work() {
    let run = Run::start();
    let link = run.sealed(
        Way::Link,
        "ops",
        AnswerAction::Reopen,
        &channel("gone"),
        NOON,
    );
    let standing = |link: &str, now| run.answerer.peek(link, now).standing;
    assert_eq!(standing(&link, NOON), Standing::Gone);
    assert_eq!(standing(&link, NOON.plus(HOUR)), Standing::Expired);
    assert_eq!(standing("nonsense", NOON), Standing::Forged);
    let details = run.sealed(
        Way::Link,
        "ops",
        AnswerAction::Details,
        &channel("east"),
        NOON,
    );
    let peek = run.answerer.peek(&details, NOON);
    assert_eq!(peek.standing, Standing::Done);
    assert_eq!(peek.message.unwrap().title, "east: open");
}
