//! `cargo xtask COMMAND`: the checks that are longer than one command.

mod control;
mod peers;
mod targets;

use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result =
        match args.next().as_deref() {
            Some("peers") => peers::run(args),
            Some("targets") => targets::run(args),
            _ => Err(format!("usage: cargo xtask COMMAND\n\n{}\n{}", peers::USAGE, targets::USAGE)
                .into()),
        };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
