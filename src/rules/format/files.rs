//! Files that cannot be read, and such that are taken for another kind.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Node, Place, Position, Problem, Value};

/// The problem of a file that cannot be read.
pub(in crate::rules) fn unread(
    path: &Path,
    position: Option<Position>,
    message: String,
) -> Problem {
    let folder = path.is_dir();
    let hint = || {
        format!(
            "it is a folder: name its files, as `{}/*.yaml`",
            path.display()
        )
    };
    Problem {
        place: Place::File {
            file: Arc::from(path),
            position,
        },
        key: String::new(),
        message,
        hint: folder.then(hint),
    }
}

/// Whether a file has the key `own`, and not that of the other kind of files.
pub(in crate::rules) fn is_about(root: &Node, own: &str, other: &str) -> bool {
    let Value::Map(entries) = &root.value else {
        return false;
    };
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    has(own) && !has(other)
}
