//! The `ringfork` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfork::run(std::env::args_os(), &|name| std::env::var_os(name))
}
