//! The secret of the keys' hashes where it cannot be kept, and keys over an upgrade.

use std::fs;
use std::thread;

use rustix::process::Signal;

use super::{assert_refused, chat, created};
use crate::support::answers;
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::Upstream;

#[test]
fn without_a_place_for_the_secret_everything_but_making_keys_goes_on() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    tollgate.stop();
    let secret = tollgate.data_dir().join("key-secret");
    fs::remove_file(&secret).unwrap();
    // Neither can it be read nor made.
    fs::create_dir(&secret).unwrap();
    tollgate.start_again();
    let key = |tollgate: &Tollgate| {
        let response = tollgate.send(&chat("sk-own"));
        assert_eq!(response.status, 200, "{response:?}");
        let row = tollgate.ledger().request(&response.request_id());
        row.text("key").unwrap().to_owned()
    };
    let fingerprint = key(&tollgate);
    assert!(fingerprint.starts_with("fp-"), "{fingerprint}");
    let refused = tollgate.run(&["keys", "create", "ci"]);
    assert!(!refused.status.success());
    assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
    let log = tollgate.log();
    assert_eq!(log.matches("have no secret on disk").count(), 1, "{log}");

    fs::remove_dir(&secret).unwrap();
    eventually("the secret is kept", || secret.is_file().then_some(()));
    assert_eq!(key(&tollgate), fingerprint);
    tollgate.stop();
    tollgate.start_again();
    assert_eq!(key(&tollgate), fingerprint);
    let made = created(&tollgate, &["ci"]);
    assert_eq!(tollgate.send(&chat(&made)).status, 200);
}

/// Whichever of the two processes answered.
#[test]
fn what_is_revoked_during_an_upgrade_stays_revoked() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let made = |name: &str| {
        let wish = serde_json::json!({ "name": name });
        let response = tollgate.ask(&Request::json("/api/v1/keys", &wish));
        response.json()["key"].as_str().unwrap().to_owned()
    };
    let keys: Vec<_> = (0..60)
        .map(|n| format!("key-{n}"))
        .map(|name| (made(&name), name))
        .collect();
    let keeper = made("keeper");
    let successor = tollgate.successor(&["--upgrade"]);
    thread::scope(|scope| {
        let revoking = scope.spawn(|| {
            for (_, name) in &keys {
                let revoke = Request::new("POST", &format!("/api/v1/keys/{name}/revoke"));
                // While the role of the writer goes over nobody has it.
                eventually("it is revoked", || {
                    let response = tollgate.try_ask(&revoke)?;
                    (matches!(response.status, 200 | 404)).then_some(())
                });
            }
        });
        tollgate.signal(Signal::QUIT);
        revoking.join().unwrap();
    });
    assert!(tollgate.ended().success(), "{}", tollgate.log());
    tollgate.replace(successor);
    assert_eq!(tollgate.send(&chat(&keeper)).status, 200);
    for (key, _) in &keys {
        let refused = eventually("it is refused", || {
            let response = tollgate.send(&chat(key));
            (response.status != 200).then_some(response)
        });
        assert_refused(&refused, 401, "invalid_api_key");
    }
}
