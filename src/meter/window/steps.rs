//! Sums by step of time, of those steps in which there was anything.

use std::collections::VecDeque;

use super::Sums;

/// Room for so many steps is not given back.
const ROOMY: usize = 64;

/// One step: 24 bytes, as there may be thousands. It counts up to 4.2 billion requests.
#[derive(Clone, Copy, Debug)]
struct Step {
    start: i64,
    sum: i64,
    count: u32,
    hits: u32,
}

/// By start, in Unix microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(VecDeque<Step>);

impl Steps {
    /// The place of the step that begins at `start`, and whether it is a new one.
    pub(super) fn place(&mut self, start: i64) -> (usize, bool) {
        // Nearly every request is one for the last step.
        let place = match self.0.back() {
            Some(last) if last.start == start => return (self.0.len() - 1, false),
            Some(last) if last.start > start => self.0.partition_point(|step| step.start < start),
            _ => self.0.len(),
        };
        if self.0.get(place).is_some_and(|step| step.start == start) {
            return (place, false);
        }
        let empty = Step {
            start,
            sum: 0,
            count: 0,
            hits: 0,
        };
        self.0.insert(place, empty);
        (place, true)
    }

    /// Adds to the step at `place`. What this made of the step is told, as a step's own sums are
    /// narrower: before and after.
    pub(super) fn add(&mut self, place: usize, sums: &Sums) -> Option<(Sums, Sums)> {
        let step = self.0.get_mut(place)?;
        let before = step.sums();
        step.sum = step.sum.saturating_add(sums.sum);
        step.count = narrow(before.count.saturating_add(sums.count));
        step.hits = narrow(before.hits.saturating_add(sums.hits));
        Some((before, step.sums()))
    }

    /// Takes out the first step if it begins before `start`.
    pub(super) fn take_before(&mut self, start: i64) -> Option<Sums> {
        self.0.front().filter(|step| step.start < start)?;
        self.0.pop_front().map(|step| step.sums())
    }

    /// Gives back memory that a busier time needed.
    pub(super) fn shrink(&mut self) {
        let (used, held) = (self.0.len(), self.0.capacity());
        if held > ROOMY && used < held / 4 {
            self.0.shrink_to(used * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sums of the steps that begin in `[since, until)`.
    pub(super) fn between(&self, since: i64, until: i64) -> Sums {
        let first = self.0.partition_point(|step| step.start < since);
        let within = self.0.range(first..);
        let within = within.take_while(|step| step.start < until);
        within.fold(Sums::default(), |all, step| all.plus(step.sums()))
    }
}

impl Step {
    fn sums(&self) -> Sums {
        Sums {
            sum: self.sum,
            count: u64::from(self.count),
            hits: u64::from(self.hits),
        }
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_24_bytes_and_an_idle_window_gives_them_back() {
        assert_eq!(size_of::<Step>(), 24);
        let mut steps = Steps::default();
        for start in 0..10_000 {
            steps.place(start);
        }
        while steps.take_before(9_990).is_some() {}
        steps.shrink();
        assert_eq!(steps.len(), 10);
        assert!(steps.0.capacity() <= ROOMY, "{}", steps.0.capacity());
    }
}
