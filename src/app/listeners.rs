//! The two listening sockets, and their way from one process to the next.
//!
//! They are opened here and handed to Pingora through its table of inherited descriptors, because
//! Pingora panics when a port is taken. The same table travels over a Unix socket in the data
//! folder when SIGQUIT hands the listeners to a new process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::server::{Fds, ListenFds};
use tokio::net::TcpSocket;

use crate::config::Settings;
use crate::ledger::make_private_folder;

/// The socket in the data folder over which listeners travel.
const UPGRADE_SOCKET: &str = "upgrade.sock";

/// A Unix socket's path has room for this many bytes (`sun_path`, unix(7)).
const MOST_SOCKET_PATH: usize = 107;

/// Connections the kernel queues before they are accepted.
const BACKLOG: u32 = 4096;

/// The admin listener's name in the table. The data plane's is its address, which Pingora asks for.
const ADMIN: &str = "admin";

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {address} (`{key}`): the port is taken; stop the program that has it, or set another `{key}`"
    )]
    Taken {
        /// The address asked for.
        address: SocketAddr,
        /// The setting.
        key: &'static str,
    },
    /// The system's own reason.
    #[error("cannot listen on {address} (`{key}`): {source}")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// The setting.
        key: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot make the data folder {path}: {source}; set another `data_dir`")]
    DataDir {
        /// `data_dir`.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No process handed anything over.
    #[error(
        "no listeners came over {path}: send SIGQUIT to the running tollgate within a few seconds after `--upgrade` starts ({reason})"
    )]
    NothingHandedOver {
        /// The socket.
        path: PathBuf,
        /// What happened instead.
        reason: String,
    },
    /// The socket's path is too long for the system.
    #[error(
        "the path {path} is too long for a Unix socket ({MOST_SOCKET_PATH} bytes); use a shorter `data_dir`"
    )]
    SocketPath {
        /// The socket.
        path: PathBuf,
    },
    /// The running process listens elsewhere.
    #[error(
        "the running tollgate does not listen on {address}; listeners cannot change in a hand-over"
    )]
    NotInherited {
        /// The address asked for.
        address: String,
    },
}

/// The listening sockets, in the form Pingora inherits them.
pub(super) struct Listeners {
    table: ListenFds,
    data_address: SocketAddr,
    data_name: String,
    socket: PathBuf,
}

impl Listeners {
    /// Opens both listeners, or takes them over from the running process.
    pub(super) fn open(settings: &Settings, upgrade: bool) -> Result<Self, ListenError> {
        let socket = settings.data_dir.join(UPGRADE_SOCKET);
        let mut fds = Fds::new();
        let data_address;
        if upgrade {
            receive(&mut fds, &socket)?;
            data_address = settings.listen;
            for name in [data_address.to_string(), ADMIN.to_owned()] {
                if fds.get(&name).is_none() {
                    return Err(ListenError::NotInherited { address: name });
                }
            }
        } else {
            let data = bind(settings.listen, "listen")?;
            data_address = data.1;
            fds.add(data_address.to_string(), data.0);
            let admin = bind(settings.admin.listen, "admin.listen")?;
            fds.add(ADMIN.to_owned(), admin.0);
        }
        Ok(Self {
            table: Arc::new(fds.into()),
            data_address,
            data_name: data_address.to_string(),
            socket,
        })
    }

    pub(super) fn table(&self) -> ListenFds {
        Arc::clone(&self.table)
    }

    pub(super) fn data_name(&self) -> &str {
        &self.data_name
    }

    pub(super) fn data_address(&self) -> SocketAddr {
        self.data_address
    }

    /// The admin port's listener, on a descriptor of its own: the table keeps its for a hand-over.
    pub(super) fn admin(&self) -> io::Result<tokio::net::TcpListener> {
        let table = self.table.lock();
        let Some(&descriptor) = table.get(ADMIN) else {
            return Err(io::Error::other("the admin listener is not in the table"));
        };
        #[allow(
            unsafe_code,
            reason = "the table holds the only name of this descriptor, nothing closes it while the \
                      table is locked, and the borrow ends with the statement"
        )]
        // SAFETY: see the reason: `descriptor` is open for the duration of this borrow.
        let listener = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    /// Sends both listeners to the process that waits for them. Blocks for some seconds at most.
    pub(super) fn hand_over(table: &ListenFds, socket: &Path) -> Result<(), String> {
        let path = socket.display().to_string();
        table
            .lock()
            .send_to_sock(path.as_str())
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

fn receive(fds: &mut Fds, socket: &Path) -> Result<(), ListenError> {
    if let Some(folder) = socket.parent() {
        make_private_folder(folder).map_err(|source| ListenError::DataDir {
            path: folder.to_owned(),
            source,
        })?;
    }
    let path = socket.display().to_string();
    if path.len() > MOST_SOCKET_PATH {
        return Err(ListenError::SocketPath {
            path: socket.to_owned(),
        });
    }
    fds.get_from_sock(path.as_str())
        .map_err(|error| ListenError::NothingHandedOver {
            path: socket.to_owned(),
            reason: error.to_string(),
        })
}

/// A listening socket and the address it got (the port, when 0 was asked for).
fn bind(address: SocketAddr, key: &'static str) -> Result<(i32, SocketAddr), ListenError> {
    let refused = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            ListenError::Taken { address, key }
        } else {
            ListenError::Refused {
                address,
                key,
                source,
            }
        }
    };
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A port in TIME_WAIT after a restart is ours; one that somebody listens on is not.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let got = listener.local_addr()?;
        Ok((listener.into_raw_fd(), got))
    };
    listen().map_err(refused)
}

/// Every stream takes two descriptors; the usual soft limit of 1,024 ends at 500 of them.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
