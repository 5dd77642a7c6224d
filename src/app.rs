//! The composition: builds the rooms from the settings, runs them, and takes them down in order.
//!
//! Two runtimes: the data plane's, with a worker for each core, and this thread's own, on which
//! the admin port and the signals live, so that a busy data plane never delays a stop, nor a
//! dashboard a request. Pingora's own server loop is not used: it sleeps through the whole grace
//! period even when nothing runs any more, and panics when a port is taken.

mod arrivals;
mod gates;
mod listeners;
mod log;
mod outside;
mod stop;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings as PingoraTls;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;

use crate::admin::{AdminParts, AdminState, Readiness};
use crate::channel::{Registry, RegistryError, sellers};
use crate::clock::UnixMicros;
use crate::config::{Loaded, Problems, Settings};
use crate::keys::{Keys, PepperError};
use crate::ledger::{Closed, Ledger, OpenError, Settings as LedgerFiles, Takeover};
use crate::meter::Meter;
use crate::payloads::{Payloads, StartError, Writer as PayloadWriter};
use crate::pricing::Prices;
use crate::proxy::{Gateway, Models, OpenRequests};
use crate::sources::Cause;
use crate::sources::models::ListError;
use crate::sources::prices::{FetchError, Refresher};

use arrivals::{ARRIVAL, Patient};
use gates::{EarlierGates, GateWatch, expire_holds};
use listeners::{ListenError, Listeners};

/// Time the ledger has at the end to commit what the journal holds. What is left after it is in
/// the journal, and committed at the next start.
const LEDGER_CLOSE: Duration = Duration::from_secs(30);

/// Time the payloads that are held have at the end to be written.
const PAYLOADS_CLOSE: Duration = Duration::from_secs(10);

/// How often the ledger is asked for the clients' keys that could not be read at the start.
const READ_KEYS_EVERY: Duration = Duration::from_secs(1);

/// Pooled connections kept for each worker and upstream.
const POOLED_CONNECTIONS: usize = 1024;

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
    /// The price files.
    #[error(transparent)]
    Prices(#[from] Problems),
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
    own.block_on(run_here(settings, options, on_ready))
}

async fn run_here(
    settings: &Settings,
    options: RunOptions,
    on_ready: &dyn Fn(Ready),
) -> Result<(), RunError> {
    // Signals first: one that comes while the rest starts must not kill half a process.
    let mut signals = stop::Signals::install()?;
    let prices = Arc::new(Prices::of_files(settings.prices.files.clone())?);
    let listeners = Listeners::open(settings, options.upgrade)?;
    let ledger = open_ledger(settings, options)?;
    let keys = Arc::new(Keys::open(settings, ledger.key_writer())?);
    let meter = Arc::new(Meter::new(settings.metrics.max_models));
    let watch = Arc::new(GateWatch::new(ledger.journal(), Arc::clone(&meter)));
    let channels = Arc::new(Registry::new(settings, Arc::clone(&watch) as _)?);
    let (payloads, payload_writer) = Payloads::start(&settings.payloads, &settings.data_dir)?;
    let readiness = Arc::new(Readiness::default());
    readiness.ledger_opened(ledger.journal(), settings.ledger.on_failure);
    let update = settings.prices.update.clone();
    let refresher = Refresher::new(
        Arc::clone(&prices),
        &settings.data_dir,
        update.map(|update| (update.url, update.every)),
    )?;
    let parts = AdminParts {
        meter: Arc::clone(&meter),
        prices: Arc::clone(&prices),
        ledger: ledger.stats(),
        payloads: payloads.stats(),
        channels: Arc::clone(&channels),
        channel_settings: settings.channels.clone(),
        journal: ledger.journal(),
        repricer: ledger.repricer(),
        sellers: Arc::new(sellers(&settings.channels)),
        keys: Arc::clone(&keys),
        data_dir: settings.data_dir.clone(),
        token: settings.admin.token.clone(),
        metrics_token: settings.admin.metrics_token.clone(),
        timezone: settings.timezone.clone(),
        readiness: Arc::clone(&readiness),
        started_at: UnixMicros::now(),
    };
    let follower = outside::follower(settings, &channels, &watch)?;
    let admin = Arc::new(outside::shown(AdminState::new(parts)?, follower.as_ref())?);
    let mut earlier = EarlierGates::new(
        Arc::clone(&channels),
        Arc::clone(&watch),
        ledger.recovery(),
        settings.data_dir.clone(),
    );
    // Before the first request: a channel that was closed must not get it.
    tokio::select! {
        () = earlier.restore() => {}
        () = signals.hurry() => {
            finish(payload_writer, ledger).await;
            return Ok(());
        }
    }
    let known = earlier.whole();
    let models = Models::new(settings, &channels, UnixMicros::now())?;
    let gateway = Gateway::new(
        settings,
        Arc::clone(&channels),
        ledger.journal(),
        ledger.deferred(),
        meter,
        prices,
    )
    .with_payloads(payloads)
    .with_models(models)
    .with_keys(keys.ring());
    let plane = DataPlane::start(settings, gateway, &listeners)?;
    let admin = Admin::start(listeners.admin()?, admin)?;
    let mut beside = vec![
        tokio::spawn(refresher.run()),
        tokio::spawn(read_keys(keys)),
        tokio::spawn(earlier.follow()),
        tokio::spawn(expire_holds(channels, watch.subscribe())),
    ];
    beside.extend(follower.map(|follower| tokio::spawn(outside::follow(follower, known))));
    readiness.listening();
    on_ready(Ready {
        listen: listeners.data_address(),
        admin: admin.address,
    });

    let reason = signals.wait(&listeners, &ledger).await;
    readiness.drain();
    for task in beside {
        task.abort();
    }
    if reason == stop::Reason::HandedOver {
        // Who asks the admin port now means the new process.
        admin.stop.send_replace(true);
    }
    plane.drain(settings.limits.grace, &mut signals).await;
    finish(payload_writer, ledger).await;
    admin.stop().await;
    Ok(())
}

