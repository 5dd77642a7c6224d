//! What the bench prints.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::load::Traffic;
use crate::proxies::{Proxy, cores};

/// One run through one proxy. A direct call uses no proxy's CPU and memory.
pub(crate) struct Round {
    pub(crate) cpu: Option<Duration>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) traffic: Traffic,
}

impl Round {
    /// CPU microseconds a request or a chunk.
    fn cpu_us(&self) -> Option<f64> {
        let units = self.traffic.units as f64;
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / units)
    }
}

/// The comparison of one load.
pub(crate) struct Report {
    title: &'static str,
    unit: &'static str,
    rounds: BTreeMap<Proxy, Vec<Round>>,
}

impl Report {
    pub(crate) fn new(title: &'static str, unit: &'static str) -> Self {
        Self {
            title,
            unit,
            rounds: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, proxy: Proxy, round: Round) {
        self.rounds.entry(proxy).or_default().push(round);
    }

    /// CPU time as a multiple of the bare proxy's, round by round.
    fn ratios(&self, proxy: Proxy) -> Option<Vec<f64>> {
        let bare = self.rounds.get(&Proxy::Bare)?;
        let pairs = self.rounds[&proxy].iter().zip(bare);
        pairs
            .map(|(one, bare)| Some(one.cpu_us()? / bare.cpu_us()?))
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        let mut table = table(&[
            "",
            &format!("CPU µs a {unit}"),
            "× bare (range)",
            &format!("{unit}s/s"),
            "p50",
            "p99",
            "memory",
        ]);
        for (proxy, rounds) in &self.rounds {
            let of =
                |figure: fn(&Round) -> Option<f64>| median(rounds.iter().map(figure).collect());
            table.add_row([
                proxy.name().to_owned(),
                text(of(Round::cpu_us), |us| format!("{us:.1}")),
                text(self.ratios(*proxy), |ratios| ratio(&ratios)),
                text(
                    of(|round| {
                        Some(round.traffic.units as f64 / round.traffic.elapsed.as_secs_f64())
                    }),
                    |rate| format!("{rate:.0}"),
                ),
                text(of(|round| Some(round.traffic.p50.as_secs_f64())), duration),
                text(of(|round| Some(round.traffic.p99.as_secs_f64())), duration),
                text(
                    of(|round| round.resident_bytes.map(|bytes| bytes as f64)),
                    mebibytes,
                ),
            ]);
        }
        writeln!(f, "{}", self.title)?;
        writeln!(f, "{table}")
    }
}

/// The growth of memory an open stream: for each measurement the proxy and its resident bytes before the
/// streams and with `streams` of them open.
pub(crate) fn open_streams(figures: &[(Proxy, u64, u64)], streams: usize) -> String {
    let mut by_proxy: BTreeMap<Proxy, Vec<(u64, u64)>> = BTreeMap::new();
    for (proxy, before, during) in figures {
        by_proxy.entry(*proxy).or_default().push((*before, *during));
    }
    let each = |figures: &[(u64, u64)]| {
        let growth = figures
            .iter()
            .map(|(before, during)| Some(during.saturating_sub(*before) as f64 / streams as f64));
        median(growth.collect())
    };
    let bare = by_proxy.get(&Proxy::Bare).and_then(|figures| each(figures));
    let mut table = table(&["", "before", "open", "KiB a stream", "over bare"]);
    for (proxy, figures) in &by_proxy {
        let of = |figure: fn(&(u64, u64)) -> u64| {
            median(
                figures
                    .iter()
                    .map(|pair| Some(figure(pair) as f64))
                    .collect(),
            )
        };
        let growth = each(figures);
        let over_bare = growth.zip(bare).map(|(growth, bare)| growth - bare);
        table.add_row([
            proxy.name().to_owned(),
            text(of(|(before, _)| *before), mebibytes),
            text(of(|(_, during)| *during), mebibytes),
            text(growth, |bytes| format!("{:.1}", bytes / 1024.0)),
            text(over_bare, |bytes| format!("{:+.1}", bytes / 1024.0)),
        ]);
    }
    format!("Resident memory with {streams} streams open\n{table}\n")
}

/// The facts without which figures cannot be compared.
pub(crate) fn machine() -> anyhow::Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let load = fs::read_to_string("/proc/loadavg")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{model}, {} cores, load {} · Linux {} · {} · {} · {} · pingora {} · tollgate {}\n\n",
        cores(),
        load.split(' ').next().unwrap_or_default(),
        kernel.trim(),
        version("nginx", "-v"),
        version("wrk", "-v"),
        version("rustc", "--version"),
        locked_version("pingora").unwrap_or("unknown"),
        env!("CARGO_PKG_VERSION"),
    ))
}

/// The first words that a program says of its version, on whichever output it says them.
fn version(program: &str, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else {
        return format!("{program} unknown");
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default();
    let words: Vec<_> = line
        .trim_start_matches("nginx version: ")
        .split(' ')
        .collect();
    words[..words.len().min(2)].join(" ")
}

fn locked_version(package: &str) -> Option<&'static str> {
    let (_, rest) = include_str!("../../Cargo.lock")
        .split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The middle of the figures, or `None` when one of them is unknown.
fn median(figures: Vec<Option<f64>>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect::<Option<_>>()?;
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len().is_multiple_of(2) {
        Some(f64::midpoint(
            *figures.get(middle.checked_sub(1)?)?,
            figures[middle],
        ))
    } else {
        figures.get(middle).copied()
    }
}

fn ratio(ratios: &[f64]) -> String {
    let middle = text(
        median(ratios.iter().copied().map(Some).collect()),
        |middle| format!("{middle:.2}"),
    );
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{middle} ({least:.2}–{most:.2})")
}

fn text<T>(figure: Option<T>, write: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), write)
}

fn duration(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{:.0} µs", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
}
