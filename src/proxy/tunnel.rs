//! The accounts inside a WebSocket. The connection is one request with a row of its own, which has
//! no usage; each response that is made over it, and each transcription of what the client said, is
//! a request too: told to the journal when it is asked for, closed when it ends, under one session.
//!
//! The bytes pass untouched. What cannot be read leaves a row's usage missing, with a reason.

mod accounts;
mod passage;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::channel::Fault;
use crate::config::Secret;
use crate::keys::Caller;
use crate::protocol::{Dialogue, Leave, MissingReason, Refusal, farewell, reads_socket};
use crate::record::{Api, ErrorSource, Outcome};

use super::admission::Destination;
use super::body::is_handshake;
use super::caller;
use super::failure::Failure;
use super::recorder::{Ending, Recorder};
use accounts::Accounts;

/// Close codes of a session that ended as it should (RFC 6455 §7.4.1): done, going away, and none
/// stated.
const FAREWELLS: [Option<u16>; 3] = [Some(1000), Some(1001), None];

/// Close codes by which an upstream says that it failed itself (RFC 6455 §7.4.1, and IANA's registry
/// of them): an error of its own, a restart, overload, a gateway's upstream. Any other is about what
/// the client sent, or the provider's own word for it.
const FAILURES: [u16; 4] = [1011, 1012, 1013, 1014];

/// What a request has to do with a WebSocket.
#[derive(Debug)]
pub(super) enum Socket {
    /// Nothing, as far as Tollgate reads them.
    None,
    /// It asks for one.
    Asked,
    /// It became one.
    Open(Box<Tunnel>),
}

impl Socket {
    pub(super) fn asked_for(session: &Session, api: Api) -> Self {
        // The header alone makes no handshake: what is posted with it is answered as any other.
        if is_handshake(session) && reads_socket(api) {
            Self::Asked
        } else {
            Self::None
        }
    }

    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self, Self::Asked)
    }

    /// Begins where the upstream's `header` has agreed to it. `credentials` are what an error's
    /// text must not show.
    pub(super) fn open(
        api: Api,
        destination: Destination,
        header: &ResponseHeader,
        credentials: Vec<Secret>,
    ) -> Self {
        let extended = header.headers.contains_key(SEC_WEBSOCKET_EXTENSIONS);
        Dialogue::new(api, extended).map_or(Self::None, |dialogue| {
            Self::Open(Box::new(Tunnel {
                dialogue,
                accounts: Accounts::new(api, destination, credentials),
                left: None,
            }))
        })
    }

    pub(super) fn tunnel(&mut self) -> Option<&mut Tunnel> {
        match self {
            Self::Open(tunnel) => Some(tunnel),
            Self::None | Self::Asked => None,
        }
    }
}

/// Takes the offer of extensions (compression, in practice) out of a handshake: what is compressed
/// could not be read in bounded memory, because each message may refer to the ones before it.
pub(super) fn decline_extensions(head: &mut RequestHeader) {
    head.remove_header(&SEC_WEBSOCKET_EXTENSIONS);
}

/// A WebSocket under way.
#[derive(Debug)]
pub(super) struct Tunnel {
    dialogue: Dialogue,
    accounts: Accounts,
    left: Option<Left>,
}

/// What the client asked for and does not get.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// Its event.
    event_id: Option<Box<str>>,
    lane: Option<Box<str>>,
}

impl Refused {
    fn unallowed(caller: &Caller, model: Option<Arc<str>>) -> Self {
        Self {
            failure: Failure::ModelDenied(caller::named(caller), model),
            event_id: None,
            lane: None,
        }
    }
}

/// Who ended a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Client,
    /// With a close frame, or without.
    Upstream(Option<Leave>),
}

