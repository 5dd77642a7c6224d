//! Letters that are being written: on threads that may wait for the ledger, some at a time, and those of
//! a group one after the other. Whoever decides waits for none of them.

use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::dispatch::letters::Letter;

/// Letters that are written at a time.
const LANES: usize = 4;

/// What writes a letter, or several of what one cannot hold.
pub(super) type Write = Box<dyn FnOnce() -> Vec<Letter> + Send>;

/// A letter that is to be written.
pub(super) struct Draft {
    /// Whom it is to.
    pub(super) receiver: Arc<str>,
    /// What it is about: letters of a group are ready in the order in which they were asked for.
    pub(super) group: Arc<str>,
    /// Writes it.
    pub(super) write: Write,
    /// Writes that there is something to tell, where the other one meets a fault.
    pub(super) plainly: Write,
}

/// Letters that are being written, or wait for that.
#[derive(Default)]
pub(super) struct Writing {
    lanes: [Lane; LANES],
    at_work: JoinSet<(usize, Vec<Letter>)>,
    count: usize,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Draft>,
    is_busy: bool,
}

impl Writing {
    /// How many are not ready.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Has one written.
    pub(super) fn add(&mut self, draft: Draft) {
        let lane = crc32fast::hash(draft.group.as_bytes()) as usize % LANES;
        self.lanes[lane].waiting.push_back(draft);
        self.count += 1;
        self.start(lane);
    }

    /// Waits until one is ready, or nobody can write it (nothing); for ever while there is none.
    pub(super) async fn next(&mut self) -> Vec<Letter> {
        match self.at_work.join_next().await {
            Some(Ok((lane, letter))) => {
                self.lanes[lane].is_busy = false;
                self.count -= 1;
                self.start(lane);
                letter
            }
            // No fault of writing ends like this: the process ends.
            Some(Err(_)) => Vec::new(),
            None => pending().await,
        }
    }

    fn start(&mut self, lane: usize) {
        let Lane { waiting, is_busy } = &mut self.lanes[lane];
        if *is_busy {
            return;
        }
        if let Some(draft) = waiting.pop_front() {
            *is_busy = true;
            self.at_work.spawn_blocking(move || (lane, written(draft)));
        }
    }
}

/// Writes a letter. What was decided counts as told, so that a fault must not swallow it.
fn written(draft: Draft) -> Vec<Letter> {
    let Draft {
        receiver,
        group,
        write,
        plainly,
    } = draft;
    // What a fault leaves behind is dropped with the closure.
    let guarded = |write: Write| catch_unwind(AssertUnwindSafe(write)).ok();
    if let Some(letters) = guarded(write) {
        return letters;
    }
    let (receiver, group) = (&*receiver, &*group);
    tracing::error!(
        receiver,
        group,
        "writing a notification met a fault of Tollgate's own; it is told by its title"
    );
    let letters = guarded(plainly);
    if letters.is_none() {
        tracing::error!(
            receiver,
            group,
            "a notification cannot be written: it is lost"
        );
    }
    letters.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use uuid::Uuid;

    use super::*;
    use crate::alert::{Notification, NotificationKind, NotifyReason};
    use crate::clock::UnixMicros;

    fn letter(group: &str, title: &str) -> Letter {
        Letter {
            notification: Notification {
                id: Uuid::now_v7(),
                at: UnixMicros(0),
                receiver: "ops".into(),
                kind: NotificationKind::Alert,
                reason: NotifyReason::First,
                group: group.into(),
                title: title.into(),
                deadline: UnixMicros(1),
                content: "".into(),
                told: "".into(),
            },
            told: None,
        }
    }

    fn draft(group: &str, write: impl FnOnce() -> Letter + Send + 'static) -> Draft {
        let of = group.to_owned();
        Draft {
            receiver: "ops".into(),
            group: group.into(),
            write: Box::new(move || vec![write()]),
            plainly: Box::new(move || vec![letter(&of, "by its title")]),
        }
    }

    /// The groups and titles of all, in the order in which they are ready.
    async fn ready(writing: &mut Writing) -> Vec<(String, String)> {
        let mut ready = Vec::new();
        while writing.len() > 0 {
            for Letter { notification, .. } in writing.next().await {
                ready.push((
                    notification.group.to_string(),
                    notification.title.to_string(),
                ));
            }
        }
        ready
    }

    #[tokio::test]
    async fn letters_of_a_group_are_ready_in_order_and_few_are_written_at_a_time() {
        let mut writing = Writing::default();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for turn in 0..50 {
            for group in 0..10 {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                let group = format!("g{group}");
                let of = group.clone();
                writing.add(draft(&group, move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    letter(&of, &turn.to_string())
                }));
            }
        }
        assert_eq!(writing.len(), 500);
        let ready = ready(&mut writing).await;
        assert_eq!(ready.len(), 500);
        for group in 0..10 {
            let of_group = ready.iter().filter(|(of, _)| *of == format!("g{group}"));
            let turns: Vec<usize> = of_group.map(|(_, turn)| turn.parse().unwrap()).collect();
            assert_eq!(turns, (0..50).collect::<Vec<_>>());
        }
        assert!(most.load(Ordering::SeqCst) <= LANES);
    }

    #[tokio::test]
    async fn one_that_takes_long_delays_only_what_shares_its_lane() {
        let mut writing = Writing::default();
        let (go, waits) = mpsc::channel::<()>();
        writing.add(draft("slow", move || {
            waits.recv().unwrap();
            letter("slow", "late")
        }));
        let lane = |group: &str| crc32fast::hash(group.as_bytes()) as usize % LANES;
        let other = (0..).map(|n| format!("g{n}"));
        let other = { other }.find(|group| lane(group) != lane("slow")).unwrap();
        let of = other.clone();
        writing.add(draft(&other, move || letter(&of, "at once")));
        let first = writing.next().await.remove(0);
        assert_eq!(&*first.notification.group, other);
        go.send(()).unwrap();
        assert_eq!(ready(&mut writing).await.len(), 1);
    }

    #[tokio::test]
    async fn a_fault_of_writing_swallows_nothing_and_ends_nothing() {
        let mut writing = Writing::default();
        writing.add(draft("g", || panic!("a fault")));
        let mut lost = draft("g", || panic!("a fault"));
        lost.plainly = Box::new(|| panic!("another"));
        writing.add(lost);
        writing.add(draft("g", || letter("g", "the next")));
        let titles = ["by its title", "the next"].map(|title| ("g".to_owned(), title.to_owned()));
        assert_eq!(ready(&mut writing).await, titles);
    }
}
