//! The test card's client: shows a [`lumen_testcard::card::Card`] full-screen on Wayland or X11 and logs the input that
//! it gets; or reads the block and the bars of a decoded picture.
#![deny(unsafe_code)]

mod args;
mod buffers;
mod client;
mod decode;
mod log;
mod pace;
mod seat;
mod show;
#[allow(unsafe_code, reason = "shared memory with the compositor is mapped here and only here")]
mod sys;
mod tablet;
mod typing;
mod x11;

use args::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match args::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            Ok(())
        }
        Ok(Command::Show(options)) => show::run(&options),
        Ok(Command::Decode(options)) => decode::run(&options),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testcard: {error:#}");
            ExitCode::FAILURE
        }
    }
}
