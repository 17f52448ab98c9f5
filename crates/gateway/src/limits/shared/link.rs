//! The one connection to Valkey: commands follow one another over it without waiting for each other's answers, and it is opened again
//! whenever it is lost. Nobody waits for a server that is not there: whoever asks meanwhile is told so at once.
use super::resp::{self, Reply};
use super::{Endpoint, SCRIPTS};
use bytes::{Buf as _, BytesMut};
use client::Random;
use rustls_pki_types::ServerName;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// How long it may take to connect, and to log in.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may be silent, when it is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(1);
/// How often it is asked that.
const PING: Duration = Duration::from_secs(1);
/// The pauses between two attempts, which double.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Commands that are written at once.
const BATCH: usize = 256;
/// Commands that wait for their answers at most.
const WAITING: usize = 4_096;
/// So many bad answers in a row, and it is left alone for a while.
const BAD: u32 = 3;

/// A command, and who waits for its answer, if anybody does.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    pub(super) answer: Option<oneshot::Sender<Reply>>,
}

/// How the connection fares.
#[derive(Default)]
pub(super) struct State {
    /// [`NEW`], [`UP`] or [`DOWN`].
    is: AtomicU8,
    why: Mutex<String>,
    /// Bad answers in a row.
    bad: AtomicU32,
    /// Whether a good one came since it was opened.
    proved: AtomicBool,
    broken: Notify,
}

const NEW: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

impl State {
    pub(super) fn is_up(&self) -> bool {
        self.is.load(Ordering::Relaxed) == UP
    }

    /// Why it is not up; `None` while it is.
    pub(super) fn down(&self) -> Option<String> {
        match self.is.load(Ordering::Relaxed) {
            UP => None,
            NEW => Some("it was not connected to yet".to_owned()),
            _ => Some(super::held(&self.why).clone()),
        }
    }

    /// It answered in time, and well.
    pub(super) fn good(&self) {
        self.bad.store(0, Ordering::Relaxed);
        self.proved.store(true, Ordering::Relaxed);
    }

    /// It answered too late, or did not do what it was told.
    pub(super) fn bad(&self, endpoint: &Endpoint, why: &str) {
        if self.bad.fetch_add(1, Ordering::Relaxed) + 1 >= BAD {
            self.lost(endpoint, why);
            self.broken.notify_waiters();
        }
    }

    fn opened(&self, endpoint: &Endpoint) {
        self.bad.store(0, Ordering::Relaxed);
        if self.is.swap(UP, Ordering::Relaxed) == DOWN {
            tracing::info!(at = %endpoint, "limits are shared again");
        }
    }

