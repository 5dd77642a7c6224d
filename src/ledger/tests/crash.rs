//! Whatever is killed whenever: every request has one row.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::alerts::{alert_event, recorded_alert_events};
use super::gates::{gate_event, recorded_events};
use super::notifications::{answer, fate, notification, recorded_answers, recorded_notifications};
use super::sample::{admission, any_record, record};
use super::windows::assert_windows_are_the_rows;
use super::{Manual, assert_sound, open, query_number, rows, settings};
use crate::alert::NotificationFate;
use crate::ledger::query::StoredNotification;
use crate::ledger::{Closed, catch_up, journal_folder};
use crate::record::{Outcome, RequestId, RequestRecord, UsageSource};

#[derive(Clone, Debug)]
enum Step {
    /// The next request is admitted.
    Admit,
    /// One of the open requests goes on to another channel.
    Move(prop::sample::Index),
    /// One of the open requests ends.
    End(prop::sample::Index),
    /// A request ends that was never admitted (it was refused).
    Refuse,
    /// A channel's gate changes.
    Gate,
    /// An alert changes.
    Alert,
    /// The next notification is kept.
    Notify,
    /// It is known what became of one of those, perhaps once more.
    Settle(prop::sample::Index),
    /// Somebody answers from a chat.
    Answer,
    /// The writer commits what there is.
    Round,
    /// kill -9, then a new start.
    Kill,
    /// kill -9, then a command that only catches up.
    KillAndCatchUp,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Admit),
        4 => any::<prop::sample::Index>().prop_map(Step::Move),
        6 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => Just(Step::Refuse),
        2 => Just(Step::Gate),
        2 => Just(Step::Alert),
        3 => Just(Step::Notify),
        3 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => Just(Step::Answer),
        3 => Just(Step::Round),
        1 => Just(Step::Kill),
        1 => Just(Step::KillAndCatchUp),
    ]
}

/// What a row says of how its request ended, and where.
type End = (Option<Arc<str>>, Outcome);

fn end(request: &RequestRecord, outcome: Outcome) -> End {
    (request.admission.channel.clone(), outcome)
}

