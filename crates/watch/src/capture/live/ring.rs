//! The ring of a packet socket (packet(7), Documentation/networking/packet_mmap.rst): memory that the kernel
//! writes frames to, block by block, and that is given back block by block.

#![allow(
    unsafe_code,
    reason = "memory shared with the kernel, and socket options that no safe library has: the only unsafe \
              code of this crate"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "C's types for its own constants, and for sizes of its structures"
)]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{sockaddr_ll, tpacket_block_desc, tpacket_req3, tpacket_stats_v3, tpacket3_hdr};

/// Bytes of a block. A block holds one frame at least, and frames are 64 KiB at most.
const BLOCK: usize = 1 << 20;

/// Milliseconds after which the kernel hands over a block that is not full.
const RETIRE: c_uint = 10;

/// To what the kernel aligns structures in a block (TPACKET_ALIGNMENT).
const ALIGNMENT: usize = 16;

/// A packet socket with its ring.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    blocks: usize,
    /// The block that is read, and the next frame in it.
    block: usize,
    next: usize,
    /// Frames of the block that are left; `None`: it is the kernel's.
    left: Option<u32>,
}

// SAFETY: the memory belongs to this value alone, and neither it nor the socket is tied to a thread.
unsafe impl Send for Ring {}

/// What the kernel tells about a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) seconds: u32,
    pub(super) nanoseconds: u32,
    /// Bytes on the wire.
    pub(super) len: u32,
    /// The VLAN tag that was taken off: its type, and what it says.
    pub(super) vlan: Option<(u16, u16)>,
    pub(super) link: LinkAddress,
}

/// Where a frame came from, as `sockaddr_ll` has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkAddress {
    /// EtherType, in the byte order of the machine.
    pub(super) protocol: u16,
    pub(super) interface: u32,
    /// The kind of hardware: ARPHRD_ETHER and so on.
    pub(super) hardware: u16,
    /// PACKET_HOST, PACKET_OUTGOING and so on.
    pub(super) direction: u8,
    pub(super) address_len: u8,
    pub(super) address: [u8; 8],
}

/// Whether frames come with their link's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    Kept,
    /// Taken off: what the link is like does not matter.
    Cooked,
}

/// Counters of the kernel since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// Frames for this socket, those that were dropped included.
    pub(super) packets: u32,
    pub(super) drops: u32,
}

impl Ring {
    /// Opens a packet socket with a ring of `bytes`, on one interface or on all (0).
    pub(super) fn open(interface: u32, headers: Headers, bytes: usize) -> io::Result<Self> {
        let kind = match headers {
            Headers::Kept => libc::SOCK_RAW,
            Headers::Cooked => libc::SOCK_DGRAM,
        };
        // No protocol yet: nothing is received before the ring is there and the socket is bound.
        // SAFETY: the call takes no pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        set(&socket, libc::PACKET_VERSION, &version)?;
        let blocks = (bytes / BLOCK).max(2);
        let request = tpacket_req3 {
            tp_block_size: BLOCK as c_uint,
            tp_block_nr: c_uint::try_from(blocks).map_err(io::Error::other)?,
            tp_frame_size: 2048,
            tp_frame_nr: c_uint::try_from(blocks * (BLOCK / 2048)).map_err(io::Error::other)?,
            tp_retire_blk_tov: RETIRE,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at a place of the kernel's choice, of a socket whose ring has this size.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * BLOCK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let ring = Self {
            socket,
            memory,
            blocks,
            block: 0,
            next: 0,
            left: None,
        };
        ring.bind(interface)?;
        Ok(ring)
    }

