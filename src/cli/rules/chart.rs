//! A chart of columns in the terminal, with the limits as lines across.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::backtest_table::value;
use crate::cli::output::Output;
use crate::rules::backtest::Course;
use crate::rules::{Rule, Side};

/// Lines of a chart.
const ROWS: i64 = 10;
/// Steps within a line.
const STEPS: i64 = 8;
/// A line's steps, from nothing to all.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a chart is drawn with.
struct Ink {
    blocks: [char; 9],
    limit: char,
    axis: char,
}

const DRAWN: Ink = Ink {
    blocks: BLOCKS,
    limit: '─',
    axis: '│',
};

/// For files and terminals without colours.
const PLAIN: Ink = Ink {
    blocks: [' ', '.', '.', '.', '#', '#', '#', '#', '#'],
    limit: '-',
    axis: '|',
};

/// Draws a course against its rule's limits; `ends` are the first and the last moment, in words.
pub(super) fn draw(
    course: &Course,
    rule: &Rule,
    ends: &(String, String),
    output: &Output,
) -> String {
    let ink = if output.is_styled() { DRAWN } else { PLAIN };
    let limits = [rule.warning, rule.critical];
    let values = course.columns.iter().copied().flatten();
    let top = values
        .chain(limits.into_iter().flatten())
        .max()
        .unwrap_or(0)
        .max(1);
    let heights: Vec<Option<i64>> = course
        .columns
        .iter()
        .map(|value| value.map(|value| height(value, top)))
        .collect();
    let limit_rows: Vec<(i64, i64)> = limits
        .into_iter()
        .flatten()
        .map(|limit| (row_of(limit, top), limit))
        .collect();
    let label = |row: i64| {
        let at_limit = limit_rows.iter().rev().find(|(of, _)| *of == row);
        match at_limit {
            Some(&(_, limit)) => value(rule.quantity(limit)),
            None if row == ROWS - 1 => value(rule.quantity(top)),
            None if row == 0 => "0".to_owned(),
            None => String::new(),
        }
    };
    let width = (0..ROWS)
        .map(|row| label(row).chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let is_limit = limit_rows.iter().any(|(of, _)| *of == row);
        // Writing to a String does not fail.
        let _ = write!(text, "{:>width$} {}", label(row), ink.axis);
        for (height, value) in heights.iter().zip(&course.columns) {
            let steps = height.map_or(0, |height| (height - row * STEPS).clamp(0, STEPS));
            let block = usize::try_from(steps)
                .ok()
                .and_then(|steps| ink.blocks.get(steps));
            match block {
                Some(' ') | None if is_limit => text.push(ink.limit),
                Some(&block) => {
                    text.push_str(&output.paint(style(rule, *value), &block.to_string()));
                }
                None => text.push(' '),
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    let (first, last) = ends;
    let room = course.columns.len().saturating_sub(first.chars().count());
    let _ = writeln!(text, "{:width$}  {first}{last:>room$}", "");
    text
}

/// Steps of a column; what is more than nothing is seen.
fn height(value: i64, top: i64) -> i64 {
    if value <= 0 {
        return 0;
    }
    let steps = i128::from(value) * i128::from(ROWS * STEPS) / i128::from(top);
    i64::try_from(steps)
        .unwrap_or(ROWS * STEPS)
        .clamp(1, ROWS * STEPS)
}

/// The line in which the top of a column of this value is.
fn row_of(value: i64, top: i64) -> i64 {
    (height(value, top) - 1).max(0) / STEPS
}

/// A column beyond a limit stands out.
fn style(rule: &Rule, value: Option<i64>) -> Style {
    let beyond = |limit: Option<i64>| {
        limit
            .zip(value)
            .is_some_and(|(limit, value)| match rule.side {
                Side::Above => value >= limit,
                Side::Below => value <= limit,
            })
    };
    let color = if beyond(rule.critical) {
        AnsiColor::Red
    } else if beyond(rule.warning) {
        AnsiColor::Yellow
    } else {
        return Style::new();
    };
    Style::new().fg_color(Some(color.into()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::alert::Labels;
    use crate::rules::{KnownNames, parse};

    fn drawn(rule: &str, values: &[Option<i64>], output: &Output) -> String {
        let text = format!("groups: [{{name: g, rules: [{{alert: A, window: 1h, {rule}}}]}}]");
        let known = KnownNames::default();
        let rules = parse(Path::new("rules.yaml"), &text, &TimeZone::UTC, &known).unwrap();
        let course = Course {
            labels: Labels::default(),
            peak: 0,
            columns: values.to_vec(),
        };
        let ends = ("from".to_owned(), "to".to_owned());
        draw(&course, &rules.set.rules[0], &ends, output)
    }

    #[test]
    fn columns_stand_beneath_their_limits_and_the_unknown_is_empty() {
        let values = [0, 1, 100, 400, 800].map(|tokens| Some(tokens * 1_000));
        let values = [&values[..], &[None, None]].concat();
        let rule = "metric: tokens, warning: 400k tokens, critical: 1M tokens";
        let expected = "\
1000000 tokens |-------
               |
               |    #
               |    #
               |    #
               |    #
 400000 tokens |---##--
               |   ##
               |   ##
             0 | .###
                from to
";
        assert_eq!(drawn(rule, &values, &Output::plain(None)), expected);
    }

    #[test]
    fn a_terminal_has_finer_columns_in_colours() {
        let rule = "metric: requests, side: below, warning: 80 requests, critical: 10 requests";
        let values = [Some(100), Some(75), Some(5)];
        let chart = drawn(rule, &values, &Output::styled());
        let yellow = "\u{1b}[33m▄\u{1b}[0m";
        let red = "\u{1b}[31m▄\u{1b}[0m";
        assert!(chart.contains(&format!("│█{yellow}─\n")), "{chart}");
        assert!(chart.contains(&format!("█\u{1b}[0m{red}\n")), "{chart}");
    }
}
