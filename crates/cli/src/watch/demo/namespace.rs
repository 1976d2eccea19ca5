//! A network of its own for this process: nothing but a loopback, which may be changed at will.

use std::fs;
use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

/// Numbers of rtnetlink(7).
const NEW_LINK: u16 = 16;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const MTU: u16 = 4;
const GSO_MAX_SEGMENTS: u16 = 40;
const UP: u32 = 1;

/// The loopback's number in every network namespace.
const LOOPBACK: u32 = 1;

/// Leaves the network of the system for one of its own. Only while there is one thread. Root needs no user
/// namespace for it, everybody else does.
pub(super) fn enter() -> io::Result<()> {
    let user = geteuid();
    let group = getegid();
    if leave(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    leave(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    // user_namespaces(7): groups are given up before they can be mapped.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

fn leave(flags: UnshareFlags) -> io::Result<()> {
    #[allow(
        deprecated,
        reason = "what the replacement is unsafe for is giving up a shared table of descriptors, which these \
                  flags do not"
    )]
    let left = rustix::thread::unshare(flags);
    Ok(left?)
}

/// How the loopback treats packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loopback {
    /// Bytes of the largest packet.
    pub(super) mtu: u32,
    /// Segments that a sender may hand over as one super-frame.
    pub(super) super_frame: u32,
}

/// Brings the loopback up, or changes it.
pub(super) fn set_loopback(loopback: Loopback) -> io::Result<()> {
    let netlink = socket(AddressFamily::NETLINK, SocketType::DGRAM, None)?;
    let mut message = Vec::new();
    // nlmsghdr: the length comes last.
    message.extend([0; 4]);
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend((REQUEST | ACKNOWLEDGE).to_ne_bytes());
    message.extend([0; 8]);
    // ifinfomsg: family, kind, number, flags, and which of the flags are meant.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    for (kind, value) in [
        (MTU, loopback.mtu),
        (GSO_MAX_SEGMENTS, loopback.super_frame),
    ] {
        message.extend(8_u16.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(value.to_ne_bytes());
    }
    let len = u32::try_from(message.len()).map_err(io::Error::other)?;
    message[..4].copy_from_slice(&len.to_ne_bytes());
    send(&netlink, &message, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (len, _) = recv(&netlink, &mut answer[..], RecvFlags::empty())?;
    let answer = answer.get(..len).unwrap_or_default();
    // nlmsghdr, and nlmsgerr with the error number first.
    let kind = answer.get(4..6) == Some(&ERROR.to_ne_bytes()[..]);
    let errno = answer.get(16..).and_then(|rest| rest.first_chunk());
    match errno.map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) if kind => Ok(()),
        Some(errno) if kind => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
