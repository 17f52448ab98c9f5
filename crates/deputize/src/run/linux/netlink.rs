//! The namespace's loopback device: a new network namespace has one that is down, and nothing else. Two fixed messages of
//! rtnetlink(7) bring it up and give it addresses; that is all we need of it.
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLM_F_CREATE_REPLACE: u16 = 0x100 | 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
/// The loopback device is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Brings the loopback device up, with these addresses beside its own.
pub(super) fn bring_up(addresses: &[IpAddr]) -> Result<(), Errno> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut link = vec![0_u8; 4];
    for word in [LOOPBACK, IFF_UP, IFF_UP] {
        link.extend(word.to_ne_bytes());
    }
    ask(&socket, RTM_NEWLINK, NLM_F_REQUEST_ACK, &link)?;
    for address in addresses {
        ask(&socket, RTM_NEWADDR, NLM_F_REQUEST_ACK | NLM_F_CREATE_REPLACE, &address_message(*address))?;
    }
    Ok(())
}

/// `struct ifaddrmsg` and two attributes: on a loopback device the address is its own peer.
fn address_message(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let mut message = vec![family, prefix, IFA_F_NODAD, 0];
    message.extend(LOOPBACK.to_ne_bytes());
    for attribute in [IFA_LOCAL, IFA_ADDRESS] {
        let length = u16::try_from(4 + octets.len()).unwrap_or_default();
        message.extend(length.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(&octets);
    }
    message
}

/// Sends a request and waits for its acknowledgement.
fn ask(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let read = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let field = |at: usize| answer.get(..read).and_then(|answer| answer.get(at..)).unwrap_or_default();
    let kind = field(4).first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    let code = field(16).first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw(code.saturating_neg())),
        _ => Err(Errno::EPROTO),
    }
}
