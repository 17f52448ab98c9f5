//! A private namespace: user, mounts and network. What is made here is seen by this process and those it starts, by nobody
//! else; the system outside stays as it is. Everything in this file happens before there is a second thread.
use super::hosts;
use super::netlink;
use super::wire::{Answer, Hello, Invitation, Line, PRIVATE, Plan, Report};
use crate::failure::{Failure, why};
use crate::run::ca::RunCa;
use crate::run::environment::{self, Environment};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why there is no namespace.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The system does not allow it, at this step.
    Kernel(&'static str, Errno),
    /// Something else is in the way.
    Other(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Daemons that answer for names, with what they mean outside.
const NAME_CACHES: [&str; 2] = ["/run/nscd", "/var/run/nscd"];

/// The folder that only the namespace sees.
pub(super) struct Private(PathBuf);

impl Private {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Makes a namespace, and puts into it what the plan needs.
pub(super) fn make(
    folder: &Path,
    plan: &Plan,
    names: &[String],
    ca: &RunCa,
    line: &mut Line,
) -> Result<Private, Refusal> {
    let refused = |step| move |errno| Refusal::Kernel(step, errno);
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(refused("a user, mount and network namespace"))?;
    line.say(&Report::Unshared)?;
    if line.hear::<Answer>()?.is_err() {
        return Err(Refusal::Kernel("ids in the user namespace", Errno::EPERM));
    }
    die_with_parent()?;
    // Nothing that is mounted from here on may spread to where the mounts came from.
    change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(refused("mounts of its own"))?;
    let private = folder.join(PRIVATE);
    mount(Some("tmpfs"), &private, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0700"))
        .map_err(refused("a file system of its own"))?;
    let private = Private(private);
    let mut addresses: Vec<IpAddr> = vec![hosts::METADATA];
    addresses.extend(plan.allow.iter().flat_map(|allowed| &allowed.addresses).filter(|address| !address.is_loopback()));
    netlink::bring_up(&addresses).map_err(refused("a network device"))?;
    names_inside(&private, plan, names)?;
    trust_inside(&private, plan, ca)?;
    Ok(private)
}

/// Goes into the namespace of another run, and answers what programs there have in their environment.
pub(super) fn join(door: &Path) -> Result<Environment, Refusal> {
    let mut line = Line::open(door, &Hello::Join)?;
    let Invitation { pid, environment } = line.hear()?;
    let link = |name: &str| {
        File::open(format!("/proc/{pid}/ns/{name}")).map_err(|error| {
            let error = format!("the namespace of that run cannot be opened: {}", why(&error));
            Failure::new(error, "join as the user who started it")
        })
    };
    let (user, network, mounts) = (link("user")?, link("net")?, link("mnt")?);
    // The process was there after its namespaces were opened, so they are its own and not those of a later process that
    // got the same number.
    line.say(&true)?;
    line.hear::<bool>()?;
    let here = std::env::current_dir().ok();
    for (link, kind) in
        [(user, CloneFlags::CLONE_NEWUSER), (network, CloneFlags::CLONE_NEWNET), (mounts, CloneFlags::CLONE_NEWNS)]
    {
        setns(link, kind).map_err(|errno| Refusal::Kernel("entering another run's namespace", errno))?;
    }
    die_with_parent()?;
    // Changing mounts leaves a process in the root folder.
    if let Some(here) = here {
        std::env::set_current_dir(&here).map_err(|error| {
            Failure::new(format!("`{}` is not there in that run: {}", here.display(), why(&error)), "start elsewhere")
        })?;
    }
    Ok(environment)
}

/// Ids inside are the ids outside: for root all that it has, for others their own alone.
pub(super) fn map_ids(pid: u32) -> std::io::Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let own = |map: &str, id: u32| {
        let all = || {
            let lines = fs::read_to_string(format!("/proc/self/{map}")).unwrap_or_default();
            let ranges = lines.lines().filter_map(|line| {
                let mut words = line.split_whitespace();
                let (first, count) = (words.next()?, words.nth(1)?);
                Some(format!("{first} {first} {count}\n"))
            });
            ranges.collect::<String>()
        };
        if root { all() } else { format!("{id} {id} 1\n") }
    };
    if !root {
        // Whoever may not give up groups must not be able to drop them: a group can deny access.
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    fs::write(format!("/proc/{pid}/uid_map"), own("uid_map", nix::unistd::geteuid().as_raw()))?;
    fs::write(format!("/proc/{pid}/gid_map"), own("gid_map", nix::unistd::getegid().as_raw()))
}

/// Without the process outside nobody could end those inside.
fn die_with_parent() -> Result<(), Refusal> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Refusal::Kernel("ending with its parent", errno))
}

fn names_inside(private: &Private, plan: &Plan, names: &[String]) -> Result<(), Refusal> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/sys/kernel/hostname");
    let file = hosts::file(&read("/etc/hosts"), machine.trim(), names, &plan.allow);
    cover(private, "hosts", &file, Path::new("/etc/hosts"))?;
    let switch = Path::new("/etc/nsswitch.conf");
    if switch.exists() {
        cover(private, "nsswitch.conf", &hosts::switch(&read("/etc/nsswitch.conf")), switch)?;
    }
    for cache in NAME_CACHES.map(Path::new).into_iter().filter(|cache| cache.is_dir()) {
        mount(Some("tmpfs"), cache, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(|errno| Refusal::Kernel("hiding the name cache", errno))?;
    }
    Ok(())
}

/// Where nothing else can be reached, nothing else needs to be trusted.
fn trust_inside(private: &Private, plan: &Plan, ca: &RunCa) -> Result<(), Refusal> {
    let present: Vec<&Path> =
        environment::BUNDLES.map(Path::new).into_iter().filter(|bundle| bundle.exists()).collect();
    let mut bundle = ca.pem.clone();
    if !plan.allow.is_empty() {
        let before = present.first().and_then(|bundle| fs::read_to_string(bundle).ok());
        bundle = before.unwrap_or_default() + "\n" + &bundle;
    }
    write(private, "ca.pem", &ca.pem)?;
    write(private, "ca-bundle.pem", &bundle)?;
    let mut covered = Vec::new();
    for place in present {
        // Some of these places are links to others.
        let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        if !covered.contains(&place) {
            bind(&private.path("ca-bundle.pem"), &place)?;
            covered.push(place);
        }
    }
    Ok(())
}

fn cover(private: &Private, name: &str, text: &str, place: &Path) -> Result<(), Refusal> {
    if !place.exists() {
        let error = format!("there is no `{}` to put another over", place.display());
        return Err(Failure::new(error, "make it, empty: it is never written to").into());
    }
    write(private, name, text)?;
    bind(&private.path(name), place)
}

fn write(private: &Private, name: &str, text: &str) -> Result<(), Refusal> {
    fs::write(private.path(name), text)
        .map_err(|error| Failure::plain(format!("`{name}` cannot be written inside: {}", why(&error))).into())
}

fn bind(from: &Path, over: &Path) -> Result<(), Refusal> {
    mount(Some(from), over, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|errno| Refusal::Kernel("a file put over the system's", errno))
}

fn change(place: &Path, flags: MsFlags) -> Result<(), Errno> {
    mount(None::<&str>, place, None::<&str>, flags, None::<&str>)
}
