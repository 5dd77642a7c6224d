//! Commands: what they say, what they change, and what is kept of it.

use std::sync::atomic::{AtomicI32, Ordering};

use super::*;
use crate::ledger::query::GateEventFilter;
use crate::notify::{Block, Message, Span, Tone};

const WHO: &str = "Alice (telegram 11)";
const LATER: UnixMicros = UnixMicros(NOON.0 + 60_000_000);

impl Run {
    fn say(&self, text: &str) -> Message {
        self.say_to("ops", text)
    }

    fn say_to(&self, receiver: &str, text: &str) -> Message {
        static MESSAGES: AtomicI32 = AtomicI32::new(1);
        let message_id = MESSAGES.fetch_add(1, Ordering::Relaxed);
        let said = self.command(receiver, text, message_id);
        said.unwrap_or_else(|| panic!("{text}"))
    }

    fn command(&self, receiver: &str, text: &str, message_id: i32) -> Option<Message> {
        let written = Written {
            who: WHO,
            text,
            bot: Some("TollgateBot"),
            chat: OPS_CHAT,
            message_id,
        };
        self.answerer.command(receiver, &written, LATER)
    }
}

/// All of a message, a line a block.
fn text(message: &Message) -> String {
    let spans = |spans: &[Span]| -> String {
        let span = |span: &Span| match span {
            Span::Text(text) | Span::Bold(text) | Span::Code(text) | Span::Link { text, .. } => {
                text.clone()
            }
        };
        spans.iter().map(span).collect()
    };
    let blocks = message.body.iter().map(|block| match block {
        Block::Heading(line) | Block::Line(line) | Block::Item(line) => spans(line),
        Block::Divider => String::new(),
    });
    let lines: Vec<String> = [message.title.clone()].into_iter().chain(blocks).collect();
    lines.join("\n")
}

#[test]
fn disable_and_enable_do_what_the_api_does_and_are_kept() {
    let run = Run::start();
    let closed = run.say("/disable east for 1h too dear <b>");
    assert_eq!(closed.title, "east is closed until 13:01.");
    let gate = run.channels.gate_status("east", LATER).unwrap();
    let closing = &gate.holds[0].closing;
    assert_eq!(closing.owner, Owner::Operator);
    assert_eq!(closing.until, Some(LATER.plus(HOUR)));
    assert_eq!(closing.who.as_deref(), Some(WHO));
    assert_eq!(closing.note.as_deref(), Some("too dear <b>"));

    let opened = run.say("/enable east");
    assert_eq!(opened.title, "east is open again.");
    assert_eq!(run.say("/enable east").title, "east is open already.");
    let unknown = run.say("/disable eats");
    assert_eq!(
        unknown.title,
        "No channel is named “eats”. Did you mean east?"
    );

    let kept = run.kept();
    let told: Vec<_> = kept
        .iter()
        .map(|answer| (&*answer.asked, &*answer.subject, answer.done))
        .collect();
    assert_eq!(
        told,
        [
            // Each before it was done, and after.
            ("/disable east for 1h too dear <b>", "east", false),
            ("/disable east for 1h too dear <b>", "east", true),
            ("/enable east", "east", false),
            ("/enable east", "east", true),
            ("/enable east", "east", false),
            ("/enable east", "east", true),
            ("/disable eats", "eats", false),
            ("/disable eats", "eats", false),
        ]
    );
    assert!(
        kept.iter()
            .all(|answer| &*answer.who == WHO && answer.nonce.is_some())
    );
    let reader = Reader::open(run.folder.path()).unwrap();
    let events = reader
        .gate_events(&GateEventFilter::default())
        .unwrap()
        .events;
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.who.as_deref() == Some(WHO)));
}

#[test]
fn a_command_that_is_told_again_is_carried_out_once() {
    let run = Run::start();
    run.command("ops", "/disable east", 7).unwrap();
    run.say("/enable east");
    let again = run.command("ops", "/disable east", 7).unwrap();
    let used = "Alice (telegram 11) did this at 12:01 already.";
    assert_eq!((again.title.as_str(), again.tone), (used, Tone::Warning));
    // After a kill the chat's service tells what was not confirmed once more.
    let run = run.restart();
    let again = run.command("ops", "/disable east", 7).unwrap();
    assert_eq!(again.title, used);
    assert_eq!(run.state("east"), GateState::Open);
    run.command("ops", "/disable east", 8).unwrap();
    assert_eq!(run.state("east"), GateState::Closed);
}

