//! The prices that Tollgate ships: facts of its own, in the shape of an operator's file, as known on
//! the day in [`VERSION`]. Each row names who states it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::file;
use super::table::Layer;

/// Names the layer in each price version.
const VERSION: &str = "builtin-2026-11-20";

/// The files, one for each provider.
const FILES: &[(&str, &str)] = &[
    ("openai.yaml", include_str!("builtin/openai.yaml")),
    (
        "openai-media.yaml",
        include_str!("builtin/openai-media.yaml"),
    ),
    ("anthropic.yaml", include_str!("builtin/anthropic.yaml")),
    ("azure.yaml", include_str!("builtin/azure.yaml")),
    ("gemini.yaml", include_str!("builtin/gemini.yaml")),
];

/// The layer of all that. A file that cannot be read is left out, with a word in the log; the tests
/// see to it that none is.
pub(super) fn layer() -> Arc<Layer> {
    static LAYER: LazyLock<Arc<Layer>> = LazyLock::new(|| {
        let (mut rows, mut aliases) = (Vec::new(), Vec::new());
        for (name, text) in FILES {
            match file::read(Path::new(name), text) {
                Ok(own) => {
                    rows.extend(own.rows);
                    aliases.extend(own.aliases);
                }
                Err(problems) => {
                    tracing::error!(file = name, %problems, "built-in prices cannot be read");
                }
            }
        }
        Arc::new(Layer::new(VERSION, rows, aliases))
    });
    Arc::clone(&LAYER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_sound() {
        for (name, text) in FILES {
            let own = file::read(Path::new(name), text).unwrap_or_else(|told| panic!("{told}"));
            assert!(!own.rows.is_empty(), "{name}");
        }
    }

    #[test]
    fn rows_name_their_source_and_provider() {
        for row in layer().rows() {
            assert!(
                row.source.contains(' ') || row.source.contains("://"),
                "{row:?}"
            );
            assert!(!row.provider.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn aliases_lead_to_rows_and_hide_none() {
        let layer = layer();
        for alias in layer.aliases() {
            let of = |name: &str| {
                let mut rows = layer.rows();
                rows.any(|row| row.provider == alias.provider && row.model == name)
            };
            assert!(of(&alias.model), "{alias:?}");
            assert!(!of(&alias.name), "{alias:?}");
        }
    }
}
