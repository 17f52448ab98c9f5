//! Sockets that are bound, and not served yet.
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// A socket that is bound, and not served yet.
#[derive(Debug)]
pub enum Socket {
    /// Of a network.
    Tcp(TcpListener),
    /// Of this machine, and its path, which goes when it ends.
    Unix(UnixListener, PathBuf),
}

impl Socket {
    /// Of a network.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Of this machine. One that an earlier process left behind is replaced; one that somebody serves is not.
    ///
    /// # Errors
    /// If the path cannot be had.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        let left_behind = UnixStream::connect(path).await;
        if left_behind.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            no_other_file(path)?;
            tokio::fs::remove_file(path).await?;
        }
        UnixListener::bind(path).map(|listener| Self::Unix(listener, path.to_owned()))
    }
}

/// A file that is no socket is nobody's to replace: who connects to one is refused as at a socket that nobody serves.
pub(crate) fn no_other_file(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        let problem = format!("`{}` is no socket; choose another path", path.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
    }
    Ok(())
}