/// The process was killed with the request in it.
fn interrupted(request: &RequestRecord) -> (RequestId, End) {
    (request.admission.id, end(request, Outcome::Interrupted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_requests_commits_and_kills_gives_each_request_one_row(
        steps in prop::collection::vec(step(), 1..60),
        requests in prop::collection::vec(any_record(), 60),
        segment_bytes in prop_oneof![Just(300_u64), Just(2_000), Just(1 << 20)],
    ) {
        let folder = TempDir::new().unwrap();
        let settings = crate::ledger::Settings { segment_bytes, ..settings(&folder) };
        let mut ledger = Manual::open(&settings);
        let mut requests = requests.into_iter();
        let mut open: Vec<RequestRecord> = Vec::new();
        let mut expected: BTreeMap<RequestId, End> = BTreeMap::new();
        let mut events = Vec::new();
        let mut alerts = Vec::new();
        let mut told: Vec<StoredNotification> = Vec::new();
        let mut answers = Vec::new();
        for step in steps {
            match step {
                Step::Admit => {
                    let request = requests.next().unwrap();
                    ledger.journal.admit(&request.admission);
                    open.push(request);
                }
                Step::Move(index) if !open.is_empty() => {
                    let at = index.index(open.len());
                    let admission = &mut open[at].admission;
                    let before = admission.channel.as_deref().unwrap_or_default();
                    admission.channel = Some(format!("{before}+").into());
                    ledger.journal.admit(admission);
                }
                Step::End(index) if !open.is_empty() => {
                    let request = open.swap_remove(index.index(open.len()));
                    ledger.journal.end(&request);
                    expected.insert(request.admission.id, end(&request, request.outcome));
                }
                Step::Notify => {
                    let notification = notification(told.len());
                    prop_assert!(ledger.journal.notification_kept(&notification));
                    told.push(StoredNotification { notification, fate: None });
                }
                Step::Settle(index) if !told.is_empty() => {
                    let n = index.index(told.len());
                    let settled = told[n].fate.is_some();
                    let fate = NotificationFate { attempts: u32::from(settled), ..fate(n) };
                    prop_assert!(ledger.journal.notification_settled(&fate));
                    told[n].fate.get_or_insert(fate);
                }
                Step::Move(_) | Step::End(_) | Step::Settle(_) => {}
                Step::Answer => {
                    let answer = answer(answers.len());
                    prop_assert!(ledger.journal.answered(&answer));
                    answers.push(answer);
                }
                Step::Refuse => {
                    let request = requests.next().unwrap();
                    ledger.journal.end(&request);
                    expected.insert(request.admission.id, end(&request, request.outcome));
                }
                Step::Gate => {
                    let event = gate_event(events.len());
                    prop_assert!(ledger.journal.gate_changed(&event));
                    events.push(event);
                }
                Step::Alert => {
                    let event = alert_event(alerts.len());
                    prop_assert!(ledger.journal.alert_changed(&event));
                    alerts.push(event);
                }
                Step::Round => ledger.round(),
                Step::Kill | Step::KillAndCatchUp => {
                    ledger.kill();
                    expected.extend(open.drain(..).map(|request| interrupted(&request)));
                    if matches!(step, Step::KillAndCatchUp) {
                        catch_up(folder.path()).unwrap();
                    }
                    ledger = Manual::open(&settings);
                }
            }
        }
        ledger.kill();
        expected.extend(open.drain(..).map(|request| interrupted(&request)));
        catch_up(folder.path()).unwrap();

        let rows = rows_or_none(folder.path());
        prop_assert_eq!(rows.len(), expected.len());
        let found: BTreeMap<_, _> = rows.iter().map(|row| (row.id, (row.channel.as_deref().map(Arc::from), row.outcome))).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(recorded_events(folder.path()), events);
        prop_assert_eq!(recorded_alert_events(folder.path()), alerts);
        prop_assert_eq!(recorded_notifications(folder.path()), told);
        prop_assert_eq!(recorded_answers(folder.path()), answers);
        if !rows.is_empty() {
            assert_sound(folder.path());
            assert_windows_are_the_rows(folder.path());
            prop_assert_eq!(
                query_number(folder.path(), "SELECT coalesce(sum(requests), 0) FROM usage_minutely"),
                i64::try_from(rows.len()).unwrap()
            );
            prop_assert_eq!(query_number(folder.path(), "SELECT count(*) FROM admissions"), 0);
            prop_assert_eq!(query_number(folder.path(), "SELECT count(*) FROM journal_streams"), 0);
        }
        prop_assert_eq!(journal_files(folder.path()), Vec::<PathBuf>::new());
    }
}

fn rows_or_none(data_dir: &Path) -> Vec<crate::ledger::query::StoredRequest> {
    match crate::ledger::Reader::open(data_dir) {
        Err(crate::ledger::QueryError::NoLedger { .. }) => Vec::new(),
        _ => rows(data_dir),
    }
}

fn journal_files(data_dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(journal_folder(data_dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

/// The same files in another folder: what a kill at this moment leaves.
fn copy(data_dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir(journal_folder(copy.path())).unwrap();
    for folder in ["", "journal"] {
        for entry in fs::read_dir(data_dir.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(
                    entry.path(),
                    copy.path().join(folder).join(entry.file_name()),
                )
                .unwrap();
            }
        }
    }
    copy
}

#[test]
fn files_copied_between_any_two_steps_make_a_whole_ledger() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    ledger.round();
    let mut ended = 0;
    for n in 0..12 {
        let admission = admission(n);
        ledger.journal.admit(&admission);
        if n % 3 == 1 {
            ledger.round();
        }
        let at_admission = copy(folder.path());
        ledger.journal.end(&record(admission));
        ended += 1;
        if n % 4 == 2 {
            ledger.round();
        }
        for (copied, interrupted) in [(at_admission, 1), (copy(folder.path()), 0)] {
            catch_up(copied.path()).unwrap();
            assert_sound(copied.path());
            let rows = rows(copied.path());
            assert_eq!(rows.len(), ended - interrupted + interrupted);
            let open = rows
                .iter()
                .filter(|row| row.outcome == Outcome::Interrupted);
            assert_eq!(open.count(), interrupted);
        }
    }
}

#[test]
fn an_interrupted_request_says_what_was_known_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let ledger = Manual::open(&settings(&folder));
    let admitted = admission(0);
    ledger.journal.admit(&admitted);
    ledger.kill();
    assert_eq!(catch_up(folder.path()).unwrap(), 1);
    assert_eq!(catch_up(folder.path()).unwrap(), 0);
    let [row] = rows(folder.path()).try_into().unwrap();
    assert_eq!(row.outcome, Outcome::Interrupted);
    assert_eq!(row.requested_model.as_deref(), Some("gpt-5-mini"));
    assert_eq!(row.started_at, admitted.started_at);
    assert_eq!(
        row.usage,
        crate::record::Usage::absent(UsageSource::Missing)
    );
    assert_eq!((row.cost, row.status), (None, None));
    assert_eq!((row.attempts, row.response_bytes), (None, None));
    assert_eq!(row.phases, crate::record::Phases::default());
}

#[test]
fn a_journal_cut_anywhere_gives_the_requests_before_the_cut() {
    let folder = TempDir::new().unwrap();
    let ledger = Manual::open(&settings(&folder));
    let mut ends = Vec::new();
    for n in 0..3 {
        ledger.journal.end(&record(admission(n)));
        ends.push(ledger.journal.appended());
    }
    ledger.kill();
    let last = *ends.last().unwrap();
    for cut in (0..=last).step_by(5).chain(ends.clone()) {
        let copied = copy(folder.path());
        let [file] = journal_files(copied.path()).try_into().unwrap();
        OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(
            catch_up(copied.path()).unwrap(),
            whole as u64,
            "cut at {cut}"
        );
        assert!(!journal_folder(copied.path()).join("rejected").exists());
    }
}

#[test]
fn a_damaged_entry_is_set_aside_and_those_around_it_are_kept() {
    let folder = TempDir::new().unwrap();
    let ledger = Manual::open(&settings(&folder));
    let mut starts = Vec::new();
    for n in 0..3 {
        starts.push(ledger.journal.appended());
        ledger.journal.end(&record(admission(n)));
    }
    let end = ledger.journal.appended();
    ledger.kill();
    // Every byte of the middle entry, its header included, and of the last one's payload.
    for at in (starts[1]..starts[2])
        .step_by(3)
        .chain([starts[1] + 1, end - 1])
    {
        let copied = copy(folder.path());
        let [path] = journal_files(copied.path()).try_into().unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        flip(&file, at);
        assert_eq!(catch_up(copied.path()).unwrap(), 2, "byte {at}");
        let set_aside = fs::read_to_string(journal_folder(copied.path()).join("rejected")).unwrap();
        assert_eq!(set_aside.lines().count(), 1);
        assert!(set_aside.contains("damaged bytes"));
    }
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_request_that_ends_twice_has_one_row_and_the_rest_goes_on() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let twice = record(admission(0));
    ledger.journal.end(&twice);
    ledger.journal.end(&twice);
    ledger.journal.end(&record(admission(1)));
    ledger.round();
    ledger.journal.end(&twice);
    ledger.round();
    assert_eq!(rows(folder.path()).len(), 2);
    assert_eq!(ledger.stats.rejected(), 2);
    assert_eq!(
        query_number(folder.path(), "SELECT sum(requests) FROM usage_minutely"),
        2
    );
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM attempts"),
        2
    );
}

/// What had the request last is what its row says, however long ago it was admitted first.
#[test]
fn an_interrupted_request_is_of_the_channel_that_it_went_on_to() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let mut admitted = admission(0);
    ledger.journal.admit(&admitted);
    let mut big = record(admission(1));
    while ledger.journal.appended() < 9 << 20 {
        big.admission.id = RequestId::generate();
        big.error_message = Some("x".repeat(500 << 10).into());
        ledger.journal.end(&big);
        ledger.round();
    }
    let kept = |count| {
        let found = query_number(folder.path(), "SELECT count(*) FROM admissions");
        assert_eq!(found, count);
    };
    kept(1);
    admitted.channel = Some("second".into());
    ledger.journal.admit(&admitted);
    ledger.round();
    kept(0);
    ledger.kill();
    assert_eq!(catch_up(folder.path()).unwrap(), 1);
    let open = rows(folder.path());
    let open: Vec<_> = open.iter().filter(|row| row.id == admitted.id).collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].outcome, Outcome::Interrupted);
    assert_eq!(open[0].channel.as_deref(), Some("second"));
}

