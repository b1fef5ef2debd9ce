//! The `defrost` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    defrost::cli::run()
}
