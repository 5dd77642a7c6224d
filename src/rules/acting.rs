//! What an alert's change sets off: the one place where decisions become deeds.

use std::sync::Arc;

use smallvec::SmallVec;

use super::definition::{Action, Recovery, Until};
use super::hands::{Closed, Closure, Hands};
use super::machine::{Change, Machine};
use super::series::{Cell, Due, Series};
use crate::alert::{ActionTaken, AlertEvent, AlertState, Mode};
use crate::clock::UnixMicros;

impl Series {
    /// Looks at the window and does what follows.
    pub(super) fn judge(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        let reading = self.read(cell, now);
        let observation = self.observation(cell, &reading, now);
        let was_acting = cell.is_acting();
        if let Some(change) = cell.machine.step(now, observation, &self.conditions) {
            self.follow(cell, hands, was_acting, now);
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

    /// Begins and ends what belongs to the critical limit, as the alert has changed.
    fn follow(&self, cell: &mut Cell, hands: &dyn Hands, was_acting: bool, now: UnixMicros) {
        let acts = cell.is_acting();
        if was_acting && !acts {
            self.end(cell, hands, now);
        }
        if acts && !was_acting {
            self.begin(cell, hands, now);
        } else if !acts && cell.machine.is_firing() {
            cell.actions = self.told();
        }
    }

    /// Takes over an alert as an earlier run left it. Gates are restored by themselves.
    pub(super) fn restore(&self, cell: &mut Cell, event: &AlertEvent) {
        cell.machine = Machine::restore(event);
        cell.actions.clone_from(&event.actions);
        cell.due.clear();
        if !cell.is_acting() || self.rule.mode != Mode::Enforce {
            return;
        }
        // One for each action of the rule, in its order: another number is that of another rule.
        let taken = event.actions.iter().zip(&self.rule.actions).enumerate();
        for (index, (taken, action)) in taken {
            let Action::DisableChannel { until, .. } = action else {
                continue;
            };
            let at = match until {
                _ if !taken.done => Some(event.at),
                Until::For(_) => taken.until,
                _ => None,
            };
            cell.due.extend(at.map(|at| Due { action: index, at }));
        }
    }

    /// Whether what `event` says was done is what this rule does.
    pub(super) fn has_done(&self, event: &AlertEvent) -> bool {
        let closes = |taken: &ActionTaken| &*taken.action == DISABLE && taken.done;
        let has_closed = event.actions.iter().any(closes);
        let would_close = self.rule.mode == Mode::Enforce && self.rule.closes();
        !has_closed || would_close
    }

    /// Goes on under the conditions of its rule as it is now, which may have been edited.
    pub(super) fn settle_in(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        let was_acting = cell.is_acting();
        if let Some(change) = cell.machine.adopt(&self.conditions) {
            self.follow(cell, hands, was_acting, now);
            let actions = cell.actions.clone();
            let alert = self.alert.clone();
            hands.changed(&change.event(now, alert, &self.rule, None, None, actions));
        }
    }

    /// The rule is gone, or is another: what it did is undone.
    pub(super) fn retire(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        if cell.is_acting() {
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
        let actions = self.rule.actions.iter();
        actions.filter_map(|action| self.tell(action)).collect()
    }

    fn tell(&self, action: &Action) -> Option<ActionTaken> {
        let Action::Notify(receivers) = action else {
            return None;
        };
        Some(ActionTaken {
            action: "notify".into(),
            done: self.rule.mode != Mode::Shadow,
            until: None,
            detail: receivers.join(", ").into(),
        })
    }

    /// The critical limit is passed.
    fn begin(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        cell.due.clear();
        cell.actions.clear();
        for index in 0..self.rule.actions.len() {
            let taken = self.act(cell, index, hands, now);
            cell.actions.extend(taken);
        }
    }

    /// It goes on: does again what could not be done before, or was done for a time.
    fn go_on(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        if !cell.due.iter().any(|due| due.at <= now) {
            return;
        }
        let (due, later) = std::mem::take(&mut cell.due)
            .into_iter()
            .partition(|due| due.at <= now);
        cell.due = later;
        let due: SmallVec<[Due; 1]> = due;
        let mut is_news = false;
        for Due { action, .. } in due {
            let Some(taken) = self.act(cell, action, hands, now) else {
                continue;
            };
            if cell.actions.len() != self.rule.actions.len() {
                // An earlier run's, under another rule.
                cell.actions.retain(|known| &*known.action != DISABLE);
                cell.actions.push(taken);
                is_news = true;
            } else if let Some(known) = cell.actions.get_mut(action) {
                // A closing that is still withheld is no news.
                is_news |= *known != taken;
                *known = taken;
            }
        }
        if is_news {
            let value = self.read(cell, now).value;
            let same = Change {
                before: cell.machine,
                after: cell.machine,
            };
            let event = same.event(
                now,
                self.alert.clone(),
                &self.rule,
                value,
                cell.window.bounds(now).until,
                cell.actions.clone(),
            );
            hands.changed(&AlertEvent {
                told: true,
                ..event
            });
        }
    }

    /// It acts no more.
    fn end(&self, cell: &mut Cell, hands: &dyn Hands, now: UnixMicros) {
        cell.due.clear();
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

    /// Does an action of the rule, or says what it would do.
    fn act(
        &self,
        cell: &mut Cell,
        index: usize,
        hands: &dyn Hands,
        now: UnixMicros,
    ) -> Option<ActionTaken> {
        match self.rule.actions.get(index)? {
            action @ Action::Notify(_) => self.tell(action),
            Action::Block { status, .. } => Some(self.block(cell, *status, now)),
            action @ Action::DisableChannel { .. } => self.close(cell, index, action, hands, now),
        }
    }

    fn block(&self, cell: &Cell, status: u16, now: UnixMicros) -> ActionTaken {
        let enforced = self.rule.mode == Mode::Enforce;
        let until = cell.window.bounds(now).until;
        let what = if enforced { "refuses" } else { "would refuse" };
        ActionTaken {
            action: BLOCK.into(),
            done: enforced,
            until,
            detail: until_text(&format!("{what} requests with {status}"), until),
        }
    }

    /// Closes the action's channel.
    fn close(
        &self,
        cell: &mut Cell,
        index: usize,
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
            until: ends.filter(|_| done),
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
        let again = |at| Due { action: index, at };
        Some(match hands.close(&closure, now) {
            Closed::Done => {
                let for_a_time = ends.filter(|_| matches!(until, Until::For(_)));
                cell.due.extend(for_a_time.map(again));
                taken(
                    true,
                    until_text(&format!("closed the channel `{channel}`"), ends),
                )
            }
            Closed::LastOf(model) => {
                cell.due.push(again(now));
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
