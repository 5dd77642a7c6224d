//! What it takes to tell who calls: nothing known, one key, ten thousand keys.
//!
//! `cargo bench --bench keys`. `hash` is what every caller with a credential costs; what the others
//! take beyond it is the search and the answer.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may stop at any fault, and its entry point is made by a macro"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::clock::UnixMicros;
use tollgate::config::KeyGrant;
use tollgate::keys::{KeyEntry, Keyring, Pepper, Required};

/// A key that is shown, as long as those that are made.
fn text(n: usize) -> String {
    format!("tg-{n:043}")
}

fn ring(keys: usize) -> Keyring {
    let folder = tempfile::tempdir().unwrap();
    let (pepper, _) = Pepper::open(folder.path()).unwrap();
    let entries = (0..keys).map(|n| KeyEntry {
        hash: pepper.hash(text(n).as_bytes()),
        name: format!("key-{n}").into(),
        grant: Arc::new(KeyGrant::default()),
    });
    let entries = entries.collect();
    let required = if keys > 0 {
        Required::Yes
    } else {
        Required::No
    };
    Keyring::new(pepper, required, entries)
}

fn identify(criterion: &mut Criterion) {
    let now = UnixMicros::now();
    let folder = tempfile::tempdir().unwrap();
    let (pepper, _) = Pepper::open(folder.path()).unwrap();
    let shown = text(0);
    criterion.bench_function("keys/hash", |bencher| {
        bencher.iter(|| pepper.hash(black_box(shown.as_bytes())));
    });
    for keys in [0, 1, 10_000] {
        let ring = ring(keys);
        // Each in turn, so that the search finds no warmed path.
        let all: Vec<String> = (0..keys.max(1)).map(text).collect();
        let mut shown = all.iter().cycle();
        criterion.bench_function(&format!("keys/identify/{keys}"), |bencher| {
            bencher.iter(|| {
                let shown = shown.next().map(String::as_bytes);
                ring.identify(black_box(shown), now)
            });
        });
    }
    let ring = ring(10_000);
    let stranger = text(20_000);
    criterion.bench_function("keys/identify/10000/stranger", |bencher| {
        bencher.iter(|| ring.identify(Some(black_box(stranger.as_bytes())), now));
    });
}

criterion_group!(benches, identify);
criterion_main!(benches);
