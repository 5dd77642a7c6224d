//! The settings and the rules of a running process, read again on SIGHUP and when their files change.
//!
//! Rules and budgets come into force without a restart, all of them or, when anything is wrong, none.
//! Of every other setting that changed it is said that it needs a restart.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::rules::load_rules;
use crate::admin::ReloadStats;
use crate::clock::UnixMicros;
use crate::config::{
    BudgetSettings, FileStates, Loaded, NotifySettings, Origin, Problems, Settings,
};
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
    /// They say something else.
    New(Wanted),
}

/// The files, and what was last read in them.
#[derive(Debug)]
pub(super) struct Files {
    origin: Origin,
    /// As they are in force, or are about to be.
    settings: Settings,
    /// The settings file, and the files of rules with their folders, as they were read.
    seen: [FileStates; 2],
    /// Where rules were read last, wrong ones too.
    rules: Vec<PathBuf>,
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
                FileStates::of(&with_folders(&rules)),
            ],
            texts: texts(&rules),
            rules,
            origin: loaded.origin.clone(),
            settings,
            stats,
        }
    }

    /// Whether one of them changed since they were read. Blocks for the asking.
    pub(super) fn have_changed(&self) -> bool {
        [
            FileStates::of(&[self.origin.file()]),
            FileStates::of(&with_folders(&self.rules)),
        ] != self.seen
    }

    /// Reads them. Blocks for the reading.
    pub(super) fn read(&mut self, now: UnixMicros) -> Found {
        self.seen[0] = FileStates::of(&[self.origin.file()]);
        let read = self.origin.load(&|name| std::env::var(name).ok());
        if let Ok(loaded) = &read {
            self.rules.clone_from(&loaded.settings.rules);
        }
        self.seen[1] = FileStates::of(&with_folders(&self.rules));
        let texts = texts(&self.rules);
        // As the process runs: channels and zone are those of its start.
        let asked = Settings {
            rules: self.rules.clone(),
            ..self.settings.clone()
        };
        // With wrong settings too: all that is wrong is told at once.
        let loaded_rules = load_rules(&asked);
        let (loaded, rules) = match (read, loaded_rules) {
            (Ok(loaded), Ok(rules)) => (loaded, rules),
            (read, rules) => {
                let problems = read.err().into_iter().chain(rules.err());
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
        self.settings = Settings { budgets, ..asked };
        self.texts = texts;
        if same {
            return Found::Same;
        }
        Found::New(Wanted {
            set: rules,
            budgets: self.settings.budgets.clone(),
        })
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

/// Files, and the folders in which others may come and go.
fn with_folders(files: &[PathBuf]) -> Vec<PathBuf> {
    let folders = files.iter().filter_map(|file| file.parent());
    let mut all: Vec<PathBuf> = folders.map(Into::into).collect();
    all.dedup();
    all.extend(files.iter().cloned());
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
        notify,
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
    let settings = settings
        .into_iter()
        .chain(of_notifications(notify, &after.notify));
    let changed = settings.filter(|(_, same)| !same);
    changed.map(|(name, _)| name).collect()
}

/// The sections that say whom is told what, and whether they are the same.
fn of_notifications(before: &NotifySettings, after: &NotifySettings) -> [(&'static str, bool); 8] {
    let NotifySettings {
        receivers,
        routes,
        inhibit,
        mute_times,
        notices,
        digests,
        templates,
        grafana,
    } = before;
    [
        ("receivers", *receivers == after.receivers),
        ("routes", *routes == after.routes),
        ("inhibit", *inhibit == after.inhibit),
        ("mute_times", *mute_times == after.mute_times),
        ("notices", *notices == after.notices),
        ("digests", *digests == after.digests),
        ("templates", *templates == after.templates),
        ("grafana", *grafana == after.grafana),
    ]
}
