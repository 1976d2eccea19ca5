//! Options on a socket: what was asked for, and what the kernel granted.

use std::io;
use std::time::Duration;

use socket2::TcpKeepalive;

use crate::endpoint::Kind;
use crate::options::{OptionName, Options, Role};
use crate::socket::{Family, Socket};

/// Connections that the kernel completes before they are accepted, where the endpoint does not say.
/// The kernel's own bound is the sysctl net.core.somaxconn.
pub const BACKLOG: u32 = 4096;

/// What becomes of a socket that does not get an option that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// It is not opened.
    Refuse,
    /// It is opened, and tells.
    Tell,
}

/// An option of a socket as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub option: OptionName,
    /// What was asked for, as the notation writes it; `None`: nothing.
    pub requested: Option<String>,
    /// What the kernel says is in force.
    pub granted: String,
    /// How the two relate.
    pub verdict: Verdict,
}

/// How what was granted relates to what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was asked for: this is the system's default.
    Default,
    /// As asked for.
    Granted,
    /// A buffer of twice the size: Linux keeps the other half for what it stores beside the data
    /// (socket(7), SO_SNDBUF).
    Doubled,
    /// A larger buffer: the kernel has a least size.
    Raised,
    /// Less than was asked for.
    Capped,
    /// Something else than was asked for.
    Ignored,
    /// The kernel said no.
    Refused,
    /// packhorse sees to it, and the kernel has no part in it.
    Ours,
}

impl Verdict {
    /// Whether who asked got what they asked for.
    #[must_use]
    pub fn is_good(self) -> bool {
        !matches!(self, Self::Capped | Self::Ignored | Self::Refused)
    }
}

/// Why a socket does not have an option that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel says no.
    #[error("the kernel refuses {option}={requested}")]
    Refused {
        /// The option.
        option: OptionName,
        /// What was asked for.
        requested: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel says yes and does something else.
    #[error("the kernel took {option}={requested} without a word and set {granted}")]
    NotGranted {
        /// The option.
        option: OptionName,
        /// What was asked for.
        requested: String,
        /// What is in force.
        granted: String,
    },
}

impl ApplyError {
    /// The option.
    #[must_use]
    pub fn option(&self) -> OptionName {
        match self {
            Self::Refused { option, .. } | Self::NotGranted { option, .. } => *option,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> String {
        let (option, denied) = match self {
            Self::Refused { option, source, .. } => {
                (*option, source.kind() == io::ErrorKind::PermissionDenied)
            }
            Self::NotGranted { option, .. } => (*option, false),
        };
        match option {
            OptionName::SndBuf => "raise the bound: sysctl net.core.wmem_max".into(),
            OptionName::RcvBuf => "raise the bound: sysctl net.core.rmem_max".into(),
            OptionName::Backlog => "raise the bound: sysctl net.core.somaxconn".into(),
            OptionName::Congestion => {
                "see what there is: sysctl net.ipv4.tcp_available_congestion_control".into()
            }
            OptionName::Mark if denied => {
                "marks need CAP_NET_ADMIN or CAP_NET_RAW: run it as root".into()
            }
            option => format!("leave '{option}' out, or choose another value"),
        }
    }
}

/// Options of the socket itself, in the order in which they are set and shown.
const ON_SOCKET: [OptionName; 12] = [
    OptionName::SndBuf,
    OptionName::RcvBuf,
    OptionName::ReuseAddr,
    OptionName::ReusePort,
    OptionName::NoDelay,
    OptionName::KeepAlive,
    OptionName::Congestion,
    OptionName::Ttl,
    OptionName::Tos,
    OptionName::Mark,
    OptionName::V6Only,
    OptionName::HdrIncl,
];

/// A socket with what it takes to know which options it has.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) kind: Kind,
    pub(crate) family: Family,
}

impl Subject<'_> {
    /// Asks for every option given, and looks whether it is in force. Gives those that are not.
    pub(crate) fn apply(
        self,
        options: &Options,
        unmet: Unmet,
    ) -> Result<Vec<ApplyError>, ApplyError> {
        let mut missed = Vec::new();
        for option in ON_SOCKET {
            match (self.demand(option, options), unmet) {
                (Ok(()), _) => {}
                (Err(error), Unmet::Tell) => missed.push(error),
                (Err(error), Unmet::Refuse) => return Err(error),
            }
        }
        Ok(missed)
    }

