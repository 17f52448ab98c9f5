//! Bytes across the namespace's border: a connection on one side is carried over a Unix socket to the other.
use super::wire::{Answer, LONGEST, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// A connection to the other side, read by lines until it is agreed on.
pub(super) type Lines = BufReader<UnixStream>;

/// Carries everybody who calls a listener to the other side, until the listener is dropped.
pub(super) async fn carry(listener: TcpListener, socket: std::path::PathBuf, hello: Vec<u8>) {
    loop {
        match listener.accept().await {
            Ok((caller, _)) => {
                let (socket, hello) = (socket.clone(), hello.clone());
                tokio::spawn(async move {
                    // A caller whose call cannot be carried sees the connection closed, as from a server that is down.
                    let _ = call(caller, &socket, &hello).await;
                });
            }
            // Mostly out of descriptors: those that are open must end first.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn call(mut caller: TcpStream, socket: &Path, hello: &[u8]) -> io::Result<()> {
    let mut lines = BufReader::new(UnixStream::connect(socket).await?);
    lines.get_mut().write_all(hello).await?;
    if hear::<Answer>(&mut lines).await?.is_ok() {
        copy_bidirectional(&mut caller, &mut lines).await?;
    }
    Ok(())
}

/// Ends a carried connection at the first of these places that answers.
pub(super) async fn end(mut lines: Lines, places: &[(String, u16)]) -> io::Result<()> {
    let mut reached = Err(io::Error::from(io::ErrorKind::ConnectionRefused));
    for (host, port) in places {
        reached = TcpStream::connect((host.as_str(), *port)).await;
        if reached.is_ok() {
            break;
        }
    }
    let answer: Answer = reached.as_ref().map(drop).map_err(ToString::to_string);
    say(&mut lines, &answer).await?;
    copy_bidirectional(&mut lines, &mut reached?).await?;
    Ok(())
}

/// Reads a line.
pub(super) async fn hear<T: DeserializeOwned>(lines: &mut Lines) -> io::Result<T> {
    let mut text = String::new();
    lines.take(LONGEST).read_line(&mut text).await?;
    serde_json::from_str(&text).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes a line.
pub(super) async fn say(lines: &mut Lines, value: &impl Serialize) -> io::Result<()> {
    lines.get_mut().write_all(&encode(value)).await
}
