//! From alerts and events to messages: who is told what, when, and once; and what people answer.
//!
//! Alerts and gates say that they changed to an [`Inbox`], which costs them a lock and nothing else. One
//! task, the keeper, takes that in: alerts into groups on the *board*, which decides by pure
//! functions what is due and what is news, and channels' changes into *notices*. What is to be told
//! becomes a letter, which is kept in the journal before it is queued for its receiver. Each receiver
//! has a task that takes from its queue, sends, and has the fate kept in the journal. So what was
//! decided and not taken by the receiver is sent by the next run, and what was taken is sent again only
//! where the process died between the receiver's answer and the journal's entry.
//!
//! What was told is kept with each notification, so that a run begins by reading the last one of each
//! group, and the alerts as they are.

pub mod answering;
mod beginning;
mod board;
mod context;
mod deduplicate;
mod delivery;
mod destination;
mod digest;
mod facts;
mod group;
mod inbox;
mod inhibit;
mod keeper;
mod kept;
mod letters;
mod links;
mod notices;
mod office;
mod pacing;
mod queue;
mod restore;
mod routes;
mod stats;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::UnixMicros;
use crate::config::{FileStates, NotifySettings, ReceiverSettings};
use crate::ledger::{Journal, Recovery};

use self::answering::Signer;
use self::beginning::{Beginning, beginning};
use self::delivery::{Offering, deliver};
use self::keeper::{Digest, Keeper};
use self::office::Office;

pub use context::Context;
pub use destination::{Destination, destinations};
pub use digest::{BadSchedule, Period, Schedule, digest_content};
pub use inbox::{Inbox, News};
pub use links::{Links, runbook};
pub use stats::{DispatchResult, DispatchStats, ReceiverStats};

/// How long another plan waits for answers to what is being sent by the old one.
const LAST_ANSWERS: Duration = ReceiverSettings::USUAL_TIMEOUT;

/// Whom is told what: the settings with everything that they need to be in force.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The settings.
    pub settings: NotifySettings,
    /// Their receivers.
    pub destinations: Vec<Destination>,
    /// Where messages lead.
    pub links: Links,
    /// The files of templates, as they were read.
    pub templates: FileStates,
}

impl Plan {
    /// Whether it is of the same settings and templates.
    fn is(&self, other: &Self) -> bool {
        self.settings == other.settings && self.templates == other.templates
    }
}

/// What dispatch works with.
#[derive(Debug)]
pub struct DispatchParts {
    /// Where alerts and gates say that they changed.
    pub inbox: Arc<Inbox>,
    /// Where what is told is looked up; its links are the plan's.
    pub context: Context,
    /// Where notifications are kept.
    pub journal: Arc<Journal>,
    /// Knows when the ledger has what earlier runs left.
    pub recovery: Recovery,
    /// What signs the offers of answers; `None` offers none.
    pub signer: Option<Arc<Signer>>,
    /// `admin.public_url`.
    pub public_url: Option<Uri>,
}

/// Tells people. See the module.
#[derive(Debug)]
pub struct Dispatch {
    parts: DispatchParts,
    plan: watch::Sender<Arc<Plan>>,
    stats: Arc<DispatchStats>,
}

impl Dispatch {
    /// Nothing is told before [`run`](Self::run).
    #[must_use]
    pub fn new(parts: DispatchParts, plan: Plan) -> Self {
        let stats = DispatchStats::new(plan.settings.receivers.iter().map(|known| &known.name));
        Self {
            parts,
            plan: watch::Sender::new(Arc::new(plan)),
            stats: Arc::new(stats),
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<DispatchStats> {
        Arc::clone(&self.stats)
    }

    /// Another plan is in force, unless it is the same: who was told what stays known.
    pub fn change(&self, plan: &Plan) {
        self.plan.send_if_modified(|known| {
            let is_other = !known.is(plan);
            if is_other {
                *known = Arc::new(plan.clone());
            }
            is_other
        });
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> watch::Receiver<Arc<Plan>> {
        self.plan.subscribe()
    }

    /// Tells people until `stop` is set, then lets what is being sent end: each receiver has its own
    /// timeout for that, or as long as the caller waits.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut plans = self.plan.subscribe();
        while !*stop.borrow() {
            let plan = Arc::clone(&plans.borrow_and_update());
            if plan.settings.receivers.is_empty() {
                self.parts.inbox.close();
            } else {
                // Before the ledger is read: what changes meanwhile is news.
                self.parts.inbox.open();
            }
            let (end, ended) = watch::channel(false);
            let work = self.tell(&plan, ended);
            tokio::pin!(work);
            tokio::select! {
                // It begins anew, by what the ledger says.
                () = &mut work => continue,
                // Errors say that nobody is there to say so.
                _ = plans.changed() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            end.send_replace(true);
            if *stop.borrow() {
                work.await;
                break;
            }
            // What is not answered by then is sent again by the next plan.
            let _ = timeout(LAST_ANSWERS, work).await;
        }
        self.parts.inbox.close();
    }

    /// Tells people by a plan until `ended` says so.
    async fn tell(&self, plan: &Plan, mut ended: watch::Receiver<bool>) {
        let (settings, parts) = (&plan.settings, &self.parts);
        if settings.receivers.is_empty() {
            let _ = ended.changed().await;
            return;
        }
        let office = Arc::new(Office::new(
            settings,
            plan.destinations.clone(),
            &self.stats,
            Arc::clone(&parts.journal),
        ));
        let context = Context {
            links: plan.links.clone(),
            ..parts.context.clone()
        };
        let (recovery, data_dir) = (&parts.recovery, &parts.context.data_dir);
        let Beginning { left, is_whole } = tokio::select! {
            known = beginning(recovery, data_dir) => known,
            _ = ended.changed() => return,
        };
        let told: HashSet<_> = left.digests().collect();
        let digests = settings.digests.iter();
        let digests = digests.filter_map(|digest| Digest::new(digest, &told, UnixMicros::now()));
        let digests = digests.collect();
        left.take_over(&office, &context.rules, UnixMicros::now());
        let offering = Offering {
            signer: parts.signer.clone(),
            public_url: parts.public_url.clone(),
        };
        // Of the deliveries: they end before all begins anew.
        let (end, closing) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for desk in office.desks() {
            let (office, desk) = (Arc::clone(&office), Arc::clone(desk));
            tasks.spawn(deliver(office, desk, offering.clone(), closing.clone()));
        }
        let keeper = Keeper::new(
            Arc::clone(&parts.inbox),
            office,
            context,
            parts.recovery.clone(),
            digests,
        );
        let whole = async {
            if is_whole {
                std::future::pending::<()>().await;
            }
            beginning::whole(recovery, data_dir).await;
        };
        tokio::select! {
            () = keeper.run() => {}
            () = whole => {}
            _ = ended.changed() => {}
        }
        end.send_replace(true);
        while tasks.join_next().await.is_some() {}
    }
}
