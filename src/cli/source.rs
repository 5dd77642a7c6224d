//! Where answers come from: the sidecar that runs, or the ledger itself when none does.

use std::path::Path;
use std::sync::Arc;

use super::client::{AskError, Client};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::patience::patiently;
use crate::admin::json::{
    ChannelEventJson, ChannelJson, NotificationJson, PayloadJson, RequestDetailJson, RequestJson,
    RuleJson, SilenceJson, UsageSummaryJson,
};
use crate::admin::{ErrorCode, MAX_LIMIT, ledger_id};
use crate::app::{self, RunError};
use crate::channel::{Registry, Unobserved};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::query::{
    GateEventFilter, NotificationFilter, RequestFilter, Sequence, UsageQuery,
};
use crate::ledger::{self, OpenError, QueryError, Reader};
use crate::payloads;
use crate::record::{ChannelEvent, RequestId};

/// Who answers. Both answer in the API's types, so that what is printed does not depend on it.
#[derive(Debug)]
pub(super) enum Source {
    /// The sidecar, over its admin port.
    Sidecar(Client),
    /// The ledger's own files.
    Ledger(Reader),
}

impl Source {
    /// The sidecar of these settings when it runs, else their ledger.
    pub(super) async fn open(settings: &Settings, output: &Output) -> Result<Self, Failure> {
        match sidecar(settings).await {
            Ok(client) => return Ok(Self::Sidecar(client)),
            Err(NoSidecar::Absent) => {}
            Err(NoSidecar::Other(reason)) => {
                output.note(&format!("{reason}; reading the ledger's files instead"));
            }
        }
        catch_up(&settings.data_dir, output).await;
        Ok(Self::Ledger(Reader::open(&settings.data_dir)?))
    }