fn open_ledger(settings: &Settings, options: RunOptions) -> Result<Ledger, OpenError> {
    let files = LedgerFiles {
        retention: settings.ledger.retention,
        ..LedgerFiles::new(&settings.data_dir)
    };
    let takeover = if options.upgrade {
        Takeover::Wait
    } else {
        Takeover::Refuse
    };
    Ledger::open(&files, takeover)
}

/// Writes what is held.
async fn finish(payloads: PayloadWriter, ledger: Ledger) {
    let written = tokio::task::spawn_blocking(move || payloads.close(PAYLOADS_CLOSE)).await;
    if !matches!(written, Ok(true)) {
        tracing::warn!("not every payload that was held is written");
    }
    // Last but for the admin port: every request that ended is in the journal now.
    let closed = tokio::task::spawn_blocking(move || ledger.close(LEDGER_CLOSE)).await;
    if matches!(closed, Ok(Closed::Incomplete) | Err(_)) {
        tracing::warn!("the journal still holds records; they are committed at the next start");
    }
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

/// Asks the ledger for the clients' keys until it tells.
async fn read_keys(keys: Arc<Keys>) {
    while !keys.is_read() {
        tokio::time::sleep(READ_KEYS_EVERY).await;
        let asked = Arc::clone(&keys);
        if let Ok(Ok(_)) = tokio::task::spawn_blocking(move || asked.read()).await {
            tracing::info!("it is known which keys there are");
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which means the same.
    let _ = stopped.wait_for(|&stopped| stopped).await;
}

/// The proxy's listener and the runtime it lives on.
struct DataPlane {
    runtime: tokio::runtime::Runtime,
    stop_accepting: watch::Sender<bool>,
    open: OpenRequests,
}

impl DataPlane {
    fn start(
        settings: &Settings,
        gateway: Gateway,
        listeners: &Listeners,
    ) -> Result<Self, RunError> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("data-plane")
            .enable_all()
            .build()?;
        let open = gateway.open_requests();
        let mut service = service(settings, gateway, workers);
        match &settings.tls {
            None => service.add_tcp(listeners.data_name()),
            Some(tls) => {
                let certificate = certificate(tls)?;
                service.add_tls_with_settings(listeners.data_name(), None, certificate);
            }
        }
        let (stop_accepting, stopped) = watch::channel(false);
        let table = listeners.table();
        runtime.spawn(async move { service.start_service(Some(table), stopped, 1).await });
        Ok(Self {
            runtime,
            stop_accepting,
            open,
        })
    }

    /// Stops accepting, gives running requests up to `grace` to end, then ends them. Another
    /// signal ends them at once.
    async fn drain(self, grace: Duration, signals: &mut stop::Signals) {
        self.stop_accepting.send_replace(true);
        tokio::time::sleep(ARRIVAL).await;
        stop::drained(&self.open, grace, signals).await;
        let left = self.open.count();
        if left > 0 {
            tracing::warn!(
                left,
                "requests were cut off; they are recorded as interrupted"
            );
        }
        // Drops what still runs; each account is closed by its drop.
        let _ = tokio::task::spawn_blocking(move || {
            self.runtime.shutdown_timeout(Duration::from_secs(2));
        })
        .await;
    }
}

fn service(settings: &Settings, gateway: Gateway, workers: usize) -> Service<Patient> {
    let conf = ServerConf {
        threads: workers,
        max_retries: gateway.most_tries(),
        upstream_keepalive_pool_size: POOLED_CONNECTIONS,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_header_list_size(u32::try_from(settings.limits.header_bytes).unwrap_or(u32::MAX));
    proxy.h2_options = Some(h2);
    Service::new("data plane".to_owned(), Patient::new(proxy))
}

fn certificate(tls: &crate::config::TlsSettings) -> Result<PingoraTls, RunError> {
    let fail = |reason: String| RunError::Certificate {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        reason,
    };
    let (Some(cert), Some(key)) = (tls.cert.to_str(), tls.key.to_str()) else {
        return Err(fail("the paths are not UTF-8".to_owned()));
    };
    let mut settings =
        PingoraTls::intermediate(cert, key).map_err(|error| fail(error.to_string()))?;
    settings.enable_h2();
    Ok(settings)
}
