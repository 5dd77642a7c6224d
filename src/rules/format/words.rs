//! Words of closed sets, and what somebody may have meant who wrote none of them.

use crate::config::{Refusal, is_near};

/// One of the words of a closed set; a near miss is named.
pub(in crate::rules) fn word<T: Copy>(
    all: &'static [T],
    as_str: fn(T) -> &'static str,
) -> impl Fn(&str) -> Result<Option<T>, Refusal> {
    move |text| {
        let found = all.iter().copied().find(|&member| as_str(member) == text);
        if found.is_some() {
            return Ok(found);
        }
        let words: Vec<&str> = all.iter().map(|&member| as_str(member)).collect();
        Err(none_of(text, &words))
    }
}

/// The refusal of what is none of `words`.
pub(in crate::rules) fn none_of(text: &str, words: &[&str]) -> Refusal {
    let lower = text.to_lowercase();
    let near = words
        .iter()
        .filter(|word| is_near(&lower, word))
        .min_by_key(|word| strsim::damerau_levenshtein(&lower, word));
    let choices = words.join(", ");
    let remedy = match near {
        Some(near) => format!("did you mean `{near}`? The choices are {choices}"),
        None => format!("the choices are {choices}"),
    };
    Refusal::new("is not known", &remedy)
}
