//! When digests are told, and of what time: each period once, by the clocks of a zone.

use std::sync::Arc;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan, Zoned};

use crate::clock::UnixMicros;
use crate::config::{DigestSchedule, DigestSettings};

/// A digest that was due while nobody was there to tell it is told this much later at most.
const LATE: Duration = Duration::from_secs(12 * 60 * 60);

/// Digests are told 1 to this many seconds after their moment, each always the same: whole and half
/// hours are when everybody's robots speak, and Feishu refuses some of them.
const MOST_SECONDS_AFTER: u32 = 20;

/// Days that are looked at around a moment: a week and what a clock's change can move.
const DAYS_AROUND: i64 = 9;

/// How far back the moment before is looked for, in turn: an expression that means the 29th of
/// February rests for eight years around 2100.
const HOURS_BACK: [u64; 6] = [1, 26, 8 * 24, 32 * 24, 366 * 24, 9 * 366 * 24];

/// Changes of a zone's clocks behind which an expression's next moment is looked for.
const MOST_CHANGES: usize = 3;

/// Why a digest's expression says no moments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the digest `{name}` is told at no time: `{expression}` {reason}")]
pub struct BadSchedule {
    /// The digest.
    pub name: Arc<str>,
    /// Its expression.
    pub expression: Arc<str>,
    /// What is wrong with it.
    pub reason: String,
}

/// What time a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// From.
    pub since: UnixMicros,
    /// To, exclusive.
    pub until: UnixMicros,
    /// Where the time begins that it is compared with, which ends where it begins.
    pub before: UnixMicros,
}

/// When a digest is told.
#[derive(Clone, Debug)]
pub struct Schedule {
    name: Arc<str>,
    when: When,
    timezone: TimeZone,
    /// How much after its moments it is told.
    after: Duration,
}

#[derive(Clone, Debug)]
enum When {
    /// On each day, or on one of the week.
    Days { weekday: Option<Weekday>, at: Time },
    /// As an expression says.
    Cron(Box<Cron>),
}

impl Schedule {
    /// The schedule of a digest. Fails where its expression cannot be read, or means no moment at all.
    pub fn new(settings: &DigestSettings) -> Result<Self, BadSchedule> {
        let when = match &settings.schedule {
            DigestSchedule::Daily(at) => When::Days {
                weekday: None,
                at: *at,
            },
            DigestSchedule::Weekly(weekday, at) => When::Days {
                weekday: Some(*weekday),
                at: *at,
            },
            DigestSchedule::Cron(expression) => {
                let refused = |reason: String| BadSchedule {
                    name: Arc::clone(&settings.name),
                    expression: Arc::clone(expression),
                    reason,
                };
                let parser = CronParser::builder()
                    .seconds(Seconds::Disallowed)
                    .year(Year::Disallowed)
                    .build();
                let cron = parser.parse(expression);
                let cron = cron.map_err(|error| refused(format!("cannot be read: {error}")))?;
                if occurrence(&cron, &Zoned::default()).is_none() {
                    return Err(refused("means no day there is".to_owned()));
                }
                When::Cron(Box::new(cron))
            }
        };
        let spread = crc32fast::hash(settings.name.as_bytes()) % MOST_SECONDS_AFTER;
        Ok(Self {
            name: Arc::clone(&settings.name),
            when,
            timezone: settings.timezone.clone(),
            after: Duration::from_secs(u64::from(spread) + 1),
        })
    }

    /// The first moment after `t`.
    #[must_use]
    pub fn next_after(&self, t: UnixMicros) -> Option<UnixMicros> {
        match &self.when {
            When::Days { .. } => {
                let mut days = self.days_around(t);
                days.find_map(|(_, at)| (at > t).then_some(at))
            }
            When::Cron(cron) => {
                let from = t.timestamp().to_zoned(self.timezone.clone());
                let next = occurrence(cron, &from)?;
                Some(next.timestamp().into())
            }
        }
    }

    /// The last moment at `t` or before.
    #[must_use]
    pub fn last_at(&self, t: UnixMicros) -> Option<UnixMicros> {
        match &self.when {
            When::Days { .. } => {
                let days = self.days_around(t).map(|(_, at)| at);
                days.take_while(|&at| at <= t).last()
            }
            When::Cron(_) => {
                // Found by going forward, as the next one is: what one of them knows of a clock's
                // change, the other must know as well.
                HOURS_BACK.into_iter().find_map(|hours| {
                    let from = t.minus(Duration::from_secs(hours * 3_600));
                    let moments =
                        std::iter::successors(self.next_after(from), |&at| self.next_after(at));
                    moments.take_while(|&at| at <= t).last()
                })
            }
        }
    }

