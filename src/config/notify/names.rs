//! Names that settings of notifications refer to, and what somebody may have meant who wrote none.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::problem::Place;
use crate::config::reader::{Given, Reader, is_near};
use crate::config::section::Section;
use crate::config::units::Refusal;

/// Names that a hint lists at most.
const MOST_LISTED: usize = 12;

/// The names of receivers, also of those that were refused for something else.
#[derive(Debug, Default)]
pub(super) struct ReceiverNames(pub(super) HashMap<Arc<str>, Place>);

impl ReceiverNames {
    /// The receiver of that name.
    pub(super) fn one(&self, text: &str) -> Result<Arc<str>, Refusal> {
        existing(text, &self.0, "the name of no receiver")
    }

    /// The list of receivers `key`, and where it is; `None` where it is not there or no list.
    pub(super) fn listed(
        &self,
        section: &mut Section<'_>,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<(Place, Vec<Arc<str>>)> {
        let path = section.key(key);
        let (place, given) = section.listed(reader, key)?;
        Some((place, each(reader, &path, given, |text| self.one(text))))
    }
}

/// The name `text` out of `known`; `what` it is not, where there is none: "is …".
pub(super) fn existing(
    text: &str,
    known: &HashMap<Arc<str>, Place>,
    what: &str,
) -> Result<Arc<str>, Refusal> {
    if let Some((name, _)) = known.get_key_value(text) {
        return Ok(Arc::clone(name));
    }
    let mut names: Vec<&str> = known.keys().map(|name| &**name).collect();
    names.sort_unstable();
    Err(none_of(text, &names, what))
}

/// The refusal of a text that is none of `words`: it is `what` instead.
pub(super) fn none_of(text: &str, words: &[&str], what: &str) -> Refusal {
    let reason = format!("is {what}");
    match words {
        [] => return Refusal::new(reason, "there is none"),
        [only] => return Refusal::new(reason, &format!("there is only `{only}`")),
        _ => {}
    }
    let lower = text.to_lowercase();
    let near = words
        .iter()
        .filter(|word| is_near(&lower, word))
        .min_by_key(|word| strsim::damerau_levenshtein(&lower, word));
    let more = if words.len() > MOST_LISTED {
        ", …"
    } else {
        ""
    };
    let listed = words[..words.len().min(MOST_LISTED)].join(", ");
    let remedy = match near {
        Some(near) => format!("did you mean `{near}`? There are {listed}{more}"),
        None => format!("there are {listed}{more}"),
    };
    Refusal::new(reason, &remedy)
}

/// What `parse` makes of the members of a list, each once. What is refused is left out.
pub(super) fn each<T: PartialEq>(
    reader: &mut Reader<'_>,
    key: &str,
    given: Vec<Given>,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Vec<T> {
    let mut members = Vec::new();
    for given in given {
        match parse(&given.text) {
            Ok(member) if members.contains(&member) => {
                let refusal = Refusal::new("is in the list twice", "take one of them away");
                reader.refuse(&given, key, &refusal);
            }
            Ok(member) => members.push(member),
            Err(refusal) => reader.refuse(&given, key, &refusal),
        }
    }
    members
}
