//! The list of models, where Tollgate answers it itself: the operator's own names, alone or before
//! what the upstreams say they have.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use tokio::time::Instant;

use crate::channel::{Channel, Credential, Registry, Wanted};
use crate::clock::UnixMicros;
use crate::config::{ChannelKind, KeyGrant, ModelList, ModelPattern, Settings};
use crate::keys::Caller;
use crate::protocol::{ListedModel, ModelsCall, models_body};
use crate::record::{Api, GateState};
use crate::sources::models::{ListError, ModelLists, NotListed, Room};

use super::answer;
use super::exchange::{Exchange, has_own_credential};
use super::gateway::Target;
use super::head;
use super::timeline::Timeline;

/// The channels that did not say which models they have, by comma.
const MISSING: HeaderName = HeaderName::from_static("x-tollgate-models-missing");

/// Time in which the upstreams say what they have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Upstreams that are asked at the same time.
const AT_ONCE: usize = 64;

/// What the list is made of.
#[derive(Debug)]
pub struct Models {
    /// The preset, then the aliases; each once.
    names: Vec<Arc<str>>,
    /// Since when these are offered: the start of the program.
    offered_since: UnixMicros,
    /// What the upstreams say besides.
    merged: Option<Merged>,
}

#[derive(Debug)]
struct Merged {
    channels: Arc<Registry>,
    /// As in the registry.
    offers: Vec<Offer>,
    lists: ModelLists,
}

/// What the settings say of a channel's models.
#[derive(Debug)]
struct Offer {
    channel: Arc<str>,
    /// Whether its upstream's own list says what can be asked of it.
    is_asked: bool,
    /// Names that lead there whatever the upstream says.
    names: Vec<Arc<str>>,
    /// What of the upstream's list leads there; `None` for all.
    serves: Option<Vec<ModelPattern>>,
}

/// An answer of Tollgate's own.
pub(super) struct Listed {
    body: Bytes,
    missing: Option<HeaderValue>,
}

/// Who asks, as far as the list depends on it.
#[derive(Clone, Copy)]
struct Asking<'a> {
    caller: &'a Caller,
    /// What the client shows a provider, where that is a provider's.
    credentials: &'a [Credential],
}

impl Models {
    /// The list as it is set; `None` where it is the upstream's. Fails when nothing can be asked
    /// over HTTP.
    pub fn new(
        settings: &Settings,
        channels: &Arc<Registry>,
        now: UnixMicros,
    ) -> Result<Option<Self>, ListError> {
        let list = &settings.models.list;
        let merged = match list.from {
            ModelList::Passthrough => return Ok(None),
            ModelList::Preset => None,
            ModelList::Merge => Some(Merged {
                lists: ModelLists::new(channels)?,
                channels: Arc::clone(channels),
                offers: settings.channels.iter().map(Offer::new).collect(),
            }),
        };
        let aliases = settings.models.aliases.iter().map(|(alias, _)| alias);
        let mut seen = HashSet::new();
        let names = list.preset.iter().chain(aliases);
        Ok(Some(Self {
            names: names.filter(|name| seen.insert(*name)).cloned().collect(),
            offered_since: now,
            merged,
        }))
    }

