//! What a backup consists of, and the file that says so: written last, so that a backup without it
//! did not come to its end.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::admin::json::Moment;
use crate::ledger::is_journal_file;
use crate::payloads::is_day;

/// The ledger's database.
pub(in crate::cli) const DATABASE: &str = "tollgate.db";

/// Single files of the data folder and what they are. docs/operations.md says what is lost without.
pub(in crate::cli) const FILES: [(&str, &str); 5] = [
    ("key-secret", "what clients' keys are hashed with"),
    ("keys-required", "that requests need a key"),
    ("answers.key", "what buttons in chats are signed with"),
    (
        "new-api.json",
        "which channels are disabled in new-api by Tollgate",
    ),
    ("prices/catalogue", "the last good price catalogue"),
];

/// The folder of the ledger's journal.
pub(in crate::cli) const JOURNAL: &str = "journal";

/// The folder of kept requests and answers: a folder a day in it, a file a request in that.
pub(in crate::cli) const PAYLOADS: &str = "payloads";

/// How a payload's file ends once it is whole.
const PAYLOAD_ENDING: &str = ".json.zst";

/// The file about a backup, in it.
pub(in crate::cli) const MANIFEST: &str = "backup.json";

/// The largest such file that is read.
pub(in crate::cli) const MOST_MANIFEST_BYTES: u64 = 1 << 20;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cli) struct Manifest {
    /// The version of Tollgate that made it.
    pub(in crate::cli) tollgate: String,
    /// When it was begun.
    pub(in crate::cli) made_at: Moment,
    /// Every file but payloads and this one: its path in the data folder, its size in bytes.
    pub(in crate::cli) files: BTreeMap<String, u64>,
    /// How many payloads there are.
    pub(in crate::cli) payloads: u64,
}

/// Where a file of a backup belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Part {
    /// The manifest has it by name.
    Listed,
    /// The manifest has their count.
    Payload,
    Manifest,
}

/// What a name in a backup means; `None` for what no backup has, and for every way out of a folder.
pub(in crate::cli) fn part(name: &str) -> Option<Part> {
    if name == MANIFEST {
        return Some(Part::Manifest);
    }
    if name == DATABASE || FILES.iter().any(|(known, _)| *known == name) {
        return Some(Part::Listed);
    }
    let plain = |component| matches!(component, Component::Normal(_));
    if name.starts_with('/') || !Path::new(name).components().all(plain) {
        return None;
    }
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [JOURNAL, file] if is_journal_file(file) => Some(Part::Listed),
        [PAYLOADS, day, file] if is_day(day) && file.ends_with(PAYLOAD_ENDING) => {
            Some(Part::Payload)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_backup_has_is_taken() {
        let journal = "journal/0199-0.log";
        for name in ["tollgate.db", "key-secret", "prices/catalogue", journal] {
            assert_eq!(part(name), Some(Part::Listed), "{name}");
        }
        let payload = "payloads/2026-11-20/01a1.json.zst";
        assert_eq!(part(payload), Some(Part::Payload));
        assert_eq!(part("backup.json"), Some(Part::Manifest));
        for name in [
            "",
            "/tollgate.db",
            "../tollgate.db",
            "tollgate.db-wal",
            "tollgate.lock",
            "journal/../../x.log",
            "journal/x.lock",
            "journal/a/x.log",
            "payloads/../x.json.zst",
            "payloads//x.json.zst",
            "payloads/lost+found/x.json.zst",
            "payloads/day/a/x.json.zst",
            "payloads/day/..",
            "payloads/2026-11-20/01a1.json.zst.unfinished",
            "payloads/day",
            "prices/other",
        ] {
            assert_eq!(part(name), None, "{name}");
        }
    }
}
