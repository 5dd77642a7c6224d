//! Rules: thresholds over the requests' own stream, which act before the next request is admitted.
//!
//! A request asks before it goes up ([`Rules::admit`]) and is taken in when it ends
//! ([`Rules::observe`]); a timer does what only time changes ([`Rules::tick`]). The engine knows
//! neither storage nor delivery: what it decides is carried out by [`Hands`], what happened before it
//! was there is told to it.

mod acting;
mod annotations;
pub mod backtest;
mod definition;
mod demand;
mod engine;
mod format;
mod generation;
mod hands;
mod holds;
mod kept;
mod machine;
mod measure;
mod plan;
mod preparation;
mod series;
pub mod testing;
#[cfg(test)]
mod tests;
mod trial;
mod view;

pub use crate::meter::window::{Calendar, CalendarUnit, Span, written};
pub use annotations::{AnnotationError, Occasion, render};
pub use definition::{
    Action, Dimension, Matcher, Metric, NoData, Recovery, Rule, RuleSet, Side, Stat, Unbounded,
    Until,
};
pub use demand::{Blocked, BlockedBy, Demand};
pub use engine::{Reservation, Rules};
pub use format::{KnownNames, LoadedRules, load, parse};
pub use hands::{Closed, Closure, Hands, NoHands};
pub use machine::{Change, Conditions, Machine, Observation};
pub use preparation::{HeldRequest, Needs, Preparation, TookTooLong};
pub use view::{AlertView, RuleView};