    /// Tollgate's own answer to a request for the list, or for a model in it. All else goes its
    /// way: to a channel that the request names, which says itself what it has, and for a model that
    /// is not in the list.
    pub(super) async fn answer(
        &self,
        head: &RequestHeader,
        target: &Target,
        caller: &Caller,
        timeline: &mut Timeline,
    ) -> Option<Listed> {
        let grant = caller.grant.as_deref();
        let path = head.uri.path();
        let start = path.len().saturating_sub(target.rest_bytes);
        let anthropic = head.headers.contains_key("anthropic-version");
        let rest = path.get(start..).unwrap_or_default();
        let call = ModelsCall::of(&head.method, target.base, rest, anthropic)?;
        if target.channel.is_some() {
            return None;
        }
        // A key of Tollgate's own is none of a provider's business.
        let credentials = match grant {
            None => head::credential_fields(head),
            Some(_) => Vec::new(),
        };
        let asking = Asking {
            caller,
            credentials: &credentials,
        };
        let own = self.own(grant);
        let known = |id: &str| own.iter().any(|model| *model.id == *id);
        let (models, missing) = match &call.id {
            Some(id) if known(id) => (own, Vec::new()),
            _ => self.all(own, asking, timeline).await,
        };
        let body = match &call.id {
            None => models_body(&models, call.shape, self.offered_since),
            Some(id) => {
                let model = models.iter().find(|model| *model.id == **id)?;
                let model = model.in_shape(call.shape, self.offered_since);
                Bytes::from(model.to_string())
            }
        };
        let missing = (!missing.is_empty()).then(|| missing.join(","));
        Some(Listed {
            body,
            missing: missing.and_then(|names| HeaderValue::try_from(names).ok()),
        })
    }

    /// The operator's own names, as far as the caller may use them.
    fn own(&self, grant: Option<&KeyGrant>) -> Vec<ListedModel> {
        let names = self.names.iter().filter(|name| may_ask_for(grant, name));
        names.map(ListedModel::named).collect()
    }

    /// These, and what the upstreams have besides; and who did not say.
    async fn all(
        &self,
        own: Vec<ListedModel>,
        asking: Asking<'_>,
        timeline: &mut Timeline,
    ) -> (Vec<ListedModel>, Vec<Arc<str>>) {
        let Some(merged) = &self.merged else {
            return (own, Vec::new());
        };
        // From here on it is waiting for others.
        timeline.try_begins(std::time::Instant::now());
        let (theirs, missing) = merged.ask(asking).await;
        let mut seen = HashSet::new();
        let all = own.into_iter().chain(theirs);
        let models = all.filter(|model| {
            may_ask_for(asking.caller.grant.as_deref(), &model.id)
                && seen.insert(Arc::clone(&model.id))
        });
        (models.collect(), missing)
    }
}

impl Merged {
    /// What the open channels have that the caller may use, in their order; and which of them did
    /// not say.
    async fn ask(&self, asking: Asking<'_>) -> (Vec<ListedModel>, Vec<Arc<str>>) {
        let now = Instant::now();
        let at = UnixMicros::now();
        let grant = asking.caller.grant.as_deref();
        let open = self.offers.iter().filter(|offer| {
            let gate = self.channels.gate_status(&offer.channel, at);
            may_use(grant, &offer.channel) && gate.is_ok_and(|gate| gate.state != GateState::Closed)
        });
        let shown_to = self.shown_to(asking, at);
        let room = Room::default();
        // Collected first: the stream's own closures would bind the request's lifetime.
        let asked: Vec<_> = open
            .filter_map(|offer| Some((offer, self.channels.channel(&offer.channel)?)))
            .map(|(offer, channel)| {
                let is_shown = shown_to.as_ref().is_some_and(|to| Arc::ptr_eq(to, channel));
                let client = if is_shown { asking.credentials } else { &[] };
                self.offered(offer, channel, client, &room, now)
            })
            .collect();
        let mut answers = stream::iter(asked).buffered(AT_ONCE);
        let (mut models, mut missing) = (Vec::new(), Vec::new());
        while let Some((offered, said)) = answers.next().await {
            models.extend(offered);
            missing.extend(said.err());
        }
        (models, missing)
    }

    /// The one channel that may see the client's credential: where its request would go if it passed
    /// through, unless that channel has a credential of its own. Nobody else is shown what is meant
    /// for another.
    fn shown_to(&self, asking: Asking<'_>, at: UnixMicros) -> Option<Arc<Channel>> {
        let is_without = |channel: &Arc<Channel>| !has_own_credential(channel);
        if asking.credentials.is_empty() || !self.channels.iter().any(is_without) {
            return None;
        }
        let wanted = Wanted {
            named: None,
            preferred: None,
            allowed: None,
            api: Api::Models,
            model: None,
            caller: asking.caller.number,
            bond: None,
        };
        let place = self.channels.placing(&wanted).ok()?.take(at).ok()?;
        // Given back at once: lists count for no channel's bound, and find out nothing of it.
        Some(Arc::clone(place.channel())).filter(is_without)
    }

