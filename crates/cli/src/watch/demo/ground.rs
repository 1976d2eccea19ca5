//! Where the lessons take place: a network of this process's own, with nothing in it but loopback.

use std::fs;
use std::io;

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;

use crate::report::Failure;

/// The MTU of a loopback of one's own: that of Ethernet.
pub(super) const MTU: u32 = 1500;

/// What a device may be handed at once by default: as much as there is (`GSO_MAX_SEGS`).
const ANY_SEGMENTS: u32 = 65535;

/// The loopback that the lessons use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// This process's own, which can be set up.
    Own,
    /// The machine's, as it is.
    Shared {
        /// Bytes of a packet at most.
        mtu: u32,
    },
}

/// Whether segments leave one by one, or several as one that a device is to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offload {
    /// One by one, as they would be on a wire.
    Off,
    /// Several as one.
    On,
}

impl Ground {
    /// Enters a network of one's own. Before there are threads: a process with several cannot enter a user
    /// namespace (unshare(2)).
    pub(super) fn enter() -> Result<Self, Failure> {
        match own_network() {
            Ok(()) => {
                set_up(Offload::Off).map_err(|error| refused(&error))?;
                Ok(Self::Own)
            }
            // In a container the first user may be refused a network of its own, and watch the one that is there.
            Err(_) if getuid().is_root() => {
                let mtu = fs::read_to_string("/sys/class/net/lo/mtu");
                let mtu = mtu.ok().and_then(|text| text.trim().parse().ok());
                let mtu = mtu.unwrap_or(65536);
                Ok(Self::Shared { mtu })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Bytes of a packet at most.
    pub(super) fn mtu(self) -> u32 {
        match self {
            Self::Own => MTU,
            Self::Shared { mtu } => mtu,
        }
    }

    /// Says how connections from now on hand segments to the device. A shared loopback stays as it is.
    pub(super) fn set_offload(self, offload: Offload) -> io::Result<()> {
        match self {
            Self::Own => set_up(offload),
            Self::Shared { .. } => Ok(()),
        }
    }
}

fn refused(error: &io::Error) -> Failure {
    Failure::local("the demonstration gets no network of its own", error)
        .means("nothing was sent")
        .hint(
            "run it as root, or let users have namespaces: sysctl user.max_user_namespaces=10000, and where \
             AppArmor forbids it kernel.apparmor_restrict_unprivileged_userns=0",
        )
}

/// A new network namespace: for root as it is, for others in a user namespace in which they are root.
fn own_network() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    if user.is_root() && unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    // user_namespaces(7): groups are mapped only by who cannot set others.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    #[allow(
        deprecated,
        reason = "what the replacement asks for as unsafe is about tables of descriptors, which stay shared: \
                  the flags are constants of this module without FILES"
    )]
    Ok(rustix::thread::unshare(flags)?)
}

/// Puts loopback up, by a message of rtnetlink(7): RTM_NEWLINK with the MTU, and with how many segments the device
/// is handed as one.
fn set_up(offload: Offload) -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    /// NLM_F_REQUEST and NLM_F_ACK.
    const FLAGS: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    const IFLA_MTU: u16 = 4;
    const IFLA_GSO_MAX_SEGS: u16 = 40;
    const LOOPBACK: i32 = 1;
    let segments = match offload {
        Offload::Off => 1,
        Offload::On => ANY_SEGMENTS,
    };
    let mut body = Vec::new();
    body.extend([0; 4]); // family, padding, type
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes()); // what of the flags changes
    for (kind, value) in [(IFLA_MTU, MTU), (IFLA_GSO_MAX_SEGS, segments)] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value.to_ne_bytes());
    }
    let mut message = Vec::new();
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    message.extend(length.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: the kernel answers in order
    message.extend(body);
    let socket = net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )?;
    net::send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 512];
    let (length, _) = net::recv(&socket, &mut answer, RecvFlags::empty())?;
    // NLMSG_ERROR: the number is 0 where all is well.
    let number = answer.get(16..20).filter(|_| length >= 20);
    let number = number
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match number {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
