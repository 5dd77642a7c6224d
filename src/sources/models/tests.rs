//! Lists asked for at a server on this machine that answers as it is told.

use http::header::AUTHORIZATION;

use super::*;
use crate::config::{ChannelSettings, Secret};
use crate::sources::scripted::{Answer, Server};

const PATIENT: Duration = Duration::from_secs(20);

/// One channel before `server`.
struct Place {
    channels: Registry,
    lists: ModelLists,
}

impl Place {
    fn new(server: &Server, set: impl FnOnce(&mut ChannelSettings)) -> Self {
        let base_url = format!("http://{}/v1", server.address);
        let mut settings = ChannelSettings::openai(base_url.parse().unwrap());
        set(&mut settings);
        let channels = Registry::of(vec![settings]).unwrap();
        let lists = ModelLists::new(&channels).unwrap();
        Self { channels, lists }
    }

    async fn ask(&self, client: Option<&str>, now: Instant) -> Result<Vec<String>, NotListed> {
        self.ask_within(client, &Room::default(), now).await
    }

    async fn ask_within(
        &self,
        client: Option<&str>,
        room: &Room,
        now: Instant,
    ) -> Result<Vec<String>, NotListed> {
        let channel = self.channels.iter().next().unwrap();
        let client: Vec<_> = client
            .map(|client| (AUTHORIZATION, HeaderValue::from_str(client).unwrap()))
            .into_iter()
            .collect();
        let over = Instant::now() + PATIENT;
        let listed = self.lists.of(channel, &client, room, now, over).await?;
        Ok(listed.iter().map(|model| model.id.to_string()).collect())
    }
}

fn with_key(settings: &mut ChannelSettings) {
    settings.api_key = Some(Secret::new("sk-channel"));
}

