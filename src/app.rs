//! The composition: builds the rooms from the settings, runs them, and takes them down in order.
//!
//! Two runtimes: the data plane's, with a worker for each core, and this thread's own, on which
//! the admin port and the signals live, so that a busy data plane never delays a stop, nor a
//! dashboard a request. Pingora's own server loop is not used: it sleeps through the whole grace
//! period even when nothing runs any more, and panics when a port is taken.

mod arrivals;
mod certificate;
mod data_plane;
mod enforcement;
mod gates;
mod listeners;
mod log;
mod outside;
mod private;
mod reload;
mod rooms;
mod rules;
mod stop;
mod telling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::{AdminState, ReloadStats};
use crate::channel::RegistryError;
use crate::clock::UnixMicros;
use crate::config::{Loaded, Problems};
use crate::keys::{Keys, PepperError};
use crate::ledger::OpenError;
use crate::payloads::StartError;
use crate::pricing::Prices;
use crate::sources::Cause;
use crate::sources::models::ListError;
use crate::sources::prices::FetchError;

use data_plane::DataPlane;
use listeners::{ListenError, Listeners};
use outside::Following;
use reload::{Files, Hangups, Wanted};
use rooms::Rooms;
use rules::RuleKeeper;
pub(crate) use rules::{NotKnownAtRest, at_rest as rules_at_rest};
use telling::Telling;

/// How often the clients' keys are read again, until they are and no other process changes them.
const SETTLE_KEYS_EVERY: Duration = Duration::from_secs(1);

/// How long a start waits for what earlier runs left in the journal and is not in the database.
const RESTORE_WITHIN: Duration = Duration::from_secs(10);

/// What the command line adds to the settings of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Take the listeners over from the process that runs now.
    pub upgrade: bool,
}

