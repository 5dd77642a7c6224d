//! The settings and the rules of a running process, read again on SIGHUP and when their files change.
//!
//! Rules, budgets and whom is told what come into force without a restart, all of them or, when anything is wrong, none.
//! Of every other setting that changed it is said that it needs a restart.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::rules::load_rules;
use super::telling::plan;
use crate::admin::ReloadStats;
use crate::clock::UnixMicros;
use crate::config::{
    BudgetSettings, FileStates, Loaded, NotifySettings, Origin, Problems, Settings,
};
use crate::dispatch::Plan;
use crate::rules::RuleSet;

/// SIGHUP, which must never end the process: from the moment this is there it does not.
pub(super) struct Hangups(Signal);

impl Hangups {
    pub(super) fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next; one that came since the last is not lost.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The process ends.
            std::future::pending::<()>().await;
        }
    }
}

/// Rules and budgets that the files ask for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) set: RuleSet,
    pub(super) budgets: BudgetSettings,
}

/// What reading the files again came to.
pub(super) enum Found {
    /// They say what they said before.
    Same,
    /// They are wrong, which was told.
    Wrong,
    /// They say something else: these rules, and whom is told what.
    New(Wanted, Box<Plan>),
}

/// The files, and what was last read in them.
#[derive(Debug)]
pub(super) struct Files {
    origin: Origin,
    /// As they are in force, or are about to be.
    settings: Settings,
    /// The settings file; and the files of rules with their folders and the templates; as they were read.
    seen: [FileStates; 2],
    /// Where rules were read last, wrong ones too.
    rules: Vec<PathBuf>,
    /// Whom was to be told what by the settings as they were read last, where those were good.
    notify: NotifySettings,
    texts: Vec<Option<Vec<u8>>>,
    stats: Arc<ReloadStats>,
}

impl Files {
    pub(super) fn new(loaded: &Loaded, stats: Arc<ReloadStats>) -> Self {
        let settings = loaded.settings.clone();
        let rules = settings.rules.clone();
        Self {
            seen: [
                FileStates::of(&[loaded.origin.file()]),
                FileStates::of(&watched(&rules, &settings.notify)),
            ],
            texts: texts(&read(&rules, &settings.notify)),
            rules,
            notify: settings.notify.clone(),
            origin: loaded.origin.clone(),
            settings,
            stats,
        }
    }

    /// Whether one of them changed since they were read. Blocks for the asking.
    pub(super) fn have_changed(&self) -> bool {
        [
            FileStates::of(&[self.origin.file()]),
            FileStates::of(&watched(&self.rules, &self.notify)),
        ] != self.seen
    }

    /// Reads them. Blocks for the reading.
    pub(super) fn read(&mut self, now: UnixMicros) -> Found {
        self.seen[0] = FileStates::of(&[self.origin.file()]);
        let read = self.origin.load(&|name| std::env::var(name).ok());
        if let Ok(loaded) = &read {
            self.rules.clone_from(&loaded.settings.rules);
            self.notify.clone_from(&loaded.settings.notify);
        }
        self.seen[1] = FileStates::of(&watched(&self.rules, &self.notify));
        let texts = texts(&self::read(&self.rules, &self.notify));
        // As the process runs: channels and zone are those of its start.
        let asked = Settings {
            rules: self.rules.clone(),
            notify: self.notify.clone(),
            ..self.settings.clone()
        };
        // With wrong settings too: all that is wrong is told at once.
        let (loaded, rules, plan) = match (read, load_rules(&asked), plan(&asked)) {
            (Ok(loaded), Ok(rules), Ok(plan)) => (loaded, rules, plan),
            (read, rules, plan) => {
                let problems = read.err().into_iter().chain(rules.err()).chain(plan.err());
                self.refuse(&Problems(problems.flat_map(|wrong| wrong.0).collect()), now);
                return Found::Wrong;
            }
        };
        let restart = needing_restart(&self.settings, &loaded.settings);
        if !restart.is_empty() {
            tracing::warn!(
                settings = restart.join(", "),
                "settings changed that come into force with a restart only"
            );
        }
        let budgets = loaded.settings.budgets;
        let same = self.texts == texts && self.settings.rules == asked.rules;
        let same = same && self.settings.budgets == budgets;
        let same = same && self.settings.notify == asked.notify;
        self.settings = Settings { budgets, ..asked };
        self.texts = texts;
        if same {
            return Found::Same;
        }
        let wanted = Wanted {
            set: rules,
            budgets: self.settings.budgets.clone(),
        };
        Found::New(wanted, Box::new(plan))
    }

    /// Notes that what they say is in force. Returns whether they were wrong before.
    pub(super) fn are_in_force(&self, now: UnixMicros) -> bool {
        let were_wrong = !self.stats.succeeded();
        self.stats.note(true, now);
        were_wrong
    }

    fn refuse(&self, problems: &Problems, now: UnixMicros) {
        self.stats.note(false, now);
        tracing::warn!(
            count = problems.0.len(),
            %problems,
            "the settings or rules are wrong; those before stay in force"
        );
    }
}

/// The files that are read beside the settings: rules and templates.
fn read(rules: &[PathBuf], notify: &NotifySettings) -> Vec<PathBuf> {
    let templates = notify.template_files();
    rules.iter().cloned().chain(templates).collect()
}

/// Those, and the folders in which rules may come and go.
fn watched(rules: &[PathBuf], notify: &NotifySettings) -> Vec<PathBuf> {
    let folders = rules.iter().filter_map(|file| file.parent());
    let mut all: Vec<PathBuf> = folders.map(Into::into).collect();
    all.dedup();
    all.extend(read(rules, notify));
    all
}

fn texts(files: &[PathBuf]) -> Vec<Option<Vec<u8>>> {
    files.iter().map(|file| fs::read(file).ok()).collect()
}

/// The settings that differ and are read at a start only.
fn needing_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    // Named one by one, so that none is forgotten.
    let Settings {
        listen,
        tls,
        channels,
        routing,
        breaker,
        models,
        keys,
        data_dir,
        timezone,
        admin,
        log,
        ledger,
        limits,
        streaming,
        payloads,
        metrics,
        prices,
        rules: _,
        budgets: _,
        notify: _,
        sources,
    } = before;
    let settings = [
        ("listen", *listen == after.listen),
        ("tls", *tls == after.tls),
        ("channels", *channels == after.channels),
        ("routing", *routing == after.routing),
        ("breaker", *breaker == after.breaker),
        ("models", *models == after.models),
        ("keys", *keys == after.keys),
        ("data_dir", *data_dir == after.data_dir),
        ("timezone", *timezone == after.timezone),
        ("admin", *admin == after.admin),
        ("log", *log == after.log),
        ("ledger", *ledger == after.ledger),
        ("limits", *limits == after.limits),
        ("streaming", *streaming == after.streaming),
        ("payloads", *payloads == after.payloads),
        ("metrics", *metrics == after.metrics),
        ("prices", *prices == after.prices),
        ("sources", *sources == after.sources),
    ];
    let changed = settings.into_iter().filter(|(_, same)| !same);
    changed.map(|(name, _)| name).collect()
}
