//! What choosing a channel costs among many. `cargo bench --bench channels`; the table at the end
//! is CPU time, which is what can be trusted on a machine that others use too.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program that prints its measurements"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use tollgate::channel::{Bond, Registry, Sighted, Unobserved, Wanted};
use tollgate::clock::UnixMicros;
use tollgate::config::{BaseUrl, ChannelSettings, ModelPattern, Secret, Settings, Strategy};
use tollgate::record::{Api, Outcome};

const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);
const MANY: usize = 1_000;
const KEYS: usize = 10_000;
const MODELS: [&str; 4] = ["gpt-5", "gpt-5-mini", "o4", "gpt-4.1"];

/// So many channels, each of which serves every model of [`MODELS`].
fn registry(channels: usize, strategy: Strategy) -> Registry {
    let mut settings = Settings::defaults(Path::new(""));
    settings.routing.strategy = strategy;
    let channel = |number: usize| ChannelSettings {
        name: Arc::from(format!("channel-{number}")),
        api_key: Some(Secret::new("sk-bench")),
        models: Some(["gpt-*", "o4"].map(ModelPattern::new).into()),
        weight: 1 + u32::try_from(number % 7).unwrap_or(0),
        max_in_flight: number.is_multiple_of(2).then_some(100),
        ..ChannelSettings::openai(BaseUrl::openai())
    };
    settings.channels = (0..channels).map(channel).collect();
    match Registry::new(&settings, Arc::new(Unobserved)) {
        Ok(registry) => registry,
        Err(error) => unreachable!("{error}"),
    }
}

/// One request from its choice to its end, as the proxy has it.
fn request(registry: &Registry, wanted: &Wanted<'_>) {
    let Ok(mut placing) = registry.placing(wanted) else {
        unreachable!("every channel serves every model");
    };
    let Ok(mut place) = placing.take(NOW) else {
        unreachable!("every channel is open");
    };
    black_box(place.channel());
    place.end(
        &Sighted {
            fault: None,
            status: Some(200),
            code: None,
            outcome: Outcome::Ok,
            own_credential: true,
            pause: None,
            wait: None,
        },
        NOW,
    );
}

fn wanted(number: usize) -> Wanted<'static> {
    Wanted {
        named: None,
        preferred: None,
        allowed: None,
        api: Api::Chat,
        model: Some(MODELS[number % MODELS.len()]),
        caller: u64::try_from(number)
            .unwrap_or(0)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15),
        bond: None,
    }
}

fn strategies(criterion: &mut Criterion) {
    for strategy in Strategy::ALL {
        let mut group = criterion.benchmark_group(format!("choose/{strategy}"));
        for channels in [1, MANY] {
            let registry = registry(channels, *strategy);
            group.bench_with_input(
                BenchmarkId::from_parameter(channels),
                &registry,
                |bencher, registry| {
                    let mut number = 0;
                    bencher.iter(|| {
                        number = (number + 1) % KEYS;
                        request(registry, &wanted(number));
                    });
                },
            );
        }
        group.finish();
    }
}

/// Many keys, each with some channels of its own that it may use.
fn keys(criterion: &mut Criterion) {
    let registry = registry(MANY, Strategy::Ordered);
    let allowed: Vec<Vec<Arc<str>>> = (0..KEYS)
        .map(|key| {
            let names = (0..4).map(|n| format!("channel-{}", (key * 7 + n * 31) % MANY));
            names.map(Arc::from).collect()
        })
        .collect();
    let mut group = criterion.benchmark_group("choose");
    group.bench_function("allowed", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % KEYS;
            let wanted = Wanted {
                allowed: Some(&allowed[number]),
                ..wanted(number)
            };
            request(&registry, &wanted);
        });
    });
    group.bench_function("session", |bencher| {
        let sessions: Vec<String> = (0..KEYS).map(|n| format!("session-{n}")).collect();
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % KEYS;
            let wanted = Wanted {
                bond: Some(Bond::Session(&sessions[number])),
                ..wanted(number)
            };
            request(&registry, &wanted);
        });
    });
    group.bench_function("unknown_models", |bencher| {
        let models: Vec<String> = (0..100_000).map(|n| format!("gpt-{n}")).collect();
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % models.len();
            let wanted = Wanted {
                model: Some(&models[number]),
                ..wanted(number)
            };
            request(&registry, &wanted);
        });
    });
    group.finish();
}

/// CPU nanoseconds of a request, the best of some runs.
fn cpu_ns(registry: &Registry, requests: usize) -> f64 {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let run = || {
        let before = cpu();
        for number in 0..requests {
            request(registry, &wanted(number % KEYS));
        }
        (cpu() - before) / requests as f64
    };
    (0..7).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn differences(_: &mut Criterion) {
    let measure = std::env::args().any(|argument| argument == "--bench");
    let requests = if measure { 200_000 } else { 100 };
    println!(
        "{:>16} {:>9} {:>9} {:>11}",
        "CPU ns a request", 1, MANY, "difference"
    );
    for strategy in Strategy::ALL {
        let [one, many] =
            [1, MANY].map(|channels| cpu_ns(&registry(channels, *strategy), requests));
        println!(
            "{strategy:>16} {one:>9.0} {many:>9.0} {:>+11.0}",
            many - one
        );
    }
}

criterion_group!(benches, strategies, keys, differences);
criterion_main!(benches);
