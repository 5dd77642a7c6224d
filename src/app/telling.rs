//! Telling people: dispatch, and the bots that hear what they answer.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::rooms::Rooms;
use super::rules::Tell;
use crate::admin::AdminState;
use crate::config::{FileStates, Problems, Settings};
use crate::dispatch::answering::{Answerer, AnswererParts, LedgerLog, Signer, doors, listen};
use crate::dispatch::{Context, Dispatch, DispatchParts, Links, Plan, destinations};
use crate::notify::telegram::Bot;

/// How long a call of a bot may take, beside the time that it waits for news.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Whom is told what, by the settings; everything that is wrong with their receivers.
pub(super) fn plan(settings: &Settings) -> Result<Plan, Problems> {
    let notify = &settings.notify;
    let grafana = notify.grafana.as_ref().map(|grafana| &grafana.url);
    // Before they are read: what changes in between is a change.
    let templates = FileStates::of(&notify.template_files());
    Ok(Plan {
        templates,
        destinations: destinations(notify)?,
        links: Links::new(grafana, settings.admin.public_url.as_ref()),
        settings: notify.clone(),
    })
}

/// What tells people and hears them, not at work yet.
pub(super) struct Telling {
    dispatch: Arc<Dispatch>,
    answerer: Option<Arc<Answerer>>,
    public_url: Option<Uri>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Telling {
    /// By a plan, of what these rooms know. Without the file of its key nobody is offered to answer.
    pub(super) fn new(settings: &Settings, rooms: &Rooms, plan: Plan) -> Self {
        let signer = Signer::of_folder(&settings.data_dir).map(Arc::new);
        let signer = signer
            .inspect_err(|error| {
                tracing::warn!(%error, "messages offer no answers: nothing can sign them");
            })
            .ok();
        let answerer = signer.clone().map(|signer| {
            Arc::new(Answerer::new(AnswererParts {
                channels: Arc::clone(&rooms.channels),
                rules: Arc::clone(&rooms.rules),
                silences: rooms.ledger.silence_writer(),
                log: Arc::new(LedgerLog::new(
                    rooms.ledger.journal(),
                    rooms.ledger.recovery(),
                    settings.data_dir.clone(),
                )),
                data_dir: settings.data_dir.clone(),
                signer,
            }))
        });
        let context = Context {
            rules: Arc::clone(&rooms.rules),
            channels: Arc::clone(&rooms.channels),
            prices: Arc::clone(&rooms.prices),
            data_dir: settings.data_dir.clone(),
            links: plan.links.clone(),
        };
        let parts = DispatchParts {
            inbox: Arc::clone(&rooms.inbox),
            context,
            journal: rooms.ledger.journal(),
            recovery: rooms.ledger.recovery(),
            signer,
            public_url: settings.admin.public_url.clone(),
        };
        Self {
            dispatch: Arc::new(Dispatch::new(parts, plan)),
            answerer,
            public_url: settings.admin.public_url.clone(),
            stop: watch::Sender::new(false),
            tasks: Vec::new(),
        }
    }

    /// What has another plan come into force.
    pub(super) fn changes(&self) -> Tell {
        let dispatch = Arc::clone(&self.dispatch);
        Box::new(move |plan| dispatch.change(plan))
    }

    /// Begins once the gates are `known`, as whoever follows them: during a hand-over the other process
    /// has stopped telling and hearing by then.
    pub(super) fn start(&mut self, known: &watch::Receiver<bool>) {
        let dispatch = Arc::clone(&self.dispatch);
        self.spawn(known, move |stop| dispatch.run(stop));
        if let Some(answerer) = self.answerer.clone() {
            let plan = self.dispatch.plan();
            self.spawn(known, move |stop| hear(plan, answerer, stop));
        }
    }

    fn spawn<W: Future<Output = ()> + Send>(
        &mut self,
        known: &watch::Receiver<bool>,
        work: impl FnOnce(watch::Receiver<bool>) -> W + Send + 'static,
    ) {
        let (mut known, mut stop) = (known.clone(), self.stop.subscribe());
        self.tasks.push(tokio::spawn(async move {
            tokio::select! {
                // An error means that the process ends.
                Ok(_) = known.wait_for(|&known| known) => {}
                _ = stop.wait_for(|&stop| stop) => return,
            }
            work(stop).await;
        }));
    }

    /// Ends it. What is being sent is the last: it has its receiver's timeout to be answered, until `over`,
    /// or until somebody is in a `hurry`. What is not answered by then is sent again by the next run.
    pub(super) async fn stop(&mut self, over: Instant, hurry: impl Future<Output = ()>) {
        self.stop.send_replace(true);
        let tasks = &mut self.tasks;
        let ended = async {
            for task in &mut *tasks {
                let _ = task.await;
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = sleep_until(over) => {
                tracing::info!("not every receiver answered in time; the next run tells them again");
            }
            () = hurry => {}
        }
        for task in self.tasks.drain(..) {
            // Nothing of it goes on beside whoever tells people now.
            task.abort();
        }
    }

    /// The admin port's state, which counts what is told and takes answers by links.
    pub(super) fn shown(&self, admin: AdminState) -> Result<AdminState, prometheus::Error> {
        let admin = admin.with_dispatch(self.dispatch.stats())?;
        Ok(match (&self.answerer, &self.public_url) {
            (Some(answerer), Some(url)) => admin.with_answers(Arc::clone(answerer), url),
            _ => admin,
        })
    }
}

/// Hears the bots of the plan in force, until `stop` says so.
async fn hear(
    mut plan: watch::Receiver<Arc<Plan>>,
    answerer: Arc<Answerer>,
    mut stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let (end, ended) = watch::channel(false);
        let mut bots = JoinSet::new();
        let receivers = plan.borrow_and_update().settings.receivers.clone();
        answerer.set_receivers(&receivers);
        for (telegram, doors) in doors(&receivers) {
            // One that cannot be set up is no receiver either, which was said.
            let Ok(bot) = Bot::new(telegram, HEARD_WITHIN) else {
                continue;
            };
            let answerer = Arc::clone(&answerer);
            bots.spawn(listen(Arc::new(bot), doors, answerer, ended.clone()));
        }
        tokio::select! {
            // Errors say that nobody is there to say so.
            _ = plan.changed() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        end.send_replace(true);
        while bots.join_next().await.is_some() {}
    }
}
