//! Waiting for the first free place at any of several channels.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Channel;
use super::places::Seat;
use super::selection::Stage;

/// Channels that one request waits for at most, the first in order: what many wait for must not
/// grow with the settings.
const LONGEST: usize = 32;

type Waiting = Pin<Box<dyn Future<Output = Option<Granted>> + Send>>;

/// A place that was waited for.
pub(super) struct Granted {
    pub(super) channel: Arc<Channel>,
    pub(super) seat: Seat,
    /// What the channel must be for the request to take it.
    pub(super) stage: Stage,
}

/// One request's places in the queues of channels, each in the order of arrival. What it was given
/// and did not take, and where it still stood, goes to the next when this is dropped.
#[derive(Default)]
pub(super) struct Queue {
    waiting: FuturesUnordered<Waiting>,
    joined: Vec<u32>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    pub(super) fn is_long(&self) -> bool {
        self.joined.len() >= LONGEST
    }

    /// Queues for a place at `channel` too.
    pub(super) fn join(&mut self, channel: &Arc<Channel>, stage: Stage) {
        if self.joined.contains(&channel.index) {
            return;
        }
        let Some(places) = channel.places.queue() else {
            return;
        };
        let channel = Arc::clone(channel);
        self.joined.push(channel.index);
        self.waiting.push(Box::pin(async move {
            let seat = places.acquire_owned().await.ok()?;
            Some(Granted {
                channel,
                seat: Some(seat),
                stage,
            })
        }));
    }

    /// The next place that is given; waits for ever where nobody gives any.
    pub(super) async fn next(&mut self) -> Option<Granted> {
        let Some(granted) = self.waiting.next().await else {
            return std::future::pending().await;
        };
        let granted = granted?;
        self.joined.retain(|index| *index != granted.channel.index);
        Some(granted)
    }
}
