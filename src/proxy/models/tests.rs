use serde_json::{Value, json};

use super::*;
use crate::config::{BaseUrl, ChannelSettings};
use crate::protocol::classify;

const SINCE: UnixMicros = UnixMicros(1_795_000_000_000_000);

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().copied().map(Arc::from).collect()
}

fn patterns(patterns: &[&str]) -> Vec<ModelPattern> {
    patterns
        .iter()
        .map(|text| ModelPattern::new(text))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Arc<str>, Arc<str>)> {
    let pair = |(name, meaning): &(&str, &str)| (Arc::from(*name), Arc::from(*meaning));
    pairs.iter().map(pair).collect()
}

/// A channel at Azure, whose models are those that its settings name: nobody is asked.
fn azure(name: &str, models: &[&str], map: &[(&str, &str)]) -> ChannelSettings {
    ChannelSettings {
        name: Arc::from(name),
        kind: ChannelKind::Azure,
        models: (!models.is_empty()).then(|| patterns(models)),
        model_map: pairs(map),
        ..ChannelSettings::openai(BaseUrl::openai())
    }
}

fn models(from: ModelList, channels: Vec<ChannelSettings>) -> Models {
    let mut settings = Settings::defaults(std::path::Path::new(""));
    settings.models.list.from = from;
    settings.models.list.preset = names(&["house", "gpt-5", "text-embedding-3-small"]);
    settings.models.aliases = pairs(&[("fast", "gpt-5-mini"), ("house", "gpt-5")]);
    if !channels.is_empty() {
        settings.channels = channels;
    }
    let registry = Arc::new(Registry::of(settings.channels.clone()).unwrap());
    Models::new(&settings, &registry, SINCE).unwrap().unwrap()
}

/// What a GET of `target` is answered; `None` when it goes on to an upstream.
async fn get(
    models: &Models,
    target: &str,
    anthropic: bool,
    grant: Option<&KeyGrant>,
) -> Option<Value> {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    if anthropic {
        head.insert_header("anthropic-version", "2023-06-01")
            .unwrap();
    }
    let route = classify(&Method::GET, head.uri.path()).unwrap();
    let target = Target {
        channel: route.channel.map(std::borrow::Cow::into_owned),
        rest_bytes: route.rest.len(),
        base: route.base,
    };
    let mut timeline = Timeline::new(std::time::Instant::now());
    let caller = Caller {
        grant: grant.cloned().map(Arc::new),
        ..Caller::default()
    };
    let listed = models
        .answer(&head, &target, &caller, &mut timeline)
        .await?;
    assert!(listed.missing.is_none());
    Some(serde_json::from_slice(&listed.body).unwrap())
}

async fn ids(models: &Models, grant: Option<&KeyGrant>) -> Vec<String> {
    let list = get(models, "/v1/models", false, grant).await.unwrap();
    let data = list["data"].as_array().unwrap();
    let ids = data.iter().map(|model| model["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_preset_is_answered_in_the_shape_that_the_client_reads() {
    let models = models(ModelList::Preset, Vec::new());
    let list = get(&models, "/v1/models", false, None).await.unwrap();
    assert_eq!(list["object"], "list");
    assert_eq!(
        list["data"][0],
        json!({"id": "house", "object": "model", "created": 1_795_000_000, "owned_by": "tollgate"})
    );
    assert_eq!(
        ids(&models, None).await,
        ["house", "gpt-5", "text-embedding-3-small", "fast"],
        "aliases last, each name once"
    );
    let list = get(&models, "/v1/models?limit=2", true, None)
        .await
        .unwrap();
    assert_eq!(
        (&list["first_id"], &list["last_id"], &list["has_more"]),
        (&json!("house"), &json!("fast"), &json!(false))
    );
    let list = get(&models, "/v1beta/models?key=k", false, None)
        .await
        .unwrap();
    assert_eq!(
        list["models"][3],
        json!({"name": "models/fast", "displayName": "fast"})
    );
}

#[tokio::test]
async fn a_model_of_the_list_is_told_and_any_other_goes_on() {
    let models = models(ModelList::Preset, Vec::new());
    for (target, id) in [
        ("/v1/models/gpt-5", Some("gpt-5")),
        ("/v1/models/fast", Some("fast")),
        ("/openai/models/gpt-5?api-version=2024-10-21", Some("gpt-5")),
        ("/v1/models/gpt-4", None),
        ("/c/openai/v1/models/gpt-5", None),
        ("/c/openai/v1/models", None),
        ("/v1/files", None),
    ] {
        let told = get(&models, target, false, None).await;
        let told = told.map(|model| model["id"].as_str().unwrap().to_owned());
        assert_eq!(told.as_deref(), id, "{target}");
    }
}

#[tokio::test]
async fn channels_add_what_leads_there() {
    let models = models(
        ModelList::Merge,
        vec![
            azure("eu", &["gpt-5", "o4-*"], &[("gpt-5-eu", "deployment-7")]),
            azure("us", &["gpt-5-us"], &[("gpt-5-eu", "deployment-8")]),
            azure("any", &[], &[]),
        ],
    );
    assert_eq!(
        ids(&models, None).await,
        [
            "house",
            "gpt-5",
            "text-embedding-3-small",
            "fast",
            "gpt-5-eu",
            "gpt-5-us"
        ]
    );
}

#[tokio::test]
async fn a_key_sees_what_it_may_use() {
    let models = models(
        ModelList::Merge,
        vec![
            azure("eu", &["gpt-5-eu"], &[]),
            azure("us", &["gpt-5-us"], &[]),
        ],
    );
    let own = ["house", "gpt-5", "text-embedding-3-small", "fast"];
    for (grant, expected) in [
        (
            KeyGrant::default(),
            [&own[..], &["gpt-5-eu", "gpt-5-us"]].concat(),
        ),
        (
            KeyGrant {
                models: Some(patterns(&["gpt-5*", "fast"])),
                ..KeyGrant::default()
            },
            vec!["gpt-5", "fast", "gpt-5-eu", "gpt-5-us"],
        ),
        (
            KeyGrant {
                channels: Some(names(&["us"])),
                ..KeyGrant::default()
            },
            [&own[..], &["gpt-5-us"]].concat(),
        ),
        (
            KeyGrant {
                channel: Some(Arc::from("eu")),
                models: Some(patterns(&["*-?s", "*-eu"])),
                ..KeyGrant::default()
            },
            vec!["gpt-5-eu"],
        ),
        (
            KeyGrant {
                models: Some(Vec::new()),
                ..KeyGrant::default()
            },
            Vec::new(),
        ),
    ] {
        assert_eq!(ids(&models, Some(&grant)).await, expected, "{grant:?}");
        if grant.models.is_some() {
            let hidden = get(&models, "/v1/models/house", false, Some(&grant)).await;
            assert_eq!(hidden, None);
        }
    }
}

#[test]
fn the_upstreams_own_list_needs_nothing() {
    let settings = Settings::defaults(std::path::Path::new(""));
    let channels = Arc::new(Registry::of(settings.channels.clone()).unwrap());
    assert!(Models::new(&settings, &channels, SINCE).unwrap().is_none());
}