    /// What one channel has; and its name where its upstream did not say.
    async fn offered(
        &self,
        offer: &Offer,
        channel: &Channel,
        client: &[Credential],
        room: &Room,
        now: Instant,
    ) -> (Vec<ListedModel>, Result<(), Arc<str>>) {
        let listed = if offer.is_asked {
            let over = now + PATIENCE;
            self.lists.of(channel, client, room, now, over).await
        } else {
            Ok(Arc::default())
        };
        let said = listed.as_ref().map(|_| ()).map_err(|NotListed| {
            // Its own names are listed all the same.
            Arc::clone(&offer.channel)
        });
        let listed = listed.unwrap_or_default();
        let upstream = listed.iter().filter(|model| offer.serves(&model.id));
        let own = offer.names.iter().map(ListedModel::named);
        (upstream.cloned().chain(own).collect(), said)
    }
}

impl Offer {
    fn new(settings: &crate::config::ChannelSettings) -> Self {
        let mapped = settings.model_map.iter().map(|(name, _)| Arc::clone(name));
        let patterns = settings.models.iter().flatten();
        let exact = patterns.filter(|pattern| pattern.is_exact());
        let exact = exact.map(|pattern| Arc::from(pattern.as_str()));
        Self {
            channel: Arc::clone(&settings.name),
            // Azure lists the models that could be deployed; requests need those that are
            // ("Models - List", <https://learn.microsoft.com/rest/api/azureopenai/models/list>).
            is_asked: settings.kind != ChannelKind::Azure,
            names: exact.chain(mapped).collect(),
            serves: settings.models.clone(),
        }
    }

    fn serves(&self, model: &str) -> bool {
        let patterns = self.serves.as_ref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(model)))
    }
}

/// Whether the holder of a key may ask for that model; `None` where no key is required.
fn may_ask_for(grant: Option<&KeyGrant>, model: &str) -> bool {
    let models = grant.and_then(|grant| grant.models.as_ref());
    models.is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
}

/// Whether a request of that caller's that names no channel may go to this one.
fn may_use(grant: Option<&KeyGrant>, channel: &str) -> bool {
    let Some(grant) = grant else {
        return true;
    };
    let allowed = grant.channels.as_ref();
    allowed.is_none_or(|names| names.iter().any(|name| **name == *channel))
        && grant.channel.as_ref().is_none_or(|own| **own == *channel)
}

/// Sends the answer, and closes the account before.
pub(super) async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    listed: &Listed,
) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(200, Some(5))?;
    header.insert_header(CONTENT_TYPE, "application/json")?;
    header.insert_header(CONTENT_LENGTH, listed.body.len())?;
    if let Some(missing) = &listed.missing {
        header.insert_header(MISSING, missing.clone())?;
    }
    answer::mark(&mut header, exchange.recorder.id(), None)?;
    let bodiless = session.req_header().method == Method::HEAD;
    let bytes = if bodiless { 0 } else { listed.body.len() };
    exchange.recorder.answered(200);
    exchange.recorder.forwarded(bytes, Duration::ZERO);
    exchange.capture.answered(&header);
    if !bodiless {
        exchange.capture.received(Some(&listed.body));
    }
    // Before the first byte: whoever saw it finds it in the ledger.
    exchange.close_passed(std::time::Instant::now());
    if !session.is_body_done() {
        // What is left of the request's body would be taken for the next request.
        session.set_keepalive(None);
    }
    let downstream = &mut session.downstream_session;
    downstream.write_response_header(Box::new(header)).await?;
    if bodiless {
        return downstream.finish_body().await;
    }
    downstream
        .write_response_body(listed.body.clone(), true)
        .await
}

#[cfg(test)]
mod tests;