#[test]
fn a_command_that_cannot_be_kept_is_not_carried_out() {
    let run = Run::start();
    *run.log.refuses.lock().unwrap() = true;
    let said = run.say("/disable east");
    assert!(said.title.contains("nothing was changed"), "{}", said.title);
    assert_eq!(run.state("east"), GateState::Open);
}

#[test]
fn an_operator_opens_what_an_alert_closed() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    assert_eq!(run.state("east"), GateState::Closed);
    assert_eq!(run.say("/enable east").title, "east is open again.");
    assert_eq!(run.state("east"), GateState::Open);
}

#[test]
fn silence_makes_one_of_rules_that_there_are() {
    let run = Run::start();
    let made = run.say("/silence Slow channel=east for 2h");
    assert!(
        made.title
            .starts_with("“Slow channel=east” is no name=value"),
        "{}",
        made.title
    );
    let made = run.say("/silence rule=Slow channel=e* for 2h known");
    assert_eq!(
        made.title,
        "Silenced until 14:01: rule=Slow channel=e* (0 firing now)."
    );
    let silences = run.silences();
    assert_eq!(silences.len(), 1);
    assert_eq!(
        (&*silences[0].created_by, &*silences[0].comment),
        (WHO, "known")
    );
    assert!(silences[0].matches(&alert("Slow", &[("channel", "east")]), None, LATER));

    let unknown = run.say("/silence Slwo for 2h");
    assert_eq!(unknown.title, "No rule is named “Slwo”. Did you mean Slow?");
    assert_eq!(run.silences().len(), 1);
    run.say("/silence rule=Later* for 2h");
    assert_eq!(run.silences().len(), 2);
    let done: Vec<bool> = run.kept().iter().map(|answer| answer.done).collect();
    assert_eq!(done, [false, true, false, false, false, true]);
}

#[test]
fn status_says_what_is_wrong_first() {
    let run = Run::start();
    let well = run.say("/status");
    assert_eq!(
        (well.title.as_str(), well.tone),
        ("All is well", Tone::Good)
    );
    run.spend("east", "k", NOON);
    let status = run.say("/status");
    assert_eq!(status.tone, Tone::Critical);
    let text = text(&status);
    for part in [
        "1 closed, 1 firing",
        "Channels: 1 of 2 closed",
        "east closed by the alert Spend{channel=\"east\",key=\"k\"} since 12:00 until",
        "Spend{channel=\"east\",key=\"k\"} critical since 12:00, $2.00 of $1.00",
        "Budgets",
        "No failure in 24 h.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(
        run.say_to("zh", "/status").title,
        "1 个渠道关闭，1 条告警触发"
    );
    // What asks only is not kept.
    assert_eq!(run.kept(), []);
}

#[test]
fn channels_lists_those_first_that_are_not_open() {
    let run = Run::start();
    run.say("/disable west");
    let channels = run.say("/channels");
    assert_eq!(channels.title, "Channels: 1 of 2 open");
    let text = text(&channels);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "west closed by Alice (telegram 11) since 12:01",
            "east open"
        ]
    );
}