#[test]
fn a_request_open_while_much_passes_holds_no_journal_back() {
    let folder = TempDir::new().unwrap();
    let settings = crate::ledger::Settings {
        segment_bytes: 1 << 20,
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    let [ends, stays] = [admission(0), admission(1)];
    ledger.journal.admit(&ends);
    ledger.journal.admit(&stays);
    let mut big = record(admission(2));
    while ledger.journal.appended() < 12 << 20 {
        big.admission.id = RequestId::generate();
        big.error_message = Some("x".repeat(500 << 10).into());
        ledger.journal.end(&big);
        ledger.round();
    }
    assert!(
        journal_files(folder.path()).len() <= 10,
        "what is behind is deleted"
    );
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM admissions"),
        2
    );

    ledger.journal.end(&record(ends.clone()));
    ledger.round();
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM admissions"),
        1
    );
    ledger.kill();
    catch_up(folder.path()).unwrap();
    let rows = rows(folder.path());
    let outcome = |id| rows.iter().find(|row| row.id == id).unwrap().outcome;
    assert_eq!(outcome(ends.id), Outcome::Ok);
    assert_eq!(outcome(stays.id), Outcome::Interrupted);
}

#[test]
fn a_killed_process_loses_nothing_that_was_appended() {
    let folder = TempDir::new().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "ledger::tests::crash::appends_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("TOLLGATE_TEST_FOLDER", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    // It writes each id after the journal took the request's end, and before that an alert's event, a
    // notification, the fate of each other one, and an answer.
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut ended = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if let Some(id) = line.strip_prefix("ended ") {
            ended.push(id.parse::<RequestId>().unwrap());
        }
        if ended.len() == 300 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(ended.len() >= 300);

    let ledger = open(&settings(&folder));
    assert_eq!(ledger.close(super::PATIENCE), Closed::Complete);
    assert_sound(folder.path());
    let mut recorded: Vec<_> = rows(folder.path()).iter().map(|row| row.id).collect();
    recorded.sort();
    recorded.dedup();
    assert_eq!(recorded.len(), rows(folder.path()).len());
    let alerts = recorded_alert_events(folder.path());
    let told = alerts.len();
    assert!(told >= ended.len());
    assert!(alerts.into_iter().eq((0..told).map(alert_event)));
    let kept = recorded_notifications(folder.path());
    // The last may have been cut off before its fate.
    assert!(kept.len() >= ended.len());
    let last = kept.len() - 1;
    for (n, kept) in kept.into_iter().enumerate() {
        assert_eq!(kept.notification, notification(n));
        if n.is_multiple_of(2) {
            assert!(kept.fate.is_none());
        } else if n < last {
            assert_eq!(kept.fate, Some(fate(n)));
        }
    }
    let answers = recorded_answers(folder.path());
    assert!(answers.len() >= ended.len());
    let answered = answers.len();
    assert!(answers.into_iter().eq((0..answered).map(answer)));
    for id in ended {
        assert!(recorded.binary_search(&id).is_ok());
    }
}

#[test]
#[ignore = "the process that a_killed_process_loses_nothing_that_was_appended kills"]
fn appends_until_killed() {
    let Some(data_dir) = std::env::var_os("TOLLGATE_TEST_FOLDER") else {
        return;
    };
    let ledger = open(&crate::ledger::Settings {
        tick: std::time::Duration::from_millis(1),
        ..crate::ledger::Settings::new(data_dir)
    });
    for n in 0.. {
        let admission = admission(n);
        ledger.journal().admit(&admission);
        let at = usize::try_from(n).unwrap();
        assert!(ledger.journal().alert_changed(&alert_event(at)));
        assert!(ledger.journal().notification_kept(&notification(at)));
        if !at.is_multiple_of(2) {
            assert!(ledger.journal().notification_settled(&fate(at)));
        }
        assert!(ledger.journal().answered(&answer(at)));
        let record = record(admission);
        ledger.journal().end(&record);
        println!("ended {}", record.admission.id);
    }
}