impl Tunnel {
    /// Reads what the client sent, before it goes on. The bytes are counted in the `connection`'s
    /// account already; those of a response's go over to its own.
    ///
    /// Fails where it asks for a model that the `caller` may not ask for, or for what a rule refuses; these
    /// bytes must not go on then.
    pub(super) fn client_sent(
        &mut self,
        caller: &Caller,
        connection: &mut Recorder,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        let Self {
            dialogue, accounts, ..
        } = self;
        let mut refused = None;
        dialogue.client_sent(bytes, &mut |create| {
            if refused.is_some() {
                // It does not go on either.
                return;
            }
            let of_connection = connection.admission().requested_model.clone();
            let model = create.model.as_deref().map(Arc::from).or(of_connection);
            if !caller.may_ask_for(model.as_deref()) {
                refused = Some(Refused::unallowed(caller, model));
                return;
            }
            let (event_id, lane) = (create.event_id.clone(), create.lane.clone());
            match accounts.asked(connection, create, now) {
                Ok(apart) => connection.counted_apart(apart, 0),
                Err(failure) => {
                    refused = Some(Refused {
                        failure,
                        event_id,
                        lane,
                    });
                }
            }
        });
        if caller.is_bound_to_models() && !dialogue.hears_client() {
            refused.get_or_insert_with(|| Refused::unallowed(caller, None));
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        if dialogue.client_leave().is_some() {
            self.left.get_or_insert(Left::Client);
        }
        Ok(())
    }

    /// The refusal of what the session began by itself.
    pub(super) fn take_blocked(&mut self) -> Option<Failure> {
        self.accounts.take_blocked()
    }

    /// What tells the client that it is `refused`, where that can be said between two messages.
    pub(super) fn farewell(&self, connection: &Recorder, refused: &Refused) -> Option<Bytes> {
        let wording = refused.failure.wording();
        self.dialogue.can_interpose().then(|| {
            farewell(&Refusal {
                id: &connection.id().to_string(),
                event_id: refused.event_id.as_deref(),
                lane: refused.lane.as_deref(),
                status: wording.status,
                kind: wording.kind,
                code: wording.code,
                message: &wording.message,
            })
        })
    }

    /// The client sends nothing more.
    pub(super) fn client_left(&mut self) {
        self.left.get_or_insert(Left::Client);
    }

    /// Reads what the upstream sent, before it goes on: a client that saw the end of its response
    /// finds it in the ledger. The bytes are counted as in [`client_sent`](Self::client_sent).
    pub(super) fn upstream_sent(&mut self, connection: &mut Recorder, bytes: &[u8], now: Instant) {
        let Self {
            dialogue, accounts, ..
        } = self;
        let read = dialogue.unread().is_none();
        dialogue.upstream_sent(bytes, &mut |told| {
            let apart = accounts.told(connection, told, now);
            connection.counted_apart(0, apart);
        });
        if read && let Some(reason) = dialogue.unread() {
            accounts.lose_sight(reason, now);
        }
        if let Some(leave) = dialogue.upstream_leave() {
            self.left.get_or_insert(Left::Upstream(Some(leave)));
        }
    }

    /// The upstream sends nothing more.
    pub(super) fn upstream_left(&mut self) {
        self.left.get_or_insert(Left::Upstream(None));
    }

    /// The connection ended, in the stated failure if Pingora told one. Closes what is unfinished,
    /// and says how the connection's own account ends, and whether that is the channel's fault.
    pub(super) fn end(
        &mut self,
        failure: Option<&Failure>,
        now: Instant,
    ) -> (Ending, Option<Fault>) {
        let read = self.dialogue.unread().is_none();
        let (of_responses, of_connection, fault) = match (self.left, failure) {
            (Some(Left::Client), _) => (client_closed(), Ending::OK, None),
            (Some(Left::Upstream(Some(leave))), _) if FAREWELLS.contains(&leave.code) => {
                (self.accounts.cut_off(leave.code), Ending::OK, None)
            }
            (Some(Left::Upstream(leave)), _) if read => {
                let code = leave.and_then(|leave| leave.code);
                let ending = self.accounts.cut_off(code);
                let fault = self.fault_of_leaving(code);
                (ending.clone(), ending, Some(fault))
            }
            (None, Some(failure @ Failure::ClientClosed)) => (failure.ending(), Ending::OK, None),
            (
                None,
                Some(
                    failure @ (Failure::Blocked(..)
                    | Failure::TooManyResponses { .. }
                    | Failure::ModelDenied(..)),
                ),
            ) => {
                // What was on its way had been let go, and may be billed.
                let cut = Ending::bare(Outcome::Interrupted, Some(ErrorSource::Internal));
                (cut, failure.ending(), Some(failure.fault(true)))
            }
            (None, Some(failure)) if read => {
                let ending = failure.ending();
                (ending.clone(), ending, Some(failure.fault(true)))
            }
            _ => (self.accounts.cut_off(None), Ending::OK, None),
        };
        self.accounts.close_all(&of_responses, now);
        (of_connection, fault)
    }

    /// What the upstream's leaving says of the channel: nothing beside its last words, which the
    /// channel has heard, and nothing where it left for what the client sent.
    fn fault_of_leaving(&self, code: Option<u16>) -> Fault {
        let of_the_provider = code.is_none_or(|code| FAILURES.contains(&code));
        if of_the_provider && self.dialogue.hears_client() && !self.accounts.has_last_words() {
            Fault::CutShort
        } else {
            Fault::NotTheChannels
        }
    }

    /// How what was made over it ended by the upstream's word, since this was last asked.
    pub(super) fn take_said(&mut self) -> Vec<Ending> {
        self.accounts.take_said()
    }

    /// Tollgate itself ends: closes what is unfinished.
    pub(super) fn abandon(&mut self, ending: &Ending, now: Instant) {
        self.accounts.close_all(ending, now);
    }

    /// Why responses may have passed that nobody read, where that is so.
    pub(super) fn unread(&self) -> Option<MissingReason> {
        self.dialogue.unread()
    }
}

fn client_closed() -> Ending {
    Ending::bare(Outcome::ClientClosed, Some(ErrorSource::Downstream))
}
