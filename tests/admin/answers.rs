//! Links in messages: a page that says what they do, and a form that does it once.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use tollgate::alert::{AlertId, Labels};
use tollgate::clock::UnixMicros;
use tollgate::config::{
    FeishuSettings, Language, ReceiverSettings, Secret, TargetSettings, TemplateSettings,
};
use tollgate::dispatch::answering::{AlertSubject, AnswerAction, Offer, Subject, ToldOf, Way};

use crate::{Admin, traffic};

const HOUR: Duration = Duration::from_secs(3600);

fn receiver(name: &str, language: Language) -> ReceiverSettings {
    ReceiverSettings {
        name: name.into(),
        target: TargetSettings::Feishu(FeishuSettings {
            url: Secret::new("https://open.feishu.cn/open-apis/bot/v2/hook/secret"),
            secret: None,
            keyword: None,
        }),
        language,
        timezone: jiff::tz::TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout: ReceiverSettings::USUAL_TIMEOUT,
        templates: TemplateSettings::default(),
    }
}

async fn start(rules: &str) -> Admin {
    let receivers = vec![receiver("f", Language::En), receiver("zh", Language::Zh)];
    Admin::with_receivers(None, None, rules, receivers).await
}

impl Admin {
    fn link(&self, of: &str, action: AnswerAction, subject: &Subject, ends: UnixMicros) -> String {
        let offer = Offer {
            action,
            subject,
            expires_at: ends,
            nonce: self.signer.nonce(of, action, subject, ends),
            told: ToldOf {
                until: ends,
                operator: true,
            },
        };
        format!("/answers/{}", self.signer.seal(Way::Link, of, &offer))
    }

