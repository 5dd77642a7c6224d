//! Channels and what happened to them, as tables.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::amounts::{UNKNOWN, moment, name_or_unknown, shown, zone};
use super::output::Output;
use super::table::{Sheet, Tone};
use crate::admin::json::{ChannelEventJson, ChannelJson, CooldownJson, HoldJson, Moment};
use crate::clock::UnixMicros;
use crate::record::{GateReason, GateState, Owner};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Cooldowns of a channel that are shown; there may be one for each model.
const MOST_COOLDOWNS: usize = 3;

/// One row a channel, and one for each further hold or cooldown of it.
pub(super) fn channels(
    channels: &[ChannelJson],
    now: UnixMicros,
    timezone: &TimeZone,
    output: &Output,
) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column("name", false, 0);
    sheet.column("state", false, 0);
    sheet.column("why", false, 0);
    sheet.column(format!("until ({})", zone(timezone)), false, 1);
    sheet.column("in flight", true, 2);
    sheet.column("models", false, 3);
    let plain = |text: String| (text, Tone::Plain);
    for channel in channels {
        let mut lines = lines(channel, now, timezone).into_iter();
        let (first_why, first_until) = lines.next().unwrap_or_default();
        sheet.row([
            plain(name_or_unknown(Some(&channel.name))),
            (channel.state.to_string(), tone(channel.state)),
            plain(first_why),
            plain(first_until),
            plain(in_flight(channel)),
            plain(models(channel)),
        ]);
        for (why, until) in lines {
            let [name, state, in_flight, models] = std::array::from_fn(|_| plain(String::new()));
            sheet.row([name, state, plain(why), plain(until), in_flight, models]);
        }
    }
    sheet.render()
}

/// One row an event.
pub(super) fn events(events: &[ChannelEventJson], timezone: &TimeZone, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column(format!("at ({})", zone(timezone)), false, 0);
    sheet.column("channel", false, 0);
    sheet.column("owner", false, 0);
    sheet.column("hold", false, 0);
    sheet.column("channel is", false, 2);
    sheet.column("reason", false, 1);
    sheet.column("until", false, 3);
    sheet.column("who", false, 4);
    sheet.column("note", false, 0);
    for event in events {
        let plain = |text: String| (text, Tone::Plain);
        let until = event.until;
        let until = until.map_or_else(String::new, |until| moment(until.0, timezone));
        // A hold that ended is no state of its own.
        let hold = match event.hold {
            GateState::Open => "ended".to_owned(),
            hold => hold.to_string(),
        };
        sheet.row([
            plain(moment(event.at.0, timezone)),
            plain(name_or_unknown(Some(&event.channel))),
            plain(name_or_unknown(Some(&event.owner))),
            (hold, tone(event.hold)),
            (event.state.to_string(), tone(event.state)),
            plain(event.reason.to_string()),
            plain(until),
            plain(or_nothing(event.who.as_deref())),
            plain(or_nothing(event.note.as_deref())),
        ]);
    }
    sheet.render()
}

/// Until when a channel that is closed is so, as the end of a sentence.
pub(super) fn longest(channel: &ChannelJson, now: UnixMicros, timezone: &TimeZone) -> String {
    let ends: Option<Vec<Moment>> = channel.holds.iter().map(|hold| hold.until).collect();
    match ends.and_then(|ends| ends.into_iter().max()) {
        Some(end) => format!(
            "until {} {} ({})",
            moment(end.0, timezone),
            zone(timezone),
            ahead(end.0, now)
        ),
        None => "until it is enabled".to_owned(),
    }
}

fn tone(state: GateState) -> Tone {
    match state {
        GateState::Open => Tone::Plain,
        GateState::Probing => Tone::Doubtful,
        GateState::Closed => Tone::Bad,
    }
}

/// Why requests do not go to a channel, and until when.
fn lines(channel: &ChannelJson, now: UnixMicros, timezone: &TimeZone) -> Vec<(String, String)> {
    let holds = channel.holds.iter();
    let mut lines: Vec<_> = holds
        .map(|hold| (why(hold), until(hold, now, timezone)))
        .collect();
    let cooldowns = channel.cooldowns.iter().take(MOST_COOLDOWNS);
    lines.extend(cooldowns.map(|cooldown| (limited(cooldown), at(cooldown.until, now, timezone))));
    let more = channel.cooldowns.len().saturating_sub(MOST_COOLDOWNS);
    if more > 0 {
        lines.push((format!("{more} more models rate limited"), String::new()));
    }
    lines
}

fn limited(cooldown: &CooldownJson) -> String {
    match &cooldown.model {
        Some(model) => format!("rate limited for {}", name_or_unknown(Some(model))),
        None => "rate limited".to_owned(),
    }
}

fn at(end: Moment, now: UnixMicros, timezone: &TimeZone) -> String {
    format!("{} ({})", moment(end.0, timezone), ahead(end.0, now))
}

/// Whose hold it is, why, and what they say of it.
fn why(hold: &HoldJson) -> String {
    let mut text = shown(&hold.owner).into_owned();
    if let Some(who) = &hold.who {
        text.push(' ');
        text.push_str(&shown(who));
    }
    // What the owner says already.
    if !matches!(hold.reason, GateReason::Operator | GateReason::Alert) {
        text.push_str(", ");
        text.push_str(hold.reason.as_str());
    }
    if let Some(note) = &hold.note {
        text.push_str(": ");
        text.push_str(&shown(note));
    }
    text
}

fn until(hold: &HoldJson, now: UnixMicros, timezone: &TimeZone) -> String {
    let Some(until) = hold.until else {
        return "by hand".to_owned();
    };
    let until = at(until, now, timezone);
    // The breaker's hold does not end by itself: then a request finds out.
    if hold.owner == Owner::Breaker.to_string() {
        format!("probe {until}")
    } else {
        until
    }
}

