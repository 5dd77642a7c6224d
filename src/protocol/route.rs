//! Which API a method and path call, and what of the path goes to the upstream.

use std::borrow::Cow;

use http::Method;

use super::api::conventions;
use crate::record::Api;

/// What a request's method and path say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'p> {
    /// The API called.
    pub api: Api,
    /// Whether the call makes something that is billed, or only looks after it.
    pub operation: Operation,
    /// The channel named by `/c/<channel>/…`, percent-decoded; `None` when the path names none.
    pub channel: Option<Cow<'p, str>>,
    /// The model a path names instead of the body: a classic Azure deployment, a Gemini model.
    pub model: Option<Cow<'p, str>>,
    /// Whether it may cost something: whatever brings something, but for what is known to be free, and
    /// what opens a session.
    pub may_cost: bool,
    /// Whether a stream is asked for, where the path says so instead of the body (Gemini).
    pub stream: Option<bool>,
    /// The id of what is asked for, where its results are.
    pub results_of: Option<Cow<'p, str>>,
    /// What is appended to the upstream's base, as the client wrote it: starts with `/`, or is
    /// empty (`/v1` itself), or is `*` (`OPTIONS *`).
    pub rest: &'p str,
    /// What `rest` is appended to.
    pub base: PathBase,
}

/// Whether a call makes something billed. Usage is counted only where it arises: an answer that
/// shows a stored response again must not count it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A generation, an embedding, …: its answer's usage counts.
    Create,
    /// Listing, deletion, counting: usage in the answer is not new.
    Manage,
    /// Asking by its id for what is made in a while, or for its end: usage in the answer may be told
    /// for the first time.
    Retrieve,
    /// Asking for the results of what was made: usage is stated by the line.
    Results,
}

/// What the path's rest is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathBase {
    /// The channel's whole `base_url` (`/v1/<rest>`).
    BaseUrl,
    /// Scheme and authority of the channel's `base_url` (every other path); the whole of it where
    /// that provider's SDKs bring the version themselves.
    Origin,
}

/// Why a path is refused with 400. Such a path could mean one thing to Tollgate and another to the
/// upstream (RFC 3986 §6.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPath {
    /// Neither `/…` nor `OPTIONS *`.
    #[error("the path does not begin with a slash; send an absolute path")]
    NotAbsolute,
    /// A `.` or `..` segment, plain or percent-encoded.
    #[error("the path has a dot segment; send it resolved")]
    DotSegment,
    /// A backslash, plain or percent-encoded.
    #[error("the path holds a backslash; separate segments by slashes")]
    Backslash,
    /// A NUL or control character, plain or percent-encoded, or a plain space, `?` or `#`.
    #[error("the path holds a character that no path may hold")]
    ForbiddenCharacter,
    /// A percent sign without two hexadecimal digits.
    #[error("the path holds a percent sign that begins no escape; write it as %25")]
    BadEscape,
    /// `/c/` without a channel name, or with one that is not UTF-8.
    #[error("the path names no channel after /c/; write /c/<channel>/v1/…")]
    BadChannel,
}

/// Reads the method and the path (without its query). Empty segments (`//`) and a slash at the end
/// are forwarded as they are and ignored in telling the API.
pub fn classify<'p>(method: &Method, path: &'p str) -> Result<Route<'p>, MalformedPath> {
    if path == "*" && *method == Method::OPTIONS {
        return Ok(Route {
            api: Api::Other,
            operation: Operation::Manage,
            channel: None,
            model: None,
            may_cost: false,
            stream: None,
            results_of: None,
            rest: path,
            base: PathBase::Origin,
        });
    }
    check(path)?;
    let (channel, path) = named_channel(path)?;
    let (base, rest) = match path.strip_prefix("/v1") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (PathBase::BaseUrl, rest),
        _ => (PathBase::Origin, path),
    };
    let plain = plain(path);
    let brings = ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method);
    let is_free = *method == Method::POST && is_free(operation_of(&plain));
    let called = match plain {
        Cow::Borrowed(path) => called(method, path),
        // An upstream may resolve escapes and empty segments before it routes: so does the meter.
        Cow::Owned(path) => called(method, &path).into_owned(),
    };
    Ok(Route {
        api: called.api,
        operation: called.operation,
        channel,
        model: called.model,
        may_cost: called.operation == Operation::Create || (brings && !is_free),
        stream: called.stream,
        results_of: called.results_of,
        rest,
        base,
    })
}