    fn lost(&self, endpoint: &Endpoint, why: &str) {
        why.clone_into(&mut super::held(&self.why));
        if self.is.swap(DOWN, Ordering::Relaxed) != DOWN {
            tracing::warn!(at = %endpoint, why, "limits are not shared: each gateway counts alone until Valkey answers again");
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Keeps a connection until it is aborted.
pub(super) async fn keep(
    endpoint: Arc<Endpoint>,
    state: Arc<State>,
    asks: mpsc::Sender<Sent>,
    mut asked: mpsc::Receiver<Sent>,
    random: Arc<dyn Random>,
) {
    let [shortest, longest] = PAUSES;
    let mut pause = shortest;
    loop {
        let opened = timeout(CONNECT, open(&endpoint)).await;
        let why = match opened {
            Ok(Ok(stream)) => {
                state.opened(&endpoint);
                converse(stream, &asks, &mut asked, &state).await
            }
            Ok(Err(why)) => why,
            Err(_) => "it does not answer in time".to_owned(),
        };
        state.lost(&endpoint, &why);
        if state.proved.swap(false, Ordering::Relaxed) {
            pause = shortest;
        }
        let mut byte = [0];
        random.fill(&mut byte);
        sleep(pause.mul_f64(0.75 + f64::from(byte[0]) / 1_024.0)).await;
        pause = (pause * 2).min(longest);
        // Who waits for these is told at once that there is no answer.
        while asked.try_recv().is_ok() {}
    }
}

/// A connection that is logged in, knows the scripts, and has just answered in time.
async fn open(endpoint: &Endpoint) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    let stream = stream.map_err(|error| format!("it cannot be reached: {}", error.kind()))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut stream: Box<dyn Stream> = match &endpoint.tls {
        None => Box::new(stream),
        Some(tls) => {
            let unnamed = |_| "its host is no name that certificates have".to_owned();
            let name = ServerName::try_from(endpoint.host.clone()).map_err(unnamed)?;
            let opened = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            Box::new(opened.map_err(|error| format!("TLS fails: {error}"))?)
        }
    };
    if let Some(password) = endpoint.password().await? {
        let words = [b"AUTH", endpoint.username.as_bytes(), password.expose().as_bytes()];
        told(&mut stream, &words, "the login").await?;
    }
    for script in SCRIPTS {
        let known = told(&mut stream, &[b"SCRIPT", b"LOAD", script.text.as_bytes()], "its scripts").await?;
        if known != script.digest() {
            return Err("it does not know the scripts that it was given".to_owned());
        }
    }
    let there = timeout(endpoint.deadline, told(&mut stream, &[b"PING"], "PING")).await;
    there.map_err(|_| "it answers too late".to_owned())??;
    Ok(stream)
}

/// What it answers to a command, one at a time.
async fn told(stream: &mut Box<dyn Stream>, words: &[&[u8]], what: &str) -> Result<String, String> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    resp::command(words, &mut bytes);
    let broken = |error: std::io::Error| format!("the connection breaks: {}", error.kind());
    stream.write_all(&bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = BytesMut::new();
    loop {
        if let Some((reply, length)) = resp::reply(&answer).map_err(|error| error.to_string())? {
            return match reply {
                Reply::Text(text) if length == answer.len() => Ok(text),
                // Some repeat what they were told, passwords too.
                Reply::Refused(why) => {
                    Err(format!("it refuses {what}: {:?}", why.split(' ').next().unwrap_or_default()))
                }
                Reply::Text(_) | Reply::Numbers(_) => Err(resp::Nonsense.to_string()),
            };
        }
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err("it closes the connection".to_owned());
        }
    }
}

/// Sends commands and hands out answers until the connection is of no use any more: why.
async fn converse(
    stream: Box<dyn Stream>,
    asks: &mpsc::Sender<Sent>,
    asked: &mut mpsc::Receiver<Sent>,
    state: &State,
) -> String {
    let (mut read, mut write) = tokio::io::split(stream);
    let waiting: Mutex<VecDeque<Option<oneshot::Sender<Reply>>>> = Mutex::default();
    let broken = |error: std::io::Error| format!("the connection breaks: {}", error.kind());
    let writes = async {
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), Vec::new());
        loop {
            asked.recv_many(&mut batch, BATCH).await;
            bytes.clear();
            {
                let mut waiting = super::held(&waiting);
                for Sent { bytes: command, answer } in batch.drain(..) {
                    bytes.extend_from_slice(&command);
                    waiting.push_back(answer);
                }
                if waiting.len() > WAITING {
                    return "it has fallen behind".to_owned();
                }
            }
            if let Err(error) = async {
                write.write_all(&bytes).await?;
                write.flush().await
            }
            .await
            {
                return broken(error);
            }
        }
    };
    let reads = async {
        let mut buffer = BytesMut::with_capacity(4 << 10);
        loop {
            loop {
                match resp::reply(&buffer) {
                    Ok(None) => break,
                    Err(error) => return error.to_string(),
                    Ok(Some((reply, length))) => {
                        buffer.advance(length);
                        let Some(next) = super::held(&waiting).pop_front() else {
                            return "it answers what it was not asked".to_owned();
                        };
                        // Who does not wait any more has decided alone.
                        let _ = next.map(|next| next.send(reply));
                    }
                }
            }
            match read.read_buf(&mut buffer).await {
                Ok(0) => return "it closes the connection".to_owned(),
                Ok(_) => {}
                Err(error) => return broken(error),
            }
        }
    };
    let pings = async {
        let mut bytes = Vec::new();
        resp::command(&[b"PING"], &mut bytes);
        loop {
            sleep(PING).await;
            let (answer, answered) = oneshot::channel();
            // Where there is no room, others wait for answers.
            if asks.try_send(Sent { bytes: bytes.clone(), answer: Some(answer) }).is_ok()
                && !matches!(timeout(SILENCE, answered).await, Ok(Ok(Reply::Text(_))))
            {
                return "it has fallen silent".to_owned();
            }
        }
    };
    tokio::select! {
        why = writes => why,
        why = reads => why,
        why = pings => why,
        () = state.broken.notified() => super::held(&state.why).clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t_07_a_server_that_repeats_the_password_has_it_told_to_nobody() {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let says = b"-ERR unknown command 'AUTH', with args beginning with: 'gateway' 'open sesame'\r\n";
        theirs.write_all(says).await.unwrap();
        let mut ours: Box<dyn Stream> = Box::new(ours);
        let words: [&[u8]; 3] = [b"AUTH", b"gateway", b"open sesame"];
        assert_eq!(told(&mut ours, &words, "the login").await, Err("it refuses the login: \"ERR\"".to_owned()));
    }
}
