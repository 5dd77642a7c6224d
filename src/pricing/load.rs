//! Price files: Tollgate's own shape and both catalogues, told apart by what is in them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin;
use super::catalogue::{Catalogue, CatalogueError};
use super::file;
use super::row::PriceRow;
use super::table::{Layer, MatchRule, PriceTable};
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
        return Ok(catalogue_layer(catalogue, &text, modified));
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

/// The layer of a catalogue that said so at a moment. `text` is what it was read from; its
/// fingerprint is part of each price version.
///
/// A catalogue has no dates: it says what holds at its moment. Where Tollgate knows that a model's
/// price changes, the catalogue's word holds up to that change and not before the last one.
#[must_use]
pub fn catalogue_layer(catalogue: Catalogue, text: &str, as_of: UnixMicros) -> Layer {
    let date = as_of.timestamp().strftime("%Y-%m-%d");
    let version = format!("{}-{date}-{}", catalogue.shape, fingerprint(text));
    let known = PriceTable::new([builtin::layer()]);
    let rows = catalogue.rows.into_iter().map(|row| {
        let period = {
            let name = super::ModelName::at(Some(&row.provider), &row.model);
            let found = known.find(name, as_of);
            found
                .filter(|found| found.rule != MatchRule::Prefix)
                .map(|found| (found.row.effective_from, found.row.effective_to))
        };
        match period {
            Some((effective_from, effective_to)) => PriceRow {
                effective_from,
                effective_to,
                ..row
            },
            None => row,
        }
    });
    Layer::new(&version, rows, [])
}

/// Eight digits that change with the text.
fn fingerprint(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}
