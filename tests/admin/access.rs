//! Tokens and host names.

use reqwest::{Method, StatusCode};
use tollgate::config::OnLedgerFailure;

use crate::Admin;

#[tokio::test]
async fn each_part_wants_its_own_token() {
    let admin = Admin::start(Some("api-token"), Some("metrics-token")).await;
    admin
        .readiness
        .ledger_opened(admin.ledger.journal(), OnLedgerFailure::Proxy);
    admin.readiness.listening();
    let with = async |path: &str, credential: Option<&str>| {
        let mut request = admin.client.get(admin.url(path));
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        request.send().await.unwrap()
    };
    for (paths, right, wrong) in [
        (
            &["/metrics", "/livez", "/readyz"][..],
            "Bearer metrics-token",
            "Bearer api-token",
        ),
        (
            &[
                "/api/v1/info",
                "/api/v1/requests",
                "/api/v1/usage/summary",
                "/api/v1/openapi.json",
            ],
            "bearer api-token",
            "Bearer metrics-token",
        ),
    ] {
        for path in paths {
            for refused in [None, Some(wrong), Some("Basic api-token"), Some("Bearer ")] {
                let response = with(path, refused).await;
                assert_eq!(
                    response.status(),
                    StatusCode::UNAUTHORIZED,
                    "{path} {refused:?}"
                );
                assert_eq!(response.headers()["www-authenticate"], "Bearer");
                let text = response.text().await.unwrap();
                assert!(text.contains("\"code\":\"invalid_token\""), "{text}");
                assert!(!text.contains("-token\""), "a token in {text}");
                // Whoever sets up Grafana is led to the token that only reads.
                let place = |key: &str| text.find(key).unwrap();
                assert!(
                    place("`admin.read_token_file`") < place("`admin.token_file`"),
                    "{text}"
                );
            }
            assert_eq!(
                with(path, Some(right)).await.status(),
                StatusCode::OK,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_that_reads_changes_nothing() {
    let admin = Admin::start(Some("api-token"), None).await;
    let with = async |method: Method, path: &str, token: &str| {
        let request = admin.client.request(method, admin.url(path));
        let response = request.bearer_auth(token).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    for path in ["/api/v1/info", "/api/v1/requests", "/api/v1/channels"] {
        let (status, text) = with(Method::GET, path, "read-api-token").await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
    }
    for (method, path) in [
        (Method::POST, "/api/v1/channels/main/disable"),
        (Method::POST, "/api/v1/keys"),
        (Method::POST, "/api/v1/silences"),
        (Method::DELETE, "/api/v1/silences/1"),
        (Method::PUT, "/api/v1/info"),
    ] {
        let (status, text) = with(method.clone(), path, "read-api-token").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {text}");
        assert!(text.contains("\"code\":\"read_only_token\""), "{text}");
        let (status, text) = with(method, path, "api-token").await;
        assert_ne!(status, StatusCode::FORBIDDEN, "{path}: {text}");
    }
    let (status, _) = with(Method::GET, "/api/v1/info", "read-").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_unless_a_token_vouches() {
    let open = Admin::start(None, None).await;
    let guarded = Admin::start(Some("t"), None).await;
    let status = async |admin: &Admin, path: &str, host: &str| {
        let request = admin.client.get(admin.url(path)).header("host", host);
        let response = request.bearer_auth("t").send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert!(
            !response
                .headers()
                .contains_key("access-control-allow-origin")
        );
        response.status()
    };
    for path in ["/api/v1/requests", "/metrics"] {
        assert_eq!(
            status(&open, path, "rebound.example:8081").await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(status(&open, path, "localhost:8081").await, StatusCode::OK);
    }
    let host = "rebound.example";
    assert_eq!(
        status(&guarded, "/api/v1/requests", host).await,
        StatusCode::OK
    );
    assert_eq!(
        status(&guarded, "/metrics", host).await,
        StatusCode::FORBIDDEN
    );
}
