//! The processes that are measured: started, read from `/proc`, and ended with the bench.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// `USER_HZ`, in which `/proc/PID/stat` counts: 100 on every architecture of Linux that matters here.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a tree of processes has used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// Of the threads that live: exact, to the nanosecond.
    living: Duration,
    /// Of all threads, those that ended too, each figure cut to ticks.
    all: Duration,
}

impl Cpu {
    /// The CPU time used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let living = self.living.saturating_sub(earlier.living);
        let all = self.all.saturating_sub(earlier.all);
        // Only threads that ended in between make a difference larger than what the ticks cut off.
        if all > living + 4 * TICK { all } else { living }
    }
}

/// A child process and its own children. Ends when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `program` with its output going to `log`, and waits until it accepts connections at `address`.
    pub(crate) async fn start(
        program: &Path,
        arguments: &[String],
        on_parent_death: &str,
        log: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let output = fs::File::create(log)?;
        // setpriv (util-linux) covers the one case in which nothing is dropped: a killed bench.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", on_parent_death])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut server = Self { child };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).await.is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!(
                    "{} does not listen on {address} ({ended:?}); it says:\n{}",
                    program.display(),
                    fs::read_to_string(log)?
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let mut cpu = Cpu::default();
        for pid in self.tree()? {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end while it is read: then its ticks count.
                let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
                    continue;
                };
                let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
                cpu.living += Duration::from_nanos(nanoseconds);
            }
            let fields = stat_fields(pid)?;
            let ticks: u32 = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
            cpu.all += TICK * ticks;
        }
        Ok(cpu)
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for pid in self.tree()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let kibibytes: u64 = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
                .context("no VmRSS")?
                .parse()?;
            bytes += kibibytes * 1024;
        }
        Ok(bytes)
    }

    /// The process and its children (nginx has workers, and they have none).
    fn tree(&self) -> anyhow::Result<Vec<u32>> {
        let root = self.child.id();
        let mut pids = vec![root];
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if stat_fields(pid).is_ok_and(|fields| fields[1] == root.to_string()) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed, so it is asked first; a Pingora server would
        // take its time to end gracefully, and nothing is left to wait for.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..25 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of `/proc/PID/stat` (proc(5)) from the third, the state, on: the name before them may hold
/// spaces.
fn stat_fields(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(") ").context("unknown form of stat")?;
    Ok(fields.split(' ').map(str::to_owned).collect())
}

/// Raises this process' limit of open files, which the proxies inherit, as far as it may.
pub(crate) fn allow_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(())
}
