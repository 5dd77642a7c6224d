//! Servers that others wrote, each a process beside the test with a folder of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::client::Request;
use super::eventually;

/// How often another port is tried, when somebody else took the one that was free.
const TRIES: usize = 5;

/// A server that takes requests; it ends when dropped.
pub(crate) struct Served {
    process: Child,
    address: SocketAddr,
    /// Holds its settings, its state and its log.
    _folder: TempDir,
}

impl Served {
    /// Starts `program` in a folder that `furnish` fills, with the arguments that `arguments` gives for
    /// that folder and the address it is to listen on, and waits for `/-/ready`.
    pub(crate) fn start(
        program: &str,
        furnish: impl FnOnce(&Path),
        arguments: impl Fn(&Path, SocketAddr) -> Vec<String>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        furnish(folder.path());
        let log = folder.path().join("log");
        for _ in 0..TRIES {
            // It cannot say which port it got, so it is told one that was free just now.
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let mut process = Command::new(program)
                .args(arguments(folder.path(), address))
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .stderr(File::create(&log).unwrap())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"));
            if ready(&mut process, address, &log) {
                return Self {
                    process,
                    address,
                    _folder: folder,
                };
            }
        }
        panic!("{}", std::fs::read_to_string(&log).unwrap());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Waits until it takes requests; false where it ended instead.
fn ready(process: &mut Child, address: SocketAddr, log: &Path) -> bool {
    eventually(&format!("a server ({})", log.display()), || {
        if process.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(address).ok()?;
        let answer = Request::new("GET", "/-/ready").send(address);
        (answer.status == 200).then_some(true)
    })
}