#[test]
fn figures_come_out_of_the_ledger() {
    let run = Run::start();
    assert_eq!(run.say("/spend").title, "Today: $0.00");
    assert!(text(&run.say("/slow")).ends_with("No request yet."));
    for (n, key, model, cost, failed) in [
        (0, "a", "gpt-5", Some(3 * USD), false),
        (1, "b", "gpt-5-mini", Some(USD / 2), false),
        (2, "b", "own-model", None, true),
    ] {
        run.ledger
            .journal()
            .end(&request(n, key, model, cost, failed));
    }
    assert!(run.ledger.flush(PATIENCE));
    let spend = run.say("/spend today by key");
    assert_eq!(spend.title, "Today: $3.50 (and 1 request without a price)");
    let told = text(&spend);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[1], "3 requests, 1 failed, 3,000 tokens");
    assert!(lines[2].starts_with("a $3.00, 1 request"), "{told}");
    assert!(
        lines[3].starts_with("b $0.50 (and 1 request without a price), 2 requests"),
        "{told}"
    );

    let slow = text(&run.say("/slow 2"));
    let lines: Vec<&str> = slow.lines().collect();
    assert_eq!(lines.len(), 3, "{slow}");
    assert!(lines[1].starts_with("3 s own-model"), "{slow}");
    assert!(lines[1].contains("upstream_error"), "{slow}");

    let status = text(&run.say("/status"));
    assert!(status.contains("p95 of the last hour"), "{status}");
    assert!(status.contains("Last failures"), "{status}");
    let month = run.say_to("zh", "/spend month by model");
    assert!(
        month.title.starts_with("本月：$3.50") || month.title.starts_with("本月: $3.50"),
        "{}",
        month.title
    );
}

fn request(
    n: u64,
    key: &str,
    model: &str,
    cost_nanousd: Option<i64>,
    failed: bool,
) -> crate::record::RequestRecord {
    use crate::money::NanoUsd;
    use crate::record::{
        Admission, Cost, Outcome, Phase, Phases, RequestId, RequestRecord, Source, TokenType,
        Tokens, Units, Usage, UsageSource,
    };
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(1_000);
    let mut phases = Phases::default();
    phases[Phase::Total] = Some((n + 1) * 1_000_000);
    RequestRecord {
        admission: Admission {
            id: RequestId::generate_at(NOON),
            started_at: NOON,
            channel: Some("east".into()),
            key: Some(key.into()),
            api: Api::Chat,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            requested_model: Some(model.into()),
            stream: Some(false),
            request_bytes: 1,
            session: None,
            end_user: None,
            tags: std::collections::BTreeMap::new(),
            billable: true,
            worst: None,
            interrupted_cost: None,
        },
        served_model: Some(model.into()),
        service_tier: None,
        status: Some(if failed { 500 } else { 200 }),
        outcome: if failed {
            Outcome::UpstreamError
        } else {
            Outcome::Ok
        },
        error_source: None,
        error_code: None,
        error_message: failed.then(|| "<b>boom</b>".into()),
        attempts: Vec::new(),
        usage: Usage {
            tokens,
            units: Units::NONE,
            total: Some(1_000),
            source: UsageSource::Reported,
        },
        cost: cost_nanousd.map(|amount| Cost {
            amount: NanoUsd(amount),
            price_version: "test/1".into(),
        }),
        phases,
        response_bytes: 1,
        upstream_request_id: None,
        source: Source::Proxy,
        response_id: None,
        deferral: None,
        estimate: None,
        delivered_output_tokens: None,
        upstream_bytes: None,
        priced_at: None,
        assumed_cost: None,
    }
}

#[test]
fn what_is_malformed_says_what_to_write_and_changes_nothing() {
    let run = Run::start();
    for (written, part) in [
        ("/stats", "Did you mean /status?"),
        ("/disable", "/disable CHANNEL"),
        ("/disable east for ever", "“ever” is no length of time"),
        ("/silence Slow", "for 2h"),
        ("/spend by day", "by model|channel|key"),
    ] {
        let said = run.say(written);
        assert!(said.title.contains(part), "{written}: {}", said.title);
    }
    assert_eq!(run.state("east"), GateState::Open);
    assert_eq!(run.kept(), []);
    assert!(run.silences().is_empty());
    let help = text(&run.say("/help"));
    for command in [
        "/status",
        "/spend",
        "/channels",
        "/slow",
        "/disable",
        "/enable",
        "/silence",
    ] {
        assert!(help.contains(command), "{help}");
    }
    assert!(text(&run.say_to("zh", "/help")).starts_with("命令"));
    for written in ["hello", "/status@OtherBot", ""] {
        assert_eq!(run.command("ops", written, 1), None, "{written}");
    }
}
