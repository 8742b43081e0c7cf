//! The TAP devices that Mininet takes for the ends of a link.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tun_rs::{DeviceBuilder, Layer};

/// Packets that the kernel keeps for us between two reads. A sender that has 200 Mbit/s for the half second in which
/// we might not be scheduled fills fewer than these; what does not fit the kernel drops silently.
const KERNEL_QUEUE: u32 = 10_000;

/// Creates a TAP device of that name in the current network namespace: down, without packet information or virtio
/// header (so without any offload), and gone when the descriptor is closed. The descriptor is non-blocking and stays
/// valid when the device is moved to another namespace.
///
/// # Errors
/// What the kernel answered: `NotFound` without `/dev/net/tun`, `PermissionDenied` without CAP_NET_ADMIN, busy when
/// the name is taken.
pub fn create(name: &str) -> io::Result<OwnedFd> {
    let device =
        DeviceBuilder::new().name(name).layer(Layer::L2).tx_queue_len(KERNEL_QUEUE).enable(false).build_sync()?;
    // SAFETY: `into_raw_fd` gives the descriptor away; nobody else closes it.
    let fd = unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) };
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(fd)
}
