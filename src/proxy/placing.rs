//! Which channel a request goes to, and the next one after a try that failed.

use std::sync::Arc;

use pingora::proxy::Session;

use crate::channel::{Asked, NoPlace, Wanted};
use crate::clock::UnixMicros;
use crate::keys::Caller;

use super::caller;
use super::exchange::Exchange;
use super::failure::Failure;
use super::gateway::{Gateway, Target};

impl Gateway {
    /// Finds the request's channels and takes a place at the first.
    pub(super) fn place(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<(), Failure> {
        let model = exchange.recorder.admission().requested_model.clone();
        let grant = exchange.caller.grant.as_deref();
        let wanted = Wanted {
            named: target.channel.as_deref(),
            preferred: grant.and_then(|grant| grant.channel.as_deref()),
            allowed: grant.and_then(|grant| grant.channels.as_deref()),
            api: exchange.api,
            model: model.as_deref(),
            caller: exchange.caller.number,
            bond: None,
        };
        let mut placing = self
            .channels
            .placing(&wanted)
            .map_err(|none| refused(none, &exchange.caller))?;
        let place = placing
            .take(UnixMicros::now())
            .map_err(|none| refused(none, &exchange.caller))?;
        let channel = place.channel();
        let uri = &session.req_header().uri;
        let start = uri.path().len().saturating_sub(target.rest_bytes);
        let rest = uri.path().get(start..).unwrap_or_default();
        let destination = channel.destination(&Asked {
            api: exchange.api,
            base: target.base,
            rest,
            query: uri.query(),
            path: uri.path(),
            model: model.as_deref(),
        });
        exchange.upstream_path = destination.path;
        exchange.channel = Some(Arc::clone(channel));
        exchange.recorder.admit(&channel.name);
        exchange.recorder.sold_by(channel.provider);
        Ok(())
    }
}

fn refused(none: NoPlace, caller: &Caller) -> Failure {
    match none {
        NoPlace::NotAllowed => Failure::ChannelDenied(caller::named(caller), None),
        NoPlace::NoSuchChannel(name) => Failure::NoSuchChannel { name },
        _ => Failure::Internal,
    }
}
