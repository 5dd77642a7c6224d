//! Price files: Tollgate's own shape and both catalogues, told apart by what is in them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin;
use super::catalogue::{Catalogue, CatalogueError};
use super::file;
use super::known::{AsOf, dated};
use super::table::Layer;
use crate::clock::UnixMicros;
use crate::config::{Problem, Problems};

/// Beyond any catalogue; it bounds what a wrong file or address can cost.
pub const MOST_CATALOGUE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads the files of `prices.files`, the one that decides first at the front. Every problem of all
/// of them is told at once.
pub fn load_files(files: &[PathBuf]) -> Result<Vec<Arc<Layer>>, Problems> {
    let mut layers = Vec::new();
    let mut problems = Vec::new();
    for path in files {
        match load_file(path) {
            Ok(layer) => layers.push(Arc::new(layer)),
            Err(Problems(more)) => problems.extend(more),
        }
    }
    if problems.is_empty() {
        Ok(layers)
    } else {
        Err(Problems(problems))
    }
}

fn load_file(path: &Path) -> Result<Layer, Problems> {
    let (text, modified) = read(path).map_err(|problem| Problems(vec![problem]))?;
    if text.trim_start().starts_with('{') {
        let catalogue = Catalogue::parse(&text).map_err(|error| {
            let hint = match error {
                CatalogueError::UnknownShape => {
                    Some("prices.example.yaml shows Tollgate's own shape, which is YAML")
                }
                _ => None,
            };
            let message = format!("this is no price catalogue: {error}");
            Problems(vec![file::problem(path, message, hint)])
        })?;
        return Ok(layer_of(catalogue, &text, AsOf::FileTime(modified)));
    }
    let own = file::read(path, &text)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let version = format!("{}-{}", name.to_string_lossy(), fingerprint(&text));
    Ok(Layer::new(&version, own.rows, own.aliases))
}

fn read(path: &Path) -> Result<(String, UnixMicros), Problem> {
    let cannot = |error: std::io::Error| {
        file::problem(path, format!("cannot read the prices: {error}"), None)
    };
    let file = File::open(path).map_err(cannot)?;
    let modified = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| jiff::Timestamp::try_from(modified).ok())
        .map_or_else(UnixMicros::now, UnixMicros::from);
    let mut text = String::new();
    file.take(MOST_CATALOGUE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > MOST_CATALOGUE_BYTES {
        let message = "this is larger than 64 MiB, so it is no price file".to_owned();
        return Err(file::problem(path, message, None));
    }
    Ok((text, modified))
}

/// The layer of a catalogue that said so at a moment, by the word of a server or of the clock. `text`
/// is what it was read from; its fingerprint is part of each price version.
///
/// A catalogue has no dates: where Tollgate knows that a model's price changes, the catalogue's word
/// holds in the period whose rates it states, else in the one of its moment. What it does not state
/// beside the same rates (tiers, thresholds, fees) is as Tollgate ships it.
#[must_use]
pub fn catalogue_layer(catalogue: Catalogue, text: &str, as_of: UnixMicros) -> Layer {
    layer_of(catalogue, text, AsOf::Stated(as_of))
}

fn layer_of(catalogue: Catalogue, text: &str, as_of: AsOf) -> Layer {
    let date = as_of.moment().timestamp().strftime("%Y-%m-%d");
    let version = format!("{}-{date}-{}", catalogue.shape, fingerprint(text));
    let shipped = builtin::layer();
    let mut left = 0_usize;
    let rows = catalogue.rows.into_iter().flat_map(|row| {
        let rows = dated(row, as_of, &shipped);
        left += usize::from(rows.is_empty());
        rows
    });
    let layer = Layer::new(&version, rows, []);
    if left > 0 {
        tracing::info!(
            catalogue = version,
            models = left,
            "the catalogue is older than a known change of these models' prices, or may be: the \
             prices that Tollgate ships hold"
        );
    }
    layer
}

/// Eight digits that change with the text.
fn fingerprint(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}
