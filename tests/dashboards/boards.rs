//! The dashboards as files, and their parts.

use std::fs;
use std::path::Path;

use serde_json::Value;

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/grafana/dashboards");

pub(crate) const PROMETHEUS: &str = "prometheus";
pub(crate) const INFINITY: &str = "yesoreyeram-infinity-datasource";
pub(crate) const SQLITE: &str = "frser-sqlite-datasource";
pub(crate) const POSTGRES: &str = "grafana-postgresql-datasource";

/// A dashboard.
pub(crate) struct Board {
    pub(crate) uid: String,
    pub(crate) json: Value,
}

/// A panel, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'b> {
    pub(crate) board: &'b Board,
    pub(crate) json: &'b Value,
}

/// A question of a panel.
#[derive(Clone, Copy)]
pub(crate) struct Target<'b> {
    pub(crate) panel: Panel<'b>,
    pub(crate) json: &'b Value,
}

/// All of them, by uid.
pub(crate) fn all() -> Vec<Board> {
    let mut boards: Vec<Board> = fs::read_dir(Path::new(FOLDER))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let uid = json["uid"].as_str().unwrap().to_owned();
            assert_eq!(path.file_stem().unwrap().to_str(), Some(&*uid));
            Board { uid, json }
        })
        .collect();
    boards.sort_by(|left, right| left.uid.cmp(&right.uid));
    assert!(boards.len() >= 11, "{} dashboards", boards.len());
    boards
}

/// The elements of a list that may not be there.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text that has to be there.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Board {
    /// Its panels, those in folded rows too, without the rows.
    pub(crate) fn panels(&self) -> Vec<Panel<'_>> {
        let shown = list(&self.json["panels"]);
        let folded = shown.iter().flat_map(|panel| list(&panel["panels"]));
        let panels = shown.iter().chain(folded);
        let panels = panels.filter(|panel| panel["type"] != "row");
        panels.map(|json| Panel { board: self, json }).collect()
    }

    /// What a reader chooses.
    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// The questions of all panels to data sources of that kind.
    pub(crate) fn targets(&self, kind: &str) -> Vec<Target<'_>> {
        let all = self.panels().into_iter().flat_map(|panel| {
            let targets = list(&panel.json["targets"]);
            targets.iter().map(move |json| Target { panel, json })
        });
        all.filter(|target| target.json["datasource"]["type"] == kind)
            .collect()
    }
}

impl Panel<'_> {
    /// What to look for when something is wrong.
    pub(crate) fn place(&self) -> String {
        format!("{} “{}”", self.board.uid, text(&self.json["title"]))
    }

    pub(crate) fn kind(&self) -> &str {
        text(&self.json["type"])
    }
}

impl Target<'_> {
    pub(crate) fn place(&self) -> String {
        format!("{} {}", self.panel.place(), text(&self.json["refId"]))
    }

    pub(crate) fn expr(&self) -> &str {
        text(&self.json["expr"])
    }
}

/// Fails with all that is wrong at once.
pub(crate) fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
