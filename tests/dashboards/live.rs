//! Every question of every dashboard, asked of a Tollgate under load and of a Prometheus that scrapes it.

use crate::boards::{self, assert_none};
use crate::stack::Stack;
use crate::support::clients;
use crate::{answers, metrics, reference, sql};

#[test]
fn every_question_is_answered_with_data() {
    if clients::left_out() {
        return;
    }
    let (stack, boards) = (Stack::start(), boards::all());
    let mut wrong = metrics::check(&stack, &boards);
    wrong.extend(metrics::check_odd_name(&stack, &boards));
    wrong.extend(answers::check(&stack, &boards));
    wrong.extend(sql::check(&stack, &boards));
    assert_none(&wrong);
    reference::check(&stack);
}
