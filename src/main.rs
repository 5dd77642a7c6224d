//! Tollgate, the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollgate::cli::main_with_args(std::env::args_os(), |_, _, _| ExitCode::FAILURE)
}
