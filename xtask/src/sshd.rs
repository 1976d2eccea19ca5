//! An OpenSSH server for one benchmark: own keys, own configuration, no daemon.
//!
//! It listens itself and hands each connection to an `sshd -i`, so the end of that process is the end
//! of the connection, and its processor time is the server's share of it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};

use crate::inetd;
use crate::measure::{Measured, Usage};
use crate::run::{find_program, printed, run, succeeds};
use crate::tools::is_root;

/// A listening port, and the keys that fit.
pub(crate) struct Sshd {
    listener: TcpListener,
    directory: PathBuf,
    sshd: PathBuf,
    user: String,
}

impl Sshd {
    /// Makes keys and configuration in `directory`; who logs in finds `programs` in the search path.
    pub(crate) fn new(directory: PathBuf, listener: TcpListener, programs: &Path) -> Result<Self> {
        let sshd = find_program("sshd").context("no sshd: install openssh-server")?;
        fs::create_dir_all(&directory)?;
        for key in ["host_key", "user_key"] {
            printed(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(directory.join(key)),
            )?;
        }
        fs::write(
            directory.join("sshd_config"),
            configuration(&directory, programs),
        )?;
        let host_key = fs::read_to_string(directory.join("host_key.pub"))?;
        fs::write(directory.join("known_hosts"), format!("bench {host_key}"))?;
        if is_root() {
            prepare_privilege_separation()?;
        }
        Ok(Self {
            listener,
            directory,
            sshd,
            user: printed(Command::new("id").arg("-un"))?,
        })
    }

    /// Serves so many connections, in the background; gives what the server used for them.
    pub(crate) fn serve(
        &self,
        connections: usize,
        report: &Path,
    ) -> Result<JoinHandle<Result<Usage>>> {
        let server = |number: usize| {
            let report = report.with_extension(format!("{number}.time"));
            let (measured, mut command) = Measured::new(&self.sshd, report);
            command
                .args(["-i", "-f"])
                .arg(self.directory.join("sshd_config"))
                .arg("-E")
                .arg(self.directory.join("sshd.log"));
            (measured, command)
        };
        inetd::serve(&self.listener, (0..connections).map(server).collect())
    }

    /// Arguments for `scp` and `ssh` that lead here and nowhere else; `port` is what they call that option.
    pub(crate) fn client_arguments(&self, port: &str) -> Result<Vec<String>> {
        let address = self.listener.local_addr()?;
        let text = |path: PathBuf| path.display().to_string();
        let options = [
            "HostKeyAlias=bench".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            format!(
                "UserKnownHostsFile={}",
                text(self.directory.join("known_hosts"))
            ),
        ];
        let mut arguments = vec!["-F".to_owned(), "none".to_owned()];
        arguments.extend([port.to_owned(), address.port().to_string()]);
        arguments.extend(["-i".to_owned(), text(self.directory.join("user_key"))]);
        arguments.extend(
            options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option]),
        );
        Ok(arguments)
    }

    /// How `ssh` names the other end.
    pub(crate) fn host(&self) -> Result<String> {
        Ok(format!(
            "{}@{}",
            self.user,
            self.listener.local_addr()?.ip()
        ))
    }

    /// How `scp` and `rsync` name a path at the other end.
    pub(crate) fn remote(&self, path: &Path) -> Result<String> {
        Ok(format!("{}:{}", self.host()?, path.display()))
    }

    /// Fails with what the server logged.
    pub(crate) fn check(&self, client_succeeded: bool) -> Result<()> {
        let log = fs::read_to_string(self.directory.join("sshd.log")).unwrap_or_default();
        ensure!(
            client_succeeded,
            "the client failed; the server's log:\n{log}"
        );
        Ok(())
    }
}

/// What an `sshd` that root starts looks for: a directory and an account of its own (sshd(8), FILES). The
/// package makes both, but the directory is gone after a start of the machine without the service, and
/// the account where `/etc/passwd` was put back to an older state.
fn prepare_privilege_separation() -> Result<()> {
    fs::create_dir_all("/run/sshd").context("privilege separation needs /run/sshd")?;
    let account = "sshd";
    if !succeeds(Command::new("id").args(["-u", account])) {
        run(Command::new("useradd")
            .args(["--system", "--no-create-home", "--home-dir", "/run/sshd"])
            .args(["--shell", "/usr/sbin/nologin", account]))?;
    }
    Ok(())
}

fn configuration(directory: &Path, programs: &Path) -> String {
    let (directory, programs) = (directory.display(), programs.display());
    format!(
        "HostKey {directory}/host_key\n\
         AuthorizedKeysFile {directory}/user_key.pub\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM no\n\
         PasswordAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         SetEnv PATH={programs}:/usr/local/bin:/usr/bin:/bin\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n"
    )
}
