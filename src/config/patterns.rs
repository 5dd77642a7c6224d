//! Patterns of model names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// A model's name, or several by `*` (any characters, also none) and `?` (one character). Upper
/// and lower case differ, as they do for providers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Arc<str>", from = "Arc<str>")]
pub struct ModelPattern {
    text: Arc<str>,
    glob: Option<WildMatch>,
}

impl ModelPattern {
    /// The pattern `text` is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: Arc::from(text),
            glob: text.contains(['*', '?']).then(|| WildMatch::new(text)),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means `model` and no other.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.glob.is_none()
    }

    /// Whether it means `model`.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        match &self.glob {
            None => *self.text == *model,
            Some(glob) => glob.matches(model),
        }
    }

    /// Whether it means every model that `other` means. Never wrong where it says so.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.is_exact() {
            return self.matches(&other.text);
        }
        let narrow: Vec<char> = other.text.chars().collect();
        // Whether what was read of this pattern takes in the first so many symbols of the other.
        let mut takes = vec![false; narrow.len() + 1];
        takes[0] = true;
        for wide in self.text.chars() {
            let before = takes.clone();
            takes[0] = wide == '*' && before[0];
            for (at, symbol) in narrow.iter().enumerate() {
                takes[at + 1] = match wide {
                    '*' => before[at + 1] || takes[at],
                    // A star is no character, nor one character only.
                    '?' => *symbol != '*' && before[at],
                    letter => letter == *symbol && before[at],
                };
            }
        }
        takes[narrow.len()]
    }
}

impl PartialEq for ModelPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ModelPattern {}

impl From<Arc<str>> for ModelPattern {
    fn from(text: Arc<str>) -> Self {
        Self::new(&text)
    }
}

impl From<ModelPattern> for Arc<str> {
    fn from(pattern: ModelPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, model, fits) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5.1", false),
            ("gpt-5*", "gpt-5", true),
            ("gpt-5*", "gpt-5-mini-2025-08-07", true),
            ("*/llama-*", "meta/llama-4", true),
            ("o?", "o4", true),
            ("o?", "o4-mini", false),
            ("*", "", true),
            ("GPT-5", "gpt-5", false),
        ] {
            assert_eq!(
                ModelPattern::new(pattern).matches(model),
                fits,
                "{pattern} {model}"
            );
        }
    }

    #[test]
    fn a_pattern_covers_what_means_no_more() {
        for (wide, narrow, covers) in [
            ("*", "*", true),
            ("*", "gpt-5*", true),
            ("gpt-*", "gpt-5*", true),
            ("gpt-5*", "gpt-*", false),
            ("gpt-5*", "gpt-5", true),
            ("gpt-5", "gpt-5*", false),
            ("gpt-5?", "gpt-5*", false),
            ("gpt-5*", "gpt-5?", true),
            ("*-mini", "gpt-*-mini", true),
            ("gpt-*", "*-mini", false),
        ] {
            let covered = ModelPattern::new(wide).covers(&ModelPattern::new(narrow));
            assert_eq!(covered, covers, "{wide} {narrow}");
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_is_matched(
            wide in "[ab*?]{0,5}",
            narrow in "[ab*?]{0,5}",
            models in proptest::collection::vec("[abc]{0,6}", 1..60),
        ) {
            let (wide, narrow) = (ModelPattern::new(&wide), ModelPattern::new(&narrow));
            prop_assert!(wide.covers(&wide));
            if wide.covers(&narrow) {
                for model in models {
                    prop_assert!(!narrow.matches(&model) || wide.matches(&model), "{}", model);
                }
            }
        }
    }
}
