//! The client's side of a request, where more is asked of it than Pingora has.
//!
//! Pingora ends both sides as soon as one fails, writes what an upstream answers at once, and keeps
//! no more than 64 KiB of a body for another try. It has no hook in between, but the client's side
//! may be any session (`HttpSession::Custom`). So a request that needs more gets its session wrapped,
//! when it does and not before, into one that passes everything on and can do three things besides:
//!
//! - **drain** (`streaming.on_client_close: drain`): the client leaves in the middle of an answer, and
//!   the upstream is heard to the end all the same. A read of the idling client that finds it gone, or
//!   a write to it that fails, stays here: from there on the client seems to listen and to take
//!   everything at once, until the upstream ends, or until the time is over and the error is handed out
//!   after all. Then everything goes the way it goes without drains. The connection to the client is
//!   closed when it is found gone, whatever becomes of the answer.
//! - **hold**: an upstream refuses, and whether another channel is tried depends on a code inside the
//!   answer. Its header and what comes of its body are kept until that is decided; then they are
//!   dropped, or go out as if nothing had been. A client that waits sees no difference but the time.
//! - **replay**: a body that Pingora did not keep was read whole. Pingora is told that it did, so that
//!   it asks for the body on each try; `request_body_filter` then puts the whole in place.

mod session;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use tokio::time::Instant;

use session::Wrapper;

/// Answers that are drained at the same time at most; the upstream of any further one is cut off.
const MOST_DRAINS: u64 = 1024;

/// What stands for an answer that was held for as long as answers are, or to its end, undecided.
const UNDECIDED: &str = "HeldUndecided";

/// How many answers are being drained.
#[derive(Clone, Debug, Default)]
pub(super) struct Drains(Arc<AtomicU64>);

impl Drains {
    fn enter(&self) -> Option<Draining> {
        // Dropped again at once when it is one too many.
        let draining = Draining(self.clone());
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        (before < MOST_DRAINS).then_some(draining)
    }
}

/// One of them, until dropped.
#[derive(Debug)]
struct Draining(Drains);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the wrapper around a session is good for, from the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities<'a> {
    /// For how long an answer is drained.
    pub(super) drain: Option<(Duration, &'a Drains)>,
    /// The body was read whole, and Pingora kept nothing of it.
    pub(super) replay: bool,
}

/// What the phases of a request know of its client's wrapped session.
#[derive(Debug)]
pub(super) struct Downstream {
    shared: Arc<Shared>,
}

struct Shared {
    drain: Option<(Duration, Drains)>,
    replay: bool,
    /// Bytes of the answer's body the client had been sent when it was found gone.
    left: OnceLock<u64>,
    held: Mutex<Held>,
    /// The request waits for a place at a channel.
    waits: AtomicBool,
    /// Where the client's own session waits once the wrapper around it is dropped.
    parked: Mutex<Option<Box<ServerSession>>>,
}

/// An answer that is held back.
#[derive(Default)]
struct Held {
    /// `None` while none is.
    until: Option<Instant>,
    tasks: Vec<HttpTask>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("drain", &self.drain)
            .field("replay", &self.replay)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Downstream {
    /// Wraps the client's session.
    pub(super) fn wrap(session: &mut Session, abilities: Abilities<'_>) -> Self {
        let shared = Arc::new(Shared {
            drain: abilities
                .drain
                .map(|(longest, drains)| (longest, drains.clone())),
            replay: abilities.replay,
            left: OnceLock::new(),
            held: Mutex::default(),
            waits: AtomicBool::new(false),
            parked: Mutex::new(None),
        });
        let nobody = Box::new(ServerSession::new_custom(Box::new(())));
        let client = std::mem::replace(&mut session.downstream_session, nobody);
        let wrapper = Wrapper::new(client, Arc::clone(&shared));
        *session.downstream_session = ServerSession::new_custom(Box::new(wrapper));
        Self { shared }
    }

    /// Keeps the answer that begins now, until it is released or forgotten; `longest` later the
    /// request fails with an error that [`is_undecided`].
    pub(super) fn hold(&self, longest: Duration) {
        *self.shared.held() = Held {
            until: Some(Instant::now() + longest),
            tasks: Vec::new(),
        };
    }

    /// What is held goes to the client, together with what comes next of it.
    pub(super) fn release(&self) {
        self.shared.held().until = None;
    }

    /// What is held goes nowhere.
    pub(super) fn forget(&self) {
        *self.shared.held() = Held::default();
    }

    /// While the request `waits` for a channel no answer comes that could be drained: the client's
    /// leaving is told.
    pub(super) fn waits(&self, waits: bool) {
        self.shared.waits.store(waits, Ordering::Release);
    }

    /// Bytes of the answer's body the client was sent, once it is known to have left.
    pub(super) fn received_bytes(&self) -> Option<u64> {
        self.shared.left.get().copied()
    }

    /// Whether the client is known to have left.
    pub(super) fn has_left(&self) -> bool {
        self.received_bytes().is_some()
    }

    /// Gives a client that has not left its session back: it may send another request.
    pub(super) fn give_back(&self, session: &mut Session) {
        if self.has_left() || !session.downstream_session.is_custom() {
            return;
        }
        *session.downstream_session = ServerSession::new_custom(Box::new(()));
        let mut parked = self
            .shared
            .parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = parked.take() {
            session.downstream_session = client;
        }
    }
}

/// Whether the error says of an answer that is held that it is time to decide without the rest.
pub(super) fn is_undecided(error: &Error) -> bool {
    error.etype().as_str() == UNDECIDED
}

fn undecided<T>() -> pingora::Result<T> {
    Err(Error::new_up(ErrorType::new(UNDECIDED)))
}