    /// Asks for one option, if it is given.
    fn demand(self, option: OptionName, options: &Options) -> Result<(), ApplyError> {
        let Some(requested) = options.value(option) else {
            return Ok(());
        };
        if let Err(source) = self.set(option, options) {
            return Err(ApplyError::Refused {
                option,
                requested,
                source,
            });
        }
        match self.setting(option, options) {
            Ok(Some(setting)) if !setting.verdict.is_good() => Err(ApplyError::NotGranted {
                option,
                requested,
                granted: match option {
                    OptionName::SndBuf | OptionName::RcvBuf => doubled(&setting.granted),
                    _ => setting.granted,
                },
            }),
            _ => Ok(()),
        }
    }

    fn setting(self, option: OptionName, options: &Options) -> io::Result<Option<Setting>> {
        if !self.has(option) {
            return Ok(None);
        }
        let granted = self.get(option)?;
        let requested = options.value(option);
        let verdict = match (option, &requested) {
            (_, None) => Verdict::Default,
            (OptionName::SndBuf, Some(_)) => buffer_verdict(options.sndbuf, &granted),
            (OptionName::RcvBuf, Some(_)) => buffer_verdict(options.rcvbuf, &granted),
            (_, Some(requested)) if *requested == granted => Verdict::Granted,
            (_, Some(_)) => Verdict::Ignored,
        };
        Ok(Some(Setting {
            option,
            requested,
            granted,
            verdict,
        }))
    }

    fn has(self, option: OptionName) -> bool {
        let on_ipv6 = self.family == Family::Ipv6;
        option.useless_for(self.kind).is_none()
            && (option != OptionName::V6Only || on_ipv6)
            && (option != OptionName::HdrIncl || !on_ipv6)
    }

    fn set(self, option: OptionName, options: &Options) -> io::Result<()> {
        let socket = self.socket.options();
        let size =
            |size: Option<u32>| usize::try_from(size.unwrap_or_default()).unwrap_or(usize::MAX);
        match option {
            OptionName::SndBuf => socket.set_send_buffer_size(size(options.sndbuf)),
            OptionName::RcvBuf => socket.set_recv_buffer_size(size(options.rcvbuf)),
            OptionName::ReuseAddr => socket.set_reuse_address(options.reuseaddr == Some(true)),
            OptionName::ReusePort => socket.set_reuse_port(options.reuseport == Some(true)),
            OptionName::NoDelay => socket.set_tcp_nodelay(options.nodelay == Some(true)),
            OptionName::KeepAlive => {
                let time = options.keepalive.unwrap_or(Duration::from_secs(1));
                let keepalive = TcpKeepalive::new().with_time(time).with_interval(time);
                socket.set_tcp_keepalive(&keepalive)
            }
            OptionName::Congestion => {
                let name = options.congestion.as_deref().unwrap_or_default();
                socket.set_tcp_congestion(name.as_bytes())
            }
            OptionName::Ttl => self.set_ttl(options.ttl.unwrap_or_default().into()),
            OptionName::Tos => self.set_tos(options.tos.unwrap_or_default().into()),
            OptionName::Mark => socket.set_mark(options.mark.unwrap_or_default()),
            OptionName::V6Only => match self.family {
                Family::Ipv6 => socket.set_only_v6(options.v6only == Some(true)),
                Family::Ipv4 | Family::Unix => Err(not_ipv6()),
            },
            OptionName::HdrIncl => match self.family {
                Family::Ipv4 => socket.set_header_included_v4(options.hdrincl == Some(true)),
                Family::Ipv6 | Family::Unix => Err(io::Error::other("only IPv4 has it")),
            },
            _ => Ok(()),
        }
    }

    fn set_ttl(self, hops: u32) -> io::Result<()> {
        let socket = self.socket.options();
        if self.family != Family::Ipv6 {
            return socket.set_ttl_v4(hops);
        }
        socket.set_unicast_hops_v6(hops)?;
        // A dual-stack socket speaks IPv4 as well; a raw one never does.
        match self.kind {
            Kind::Raw | Kind::Icmp => Ok(()),
            _ => socket.set_ttl_v4(hops),
        }
    }

