//! The verdicts as people read them in `docs/channels.md`: one row for each case, with what
//! [`Verdict::of`] makes of an example.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Effect, Fault, Sighted, Verdict, pause};
use crate::protocol::{Pause, outcome_of};
use crate::record::Outcome;

/// One case.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// In words.
    case: &'static str,
    /// How it looks.
    example: String,
    /// Where the credential is the channel's own.
    own: Ruling,
    /// Where the client's own is passed through.
    passed: Ruling,
}

/// What is made of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ruling {
    /// The verdict.
    verdict: Verdict,
    /// Whether the model cools down for as long as the provider says.
    cools: bool,
}

const BEGIN: &str =
    "<!-- verdicts: written by `INSTA_UPDATE=always cargo test --lib verdict` -->\n";
const END: &str = "<!-- end of verdicts -->\n";

/// What is said of a pause, in the examples.
const PAUSE: Duration = Duration::from_secs(20);

/// A case and its example: a fault, or status, code, and whether a pause is stated.
struct Case(&'static str, Seen);

enum Seen {
    Fault(Fault, Option<u16>),
    Answer(u16, Option<&'static str>),
    Pausing(u16, Option<&'static str>),
    /// With the reset of a limit of which nothing is left.
    Limited(u16, Option<&'static str>),
}

use Seen::{Answer, Limited, Pausing};

const CASES: &[Case] = &[
    Case("An answer", Answer(200, None)),
    Case(
        "No address, no connection, no TLS, or none in time",
        Seen::Fault(Fault::Connect, None),
    ),
    Case(
        "No answer begins in time (`limits.first_byte`)",
        Seen::Fault(Fault::Silent, None),
    ),
    Case(
        "The connection breaks before an answer begins",
        Seen::Fault(Fault::Broken, None),
    ),
    Case(
        "An answer breaks off, or falls silent",
        Seen::Fault(Fault::CutShort, Some(200)),
    ),
    Case(
        "The client leaves, or `limits.total` is over",
        Seen::Fault(Fault::NotTheChannels, None),
    ),
    Case("The provider gave up waiting", Answer(408, None)),
    Case("The provider failed", Answer(500, Some("server_error"))),
    Case("Overloaded", Answer(503, Some("server_is_overloaded"))),
    Case(
        "Overloaded, with `retry-after`",
        Pausing(503, Some("server_is_overloaded")),
    ),
    Case(
        "The provider failed, with a limit's reset",
        Limited(500, None),
    ),
    Case(
        "Overloaded (Anthropic)",
        Answer(529, Some("overloaded_error")),
    ),
    Case(
        "Too many requests, with `retry-after`",
        Pausing(429, Some("rate_limit_exceeded")),
    ),
    Case(
        "Too many requests, with a limit's reset",
        Limited(429, Some("rate_limit_exceeded")),
    ),
    Case("Too many requests, without", Answer(429, Some("slow_down"))),
    Case("Out of money", Answer(429, Some("insufficient_quota"))),
    Case("Out of money", Answer(402, None)),
    Case("Out of money", Answer(403, Some("billing_not_active"))),
    Case("The key is refused", Answer(401, Some("invalid_api_key"))),
    Case(
        "The key is refused (Anthropic)",
        Answer(401, Some("authentication_error")),
    ),
    Case(
        "The key is refused (Gemini)",
        Answer(401, Some("UNAUTHENTICATED")),
    ),
    Case(
        "The key is refused (Gemini)",
        Answer(400, Some("API_KEY_INVALID")),
    ),
    Case("The key is refused (Azure)", Answer(401, Some("401"))),
    Case(
        "The account is closed",
        Answer(401, Some("account_deactivated")),
    ),
    Case(
        "The country is refused",
        Answer(403, Some("unsupported_country_region_territory")),
    ),
    Case("Another 401", Answer(401, None)),
    Case("Another 403", Answer(403, Some("PERMISSION_DENIED"))),
    Case(
        "The request's own fault",
        Answer(400, Some("context_length_exceeded")),
    ),
    Case(
        "A model that is not there",
        Answer(404, Some("model_not_found")),
    ),
    Case("Every other 4xx", Answer(422, None)),
    Case(
        "Within an answer: the provider failed",
        Answer(200, Some("server_error")),
    ),
    Case(
        "Within an answer: too many requests",
        Answer(200, Some("rate_limit_exceeded")),
    ),
    Case(
        "Within an answer: out of money",
        Answer(200, Some("insufficient_quota")),
    ),
    Case(
        "Within an answer: the request's own fault",
        Answer(200, Some("invalid_prompt")),
    ),
];

/// The table in Markdown.
fn in_markdown() -> String {
    let mut text = String::from(
        "| What happens | For example | Another channel is tried | The channel | With the client's own credential |\n\
         |---|---|---|---|---|\n",
    );
    for row in CASES.iter().map(Row::of) {
        let passed = if row.passed == row.own {
            "the same".to_owned()
        } else {
            row.passed.to_string()
        };
        let over = if row.own.verdict.fails_over {
            "yes"
        } else {
            "no"
        };
        let Row { case, example, .. } = &row;
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "| {case} | {example} | {over} | {} | {passed} |",
            row.own.consequence()
        );
    }
    text
}

impl Row {
    fn of(Case(case, seen): &Case) -> Self {
        let ruling = |own_credential| Ruling::of(&seen.sighted(own_credential));
        Self {
            case,
            example: seen.to_string(),
            own: ruling(true),
            passed: ruling(false),
        }
    }
}

impl Ruling {
    fn of(sighted: &Sighted<'_>) -> Self {
        let verdict = Verdict::of(sighted);
        Self {
            verdict,
            cools: pause(sighted, verdict).is_some(),
        }
    }

    /// What it means for the channel.
    fn consequence(self) -> &'static str {
        match (self.verdict.effect, self.cools) {
            (Effect::Success, _) => "works",
            (Effect::None, _) => "nothing",
            (Effect::Failure, false) => "one failure",
            (Effect::Failure, true) => "one failure; nothing for this model for as long",
            (Effect::Pause, _) => "nothing for this model for as long",
            (Effect::OutOfMoney, _) => "closed at once, `out_of_money`",
            (Effect::BadCredential, _) => "closed at once, `bad_credential`",
        }
    }
}

impl std::fmt::Display for Ruling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let over = if self.verdict.fails_over { "yes" } else { "no" };
        write!(f, "{over}; {}", self.consequence())
    }
}

