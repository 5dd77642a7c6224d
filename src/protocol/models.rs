//! Lists of models: what a request asks for, what providers say, and Tollgate's own in each
//! provider's shape.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use super::route::{PathBase, operation_of, plain};
use crate::clock::UnixMicros;

/// Whose a name is that an operator put into the list.
const OWN: &str = "tollgate";

/// In whose shape a list of models is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListShape {
    /// OpenAI's, Azure's, and that of every host like them.
    Openai,
    /// Anthropic's.
    Anthropic,
    /// Gemini's.
    Gemini,
}

/// A request for the list of models, or for one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsCall {
    /// The shape that the client reads.
    pub shape: ListShape,
    /// The only model that is asked for; `None` for the list.
    pub id: Option<String>,
}

impl ModelsCall {
    /// What a request asks of the list; `None` when it asks for something else. `rest` and `base`
    /// are the route's, `anthropic` whether the client sent `anthropic-version`.
    #[must_use]
    pub fn of(method: &Method, base: PathBase, rest: &str, anthropic: bool) -> Option<Self> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return None;
        }
        let path = plain(rest);
        let name = match base {
            PathBase::BaseUrl => path.strip_prefix('/')?,
            PathBase::Origin => operation_of(&path),
        };
        let id = match name.strip_prefix("models")? {
            "" => None,
            below => Some(below.strip_prefix('/')?.to_owned()),
        };
        let googles = ["/v1beta/models", "/v1alpha/models"];
        let shape = match base {
            PathBase::BaseUrl if anthropic => ListShape::Anthropic,
            PathBase::Origin if googles.iter().any(|start| path.starts_with(start)) => {
                ListShape::Gemini
            }
            PathBase::BaseUrl | PathBase::Origin => ListShape::Openai,
        };
        Some(Self { shape, id })
    }
}

/// One model of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedModel {
    /// The name that requests have for it.
    pub id: Arc<str>,
    /// All that a provider says of it, where one does.
    said: Option<(ListShape, Map<String, Value>)>,
}

impl ListedModel {
    /// A model of which only the name is known.
    #[must_use]
    pub fn named(id: &Arc<str>) -> Self {
        Self {
            id: Arc::clone(id),
            said: None,
        }
    }

    fn said(shape: ListShape, object: Map<String, Value>) -> Option<Self> {
        let id = match shape {
            ListShape::Openai | ListShape::Anthropic => object.get("id")?.as_str()?,
            ListShape::Gemini => {
                let name = object.get("name")?.as_str()?;
                name.strip_prefix("models/").unwrap_or(name)
            }
        };
        Some(Self {
            id: Arc::from(id),
            said: Some((shape, object)),
        })
    }

    /// The model in that shape. What is not known of it is left out where the shape allows it;
    /// `offered_since` is when Tollgate began to offer it.
    #[must_use]
    pub fn in_shape(&self, shape: ListShape, offered_since: UnixMicros) -> Value {
        match (shape, &self.said) {
            (ListShape::Openai, said) => {
                // SDKs read a number there and some sort by it. When the model was made is not
                // known, and 0 would say 1970; the object is as old as the offer.
                let created = self.created().unwrap_or(offered_since);
                let mut object = match said {
                    Some((ListShape::Openai, object)) => object.clone(),
                    _ => Map::new(),
                };
                let mut state = |key: &str, value| {
                    object.entry(key).or_insert(value);
                };
                state("id", json!(&*self.id));
                state("object", json!("model"));
                state("created", json!(created.0.div_euclid(1_000_000)));
                state("owned_by", json!(self.owner()));
                Value::Object(object)
            }
            (_, Some((said, object))) if *said == shape => Value::Object(object.clone()),
            (ListShape::Anthropic, _) => {
                // "May be set to an epoch value if the release date is unknown."
                let created = self.created().unwrap_or(UnixMicros(0));
                json!({
                    "type": "model",
                    "id": &*self.id,
                    "display_name": self.display_name(),
                    "created_at": created.timestamp().to_string(),
                })
            }
            (ListShape::Gemini, _) => json!({
                "name": format!("models/{}", self.id),
                "displayName": self.display_name(),
            }),
        }
    }

    fn field(&self, key: &str) -> Option<&Value> {
        self.said.as_ref()?.1.get(key)
    }

    fn created(&self) -> Option<UnixMicros> {
        if let Some(seconds) = self.field("created").and_then(Value::as_i64) {
            return Some(UnixMicros(seconds.checked_mul(1_000_000)?)).filter(|at| at.0 > 0);
        }
        let text = self.field("created_at")?.as_str()?;
        let created = UnixMicros::from(text.parse::<jiff::Timestamp>().ok()?);
        Some(created).filter(|at| at.0 > 0)
    }

