use http::Method;
use http::header::AUTHORIZATION;

use super::*;
use crate::channel::Registry;
use crate::config::Secret;
use crate::protocol::{classify, model_in_query};

/// A channel: its base URL, its kind where the host does not say, and its other settings.
fn channel(base_url: &str, set: impl FnOnce(&mut ChannelSettings)) -> std::sync::Arc<Channel> {
    let mut settings = ChannelSettings::openai(base_url.parse().unwrap());
    set(&mut settings);
    let registry = Registry::of(vec![settings]).unwrap();
    std::sync::Arc::clone(registry.iter().next().unwrap())
}

fn of_kind(base_url: &str, kind: ChannelKind) -> std::sync::Arc<Channel> {
    channel(base_url, |settings| settings.kind = kind)
}

fn classic(base_url: &str, version: &str) -> std::sync::Arc<Channel> {
    channel(base_url, |settings| {
        settings.kind = ChannelKind::Azure;
        settings.api_version = Some(version.into());
    })
}

/// Where a client's target goes, read as the proxy reads it; `model` stands in a body, or is what
/// the upstream calls the one in the target.
fn destination(channel: &Channel, target: &str, model: Option<&str>) -> Destination {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let route = classify(&Method::POST, path).unwrap();
    let named = route.model.as_deref().map(str::to_owned);
    let named = named.or_else(|| model_in_query(query?));
    channel.destination(&Asked {
        api: route.api,
        base: route.base,
        rest: route.rest,
        query,
        path,
        model: model.or(named.as_deref()),
    })
}

/// The same as the upstream sees it.
fn upstream(channel: &Channel, target: &str, model: Option<&str>) -> String {
    let destination = destination(channel, target, model);
    destination.path.unwrap_or_else(|| target.to_owned())
}

#[test]
fn the_path_is_put_behind_the_base() {
    for (base_url, target, path) in [
        ("http://a/v1", "/v1/models", None),
        ("http://a/v1", "/v1/models?a=1", None),
        ("http://a/v1", "/v1/models?", None),
        ("http://a/v1", "/health", None),
        (
            "http://a/openai/v1",
            "/v1/models?a=1",
            Some("/openai/v1/models?a=1"),
        ),
        ("http://a", "/c/a/v1/models", Some("/models")),
        ("http://a", "/v1", Some("/")),
        ("http://a/v1", "/openai/v1/models", None),
        ("http://a/v1", "/api/v1/models", None),
    ] {
        let channel = of_kind(base_url, ChannelKind::Openai);
        let found = destination(&channel, target, None).path;
        assert_eq!(found.as_deref(), path, "{base_url} {target}");
    }
}

#[test]
fn a_question_about_the_whole_server_goes_on_as_it_is() {
    let asked = Asked {
        api: Api::Other,
        base: PathBase::Origin,
        rest: "*",
        query: None,
        path: "*",
        model: None,
    };
    let channel = of_kind("http://a/team/v1", ChannelKind::Anthropic);
    assert_eq!(channel.destination(&asked).path, None);
}

#[test]
fn hosts_whose_sdks_bring_the_version_get_the_whole_path() {
    for base_url in ["https://api.anthropic.com", "https://api.anthropic.com/v1"] {
        let channel = of_kind(base_url, ChannelKind::Anthropic);
        for (target, path) in [
            ("/c/a/v1/messages", "/v1/messages"),
            (
                "/v1/messages/batches/b/results",
                "/v1/messages/batches/b/results",
            ),
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/models?limit=5", "/v1/models?limit=5"),
        ] {
            assert_eq!(upstream(&channel, target, None), path, "{base_url}");
        }
    }
    let google = "https://generativelanguage.googleapis.com";
    for base_url in [
        google.to_owned(),
        format!("{google}/v1beta"),
        format!("{google}/v1beta/openai"),
    ] {
        let channel = of_kind(&base_url, ChannelKind::Gemini);
        for target in [
            "/v1beta/models/g:streamGenerateContent?alt=sse",
            "/v1/models/g:generateContent",
            "/v1beta/models",
            "/v1beta/openai/chat/completions",
            "/upload/v1beta/files",
        ] {
            assert_eq!(upstream(&channel, target, None), target, "{base_url}");
        }
    }
    let host = of_kind("http://llm.corp/google/v1beta", ChannelKind::Gemini);
    for (target, path) in [
        (
            "/v1beta/models/g:generateContent",
            "/google/v1beta/models/g:generateContent",
        ),
        (
            "/v1/chat/completions",
            "/google/v1beta/openai/chat/completions",
        ),
    ] {
        assert_eq!(upstream(&host, target, None), path);
    }
}

