//! Refreshes against a server on this machine that answers as it is told.

use std::fs;
use std::time::Duration;

use super::*;
use crate::record::{Api, TokenType, Tokens, Units, Usage, UsageSource};
use crate::sources::scripted::{Answer, Server};

/// 2026-11-20T00:00:00Z
const NOW: UnixMicros = UnixMicros(1_795_132_800_000_000);
const LATER: UnixMicros = UnixMicros(1_795_219_200_000_000);

/// A catalogue of `count` models that cost `usd` a million.
fn catalogue(count: usize, usd: &str) -> String {
    let models: Vec<String> = (0..count)
        .map(|n| {
            format!(
                r#""m{n}": {{"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": {usd}e-06}}"#
            )
        })
        .collect();
    format!("{{{}}}", models.join(","))
}

/// Prices, a data folder, and what refreshes the one and writes the other.
struct Room {
    prices: Arc<Prices>,
    data_dir: tempfile::TempDir,
    refresher: Refresher,
}

impl Room {
    fn new(server: &Server, path: &str) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let prices = Arc::new(Prices::builtin());
        let refresher = refresher(&prices, data_dir.path(), server, path);
        Self {
            prices,
            data_dir,
            refresher,
        }
    }

    /// What a million tokens of the catalogue's first model cost, in USD.
    fn price(&self) -> Option<String> {
        price(&self.prices)
    }

    fn kept(&self) -> Option<LastGood> {
        Store::new(self.data_dir.path()).load().unwrap()
    }
}

fn refresher(prices: &Arc<Prices>, data_dir: &Path, server: &Server, path: &str) -> Refresher {
    let url: Uri = format!("http://{}{path}", server.address).parse().unwrap();
    let update = Some((url, Duration::from_secs(3600)));
    let mut refresher = Refresher::new(Arc::clone(prices), data_dir, update).unwrap();
    refresher.update.as_mut().unwrap().fetcher = Fetcher::new(fetch::Bounds {
        total: Duration::from_secs(1),
        most_bytes: 64 * 1024,
    })
    .unwrap();
    refresher
}

fn price(prices: &Prices) -> Option<String> {
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(1_000_000);
    let usage = Usage {
        tokens,
        units: Units::NONE,
        total: tokens.sum(),
        source: UsageSource::Reported,
    };
    let cost = prices.price(Api::Chat, "m0", None, &usage, NOW)?;
    Some(cost.amount.to_string())
}

#[tokio::test]
async fn a_good_catalogue_is_taken_kept_and_not_fetched_twice() {
    let not_modified = Answer::new("304 Not Modified", "", "");
    let mut server = Server::start(vec![Answer::good(&catalogue(10, "2")), not_modified]).await;
    let mut room = Room::new(&server, "/prices.json?key=canary");
    assert_eq!(room.price(), None);
    assert_eq!(room.refresher.refresh(NOW).await, Refresh::Updated);
    assert_eq!(room.price().as_deref(), Some("2"));
    let kept = room.kept().unwrap();
    assert_eq!(kept.text, catalogue(10, "2"));
    assert_eq!(kept.origin.etag.as_deref(), Some("\"one\""));
    let head = server.heads.recv().await.unwrap();
    assert!(head.starts_with("GET /prices.json?key=canary "), "{head}");
    assert!(!head.contains("if-none-match"), "{head}");

    assert_eq!(room.refresher.refresh(LATER).await, Refresh::Unchanged);
    let head = server.heads.recv().await.unwrap();
    assert!(head.contains("if-none-match: \"one\"\r\n"), "{head}");
    assert_eq!(room.price().as_deref(), Some("2"));
    let stats = &room.prices.refreshes;
    assert_eq!(stats.last_success(), Some(LATER));
    assert_eq!(stats.succeeded(), Some(true));
    assert_eq!(stats.count(Refresh::Updated), 1);
    assert_eq!(stats.count(Refresh::Unchanged), 1);

    // A new process begins where this one ended.
    let prices = Arc::new(Prices::builtin());
    let path = "/prices.json?key=canary";
    let next = refresher(&prices, room.data_dir.path(), &server, path);
    assert_eq!(price(&prices).as_deref(), Some("2"));
    assert_eq!(prices.refreshes.last_success(), Some(NOW));
    assert_eq!(prices.refreshes.succeeded(), None, "nothing was tried yet");
    assert_eq!(next.wait_at_first(NOW), Duration::from_secs(3600));
    assert_eq!(next.wait_at_first(LATER), Duration::ZERO);
}

