//! Channels of a gateway outside, which follow the gates here.

use std::sync::Arc;

use tokio::sync::watch;

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

/// Follows, for ever, once the gates are known: before that an open one may be one that nobody has
/// heard of yet.
pub(super) async fn follow(follower: Follower, mut known: watch::Receiver<bool>) {
    // An error means that the process ends.
    if known.wait_for(|&known| known).await.is_ok() {
        follower.run().await;
    }
}