    /// What time is told of at a moment of the schedule: the calendar day before, the seven days before,
    /// or the time since the moment before. Of any other moment, that of the last before it.
    #[must_use]
    pub fn period_ending(&self, at: UnixMicros) -> Option<Period> {
        let at = self.last_at(at)?;
        match &self.when {
            When::Days { weekday, .. } => {
                // The first of them: a day that a zone left out has its moment on the day after.
                let (day, _) = self.days_around(at).find(|(_, moment)| *moment == at)?;
                let length = if weekday.is_some() { 7 } else { 1 };
                let begin = |days: i64| {
                    let date = day.checked_sub(days.days()).ok()?;
                    self.begin_of(date)
                };
                Some(Period {
                    since: begin(length)?,
                    until: begin(0)?,
                    before: begin(2 * length)?,
                })
            }
            When::Cron(_) => {
                let since = self.last_at(at.minus(Duration::from_micros(1)))?;
                Some(Period {
                    since,
                    until: at,
                    before: since.minus(at.since(since)),
                })
            }
        }
    }

    /// The period that is to be told by `now`, where one is: the last whose time has come, not more than
    /// twelve hours ago. Whoever asks knows by its [group](Self::group) whether it was told already.
    #[must_use]
    pub fn due(&self, now: UnixMicros) -> Option<Period> {
        self.due_at(now).map(|(_, period)| period)
    }

    /// The same, with the moment that it is told of.
    pub(in crate::dispatch) fn due_at(&self, now: UnixMicros) -> Option<(UnixMicros, Period)> {
        let at = self.last_at(now.minus(self.after))?;
        let period = self.period_ending(at)?;
        (now.since(at) <= LATE).then_some((at, period))
    }

    /// When the next digest is to be told after `now`.
    #[must_use]
    pub fn next_due(&self, now: UnixMicros) -> Option<UnixMicros> {
        let at = self.next_after(now.minus(self.after))?;
        Some(at.plus(self.after))
    }

    /// What a period's digest is known by: there is one of it for each receiver.
    #[must_use]
    pub fn group(&self, period: &Period) -> Arc<str> {
        format!("digest/{}/{}", self.name, period.until.timestamp()).into()
    }

    /// Whether a group is one of its own.
    pub(in crate::dispatch) fn is_of(&self, group: &str) -> bool {
        let name = group.strip_prefix("digest/");
        let name = name.and_then(|rest| rest.rsplit_once('/'));
        name.is_some_and(|(name, _)| *name == *self.name)
    }

    /// The days around a moment, in order, with the moment of each.
    fn days_around(&self, t: UnixMicros) -> impl Iterator<Item = (Date, UnixMicros)> + '_ {
        let today = t.timestamp().to_zoned(self.timezone.clone()).date();
        let days = (-DAYS_AROUND..=DAYS_AROUND).filter_map(move |days| {
            let span = Span::new().try_days(days).ok()?;
            today.checked_add(span).ok()
        });
        let When::Days { weekday, at } = self.when else {
            // No caller asks.
            return None.into_iter().flatten();
        };
        let days = days.filter(move |day| weekday.is_none_or(|wanted| day.weekday() == wanted));
        Some(days.filter_map(move |day| Some((day, self.moment(day, at)?))))
            .into_iter()
            .flatten()
    }

    /// When clocks show `at` on a day: the first time where they do so twice, and as much later as they
    /// were put forward where they never do.
    fn moment(&self, day: Date, at: Time) -> Option<UnixMicros> {
        let moment = day.to_datetime(at).to_zoned(self.timezone.clone()).ok()?;
        Some(moment.timestamp().into())
    }

    fn begin_of(&self, day: Date) -> Option<UnixMicros> {
        self.moment(day, Time::midnight())
    }
}

/// The first moment of an expression after another.
fn occurrence(cron: &Cron, from: &Zoned) -> Option<Zoned> {
    cron.find_next_occurrence(from, false).ok().or_else(|| {
        // A moment in a day that a zone left out is an error, and not passed over. What comes next
        // comes once clocks were put forward.
        let zone = from.time_zone();
        let changes = zone.following(from.timestamp()).take(MOST_CHANGES);
        let mut begins = changes.map(|change| change.timestamp().to_zoned(zone.clone()));
        begins.find_map(|begin| cron.find_next_occurrence(&begin, true).ok())
    })
}