    /// Usage.
    pub(super) async fn usage(&self, query: &UsageQuery) -> Result<UsageSummaryJson, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.usage(query).await?),
            Self::Ledger(reader) => Ok(UsageSummaryJson::new(query, reader.usage(query)?)),
        }
    }

    /// The first `count` requests of a listing, page by page.
    pub(super) async fn requests(
        &self,
        filter: &RequestFilter,
        count: u32,
    ) -> Result<Vec<RequestJson>, Failure> {
        match self {
            Self::Sidecar(client) => {
                paged(count, async |limit, cursor: Option<String>| {
                    let filter = RequestFilter {
                        limit,
                        ..filter.clone()
                    };
                    let page = client.requests(&filter, cursor.as_deref()).await?;
                    Ok((page.requests, page.next))
                })
                .await
            }
            Self::Ledger(reader) => {
                paged(count, async |limit, cursor| {
                    let filter = RequestFilter {
                        limit,
                        cursor: cursor.or(filter.cursor),
                        ..filter.clone()
                    };
                    let page = reader.requests(&filter)?;
                    let requests = page.requests.into_iter().map(Into::into);
                    Ok((requests.collect(), page.next))
                })
                .await
            }
        }
    }

    /// One request; `None` when the ledger has none of this id.
    pub(super) async fn request(
        &self,
        id: RequestId,
    ) -> Result<Option<RequestDetailJson>, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.request(id).await?),
            Self::Ledger(reader) => Ok(reader.request(id)?.map(Into::into)),
        }
    }

    /// The bytes of a request; `None` when they were not kept, or not any more.
    pub(super) async fn payload(
        &self,
        id: RequestId,
        settings: &Settings,
    ) -> Result<Option<PayloadJson>, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.payload(id).await?),
            Self::Ledger(_) => Ok(payloads::read(&settings.data_dir, id)?.map(Into::into)),
        }
    }

    /// Every channel; without a sidecar as the next start will find them.
    pub(super) async fn channels(
        &self,
        settings: &Settings,
        now: UnixMicros,
    ) -> Result<Vec<ChannelJson>, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.channels().await?.channels),
            Self::Ledger(reader) => channels_at_rest(settings, &reader.last_gate_events()?, now),
        }
    }

    /// Every rule with its alerts; without a sidecar as the next start will find them.
    pub(super) async fn rules(
        &self,
        settings: &Settings,
        now: UnixMicros,
    ) -> Result<Vec<RuleJson>, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.rules().await?.rules),
            Self::Ledger(reader) => rules_at_rest(settings, Some(reader), now),
        }
    }

    /// Whether no sidecar answers.
    pub(super) const fn is_at_rest(&self) -> bool {
        matches!(self, Self::Ledger(_))
    }

    /// What happened last to the channels' gates, the newest first, page by page.
    pub(super) async fn channel_events(
        &self,
        filter: &GateEventFilter,
        count: u32,
    ) -> Result<Vec<ChannelEventJson>, Failure> {
        match self {
            Self::Sidecar(client) => {
                paged(count, async |limit, cursor: Option<String>| {
                    let filter = GateEventFilter {
                        limit,
                        ..filter.clone()
                    };
                    let page = client.channel_events(&filter, cursor.as_deref()).await?;
                    Ok((page.events, page.next))
                })
                .await
            }
            Self::Ledger(reader) => {
                paged(count, async |limit, cursor| {
                    let filter = GateEventFilter {
                        limit,
                        cursor: cursor.or(filter.cursor),
                        ..filter.clone()
                    };
                    let page = reader.gate_events(&filter)?;
                    let events = page.events.into_iter().map(Into::into);
                    Ok((events.collect(), page.next))
                })
                .await
            }
        }
    }

    /// What was told to whom, the newest first, page by page.
    pub(super) async fn notifications(
        &self,
        filter: &NotificationFilter,
        count: u32,
    ) -> Result<Vec<NotificationJson>, Failure> {
        match self {
            Self::Sidecar(client) => {
                paged(count, async |limit, cursor: Option<String>| {
                    let filter = NotificationFilter {
                        limit,
                        ..filter.clone()
                    };
                    let page = client.notifications(&filter, cursor.as_deref()).await?;
                    Ok((page.notifications, page.next))
                })
                .await
            }
            Self::Ledger(reader) => {
                paged(count, async |limit, cursor| {
                    let filter = NotificationFilter {
                        limit,
                        cursor: cursor.or(filter.cursor),
                        ..filter.clone()
                    };
                    let page = reader.notifications(&filter)?;
                    let told = page.events.iter().map(Into::into);
                    Ok((told.collect(), page.next))
                })
                .await
            }
        }
    }

    /// The silences that hold or will, in the order of their making; with `all` those that are over as
    /// well.
    pub(super) async fn silences(
        &self,
        all: bool,
        now: UnixMicros,
    ) -> Result<Vec<SilenceJson>, Failure> {
        match self {
            Self::Sidecar(client) => Ok(client.silences(all).await?.silences),
            Self::Ledger(reader) => {
                let silences = reader.silences()?;
                let wanted = silences
                    .iter()
                    .filter(|silence| all || !silence.is_over(now));
                Ok(wanted
                    .map(|silence| SilenceJson::new(silence, now))
                    .collect())
            }
        }
    }

    /// Where following starts to see only what is recorded from now on.
    pub(super) async fn newest(&self) -> Result<Sequence, Failure> {
        match self {
            Self::Sidecar(client) => {
                let filter = RequestFilter {
                    limit: 1,
                    ..RequestFilter::default()
                };
                let list = client.follow(&filter, None).await?;
                Ok(Sequence(list.position.unwrap_or_default()))
            }
            Self::Ledger(reader) => Ok(reader.newest()?),
        }
    }
}

