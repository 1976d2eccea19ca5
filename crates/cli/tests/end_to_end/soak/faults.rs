//! What happens to a session.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::household::Lasting;
use super::{Proxy, Running};

/// One kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    Reset,
    ResetOne,
    Close,
    HoldTo,
    HoldFrom,
    SenderKilled,
    SenderStopped,
    ReceiverStopped,
    ReceiverKilled,
    DiskFull,
}

/// How long something hangs: far less than what either side takes for an end.
const MOMENT: Duration = Duration::from_millis(200);

impl Fault {
    pub(super) const ALL: &[Self] = &[
        Self::Nothing,
        Self::Reset,
        Self::ResetOne,
        Self::Close,
        Self::HoldTo,
        Self::HoldFrom,
        Self::SenderKilled,
        Self::SenderStopped,
        Self::ReceiverStopped,
        Self::ReceiverKilled,
        Self::DiskFull,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Reset => "all reset",
            Self::ResetOne => "one reset",
            Self::Close => "all closed",
            Self::HoldTo => "nothing to it",
            Self::HoldFrom => "nothing from it",
            Self::SenderKilled => "sender killed",
            Self::SenderStopped => "sender stopped",
            Self::ReceiverStopped => "receiver stopped",
            Self::ReceiverKilled => "receiver killed",
            Self::DiskFull => "disk full",
        }
    }

    /// Happens, and is over, but for a disk that is full.
    pub(super) fn strike(self, proxy: &Proxy, sender: &mut Running, receiver: &mut Lasting) {
        match self {
            Self::Nothing => {}
            Self::Reset => proxy.reset(),
            Self::ResetOne => proxy.reset_last(),
            Self::Close => proxy.close(),
            Self::HoldTo => hold(proxy, [true, false]),
            Self::HoldFrom => hold(proxy, [false, true]),
            Self::SenderKilled => sender.signal(Signal::KILL),
            Self::SenderStopped => stop(sender),
            Self::ReceiverStopped => stop(&receiver.running),
            Self::ReceiverKilled => receiver.die_and_return(sender),
            Self::DiskFull => receiver.fill_disk(0),
        }
    }
}

fn hold(proxy: &Proxy, directions: [bool; 2]) {
    proxy.hold(directions);
    // How long it hangs is what is tested.
    thread::sleep(MOMENT);
    proxy.hold([false; 2]);
}

fn stop(process: &Running) {
    process.signal(Signal::STOP);
    // How long it stands still is what is tested.
    thread::sleep(MOMENT);
    process.signal(Signal::CONT);
}
