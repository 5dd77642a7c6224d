//! Rules set up from real ledgers: at a start, during a hand-over, and anew.

use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::admin::ReloadStats;
use crate::alert::Quantity;
use crate::app::enforcement::Enforcement;
use crate::channel::Unobserved;
use crate::config::{BudgetSettings, Loaded, load as load_settings};
use crate::ledger::tests::sample::{admission, record};
use crate::ledger::{Closed, Ledger, PriceBook, RepriceQuery, Settings as LedgerFiles, Takeover};
use crate::money::NanoUsd;
use crate::pricing::Prices;
use crate::record::{Admission, Api, Cost, RequestRecord, Usage, UsageSource, Worst};

const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: &str = "channels: [{name: openai, base_url: 'https://api.openai.com/v1', model_map: {mini: gpt-5-mini}}]\n\
     models: {aliases: {small: mini}}\nrules: [rules.yaml]\n";
const SPEND: &str = "alert: Spend, metric: cost, window: 30d, critical: 1 USD, mode: enforce, \
     actions: [{block: {}}]";

/// A run, as far as rules go.
struct Run {
    ledger: Ledger,
    rules: Arc<Rules>,
    keeper: RuleKeeper,
}

/// Settings and one rule in a folder.
fn settings(folder: &Path, rule: &str) -> Loaded {
    let rules = format!("groups:\n- name: g\n  rules:\n  - {{{rule}}}\n");
    std::fs::write(folder.join("rules.yaml"), rules).unwrap();
    std::fs::write(folder.join("tollgate.yaml"), SETTINGS).unwrap();
    load_settings(Some(Path::new("tollgate.yaml")), &|_| None, folder).unwrap()
}

impl Run {
    fn start(folder: &Path, rule: &str, takeover: Takeover) -> Self {
        let loaded = settings(folder, rule);
        let settings = &loaded.settings;
        let files = LedgerFiles {
            tick: Duration::from_millis(5),
            retention: None,
            ..LedgerFiles::new(&settings.data_dir)
        };
        let ledger = Ledger::open(&files, takeover).unwrap();
        let channels = Arc::new(Registry::new(settings, Arc::new(Unobserved)).unwrap());
        let hands = Enforcement::new(Arc::clone(&channels), ledger.journal(), Arc::default());
        let wanted = Wanted {
            set: load_rules(settings).unwrap(),
            budgets: settings.budgets.clone(),
        };
        let budgets: BudgetSettings = wanted.budgets.clone();
        let rules = Arc::new(Rules::new(&wanted.set, budgets, true, Arc::new(hands)));
        let around = Around {
            rules: Arc::clone(&rules),
            channels,
            journal: ledger.journal(),
            recovery: ledger.recovery(),
            ledger: ledger.stats(),
            data_dir: settings.data_dir.clone(),
        };
        let stats = Arc::new(ReloadStats::new(UnixMicros::now()));
        let files = Files::new(&loaded, stats);
        Self {
            ledger,
            rules,
            keeper: RuleKeeper::new(around, files, wanted, Box::new(|_| {})),
        }
    }

    /// A request that cost so much and ended just now.
    fn record(&self, nano_usd: i64) {
        self.append(&ended(nano_usd));
    }

    fn append(&self, record: &RequestRecord) {
        self.ledger.journal().admit(&record.admission);
        self.ledger.journal().end(record);
    }

    /// The figure of the only alert, and why it is not known.
    fn figure(&self) -> (Option<i64>, Option<String>) {
        let view = self.rules.view(UnixMicros::now()).remove(0);
        let value = view.alerts.first().and_then(|alert| alert.value);
        let unhealthy = view.unhealthy.map(|why| why.to_string());
        (value.map(|Quantity { value, .. }| value), unhealthy)
    }

    async fn restore(&mut self) {
        self.keeper.restore(Instant::now() + PATIENCE).await;
    }