#[test]
fn openais_apis_are_found_where_google_has_them() {
    let channel = of_kind(
        "https://generativelanguage.googleapis.com",
        ChannelKind::Gemini,
    );
    for operation in [
        "chat/completions",
        "embeddings",
        "models",
        "images/generations",
    ] {
        assert_eq!(
            upstream(&channel, &format!("/v1/{operation}?a=1"), Some("g")),
            format!("/v1beta/openai/{operation}?a=1")
        );
    }
    assert_eq!(
        upstream(
            &channel,
            "/openai/deployments/g/chat/completions?api-version=2024-10-21",
            None
        ),
        "/v1beta/openai/chat/completions"
    );
    // Nothing of OpenAI's.
    assert_eq!(
        upstream(&channel, "/v1/operations/o", None),
        "/v1/operations/o"
    );
}

#[test]
fn azures_v1_api_is_openais_below_another_path() {
    for base_url in [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/",
        "https://r.openai.azure.com/openai",
        "https://r.openai.azure.com/openai/v1",
        "https://r.openai.azure.com/openai/v1/",
    ] {
        let channel = channel(base_url, |_| {});
        for (target, path) in [
            ("/v1/chat/completions", "/openai/v1/chat/completions"),
            (
                "/v1/responses/resp_1?a=1",
                "/openai/v1/responses/resp_1?a=1",
            ),
            ("/c/az/v1/files", "/openai/v1/files"),
            (
                "/v1/models?api-version=preview",
                "/openai/v1/models?api-version=preview",
            ),
            (
                "/v1/realtime?model=gpt-realtime",
                "/openai/v1/realtime?model=gpt-realtime",
            ),
            ("/openai/v1/responses", "/openai/v1/responses"),
        ] {
            assert_eq!(upstream(&channel, target, None), path, "{base_url}");
        }
    }
    let host = of_kind("https://apim.corp/team/v1", ChannelKind::Azure);
    assert_eq!(
        upstream(&host, "/v1/responses", None),
        "/team/v1/responses",
        "a base URL that has a path keeps it"
    );
}

