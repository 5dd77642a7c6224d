//! Silences: kept once the answer is there, ended once.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::sample::START;
use super::{PATIENCE, open, settings};
use crate::alert::{BadSilence, Silence, SilenceMatcher};
use crate::clock::UnixMicros;
use crate::ledger::{Ledger, Reader, SilenceError, Takeover};

fn silence(n: i64) -> Silence {
    Silence {
        id: Uuid::now_v7(),
        matchers: vec![
            SilenceMatcher::new("rule".into(), "Spend*".into()),
            SilenceMatcher::new("channel".into(), "a \"b\"".into()),
        ],
        starts_at: START,
        ends_at: START.plus(Duration::from_secs(3600)),
        created_at: UnixMicros(START.0 + n),
        created_by: "alice".into(),
        comment: "a planned move".into(),
        ended_at: None,
    }
}

#[test]
fn a_silence_is_kept_and_ended_and_its_row_stays() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let ledger = open(&settings);
    let writer = ledger.silence_writer();
    assert_eq!(writer.list().unwrap(), []);
    let (first, second) = (silence(0), silence(1));
    writer.create(second.clone()).unwrap();
    writer.create(first.clone()).unwrap();
    assert_eq!(writer.list().unwrap(), [first.clone(), second.clone()]);
    assert!(matches!(
        writer.create(first.clone()),
        Err(SilenceError::Taken(id)) if id == first.id
    ));

    let at = START.plus(Duration::from_secs(60));
    writer.end(first.id, at).unwrap();
    assert!(matches!(
        writer.end(first.id, at),
        Err(SilenceError::Over { at: ended, .. }) if ended == at
    ));
    assert!(matches!(
        writer.end(second.id, second.ends_at),
        Err(SilenceError::Over { at, .. }) if at == second.ends_at
    ));
    let unknown = Uuid::now_v7();
    assert!(matches!(
        writer.end(unknown, at),
        Err(SilenceError::NoSuchSilence(id)) if id == unknown
    ));
    // It was committed before the answer.
    drop(ledger);
    let ended = Silence {
        ended_at: Some(at),
        ..first
    };
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.silences().unwrap(), [ended.clone(), second.clone()]);
    // Over from its end on, or from when it was to end.
    let holding = |at| reader.silences_not_over(at).unwrap();
    assert_eq!(holding(UnixMicros(at.0 - 1)), [ended, second.clone()]);
    assert_eq!(holding(at), std::slice::from_ref(&second));
    assert_eq!(holding(second.ends_at), []);
}

#[test]
fn what_is_no_silence_and_who_is_no_writer_is_told() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let ledger = open(&settings);
    let writer = ledger.silence_writer();
    let everything = Silence {
        matchers: Vec::new(),
        ..silence(0)
    };
    assert!(matches!(
        writer.create(everything),
        Err(SilenceError::Bad(BadSilence::NoMatchers))
    ));
    let waiting = Ledger::open(&settings, Takeover::Wait).unwrap();
    assert!(matches!(
        waiting.silence_writer().create(silence(0)),
        Err(SilenceError::NotWriter)
    ));
    let _ = ledger.close(PATIENCE);
    assert!(matches!(
        writer.create(silence(0)),
        Err(SilenceError::NotWriter)
    ));
    assert_eq!(writer.list().unwrap(), []);
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let writer = Arc::new(ledger.silence_writer());
    std::thread::scope(|scope| {
        for n in 0..8 {
            let writer = &writer;
            scope.spawn(move || writer.create(silence(n)).unwrap());
        }
    });
    assert_eq!(writer.list().unwrap().len(), 8);
}
