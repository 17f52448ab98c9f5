//! Where there is no namespace: the same by environment variables.
use nix::errno::Errno;
use std::io::Write;

/// Says why the command was not started, and what does the same.
pub(super) fn refused(step: &str, errno: Errno) {
    let _ = writeln!(
        std::io::stderr(),
        "error: this system allows no namespace of its own to a command: {step} ({})",
        errno.desc()
    );
}