impl Seen {
    fn sighted(&self, own_credential: bool) -> Sighted<'static> {
        let (fault, status, code, pause) = match *self {
            Self::Fault(fault, status) => (Some(fault), status, None, None),
            Answer(status, code) => (None, Some(status), code, None),
            Pausing(status, code) => (None, Some(status), code, Some(Pause::Stated(PAUSE))),
            Limited(status, code) => (None, Some(status), code, Some(Pause::Reset(PAUSE))),
        };
        Sighted {
            fault,
            status,
            code,
            outcome: match (fault, status) {
                (Some(Fault::Connect), _) => Outcome::ConnectError,
                (Some(Fault::Silent), _) => Outcome::Timeout,
                (Some(Fault::Broken | Fault::CutShort), _) => Outcome::UpstreamError,
                (Some(Fault::NotTheChannels), _) | (None, None) => Outcome::ClientClosed,
                (None, Some(status)) => outcome_of(status, code),
            },
            own_credential,
            pause,
            wait: None,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(..) => f.write_str("–"),
            Answer(status, None) | Pausing(status, None) | Limited(status, None) => {
                write!(f, "{status}")
            }
            Answer(status, Some(code))
            | Pausing(status, Some(code))
            | Limited(status, Some(code)) => {
                write!(f, "{status} `{code}`")
            }
        }
    }
}

#[test]
fn the_documentation_shows_the_verdicts_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/channels.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let table = format!("\n{}\n", in_markdown());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(shown, table, "see the comment above the table");
    }
}

#[test]
fn a_request_is_never_sent_again_after_a_byte_reached_the_client() {
    for row in CASES.iter().map(Row::of) {
        if row.case.starts_with("Within") || row.case.starts_with("An answer") {
            assert!(!row.own.verdict.fails_over, "{}", row.case);
        }
    }
}

#[test]
fn nothing_that_concerns_a_clients_own_account_closes_a_channel_for_others() {
    for status in (200..600).chain([999]) {
        for code in CASES.iter().map(|Case(_, seen)| seen.sighted(false).code) {
            let ruling = Ruling::of(&Answer(status, code).sighted(false));
            let effect = ruling.verdict.effect;
            assert!(
                !matches!(
                    effect,
                    Effect::OutOfMoney | Effect::BadCredential | Effect::Pause
                ),
                "{status} {code:?}"
            );
            let own = matches!(status, 400..=407 | 409..=499);
            assert!(!own || effect == Effect::None, "{status} {code:?}");
        }
    }
}