#[tokio::test]
async fn whatever_comes_instead_changes_nothing() {
    let huge = format!("{{{}}}", " ".repeat(100_000));
    let raw = |head: &str, body: &[u8]| {
        Answer::Bytes([head.as_bytes(), b"\r\nconnection: close\r\n\r\n", body].concat())
    };
    let elsewhere = Answer::new("302 Found", "location: /prices.json\r\n", "");
    let good = |body: &str| vec![Answer::good(body)];
    let cases = [
        (
            "an error",
            vec![Answer::new("500 Internal Server Error", "", "{}")],
            Refresh::Failed,
        ),
        (
            "another status",
            vec![Answer::new("203 Perhaps", "", &catalogue(10, "9"))],
            Refresh::Failed,
        ),
        ("nothing", good(""), Refresh::Refused),
        (
            "garbage",
            good("<html>maintenance</html>"),
            Refresh::Refused,
        ),
        (
            "no text",
            vec![raw("HTTP/1.1 200 OK\r\ncontent-length: 2", b"\xff\xfe")],
            Refresh::Failed,
        ),
        ("another JSON", good(r#"{"a": {"b": 1}}"#), Refresh::Refused),
        ("less than half", good(&catalogue(4, "2")), Refresh::Refused),
        (
            "other units",
            good(&catalogue(10, "2000000")),
            Refresh::Refused,
        ),
        ("a jump", good(&catalogue(10, "100")), Refresh::Refused),
        (
            "a cut body",
            vec![raw("HTTP/1.1 200 OK\r\ncontent-length: 9000", b"{\"m0\"")],
            Refresh::Failed,
        ),
        ("too much", good(&huge), Refresh::Failed),
        ("no end", vec![Answer::Endless], Refresh::Failed),
        ("no answer", vec![Answer::Silence], Refresh::Failed),
        ("a circle", vec![elsewhere; 8], Refresh::Failed),
    ];
    for (name, answers, expected) in cases {
        let mut all = vec![Answer::good(&catalogue(10, "2"))];
        all.extend(answers);
        let server = Server::start(all).await;
        let mut room = Room::new(&server, "/prices.json");
        let first = room.refresher.refresh(NOW).await;
        assert_eq!(first, Refresh::Updated, "{name}");
        let kept = room.kept();
        assert_eq!(room.refresher.refresh(LATER).await, expected, "{name}");
        assert_eq!(room.price().as_deref(), Some("2"), "{name}");
        assert_eq!(room.kept(), kept, "{name}");
        let stats = &room.prices.refreshes;
        assert_eq!(stats.last_success(), Some(NOW), "{name}");
        assert_eq!(stats.succeeded(), Some(false), "{name}");
        assert_eq!(stats.count(expected), 1, "{name}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure_too() {
    let server = Server::start(Vec::new()).await;
    let mut room = Room::new(&server, "/prices.json");
    assert_eq!(room.refresher.refresh(NOW).await, Refresh::Failed);
    assert_eq!(room.prices.refreshes.last_success(), None);
    assert_eq!(room.kept(), None);
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let mut server = Server::start(vec![
        Answer::new("302 Found", "location: /elsewhere.json\r\n", ""),
        Answer::good(&catalogue(3, "2")),
    ])
    .await;
    let mut room = Room::new(&server, "/prices.json");
    assert_eq!(room.refresher.refresh(NOW).await, Refresh::Updated);
    server.heads.recv().await.unwrap();
    let head = server.heads.recv().await.unwrap();
    assert!(head.starts_with("GET /elsewhere.json "), "{head}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_used() {
    let server = Server::start(vec![Answer::good(&catalogue(3, "2"))]).await;
    let mut room = Room::new(&server, "/prices.json");
    // A file where the folder would be.
    fs::write(room.data_dir.path().join("prices"), "").unwrap();
    assert_eq!(room.refresher.refresh(NOW).await, Refresh::Failed);
    assert_eq!(room.price(), None);
}

#[tokio::test]
async fn another_process_may_bring_a_catalogue() {
    let server = Server::start(Vec::new()).await;
    let mut room = Room::new(&server, "/prices.json");
    room.refresher.take_what_another_brought().await;
    assert_eq!(room.price(), None);
    for (usd, at) in [("2", NOW), ("3", LATER)] {
        Store::new(room.data_dir.path())
            .save(&last(usd, at))
            .unwrap();
        room.refresher.take_what_another_brought().await;
        assert_eq!(room.price().as_deref(), Some(usd));
    }
    // What it may have left half written is no reason to give up what is in use.
    fs::write(room.refresher.store.file(), "damaged").unwrap();
    room.refresher.take_what_another_brought().await;
    assert_eq!(room.price().as_deref(), Some("3"));
}

fn last(usd: &str, fetched_at: UnixMicros) -> LastGood {
    LastGood {
        origin: Origin {
            address: "my.json".to_owned(),
            etag: Some("one".to_owned()),
            last_modified: None,
            fetched_at,
        },
        text: catalogue(3, usd),
    }
}

#[tokio::test]
async fn another_address_is_asked_at_once_and_not_compared() {
    let smaller = Answer::good(&catalogue(3, "900"));
    let server = Server::start(vec![Answer::good(&catalogue(10, "2")), smaller]).await;
    let mut room = Room::new(&server, "/prices.json");
    assert_eq!(room.refresher.refresh(NOW).await, Refresh::Updated);
    let data_dir = room.data_dir.path();
    let mut next = refresher(&room.prices, data_dir, &server, "/other.json");
    assert_eq!(room.price().as_deref(), Some("2"), "until it is there");
    assert_eq!(next.wait_at_first(NOW), Duration::ZERO);
    assert_eq!(next.refresh(NOW).await, Refresh::Updated);
    assert_eq!(room.price().as_deref(), Some("900"));
}

#[test]
fn a_catalogue_is_as_old_as_the_server_says() {
    let as_of = |stated: &str| {
        let last_modified = Some(stated.to_owned());
        let origin = Origin {
            last_modified,
            ..last("2", LATER).origin
        };
        origin.as_of()
    };
    assert_eq!(as_of("Fri, 20 Nov 2026 00:00:00 GMT"), NOW);
    assert_eq!(as_of("Fri, 20 Nov 2099 00:00:00 GMT"), LATER);
    assert_eq!(as_of("a while ago"), LATER);
    assert_eq!(last("2", NOW).origin.as_of(), NOW);
}

#[test]
fn a_damaged_file_is_ignored() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = Store::new(data_dir.path());
    let good = last("2", NOW);
    assert!(last_good(data_dir.path()).is_none());
    store.save(&good).unwrap();
    assert_eq!(store.load().unwrap(), Some(good.clone()));
    assert_eq!(last_good(data_dir.path()).unwrap().kept, good);
    let whole = fs::read(store.file()).unwrap();
    let other = |byte: u8| if byte == b'm' { b'n' } else { byte };
    let cases = [
        Vec::new(),
        b"\n".to_vec(),
        b"{}\n{}".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [whole.as_slice(), b" "].concat(),
        whole.iter().map(|&byte| other(byte)).collect(),
        vec![0xff; 1_000],
    ];
    for damaged in cases {
        fs::write(store.file(), &damaged).unwrap();
        assert!(last_good(data_dir.path()).is_none(), "{}", damaged.len());
    }
    // Nothing of a write that did not end is left behind by one that does.
    store.save(&good).unwrap();
    let names: Vec<_> = fs::read_dir(data_dir.path().join("prices"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["catalogue"]);
}