    fn owner(&self) -> &'static str {
        match &self.said {
            Some((ListShape::Anthropic, _)) => "anthropic",
            Some((ListShape::Gemini, _)) => "google",
            Some((ListShape::Openai, _)) => "unknown",
            None => OWN,
        }
    }

    fn display_name(&self) -> &str {
        let keys = ["display_name", "displayName", "name"];
        let mut names = keys.iter().filter_map(|key| self.field(key)?.as_str());
        names.next().unwrap_or(&self.id)
    }
}

/// A provider's list, or a page of it.
#[derive(Debug, PartialEq)]
pub struct ModelsPage {
    /// The models that are on it.
    pub models: Vec<ListedModel>,
    /// What the next page is asked for with; `None` where it is said to be the last, or nothing is
    /// said.
    pub next: Option<String>,
}

/// Reads a provider's answer in that shape; `None` when it is no list of models.
#[must_use]
pub fn read_models(shape: ListShape, body: &[u8]) -> Option<ModelsPage> {
    let key = match shape {
        ListShape::Openai | ListShape::Anthropic => "data",
        ListShape::Gemini => "models",
    };
    let (list, next) = match serde_json::from_slice(body).ok()? {
        // Some hosts like OpenAI answer with the bare list.
        Value::Array(list) => (list, None),
        Value::Object(mut answer) => {
            let next = next_page(shape, &answer);
            match answer.remove(key)? {
                Value::Array(list) => (list, next),
                _ => return None,
            }
        }
        _ => return None,
    };
    let models = list.into_iter().filter_map(|entry| match entry {
        Value::Object(object) => ListedModel::said(shape, object),
        _ => None,
    });
    Some(ModelsPage {
        models: models.collect(),
        next,
    })
}

/// `nextPageToken` of Gemini's, `last_id` of the others' where they say `has_more`.
fn next_page(shape: ListShape, answer: &Map<String, Value>) -> Option<String> {
    let key = match shape {
        ListShape::Gemini => "nextPageToken",
        ListShape::Openai | ListShape::Anthropic => {
            let more = answer.get("has_more").and_then(Value::as_bool);
            more.filter(|more| *more)?;
            "last_id"
        }
    };
    let next = answer.get(key)?.as_str()?;
    (!next.is_empty()).then(|| next.to_owned())
}

