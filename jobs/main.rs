//! `scorehouse <job>`: parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    scorehouse::allocator::configure();
    scorehouse::cli::main()
}
