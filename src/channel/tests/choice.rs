//! Which channels a request may go to, and which first.

use std::collections::HashMap;

use super::*;
use crate::config::{ModelPattern, Strategy};

fn serving(name: &str, models: &[&str]) -> ChannelSettings {
    ChannelSettings {
        models: Some(
            models
                .iter()
                .map(|model| ModelPattern::new(model))
                .collect(),
        ),
        ..settings(name)
    }
}

fn of_kind(name: &str, kind: ChannelKind) -> ChannelSettings {
    ChannelSettings {
        kind,
        ..settings(name)
    }
}

fn for_model(model: &str) -> Wanted<'_> {
    Wanted {
        model: Some(model),
        ..CHAT
    }
}

fn names(text: &[&str]) -> Vec<Arc<str>> {
    text.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn a_model_goes_to_the_channels_that_serve_it() {
    let mapped = ChannelSettings {
        model_map: vec![(Arc::from("fast"), Arc::from("gpt-5-mini"))],
        ..serving("mapped", &["o4"])
    };
    let pool = pool(
        vec![serving("five", &["gpt-5*"]), mapped, settings("any")],
        |_| {},
    );
    for (model, expected) in [
        ("gpt-5-nano", vec!["five", "any"]),
        ("o4", vec!["mapped", "any"]),
        ("fast", vec!["mapped", "any"]),
        ("o4-mini", vec!["any"]),
    ] {
        // Twice: found, then remembered.
        for _ in 0..2 {
            assert_eq!(tried(&pool, &for_model(model), START), expected, "{model}");
        }
    }
    let no_model = Wanted {
        model: None,
        ..CHAT
    };
    assert_eq!(tried(&pool, &no_model, START), ["five", "mapped", "any"]);
    let mapped = pool.channel("mapped").unwrap();
    assert_eq!(
        mapped.upstream_model("fast").unwrap().as_ref(),
        "gpt-5-mini"
    );
    assert_eq!(mapped.upstream_model("o4"), None);
}

#[test]
fn an_alias_stands_for_its_meaning() {
    let pool = pool(named(&["a"]), |settings| {
        settings.models.aliases = vec![(Arc::from("best"), Arc::from("gpt-5"))];
    });
    assert_eq!(&*pool.meaning(Arc::from("best")), "gpt-5");
    assert_eq!(&*pool.meaning(Arc::from("gpt-5")), "gpt-5");
}

#[test]
fn each_api_goes_to_the_kind_that_fits_it_best() {
    let all = [
        ChannelKind::Gemini,
        ChannelKind::Anthropic,
        ChannelKind::Azure,
        ChannelKind::Openai,
    ];
    let tried_of = |kinds: &[ChannelKind], api| {
        let channels = kinds.iter().map(|kind| of_kind(kind.as_str(), *kind));
        let pool = pool(channels.collect(), |_| {});
        tried(&pool, &Wanted { api, ..CHAT }, START)
    };
    assert_eq!(tried_of(&all, Api::Chat), ["azure", "openai"]);
    assert_eq!(tried_of(&all, Api::Messages), ["anthropic"]);
    assert_eq!(tried_of(&all, Api::Gemini), ["gemini"]);
    assert_eq!(tried_of(&all[2..], Api::Messages), ["openai"]);
    assert_eq!(tried_of(&all[2..], Api::Gemini), ["openai"]);
    assert_eq!(tried_of(&all[..2], Api::Chat), ["gemini", "anthropic"]);
    assert_eq!(tried_of(&all[2..3], Api::Messages), ["azure"]);
}

#[test]
fn who_names_a_channel_gets_that_one_or_none() {
    let pool = pool(vec![serving("a", &["o4"]), settings("b")], |_| {});
    let wanted = Wanted {
        named: Some("a"),
        preferred: Some("b"),
        ..CHAT
    };
    assert_eq!(tried(&pool, &wanted, START), ["a"]);
    let preferred = Wanted {
        preferred: Some("a"),
        ..CHAT
    };
    assert_eq!(tried(&pool, &preferred, START), ["a"]);
    let stranger = Wanted {
        named: Some("c"),
        ..CHAT
    };
    assert_eq!(
        pool.placing(&stranger).unwrap_err(),
        NoPlace::NoSuchChannel("c".to_owned())
    );
}

#[test]
fn a_key_goes_no_further_than_it_may() {
    let pool = pool(
        vec![serving("a", &["o4"]), settings("b"), settings("c")],
        |_| {},
    );
    let allowed = names(&["c", "a", "gone"]);
    let wanted = Wanted {
        allowed: Some(&allowed),
        ..CHAT
    };
    assert_eq!(tried(&pool, &wanted, START), ["c"]);
    let only_a = names(&["a"]);
    let refused = [
        Wanted {
            named: Some("b"),
            ..wanted
        },
        Wanted {
            allowed: Some(&only_a),
            ..wanted
        },
    ];
    for wanted in refused {
        assert_eq!(pool.placing(&wanted).unwrap_err(), NoPlace::NotAllowed);
    }
}

#[test]
fn a_model_that_nobody_serves_is_named() {
    let pool = pool(vec![serving("a", &["o4"])], |_| {});
    assert_eq!(
        pool.placing(&CHAT).unwrap_err(),
        NoPlace::NoModel("gpt-5".to_owned())
    );
}

#[test]
fn a_higher_priority_comes_first_whatever_the_order() {
    let with = |name: &str, priority| ChannelSettings {
        priority,
        ..settings(name)
    };
    let channels = vec![
        with("low", -1),
        with("a", 5),
        with("middle", 0),
        with("b", 5),
    ];
    for strategy in Strategy::ALL {
        let pool = pool(channels.clone(), |settings| {
            settings.routing.strategy = *strategy;
        });
        let mut tried = tried(&pool, &CHAT, START);
        tried[..2].sort();
        assert_eq!(tried, ["a", "b", "middle", "low"], "{strategy}");
    }
}

/// How often each channel is the first of so many requests, none of which lasts.
fn firsts(pool: &Registry, wanted: &Wanted<'_>, requests: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let place = taken(pool, wanted, START);
        *counts.entry(place.channel().name.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_gives_each_its_turn_for_every_caller_and_model() {
    let pool = pool(named(&["a", "b", "c"]), |settings| {
        settings.routing.strategy = Strategy::RoundRobin;
    });
    for caller in [0, 7, u64::MAX] {
        let wanted = Wanted { caller, ..CHAT };
        let mut last = None;
        for _ in 0..9 {
            let place = taken(&pool, &wanted, START);
            let index = place.channel().index;
            assert!(last.is_none_or(|last: u32| index == (last + 1) % 3));
            last = Some(index);
            // Others do not move this caller's turn.
            taken(&pool, &for_model("o4"), START);
        }
    }
    assert_eq!(firsts(&pool, &CHAT, 30).len(), 3);
}

#[test]
fn the_turns_of_a_closed_channel_go_round_among_the_others() {
    let pool = pool(named(&["a", "b", "c", "d"]), |settings| {
        settings.routing.strategy = Strategy::RoundRobin;
    });
    pool.close("b", by_operator(None), START).unwrap();
    let counts = firsts(&pool, &CHAT, 1_200);
    assert_eq!(counts.get("b"), None);
    for name in ["a", "c", "d"] {
        assert!((399..=401).contains(&counts[name]), "{counts:?}");
    }
}

#[test]
fn weights_are_kept_also_when_one_is_closed() {
    let with = |name: &str, weight| ChannelSettings {
        weight,
        ..settings(name)
    };
    let channels = vec![with("one", 1), with("three", 3), with("six", 6)];
    let pool = pool(channels, |settings| {
        settings.routing.strategy = Strategy::Weighted;
    });
    let counts = firsts(&pool, &CHAT, 10_000);
    assert!((800..1200).contains(&counts["one"]), "{counts:?}");
    assert!((2700..3300).contains(&counts["three"]), "{counts:?}");
    pool.close("six", by_operator(None), START).unwrap();
    let counts = firsts(&pool, &CHAT, 10_000);
    assert!((2200..2800).contains(&counts["one"]), "{counts:?}");
    assert_eq!(counts.get("six"), None);
}

#[test]
fn weights_are_kept_where_nearly_all_are_closed() {
    let mut channels: Vec<_> = (0..200).map(|n| settings(&format!("closed-{n}"))).collect();
    channels.push(ChannelSettings {
        weight: 3,
        ..settings("three")
    });
    channels.push(settings("one"));
    let pool = pool(channels, |settings| {
        settings.routing.strategy = Strategy::Weighted;
    });
    for n in 0..200 {
        let name = format!("closed-{n}");
        pool.close(&name, by_operator(None), START).unwrap();
    }
    let counts = firsts(&pool, &CHAT, 4_000);
    assert!((800..1200).contains(&counts["one"]), "{counts:?}");
    assert_eq!(counts["one"] + counts["three"], 4_000);
}

#[test]
fn the_least_busy_channel_is_chosen() {
    let pool = pool(named(&["a", "b", "c"]), |settings| {
        settings.routing.strategy = Strategy::LeastInFlight;
    });
    let mut places: Vec<Place> = (0..9).map(|_| taken(&pool, &CHAT, START)).collect();
    let in_flight = |name| pool.gate_status(name, START).unwrap().in_flight;
    assert_eq!(["a", "b", "c"].map(in_flight), [3, 3, 3]);
    places.retain(|place| &*place.channel().name != "b");
    assert_eq!(in_flight("b"), 0);
    assert_eq!(&*taken(&pool, &CHAT, START).channel().name, "b");
    drop(places);
    let idle = firsts(&pool, &CHAT, 30);
    assert!(idle.values().all(|count| *count == 10), "{idle:?}");
}

#[test]
fn many_channels_are_kept_even_by_sampling() {
    let channels = (0..100).map(|n| settings(&format!("c{n}"))).collect();
    let pool = pool(channels, |settings| {
        settings.routing.strategy = Strategy::LeastInFlight;
    });
    let _places: Vec<Place> = (0..1_000).map(|_| taken(&pool, &CHAT, START)).collect();
    let most = pool
        .iter()
        .map(|channel| channel.in_flight())
        .max()
        .unwrap();
    assert!(most <= 14, "{most} where 10 is even");
}

#[test]
fn a_conversation_stays_on_its_channel_while_that_is_open() {
    let pool = pool(named(&["a", "b", "c"]), |settings| {
        settings.routing.strategy = Strategy::RoundRobin;
    });
    let wanted = Wanted {
        bond: Some(Bond::Session("thread-1")),
        ..CHAT
    };
    let name = |place: Place| place.channel().name.to_string();
    let first = name(taken(&pool, &wanted, START));
    for _ in 0..5 {
        assert_eq!(name(taken(&pool, &wanted, START)), first);
    }
    pool.close(&first, by_operator(None), START).unwrap();
    let second = name(taken(&pool, &wanted, START));
    assert_ne!(second, first);
    pool.reopen(&first, &Owner::Operator, None, None, START)
        .unwrap();
    assert_eq!(name(taken(&pool, &wanted, START)), second, "it moved");
    let elsewhere = Wanted {
        named: Some("a"),
        ..wanted
    };
    assert_eq!(name(taken(&pool, &elsewhere, START)), "a");
}

#[test]
fn what_a_channel_made_is_asked_for_there_alone_unless_it_is_closed() {
    let pool = pool(named(&["a", "b"]), |_| {});
    pool.note_made("resp_1", pool.channel("b").unwrap());
    let wanted = Wanted {
        model: None,
        bond: Some(Bond::Made("resp_1")),
        ..CHAT
    };
    assert_eq!(tried(&pool, &wanted, START), ["b"]);
    let unknown = Wanted {
        bond: Some(Bond::Made("resp_2")),
        ..wanted
    };
    assert_eq!(tried(&pool, &unknown, START), ["a", "b"]);
    pool.close("b", by_operator(None), START).unwrap();
    assert_eq!(tried(&pool, &wanted, START), ["a"]);
    let only_a = names(&["a"]);
    let barred = Wanted {
        allowed: Some(&only_a),
        ..wanted
    };
    pool.reopen("b", &Owner::Operator, None, None, START)
        .unwrap();
    assert_eq!(tried(&pool, &barred, START), ["a"]);
}
