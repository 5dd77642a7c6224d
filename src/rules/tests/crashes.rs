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
pub(super) struct Row {
    pub(super) started_at: UnixMicros,
    pub(super) counted: i64,
    /// Of a request whose end nobody saw: the most that it may have cost.
    pub(super) worst: Option<i64>,
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
        // No more than what is asked for.
        let needs = preparation.needs();
        let (minutes, held) = (needs.minutes_since.unwrap(), needs.held_since.unwrap());
        for (number, row) in self.rows.iter().enumerate() {
            if row.started_at >= minutes {
                preparation.minute(&minute(row), self.now);
            }
            if let Some(worst) = row.worst.filter(|_| row.started_at >= held) {
                let id = number.to_string();
                preparation.held(&unknown(&id, worst - row.counted, row.started_at, lease));
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
        bound_of(&self.rules, self.now)
    }
}

/// A request whose end nobody saw.
pub(super) fn unknown(
    id: &str,
    rest: i64,
    started_at: UnixMicros,
    lease: std::time::Duration,
) -> HeldRequest<'_> {
    HeldRequest {
        id,
        started_at,
        dimensions: of("a"),
        worst: Worst {
            cost: Some(NanoUsd(rest)),
            ..Worst::default()
        },
        until: started_at.plus(lease),
        awaited: false,
    }
}

pub(super) fn minute(row: &Row) -> MinuteSample<'static> {
    MinuteSample {
        started: row.started_at.minute(),
        ended: row.started_at.minute(),
        dimensions: of("a"),
        requests: 1,
        settled: 0,
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
fn the_bound_of_a_month_knows_of_crashes_days_ago() {
    let Span::Calendar(day) = daily_block(0).span else {
        panic!("a calendar's");
    };
    let month = Rule {
        span: Span::Calendar(Calendar {
            unit: CalendarUnit::Month,
            ..day
        }),
        ..daily_block(100)
    };
    let set = set([month]);
    let now = at(3 * 24 * 60 * 60);
    let (rules, _) = rules(&set);
    let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, now);
    assert!(preparation.needs().held_since.unwrap() <= NOON);
    let lease = rules.budgets().lease;
    preparation.held(&unknown("r", 90, NOON, lease));
    preparation.install(None, now).unwrap();
    assert_eq!(bound_of(&rules, now), 90);
    // As long as the month, and no longer.
    assert_eq!(bound_of(&rules, at(10 * 24 * 60 * 60)), 90);
    assert_eq!(bound_of(&rules, at(11 * 24 * 60 * 60)), 0);
}

#[test]
fn what_slipped_leaves_the_bound_with_a_rolling_window() {
    let hourly = Rule {
        span: Span::Rolling(std::time::Duration::from_secs(3_600)),
        ..daily_block(100)
    };
    let set = set([hourly]);
    let lease = BudgetSettings::default().lease;
    // Read before the lease is over, and long after.
    for read_at in [NOON, at(3 * 24 * 60 * 60)] {
        let (rules, _) = rules(&set);
        let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, read_at);
        if preparation.needs().held_since.unwrap() <= NOON {
            preparation.held(&unknown("r", 90, NOON, lease));
        }
        preparation.install(None, read_at).unwrap();
        if read_at == NOON {
            let over = NOON.plus(lease);
            rules.tick(over);
            assert_eq!(bound_of(&rules, over), 90);
        }
        assert_eq!(bound_of(&rules, at(3 * 24 * 60 * 60)), 0);
    }
}

/// A second reading tells what has slipped again: it counts once.
#[test]
fn what_slipped_is_in_the_bound_once_however_often_the_ledger_is_read() {
    let set = set([daily_block(100)]);
    let (rules, _) = rules(&set);
    let lease = rules.budgets().lease;
    let over = NOON.plus(lease);
    for now in [NOON, over, over] {
        let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, now);
        preparation.held(&unknown("r", 90, NOON, lease));
        preparation.install(None, now).unwrap();
        rules.tick(now);
    }
    assert_eq!(bound_of(&rules, over), 90);
}

#[test]
fn what_an_upstream_that_never_answered_may_bill_is_in_the_bound() {
    let (rules, _) = rules(&set([daily_block(100)]));
    let silent = rules.admit(&demand("a", Some(40), NOON), NOON).unwrap();
    silent.slip(at(60));
    assert_eq!(bound_of(&rules, at(60)), 40);
    assert!(rules.admit(&demand("a", Some(100), at(60)), at(60)).is_ok());
    assert_eq!(bound_of(&rules, at(12 * 60 * 60)), 0);
}

#[test]
fn a_request_is_one_however_many_upstreams_had_it() {
    let rule = Rule {
        metric: Metric::Requests,
        ..daily_block(100)
    };
    let (rules, _) = rules(&set([rule]));
    let silent = rules.admit(&demand("a", None, NOON), NOON).unwrap();
    silent.slip(NOON);
    assert_eq!(bound_of(&rules, NOON), 0);
}

#[test]
fn nobody_knows_the_bound_while_another_process_has_requests_on_their_way() {
    let closing = Rule {
        name: "Closing".into(),
        actions: Vec::new(),
        ..daily_block(100)
    };
    let (rules, _) = rules(&set([daily_block(100), closing]));
    rules.set_shared(true);
    for view in rules.view(NOON) {
        assert_eq!(view.overshoot_bound, Some(None), "{}", view.rule.name);
    }
    rules.set_shared(false);
    assert_eq!(bound_of(&rules, NOON), 0);
}

fn bound_of(rules: &Rules, now: UnixMicros) -> i64 {
    rules.view(now)[0].overshoot_bound.flatten().unwrap().value
}