/// The model that a WebSocket's query names: `model`, or `deployment` (classic Azure),
/// percent-decoded.
#[must_use]
pub fn model_in_query(query: &str) -> Option<String> {
    const LONGEST: usize = 256;
    let value = |wanted: &str| {
        let mut members = query.split('&').filter_map(|member| member.split_once('='));
        let (_, value) = members.find(|(name, _)| *name == wanted)?;
        decoded(value).filter(|value| !value.is_empty() && value.len() <= LONGEST)
    };
    value("model").or_else(|| value("deployment"))
}

/// Whether the query of a WebSocket names a model once at most, however it is written. Of several,
/// upstreams differ in which one they take.
#[must_use]
pub fn names_one_model(query: &str) -> bool {
    let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    names
        .filter(|name| ["model", "deployment"].contains(&&**name))
        .count()
        <= 1
}

/// Whether what is made through `api` can be asked for later by the id that its answer states.
#[must_use]
pub fn makes_to_keep(api: Api) -> bool {
    let making = &conventions(api).making;
    !making.shown.is_empty() || making.results.is_some()
}

/// The id in the path of something that was made earlier (`/v1/responses/<id>/cancel`, a batch), as
/// it is written there.
#[must_use]
pub fn made_in_path(path: &str) -> Option<&str> {
    let below = |prefix: &&str| Some(path.find(*prefix)? + prefix.len());
    let name = PREFIXES
        .iter()
        .filter(|prefix| prefix.len() > 1)
        .find_map(below)
        .and_then(|start| path.get(start..))?;
    let makings = Api::ALL.iter().map(|&api| &conventions(api).making);
    let folders = makings.flat_map(|making| {
        let of_results = making.results.as_ref().map(|results| results.path);
        making.shown.iter().copied().chain(of_results)
    });
    let id = folders
        .filter_map(|folder| one_below(name, folder))
        .min_by_key(|below| below.len())?;
    let id = id.split('/').next().unwrap_or_default();
    Some(id).filter(|id| !id.is_empty())
}

fn check(path: &str) -> Result<(), MalformedPath> {
    if !path.starts_with('/') {
        return Err(MalformedPath::NotAbsolute);
    }
    // Between separators, which an encoded slash is too for an upstream that decodes first: what
    // stands before a `;` (path parameters), as far as it consists of dots.
    let mut dots = Some(0);
    let mut rest = path.as_bytes();
    while !rest.is_empty() {
        let (byte, length) = unescaped(rest).ok_or(MalformedPath::BadEscape)?;
        let written = rest[0];
        rest = &rest[length..];
        match byte {
            b'\\' => return Err(MalformedPath::Backslash),
            0..=0x1F | 0x7F => return Err(MalformedPath::ForbiddenCharacter),
            b' ' | b'?' | b'#' if written == byte => return Err(MalformedPath::ForbiddenCharacter),
            b'/' | b';' => {
                if matches!(dots, Some(1 | 2)) {
                    return Err(MalformedPath::DotSegment);
                }
                dots = (byte == b'/').then_some(0);
            }
            b'.' => dots = dots.map(|count| count + 1),
            _ => dots = None,
        }
    }
    if matches!(dots, Some(1 | 2)) {
        return Err(MalformedPath::DotSegment);
    }
    Ok(())
}