    /// From now on frames come.
    fn bind(&self, interface: u32) -> io::Result<()> {
        // SAFETY: all zeros are a valid sockaddr_ll.
        let mut address: sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = c_int::try_from(interface).map_err(io::Error::other)?;
        let len = size_of::<sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is whole and lives through the call, which does not keep it.
        let bound =
            unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), len) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// What kind of hardware the interface is that the socket is bound to.
    pub(super) fn hardware(&self) -> io::Result<u16> {
        // SAFETY: all zeros are a valid sockaddr_ll.
        let mut address: sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut len = size_of::<sockaddr_ll>() as libc::socklen_t;
        let socket = self.socket.as_raw_fd();
        // SAFETY: the kernel writes at most `len` bytes to what has as many.
        let got = unsafe { libc::getsockname(socket, (&raw mut address).cast(), &raw mut len) };
        if got != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(address.sll_hatype)
    }

    /// Frames that go out are not received from now on.
    pub(super) fn ignore_outgoing(&self) -> io::Result<()> {
        set(&self.socket, libc::PACKET_IGNORE_OUTGOING, &(1 as c_int))
    }

    /// What the kernel counted since this was asked last.
    pub(super) fn counted(&self) -> io::Result<Counted> {
        // SAFETY: all zeros are a valid tpacket_stats_v3.
        let mut counted: tpacket_stats_v3 = unsafe { std::mem::zeroed() };
        let mut len = size_of::<tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to what has as many.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut counted).cast(),
                &raw mut len,
            )
        };
        if got != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Counted {
            packets: counted.tp_packets,
            drops: counted.tp_drops,
        })
    }

    /// Copies the next frame to `data`. `None`: there is none now; [`AsFd`] tells when there is one.
    pub(super) fn take(&mut self, data: &mut Vec<u8>) -> Option<Meta> {
        loop {
            match self.left {
                Some(0) => self.release(),
                Some(_) => return Some(self.frame(data)),
                None => {}
            }
            let status = self.status().load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                return None;
            }
            // SAFETY: the block is ours until it is released, and every block begins with this structure.
            let header = unsafe { self.block().cast::<tpacket_block_desc>().read().hdr.bh1 };
            self.left = Some(header.num_pkts);
            self.next = header.offset_to_first_pkt as usize;
        }
    }

    fn frame(&mut self, data: &mut Vec<u8>) -> Meta {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let at = self.next.min(BLOCK - size_of::<tpacket3_hdr>());
        // SAFETY: the place lies in our block; the kernel wrote a header there, aligned to 16 bytes.
        let header = unsafe { self.block().add(at).cast::<tpacket3_hdr>().read_unaligned() };
        self.next = at.saturating_add(header.tp_next_offset as usize);
        // The kernel is believed, and yet nothing is read beyond the block.
        let from = at.saturating_add(usize::from(header.tp_mac)).min(BLOCK);
        let len = (header.tp_snaplen as usize).min(BLOCK - from);
        data.clear();
        // SAFETY: the range lies in our block, which the kernel does not write to until it is released.
        data.extend_from_slice(unsafe {
            std::slice::from_raw_parts(self.block().add(from).as_ptr(), len)
        });
        let address = at.saturating_add(size_of::<tpacket3_hdr>().next_multiple_of(ALIGNMENT));
        let address = address.min(BLOCK - size_of::<sockaddr_ll>());
        // SAFETY: behind the header comes this structure (packet_mmap.rst), and it lies in our block.
        let address = unsafe {
            self.block()
                .add(address)
                .cast::<sockaddr_ll>()
                .read_unaligned()
        };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        Meta {
            seconds: header.tp_sec,
            nanoseconds: header.tp_nsec,
            len: header.tp_len,
            vlan: tagged.then_some((header.hv1.tp_vlan_tpid, header.hv1.tp_vlan_tci as u16)),
            link: LinkAddress {
                protocol: u16::from_be(address.sll_protocol),
                interface: address.sll_ifindex.cast_unsigned(),
                hardware: address.sll_hatype,
                direction: address.sll_pkttype,
                address_len: address.sll_halen,
                address: address.sll_addr,
            },
        }
    }

    /// Gives the block back to the kernel, and goes to the next.
    fn release(&mut self) {
        self.status()
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % self.blocks;
        self.left = None;
    }

    fn block(&self) -> NonNull<u8> {
        // SAFETY: the block's number is below `blocks`, and the mapping has as many of this size.
        unsafe { self.memory.add(self.block * BLOCK) }
    }

    /// Whose the block is.
    fn status(&self) -> &AtomicU32 {
        let at = std::mem::offset_of!(tpacket_block_desc, hdr);
        // SAFETY: the first field of the header is this number (tpacket_hdr_v1), aligned to four bytes, mapped
        // as long as we live; both sides access it as a whole.
        unsafe { AtomicU32::from_ptr(self.block().add(at).cast().as_ptr()) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this size, and nothing points to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast::<c_void>(), self.blocks * BLOCK) };
    }
}

/// Sets an option of packet sockets.
fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is whole, of the option's type, and lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            len,
        )
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
