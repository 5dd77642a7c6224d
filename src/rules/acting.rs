//! What an alert's change sets off: the one place where decisions become deeds.

use std::sync::Arc;
use std::time::Duration;

use super::definition::{Action, Recovery, Until};
use super::hands::{Closed, Closure, Hands};
use super::machine::{Change, Machine};
use super::series::{Cell, Series};
use crate::alert::{ActionTaken, AlertEvent, AlertState, Mode};
use crate::clock::UnixMicros;

impl Series {
    /// Looks at the window and does what follows.
    pub(super) fn judge(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        let reading = self.read(cell, now);
        let observation = self.observation(cell, &reading, now);
        let was_acting = self.is_acting(cell);
        if let Some(change) = cell.machine.step(now, observation, &self.conditions) {
            let acts = self.is_acting(cell);
            if change.fires() {
                cell.actions = self.told();
            }
            if acts && !was_acting {
                self.begin(cell, hands, now);
            } else if was_acting && !acts {
                self.end(cell, hands, now);
            }
            hands.changed(&change.event(
                now,
                self.alert.clone(),
                &self.rule,
                reading.value,
                cell.window.bounds(now).until,
                cell.actions.clone(),
            ));
            if cell.machine.state() == AlertState::Inactive {
                cell.actions.clear();
            }
        } else if was_acting {
            self.go_on(cell, hands, now);
        }
    }

    /// Takes over an alert as an earlier run left it. Gates are restored by themselves.
    pub(super) fn restore(&self, cell: &mut Cell, event: &AlertEvent) {
        cell.machine = Machine::restore(event);
        cell.actions.clone_from(&event.actions);
        cell.withheld = self.is_acting(cell)
            && self.rule.mode == Mode::Enforce
            && event
                .actions
                .iter()
                .any(|taken| &*taken.action == DISABLE && !taken.done);
        cell.again_at = self.longest_closing().map(|length| event.at.plus(length));
    }

    /// For how long it closes channels, where it does so for a time.
    fn longest_closing(&self) -> Option<Duration> {
        let actions = self.rule.actions.iter();
        let lengths = actions.filter_map(|action| match action {
            Action::DisableChannel {
                until: Until::For(length),
                ..
            } => Some(*length),
            _ => None,
        });
        lengths.max()
    }

    /// Goes on under the conditions of its rule as it is now, which may have been edited.
    pub(super) fn settle_in(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        let was_acting = self.is_acting(cell);
        if let Some(change) = cell.machine.adopt(&self.conditions) {
            if was_acting && !self.is_acting(cell) {
                self.end(cell, hands, now);
            }
            let actions = cell.actions.clone();
            let alert = self.alert.clone();
            hands.changed(&change.event(now, alert, &self.rule, None, None, actions));
        }
    }

    /// The rule is gone, or is another: what it did is undone.
    pub(super) fn retire(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        if self.is_acting(cell) {
            self.end(cell, hands, now);
        }
        if let Some(change) = cell.machine.retire() {
            let actions = std::mem::take(&mut cell.actions);
            let alert = self.alert.clone();
            hands.changed(&change.event(now, alert, &self.rule, None, None, actions));
        }
    }

    /// Whom it tells.
    fn told(&self) -> Vec<ActionTaken> {
        let mut told = Vec::new();
        for action in &self.rule.actions {
            if let Action::Notify(receivers) = action {
                told.push(ActionTaken {
                    action: "notify".into(),
                    done: self.rule.mode != Mode::Shadow,
                    detail: receivers.join(", ").into(),
                });
            }
        }
        told
    }

    /// The critical limit is passed.
    fn begin(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        cell.actions.retain(|taken| &*taken.action == "notify");
        cell.withheld = false;
        cell.again_at = None;
        for action in &self.rule.actions {
            match action {
                Action::Notify(_) => {}
                Action::Block { status, .. } => {
                    let until = cell.window.bounds(now).until;
                    let done = self.rule.mode == Mode::Enforce;
                    let what = if done { "refuses" } else { "would refuse" };
                    cell.actions.push(ActionTaken {
                        action: BLOCK.into(),
                        done,
                        detail: until_text(&format!("{what} requests with {status}"), until),
                    });
                }
                Action::DisableChannel { .. } => {
                    let taken = self.close(cell, action, hands, now);
                    cell.actions.extend(taken);
                }
            }
        }
    }

