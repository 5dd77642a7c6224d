//! `tollgate rules test`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::Problems;
use crate::rules::testing::{TestFile, TestResult, load};

/// `tollgate rules test`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files of tests; each names the rule files it is about.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs the tests of the files, once every file is found sound.
pub(super) fn test(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut sound: Vec<TestFile> = Vec::new();
    let mut problems = Vec::new();
    for file in &arguments.files {
        match load(file) {
            Ok(tests) => sound.push(tests),
            Err(found) => problems.extend(found.0),
        }
    }
    if !problems.is_empty() {
        // A rule file that several test files name is told once.
        problems.sort_by(|left, right| left.place.cmp(&right.place));
        problems.dedup();
        return Err(Failure::Settings(Problems(problems)));
    }
    let (mut passed, mut failed) = (0, 0);
    for file in &sound {
        for result in file.run() {
            if result.failures.is_empty() {
                passed += 1;
            } else {
                failed += 1;
            }
            output.text(&told(file, &result, output))?;
        }
    }
    let plural = if passed + failed == 1 { "" } else { "s" };
    if failed == 0 {
        output.text(&format!("{passed} test{plural} passed\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = passed + failed;
    output.text(&format!("{failed} of {all} test{plural} failed\n"))?;
    Ok(ExitCode::FAILURE)
}

fn told(file: &TestFile, result: &TestResult, output: &Output) -> String {
    let (word, color) = if result.failures.is_empty() {
        ("ok    ", AnsiColor::Green)
    } else {
        ("FAILED", AnsiColor::Red)
    };
    let word = output.paint(Style::new().fg_color(Some(color.into())), word);
    let mut text = format!("{word}  {}: {}\n", file.file.display(), result.name);
    for failure in &result.failures {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {failure}");
    }
    text
}
