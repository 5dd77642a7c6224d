//! Who calls, and whether they may: the key that a request shows, the channel it names, the model
//! it asks for.

use std::sync::Arc;

use http::Method;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use crate::clock::UnixMicros;
use crate::keys::Caller;
use crate::protocol::{Operation, StatedModel, names_one_model};
use crate::record::Api;

use super::body::is_handshake;
use super::exchange::Exchange;
use super::failure::Failure;
use super::gateway::{Gateway, Target};
use super::head;

/// What a caller's key has to do with the model of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing: it may ask for any.
    #[default]
    Not,
    /// A model that is stated must be one of the key's. The request makes nothing that a model
    /// would be needed for.
    WhereStated,
    /// The model must be known before the request is sent whole.
    Always,
    /// Each message of a WebSocket says for which model it is.
    ByMessage,
}

/// The name of the caller's key, for whoever is told of it.
pub(super) fn named(caller: &Caller) -> Arc<str> {
    caller.name.clone().unwrap_or_default()
}

impl Gateway {
    /// Finds out who calls. A key of this gateway is taken out of the head here, before anything
    /// else reads it, and with it every other credential: what stands in the same places as a key
    /// is not for an upstream.
    pub(super) fn recognise(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<(), Failure> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        let head = session.req_header();
        let caller = keys
            .identify_any(head::shown(head), UnixMicros::now())
            .map_err(Failure::Denied)?;
        let admission = exchange.recorder.admission();
        admission.key.clone_from(&caller.name);
        if let Some(grant) = &caller.grant {
            let tags = grant.tags.iter();
            let tags = tags.map(|(name, value)| (name.clone(), value.clone()));
            admission.tags.extend(tags);
            exchange.bound = bound(session, exchange, &caller);
            head::withhold_credentials(session.req_header_mut())
                .map_err(|_| Failure::MalformedRequest)?;
        }
        exchange.caller = caller;
        match target.channel.as_deref() {
            Some(channel) if !exchange.caller.may_use(channel) => {
                let key = named(&exchange.caller);
                Err(Failure::ChannelDenied(key, Some(Arc::from(channel))))
            }
            _ => Ok(()),
        }
    }
}

fn bound(session: &Session, exchange: &mut Exchange, caller: &Caller) -> Bound {
    if !caller.is_bound_to_models() {
        return Bound::Not;
    }
    let head = session.req_header();
    if is_handshake(session) {
        let known = exchange.recorder.admission().requested_model.is_some();
        let by_message = exchange.api == Api::Responses && exchange.socket.is_asked_for();
        if by_message && !known {
            return Bound::ByMessage;
        }
        // Of two names in a query one upstream takes the first and another the last.
        if !head.uri.query().is_none_or(names_one_model) {
            exchange.recorder.admission().requested_model = None;
        }
        return Bound::Always;
    }
    let shows = matches!(exchange.operation, Operation::Retrieve | Operation::Results);
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(&head.method);
    if shows || safe || exchange.api == Api::Files {
        Bound::WhereStated
    } else {
        Bound::Always
    }
}

impl Exchange {
    /// Refuses a model that the caller may not ask for, and a request whose model nobody will know.
    /// For one that a streaming body is yet to tell, the decision comes later.
    pub(super) fn check_model(&mut self) -> Result<(), Failure> {
        let told_later = self.form.is_some();
        let model = &self.recorder.admission().requested_model;
        let decided = match self.bound {
            Bound::Not | Bound::ByMessage => return Ok(()),
            Bound::WhereStated => model.is_none() || self.caller.may_ask_for(model.as_deref()),
            Bound::Always if model.is_none() && told_later => return Ok(()),
            Bound::Always => self.caller.may_ask_for(model.as_deref()),
        };
        if decided {
            return Ok(());
        }
        let model = model.clone();
        Err(Failure::ModelDenied(named(&self.caller), model))
    }

    /// As [`check_model`](Self::check_model), of a form as far as it has passed. `ended` says that
    /// no more of it comes.
    pub(super) fn check_form(&mut self, ended: bool) -> pingora::Result<()> {
        if self.bound != Bound::Always || self.recorder.admission().requested_model.is_some() {
            return Ok(());
        }
        let Some(form) = &self.form else {
            return Ok(());
        };
        let model = match form.model() {
            StatedModel::One(model) if self.caller.may_ask_for(Some(model)) => return Ok(()),
            StatedModel::One(model) => Some(Arc::from(model)),
            StatedModel::None if !ended && !form.is_over() => return Ok(()),
            StatedModel::None | StatedModel::Several => None,
        };
        let failure = Failure::ModelDenied(named(&self.caller), model);
        self.refuse(failure)
    }

    /// Ends the request for `failure`, which says more than the error that Pingora is handed.
    pub(super) fn refuse(&mut self, failure: Failure) -> pingora::Result<()> {
        let status = failure.wording().status;
        self.failure = Some(failure);
        Err(Error::new_down(ErrorType::HTTPStatus(status)))
    }
}
