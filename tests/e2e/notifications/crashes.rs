//! kill -9 at any point of a delivery: nothing is lost, and only what was on its way is told twice.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::{answering, receivers, setup, told};
use crate::support::client::Request;
use crate::support::receivers::hook::{Hook, answer};
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Script, Step};
use crate::support::{Gate, eventually};

/// Kills while alerts fire.
const FIRING: usize = 75;
/// Kills while they end, where that takes so long.
const ENDING: usize = 25;
/// Alerts, each a group of its own, that a life begins with.
const EACH: usize = 3;
/// Chooses the pauses again that a test that failed has printed.
const SEED: &str = "KILL_SEED";

const LIMIT: &str = "warning: 1 requests";

/// The point of a delivery at which a life ends.
#[derive(Clone, Default)]
enum Point {
    /// Any.
    #[default]
    Any,
    /// While the receiver has the message and has not answered: what it had, and that it may go on.
    Held(Gate, Gate),
    /// Right after its answer was written.
    Answered(Gate),
}

impl Point {
    fn of(kill: usize) -> Self {
        match kill % 3 {
            0 => Self::Any,
            1 => Self::Held(Gate::default(), Gate::default()),
            _ => Self::Answered(Gate::default()),
        }
    }
}

/// What was taken: which alert, its status, and in which life of the process.
type Taken = (String, String, usize);

/// What the judges know.
#[derive(Default)]
struct Known {
    life: AtomicUsize,
    point: Mutex<Point>,
    taken: Mutex<Vec<Taken>>,
    /// What was put off once.
    put_off: Mutex<BTreeSet<(String, String)>>,
    /// Of what was refused, what the fallback was told.
    fallen_back: Mutex<BTreeSet<String>>,
}

fn run_of(kill: usize, number: usize) -> String {
    format!("k{kill:03}n{number}")
}

/// Whether the receiver never takes it.
fn is_refused(run: &str) -> bool {
    run.ends_with("n2") && run[1..4].parse::<usize>().unwrap().is_multiple_of(4)
}

/// Whether it does not take it at once.
fn is_put_off(run: &str) -> bool {
    run.ends_with("n1") && run[1..4].parse::<usize>().unwrap().is_multiple_of(5)
}

impl Known {
    fn judge(&self, run: &str, status: &str) -> Script {
        let key = (run.to_owned(), status.to_owned());
        if is_refused(run) {
            return answer(400);
        }
        if is_put_off(run) && self.put_off.lock().unwrap().insert(key) {
            return answer(503);
        }
        let point = std::mem::take(&mut *self.point.lock().unwrap());
        if let Point::Held(reached, release) = point {
            // Nobody is there for the answer, so it was not taken.
            reached.open();
            return [vec![Step::Await(release)], answer(200)].concat();
        }
        let life = self.life.load(Ordering::SeqCst);
        let mut taken = self.taken.lock().unwrap();
        taken.push((run.to_owned(), status.to_owned(), life));
        match point {
            Point::Answered(reached) => [answer(200), vec![Step::Open(reached)]].concat(),
            _ => answer(200),
        }
    }

    fn has(&self, status: &str) -> BTreeSet<String> {
        let taken = self.taken.lock().unwrap();
        let of_status = taken.iter().filter(|(_, known, _)| known == status);
        of_status.map(|(run, ..)| run.clone()).collect()
    }

    /// Kills it at that point, after a pause where that is any.
    fn kill(&self, tollgate: &mut Tollgate, hook: &Hook, point: Point, pause: Duration) {
        match point {
            Point::Any => {
                sleep(pause);
                tollgate.kill();
            }
            Point::Held(reached, release) => {
                assert!(reached.wait(), "nothing is told");
                tollgate.kill();
                release.open();
            }
            Point::Answered(reached) => {
                assert!(reached.wait(), "nothing is told");
                tollgate.kill();
            }
        }
        // What it sent before it ended belongs to that life.
        hook.until_idle();
        *self.point.lock().unwrap() = Point::Any;
        self.life.fetch_add(1, Ordering::SeqCst);
    }
}

fn seed() -> u64 {
    let given = env::var(SEED).ok();
    let seed = given.map_or_else(
        || RandomState::new().hash_one(0),
        |seed| seed.parse().unwrap(),
    );
    eprintln!("{SEED}={seed}");
    seed
}

/// The pause before a kill, up to 60 ms: splitmix64.
fn pause(seed: u64, kill: usize) -> Duration {
    let step = u64::try_from(kill + 1).unwrap();
    let mut mixed = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Duration::from_micros((mixed ^ (mixed >> 31)) % 60_000)
}