    fn reopen(&self, of: &str) -> String {
        let ends = UnixMicros::now().plus(HOUR);
        self.link(of, AnswerAction::Reopen, &spare(), ends)
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn state(&self, channel: &str) -> String {
        let shown = self.json(&format!("/api/v1/channels/{channel}")).await;
        shown["state"].as_str().unwrap().to_owned()
    }
}

fn spare() -> Subject {
    Subject::Channel("spare".into())
}

#[tokio::test]
async fn looking_at_a_link_does_nothing_and_its_form_does_it_once() {
    let admin = start(traffic::rules::NO_RULES).await;
    admin.post("/api/v1/channels/spare/disable").await;
    let link = admin.reopen("f");
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let response = admin.ask(method, &link, &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers().clone();
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert!(header("x-robots-tag").contains("noindex"));
        assert!(header("content-type").starts_with("text/html"));
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    let page = admin.get(&link).await.text().await.unwrap();
    assert!(page.contains("<form method=\"post\">"), "{page}");
    assert!(page.contains("The channel spare is opened"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(admin.state("spare").await, "closed");

    // A browser's form says where it comes from, or that it does not say.
    let headers = [
        ("origin", "null"),
        ("x-forwarded-for", "203.0.113.9, 192.0.2.7"),
    ];
    let done = admin.ask(Method::POST, &link, &headers).await;
    assert_eq!(done.status(), StatusCode::OK);
    let page = done.text().await.unwrap();
    assert!(page.contains("spare is open again."), "{page}");
    assert!(!page.contains("<form"), "{page}");
    assert_eq!(admin.state("spare").await, "open");

    admin.post("/api/v1/channels/spare/disable").await;
    for method in [Method::POST, Method::GET] {
        let again = admin.ask(method, &link, &[]).await;
        assert_eq!(again.status(), StatusCode::CONFLICT);
        let page = again.text().await.unwrap();
        assert!(page.contains("link of f (192.0.2.7) did this at"), "{page}");
        assert!(!page.contains("<form"), "{page}");
    }
    assert_eq!(admin.state("spare").await, "closed");
    admin.flush();
    let answers = admin.json("/api/v1/answers").await;
    let answers = answers["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| answer["who"] == "link of f (192.0.2.7)")
    );
}

#[tokio::test]
async fn two_forms_at_once_do_it_once() {
    let admin = start(traffic::rules::NO_RULES).await;
    admin.post("/api/v1/channels/spare/disable").await;
    let link = admin.reopen("f");
    let (one, other) = tokio::join!(
        admin.ask(Method::POST, &link, &[]),
        admin.ask(Method::POST, &link, &[])
    );
    let mut statuses = [one.status(), other.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT]);
}

#[tokio::test]
async fn a_bad_link_says_what_is_wrong_and_does_nothing() {
    let admin = start(traffic::rules::NO_RULES).await;
    admin.post("/api/v1/channels/spare/disable").await;
    let now = UnixMicros::now();
    let good = admin.reopen("zh");
    let late = admin.link("zh", AnswerAction::Reopen, &spare(), now.minus(HOUR));
    let gone = Subject::Channel("gone".into());
    let gone = admin.link("f", AnswerAction::Reopen, &gone, now.plus(HOUR));
    let other = admin.link("nobody", AnswerAction::Reopen, &spare(), now.plus(HOUR));
    for (link, status, says) in [
        (late, StatusCode::GONE, "已过期"),
        (gone, StatusCode::GONE, "is no more"),
        (
            other,
            StatusCode::FORBIDDEN,
            "is no answer that Tollgate offered",
        ),
        (
            good[..good.len() - 1].to_owned(),
            StatusCode::FORBIDDEN,
            "is no answer",
        ),
        (
            "/answers/%3Cscript%3E".to_owned(),
            StatusCode::FORBIDDEN,
            "is no answer",
        ),
        (
            format!("/answers/{}", "A".repeat(5_000)),
            StatusCode::FORBIDDEN,
            "is no answer",
        ),
    ] {
        for method in [Method::GET, Method::POST] {
            let response = admin.ask(method, &link, &[]).await;
            assert_eq!(response.status(), status, "{link}");
            let page = response.text().await.unwrap();
            assert!(page.contains(says), "{page}");
            assert!(
                !page.contains("<form") && !page.contains("<script"),
                "{page}"
            );
        }
    }
    for (method, status) in [
        (Method::PUT, StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(admin.ask(method, &good, &[]).await.status(), status);
    }
    assert_eq!(admin.state("spare").await, "closed");
    let page = admin.get(&good).await.text().await.unwrap();
    assert!(
        page.contains("<html lang=\"zh-CN\">") && page.contains("确认执行"),
        "{page}"
    );
}

#[tokio::test]
async fn links_are_followed_by_the_public_host_without_the_token() {
    let receivers = || vec![receiver("f", Language::En)];
    let guarded = Admin::with_receivers(Some("t"), None, traffic::rules::NO_RULES, receivers());
    let guarded = guarded.await;
    let open = start(traffic::rules::NO_RULES).await;
    for admin in [&guarded, &open] {
        let link = admin.reopen("f");
        for (host, status) in [
            ("tollgate.example.com", StatusCode::OK),
            ("TOLLGATE.example.com:443", StatusCode::OK),
            ("127.0.0.1:8081", StatusCode::OK),
            ("rebound.example", StatusCode::FORBIDDEN),
            (
                "tollgate.example.com.rebound.example",
                StatusCode::FORBIDDEN,
            ),
        ] {
            let shown = admin.ask(Method::GET, &link, &[("host", host)]).await;
            assert_eq!(shown.status(), status, "{host}");
        }
    }
    // The rest of the port knows its own names only.
    let named = [("host", "tollgate.example.com")];
    let listed = open.ask(Method::GET, "/api/v1/channels", &named).await;
    assert_eq!(listed.status(), StatusCode::FORBIDDEN);

    // Without an address for people there are no links.
    let without = Admin::start(None, None).await;
    let link = without.reopen("f");
    for method in [Method::GET, Method::POST] {
        let response = without.ask(method, &link, &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_hostile_name_is_nothing_but_a_name() {
    let admin = start(
        "groups: [{name: g, rules: [{alert: Spend, metric: cost, window: day, by: [key], \
         critical: 1 USD, mode: notify}]}]\n",
    )
    .await;
    let hostile = "<script>alert(1)</script>\"'&";
    traffic::rules::spend(
        &admin.rules,
        "spare",
        Some(hostile),
        2 * traffic::rules::USD,
    );
    let alert = AlertId {
        rule: "Spend".into(),
        labels: Labels::new([("key".into(), hostile.into())]),
    };
    let subject = Subject::Alerts(AlertSubject::from(&alert));
    let ends = UnixMicros::now().plus(HOUR);
    for action in [AnswerAction::Silence, AnswerAction::Details] {
        let link = admin.link("f", action, &subject, ends);
        let response = admin.get(&link).await;
        assert_eq!(response.status(), StatusCode::OK);
        let page = response.text().await.unwrap();
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{page}"
        );
        assert!(!page.contains("<script"), "{page}");
    }
    let link = admin.link("f", AnswerAction::Silence, &subject, ends);
    let done = admin.ask(Method::POST, &link, &[]).await;
    assert_eq!(done.status(), StatusCode::OK);
    assert!(done.text().await.unwrap().contains("(1 firing now)"));
    let silences = admin.json("/api/v1/silences").await;
    assert_eq!(
        silences["silences"][0]["created_by"],
        "link of f (127.0.0.1)"
    );
}