    /// It goes on: closes what could not be closed before, and what was to be closed for a time.
    fn go_on(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        let again = cell.again_at.is_some_and(|at| at <= now);
        if !again && !cell.withheld {
            return;
        }
        let withheld = cell.withheld;
        cell.withheld = false;
        cell.again_at = None;
        let before = cell.actions.clone();
        cell.actions.retain(|taken| &*taken.action != DISABLE);
        for action in &self.rule.actions {
            let taken = self.close(cell, action, hands, now);
            cell.actions.extend(taken);
        }
        // A closing that is still withheld is no news.
        if again || (withheld && !cell.withheld) {
            let reading = self.read(cell, now);
            let same = Change {
                before: cell.machine,
                after: cell.machine,
            };
            let event = same.event(
                now,
                self.alert.clone(),
                &self.rule,
                reading.value,
                cell.window.bounds(now).until,
                cell.actions.clone(),
            );
            hands.changed(&AlertEvent {
                told: true,
                ..event
            });
        } else {
            cell.actions = before;
        }
    }

    /// It acts no more.
    fn end(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        cell.withheld = false;
        cell.again_at = None;
        if self.rule.mode != Mode::Enforce {
            return;
        }
        for action in &self.rule.actions {
            let Action::DisableChannel {
                channel,
                until: Until::WindowEnd | Until::Resolved,
                recovery,
                ..
            } = action
            else {
                continue;
            };
            if let Some(channel) = self.target(channel.as_ref()) {
                hands.reopen(&channel, &self.alert, *recovery, now);
            }
        }
    }

    /// Closes the action's channel, or says what it would do; nothing for other actions.
    fn close(
        &self,
        cell: &mut Cell,
        action: &Action,
        hands: &dyn Hands,
        now: UnixMicros,
    ) -> Option<ActionTaken> {
        let Action::DisableChannel {
            channel,
            until,
            recovery,
            allow_last,
        } = action
        else {
            return None;
        };
        let channel = self.target(channel.as_ref())?;
        let ends = match until {
            Until::WindowEnd => cell.window.bounds(now).until,
            Until::For(duration) => Some(now.plus(*duration)),
            Until::Resolved | Until::Manual => None,
        };
        let taken = |done: bool, detail: Arc<str>| ActionTaken {
            action: DISABLE.into(),
            done,
            detail,
        };
        if self.rule.mode != Mode::Enforce {
            let detail = until_text(&format!("would close the channel `{channel}`"), ends);
            return Some(taken(false, detail));
        }
        let closure = Closure {
            channel: Arc::clone(&channel),
            alert: self.alert.clone(),
            until: ends,
            recovery: *recovery,
            allow_last: *allow_last,
            note: self.note(cell, now),
        };
        let outcome = hands.close(&closure, now);
        if matches!(until, Until::For(_)) {
            cell.again_at = ends;
        }
        Some(match outcome {
            Closed::Done => taken(
                true,
                until_text(&format!("closed the channel `{channel}`"), ends),
            ),
            Closed::LastOf(model) => {
                cell.withheld = true;
                let what = if &*model == "*" {
                    String::new()
                } else {
                    format!(" of `{model}`")
                };
                let detail = format!(
                    "`{channel}` stays open: it is the last open channel{what} (allow_last: true \
                     closes it all the same)"
                );
                taken(false, detail.into())
            }
            Closed::NoSuchChannel => taken(
                false,
                format!("there is no channel named `{channel}`").into(),
            ),
        })
    }

    /// The channel of an action.
    fn target(&self, named: Option<&Arc<str>>) -> Option<Arc<str>> {
        let exact = self.rule.matcher.channel.as_ref();
        let exact = exact.filter(|pattern| pattern.is_exact());
        named
            .cloned()
            .or_else(|| self.alert.labels.get("channel").cloned())
            .or_else(|| exact.map(|pattern| Arc::from(pattern.as_str())))
    }

    /// Why a channel is closed, in words.
    fn note(&self, cell: &mut Cell, now: UnixMicros) -> Arc<str> {
        let value = self.read(cell, now).value;
        let (Some(value), Some(limit)) = (value, self.rule.critical) else {
            return self.alert.to_string().into();
        };
        let quantity = |value| self.rule.quantity(value);
        format!("{} at a limit of {}", quantity(value), quantity(limit)).into()
    }
}

const DISABLE: &str = "disable_channel";
const BLOCK: &str = "block";

fn until_text(what: &str, until: Option<UnixMicros>) -> Arc<str> {
    match until {
        Some(until) => format!("{what} until {until}").into(),
        None => what.into(),
    }
}

impl Recovery {
    /// Whether one request goes first.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Probe)
    }
}
