//! `tollgate notify test`.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::alert::{AlertEvent, AlertState, NotificationKind};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::question::wait;
use crate::clock::UnixMicros;
use crate::config::{Language, ReceiverSettings, Settings};
use crate::ledger::query::AlertEventFilter;
use crate::ledger::{QueryError, Reader};
use crate::notify::content::rehearsal::{alert_of, event_of};
use crate::notify::content::{Content, Rendering, Templates, render, sample};
use crate::notify::{Delivered, Delivery, Message, receiver_on_trial};
use crate::rules::{KnownNames, Rule, load};

/// `tollgate notify test`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The receiver, by its name in `receivers`.
    #[arg(value_name = "RECEIVER")]
    receiver: String,
    /// What this rule's alert says: its last event, or where it has none an event made up from the rule.
    #[arg(long, value_name = "NAME", conflicts_with = "kind")]
    alert: Option<String>,
    /// What to send a sample of.
    #[arg(long, value_enum, default_value_t = Kind::Alert)]
    kind: Kind,
    /// Only show what would be sent.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// An alert.
    Alert,
    /// A channel that closed.
    Channel,
    /// A digest.
    Digest,
}

impl From<Kind> for NotificationKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Alert => Self::Alert,
            Kind::Channel => Self::Channel,
            Kind::Digest => Self::Digest,
        }
    }
}

/// Shows what a receiver is sent, sends it, and says what it answered.
pub(super) fn test(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let chosen = receiver_named(&arguments.receiver, settings)?;
    let templates = Templates::of(chosen, &settings.notify.templates).map_err(Failure::Settings)?;
    let receiver = receiver_on_trial(chosen)
        .map_err(|error| Failure::Usage(format!("the receiver `{}`: {error}", chosen.name)))?;
    let content = match &arguments.alert {
        Some(name) => alert_named(name, settings, now, output)?,
        // There is one of each kind.
        None => sample::contents(arguments.kind.into(), now).swap_remove(0),
    };
    let rendering = Rendering {
        language: chosen.language,
        timezone: &chosen.timezone,
        templates: &templates,
        now,
    };
    let message = marked(render(&content, &rendering));
    let contents = [content];
    let delivery = Delivery {
        contents: &contents,
        message: &message,
    };
    let preview = receiver.preview(delivery);
    output.text(&format!("{}\n", preview.trim_end()))?;
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let delivered = wait(async { Ok(receiver.send(delivery).await) })?;
    output.text(&format!("\n{}\n", answer(&chosen.name, &delivered)))?;
    Ok(match delivered {
        Delivered::Sent { .. } => ExitCode::SUCCESS,
        Delivered::Again { .. } | Delivered::GiveUp { .. } => ExitCode::FAILURE,
    })
}

/// So that nobody takes it for what happened.
fn marked(mut message: Message) -> Message {
    message.title = match message.language {
        Language::En => format!("Test: {}", message.title),
        Language::Zh => format!("测试：{}", message.title),
    };
    message
}

/// What a receiver answered, in words.
fn answer(name: &str, delivered: &Delivered) -> String {
    match delivered {
        Delivered::Sent { reference: None } => format!("sent: `{name}` took it"),
        Delivered::Sent {
            reference: Some(reference),
        } => format!("sent: `{name}` took it and calls it {reference}"),
        Delivered::Again {
            after,
            reason,
            detail,
        } => {
            let after = after.map_or_else(String::new, |after| {
                format!(
                    ", not before {} from now",
                    humantime::format_duration(after)
                )
            });
            format!("not taken now ({reason}): {detail}; the sidecar would try again{after}")
        }
        Delivered::GiveUp { reason, detail } => {
            format!("refused ({reason}): {detail}; the sidecar would give it up")
        }
    }
}

fn receiver_named<'s>(name: &str, settings: &'s Settings) -> Result<&'s ReceiverSettings, Failure> {
    let receivers = &settings.notify.receivers;
    let found = receivers.iter().find(|known| *known.name == *name);
    found.ok_or_else(|| {
        let names: Vec<&str> = receivers.iter().map(|known| &*known.name).collect();
        none_named("receiver", name, &names, "the settings have no `receivers`")
    })
}

/// The last event of a rule's alerts, or one as it would be.
fn alert_named(
    name: &str,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<Content, Failure> {
    let loaded = load(&settings.rules, &settings.timezone, &KnownNames::default())
        .map_err(Failure::Settings)?;
    let rules = &loaded.set.rules;
    let Some(rule) = rules.iter().find(|rule| *rule.name == *name) else {
        let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
        return Err(none_named(
            "rule",
            name,
            &names,
            "the settings have no `rules`",
        ));
    };
    let event = if let Some(event) = last_event(rule, settings)? {
        event
    } else {
        output.note(&format!(
            "`{name}` has not fired yet: the values are made up"
        ));
        let channel = settings.channels.first();
        event_of(rule, channel.map_or("sample", |channel| &channel.name), now)
    };
    Ok(Content::Alerts(sample::one_alert(
        alert_of(rule, event),
        now,
    )))
}

/// The last event that people were to be told of; rather one that fires than one that is over.
fn last_event(rule: &Rule, settings: &Settings) -> Result<Option<AlertEvent>, Failure> {
    let reader = match Reader::open(&settings.data_dir) {
        Ok(reader) => reader,
        Err(QueryError::NoLedger { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let filter = AlertEventFilter {
        rule: Some(rule.name.to_string()),
        ..AlertEventFilter::default()
    };
    let page = reader.alert_events(&filter)?;
    let mut told: Vec<AlertEvent> = page.events.into_iter().filter(|event| event.told).collect();
    let fires = told
        .iter()
        .position(|event| event.state == AlertState::Firing);
    Ok(match fires {
        Some(at) => Some(told.swap_remove(at)),
        None => told.into_iter().next(),
    })
}

/// That there is none of a name, and which may be meant.
fn none_named(what: &str, name: &str, known: &[&str], none: &str) -> Failure {
    if known.is_empty() {
        return Failure::Usage(format!("there is no {what} `{name}`: {none}"));
    }
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3));
    let hint = match near {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Failure::Usage(format!("there is no {what} `{name}`; {hint}"))
}