/// The first `count` members of a listing. `page` is asked for so many at most, from where the page
/// before ended on, and says where its own does; a page without that is the last.
async fn paged<T, C>(
    count: u32,
    mut page: impl AsyncFnMut(u32, Option<C>) -> Result<(Vec<T>, Option<C>), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut members = Vec::new();
    let mut cursor = None;
    let mut left = count;
    while left > 0 {
        let (more, next) = page(left.min(MAX_LIMIT), cursor).await?;
        left = left.saturating_sub(u32::try_from(more.len()).unwrap_or(u32::MAX));
        members.extend(more);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(members)
}

/// Why the sidecar is not asked.
pub(super) enum NoSidecar {
    /// Nobody answers at its address.
    Absent,
    /// Somebody does, and it will not do. In words.
    Other(String),
}

/// The sidecar of these settings, when it is the one that writes their ledger: another process may
/// well answer at the same address.
pub(super) async fn sidecar(settings: &Settings) -> Result<Client, NoSidecar> {
    let client = Client::new(&settings.admin).map_err(other)?;
    match client.info().await {
        Ok(info) => {
            let own = ledger_id(&settings.data_dir);
            if own.is_some() && own == info.ledger_id {
                Ok(client)
            } else {
                Err(NoSidecar::Other(format!(
                    "the sidecar at {} writes another ledger",
                    client.address()
                )))
            }
        }
        Err(AskError::Unreachable { .. }) => Err(NoSidecar::Absent),
        Err(error) => Err(other(error)),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it stands where a conversion of errors is wanted"
)]
fn other(error: AskError) -> NoSidecar {
    NoSidecar::Other(error.to_string())
}

/// Commits what a sidecar that is gone left in the journal. What fails here fails no question: the
/// database itself can be read all the same.
pub(super) async fn catch_up(data_dir: &Path, output: &Output) {
    if let Some(keeper) = owner::keeper(data_dir) {
        let remedy = keeper.remedy();
        output.note(&format!(
            "what an ended sidecar may have left in the journal is not included: root leaves another \
             user's ledger as it is; `{remedy}` includes it"
        ));
        return;
    }
    let folder = data_dir.to_owned();
    let work = tokio::task::spawn_blocking(move || ledger::catch_up(&folder));
    let what = "committing what an ended sidecar left in the journal";
    match patiently(output, what, work).await {
        // In use: a sidecar runs, and commits by itself.
        Ok(Ok(_) | Err(OpenError::InUse { .. })) => {}
        Ok(Err(error)) => output.note(&format!(
            "what an ended sidecar may have left in the journal is not included: {error}"
        )),
        Err(_) => output.note("what an ended sidecar may have left in the journal is not included"),
    }
}

/// The channels of these settings, with the gates that a start would restore.
pub(super) fn channels_at_rest(
    settings: &Settings,
    last_events: &[ChannelEvent],
    now: UnixMicros,
) -> Result<Vec<ChannelJson>, Failure> {
    let registry = Registry::new(settings, Arc::new(Unobserved)).map_err(RunError::Channels)?;
    registry.restore(last_events, now);
    let channels = settings.channels.iter().filter_map(|channel| {
        let gate = registry.gate_status(&channel.name, now).ok()?;
        Some(ChannelJson::new(channel, gate, None))
    });
    Ok(channels.collect())
}

/// The rules of these settings as a start would find them. Without a reader nothing was recorded yet.
pub(super) fn rules_at_rest(
    settings: &Settings,
    reader: Option<&Reader>,
    now: UnixMicros,
) -> Result<Vec<RuleJson>, Failure> {
    let views = app::rules_at_rest(settings, reader, now)?;
    let silences = reader.map_or_else(|| Ok(Vec::new()), Reader::silences)?;
    let rules = views.iter();
    Ok(rules
        .map(|view| RuleJson::new(view, Some(&silences), now))
        .collect())
}

/// Whether there is no ledger because nothing was recorded yet.
pub(super) fn is_no_ledger(failure: &Failure) -> bool {
    match failure {
        Failure::Ledger(QueryError::NoLedger { .. }) => true,
        Failure::Ask(error) => error.code() == Some(ErrorCode::NoLedger.as_str()),
        _ => false,
    }
}
