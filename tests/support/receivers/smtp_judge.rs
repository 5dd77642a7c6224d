//! What stands between a sender of mail and a real server: it hears all that is said, shows what was
//! taken as people read it, and answers in the server's place, breaks off or falls silent when told to.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use tollgate::clock::UnixMicros;

use super::smtp::{MailServer, MailSetup, Taken};
use super::{Answer, Fault, Judge, Request, Rules, Shown, State};

/// What [`PASSWORD`](super::smtp::PASSWORD) and its user look like on the wire.
pub(crate) const PLAIN_LOGIN: &str = "AHRvbGxnYXRlAGNhbmFyeS1vZi10aGUtbWFpbC1wYXNzd29yZA==";

/// The server, and how much it took.
struct Real {
    server: MailServer,
    taken: usize,
}

impl Real {
    /// What it took last; waits until that was told.
    fn last(&mut self) -> Taken {
        self.taken += 1;
        self.server.until(self.taken).pop().unwrap()
    }
}

/// Starts it, and the server behind it, which asks for a login without encryption.
pub(crate) async fn start() -> Judge {
    let server = MailSetup::usual().plan("plain_login", true).start();
    let port = server.port("none");
    let real = Arc::new(Mutex::new(Real { server, taken: 0 }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rules: Rules = Box::new(|_, _| unreachable!("the real server judges"));
    let state = Arc::new(Mutex::new(State::new(rules)));
    let shared = Arc::clone(&state);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let fault = shared.lock().unwrap().faults.pop_front();
            let (state, real) = (Arc::clone(&shared), Arc::clone(&real));
            tokio::spawn(async move { converse(stream, port, fault, &state, &real).await });
        }
    });
    Judge { address, state }
}

async fn converse(
    mut client: TcpStream,
    port: u16,
    fault: Option<Fault>,
    state: &Mutex<State>,
    real: &Mutex<Real>,
) -> Option<()> {
    match fault {
        Some(Fault::Reset) => {
            client.set_zero_linger().ok()?;
            return None;
        }
        Some(Fault::Hang) => {
            std::future::pending::<()>().await;
            return None;
        }
        Some(Fault::Answer(_) | Fault::Echo(_)) | None => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let asked = {
        let mut state = state.lock().unwrap();
        state.requests.push(Request {
            target: String::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            at: UnixMicros::now(),
        });
        state.requests.len() - 1
    };
    let (mut said, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            length = client.read(&mut said) => {
                let bytes = &said[..length.ok().filter(|length| *length > 0)?];
                let text = String::from_utf8_lossy(bytes);
                state.lock().unwrap().requests[asked].target.push_str(&text);
                server.write_all(bytes).await.ok()?;
            }
            length = server.read(&mut answered) => {
                let bytes = &answered[..length.ok().filter(|length| *length > 0)?];
                let heard = || state.lock().unwrap().requests[asked].target.clone();
                let text = String::from_utf8_lossy(bytes);
                let is_taken = text.contains("Message taken");
                let taken = is_taken.then(|| real.lock().unwrap().last());
                let instead = match (&fault, is_taken) {
                    (Some(Fault::Answer(Answer { status, body, .. })), true) => {
                        Some(format!("{status} {body}\r\n"))
                    }
                    // Servers that repeat what they were told: at the login, and of the message.
                    (Some(Fault::Echo(status)), false) if status % 2 == 0 && text.starts_with("235") => {
                        Some(format!("535 5.7.8 {:?}\r\n", heard()))
                    }
                    (Some(Fault::Echo(_)), true) => Some(format!("554 5.7.1 {:?}\r\n", heard())),
                    _ => None,
                };
                if let Some(instead) = instead {
                    client.write_all(instead.as_bytes()).await.ok()?;
                    continue;
                }
                if let Some(taken) = taken {
                    state.lock().unwrap().shown.push(shown(&taken));
                }
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}

/// What people read, and where links lead in either form.
fn shown(taken: &Taken) -> Shown {
    let links = taken.html().split("href=\"").skip(1);
    let links = links.filter_map(|rest| rest.split('"').next());
    Shown {
        text: taken.text().to_owned(),
        // Nobody is mentioned in a mail: all are addressed.
        mentions: taken
            .to()
            .into_iter()
            .filter(|to| *to != "ann@example.com")
            .map(Into::into)
            .collect(),
        links: links.map(|link| link.replace("&amp;", "&")).collect(),
        code: Vec::new(),
    }
}