    fn set_tos(self, class: u32) -> io::Result<()> {
        let socket = self.socket.options();
        if self.family != Family::Ipv6 {
            return socket.set_tos_v4(class);
        }
        socket.set_tclass_v6(class)?;
        match self.kind {
            Kind::Raw | Kind::Icmp => Ok(()),
            _ => socket.set_tos_v4(class),
        }
    }

    fn get(self, option: OptionName) -> io::Result<String> {
        let socket = self.socket.options();
        let on_ipv6 = self.family == Family::Ipv6;
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        Ok(match option {
            OptionName::SndBuf => socket.send_buffer_size()?.to_string(),
            OptionName::RcvBuf => socket.recv_buffer_size()?.to_string(),
            OptionName::ReuseAddr => switch(socket.reuse_address()?),
            OptionName::ReusePort => switch(socket.reuse_port()?),
            OptionName::NoDelay => switch(socket.tcp_nodelay()?),
            OptionName::KeepAlive if !socket.keepalive()? => "off".into(),
            OptionName::KeepAlive => {
                let time = humantime::format_duration(socket.tcp_keepalive_time()?);
                time.to_string().replace(' ', "")
            }
            OptionName::Congestion => {
                let name = socket.tcp_congestion()?;
                let end = name.iter().position(|&byte| byte == 0);
                String::from_utf8_lossy(&name[..end.unwrap_or(name.len())]).into_owned()
            }
            OptionName::Ttl if on_ipv6 => socket.unicast_hops_v6()?.to_string(),
            OptionName::Ttl => socket.ttl_v4()?.to_string(),
            OptionName::Tos if on_ipv6 => socket.tclass_v6()?.to_string(),
            OptionName::Tos => socket.tos_v4()?.to_string(),
            OptionName::Mark => socket.mark()?.to_string(),
            OptionName::V6Only => switch(socket.only_v6()?),
            OptionName::HdrIncl => switch(socket.header_included_v4()?),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        })
    }
}

/// Every option that a socket has, as it is, in the order of the documentation, and every one that was
/// asked for.
pub(crate) fn settings(
    subject: Subject<'_>,
    role: Role,
    options: &Options,
    unmet: &[ApplyError],
) -> Vec<Setting> {
    let all = OptionName::all();
    let mut settings: Vec<Setting> = all
        .filter_map(|option| match subject.setting(option, options) {
            Ok(Some(setting)) => Some(setting),
            _ if option == OptionName::Backlog => backlog(subject.kind, role, options),
            _ => elsewhere(option, subject, options),
        })
        .collect();
    for setting in &mut settings {
        let refused = unmet.iter().any(|error| {
            matches!(error, ApplyError::Refused { option, .. } if *option == setting.option)
        });
        if refused {
            setting.verdict = Verdict::Refused;
        }
    }
    settings
}

/// An option that was asked for and is none that can be read from the socket.
fn elsewhere(option: OptionName, subject: Subject<'_>, options: &Options) -> Option<Setting> {
    let requested = options.value(option)?;
    let (granted, verdict) = match option {
        OptionName::Bind => {
            let local = subject.socket.local_name().ok()?;
            let granted = match (local.inet(), subject.kind.has_port()) {
                (Some(inet), false) => inet.ip().to_string(),
                _ => local.to_string(),
            };
            (granted, Verdict::Granted)
        }
        option if ON_SOCKET.contains(&option) => ("none".to_owned(), Verdict::Ignored),
        _ => (requested.clone(), Verdict::Ours),
    };
    Some(Setting {
        option,
        requested: Some(requested),
        granted,
        verdict,
    })
}

fn backlog(kind: Kind, role: Role, options: &Options) -> Option<Setting> {
    if role != Role::Listen || !kind.is_connected() {
        return None;
    }
    let asked = options.backlog.unwrap_or(BACKLOG);
    let most = longest_backlog().unwrap_or(asked);
    Some(Setting {
        option: OptionName::Backlog,
        requested: options.value(OptionName::Backlog),
        granted: asked.min(most).to_string(),
        verdict: match options.backlog {
            None => Verdict::Default,
            Some(asked) if asked > most => Verdict::Capped,
            Some(_) => Verdict::Granted,
        },
    })
}

