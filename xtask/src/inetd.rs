//! Servers that are handed one connection on their standard input: when the process has ended, so has the connection, and
//! its processor time is the server's share of it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::Result;

use crate::measure::{Measured, Usage};

/// Waits for one connection, in the background, and runs the server for it; gives what that used.
pub(crate) fn serve_one(
    listener: &TcpListener,
    server: (Measured, Command),
) -> Result<JoinHandle<Result<Usage>>> {
    serve(listener, vec![server])
}

/// Waits for as many connections as there are servers, and runs one for each; gives what they used together.
pub(crate) fn serve(
    listener: &TcpListener,
    servers: Vec<(Measured, Command)>,
) -> Result<JoinHandle<Result<Usage>>> {
    let listener = listener.try_clone()?;
    Ok(thread::spawn(move || {
        let mut running = Vec::new();
        for (measured, mut command) in servers {
            let (connection, _) = listener.accept()?;
            let connection = OwnedFd::from(connection);
            command.stdin(Stdio::from(connection.try_clone()?));
            command.stdout(Stdio::from(connection));
            running.push((measured, command.spawn()?));
        }
        let mut sum = Usage::default();
        for (measured, mut server) in running {
            server.wait()?;
            sum = sum.with(measured.usage()?);
        }
        Ok(sum)
    }))
}
