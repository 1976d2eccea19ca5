//! Which start of the machine, and which mount of a filesystem, this is.

use packhorse_proto::remains::{BootId, boot_and_mount};
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::directory::Directory;

/// STATX_MNT_ID_UNIQUE (Linux 6.8): the number of a mount, never used again. rustix has no name for it.
const MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// STATX_MNT_ID (Linux 5.8): the same, but used again once the mount is gone.
const REUSED_MOUNT: StatxFlags = StatxFlags::MNT_ID;

impl Directory {
    /// Which start of this machine this is, and which mount of the directory's filesystem: what was written and not synced
    /// is there for every process until one of them ends. A disk that is pulled out ends the second alone.
    ///
    /// Where the kernel does not tell, it is one that never was, so that nothing is taken for written.
    #[must_use]
    pub fn boot_id(&self) -> BootId {
        let boot = self.storage().boot_id();
        match self.mount() {
            Some((device, mount)) => boot_and_mount(boot, device, mount),
            None => boot,
        }
    }

    /// Whether both are on one mount of one filesystem, as far as the kernel tells.
    #[must_use]
    pub fn shares_mount_with(&self, other: &Self) -> bool {
        self.mount() == other.mount()
    }

    /// The numbers of the device, and of its mount.
    fn mount(&self) -> Option<([u32; 2], u64)> {
        [MOUNT, REUSED_MOUNT].into_iter().find_map(|flag| {
            let stat = statx(self, c"", AtFlags::EMPTY_PATH, flag).ok()?;
            let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(flag);
            let device = [stat.stx_dev_major, stat.stx_dev_minor];
            told.then_some((device, stat.stx_mnt_id))
        })
    }
}

/// Which start of the machine this is; one that never was where the kernel does not tell.
pub(crate) fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits = text.bytes().filter(u8::is_ascii_hexdigit);
    let mut id = BootId::default();
    let mut count = 0;
    for (place, digit) in digits.enumerate().take(2 * id.len()) {
        let value = char::from(digit).to_digit(16).unwrap_or(0);
        id[place / 2] = id[place / 2] << 4 | u8::try_from(value).unwrap_or(0);
        count += 1;
    }
    if count < 2 * id.len() {
        let _ = getrandom(&mut id[..], GetRandomFlags::empty());
    }
    id
}