/// The list as a body in that shape.
#[must_use]
pub fn models_body(models: &[ListedModel], shape: ListShape, offered_since: UnixMicros) -> Bytes {
    let list: Vec<Value> = models
        .iter()
        .map(|model| model.in_shape(shape, offered_since))
        .collect();
    let body = match shape {
        ListShape::Openai => json!({"object": "list", "data": list}),
        ListShape::Anthropic => json!({
            "data": list,
            "has_more": false,
            "first_id": models.first().map(|model| &*model.id),
            "last_id": models.last().map(|model| &*model.id),
        }),
        ListShape::Gemini => json!({"models": list}),
    };
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::classify;

    const SINCE: UnixMicros = UnixMicros(1_795_000_000_000_000);

    fn call(method: &Method, path: &str, anthropic: bool) -> Option<ModelsCall> {
        let route = classify(method, path).unwrap();
        ModelsCall::of(method, route.base, route.rest, anthropic)
    }

    #[test]
    fn a_request_says_which_list_it_reads() {
        for (path, anthropic, shape, id) in [
            ("/v1/models", false, ListShape::Openai, None),
            ("/c/a/v1/models/", false, ListShape::Openai, None),
            ("/v1/models/gpt-5", false, ListShape::Openai, Some("gpt-5")),
            (
                "/v1/models/meta%2Fllama-4",
                false,
                ListShape::Openai,
                Some("meta/llama-4"),
            ),
            ("/openai/models", false, ListShape::Openai, None),
            ("/openai/v1/models/m", false, ListShape::Openai, Some("m")),
            ("/v1beta/openai/models", false, ListShape::Openai, None),
            ("/v1/models", true, ListShape::Anthropic, None),
            ("/v1/models/c", true, ListShape::Anthropic, Some("c")),
            ("/v1beta/models", false, ListShape::Gemini, None),
            ("/v1beta/models/g", true, ListShape::Gemini, Some("g")),
        ] {
            let id = id.map(str::to_owned);
            let expected = Some(ModelsCall { shape, id });
            assert_eq!(call(&Method::GET, path, anthropic), expected, "{path}");
            assert_eq!(call(&Method::HEAD, path, anthropic), expected, "{path}");
        }
        for (method, path) in [
            (Method::DELETE, "/v1/models/ft:gpt"),
            (Method::POST, "/v1beta/models/g:generateContent"),
            (Method::GET, "/v1/modelsx"),
            (Method::GET, "/v1/files"),
            (Method::GET, "/other/models"),
        ] {
            assert_eq!(call(&method, path, false), None, "{path}");
        }
    }

    fn only(shape: ListShape, said: &Value) -> ListedModel {
        let key = if shape == ListShape::Gemini {
            "models"
        } else {
            "data"
        };
        let body = json!({key: [said]}).to_string();
        let page = read_models(shape, body.as_bytes()).unwrap();
        page.models.into_iter().next().unwrap()
    }

    #[test]
    fn what_a_provider_says_stays_as_it_is_in_its_own_shape() {
        for (shape, said) in [
            (
                ListShape::Openai,
                json!({"id": "m", "object": "model", "created": 5, "owned_by": "x", "more": [1]}),
            ),
            (
                ListShape::Anthropic,
                json!({"type": "model", "id": "m", "created_at": "2025-10-01T00:00:00Z", "x": 1}),
            ),
            (
                ListShape::Gemini,
                json!({"name": "models/m", "inputTokenLimit": 5}),
            ),
        ] {
            let model = only(shape, &said);
            assert_eq!((&*model.id, model.in_shape(shape, SINCE)), ("m", said));
        }
    }

    #[test]
    fn a_model_is_told_in_every_shape() {
        let claude = only(
            ListShape::Anthropic,
            &json!({"type": "model", "id": "claude-x", "display_name": "Claude X",
                "created_at": "2025-10-01T00:00:00Z"}),
        );
        assert_eq!(
            claude.in_shape(ListShape::Openai, SINCE),
            json!({"id": "claude-x", "object": "model", "created": 1_759_276_800,
                "owned_by": "anthropic"})
        );
        assert_eq!(
            claude.in_shape(ListShape::Gemini, SINCE),
            json!({"name": "models/claude-x", "displayName": "Claude X"})
        );
        let gpt = only(
            ListShape::Openai,
            &json!({"id": "gpt", "created": 1_759_276_800}),
        );
        assert_eq!(
            gpt.in_shape(ListShape::Anthropic, SINCE),
            json!({"type": "model", "id": "gpt", "display_name": "gpt",
                "created_at": "2025-10-01T00:00:00Z"})
        );
        let bare = only(ListShape::Openai, &json!({"id": "gpt"}));
        let own = ListedModel::named(&Arc::from("gpt"));
        for (model, owner) in [(bare, "unknown"), (own, "tollgate")] {
            assert_eq!(
                model.in_shape(ListShape::Openai, SINCE),
                json!({"id": "gpt", "object": "model", "created": 1_795_000_000,
                    "owned_by": owner})
            );
            assert_eq!(
                model.in_shape(ListShape::Anthropic, SINCE)["created_at"],
                "1970-01-01T00:00:00Z"
            );
        }
    }

    #[test]
    fn what_is_no_list_is_not_read() {
        let read = |body: &str| read_models(ListShape::Openai, body.as_bytes());
        let ids = |body: &str| {
            let page = read(body).unwrap();
            page.models
                .iter()
                .map(|m| m.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(r#"{"data":[{"id":"a"},{"no":1},7,{"id":5}]}"#), ["a"]);
        assert_eq!(ids(r#"[{"id":"a"},{"id":"b"}]"#), ["a", "b"]);
        assert_eq!(ids(r#"{"data":[]}"#), [""; 0]);
        for body in [
            "",
            "<html>",
            "7",
            "{}",
            r#"{"data":{}}"#,
            r#"{"models":[]}"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn a_page_says_what_the_next_is_asked_for_with() {
        for (shape, body, next) in [
            (
                ListShape::Gemini,
                r#"{"models":[],"nextPageToken":"t"}"#,
                Some("t"),
            ),
            (
                ListShape::Gemini,
                r#"{"models":[],"nextPageToken":""}"#,
                None,
            ),
            (
                ListShape::Anthropic,
                r#"{"data":[],"has_more":true,"last_id":"m"}"#,
                Some("m"),
            ),
            (
                ListShape::Anthropic,
                r#"{"data":[],"has_more":false,"last_id":"m"}"#,
                None,
            ),
            (ListShape::Openai, r#"{"data":[],"has_more":true}"#, None),
            (
                ListShape::Openai,
                r#"{"data":[],"has_more":true,"last_id":"m"}"#,
                Some("m"),
            ),
        ] {
            let page = read_models(shape, body.as_bytes()).unwrap();
            assert_eq!(page.next.as_deref(), next, "{body}");
        }
    }
}
