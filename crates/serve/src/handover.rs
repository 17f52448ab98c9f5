//! Handing the sockets of a process to the one that replaces it, so that nobody who connects meanwhile is refused.
//!
//! The sockets themselves go over a Unix socket (`SCM_RIGHTS`): connections that wait in their queues wait for whoever accepts next. With
//! two sockets of one port (`SO_REUSEPORT`), those in the queue of the one that closes would be reset.
//!
//! The process that runs [offers](Offer) its sockets; the new one [finds](Predecessor::find) it, takes them, begins to serve, and says
//! so. Only then does the old one leave. One that ends before, because its configuration is broken, changes nothing.
use crate::Socket;
use crate::socket::no_other_file;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

/// The most sockets that are handed over.
const MOST: usize = 32;
/// For the other process to say its part.
const PATIENCE: Duration = Duration::from_secs(10);
/// The version of what is said, which comes with the sockets.
const VERSION: u8 = 1;
/// The new process serves.
const READY: u8 = b'r';

/// A process that runs, as its successor finds it.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    sockets: Vec<OwnedFd>,
}

impl Predecessor {
    /// The process that offers its sockets at this path, if there is one.
    ///
    /// # Errors
    /// If somebody is there who is another user, or says nothing that is understood, or a file that is no socket.
    pub async fn find(path: &Path) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                no_other_file(path)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if !is_ours(&stream) {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "another user offers sockets there"));
        }
        let received = timeout(PATIENCE, stream.async_io(Interest::READABLE, || receive(stream.as_fd()))).await;
        let sockets = received.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        Ok(Some(Self { stream, sockets }))
    }

    /// Takes the socket of this address, if it has it.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let socket = self.take(|socket| {
            let held = std::net::TcpListener::from(socket.try_clone().ok()?);
            (held.local_addr().ok()? == address).then_some(held)
        })?;
        socket.set_nonblocking(true).ok()?;
        TcpListener::from_std(socket).ok()
    }

    /// Takes the socket of this path, if it has it.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let socket = self.take(|socket| {
            let held = std::os::unix::net::UnixListener::from(socket.try_clone().ok()?);
            (held.local_addr().ok()?.as_pathname()? == path).then_some(held)
        })?;
        socket.set_nonblocking(true).ok()?;
        UnixListener::from_std(socket).ok()
    }

    fn take<T>(&mut self, read: impl Fn(&OwnedFd) -> Option<T>) -> Option<T> {
        let (at, found) = self.sockets.iter().enumerate().find_map(|(at, socket)| Some((at, read(socket)?)))?;
        self.sockets.swap_remove(at);
        Some(found)
    }

    /// Says that this process serves: the other one leaves.
    ///
    /// # Errors
    /// If it is gone already.
    pub async fn replace(mut self) -> io::Result<()> {
        self.stream.write_all(&[READY]).await
    }
}

/// What a process offers to its successor.
#[derive(Debug)]
pub struct Offer {
    listener: UnixListener,
    sockets: Vec<OwnedFd>,
}

impl Offer {
    /// Offers these sockets at a path, in place of whoever did before.
    ///
    /// # Errors
    /// If the path cannot be had, or the sockets are too many.
    pub fn at(path: &Path, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        if sockets.len() > MOST {
            return Err(io::Error::other("there are too many sockets to hand over"));
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        no_other_file(path)?;
        no_other_file(&beside)?;
        let _ = std::fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&beside, path)?;
        Ok(Self { listener, sockets })
    }

    /// Waits until a successor serves.
    pub async fn taken(&self) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if is_ours(&stream) && self.give(stream).await {
                return;
            }
        }
    }

    /// Whether who was given the sockets serves. It may take its time, and may end before: then everything is as it was.
    async fn give(&self, mut stream: UnixStream) -> bool {
        let sockets: Vec<BorrowedFd<'_>> = self.sockets.iter().map(AsFd::as_fd).collect();
        let given = timeout(PATIENCE, stream.async_io(Interest::WRITABLE, || send(stream.as_fd(), &sockets))).await;
        if !matches!(given, Ok(Ok(()))) {
            return false;
        }
        let mut said = [0];
        matches!(timeout(6 * PATIENCE, stream.read_exact(&mut said)).await, Ok(Ok(_))) && said == [READY]
    }
}

