//! Budgets over crashes: what was on its way is held until its lease ends, and said to have slipped
//! from then on.

use proptest::prelude::*;

use super::*;
use crate::record::MinuteSample;
use crate::rules::{HeldRequest, Reservation};

const LIMIT: i64 = 1_000;
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// A row of the ledger.
#[derive(Clone, Debug)]
struct Row {
    started_at: UnixMicros,
    counted: i64,
    /// Of a request whose end nobody saw: the most that it may have cost.
    worst: Option<i64>,
}

/// What would be there if everything were known.
struct World {
    rules: Rules,
    now: UnixMicros,
    rows: Vec<Row>,
    open: Vec<(Reservation, i64, UnixMicros)>,
    /// What providers charge, whoever knows of it.
    charged: Vec<(i64, UnixMicros)>,
}

impl World {
    fn new() -> Self {
        Self {
            rules: rules(&set([daily_block(LIMIT)])).0,
            now: NOON,
            rows: Vec::new(),
            open: Vec::new(),
            charged: Vec::new(),
        }
    }

    fn end(&mut self, which: usize, share: u8) {
        let (held, worst, started_at) = self.open.swap_remove(which % self.open.len());
        let cost = worst * i64::from(share) / 255;
        self.rules
            .observe(&sample("a", cost, started_at), held, self.now);
        self.charged.push((cost, started_at));
        self.rows.push(Row {
            started_at,
            counted: cost,
            worst: None,
        });
    }

    /// kill -9 and a start: of what was on its way the ledger has the input's cost, and the most.
    fn crash(&mut self, share: u8) {
        for (held, worst, started_at) in std::mem::take(&mut self.open) {
            self.charged
                .push((worst * i64::from(share) / 255, started_at));
            self.rows.push(Row {
                started_at,
                counted: worst / 4,
                worst: Some(worst),
            });
            // It is gone with the process.
            drop(held);
        }
        self.rules = rules(&set([daily_block(LIMIT)])).0;
        let budgets = self.rules.budgets();
        let lease = budgets.lease;
        let set = set([daily_block(LIMIT)]);
        let mut preparation = self.rules.prepare(&set, budgets, true, self.now);
        assert!(preparation.needs().minutes_since.is_some());
        for row in &self.rows {
            preparation.minute(&minute(row), self.now);
            if let Some(worst) = row.worst {
                preparation.held(
                    &HeldRequest {
                        id: &format!("{}-{worst}-{}", row.started_at, row.counted),
                        started_at: row.started_at,
                        dimensions: of("a"),
                        worst: Worst {
                            cost: Some(NanoUsd(worst - row.counted)),
                            ..Worst::default()
                        },
                        until: row.started_at.plus(lease),
                    },
                    self.now,
                );
            }
        }
        preparation.install(None, self.now).unwrap();
    }

    fn charged_today(&self) -> i64 {
        let today = self.now.0.div_euclid(DAY);
        let of_today = self.charged.iter();
        of_today
            .filter(|(_, at)| at.0.div_euclid(DAY) == today)
            .map(|(cost, _)| cost)
            .sum()
    }

    fn bound(&self) -> i64 {
        let view = self.rules.view(self.now);
        view[0].overshoot_bound.flatten().unwrap().value
    }
}

fn minute(row: &Row) -> MinuteSample<'static> {
    MinuteSample {
        started: row.started_at.minute(),
        ended: row.started_at.minute(),
        dimensions: of("a"),
        requests: 1,
        errors: 0,
        cost_nanousd: Some(row.counted),
        tokens: None,
        input_tokens: None,
        output_tokens: None,
        latency_us: None,
        ttft_us: None,
        pace_milli: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(i64),
    End(usize, u8),
    Wait(i64),
    Crash(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_i64..300).prop_map(Step::Ask),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(which, share)| Step::End(which, share)),
        2 => (0_i64..7_000).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}

proptest! {
    #[test]
    fn what_is_charged_is_never_more_than_the_limit_and_the_bound(
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut world = World::new();
        let mut lease_over = false;
        for step in steps {
            match step {
                Step::Ask(worst) => {
                    let asked = world.rules.admit(&demand("a", Some(worst), world.now), world.now);
                    let now = world.now;
                    world.open.extend(asked.ok().map(|held| (held, worst, now)));
                }
                Step::End(which, share) if !world.open.is_empty() => world.end(which, share),
                Step::End(..) => {}
                Step::Wait(seconds) => {
                    world.now = UnixMicros(world.now.0 + seconds * SECOND);
                    world.rules.tick(world.now);
                }
                Step::Crash(share) => world.crash(share),
            }
            let bound = world.bound();
            lease_over |= bound > 0;
            prop_assert!(world.charged_today() <= LIMIT + bound, "{} {bound}", world.charged_today());
            // As long as no lease ended, the limit itself holds.
            prop_assert!(lease_over || world.charged_today() <= LIMIT);
        }
    }
}

#[test]
fn a_lease_frees_the_budget_of_requests_that_never_ended() {
    let mut world = World::new();
    let held = world
        .rules
        .admit(&demand("a", Some(LIMIT), NOON), NOON)
        .unwrap();
    world.open.push((held, LIMIT, NOON));
    world.crash(255);
    let asked = |world: &World| {
        world
            .rules
            .admit(&demand("a", Some(500), world.now), world.now)
    };
    assert!(asked(&world).is_err());
    assert_eq!(world.bound(), 0);
    world.now = NOON.plus(world.rules.budgets().lease);
    world.rules.tick(world.now);
    assert!(asked(&world).is_ok());
    assert_eq!(world.bound(), LIMIT - LIMIT / 4);
}

#[test]
fn what_is_made_in_the_background_is_held_until_its_usage_comes() {
    let world = World::new();
    let held = world
        .rules
        .admit(&demand("a", Some(900), NOON), NOON)
        .unwrap();
    world.rules.keep(held, "resp_1", NOON);
    assert!(
        world
            .rules
            .admit(&demand("a", Some(200), NOON), NOON)
            .is_err()
    );
    let kept = world.rules.take_kept("resp_1");
    world.rules.observe(&sample("a", 100, at(60)), kept, at(60));
    assert!(
        world
            .rules
            .admit(&demand("a", Some(200), at(60)), at(60))
            .is_ok()
    );
}
