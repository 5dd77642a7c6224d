//! Digests: of what the ledger has, once, in words and as a picture.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use tollgate::clock::UnixMicros;
use tollgate::ledger::Closed;
use tollgate::money::NanoUsd;

use super::{answering, receivers, send, setup, told, until_told};
use crate::support::receivers::hook::Hook;
use crate::support::receivers::smtp::{MailServer, MailSetup, PASSWORD, USER};
use crate::support::receivers::telegram::{GROUP, TOKEN, TelegramJudge};
use crate::support::tollgate::Tollgate;
use crate::support::{eventually, eventually_within};

#[path = "../../traffic/mod.rs"]
#[allow(dead_code, reason = "other tests ask for the rest of it")]
mod traffic;

/// Of each minute, and with this name two seconds after it.
const EACH_MINUTE: &str = "digests: [{name: minute, cron: '* * * * *'}]";

/// Of what comes once a minute, the first is up to a minute and the seconds after it away, and another ten
/// seconds where the ledger is looked at again.
const A_MINUTE_AND_MORE: Duration = Duration::from_secs(120);

const MANY: &str = "alert: Many, metric: requests, window: 1h, by: [channel], warning: 1 requests, \
                    mode: notify";

const MINUTE_US: i64 = 60_000_000;

/// Requests of this minute, the one before and the next. The first digest is of the minute in which Tollgate
/// starts again, which may be either of the last two: whichever it is, there is something to tell.
fn used(tollgate: &mut Tollgate) {
    tollgate.stop();
    let minute = UnixMicros::now().minute();
    let ledger = traffic::open(&tollgate.data_dir());
    let requests: Vec<_> = (0..9)
        .map(|number| {
            let mut request = traffic::plain(number);
            let after = i64::try_from(number % 3).unwrap() - 1;
            let at = UnixMicros(minute.0 + after * MINUTE_US);
            request.admission.started_at = at;
            for attempt in &mut request.attempts {
                attempt.started_at = at;
            }
            request
        })
        .collect();
    traffic::record(&ledger, &requests);
    assert_eq!(ledger.close(traffic::PATIENCE), Closed::Complete);
}

/// The digests that were told, the oldest first.
fn digests(tollgate: &Tollgate) -> Vec<Value> {
    let mut told = told(tollgate);
    told.retain(|told| told["kind"] == "digest");
    told.reverse();
    told
}

/// Waits for the first of [`EACH_MINUTE`].
fn first_digest(tollgate: &Tollgate) -> Value {
    eventually_within(A_MINUTE_AND_MORE, "a digest is told", || {
        digests(tollgate).into_iter().next()
    })
}

fn moment(value: &Value) -> String {
    UnixMicros(value.as_i64().unwrap()).to_string()
}

#[test]
fn a_digest_says_what_the_ledger_says_and_a_restart_does_not_repeat_it() {
    let (upstream, hook) = (answering(), Hook::start());
    let judge = TelegramJudge::start().without_limits();
    let ops = format!(
        "- {{name: ops, telegram: {{token: '{TOKEN}', chat: {GROUP}, api_url: '{}'}}}}\n",
        judge.api_url()
    );
    let mut tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting("routes: {receivers: [hook], group_wait: 0s, group_interval: 1s}")
        .setting(&receivers(&[&ops, &hook.receiver("hook", "")]))
        .start();
    used(&mut tollgate);
    tollgate.edit(|settings| settings + &EACH_MINUTE.replace("}]", ", receivers: [ops]}]\n"));
    tollgate.start_again();
    let first = first_digest(&tollgate);
    let id = first["id"].as_str().unwrap();
    let shown = tollgate
        .admin(&format!("/api/v1/notifications/{id}"))
        .json();
    let content = &shown["content"];
    let digest = content.get("digest").unwrap_or(content);
    let (since, until) = (moment(&digest["since"]), moment(&digest["until"]));
    let summary = tollgate
        .admin(&format!(
            "/api/v1/usage/summary?since={since}&until={until}"
        ))
        .json();
    let total = &summary["total"];
    assert!(total["requests"].as_u64() >= Some(3), "{summary:#}");
    assert_eq!(digest["total"]["requests"], total["requests"]);
    let cost = NanoUsd(digest["total"]["cost_nanousd"].as_i64().unwrap());
    assert_eq!(total["cost_usd"], cost.to_string());
    assert!(cost.0 > 0, "{digest:#}");

    let message = judge.until("its message", |sent| sent.text.contains("minute"));
    let requests = format!("{} requests", total["requests"]);
    assert!(message.text.contains(&requests), "{}", message.text);
    assert!(
        message
            .photo
            .is_some_and(|photo| photo.starts_with(b"\x89PNG"))
    );

    tollgate.stop();
    tollgate.start_again();
    // Who tells of the second alert has looked at the digests after the first.
    for (count, channel) in [(1, "a"), (2, "b")] {
        send(&tollgate, channel);
        eventually("the alert is told", || {
            let told = told(&tollgate);
            let alerts = told.iter().filter(|told| told["kind"] == "alert");
            (alerts.count() == count).then_some(())
        });
    }
    let groups: Vec<String> = digests(&tollgate)
        .iter()
        .map(|told| told["group"].as_str().unwrap().to_owned())
        .collect();
    let once: BTreeSet<&String> = groups.iter().collect();
    assert_eq!(once.len(), groups.len(), "{groups:?}");
    assert!(groups.contains(&first["group"].as_str().unwrap().to_owned()));
}

fn mail(server: &MailServer) -> String {
    format!(
        "- {{name: mail, email: {{host: localhost, port: {}, encryption: starttls, user: {USER}, \
         password: {PASSWORD}, ca_file: '{}', from: 'Tollgate <t@example.com>', \
         to: [ann@example.com]}}}}\n",
        server.port("starttls"),
        server.ca_file.display()
    )
}

#[test]
fn a_digest_by_mail_shows_its_picture() {
    let (upstream, server) = (answering(), MailSetup::usual().start());
    let mut tollgate = setup(&upstream, &["a"], &[]).start();
    used(&mut tollgate);
    tollgate.edit(|settings| format!("{settings}{}{EACH_MINUTE}\n", receivers(&[&mail(&server)])));
    tollgate.start_again();
    first_digest(&tollgate);
    let taken = server.until(1).remove(0);
    assert_eq!(taken.to(), ["ann@example.com"]);
    assert!(
        taken.header("subject").contains("minute"),
        "{}",
        taken.header("subject")
    );
    assert!(taken.text().contains("gpt-5-mini"), "{}", taken.text());
    let picture = taken.part("image/png");
    assert_eq!(picture["disposition"], "inline");
    let bytes = BASE64.decode(picture["bytes"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    // It is shown where the text is.
    let id = picture["headers"]["content-id"][0].as_str().unwrap();
    let id = id.trim_matches(['<', '>']);
    assert!(
        taken.html().contains(&format!("cid:{id}")),
        "{}",
        taken.html()
    );
    let told = until_told(&tollgate, 1);
    assert_eq!(told[told.len() - 1]["result"], "sent");
    assert!(!tollgate.log().contains(PASSWORD), "{}", tollgate.log());
}
