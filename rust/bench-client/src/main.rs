//! A small iSCSI initiator that measures a target: the same client for every contender.
//!
//! Debian has no initiator in user space that writes at random addresses at depth. This one does
//! little beside that, so that a shared machine's processors go to the target under test: blocking
//! sockets, one thread a session, no digests, no error recovery. One JSON object is printed.

mod connection;
mod measure;
mod options;
mod pdu;
mod plan;

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match options::Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("error: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match measure::run(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