/// How far ahead a moment is, as exactly as matters: `in 42s`, `in 1h 5m`, `in 3days 4h`.
fn ahead(moment: UnixMicros, now: UnixMicros) -> String {
    in_so_long(moment.since(now))
}

/// The same of how long it is until then.
pub(super) fn in_so_long(left: Duration) -> String {
    let left = left.as_secs();
    let exact_to = match left {
        0 => return "now".to_owned(),
        1..HOUR => 1,
        HOUR..DAY => MINUTE,
        _ => HOUR,
    };
    let left = Duration::from_secs(left / exact_to * exact_to);
    format!("in {}", humantime::format_duration(left))
}

fn in_flight(channel: &ChannelJson) -> String {
    let running = channel
        .in_flight
        .map_or_else(|| UNKNOWN.to_owned(), |running| running.to_string());
    match channel.max_in_flight {
        None => running,
        Some(most) => format!("{running} of {most}"),
    }
}

fn models(channel: &ChannelJson) -> String {
    match &channel.models {
        None => "all".to_owned(),
        Some(models) => name_or_unknown(Some(&models.join(", "))),
    }
}

fn or_nothing(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| shown(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Closing, GateStatus, Hold};
    use crate::config::{BaseUrl, ChannelSettings, ModelPattern};

    const NOW: UnixMicros = UnixMicros(1_795_168_800_000_000); // 2026-11-20T10:00:00Z

    fn hold(owner: Owner, reason: GateReason, seconds: Option<u64>) -> Hold {
        Hold {
            since: NOW,
            state: GateState::Closed,
            closing: Closing {
                owner,
                reason,
                until: seconds.map(|seconds| NOW.plus(Duration::from_secs(seconds))),
                who: None,
                note: None,
            },
        }
    }

    fn channel(name: &str, holds: Vec<Hold>) -> ChannelJson {
        let settings = ChannelSettings {
            name: name.into(),
            models: Some(vec![ModelPattern::new("gpt-5*"), ModelPattern::new("o4")]),
            max_in_flight: Some(10),
            ..ChannelSettings::openai(BaseUrl::openai())
        };
        let state = if holds.is_empty() {
            GateState::Open
        } else {
            GateState::Closed
        };
        let gate = GateStatus {
            state,
            holds,
            in_flight: 3,
            next_probe: None,
            cooling: Vec::new(),
        };
        ChannelJson::new(&settings, gate, Some(crate::meter::KnownLimits::default()))
    }

    #[test]
    fn a_closed_channel_says_who_why_and_until_when() {
        let mut by_operator = hold(Owner::Operator, GateReason::Operator, Some(3_599));
        by_operator.closing.who = Some("alice".into());
        by_operator.closing.note = Some("new\x1b[2Jkey".into());
        let by_alert = Owner::Alert("Spend".into());
        let cooldown = |n: u64| CooldownJson {
            model: (n > 0).then(|| format!("gpt-{n}")),
            until: Moment(NOW.plus(Duration::from_secs(n))),
        };
        let all = [
            channel("east", Vec::new()),
            ChannelJson {
                cooldowns: (0..5).map(cooldown).collect(),
                ..channel("north", Vec::new())
            },
            channel(
                "west",
                vec![
                    by_operator,
                    hold(Owner::Breaker, GateReason::Failures, Some(5)),
                    hold(by_alert, GateReason::Alert, Some(8 * 3_600 + 61)),
                ],
            ),
            ChannelJson {
                models: None,
                max_in_flight: None,
                in_flight: None,
                ..channel(
                    "south",
                    vec![hold(Owner::Breaker, GateReason::BadCredential, None)],
                )
            },
        ];
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let text = channels(&all, NOW, &berlin, &Output::plain(None));
        insta::assert_snapshot!(text, @r"
            name   state   why                         until (Europe/Berlin)              in flight  models
            east   open                                                                     3 of 10  gpt-5*, o4
            north  open    rate limited                2026-11-20 11:00:00 (now)            3 of 10  gpt-5*, o4
                           rate limited for gpt-1      2026-11-20 11:00:01 (in 1s)
                           rate limited for gpt-2      2026-11-20 11:00:02 (in 2s)
                           2 more models rate limited
            west   closed  operator alice: new�[2Jkey  2026-11-20 11:59:59 (in 59m 59s)     3 of 10  gpt-5*, o4
                           breaker, failures           probe 2026-11-20 11:00:05 (in 5s)
                           alert:Spend                 2026-11-20 19:01:01 (in 8h 1m)
            south  closed  breaker, bad_credential     by hand                                    –  all
        ");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_longest_hold_counts() {
        let both = channel(
            "a",
            vec![
                hold(Owner::Operator, GateReason::Operator, Some(60)),
                hold(Owner::Alert("Spend".into()), GateReason::Alert, Some(30)),
            ],
        );
        let until = longest(&both, NOW, &TimeZone::UTC);
        assert_eq!(until, "until 2026-11-20 10:01:00 UTC (in 1m)");
        let endless = channel("a", vec![hold(Owner::Operator, GateReason::Operator, None)]);
        assert_eq!(
            longest(&endless, NOW, &TimeZone::UTC),
            "until it is enabled"
        );
    }

    #[test]
    fn what_is_far_ahead_is_not_told_to_the_second() {
        for (seconds, text) in [
            (0, "now"),
            (42, "in 42s"),
            (90, "in 1m 30s"),
            (3_661, "in 1h 1m"),
            (90_061, "in 1day 1h"),
        ] {
            let at = NOW.plus(Duration::from_secs(seconds));
            assert_eq!(ahead(at, NOW), text);
        }
    }
}
