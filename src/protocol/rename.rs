//! Changes of a request's body on its way: a few bytes at a known place, all else as it was.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Bytes of a body that are replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    place: Range<usize>,
    text: Cow<'static, [u8]>,
}

impl Splice {
    pub(super) fn new(place: Range<usize>, text: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            place,
            text: text.into(),
        }
    }
}

/// Where a body states its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlace {
    value: Range<usize>,
    /// The value is a JSON string, quotes included; else the bare value of a form's field.
    json: bool,
}

impl ModelPlace {
    pub(super) const fn in_json(value: Range<usize>) -> Self {
        Self { value, json: true }
    }

    pub(super) const fn in_form(value: Range<usize>) -> Self {
        Self { value, json: false }
    }

    /// What puts `model` there; `None` for a name that fits no form's field.
    #[must_use]
    pub fn renamed(&self, model: &str) -> Option<Splice> {
        let text = if self.json {
            serde_json::Value::from(model).to_string()
        } else if memchr2(b'\r', b'\n', model.as_bytes()).is_none() {
            model.to_owned()
        } else {
            return None;
        };
        Some(Splice::new(self.value.clone(), text.into_bytes()))
    }
}

/// The body with `splices` in it, which do not overlap; `None` when one lies outside of it.
#[must_use]
pub fn spliced<const N: usize>(body: &[u8], mut splices: [&Splice; N]) -> Option<Vec<u8>> {
    splices.sort_unstable_by_key(|splice| splice.place.start);
    let more: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut changed = Vec::with_capacity(body.len() + more);
    let mut at = 0;
    for Splice { place, text } in splices {
        changed.extend_from_slice(body.get(at..place.start)?);
        changed.extend_from_slice(text);
        at = place.end;
    }
    changed.extend_from_slice(body.get(at..)?);
    Some(changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::protocol::{FormReader, read_request};
    use crate::record::Api;

    fn renamed(body: &str, model: &str) -> Option<String> {
        let place = read_request(Api::Chat, body.as_bytes()).model_place?;
        let changed = spliced(body.as_bytes(), [&place.renamed(model)?])?;
        Some(String::from_utf8(changed).unwrap())
    }

    #[test]
    fn a_model_changes_its_name_in_its_place() {
        for (body, expected) in [
            (
                r#"{ "model" : "a" , "messages":[{"model":"a"}] }"#,
                Some(r#"{ "model" : "b\"/\\ü" , "messages":[{"model":"a"}] }"#),
            ),
            // The last of two counts.
            (
                r#"{"model":"a","model":"\u0061"}"#,
                Some(r#"{"model":"a","model":"b\"/\\ü"}"#),
            ),
            (r#"{"model":"a","model":null}"#, None),
            (r#"{"model":{"model":"a"}}"#, None),
            (r#"{"models":"a"}"#, None),
        ] {
            assert_eq!(renamed(body, "b\"/\\ü").as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_forms_model_changes_its_name() {
        let form = |model: &str| {
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0a\r\n\
                 --x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--x--\r\n"
            )
        };
        let body = form("whisper-1");
        let kind = "multipart/form-data; boundary=x";
        for cut in 0..body.len() {
            let mut reader = FormReader::new(Api::Audio, kind).unwrap();
            reader.feed(&body.as_bytes()[..cut]);
            reader.feed(&body.as_bytes()[cut..]);
            let place = reader.finish().model_place.unwrap();
            let splice = place.renamed("gpt-4o-transcribe").unwrap();
            let changed = spliced(body.as_bytes(), [&splice]).unwrap();
            assert_eq!(changed, form("gpt-4o-transcribe").as_bytes(), "{cut}");
            assert_eq!(place.renamed("a\r\nb"), None);
        }
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![Just("messages".to_owned()), any::<String>()]
    }

    proptest! {
        #[test]
        fn renaming_means_what_a_json_parser_would_make_of_it(
            members in prop::collection::vec((key(), any::<String>()), 0..5),
            place in 0_usize..6,
            old in "[^\0]{1,40}",
            new: String,
            stream: bool,
            pretty: bool,
        ) {
            let mut members: Vec<_> = members
                .into_iter()
                .filter(|(key, _)| !matches!(&**key, "model" | "stream" | "stream_options"))
                .map(|(key, text)| (key, Value::from(text)))
                .collect();
            members.insert(place.min(members.len()), ("model".to_owned(), old.as_str().into()));
            members.push(("stream".to_owned(), stream.into()));
            let before = Value::from(Map::from_iter(members));
            let text = if pretty {
                serde_json::to_string_pretty(&before).unwrap()
            } else {
                before.to_string()
            };
            let facts = read_request(Api::Chat, text.as_bytes());
            prop_assert_eq!(facts.model.as_deref(), Some(&*old));
            let name = facts.model_place.as_ref().unwrap().renamed(&new).unwrap();
            let mut expected = before.clone();
            expected["model"] = json!(new);
            let changed = spliced(text.as_bytes(), [&name]).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&changed).unwrap(), &expected);
            // Together with the other change that a body may need, in either order.
            if let Some(usage) = facts.usage_injection(text.as_bytes()) {
                expected["stream_options"] = json!({"include_usage": true});
                for both in [[&name, &usage], [&usage, &name]] {
                    let changed = spliced(text.as_bytes(), both).unwrap();
                    prop_assert_eq!(&serde_json::from_slice::<Value>(&changed).unwrap(), &expected);
                }
            }
            // All else byte for byte.
            let at = &facts.model_place.as_ref().unwrap().value;
            prop_assert_eq!(&text.as_bytes()[..at.start], &changed[..at.start]);
            prop_assert!(changed.ends_with(&text.as_bytes()[at.end..]));
        }
    }
}
