//! Where a value is wrong: `side`, `warning`, `critical`, `clear`, `budget`.

use super::measure::Measure;
use super::words::word;
use crate::alert::Unit;
use crate::config::{Place, Reader, Refusal, Section, quantity};
use crate::rules::{Metric, Side, Stat};

/// A share of 100 %, in thousandths.
const WHOLE: u32 = 1_000;
/// Ten times, in thousandths.
const TEN_TIMES: u32 = 10_000;

/// The limits of a rule.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) side: Side,
    pub(super) warning: Option<i64>,
    pub(super) critical: Option<i64>,
    pub(super) clear_permille: u32,
    pub(super) budget: Option<i64>,
}

/// Reads the limits. Without a measure their unit is not known: they are passed over.
pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    measure: Option<&Measure>,
) -> Option<Limits> {
    let mut side = None;
    section.set(reader, "side", &mut side, word(Side::ALL, Side::as_str));
    let Some(measure) = measure else {
        for key in ["warning", "critical", "clear", "budget"] {
            section.ask(reader, key);
        }
        return None;
    };
    let usual = if measure.is_wrong_below() {
        Side::Below
    } else {
        Side::Above
    };
    let mut limits = Limits {
        side: side.unwrap_or(usual),
        warning: None,
        critical: None,
        clear_permille: WHOLE,
        budget: None,
    };
    for (key, target) in [
        ("warning", &mut limits.warning),
        ("critical", &mut limits.critical),
    ] {
        section.set(reader, key, target, |text| limit(text, measure).map(Some));
    }
    order(section, reader, &limits);
    let side = limits.side;
    section.set(reader, "clear", &mut limits.clear_permille, |text| {
        clear(text, side)
    });
    budget(section, reader, measure, &mut limits.budget);
    Some(limits)
}

fn limit(text: &str, measure: &Measure) -> Result<i64, Refusal> {
    let limit = quantity(measure.unit())(text)?;
    if measure.unit() == Unit::Ratio && limit > Unit::Ratio.scale() {
        return Err(Refusal::new(
            "is more than there is",
            "write a share up to `100%`",
        ));
    }
    Ok(limit)
}

/// That there is a limit, and that the warning comes before the critical one.
fn order(section: &Section<'_>, reader: &mut Reader<'_>, limits: &Limits) {
    if !section.has("warning") && !section.has("critical") {
        let place = section.place.clone().unwrap_or(Place::Default);
        let hint = Some("write `warning`, `critical` or both");
        reader.problem(
            &place,
            &section.key("critical"),
            "the rule has no limit",
            hint,
        );
        return;
    }
    let (Some(warning), Some(critical)) = (limits.warning, limits.critical) else {
        return;
    };
    let (in_order, beyond) = match limits.side {
        Side::Above => (warning < critical, "below"),
        Side::Below => (warning > critical, "above"),
    };
    if !in_order {
        let place = section.place_of(reader, "warning");
        let place = place.unwrap_or(Place::Default);
        let message = "the warning does not come before the critical limit";
        let hint = format!(
            "a value is wrong `{}` its limits: write a warning {beyond} the critical limit, or one of the two",
            limits.side
        );
        reader.problem(&place, &section.key("warning"), message, Some(&hint));
    }
}

/// Thousandths of the limit.
fn clear(text: &str, side: Side) -> Result<u32, Refusal> {
    let (range, remedy) = match side {
        Side::Above => (
            1..=WHOLE,
            "write at most `100%` of the limit, as `90%`: firing ends when the value is below that",
        ),
        Side::Below => (
            WHOLE..=TEN_TIMES,
            "write at least `100%` of the limit, as `120%`: firing ends when the value is above that",
        ),
    };
    let share =
        quantity(Unit::Ratio)(text).map_err(|refusal| Refusal::new(refusal.reason, remedy))?;
    // Millionths.
    let permille = u32::try_from(share / 1_000).ok();
    permille
        .filter(|permille| share % 1_000 == 0 && range.contains(permille))
        .ok_or_else(|| Refusal::new("is not in range", remedy))
}

/// Reads `budget`: what `time_left` is the time to.
fn budget(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    measure: &Measure,
    budget: &mut Option<i64>,
) {
    let unit = measure.metric.unit();
    let wanted = measure.stat == Stat::TimeLeft;
    section.set(reader, "budget", budget, |text| {
        if !wanted {
            return Err(Refusal::new(
                format!("is nothing that a `{}` goes by", measure.stat),
                "write it with `stat: time_left`; the limit of any other is `critical`",
            ));
        }
        quantity(unit)(text).map(Some)
    });
    if wanted && !section.has("budget") {
        let place = section.place_of(reader, "stat");
        let place = place.or(section.place.clone()).unwrap_or(Place::Default);
        let hint = match measure.metric {
            Metric::Cost => "write what is used up, as `budget: 100 USD`",
            Metric::Requests => "write what is used up, as `budget: 1000 requests`",
            _ => "write what is used up, as `budget: 10M tokens`",
        };
        let message = "is missing: nobody knows until when time is left";
        reader.problem(&place, &section.key("budget"), message, Some(hint));
    }
}