impl Socket {
    /// The same socket once more, to be offered to a successor.
    ///
    /// # Errors
    /// If there are too many descriptors.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }
}

/// Whether the other side is a process of this user.
fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

fn send(stream: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("there are too many sockets to hand over"));
    }
    sendmsg(stream, &[IoSlice::new(&[VERSION])], &mut beside, SendFlags::empty())?;
    Ok(())
}

fn receive(stream: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut said = [0];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut said)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != 1 || said != [VERSION] {
        return Err(io::Error::new(ErrorKind::InvalidData, "what is said there is not understood"));
    }
    let messages = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    Ok(messages.flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("deputize-handover-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test]
    async fn r_19_a_connection_that_waits_while_the_sockets_change_hands_is_accepted_by_the_successor() {
        let place = Place::new("waits");
        assert!(Predecessor::find(&place.0).await.unwrap().is_none());
        let old = Socket::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let Socket::Tcp(listener) = &old else { panic!() };
        let address = listener.local_addr().unwrap();
        let offer = Offer::at(&place.0, vec![old.share().unwrap()]).unwrap();
        // In the queue, and accepted by nobody yet.
        let waiting = TcpStream::connect(address).await.unwrap();
        let taken = tokio::spawn(async move {
            offer.taken().await;
            drop(old);
        });
        let mut before = Predecessor::find(&place.0).await.unwrap().unwrap();
        assert!(before.tcp("127.0.0.1:1".parse().unwrap()).is_none());
        let new = before.tcp(address).unwrap();
        assert!(before.tcp(address).is_none(), "a socket is taken once");
        assert!(!taken.is_finished(), "the old one serves until the new one says that it does");
        before.replace().await.unwrap();
        taken.await.unwrap();
        new.accept().await.unwrap();
        drop(waiting);
        let _another = TcpStream::connect(address).await.unwrap();
        new.accept().await.unwrap();
    }

    #[tokio::test]
    async fn a_successor_that_fails_changes_nothing_and_the_next_one_is_given_the_same() {
        let (place, control) = (Place::new("fails"), Place::new("control"));
        let old = Socket::unix(&control.0).await.unwrap();
        let offer = Offer::at(&place.0, vec![old.share().unwrap()]).unwrap();
        let taken = tokio::spawn(async move { offer.taken().await });
        for _ in 0..3 {
            let mut failing = Predecessor::find(&place.0).await.unwrap().unwrap();
            assert!(failing.unix(&control.0).is_some());
        }
        assert!(!taken.is_finished());
        let mut before = Predecessor::find(&place.0).await.unwrap().unwrap();
        assert!(before.unix(Path::new("/elsewhere")).is_none() && before.unix(&control.0).is_some());
        before.replace().await.unwrap();
        taken.await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let (place, free) = (Place::new("file"), Place::new("free"));
        // Where a new socket stands until it is served.
        let beside = Place(PathBuf::from(format!("{}.new", free.0.display())));
        for file in [&place, &beside] {
            std::fs::write(&file.0, "kept").unwrap();
        }
        let refused = [
            Socket::unix(&place.0).await.unwrap_err(),
            Predecessor::find(&place.0).await.unwrap_err(),
            Offer::at(&place.0, Vec::new()).unwrap_err(),
            Offer::at(&free.0, Vec::new()).unwrap_err(),
        ];
        for error in refused {
            assert!(error.to_string().contains("is no socket"), "{error}");
        }
        for file in [&place, &beside] {
            assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "kept");
        }
    }

    #[tokio::test]
    async fn what_is_not_understood_is_an_error_and_what_was_left_behind_is_nobody() {
        use std::os::unix::fs::MetadataExt;
        let place = Place::new("odd");
        let listener = UnixListener::bind(&place.0).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"?").await.unwrap();
        });
        assert_eq!(Predecessor::find(&place.0).await.unwrap_err().kind(), ErrorKind::InvalidData);
        while Predecessor::find(&place.0).await.is_err() {}
        assert!(Predecessor::find(&place.0).await.unwrap().is_none());
        let _offer = Offer::at(&place.0, Vec::new()).unwrap();
        assert_eq!(std::fs::metadata(&place.0).unwrap().mode() & 0o777, 0o600);
    }
}
