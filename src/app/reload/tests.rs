//! Files that change under a running process.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::load;

const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);
const LATER: UnixMicros = UnixMicros(1_763_632_801_000_000);

fn rule(limit: &str) -> String {
    format!(
        "groups:\n- name: g\n  rules:\n  - {{alert: Spend, metric: cost, window: day, critical: {limit}}}\n"
    )
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

struct Sidecar {
    folder: TempDir,
    files: Files,
    stats: Arc<ReloadStats>,
}

const SETTINGS: &str = "rules: [rules/*.yaml]\n";

fn sidecar() -> Sidecar {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    write(&folder, "rules/a.yaml", &rule("5 USD"));
    write(&folder, "tollgate.yaml", SETTINGS);
    let loaded = load(Some(Path::new("tollgate.yaml")), &|_| None, folder.path()).unwrap();
    let stats = Arc::new(ReloadStats::new(NOW));
    Sidecar {
        files: Files::new(&loaded, Arc::clone(&stats)),
        folder,
        stats,
    }
}

impl Sidecar {
    /// The names and limits of what is wanted now; `None` when nothing else is.
    fn read(&mut self) -> Option<Vec<(String, Option<i64>)>> {
        match self.files.read(LATER) {
            Found::New(wanted, _) => {
                let rules = wanted.set.rules.iter();
                Some(
                    rules
                        .map(|rule| (rule.name.to_string(), rule.critical))
                        .collect(),
                )
            }
            Found::Same | Found::Wrong => None,
        }
    }
}

const USD: i64 = 1_000_000_000;

#[test]
fn an_edit_is_noticed_and_read() {
    let mut sidecar = sidecar();
    assert!(!sidecar.files.have_changed());
    assert_eq!(sidecar.read(), None);
    write(&sidecar.folder, "rules/a.yaml", &rule("50 USD"));
    assert!(sidecar.files.have_changed());
    let wanted = sidecar.read().unwrap();
    assert_eq!(wanted, [("Spend".to_owned(), Some(50 * USD))]);
    assert!(!sidecar.files.have_changed());
    // What is wanted now is what was wanted last.
    assert_eq!(sidecar.read(), None);
}

#[test]
fn files_come_and_go() {
    let mut sidecar = sidecar();
    let other = rule("1 USD").replace("Spend", "Other");
    write(&sidecar.folder, "rules/b.yaml", &other);
    assert!(sidecar.files.have_changed());
    let wanted = sidecar.read().unwrap();
    let both = [
        ("Spend".to_owned(), Some(5 * USD)),
        ("Other".to_owned(), Some(USD)),
    ];
    assert_eq!(wanted, both);
    std::fs::remove_file(sidecar.folder.path().join("rules/a.yaml")).unwrap();
    assert!(sidecar.files.have_changed());
    assert_eq!(sidecar.read().unwrap(), both[1..]);
}

#[test]
fn a_wrong_file_changes_nothing_until_it_is_right_again() {
    let mut sidecar = sidecar();
    write(&sidecar.folder, "rules/a.yaml", &rule("50 bananas"));
    assert!(matches!(sidecar.files.read(LATER), Found::Wrong));
    assert!(!sidecar.stats.succeeded());
    assert_eq!(sidecar.stats.last_success(), NOW);
    assert!(!sidecar.files.have_changed());
    write(&sidecar.folder, "rules/a.yaml", &rule("7 USD"));
    assert!(sidecar.files.have_changed());
    assert_eq!(
        sidecar.read().unwrap(),
        [("Spend".to_owned(), Some(7 * USD))]
    );
    // That it is in force is for others to say.
    assert!(!sidecar.stats.succeeded());
    assert!(sidecar.files.are_in_force(LATER));
    assert!(sidecar.stats.succeeded());
    assert_eq!(sidecar.stats.last_success(), LATER);
    assert!(!sidecar.files.are_in_force(LATER));
}

#[test]
fn a_wrong_file_that_the_settings_name_anew_is_watched() {
    let mut sidecar = sidecar();
    write(&sidecar.folder, "other.yaml", "groups: [");
    write(&sidecar.folder, "tollgate.yaml", "rules: [other.yaml]\n");
    assert!(matches!(sidecar.files.read(LATER), Found::Wrong));
    write(&sidecar.folder, "other.yaml", &rule("3 USD"));
    assert!(sidecar.files.have_changed());
    assert_eq!(
        sidecar.read().unwrap(),
        [("Spend".to_owned(), Some(3 * USD))]
    );
}

#[test]
fn wrong_settings_leave_the_rules_as_they_are() {
    let mut sidecar = sidecar();
    write(&sidecar.folder, "tollgate.yaml", "rulez: []\n");
    write(&sidecar.folder, "rules/a.yaml", &rule("50 USD"));
    assert!(matches!(sidecar.files.read(LATER), Found::Wrong));
    write(&sidecar.folder, "tollgate.yaml", SETTINGS);
    assert_eq!(
        sidecar.read().unwrap(),
        [("Spend".to_owned(), Some(50 * USD))]
    );
}

#[test]
fn budgets_are_read_again() {
    let mut sidecar = sidecar();
    let settings = format!("{SETTINGS}budgets: {{lease: 10m}}\n");
    write(&sidecar.folder, "tollgate.yaml", &settings);
    let Found::New(wanted, _) = sidecar.files.read(LATER) else {
        panic!("the budgets are others");
    };
    assert_eq!(wanted.budgets.lease.as_secs(), 600);
}

#[test]
fn what_needs_a_restart_is_named() {
    let mut sidecar = sidecar();
    let before = sidecar.files.settings.clone();
    let settings = format!(
        "{SETTINGS}listen: 127.0.0.1:1\ntimezone: Europe/Berlin\nlimits: {{idle: 1s}}\nbudgets: {{lease: 1m}}\ninhibit: []\ngrafana: {{url: http://g}}\n"
    );
    write(&sidecar.folder, "tollgate.yaml", &settings);
    let after = sidecar.files.origin.load(&|_| None).unwrap().settings;
    let named = needing_restart(&before, &after);
    assert_eq!(named, ["listen", "timezone", "limits"]);
    assert!(needing_restart(&before, &before).is_empty());
    // The zone that rules are read with is the one that the rest goes by.
    assert!(sidecar.read().is_some());
    assert_eq!(sidecar.files.settings.timezone, before.timezone);
}

#[test]
fn whom_is_told_what_is_read_again_and_templates_with_it() {
    let mut sidecar = sidecar();
    let hook = "receivers: [{name: ops, webhook: {url: 'http://127.0.0.1:9/'}}]\n";
    let settings = format!("{SETTINGS}{hook}templates: {{alert: own.j2}}\n");
    write(&sidecar.folder, "own.j2", "{{ title }}\n");
    write(&sidecar.folder, "tollgate.yaml", &settings);
    let mut plan = || match sidecar.files.read(LATER) {
        Found::New(_, plan) => Some(plan),
        Found::Same => None,
        Found::Wrong => panic!("it is good"),
    };
    assert_eq!(plan().unwrap().destinations.len(), 1);
    assert!(plan().is_none());
    write(&sidecar.folder, "own.j2", "{{ title }}!\n");
    assert!(sidecar.files.have_changed());
    assert!(matches!(sidecar.files.read(LATER), Found::New(..)));
    write(&sidecar.folder, "own.j2", "{{ nothing }");
    assert!(matches!(sidecar.files.read(LATER), Found::Wrong));
    assert!(!sidecar.stats.succeeded());
}