/// listen(2): "If the backlog argument is greater than the value in /proc/sys/net/core/somaxconn, then it
/// is silently capped to that value."
pub(crate) fn clipped_backlog(
    options: &Options,
    unmet: Unmet,
) -> Result<Option<ApplyError>, ApplyError> {
    let (Some(asked), Some(most)) = (options.backlog, longest_backlog()) else {
        return Ok(None);
    };
    if asked <= most {
        return Ok(None);
    }
    let error = ApplyError::NotGranted {
        option: OptionName::Backlog,
        requested: asked.to_string(),
        granted: most.to_string(),
    };
    match unmet {
        Unmet::Refuse => Err(error),
        Unmet::Tell => Ok(Some(error)),
    }
}

/// `None` where the kernel does not tell.
fn longest_backlog() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}

/// A buffer's size, and what it is the double of.
fn doubled(granted: &str) -> String {
    match granted.parse::<u64>() {
        Ok(size) => format!("{}, doubled {size}", size / 2),
        Err(_) => granted.to_owned(),
    }
}

fn not_ipv6() -> io::Error {
    io::Error::other("the address is not an IPv6 one")
}

fn buffer_verdict(requested: Option<u32>, granted: &str) -> Verdict {
    let requested = u64::from(requested.unwrap_or_default());
    let granted: u64 = granted.parse().unwrap_or_default();
    match granted {
        granted if granted == requested * 2 => Verdict::Doubled,
        granted if granted > requested * 2 => Verdict::Raised,
        // Not even where it is what was asked for: half of it is the kernel's own.
        _ => Verdict::Capped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Type;

    fn tcp(query: &str) -> (Socket, Options) {
        let socket = Socket::new(Family::Ipv4, Type::Stream, 0).unwrap();
        (socket, Options::parse(Kind::Tcp, query).unwrap())
    }

    fn subject(socket: &Socket) -> Subject<'_> {
        Subject {
            socket,
            kind: Kind::Tcp,
            family: Family::Ipv4,
        }
    }

    #[test]
    fn options_are_in_force_and_buffers_double() {
        let query =
            "nodelay&sndbuf=64K&rcvbuf=64K&ttl=9&tos=16&keepalive=30s&congestion=cubic&reuseaddr";
        let (socket, options) = tcp(query);
        subject(&socket).apply(&options, Unmet::Refuse).unwrap();
        let settings = settings(subject(&socket), Role::Connect, &options, &[]);
        let find = |option| settings.iter().find(|s| s.option == option).unwrap();
        let sndbuf = find(OptionName::SndBuf);
        assert_eq!(
            (sndbuf.granted.as_str(), sndbuf.verdict),
            ("131072", Verdict::Doubled)
        );
        assert_eq!(find(OptionName::KeepAlive).granted, "30s");
        assert_eq!(find(OptionName::Congestion).granted, "cubic");
        assert_eq!(find(OptionName::Mark).verdict, Verdict::Default);
    }

    #[test]
    fn what_the_kernel_caps_or_ignores_is_an_error() {
        let (socket, options) = tcp("sndbuf=1G");
        let error = subject(&socket).apply(&options, Unmet::Refuse).unwrap_err();
        assert!(matches!(
            error,
            ApplyError::NotGranted {
                option: OptionName::SndBuf,
                ..
            }
        ));
        assert!(error.advice().contains("net.core.wmem_max"));
        // The two bits of ECN belong to TCP itself.
        let (socket, options) = tcp("tos=3");
        let error = subject(&socket).apply(&options, Unmet::Refuse).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the kernel took tos=3 without a word and set 0"
        );
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let (socket, options) = tcp("congestion=nosuch");
        let error = subject(&socket).apply(&options, Unmet::Refuse).unwrap_err();
        assert!(matches!(error, ApplyError::Refused { .. }), "{error}");
        let (socket, options) = tcp("v6only");
        let error = subject(&socket).apply(&options, Unmet::Refuse).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refuses v6only=on");
    }
}