#[test]
fn classic_azure_has_the_deployment_in_the_path() {
    for base_url in [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/openai",
        "https://r.openai.azure.com/openai/v1",
    ] {
        let channel = classic(base_url, "2024-10-21");
        for operation in OF_A_DEPLOYMENT {
            assert_eq!(
                upstream(&channel, &format!("/v1{operation}"), Some("my-gpt")),
                format!("/openai/deployments/my-gpt{operation}?api-version=2024-10-21"),
                "{base_url}"
            );
        }
    }
    let channel = classic("https://r.openai.azure.com", "2025-04-01-preview");
    for (target, model, path) in [
        (
            "/v1/responses",
            Some("my-gpt"),
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        (
            "/v1/responses/resp_1?stream=true",
            None,
            "/openai/responses/resp_1?stream=true&api-version=2025-04-01-preview",
        ),
        (
            "/v1/files/f/content",
            None,
            "/openai/files/f/content?api-version=2025-04-01-preview",
        ),
        (
            "/v1/batches",
            None,
            "/openai/batches?api-version=2025-04-01-preview",
        ),
        (
            "/v1/models",
            None,
            "/openai/models?api-version=2025-04-01-preview",
        ),
        // The client's own version wins.
        (
            "/v1/chat/completions?api-version=2024-06-01",
            Some("m"),
            "/openai/deployments/m/chat/completions?api-version=2024-06-01",
        ),
        (
            "/v1/chat/completions/",
            Some("m"),
            "/openai/deployments/m/chat/completions/?api-version=2025-04-01-preview",
        ),
        // A form that streams through: nobody has read the model yet.
        (
            "/v1/audio/transcriptions",
            None,
            "/openai/audio/transcriptions?api-version=2025-04-01-preview",
        ),
        (
            "/v1/realtime?model=gpt-realtime&a=1",
            None,
            "/openai/realtime?deployment=gpt-realtime&a=1&api-version=2025-04-01-preview",
        ),
        (
            "/v1/realtime?model=gpt-realtime",
            Some("my realtime"),
            "/openai/realtime?deployment=my%20realtime&api-version=2025-04-01-preview",
        ),
        (
            "/v1/realtime?intent=transcription",
            None,
            "/openai/realtime?intent=transcription&api-version=2025-04-01-preview",
        ),
    ] {
        assert_eq!(upstream(&channel, target, model), path);
    }
}

#[test]
fn a_base_url_may_name_the_only_deployment() {
    let base_url = "https://r.openai.azure.com/openai/deployments/only";
    let channel = classic(base_url, "2024-10-21");
    assert_eq!(
        upstream(&channel, "/v1/chat/completions", Some("gpt-5")),
        "/openai/deployments/only/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(
        upstream(&channel, "/v1/files", None),
        "/openai/files?api-version=2024-10-21"
    );
}

#[test]
fn a_model_never_leads_out_of_its_place() {
    let channel = classic("https://r.openai.azure.com", "2024-10-21");
    let path = |model: &str| upstream(&channel, "/v1/chat/completions", Some(model));
    for (model, segment) in [
        ("gpt-4.1_x~", "gpt-4.1_x~"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("openai/gpt-5", "openai%2Fgpt-5"),
        ("%2e%2e", "%252e%252e"),
        ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87"),
    ] {
        let expected =
            format!("/openai/deployments/{segment}/chat/completions?api-version=2024-10-21");
        assert_eq!(path(model), expected);
    }
    for model in [
        "", ".", "..", "../x", "a/../b", "a\\..\\b", "..;a", "a\0", "a/",
    ] {
        assert_eq!(
            path(model),
            "/openai/chat/completions?api-version=2024-10-21",
            "{model:?}"
        );
    }
    let google = of_kind("http://g", ChannelKind::Gemini);
    let target = "/v1beta/models/g:generateContent";
    assert_eq!(upstream(&google, target, Some("../x")), target);
}

#[test]
fn a_client_that_speaks_classic_azure_reaches_azure_as_it_wrote() {
    let targets = [
        "/openai/deployments/my-gpt/chat/completions?api-version=2024-06-01",
        "/openai/responses?api-version=2025-04-01-preview",
        "/openai/realtime?api-version=2024-10-01-preview&deployment=my-gpt",
        "/openai/models?api-version=2024-10-21",
    ];
    let base_url = "https://r.openai.azure.com";
    for channel in [
        classic(base_url, "2024-10-21"),
        channel(base_url, |_| {}),
        channel("https://r.openai.azure.com/openai/v1", |_| {}),
    ] {
        for target in targets {
            assert_eq!(destination(&channel, target, None).path, None, "{target}");
            let named = format!("/c/az{target}");
            assert_eq!(upstream(&channel, &named, None), target);
        }
        for (target, path) in [
            (
                targets[0],
                "/openai/deployments/eu-gpt/chat/completions?api-version=2024-06-01",
            ),
            (
                targets[2],
                "/openai/realtime?api-version=2024-10-01-preview&deployment=eu-gpt",
            ),
        ] {
            assert_eq!(upstream(&channel, target, Some("eu-gpt")), path);
        }
    }
    let channel = classic(base_url, "2024-10-21");
    assert_eq!(
        upstream(&channel, "/openai/deployments/m/embeddings", None),
        "/openai/deployments/m/embeddings?api-version=2024-10-21"
    );
}

#[test]
fn a_client_that_speaks_classic_azure_reaches_openai() {
    let channel = of_kind("https://api.openai.com/v1", ChannelKind::Openai);
    for (target, path) in [
        (
            "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
            "/v1/chat/completions",
        ),
        (
            "/openai/deployments/gpt-5/embeddings?a=1&api-version=2024-10-21&b=2",
            "/v1/embeddings?a=1&b=2",
        ),
        ("/openai/deployments/gpt-5/audio/speech", "/v1/audio/speech"),
        (
            "/openai/responses/resp_1/cancel?api-version=2025-04-01-preview",
            "/v1/responses/resp_1/cancel",
        ),
        (
            "/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime",
            "/v1/realtime?model=gpt-realtime",
        ),
        // Without a version it is a path like any other, which some hosts have.
        ("/openai/responses", "/openai/responses"),
        (
            "/openai/v1/responses?api-version=preview",
            "/openai/v1/responses?api-version=preview",
        ),
        ("/openai/deployments/x", "/openai/deployments/x"),
    ] {
        assert_eq!(upstream(&channel, target, None), path);
    }
}

#[test]
fn the_upstreams_model_takes_its_place_in_a_path() {
    for (channel, before) in [
        (of_kind("http://g", ChannelKind::Gemini), ""),
        (of_kind("http://g/v1", ChannelKind::Openai), ""),
        (of_kind("http://g/team", ChannelKind::Gemini), "/team"),
    ] {
        for (target, path) in [
            (
                "/v1beta/models/fast:generateContent",
                "/v1beta/models/gemini-3%3Afree:generateContent",
            ),
            (
                "/c/g/v1beta/models/fast:streamGenerateContent?alt=sse",
                "/v1beta/models/gemini-3%3Afree:streamGenerateContent?alt=sse",
            ),
            (
                "/v1beta/tunedModels/fast:countTokens",
                "/v1beta/tunedModels/gemini-3%3Afree:countTokens",
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/fast:generateContent",
                "/v1/projects/p/locations/l/publishers/google/models/gemini-3%3Afree:generateContent",
            ),
        ] {
            assert_eq!(
                upstream(&channel, target, Some("gemini-3:free")),
                format!("{before}{path}")
            );
        }
        let written_oddly = "/v1beta/models/gemini%2D3:generateContent";
        assert_eq!(
            upstream(&channel, written_oddly, Some("gemini-3")),
            format!("{before}{written_oddly}"),
            "the same model stays as the client wrote it"
        );
    }
    let openai = of_kind("http://a/v1", ChannelKind::Openai);
    assert_eq!(
        upstream(&openai, "/v1/realtime?a=1&model=fast", Some("gpt-realtime")),
        "/v1/realtime?a=1&model=gpt-realtime"
    );
}

#[test]
fn a_clients_key_in_the_query_never_goes_with_the_channels_own() {
    for base_url in [
        "https://r.openai.azure.com",
        "https://api.anthropic.com",
        "https://generativelanguage.googleapis.com",
        "http://a",
    ] {
        for (key, query, path) in [
            (None, "api-key=c&a=1", None),
            (Some("k"), "a=1&api_keys=2&monkey=3", None),
            (Some("k"), "a=1&Api-Key=c", Some("/health?a=1")),
            (Some("k"), "k%65y=c&b&key", Some("/health?b")),
            (Some("k"), "key=c", Some("/health")),
        ] {
            let channel = channel(base_url, |settings| {
                settings.api_key = key.map(Secret::new);
            });
            let target = format!("/health?{query}");
            let found = destination(&channel, &target, None).path;
            assert_eq!(found.as_deref(), path, "{base_url} {query}");
        }
    }
    let channel = channel("https://r.openai.azure.com", |settings| {
        settings.api_key = Some(Secret::new("k"));
        settings.api_version = Some("2024-10-21".into());
    });
    assert_eq!(
        upstream(&channel, "/v1/realtime?model=m&api-key=c", None),
        "/openai/realtime?deployment=m&api-version=2024-10-21"
    );
}

#[test]
fn what_goes_upstream_decides_whether_stream_options_are_known() {
    let old = classic("https://r.openai.azure.com", "2024-06-01");
    let new = classic("https://r.openai.azure.com", "2024-10-21");
    let openai = of_kind("http://a/v1", ChannelKind::Openai);
    let azures = "/openai/deployments/m/chat/completions?api-version=2024-06-01";
    for (channel, target, knows) in [
        (&old, "/v1/chat/completions", false),
        (&old, "/v1/chat/completions?api-version=2024-10-21", true),
        (&new, "/v1/chat/completions", true),
        (&new, azures, false),
        (&openai, azures, true),
        (&openai, "/v1/chat/completions", true),
    ] {
        let found = destination(channel, target, Some("m")).knows_stream_options;
        assert_eq!(found, knows, "{target}");
    }
}

#[test]
fn a_key_goes_where_the_path_is_looked_after() {
    for (base_url, target, header) in [
        ("http://a/v1", "/v1/chat/completions", "authorization"),
        (
            "https://r.openai.azure.com",
            "/v1/chat/completions",
            "api-key",
        ),
        ("https://api.anthropic.com", "/v1/messages", "x-api-key"),
        (
            "https://api.anthropic.com",
            "/v1/chat/completions",
            "authorization",
        ),
        (
            "https://generativelanguage.googleapis.com",
            "/v1beta/models/g:generateContent",
            "x-goog-api-key",
        ),
        (
            "https://generativelanguage.googleapis.com",
            "/v1/chat/completions",
            "authorization",
        ),
        (
            "https://generativelanguage.googleapis.com",
            "/v1beta/openai/embeddings",
            "authorization",
        ),
    ] {
        let channel = channel(base_url, |settings| {
            settings.api_key = Some(Secret::new("k"));
        });
        let path = upstream(&channel, target, None);
        let (name, value) = channel.credential_for(&path).unwrap();
        let own = (name, value.to_str().unwrap());
        let expected = if header == "authorization" {
            (&AUTHORIZATION, "Bearer k")
        } else {
            (name, "k")
        };
        assert_eq!((name.as_str(), own), (header, expected), "{target}");
    }
}
