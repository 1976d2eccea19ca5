//! A command for each connection.

use std::process::Stdio;
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::environment;
use crate::connection::{Connection, ConnectionError};
use crate::handler::{Handler, HandlerError};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// How long a command may be silent once its peer has said all. Over TCP nothing tells a peer that
/// still listens from one that is gone.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Bytes of output in a message.
const PIECE: usize = 16 * 1024;

/// Runs a command of the shell for each connection, its standard input and output on the connection.
///
/// The command finds `PACKHORSE_PEER`, `PACKHORSE_LOCAL`, `PACKHORSE_KIND` and `PACKHORSE_NUMBER` in
/// its environment. Each message is written to it as it is; what it writes is sent as it comes. When the
/// connection ends, its whole process group is killed.
#[derive(Debug)]
pub struct Exec {
    command: String,
}

impl Exec {
    /// Runs `command` with `/bin/sh -c`.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
        }
    }

    fn start(&self, connection: &Connection) -> std::io::Result<Child> {
        Command::new("/bin/sh")
            .arg("-c")
            .arg(&self.command)
            .envs(environment(connection))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

impl Handler for Exec {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let failed = |error| HandlerError::own(format!("cannot run the command: {error}"));
        let mut child = self.start(connection).map_err(failed)?;
        let group = Group::of(&child);
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(HandlerError::own("the command has no input or output"));
        };
        let (receiver, sender) = connection.split_mut();
        let said_all = tokio::sync::Notify::new();
        let into = async {
            let outcome = into_command(receiver, stdin).await;
            said_all.notify_one();
            match outcome {
                Ok(()) => std::future::pending().await,
                Err(error) => Err(error),
            }
        };
        let outcome: Result<(), ConnectionError> = tokio::select! {
            outcome = into => outcome,
            outcome = out_of_command(stdout, sender, &said_all) => outcome,
        };
        drop(group);
        // Reaped here, so that nothing stays in the process table.
        let _ = child.wait().await;
        Ok(outcome?)
    }
}

/// Ends when the peer says no more. A command that does not read its input is no reason to stop.
async fn into_command(
    receiver: &mut Receiver,
    mut stdin: ChildStdin,
) -> Result<(), ConnectionError> {
    let mut reads = true;
    while let Some(message) = receiver.receive().await? {
        reads = reads && stdin.write_all(&message.payload).await.is_ok();
    }
    Ok(())
}

/// Ends when the command says no more, or has said nothing for a while after the peer was done.
async fn out_of_command(
    mut stdout: ChildStdout,
    sender: &mut Sender,
    said_all: &tokio::sync::Notify,
) -> Result<(), ConnectionError> {
    let mut waiting = None;
    loop {
        let mut output = BytesMut::with_capacity(PIECE);
        let length = match waiting {
            None => tokio::select! {
                length = stdout.read_buf(&mut output) => length?,
                () = said_all.notified() => {
                    waiting = Some(AFTERMATH);
                    continue;
                }
            },
            Some(aftermath) => {
                match tokio::time::timeout(aftermath, stdout.read_buf(&mut output)).await {
                    Ok(length) => length?,
                    Err(_) => return Ok(()),
                }
            }
        };
        if length == 0 {
            return Ok(());
        }
        sender.send(output.freeze()).await?;
    }
}

/// A process group that is killed when this is dropped, whatever became of its first process.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already: nobody is left to be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
