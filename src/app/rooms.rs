//! What a run is made of, before anything is served; and its end, once nothing is any more.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::{AdminParts, AdminState, Readiness};
use crate::channel::{Registry, sellers};
use crate::clock::UnixMicros;
use crate::config::{OnLedgerFailure, Settings};
use crate::dispatch::Inbox;
use crate::keys::Keys;
use crate::ledger::{Closed, Ledger, OpenError, Settings as LedgerFiles, Takeover};
use crate::meter::Meter;
use crate::payloads::{Payloads, Writer as PayloadWriter};
use crate::pricing::Prices;
use crate::proxy::{Gateway, Models};
use crate::rules::{RuleSet, Rules};
use crate::sources::prices::{FetchError, Refresher};

use super::enforcement::Enforcement;
use super::gates::{EarlierGates, GateWatch, expire_holds};
use super::rules::{self, Around};
use super::{RunError, RunOptions};

/// Time the ledger has at the end to commit what the journal holds. What is left after it is in
/// the journal, and committed at the next start.
const LEDGER_CLOSE: Duration = Duration::from_secs(30);

/// Time the payloads that are held have at the end to be written.
const PAYLOADS_CLOSE: Duration = Duration::from_secs(10);

/// The rooms of a run, which the doors (the data plane, the admin port) lead to.
pub(super) struct Rooms {
    pub(super) ledger: Ledger,
    pub(super) keys: Arc<Keys>,
    pub(super) channels: Arc<Registry>,
    pub(super) watch: Arc<GateWatch>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) enforcement: Arc<Enforcement>,
    /// Where alerts and gates say that they changed.
    pub(super) inbox: Arc<Inbox>,
    pub(super) rules: Arc<Rules>,
    pub(super) prices: Arc<Prices>,
    meter: Arc<Meter>,
    payloads: Arc<Payloads>,
    payload_writer: PayloadWriter,
}

impl Rooms {
    /// Opens the ledger and builds the rest upon it. The rules are in force, and know nothing of what
    /// was before.
    pub(super) fn open(
        settings: &Settings,
        options: RunOptions,
        prices: Arc<Prices>,
        rules: &RuleSet,
    ) -> Result<Self, RunError> {
        let ledger = open_ledger(settings, options)?;
        let keys = Arc::new(Keys::open(settings, ledger.key_writer())?);
        let meter = Arc::new(Meter::new(settings.metrics.max_models));
        let inbox = Arc::<Inbox>::default();
        let watch = Arc::new(GateWatch::new(
            ledger.journal(),
            Arc::clone(&meter),
            Arc::clone(&inbox),
        ));
        let channels = Arc::new(Registry::new(settings, Arc::clone(&watch) as _)?);
        let enforcement = Arc::new(Enforcement::new(
            Arc::clone(&channels),
            ledger.journal(),
            Arc::clone(&inbox),
        ));
        let rules = Rules::new(
            rules,
            settings.budgets.clone(),
            settings.ledger.on_failure == OnLedgerFailure::Refuse,
            Arc::clone(&enforcement) as _,
        );
        let (payloads, payload_writer) = Payloads::start(&settings.payloads, &settings.data_dir)?;
        let readiness = Arc::new(Readiness::default());
        readiness.ledger_opened(ledger.journal(), settings.ledger.on_failure);
        Ok(Self {
            ledger,
            keys,
            channels,
            watch,
            readiness,
            enforcement,
            inbox,
            rules: Arc::new(rules),
            prices,
            meter,
            payloads,
            payload_writer,
        })
    }

    /// What keeps the prices fresh.
    pub(super) fn refresher(&self, settings: &Settings) -> Result<Refresher, FetchError> {
        let update = settings.prices.update.clone();
        Refresher::new(
            Arc::clone(&self.prices),
            &settings.data_dir,
            update.map(|update| (update.url, update.every)),
        )
    }

    /// What the admin port shows.
    pub(super) fn admin(&self, settings: &Settings) -> Result<AdminState, prometheus::Error> {
        AdminState::new(AdminParts {
            meter: Arc::clone(&self.meter),
            prices: Arc::clone(&self.prices),
            ledger: self.ledger.stats(),
            payloads: self.payloads.stats(),
            channels: Arc::clone(&self.channels),
            channel_settings: settings.channels.clone(),
            journal: self.ledger.journal(),
            rules: Arc::clone(&self.rules),
            silences: self.ledger.silence_writer(),
            repricer: self.ledger.repricer(),
            sellers: Arc::new(sellers(&settings.channels)),
            keys: Arc::clone(&self.keys),
            data_dir: settings.data_dir.clone(),
            token: settings.admin.token.clone(),
            read_token: settings.admin.read_token.clone(),
            metrics_token: settings.admin.metrics_token.clone(),
            timezone: settings.timezone.clone(),
            readiness: Arc::clone(&self.readiness),
            started_at: UnixMicros::now(),
        })
    }

    /// What earlier runs left of the gates.
    pub(super) fn earlier_gates(&self, settings: &Settings) -> EarlierGates {
        EarlierGates::new(
            Arc::clone(&self.channels),
            Arc::clone(&self.watch),
            self.ledger.recovery(),
            settings.data_dir.clone(),
        )
    }

    /// What keeps the rules what files and ledger say works with these.
    pub(super) fn around_rules(&self, settings: &Settings) -> Around {
        Around {
            rules: Arc::clone(&self.rules),
            channels: Arc::clone(&self.channels),
            journal: self.ledger.journal(),
            recovery: self.ledger.recovery(),
            ledger: self.ledger.stats(),
            data_dir: settings.data_dir.clone(),
        }
    }

    /// Does once a second what only time changes of the rules; never returns.
    pub(super) fn tick_rules(&self) -> impl Future<Output = ()> + Send + use<> {
        rules::tick(
            Arc::clone(&self.rules),
            Arc::clone(&self.channels),
            Arc::clone(&self.meter),
        )
    }

    /// Ends each hold when its time is over; never returns.
    pub(super) fn expire_holds(&self) -> impl Future<Output = ()> + Send + use<> {
        expire_holds(Arc::clone(&self.channels), self.watch.subscribe())
    }

    /// What serves requests.
    pub(super) fn gateway(&self, settings: &Settings) -> Result<Gateway, RunError> {
        let models = Models::new(settings, &self.channels, UnixMicros::now())?;
        let gateway = Gateway::new(
            settings,
            Arc::clone(&self.channels),
            self.ledger.journal(),
            self.ledger.deferred(),
            Arc::clone(&self.meter),
            Arc::clone(&self.prices),
            Arc::clone(&self.rules),
        );
        Ok(gateway
            .with_payloads(Arc::clone(&self.payloads))
            .with_models(models)
            .with_keys(self.keys.ring()))
    }

    /// Writes what is held.
    pub(super) async fn close(self) {
        let (payloads, ledger) = (self.payload_writer, self.ledger);
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