/// The first byte of a path, percent-decoded, and how many bytes it is written in; `None` where a
/// percent sign begins no escape.
fn unescaped(path: &[u8]) -> Option<(u8, usize)> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    match path {
        [b'%', high, low, ..] => {
            let byte = hex(*high)? << 4 | hex(*low)?;
            Some((u8::try_from(byte).ok()?, 3))
        }
        [b'%', ..] | [] => None,
        [byte, ..] => Some((*byte, 1)),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (byte, length) = unescaped(rest)?;
        bytes.push(byte);
        rest = &rest[length..];
    }
    String::from_utf8(bytes).ok()
}

/// The channel in `/c/<channel>/…`, and the path behind it.
fn named_channel(path: &str) -> Result<(Option<Cow<'_, str>>, &str), MalformedPath> {
    let Some(behind) = path.strip_prefix("/c/") else {
        return Ok((None, path));
    };
    let end = behind.find('/').unwrap_or(behind.len());
    let (name, rest) = behind.split_at(end);
    let name = if name.contains('%') {
        Cow::Owned(decoded(name).ok_or(MalformedPath::BadChannel)?)
    } else {
        Cow::Borrowed(name)
    };
    if name.is_empty() {
        return Err(MalformedPath::BadChannel);
    }
    Ok((Some(name), if rest.is_empty() { "/" } else { rest }))
}

/// The path with escapes resolved, without empty segments and without a slash at its end.
/// Allocates only for a path that has any of them.
pub(super) fn plain(path: &str) -> Cow<'_, str> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if !trimmed.contains('%') && !trimmed.contains("//") && !trimmed.ends_with('/') {
        return Cow::Borrowed(trimmed);
    }
    let decoded = decoded(trimmed).unwrap_or_else(|| trimmed.to_owned());
    let mut plain = String::with_capacity(decoded.len());
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    Cow::Owned(plain)
}

struct Called<'p> {
    api: Api,
    operation: Operation,
    model: Option<Cow<'p, str>>,
    stream: Option<bool>,
    results_of: Option<Cow<'p, str>>,
}

impl Called<'_> {
    fn into_owned(self) -> Called<'static> {
        Called {
            api: self.api,
            operation: self.operation,
            model: self.model.map(|model| Cow::Owned(model.into_owned())),
            stream: self.stream,
            results_of: self.results_of.map(|id| Cow::Owned(id.into_owned())),
        }
    }
}

/// Where providers put the APIs, longest first: below these an operation's name begins.
const PREFIXES: &[&str] = &[
    "/v1beta/openai/", // Gemini's OpenAI-shaped surface
    "/openai/v1/",     // Azure v1
    "/openai/",        // Azure's own, where no deployment is named: `/openai/realtime`
    "/api/v1/",        // OpenRouter
    "/v1beta/",
    "/v1alpha/",
    "/v1/",
    "/",
];

/// What can be posted at no cost: what counts tokens, and what keeps files. Any other path may be one
/// that a provider charges for, whatever it stands below.
const FREE: &[&str] = &[
    "messages/count_tokens",
    "responses/input_tokens",
    "files",
    "uploads",
];

/// Where the providers can be told to end what they make: `<folder>/<id>/cancel`.
const CANCELLED: &[&str] = &[
    "responses",
    "batches",
    "messages/batches",
    "uploads",
    "fine_tuning/jobs",
];

/// What is done to one thing below a folder, at no cost: folder and what follows the id.
const FREE_OF_ONE: &[(&str, &str)] = &[
    ("batches", ":cancel"), // Gemini's
    ("uploads", "/parts"),
    ("uploads", "/complete"),
];

/// Classic Azure: the deployment stands in the path.
const DEPLOYMENTS: &str = "/openai/deployments/";

/// The name of the operation at a [`plain`] path, below wherever providers put it.
pub(super) fn operation_of(path: &str) -> &str {
    PREFIXES
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .unwrap_or_default()
}

