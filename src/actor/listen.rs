//! Listening sockets made in front of a program that has no setting for what they should be.
//!
//! nginx-rtmp never sets TCP_NODELAY and cannot be told to. But Linux hands the option on from a listening socket to
//! every connection that is accepted from it, and nginx takes listening sockets over from whoever executes it: the
//! variable `NGINX` holds their descriptors, and those whose addresses its configuration has are used in place of new
//! ones (that is how nginx is replaced by a newer one without refusing a connection; nginx 1.22,
//! `ngx_add_inherited_sockets`).

use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

/// The variable from which nginx learns the descriptors it inherits, each followed by a semicolon.
const VARIABLE: &str = "NGINX";
/// Connections that wait to be accepted at most: what nginx itself asks for on Linux (`NGX_LISTEN_BACKLOG`). With
/// another number nginx would listen once more.
const BACKLOG: i32 = 511;

/// Flags of `livectl internal listen`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenArgs {
    /// Accepted connections send short segments at once (TCP_NODELAY), not when all before is acknowledged (Nagle's
    /// algorithm)
    #[arg(long)]
    pub nodelay: bool,
    /// Addresses and ports to listen on
    #[arg(required = true, value_name = "IP:PORT")]
    pub addresses: Vec<SocketAddrV4>,
    /// nginx and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// There is no socket for the program, or no program for the sockets.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another service using the port, or does the address belong to another host?"
    )]
    Address {
        /// Address and port.
        address: SocketAddrV4,
        /// The underlying I/O error.
        source: std::io::Error,
    },
    /// The program cannot be executed.
    #[error("cannot run `{program}`: {source}; is it installed? See `livectl doctor`")]
    Execute {
        /// What was to be run.
        program: String,
        /// The underlying I/O error.
        source: std::io::Error,
    },
}

/// Listens and becomes the program, in the same process. Returns only if that fails.
#[must_use]
pub fn execute(args: &ListenArgs) -> ListenError {
    let listening = |address: &SocketAddrV4| {
        listening(*address, args.nodelay)
            .map_err(|source| ListenError::Address { address: *address, source: source.into() })
    };
    let sockets: Vec<OwnedFd> = match args.addresses.iter().map(listening).collect() {
        Ok(sockets) => sockets,
        Err(error) => return error,
    };
    // The command line has at least one word.
    let (program, rest) = args.command.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
    let descriptors: String = sockets.iter().map(|socket| format!("{};", socket.as_raw_fd())).collect();
    let source = std::process::Command::new(program).args(rest).env(VARIABLE, descriptors).exec();
    ListenError::Execute { program: program.to_owned(), source }
}

/// A listening socket that stays open when another program is executed.
fn listening(address: SocketAddrV4, nodelay: bool) -> Result<OwnedFd, Errno> {
    // nginx takes for granted that what it inherits does not block. If a client is gone before it is accepted, accept
    // would.
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
    // As nginx does: connections of a server before it, in TIME-WAIT, are no obstacle.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &nodelay)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::net::{TcpListener, TcpStream};

    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn accepted_connections_have_the_option_of_their_listening_socket() {
        for nodelay in [true, false] {
            let socket = listening(ANY.parse().unwrap(), nodelay).unwrap();
            let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL).unwrap());
            assert!(flags.contains(OFlag::O_NONBLOCK));
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(false).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(accepted.nodelay().unwrap(), nodelay);
        }
    }

    #[test]
    fn it_stays_open_for_the_program() {
        let socket = listening(ANY.parse().unwrap(), true).unwrap();
        let flags = FdFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFD).unwrap());
        assert!(!flags.contains(FdFlag::FD_CLOEXEC));
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let taken = TcpListener::bind(ANY).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let args = |address: &str, program: &str| ListenArgs {
            nodelay: true,
            addresses: vec![address.parse().unwrap()],
            command: vec![program.into()],
        };
        assert_eq!(
            execute(&args(&address, "true")).to_string(),
            format!(
                "cannot listen on {address}: Address already in use (os error 98); is another service using the port, or does the address belong to another host?"
            )
        );
        let error = execute(&args(ANY, "/no/such/nginx")).to_string();
        assert!(error.starts_with("cannot run `/no/such/nginx`: No such file"), "{error}");
    }
}
