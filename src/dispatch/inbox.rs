//! Where alerts and gates say that they changed. Whoever says so holds locks that requests wait for, so
//! nothing is done here but to note it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::alert::{AlertEvent, AlertId};
use crate::record::ChannelEvent;

/// What is noted at most before only the last change of each alert is kept: nobody reads fast enough, or
/// at all.
const MOST: usize = 50_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An alert changed.
    Alert(Arc<AlertEvent>),
    /// A channel's gate changed.
    Gate(Box<ChannelEvent>),
}

/// What happened and was not read yet.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Whether anybody will read it.
    open: AtomicBool,
    news: Mutex<Vec<News>>,
    came: Notify,
}

impl Inbox {
    /// From here on what happens is kept.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.take();
    }

    /// An alert changed in a way that people are told of.
    pub fn alert_changed(&self, event: &AlertEvent) {
        self.note(|| News::Alert(Arc::new(event.clone())));
    }

    /// A channel's gate changed.
    pub fn gate_changed(&self, event: &ChannelEvent) {
        self.note(|| News::Gate(Box::new(event.clone())));
    }

    fn note(&self, news: impl FnOnce() -> News) {
        if !self.open.load(Ordering::Acquire) {
            return;
        }
        let news = news();
        let mut noted = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST {
            shorten(&mut noted);
        }
        noted.push(news);
        drop(noted);
        self.came.notify_one();
    }

    /// What happened since the last call, in order.
    pub fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something happened; at once where something did since the last call.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }
}

/// Keeps the last change of each alert, and the last ones of gates.
fn shorten(noted: &mut Vec<News>) {
    let mut last: HashMap<AlertId, usize> = HashMap::new();
    for (index, news) in noted.iter().enumerate() {
        if let News::Alert(event) = news {
            last.insert(event.alert.clone(), index);
        }
    }
    let gates = noted.iter().filter(|news| matches!(news, News::Gate(_)));
    let mut too_many = gates.count().saturating_sub(MOST / 10);
    let mut index = 0;
    noted.retain(|news| {
        let keep = match news {
            News::Alert(event) => last.get(&event.alert) == Some(&index),
            News::Gate(_) if too_many > 0 => {
                too_many -= 1;
                false
            }
            News::Gate(_) => true,
        };
        index += 1;
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::{firing, resolved};

    #[test]
    fn what_nobody_reads_stays_within_bounds_and_keeps_the_last_word() {
        let inbox = Inbox::default();
        let first = firing("A", &[("key", "first")], 0);
        inbox.alert_changed(&first);
        assert!(inbox.take().is_empty(), "nobody reads it");
        inbox.open();
        inbox.alert_changed(&first);
        for second in 0..200_000 {
            let event = firing("A", &[("key", &(second % 7).to_string())], second);
            inbox.alert_changed(&event);
        }
        inbox.alert_changed(&resolved(&first, 1));
        let read = inbox.take();
        assert!(read.len() <= MOST + 1);
        let last = |key: &str| {
            let of_key = |news: &&News| {
                matches!(news, News::Alert(event)
                if event.alert.labels.get("key").is_some_and(|known| **known == *key))
            };
            match read.iter().rfind(of_key) {
                Some(News::Alert(event)) => (event.state.as_str(), event.at.0 / 1_000_000),
                _ => panic!("{key} is not there"),
            }
        };
        assert_eq!(last("3"), ("firing", 199_993));
        assert_eq!(last("first"), ("inactive", 1));
    }
}