fn send(tollgate: &Tollgate, run: &str) {
    let messages = json!([{"role": "user", "content": "plain"}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages});
    let request = Request::json("/v1/chat/completions", &body)
        .header("x-tollgate-tags", &format!("run={run}"));
    assert_eq!(tollgate.send(&request).status, 200);
}

/// The receiver, and its fallback.
fn judges(known: &Arc<Known>) -> (Hook, Hook) {
    let (judge, spare) = (Arc::clone(known), Arc::clone(known));
    let hook = Hook::judging(move |body| {
        let [alert] = &*body.alerts else {
            panic!("{body:#?}");
        };
        let script = judge.judge(&alert.labels["tag_run"], &alert.status);
        (script, false)
    });
    let fallback = Hook::judging(move |body| {
        let own = &body.alerts[0];
        assert_eq!(own.labels["alertname"], "TollgateUndelivered", "{body:#?}");
        let told = &own.annotations["description"];
        let words = told.split(|c: char| !c.is_ascii_alphanumeric());
        let runs = words.filter(|word| word.len() == 6 && word.starts_with('k'));
        let mut fallen_back = spare.fallen_back.lock().unwrap();
        fallen_back.extend(runs.map(str::to_owned));
        (answer(200), false)
    });
    (hook, fallback)
}

#[test]
fn after_a_hundred_kills_each_is_told_and_twice_only_what_was_on_its_way() {
    let seed = seed();
    let (upstream, known) = (answering(), Arc::new(Known::default()));
    let (hook, fallback) = judges(&known);
    let rule = format!(
        "alert: Each, metric: requests, window: 30d, by: ['tag:run'], {LIMIT}, max_series: 5000, \
         mode: notify"
    );
    let mut tollgate = setup(&upstream, &["a"], &[&rule])
        .setting(&receivers(&[
            &hook.receiver("hook", ", fallback: spare"),
            &fallback.receiver("spare", ""),
        ]))
        .setting("routes: {group_by: ['tag:run'], group_wait: 0s, group_interval: 1s, repeat_interval: 4h, receivers: [hook]}")
        .start();
    let mut all = BTreeSet::new();
    for kill in 0..FIRING {
        let point = Point::of(kill);
        *known.point.lock().unwrap() = point.clone();
        for number in 0..EACH {
            let run = run_of(kill, number);
            send(&tollgate, &run);
            all.insert(run);
        }
        known.kill(&mut tollgate, &hook, point, pause(seed, kill));
        tollgate.start_again();
    }
    let (refused, takes): (BTreeSet<_>, BTreeSet<_>) =
        all.into_iter().partition(|run| is_refused(run));
    eventually("all that fires is told", || {
        let told = told(&tollgate);
        let of = |result| told.iter().filter(move |known| known["result"] == result);
        let dead = of("dead").count();
        let is_told = known.has("firing") == takes && dead >= refused.len();
        (is_told && of("open").count() == 0).then_some(())
    });
    // What was given up was told the other one, whatever the moment at which that ended.
    assert_eq!(*known.fallen_back.lock().unwrap(), refused);

    known.kill(&mut tollgate, &hook, Point::Any, Duration::ZERO);
    tollgate.edit_file("rules.yaml", |rules| {
        rules.replace(LIMIT, "warning: 2 requests")
    });
    let mut kills = FIRING + 1;
    for kill in 0..ENDING {
        // What nobody took yet will be told, so the point will be reached.
        if known.has("resolved") == takes {
            break;
        }
        let point = Point::of(kill);
        *known.point.lock().unwrap() = point.clone();
        tollgate.launch_again();
        known.kill(&mut tollgate, &hook, point, pause(seed, FIRING + kill));
        kills += 1;
    }
    tollgate.start_again();
    eventually("all that ended is told", || {
        let open = told(&tollgate)
            .iter()
            .any(|known| known["result"] == "open");
        (known.has("resolved") == takes && !open).then_some(())
    });

    let all = known.taken.lock().unwrap();
    // One at a time is on its way: what is told again was the last thing that a life told.
    let mut last_of: BTreeMap<usize, (&str, &str)> = BTreeMap::new();
    let mut lives: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (run, status, life) in all.iter() {
        last_of.insert(*life, (run, status));
        lives.entry((run, status)).or_default().push(*life);
    }
    for (which, lives) in &lives {
        for life in &lives[..lives.len() - 1] {
            assert_eq!(last_of[life], *which, "told in the lives {lives:?}");
        }
        let mut once = lives.clone();
        once.dedup();
        assert_eq!(once, *lives, "twice in one life: {which:?}");
    }
    let twice = lives.values().filter(|lives| lives.len() > 1).count();
    eprintln!(
        "{} notifications, {kills} kills, {twice} told twice",
        lives.len()
    );
}
