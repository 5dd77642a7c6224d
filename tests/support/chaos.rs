//! A chaos proxy: a plain TCP proxy whose line can be broken in the ways that lines break, and
//! mended again, while a test runs.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is wrong with the line. A change concerns what passes from then on, on connections that
/// are open too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    None,
    /// Connections are reset as soon as they carry something.
    Reset,
    /// Half open: everything is taken and nothing is ever answered.
    Silence,
    /// Each piece of an answer arrives so much later.
    Late(Duration),
    /// An answer is reset after so many of its bytes.
    CutAfter(usize),
}

struct Line {
    to: SocketAddr,
    trouble: Mutex<Trouble>,
    sockets: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
}

impl Line {
    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap()
    }
}

/// The proxy in front of one upstream; it ends when dropped.
pub(crate) struct Chaos {
    address: SocketAddr,
    line: Arc<Line>,
    /// Accepts while it is there.
    plug: Option<Plug>,
}

struct Plug {
    stop: Arc<Mutex<bool>>,
    accepting: Option<thread::JoinHandle<()>>,
    address: SocketAddr,
}

impl Plug {
    fn put_in(listener: TcpListener, line: &Arc<Line>) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Mutex::new(false));
        let (stopped, line) = (Arc::clone(&stop), Arc::clone(line));
        let accepting = thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if *stopped.lock().unwrap() {
                    return;
                }
                line.connections.fetch_add(1, Ordering::SeqCst);
                let line = Arc::clone(&line);
                thread::spawn(move || carry(&line, socket));
            }
        });
        Self {
            stop,
            accepting: Some(accepting),
            address,
        }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        // The accepting thread sees the end at the next connection; the listener goes with it.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

impl Chaos {
    /// In front of `to`, with nothing wrong.
    pub(crate) fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            to,
            trouble: Mutex::new(Trouble::None),
            sockets: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        Self {
            address,
            plug: Some(Plug::put_in(listener, &line)),
            line,
        }
    }

    /// The base URL that an SDK would be given.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Makes this the matter with the line.
    pub(crate) fn set(&self, trouble: Trouble) {
        *self.line.trouble.lock().unwrap() = trouble;
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.line.connections.load(Ordering::SeqCst)
    }

    /// Pulls the plug: what is connected is reset, what connects is refused.
    pub(crate) fn unplug(&mut self) {
        self.plug = None;
        for socket in self.line.sockets.lock().unwrap().drain(..) {
            reset(&socket);
        }
    }

    /// Puts it in again, at the same address.
    pub(crate) fn plug_in(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.plug = Some(Plug::put_in(listener, &self.line));
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.unplug();
    }
}

/// Lingering for no time at all makes the close a reset; the shutdown wakes who reads from it.
fn reset(socket: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).ok();
    socket.shutdown(Shutdown::Both).ok();
}

fn carry(line: &Arc<Line>, client: TcpStream) {
    let Ok(server) = TcpStream::connect(line.to) else {
        reset(&client);
        return;
    };
    for socket in [&client, &server] {
        socket.set_nodelay(true).ok();
        let known = socket.try_clone().unwrap();
        line.sockets.lock().unwrap().push(known);
    }
    let (asking, answering) = (Arc::clone(line), Arc::clone(line));
    let (client_in, server_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || pump(client_in, server_out, |_| asking.trouble(), false));
    let mut sent = 0;
    pump(
        server,
        client,
        |bytes| {
            sent += bytes;
            match answering.trouble() {
                Trouble::CutAfter(limit) if sent < limit => Trouble::None,
                trouble => trouble,
            }
        },
        true,
    );
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    mut trouble: impl FnMut(usize) -> Trouble,
    is_answer: bool,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(length) if length > 0 => length,
            _ => break,
        };
        match trouble(length) {
            Trouble::None => {}
            Trouble::Reset => {
                reset(&from);
                reset(&to);
                return;
            }
            // Taken, and nothing follows, neither bytes nor an end.
            Trouble::Silence => continue,
            Trouble::Late(by) => {
                if is_answer {
                    thread::sleep(by);
                }
            }
            Trouble::CutAfter(_) => {
                if is_answer {
                    // What comes before the cut has to arrive.
                    to.write_all(&buffer[..length / 2]).ok();
                    reset(&from);
                    reset(&to);
                    return;
                }
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
