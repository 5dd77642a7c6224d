//! Filters by name: of whatever characters a name is, and of what has none.

use reqwest::StatusCode;

use crate::traffic::{plain, record};
use crate::{Admin, expected, ids};

/// Names that mean something in a list, and none.
const ODD: [Option<&str>; 6] = [
    Some("a,b"),
    Some("a*"),
    Some("a\"b"),
    Some("ab"),
    Some("[a]"),
    None,
];

/// Request `n` is of the `n`th odd key and model.
async fn odd() -> Admin {
    let admin = Admin::start(None, None).await;
    let requests = ODD.iter().zip(0..).map(|(name, n)| {
        let mut request = plain(n);
        request.admission.key = name.map(Into::into);
        request.served_model = name.map(Into::into);
        request.admission.requested_model = name.map(Into::into);
        request
    });
    record(&admin.ledger, &requests.collect::<Vec<_>>());
    admin
}

fn asked(path: &str, filter: &str, value: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(filter, value)
        .finish();
    format!("{path}?since=2026-11-20&{query}")
}

#[tokio::test]
async fn each_name_can_be_asked_for_by_the_log_and_by_sums() {
    let admin = odd().await;
    for (value, numbers) in [
        // As Grafana writes what is chosen.
        (r#"["a,b"]"#, &[0][..]),
        (r#"["a*"]"#, &[1]),
        (r#"["a\"b"]"#, &[2]),
        (r#"["[a]"]"#, &[4]),
        (r#"["a*","ab"]"#, &[3, 1]),
        (r#"[".*"]"#, &[5, 4, 3, 2, 1, 0]),
        // What has none, as a table's link, a Prometheus label and a person write it.
        (r#"["(none)"]"#, &[5]),
        (r#"[""]"#, &[5]),
        ("(none)", &[5]),
        ("ab,(none)", &[5, 3]),
        // As a person writes names.
        (r"a\,b", &[0]),
        (r"a\*", &[1]),
        ("a*", &[3, 2, 1, 0]),
    ] {
        for filter in ["key", "model"] {
            let listed = admin.json(&asked("/api/v1/requests", filter, value)).await;
            assert_eq!(ids(&listed), expected(numbers), "{filter}={value}");
            let summary = asked("/api/v1/usage/summary", filter, value);
            let summary = admin.json(&summary).await;
            assert_eq!(
                summary["total"]["requests"],
                numbers.len(),
                "{filter}={value}"
            );
        }
    }
}

#[tokio::test]
async fn the_rest_of_a_series_is_refused_and_never_taken_for_everything() {
    let admin = odd().await;
    for path in ["/api/v1/requests", "/api/v1/usage/summary"] {
        for value in ["(other)", r#"["(other)"]"#] {
            let (status, error) = admin.failure(&asked(path, "model", value)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert_eq!(error["param"], "model");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with("model: `(other)` is no name"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn words_of_a_vocabulary_can_be_a_list_in_json_too() {
    let admin = Admin::with_traffic().await;
    let listed = |value| asked("/api/v1/requests", "outcome", value);
    let failed = admin.json(&listed("failed")).await;
    assert!(!ids(&failed).is_empty());
    assert_eq!(admin.json(&listed(r#"["failed"]"#)).await, failed);
    assert_eq!(admin.json(&listed(r#"["failed","timeout"]"#)).await, failed);
    let (_, error) = admin.failure(&listed(r#"["flawed"]"#)).await;
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("outcome: `flawed` is no outcome; one of: "),
        "{message}"
    );
}