fn called<'p>(method: &Method, path: &'p str) -> Called<'p> {
    let (name, deployment) = match path
        .strip_prefix(DEPLOYMENTS)
        .and_then(|p| p.split_once('/'))
    {
        Some((deployment, name)) => (name, Some(deployment)),
        None => (operation_of(path), None),
    };
    if let Some(called) = called_by_verb(method, name) {
        return called;
    }
    let best = Api::ALL
        .iter()
        .map(|&api| conventions(api))
        .flat_map(|conventions| {
            conventions
                .paths
                .iter()
                .map(move |path| (conventions, path))
        })
        .filter(|(_, path)| is_below(name, path))
        .max_by_key(|(_, path)| path.len());
    let Some((conventions, _)) = best else {
        return Called {
            api: Api::Other,
            operation: Operation::Manage,
            model: deployment.map(Cow::Borrowed),
            stream: None,
            results_of: None,
        };
    };
    let results_of = conventions
        .making
        .results
        .filter(|_| *method == Method::GET)
        .and_then(|results| one_below(name, results.path)?.strip_suffix("/results"))
        .filter(|id| !id.is_empty() && !id.contains('/'));
    let operation = if results_of.is_some() {
        Operation::Results
    } else if conventions
        .making
        .shown
        .iter()
        .any(|path| shows_one(method, name, path))
    {
        Operation::Retrieve
    } else {
        create_if(
            // A WebSocket begins with a GET.
            (*method == Method::POST
                || (conventions.api == Api::Realtime && *method == Method::GET))
                && conventions.creates.contains(&name),
        )
    };
    Called {
        api: conventions.api,
        operation,
        model: deployment.map(Cow::Borrowed),
        stream: None,
        results_of: results_of.map(Cow::Borrowed),
    }
}

/// Whether a POST to the operation of this name costs nothing.
fn is_free(name: &str) -> bool {
    let of_one = |folder: &str, act: &str| {
        let id = one_below(name, folder).and_then(|below| below.strip_suffix(act));
        id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
    };
    FREE.contains(&name)
        || CANCELLED.iter().any(|folder| of_one(folder, "/cancel"))
        || FREE_OF_ONE.iter().any(|(folder, act)| of_one(folder, act))
        || model_and_verb(name).is_some_and(|(_, verb)| verb == COUNTS)
}

/// Gemini's verb that counts tokens.
const COUNTS: &str = "countTokens";

/// Gemini: `models/<model>:<verb>`, on Vertex AI below a project, a place and a publisher.
fn model_and_verb(name: &str) -> Option<(&str, &str)> {
    let models = match name.strip_prefix("projects/") {
        Some(below) => below.split_once("/publishers/google/")?.1,
        None => name,
    };
    models
        .strip_prefix("models/")
        .or_else(|| models.strip_prefix("tunedModels/"))?
        .rsplit_once(':')
}

fn called_by_verb<'p>(method: &Method, name: &'p str) -> Option<Called<'p>> {
    let (model, verb) = model_and_verb(name)?;
    let (generates, stream) = match verb {
        "generateContent" => (true, Some(false)),
        "streamGenerateContent" => (true, Some(true)),
        "embedContent" | "batchEmbedContents" => (true, None),
        COUNTS => (false, None),
        _ => return None,
    };
    Some(Called {
        api: Api::Gemini,
        operation: create_if(generates && *method == Method::POST),
        model: Some(Cow::Borrowed(model)),
        stream,
        results_of: None,
    })
}

fn create_if(creates: bool) -> Operation {
    if creates {
        Operation::Create
    } else {
        Operation::Manage
    }
}

/// What stands below `path` in `name`.
fn one_below<'n>(name: &'n str, path: &str) -> Option<&'n str> {
    name.strip_prefix(path)?.strip_prefix('/')
}

