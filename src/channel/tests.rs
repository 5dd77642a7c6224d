//! The pool as the proxy and operators meet it.

mod choice;
mod interleaving;
mod recovery;
mod safeguard;
mod waiting;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::UnixMicros;
use crate::config::Secret;
use crate::protocol::Pause;
use crate::record::{Api, ChannelEvent, GateReason, GateState, Outcome, Owner};

const START: UnixMicros = UnixMicros(1_763_632_800_000_000);

fn after(seconds: u64) -> UnixMicros {
    START.plus(Duration::from_secs(seconds))
}

fn settings(name: &str) -> ChannelSettings {
    ChannelSettings {
        name: Arc::from(name),
        api_key: Some(Secret::new("sk-canary")),
        ..ChannelSettings::openai(BaseUrl::openai())
    }
}

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<ChannelEvent>>);

impl GateObserver for Witness {
    fn changed(&self, event: &ChannelEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Witness {
    /// Owner, hold, whole gate, reason of each event since the last call.
    fn heard(&self) -> Vec<(String, GateState, GateState, GateReason)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let told = events.into_iter().map(|event| {
            let ChannelEvent {
                owner,
                hold,
                state,
                reason,
                ..
            } = event;
            (owner.to_string(), hold, state, reason)
        });
        told.collect()
    }
}

struct Pool {
    registry: Registry,
    witness: Arc<Witness>,
}

impl std::ops::Deref for Pool {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

/// A pool of these channels whose chance is always the same; `set` changes the other settings.
fn pool(channels: Vec<ChannelSettings>, set: impl FnOnce(&mut Settings)) -> Pool {
    let mut settings = Settings {
        channels,
        ..Settings::defaults(std::path::Path::new(""))
    };
    set(&mut settings);
    let witness = Arc::new(Witness::default());
    let observer: Arc<dyn GateObserver> = Arc::<Witness>::clone(&witness);
    Pool {
        registry: Registry::with_chance(&settings, observer, Chance::seeded(1)).unwrap(),
        witness,
    }
}

fn named(names: &[&str]) -> Vec<ChannelSettings> {
    names.iter().map(|name| settings(name)).collect()
}

const CHAT: Wanted<'static> = Wanted {
    named: None,
    preferred: None,
    allowed: None,
    api: Api::Chat,
    model: Some("gpt-5"),
    caller: 0,
    bond: None,
};

/// The names of the channels that a request is tried at, one after another, until none is left.
fn tried(pool: &Registry, wanted: &Wanted<'_>, now: UnixMicros) -> Vec<String> {
    let mut placing = pool.placing(wanted).unwrap();
    let mut names = Vec::new();
    while let Ok(place) = placing.take(now) {
        names.push(place.channel().name.to_string());
    }
    names
}

/// The channel that takes a request, which is still on its way.
fn taken(pool: &Registry, wanted: &Wanted<'_>, now: UnixMicros) -> Place {
    let place = pool.placing(wanted).unwrap().take(now).unwrap();
    place.begin(now);
    place
}

fn answer(status: u16, code: Option<&'static str>, outcome: Outcome) -> Sighted<'static> {
    Sighted {
        fault: None,
        status: Some(status),
        code,
        outcome,
        own_credential: true,
        pause: None,
        wait: Some(Duration::from_millis(300)),
    }
}

fn well() -> Sighted<'static> {
    answer(200, None, Outcome::Ok)
}

fn broken() -> Sighted<'static> {
    answer(500, None, Outcome::UpstreamError)
}

fn by_operator(until: Option<UnixMicros>) -> Closing {
    Closing {
        owner: Owner::Operator,
        reason: GateReason::Operator,
        until,
        who: Some(Arc::from("ada")),
        note: Some(Arc::from("maintenance")),
    }
}

fn by_alert(name: &str, until: Option<UnixMicros>) -> Closing {
    Closing {
        owner: Owner::Alert(Arc::from(name)),
        reason: GateReason::Alert,
        until,
        who: None,
        note: None,
    }
}

#[test]
fn a_named_channel_is_found_and_a_stranger_is_not() {
    let registry = Registry::of(vec![settings("a"), settings("b")]).unwrap();
    assert_eq!(&*registry.channel("b").unwrap().name, "b");
    assert!(registry.channel("c").is_none());
}

#[test]
fn a_channels_key_does_not_print_itself() {
    let registry = Registry::of(vec![settings("a")]).unwrap();
    assert!(!format!("{registry:?}").contains("canary"));
}
