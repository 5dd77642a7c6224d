//! Channels of a gateway outside, which follow the gates here.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::RunError;
use super::gates::GateWatch;
use crate::admin::AdminState;
use crate::channel::Registry;
use crate::config::Settings;
use crate::sources::new_api::{Follower, Pauses};

/// Who makes them follow; `None` where the settings name no such gateway.
pub(super) fn follower(
    settings: &Settings,
    channels: &Arc<Registry>,
    watch: &GateWatch,
) -> Result<Option<Follower>, RunError> {
    let Some(gateway) = settings.sources.new_api.clone() else {
        return Ok(None);
    };
    let follower = Follower::new(
        gateway,
        &settings.channels,
        &settings.data_dir,
        Arc::clone(channels),
        watch.subscribe(),
        Pauses::USUAL,
    );
    Ok(Some(follower.map_err(RunError::Outside)?))
}

/// The admin port's state, which shows how they follow.
pub(super) fn shown(
    admin: AdminState,
    follower: Option<&Follower>,
) -> Result<AdminState, prometheus::Error> {
    match follower {
        Some(follower) => admin.with_followed(follower.stats()),
        None => Ok(admin),
    }
}

/// The follower at work. It does not outlive this.
pub(super) struct Following(Option<JoinHandle<()>>);

impl Following {
    /// Begins once the gates are known: before that an open one may be one that nobody has heard of
    /// yet. During a hand-over that is after the other process has stopped following, since it keeps
    /// the ledger until then.
    pub(super) fn start(follower: Option<Follower>, mut known: watch::Receiver<bool>) -> Self {
        let task = follower.map(|follower| {
            tokio::spawn(async move {
                // An error means that the process ends.
                if known.wait_for(|&known| known).await.is_ok() {
                    follower.run().await;
                }
            })
        });
        Self(task)
    }

    /// Ends it, and waits until it has ended.
    pub(super) async fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _ = task.await;
        }
    }
}
