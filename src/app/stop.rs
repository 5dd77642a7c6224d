//! Being told to stop: SIGTERM and SIGINT drain, a second one hurries, SIGQUIT hands over first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::proxy::OpenRequests;

use super::listeners::Listeners;
use super::outside::Following;
use super::rooms::Rooms;
use super::telling::Telling;

/// How long both processes accept after a hand-over, so that the new one surely does before the
/// old one stops.
const BOTH_ACCEPT: Duration = Duration::from_secs(2);

/// How long a stop waits for receivers' last answers at least; a hand-over no longer, since the other
/// process waits for it.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How often a drain looks whether requests are still open.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was told to.
    Told,
    /// Another process has its listeners.
    HandedOver,
}

/// The signals this process listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits until the process is to stop. A hand-over that finds nobody is no reason to; of one that
    /// finds somebody, `following` and `telling` end first, then the rules' deeds, then the ledger goes over.
    pub(super) async fn wait(
        &mut self,
        listeners: &Listeners,
        rooms: &Rooms,
        following: &mut Following,
        telling: &mut Telling,
    ) -> Reason {
        let reason = loop {
            tokio::select! {
                _ = self.terminate.recv() => break Reason::Told,
                _ = self.interrupt.recv() => break Reason::Told,
                _ = self.quit.recv() => {
                    if handed_over(listeners).await {
                        // In this order: the other process follows, and decides, once it has the ledger.
                        following.stop().await;
                        // What happens meanwhile is done, and told by the other process.
                        let over = Instant::now() + LAST_ANSWERS;
                        telling.stop(over, std::future::pending()).await;
                        rooms.enforcement.retire();
                        rooms.ledger.hand_over();
                        tokio::time::sleep(BOTH_ACCEPT).await;
                        break Reason::HandedOver;
                    }
                }
            }
        };
        tracing::info!("stopping: no new requests, running ones may end");
        reason
    }

    /// Waits for a signal to stop.
    pub(super) async fn hurry(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn handed_over(listeners: &Listeners) -> bool {
    let table = listeners.table();
    let socket = Arc::<std::path::Path>::from(listeners.socket());
    let sent = tokio::task::spawn_blocking({
        let socket = Arc::clone(&socket);
        move || Listeners::hand_over(&table, &socket)
    })
    .await;
    match sent {
        Ok(Ok(())) => {
            tracing::info!("the listeners were handed to the new process");
            true
        }
        Ok(Err(reason)) => {
            tracing::warn!(
                socket = %socket.display(),
                reason,
                "nobody took the listeners; start the new process with --upgrade first. Going on"
            );
            false
        }
        Err(_) => false,
    }
}

/// Waits until no request is open, `grace` is over, or another signal comes.
pub(super) async fn drained(open: &OpenRequests, grace: Duration, signals: &mut Signals) {
    let over = Instant::now() + grace;
    let idle = async {
        while open.count() > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = idle => {}
        () = tokio::time::sleep_until(over) => {}
        () = signals.hurry() => tracing::info!("told again: not waiting any longer"),
    }
}
