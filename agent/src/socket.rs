//! Options of sockets that have no safe wrapper, and connecting with patience.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// First wait before a server is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(100);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// Wait before more is accepted when that has failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Bytes of a full segment on Ethernet: 1500 less the headers of IP and TCP with timestamps.
const ETHERNET_SEGMENT: u32 = 1448;
/// Connections that may wait to be accepted.
const WAITING: u32 = 64;

fn set(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    let (value, len) = (std::ptr::from_ref(&value).cast(), size_of::<u32>() as libc::socklen_t);
    // SAFETY: the descriptor is open, and `value` points to `len` bytes that live until the call returns.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, value, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How much the socket may send, in bytes of payload a second; `None`: as much as it can (SO_MAX_PACING_RATE,
/// socket(7); all ones means no limit). TCP spaces its segments itself then, whatever the queueing discipline and the
/// congestion control (Linux 4.13).
pub(crate) fn pace(socket: &impl AsFd, bytes_per_s: Option<u32>) -> io::Result<()> {
    let rate = bytes_per_s.map_or(u32::MAX, |rate| rate.clamp(1, u32::MAX - 1));
    set(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, rate)
}

/// The socket takes more bytes only while fewer than these have not been sent: what waits, waits here
/// (TCP_NOTSENT_LOWAT, tcp(7)).
pub(crate) fn keep_unsent_below(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// Room in the kernel for so many bytes that were received and not read, beyond the system's limit, which only root
/// may.
pub(crate) fn room_for_received(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// The next close resets the connection, and with it what the other side has queued (SO_LINGER of 0 s).
pub(crate) fn reset_at_close(socket: &impl AsFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (value, len) = (std::ptr::from_ref(&linger).cast(), size_of::<libc::linger>() as libc::socklen_t);
    // SAFETY: as in `set`.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address of the link that leads there. Nothing is sent.
fn own_address(towards: SocketAddrV4) -> io::Result<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(towards)?;
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(*address.ip()),
        SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// Sends to a group over the link that leads towards that address; what the link's queue drops is told (IP_RECVERR,
/// ip(7)). Nobody on this host hears it, and no router passes it on.
pub(crate) fn to_group(group: SocketAddrV4, towards: SocketAddrV4) -> io::Result<UdpSocket> {
    let own = own_address(towards)?;
    let socket = std::net::UdpSocket::bind((own, 0))?;
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, u32::from_ne_bytes(own.octets()))?;
    set(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.connect(group)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Joins a group over the link that leads towards that address, with room for so many bytes that were not read. Only
/// what is sent to the group comes there.
pub(crate) fn member_of(group: SocketAddrV4, towards: SocketAddrV4, room: u32) -> io::Result<UdpSocket> {
    let own = own_address(towards)?;
    // Others on this host may be members, too, which is to be said before it is bound.
    let socket = datagram_socket()?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if room_for_received(&socket, room).is_err() {
        // As much as anyone may have.
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, room)?;
    }
    bind(&socket, group)?;
    socket.join_multicast_v4(group.ip(), &own)?;
    // Of groups that others have joined nothing comes here (IP_MULTICAST_ALL, ip(7)).
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
    UdpSocket::from_std(socket)
}

/// One that is not bound, and does not block.
fn datagram_socket() -> io::Result<std::net::UdpSocket> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a plain system call; the descriptor that it returns belongs to nobody else.
    let descriptor = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened, and is this socket's alone.
    Ok(unsafe { std::net::UdpSocket::from_raw_fd(descriptor) })
}

fn bind(socket: &impl AsFd, to: SocketAddrV4) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) },
        sin_zero: [0; 8],
    };
    let (value, len) = (std::ptr::from_ref(&address).cast(), size_of::<libc::sockaddr_in>() as libc::socklen_t);
    // SAFETY: the descriptor is open, and `address` lives until the call returns.
    let done = unsafe { libc::bind(socket.as_fd().as_raw_fd(), value, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where it listens.
pub(crate) fn address_of(listener: &TcpListener) -> Option<SocketAddrV4> {
    match listener.local_addr() {
        Ok(SocketAddr::V4(address)) => Some(address),
        _ => None,
    }
}

/// Listens there. What is accepted has a receive buffer of so many bytes, if that is asked for, so that a sender
/// feels early that nobody reads: its segments are then as on Ethernet. On loopback they would be 64 KiB large, of
/// which a sender takes some twenty into its own buffer at once, and which the small buffer here drops again and
/// again, until the sender gives up (ETIMEDOUT, tried with OBS).
pub(crate) fn listen(address: SocketAddrV4, receive_buffer: Option<u32>) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
        set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, ETHERNET_SEGMENT)?;
    }
    socket.bind(address.into())?;
    socket.listen(WAITING)
}

/// Accepts the next connection.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddrV4) {
    loop {
        match listener.accept().await {
            Ok((connection, SocketAddr::V4(from))) => return (connection, from),
            // The listener has an address of version 4.
            Ok((_, SocketAddr::V6(_))) => (),
            // Out of descriptors, or whoever came is gone: nothing tells when that gets better.
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// Connects, and tries again until the deadline.
pub(crate) async fn connect(server: SocketAddrV4, deadline: Instant) -> io::Result<TcpStream> {
    let mut back_off = BACK_OFF;
    loop {
        let attempt = async {
            let connection = TcpStream::connect(server).await?;
            connection.set_nodelay(true)?;
            Ok(connection)
        };
        let failed = match timeout_at(deadline, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(why)) => why,
            Err(late) => return Err(late.into()),
        };
        let next = Instant::now() + back_off;
        if next >= deadline {
            return Err(failed);
        }
        sleep_until(next).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}
