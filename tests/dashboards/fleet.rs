//! Several Tollgates on one dashboard: what is said of a budget is the worst of them, and of one and the same.

use std::fmt::Write as _;

use crate::boards::{self, PROMETHEUS};
use crate::marks::promtool;
use crate::metrics::filled;

/// Of the first instance 10 are left and used up at 1 a minute; of the second 80, at 2 a minute.
const BUDGETS: &str = "rule_files: []
tests:
- interval: 1m
  input_series:
  - {series: 'tollgate_budget_limit{instance=\"a\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '100x40'}
  - {series: 'tollgate_budget_limit{instance=\"b\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '100x40'}
  - {series: 'tollgate_budget_used{instance=\"a\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '50+1x40'}
  - {series: 'tollgate_budget_used{instance=\"b\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '-60+2x40'}
  - {series: 'tollgate_budget_remaining{instance=\"a\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '50-1x40'}
  - {series: 'tollgate_budget_remaining{instance=\"b\", rule=\"r\", scope=\"all\", unit=\"usd\"}', values: '160-2x40'}
  promql_expr_test:
";

#[test]
fn what_is_left_of_a_budget_is_that_of_the_worst() {
    let boards = boards::all();
    let mut cases = BUDGETS.to_owned();
    let mut count = 0;
    for target in boards.iter().flat_map(|board| board.targets(PROMETHEUS)) {
        if !target.expr().contains("tollgate_budget_remaining") {
            continue;
        }
        count += 1;
        let expr = filled(target.expr(), target.panel.board).replace('\'', "''");
        // Ten minutes, in seconds, as the first instance has it; or what it has left.
        let value = if expr.contains("deriv") { 600 } else { 10 };
        writeln!(
            cases,
            "  - {{expr: 'sum(round({expr}, 0.001))', eval_time: 40m, exp_samples: [{{labels: '{{}}', value: {value}}}]}}"
        )
        .unwrap();
    }
    let told = promtool(&cases);
    assert!(told.is_ok(), "{}", told.unwrap_err());
    assert!(count >= 3, "{count} questions about what is left");
}