/// Whether a call is `GET <path>/<id>` or `POST <path>/<id>/cancel`.
fn shows_one(method: &Method, name: &str, path: &str) -> bool {
    let below = one_below(name, path);
    let id = match *method {
        Method::GET => below,
        Method::POST => below.and_then(|below| below.strip_suffix("/cancel")),
        _ => None,
    };
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// Whether `name` is `path` or stands below it.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path)
        .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_cost_is_told_from_what_is_looked_after() {
        for (method, path, costs) in [
            (Method::POST, "/v1/chat/completions", true),
            (
                Method::POST,
                "/v1beta/models/gemini-3:generateContent",
                true,
            ),
            (Method::POST, "/v1beta/models/gemini-3:predict", true),
            (Method::POST, "/v1/batches", true),
            (Method::POST, "/v1/messages/batches", true),
            (Method::POST, "/v1/realtime/calls", true),
            (Method::GET, "/v1/realtime", true),
            (Method::POST, "/anything/else", true),
            // Below what is known, but not known itself.
            (Method::POST, "/v1/chat/completions/extra", true),
            (Method::PUT, "/v1/chat/completions", true),
            (Method::PATCH, "/v1/responses", true),
            (Method::POST, "/v1/images/generations:submit", true),
            (Method::POST, "/v1/images/upscale", true),
            (Method::POST, "/v1/audio/anything", true),
            (Method::POST, "/v1/embeddings/batch", true),
            (Method::POST, "/v1/responses/resp_1/run", true),
            (Method::POST, "/v1/responses/cancel", true),
            (Method::POST, "/v1/messages/count_tokens/more", true),
            (Method::PUT, "/v1/messages/count_tokens", true),
            (Method::POST, "/v1/files/file_1/run", true),
            (Method::POST, "/v1/images/image_1/cancel", true),
            (Method::GET, "/anything/else", false),
            (Method::GET, "/v1/models", false),
            (Method::GET, "/v1/responses/resp_1", false),
            (Method::DELETE, "/v1/responses/resp_1", false),
            (Method::POST, "/v1/responses/resp_1/cancel", false),
            (Method::POST, "/v1/batches/batch_1/cancel", false),
            (Method::POST, "/v1/messages/batches/b_1/cancel", false),
            (Method::POST, "/v1beta/batches/b_1:cancel", false),
            (Method::POST, "/v1/uploads/upload_1/cancel", false),
            (Method::POST, "/v1/uploads/upload_1/parts", false),
            (Method::POST, "/v1/uploads/upload_1/complete", false),
            (Method::POST, "/v1/messages/count_tokens", false),
            (Method::POST, "/c/main/v1//messages/count%5ftokens/", false),
            (Method::POST, "/v1/responses/input_tokens", false),
            (Method::POST, "/v1beta/models/gemini-3:countTokens", false),
            (
                Method::POST,
                "/v1/projects/p/locations/eu/publishers/google/models/gemini-3:countTokens",
                false,
            ),
            (Method::POST, "/v1/files", false),
            (Method::POST, "/v1/uploads", false),
        ] {
            let route = classify(&method, path).unwrap();
            assert_eq!(route.may_cost, costs, "{method} {path}");
        }
    }

    fn post(path: &str) -> Route<'_> {
        classify(&Method::POST, path).unwrap()
    }

    #[test]
    fn v1_goes_to_the_base_url() {
        for (rest, api) in [
            ("/chat/completions", Api::Chat),
            ("/responses", Api::Responses),
            ("/completions", Api::Completions),
            ("/embeddings", Api::Embeddings),
            ("/images/edits", Api::Images),
            ("/audio/speech", Api::Audio),
            ("/realtime", Api::Realtime),
            ("/messages", Api::Messages),
            ("/messages/batches", Api::Batches),
            ("/moderations", Api::Moderations),
            ("/models", Api::Models),
            ("/files/file-1/content", Api::Files),
            ("/responsesx", Api::Other),
            ("", Api::Other),
            ("/", Api::Other),
        ] {
            let path = format!("/v1{rest}");
            let route = post(&path);
            assert_eq!((route.api, route.rest), (api, rest));
            assert_eq!((route.base, route.channel), (PathBase::BaseUrl, None));
        }
    }

    #[test]
    fn all_else_goes_to_the_origin_whole() {
        for (path, api) in [
            ("/v12/chat/completions", Api::Other),
            ("/", Api::Other),
            ("/dashboard/billing", Api::Other),
            ("/chat/completions", Api::Chat),
            ("/openai/v1/responses", Api::Responses),
            ("/api/v1/chat/completions", Api::Chat),
            ("/v1beta/openai/embeddings", Api::Embeddings),
        ] {
            let route = post(path);
            assert_eq!((route.api, route.rest), (api, path));
            assert_eq!(route.base, PathBase::Origin);
        }
    }

    #[test]
    fn a_channel_is_named_in_the_path_percent_decoded() {
        let route = post("/c/eu%20west/v1/chat/completions");
        assert_eq!(route.channel.as_deref(), Some("eu west"));
        assert_eq!((route.api, route.base), (Api::Chat, PathBase::BaseUrl));
        assert_eq!(route.rest, "/chat/completions");
        let route = post("/c/az/openai/deployments/gpt4/chat/completions");
        assert_eq!(route.channel.as_deref(), Some("az"));
        assert_eq!(route.base, PathBase::Origin);
        assert_eq!(route.rest, "/openai/deployments/gpt4/chat/completions");
        assert_eq!(post("/c/az").rest, "/");
        assert_eq!(
            classify(&Method::POST, "/c//v1/responses"),
            Err(MalformedPath::BadChannel)
        );
        assert_eq!(
            classify(&Method::POST, "/c/%FF/v1/responses"),
            Err(MalformedPath::BadChannel)
        );
    }

    #[test]
    fn what_was_made_is_found_by_its_id() {
        for (path, id) in [
            ("/v1/responses/resp_1", Some("resp_1")),
            ("/v1/responses/resp_1/cancel", Some("resp_1")),
            ("/v1/responses/resp_1/input_items", Some("resp_1")),
            ("/c/a/v1/batches/batch_1/cancel", Some("batch_1")),
            (
                "/v1/messages/batches/msgbatch_1/results",
                Some("msgbatch_1"),
            ),
            ("/openai/v1/responses/resp_1", Some("resp_1")),
            ("/v1/responses", None),
            ("/v1/responses/", None),
            ("/v1/messages/batches", None),
            ("/v1/chat/completions", None),
            ("/", None),
        ] {
            assert_eq!(made_in_path(path), id, "{path}");
        }
    }

    #[test]
    fn models_in_paths_are_told() {
        let azure = post("/openai/deployments/my-gpt/chat/completions");
        assert_eq!(
            (azure.api, azure.model.as_deref()),
            (Api::Chat, Some("my-gpt"))
        );
        let gemini = post("/v1beta/models/gemini-2.5-pro:streamGenerateContent");
        assert_eq!(gemini.api, Api::Gemini);
        assert_eq!(gemini.operation, Operation::Create);
        assert_eq!(gemini.model.as_deref(), Some("gemini-2.5-pro"));
        assert_eq!(
            gemini.rest,
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
        );
        assert_eq!(
            post("/v1beta/models/g:countTokens").operation,
            Operation::Manage
        );
    }

    #[test]
    fn only_what_makes_something_new_creates() {
        for (method, path, operation) in [
            (Method::POST, "/v1/responses", Operation::Create),
            (Method::POST, "/v1/responses/", Operation::Create),
            (Method::POST, "/v1/responses/compact", Operation::Create),
            (Method::GET, "/v1/responses/resp_1", Operation::Retrieve),
            (
                Method::GET,
                "/openai/v1/responses/resp_1",
                Operation::Retrieve,
            ),
            (
                Method::POST,
                "/v1/responses/resp_1/cancel",
                Operation::Retrieve,
            ),
            (Method::GET, "/v1/batches/batch_1", Operation::Retrieve),
            (Method::GET, "/v1/batches", Operation::Manage),
            (Method::POST, "/v1/batches", Operation::Manage),
            (Method::DELETE, "/v1/responses/resp_1", Operation::Manage),
            (
                Method::GET,
                "/v1/responses/resp_1/input_items",
                Operation::Manage,
            ),
            (Method::GET, "/v1/messages/batches/b", Operation::Manage),
            (Method::GET, "/v1/messages/m", Operation::Manage),
            (
                Method::GET,
                "/v1/messages/batches/b/results",
                Operation::Results,
            ),
            (Method::GET, "/v1/batches/b/results", Operation::Manage),
            (
                Method::POST,
                "/v1/responses/input_tokens",
                Operation::Manage,
            ),
            (Method::GET, "/v1/chat/completions", Operation::Manage),
            (
                Method::POST,
                "/v1/chat/completions/chatcmpl-1",
                Operation::Manage,
            ),
            (Method::GET, "/v1/realtime", Operation::Create),
            (Method::POST, "/v1/messages/count_tokens", Operation::Manage),
        ] {
            assert_eq!(
                classify(&method, path).unwrap().operation,
                operation,
                "{path}"
            );
        }
    }

    #[test]
    fn spelling_a_path_oddly_does_not_hide_its_api() {
        for path in [
            "//v1/chat/completions",
            "/v1//chat//completions",
            "/v1/chat%2Fcompletions",
            "/v1/%63hat/completions",
            "/v1/chat/completions/",
        ] {
            let route = post(path);
            assert_eq!(route.api, Api::Chat, "{path}");
            assert_eq!(route.operation, Operation::Create, "{path}");
            assert!(path.ends_with(route.rest), "{path} is forwarded as it is");
        }
    }

    #[test]
    fn paths_of_two_meanings_are_refused() {
        for (path, error) in [
            ("", MalformedPath::NotAbsolute),
            ("v1/chat", MalformedPath::NotAbsolute),
            ("*", MalformedPath::NotAbsolute),
            ("http://host/v1", MalformedPath::NotAbsolute),
            ("/v1/../admin", MalformedPath::DotSegment),
            ("/v1/./chat", MalformedPath::DotSegment),
            ("/v1/..", MalformedPath::DotSegment),
            ("/v1/%2e%2E/admin", MalformedPath::DotSegment),
            ("/v1/.%2e", MalformedPath::DotSegment),
            ("/v1/x%2F..%2fadmin", MalformedPath::DotSegment),
            ("/v1/..;a=b/admin", MalformedPath::DotSegment),
            ("/v1\\chat", MalformedPath::Backslash),
            ("/v1/%5c..", MalformedPath::Backslash),
            ("/v1/\0", MalformedPath::ForbiddenCharacter),
            ("/v1/%00", MalformedPath::ForbiddenCharacter),
            ("/v1/a%0d%0ab", MalformedPath::ForbiddenCharacter),
            ("/v1/a\u{7f}", MalformedPath::ForbiddenCharacter),
            ("/v1/a?b", MalformedPath::ForbiddenCharacter),
            ("/v1/%", MalformedPath::BadEscape),
            ("/v1/%2", MalformedPath::BadEscape),
            ("/v1/%zz", MalformedPath::BadEscape),
        ] {
            assert_eq!(classify(&Method::POST, path), Err(error), "{path:?}");
        }
        for path in [
            "/v1/...",
            "/v1/models/.hidden",
            "/v1/a..b",
            "/v1/models/o%2Fm",
            "/v1/a;.b",
        ] {
            assert!(classify(&Method::GET, path).is_ok(), "{path}");
        }
        let any = classify(&Method::OPTIONS, "*").unwrap();
        assert_eq!((any.rest, any.api), ("*", Api::Other));
    }
}