fn list(id: &str) -> Answer {
    Answer::good(&format!(r#"{{"object":"list","data":[{{"id":"{id}"}}]}}"#))
}

#[tokio::test]
async fn a_list_is_kept_for_a_while_and_then_asked_for_again() {
    let mut server = Server::start(vec![list("old"), list("new")]).await;
    let place = Place::new(&server, with_key);
    let start = Instant::now();
    for (seconds, expected) in [
        (0, "old"),
        (1, "old"),
        (59, "old"),
        (90, "new"),
        (100, "new"),
    ] {
        let now = start + Duration::from_secs(seconds);
        let listed = place.ask(None, now).await.unwrap();
        assert_eq!(listed, [expected], "after {seconds} s");
    }
    let head = server.heads.recv().await.unwrap();
    assert!(head.starts_with("GET /v1/models HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("authorization: Bearer sk-channel\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn those_who_come_together_ask_once() {
    // A second connection would be refused an answer.
    let server = Server::start(vec![list("a")]).await;
    let place = Place::new(&server, with_key);
    let now = Instant::now();
    let (first, second, third) = tokio::join!(
        place.ask(None, now),
        place.ask(None, now),
        place.ask(None, now)
    );
    for listed in [first, second, third] {
        assert_eq!(listed.unwrap(), ["a"]);
    }
}

#[tokio::test]
async fn what_a_clients_own_credential_shows_is_shown_to_no_other() {
    let mut server = Server::start(vec![list("first"), list("second")]).await;
    let place = Place::new(&server, |_| {});
    let now = Instant::now();
    for (client, expected) in [("bearer one", "first"), ("Basic two", "second")] {
        assert_eq!(place.ask(Some(client), now).await.unwrap(), [expected]);
        let head = server.heads.recv().await.unwrap();
        assert!(head.contains(&format!("authorization: {client}\r\n")));
    }
}

#[tokio::test]
async fn what_is_no_list_is_told_and_soon_asked_for_again() {
    let bad = [
        Answer::new("500 Internal Server Error", "", "{}"),
        Answer::new("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
        Answer::good("<html>"),
        Answer::Endless,
    ];
    for answer in bad {
        let server = Server::start(vec![answer, list("well")]).await;
        let place = Place::new(&server, with_key);
        let now = Instant::now();
        assert_eq!(place.ask(None, now).await, Err(NotListed));
        let soon = now + Duration::from_secs(1);
        assert_eq!(place.ask(None, soon).await, Err(NotListed), "kept");
        let later = Instant::now() + FAILED;
        assert_eq!(place.ask(None, later).await.unwrap(), ["well"]);
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_client() {
    let server = Server::start(vec![Answer::Silence]).await;
    let place = Place::new(&server, with_key);
    let channel = place.channels.iter().next().unwrap();
    let room = Room::default();
    let now = Instant::now();
    let over = now + Duration::from_millis(100);
    let asked = || place.lists.of(channel, &[], &room, now, over);
    let waited = tokio::time::timeout(PATIENT, async { tokio::join!(asked(), asked()) }).await;
    assert_eq!(waited, Ok((Err(NotListed), Err(NotListed))));
}

#[tokio::test]
async fn each_kind_is_asked_as_its_own_clients_ask() {
    let gemini = r#"{"models":[{"name":"models/gemini-x"}]}"#;
    let anthropic = r#"{"data":[{"type":"model","id":"claude-x"}],"has_more":false}"#;
    for (kind, answer, id, target, header) in [
        (
            ChannelKind::Gemini,
            gemini,
            "gemini-x",
            "/v1beta/models?pageSize=1000",
            "x-goog-api-key: sk-channel\r\n",
        ),
        (
            ChannelKind::Anthropic,
            anthropic,
            "claude-x",
            "/v1/models?limit=1000",
            "x-api-key: sk-channel\r\nanthropic-version: 2023-06-01\r\n",
        ),
        (
            ChannelKind::Azure,
            r#"{"data":[{"id":"gpt-x"}]}"#,
            "gpt-x",
            "/v1/models",
            "api-key: sk-channel\r\n",
        ),
    ] {
        let mut server = Server::start(vec![Answer::good(answer)]).await;
        let place = Place::new(&server, |settings| {
            with_key(settings);
            settings.kind = kind;
            let version = HeaderValue::from_static("yes");
            settings.headers = vec![(http::HeaderName::from_static("x-own"), version)];
        });
        assert_eq!(place.ask(None, Instant::now()).await.unwrap(), [id]);
        let head = server.heads.recv().await.unwrap();
        assert!(
            head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{head}"
        );
        for line in header.lines().chain(["x-own: yes"]) {
            assert!(head.contains(&format!("{line}\r\n")), "{head}");
        }
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let page = |key: &str, id: &str, more: &str| {
        let id = format!(r#"{{"id":"{id}","name":"models/{id}"}}"#);
        Answer::good(&format!(r#"{{"{key}":[{id}]{more}}}"#))
    };
    for (kind, key, more, targets) in [
        (
            ChannelKind::Gemini,
            "models",
            r#","nextPageToken":"a&b""#,
            [
                "/v1beta/models?pageSize=1000",
                "/v1beta/models?pageSize=1000&pageToken=a%26b",
            ],
        ),
        (
            ChannelKind::Anthropic,
            "data",
            r#","has_more":true,"last_id":"one""#,
            [
                "/v1/models?limit=1000",
                "/v1/models?limit=1000&after_id=one",
            ],
        ),
        (
            ChannelKind::Openai,
            "data",
            r#","has_more":true,"last_id":"one""#,
            ["/v1/models", "/v1/models?after=one"],
        ),
    ] {
        let mut server = Server::start(vec![page(key, "one", more), page(key, "two", "")]).await;
        let place = Place::new(&server, |settings| {
            with_key(settings);
            settings.kind = kind;
        });
        let listed = place.ask(None, Instant::now()).await.unwrap();
        assert_eq!(listed, ["one", "two"], "{kind}");
        for target in targets {
            let head = server.heads.recv().await.unwrap();
            let line = format!("GET {target} HTTP/1.1\r\n");
            assert!(head.starts_with(&line), "{head}");
            assert!(head.contains("sk-channel"), "{head}");
        }
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_none_and_a_page_that_comes_again_is_the_last() {
    let page = |last: usize| {
        Answer::good(&format!(
            r#"{{"data":[{{"id":"m"}}],"has_more":true,"last_id":"{last}"}}"#
        ))
    };
    let server = Server::start((0..MOST_PAGES).map(page).collect()).await;
    let place = Place::new(&server, with_key);
    assert_eq!(place.ask(None, Instant::now()).await, Err(NotListed));
    let server = Server::start(vec![page(1), page(1)]).await;
    let place = Place::new(&server, with_key);
    assert_eq!(place.ask(None, Instant::now()).await.unwrap(), ["m", "m"]);
}

#[tokio::test]
async fn lists_take_no_more_than_one_requests_room() {
    let server = Server::start(vec![list("a"), Answer::Endless, list("c")]).await;
    let bytes = r#"{"object":"list","data":[{"id":"a"}]}"#.len();
    let room = |lists: usize| Room(AtomicUsize::new(bytes * lists));
    let place = Place::new(&server, with_key);
    let now = Instant::now();
    let two = room(2);
    for expected in [
        Ok(vec!["a".to_owned()]),
        Ok(vec!["a".to_owned()]),
        Err(NotListed),
    ] {
        // Asked for, kept, and kept in vain.
        assert_eq!(place.ask_within(None, &two, now).await, expected);
    }
    let one = room(1);
    for expected in [Err(NotListed), Ok(vec!["c".to_owned()])] {
        // What was refused takes nothing.
        assert_eq!(place.ask_within(Some("x"), &one, now).await, expected);
    }
}