    /// Looks at the ledger as often as it takes.
    async fn until(&mut self, figure: i64) {
        let over = Instant::now() + PATIENCE;
        while self.figure() != (Some(figure), None) {
            assert!(Instant::now() < over, "{:?} is not {figure}", self.figure());
            self.keeper.read_ledger().await;
            sleep(A_MOMENT).await;
        }
    }
}

fn ended(nano_usd: i64) -> RequestRecord {
    RequestRecord {
        cost: Some(Cost {
            amount: NanoUsd(nano_usd),
            price_version: "test".into(),
        }),
        ..record(begun())
    }
}

fn begun() -> Admission {
    Admission {
        started_at: UnixMicros::now().minus(Duration::from_secs(5)),
        ..admission(0)
    }
}

#[tokio::test]
async fn a_start_knows_what_was_used_before_it() {
    let folder = TempDir::new().unwrap();
    let first = Run::start(folder.path(), SPEND, Takeover::Refuse);
    first.record(3);
    first.record(4);
    assert_eq!(first.ledger.close(PATIENCE), Closed::Complete);
    let mut second = Run::start(folder.path(), SPEND, Takeover::Refuse);
    second.restore().await;
    assert_eq!(second.figure(), (Some(7), None));
}

#[tokio::test]
async fn names_that_the_ledger_does_not_keep_are_known_of_the_past() {
    for (name, counts) in [
        ("small", true),
        ("mini", true),
        ("gpt-5-mini", true),
        ("gpt-5-mini-2025-08-07", true),
        ("gpt-5", false),
    ] {
        let folder = TempDir::new().unwrap();
        let rule = format!("{SPEND}, match: {{model: {name}}}");
        let run = Run::start(folder.path(), &rule, Takeover::Refuse);
        let mut small = ended(5);
        small.admission.requested_model = Some("small".into());
        run.append(&small);
        assert_eq!(run.ledger.close(PATIENCE), Closed::Complete);
        // Out of its minutes, and of its rows.
        for rule in [&rule, &rule.replace("30d", "50m")] {
            let mut again = Run::start(folder.path(), rule, Takeover::Refuse);
            again.restore().await;
            let (figure, _) = again.figure();
            assert_eq!(figure.unwrap_or(0), if counts { 5 } else { 0 }, "{rule}");
            assert_eq!(again.ledger.close(PATIENCE), Closed::Complete);
        }
    }
}

#[tokio::test]
async fn until_the_ledger_tells_rules_are_unknown_and_then_they_know_all() {
    let folder = TempDir::new().unwrap();
    let old = Run::start(folder.path(), SPEND, Takeover::Refuse);
    old.record(3);
    let mut new = Run::start(folder.path(), SPEND, Takeover::Wait);
    // The other process has the ledger: what it still holds in its journal is not known.
    new.keeper.restore(Instant::now()).await;
    let (_, unhealthy) = new.figure();
    assert!(unhealthy.unwrap().contains("not read from the ledger yet"));
    old.record(4);
    old.ledger.hand_over();
    new.until(7).await;
    // What ends in the old process is known once that is gone.
    old.record(5);
    assert_eq!(old.ledger.close(PATIENCE), Closed::HandedOver);
    new.until(12).await;
}

#[tokio::test]
async fn a_request_that_a_crash_cut_off_is_held_for_its_lease() {
    let folder = TempDir::new().unwrap();
    let first = Run::start(folder.path(), SPEND, Takeover::Refuse);
    let worst = Worst {
        cost: Some(NanoUsd(900_000_000)),
        input_cost: Some(NanoUsd(100_000_000)),
        input_tokens: Some(10),
        output_tokens: Some(10),
    };
    first.ledger.journal().admit(&Admission {
        worst: Some(worst),
        interrupted_cost: Some(NanoUsd(100_000_000)),
        ..begun()
    });
    let _ = first.ledger.close(PATIENCE);
    let mut second = Run::start(folder.path(), SPEND, Takeover::Refuse);
    second.restore().await;
    let alert = second
        .rules
        .view(UnixMicros::now())
        .remove(0)
        .alerts
        .remove(0);
    assert_eq!(alert.value.map(|used| used.value), Some(100_000_000));
    assert_eq!(alert.reserved.map(|held| held.value), Some(800_000_000));
}

