//! Lines on their way to whoever reads the log. Nothing waits for that reader: what finds no room is lost, and counted.
use std::io::{self, Write};
use std::mem::take;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// So many bytes wait at most.
const MOST: usize = 1 << 20;
/// For what waits when the process ends.
const LAST: Duration = Duration::from_secs(1);

static LINES: Lines = Lines::new();
/// Whether a thread writes. It is started with the first line: commands that must not have one yet have said nothing.
static WRITES: OnceLock<bool> = OnceLock::new();

/// Where lines go.
#[derive(Clone, Copy)]
pub(super) enum To {
    Error,
    Output,
}

impl To {
    fn put(self, lines: &[u8]) {
        // There is nobody to tell.
        let _ = match self {
            Self::Error => io::stderr().lock().write_all(lines),
            Self::Output => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush())
            }
        };
    }

    fn keep_writing(self) {
        loop {
            let (lines, lost) = LINES.next();
            if lost > 0 {
                // One more of them: it is written after these.
                tracing::warn!(lines.lost = lost, "lines of the log were lost: nobody read it in time");
            }
            self.put(&lines);
            LINES.written();
        }
    }
}

/// Takes whole lines, one at a time.
impl Write for To {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let to = *self;
        let started = || thread::Builder::new().name("log".to_owned()).spawn(move || to.keep_writing()).is_ok();
        if *WRITES.get_or_init(started) {
            LINES.add(line);
        } else {
            to.put(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until all is written, but not for long.
pub(super) fn flush() {
    LINES.flush(LAST);
}

struct Lines {
    /// Held for moments only.
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    lines: Vec<u8>,
    lost: u64,
    /// Whether what was taken last is on its way out.
    is_writing: bool,
}

impl Lines {
    const fn new() -> Self {
        let waiting = Waiting { lines: Vec::new(), lost: 0, is_writing: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > MOST {
            waiting.lost += 1;
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Waits for lines; these, and how many were lost since the last.
    fn next(&self) -> (Vec<u8>, u64) {
        let waiting = self.changed.wait_while(self.waiting(), |waiting| waiting.lines.is_empty());
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        (take(&mut waiting.lines), take(&mut waiting.lost))
    }

    fn written(&self) {
        self.waiting().is_writing = false;
        self.changed.notify_all();
    }

    fn flush(&self, within: Duration) {
        let is_left = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.waiting(), within, is_left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_stays_bounded_keeps_nobody_and_tells_what_was_lost() {
        let lines = Lines::new();
        let line = [b'x'; 10_000];
        for _ in 0..200 {
            lines.add(&line);
        }
        lines.flush(Duration::from_millis(10));
        let (taken, lost) = lines.next();
        assert!(taken.len() <= MOST && taken.len() > MOST - line.len());
        assert_eq!(taken.len() / line.len() + usize::try_from(lost).unwrap(), 200);
        lines.add(b"after\n");
        lines.written();
        assert_eq!(lines.next(), (b"after\n".to_vec(), 0));
    }

    #[test]
    fn the_end_waits_for_what_is_being_written() {
        static SOME: Lines = Lines::new();
        SOME.add(b"last\n");
        let writing = thread::spawn(|| {
            let taken = SOME.next();
            SOME.written();
            taken
        });
        SOME.flush(Duration::from_mins(1));
        assert!(SOME.waiting().lines.is_empty());
        assert_eq!(writing.join().unwrap().0, b"last\n");
    }
}
