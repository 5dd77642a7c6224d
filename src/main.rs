//! Tollgate, the program.

use std::process::ExitCode;

use tollgate::app::{self, Ready, RunOptions};
use tollgate::config::Loaded;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::main_with_args(std::env::args_os(), run)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the command line gives the settings away: nothing else is left of it while this runs"
)]
fn run(loaded: Loaded, options: RunOptions, on_ready: &(dyn Fn(Ready) + Sync)) -> ExitCode {
    match app::run(&loaded, options, on_ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            last_words(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "the last words of a process that cannot run"
)]
fn last_words(error: &app::RunError) {
    eprintln!("tollgate: {error}");
}