#[tokio::test]
async fn what_nobody_can_bound_stays_so_after_a_crash() {
    let unbounded = Admission {
        worst: Some(Worst::default()),
        interrupted_cost: Some(NanoUsd(5_000_000_000)),
        ..begun()
    };
    let batch = RequestRecord {
        cost: None,
        usage: Usage::absent(UsageSource::None),
        response_id: Some("batch_1".into()),
        ..record(Admission {
            api: Api::Batches,
            ..unbounded.clone()
        })
    };
    for awaited in [None, Some(batch)] {
        let folder = TempDir::new().unwrap();
        let first = Run::start(folder.path(), SPEND, Takeover::Refuse);
        match &awaited {
            None => {
                first.ledger.journal().admit(&unbounded);
            }
            Some(batch) => first.append(batch),
        }
        let _ = first.ledger.close(PATIENCE);
        for rule in [
            SPEND,
            &SPEND
                .replace("cost", "tokens")
                .replace("1 USD", "1M tokens"),
        ] {
            let mut second = Run::start(folder.path(), rule, Takeover::Refuse);
            second.restore().await;
            let view = second.rules.view(UnixMicros::now()).remove(0);
            assert_eq!(view.overshoot_bound, Some(None), "{rule}");
            let held = view.alerts[0].reserved.map(|held| held.value);
            assert!(held.is_some_and(|held| held > 0), "{rule}");
            assert_eq!(second.ledger.close(PATIENCE), Closed::Complete);
        }
    }
}

#[tokio::test]
async fn what_is_priced_anew_is_read_anew() {
    let folder = TempDir::new().unwrap();
    let mut run = Run::start(folder.path(), SPEND, Takeover::Refuse);
    run.restore().await;
    run.record(3);
    run.record(4);
    assert!(run.ledger.flush(PATIENCE));
    // What is observed is told to the rules by others; here only the ledger knows.
    assert_eq!(run.figure().0.unwrap_or(0), 0);
    let query = RepriceQuery {
        since: UnixMicros(0),
        until: UnixMicros::now(),
        model: None,
        who: "ada".to_owned(),
    };
    let prices = PriceBook {
        table: Prices::builtin().table(),
        sellers: Arc::new([("openai".to_owned(), None)].into()),
    };
    let repricer = run.ledger.repricer();
    let report = spawn_blocking(move || repricer.reprice(query, prices));
    assert_eq!(report.await.unwrap().unwrap().total.changed, 2);
    // A hundred tokens of input and twenty of output each, by the prices that are shipped.
    run.until(2 * (100 * 250 + 20 * 2_000)).await;
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn only_what_is_read_for_a_reason_is_told_to_be_read_again() {
    let folder = TempDir::new().unwrap();
    let mut run = Run::start(folder.path(), SPEND, Takeover::Refuse);
    run.restore().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let times = || {
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        log.matches("were read again").count()
    };
    // As the first start does when it makes the folder of the ledger.
    std::fs::write(folder.path().join("beside.txt"), "").unwrap();
    run.keeper.read_files(false).await;
    assert_eq!(times(), 0);
    run.keeper.read_files(true).await;
    assert_eq!(times(), 1);
    let rules = folder.path().join("rules.yaml");
    let sound = std::fs::read(&rules).unwrap();
    std::fs::write(&rules, "groups: [").unwrap();
    run.keeper.read_files(false).await;
    std::fs::write(&rules, sound).unwrap();
    run.keeper.read_files(false).await;
    assert_eq!(times(), 2);
}
