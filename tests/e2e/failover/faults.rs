//! Tries that fail in ways of their own: what the next one is, and what the ledger says of them.

use super::{DEAD, chat, two};
use crate::support::answers;
use crate::support::upstream::{Step, Upstream};

/// An answer with an error is an answer: there is nothing to bill.
#[test]
fn an_error_that_was_answered_costs_nothing() {
    let first = Upstream::always(answers::error("500 Broken", "server_error", "a"));
    let tollgate = two(&first.base_url(), DEAD).start();
    let response = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(response.status, 502, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "connect_error");
    assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
}

/// A channel that had the request and said nothing may bill it.
#[test]
fn a_silence_may_have_cost_something() {
    let first = Upstream::always(vec![Step::Reset]);
    let tollgate = two(&first.base_url(), DEAD).start();
    let response = tollgate.send(&chat("gpt-5-mini"));
    assert_eq!(response.status, 502, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
}