/// Where a run listens, once it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The data plane.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// Why a run does not begin, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port, or the hand-over of one.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The ledger's files.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The secret of the clients' keys.
    #[error(transparent)]
    Keys(#[from] PepperError),
    /// The channels.
    #[error(transparent)]
    Channels(#[from] RegistryError),
    /// The certificate in front.
    #[error("cannot use the certificate {} with the key {}: {reason}", .cert.display(), .key.display())]
    Certificate {
        /// `tls.cert`.
        cert: PathBuf,
        /// `tls.key`.
        key: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The writer of payloads.
    #[error(transparent)]
    Payloads(#[from] StartError),
    /// The price files, or the files of rules.
    #[error(transparent)]
    Files(#[from] Problems),
    /// Nothing can be fetched: the system has no usable certificates.
    #[error("cannot fetch prices: {0}")]
    Fetch(#[from] FetchError),
    /// The same, for the channels' lists of models.
    #[error("cannot ask channels for their models: {0}")]
    Lists(#[from] ListError),
    /// No client for the gateway outside: the system has no usable certificates.
    #[error("cannot reach new-api: {0}")]
    Outside(#[source] Cause),
    /// Two metric families of one name: a fault of the program.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Threads, signals.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the sidecar until it is told to stop. `on_ready` is called once, when it accepts requests.
pub fn run(loaded: &Loaded, options: RunOptions, on_ready: &dyn Fn(Ready)) -> Result<(), RunError> {
    let settings = &loaded.settings;
    log::install(&settings.log);
    listeners::raise_descriptor_limit();
    let own = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    own.block_on(run_here(loaded, options, on_ready))
}

async fn run_here(
    loaded: &Loaded,
    options: RunOptions,
    on_ready: &dyn Fn(Ready),
) -> Result<(), RunError> {
    let settings = &loaded.settings;
    // Signals first: one that comes while the rest starts must not kill half a process.
    let mut signals = stop::Signals::install()?;
    let hangups = Hangups::install()?;
    let reloads = Arc::new(ReloadStats::new(UnixMicros::now()));
    // Before they are read: what changes in between is seen as a change.
    let files = Files::new(loaded, Arc::clone(&reloads));
    let wanted = Wanted {
        set: rules::load_rules(settings)?,
        budgets: settings.budgets.clone(),
    };
    let plan = telling::plan(settings)?;
    let prices = Arc::new(Prices::of_files(settings.prices.files.clone())?);
    let listeners = Listeners::open(settings, options.upgrade)?;
    // Before they are opened: SQLite makes new files as the database is.
    private::close_to_others(&settings.data_dir);
    let rooms = Rooms::open(settings, options, prices, &wanted.set)?;
    let refresher = rooms.refresher(settings)?;
    let follower = outside::follower(settings, &rooms.channels, &rooms.watch)?;
    let shown = outside::shown(rooms.admin(settings)?, follower.as_ref())?;
    // Before whatever may take its time: who asks whether this process lives gets an answer.
    let shown = shown.with_reloads(reloads)?;
    let shown = certificate::shown(shown, settings)?;
    let mut telling = Telling::new(settings, &rooms, plan);
    let shown = telling.shown(shown)?;
    let admin = Admin::start(listeners.admin()?, Arc::new(shown))?;
    let mut earlier = rooms.earlier_gates(settings);
    let mut keeper = RuleKeeper::new(
        rooms.around_rules(settings),
        files,
        wanted,
        telling.changes(),
    );
    // Before the first request: a channel that was closed must not get it, and what is used up is.
    let restored = async {
        let over = Instant::now() + RESTORE_WITHIN;
        earlier.restore(over).await;
        rooms.readiness.gates_known();
        keeper.restore(over).await;
        rooms.readiness.rules_known();
    };
    let told_to_stop = tokio::select! {
        () = restored => false,
        () = signals.hurry() => true,
    };
    if told_to_stop {
        rooms.readiness.drain();
        rooms.close().await;
        admin.stop().await;
        return Ok(());
    }
    let plane = DataPlane::start(settings, rooms.gateway(settings)?, &listeners)?;
    let mut following = Following::start(follower, earlier.whole());
    telling.start(&earlier.whole());
    let beside = [
        tokio::spawn(refresher.run()),
        tokio::spawn(settle_keys(Arc::clone(&rooms.keys))),
        tokio::spawn(earlier.follow()),
        tokio::spawn(rooms.expire_holds()),
        tokio::spawn(rooms.tick_rules()),
        tokio::spawn(keeper.run(hangups)),
    ];
    rooms.readiness.listening();
    on_ready(Ready {
        listen: listeners.data_address(),
        admin: admin.address,
    });

    let reason = signals
        .wait(&listeners, &rooms, &mut following, &mut telling)
        .await;
    rooms.readiness.drain();
    following.stop().await;
    for task in beside {
        task.abort();
    }
    if reason == stop::Reason::HandedOver {
        // Who asks the admin port now means the new process.
        admin.stop.send_replace(true);
    }
    let over = Instant::now() + settings.limits.grace;
    plane.drain(settings.limits.grace, &mut signals).await;
    // After the last request: what it set off is told, or kept for the next run.
    let over = over.max(Instant::now() + stop::LAST_ANSWERS);
    telling.stop(over, signals.hurry()).await;
    rooms.close().await;
    admin.stop().await;
    Ok(())
}

/// The admin port, while it is served.
struct Admin {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Admin {
    fn start(
        listener: tokio::net::TcpListener,
        state: Arc<AdminState>,
    ) -> Result<Self, std::io::Error> {
        let (stop, stopped) = watch::channel(false);
        Ok(Self {
            address: listener.local_addr()?,
            stop,
            serving: tokio::spawn(crate::admin::serve(listener, state, until(stopped))),
        })
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.serving.await;
    }
}

/// Has the clients' keys catch up with what the start could not do.
async fn settle_keys(keys: Arc<Keys>) {
    while !keys.is_settled() {
        tokio::time::sleep(SETTLE_KEYS_EVERY).await;
        let asked = Arc::clone(&keys);
        let _ = tokio::task::spawn_blocking(move || asked.settle()).await;
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which means the same.
    let _ = stopped.wait_for(|&stopped| stopped).await;
}
