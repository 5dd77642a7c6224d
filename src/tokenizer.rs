//! How many tokens a text has: Tollgate's own count, for answers whose provider stated none.
//!
//! The vocabularies are OpenAI's, through tiktoken-rs. Each is loaded when it is first needed,
//! which takes some 0.1 to 0.3 s and 40 MiB once; counting goes at 20 to 30 MB/s. So nothing here
//! belongs on a thread that serves requests.

use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// Longest piece that is counted at once, in bytes: texts of one character repeated take a time
/// that grows with the square of a piece.
const PIECE_MAX: usize = 1024;

/// How far before the end of a piece a space is looked for to cut at.
const CUT_WITHIN: usize = 64;

/// A way to cut text into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// GPT-4o and everything OpenAI made after it. Other providers publish no vocabulary, or one
    /// for each model: their texts are counted with this one too, which is within some 20 % of
    /// their own counts for English, and further off for other scripts.
    O200k,
    /// GPT-4 and GPT-3.5 (chat and completions), and OpenAI's embedding models.
    Cl100k,
}

impl Encoding {
    /// The encoding of a model, by its name; a provider's prefix (`openai/…`) is passed over.
    #[must_use]
    pub fn of(model: &str) -> Self {
        const CL100K: [&str; 6] = [
            "gpt-3.5",
            "gpt-35",
            "text-embedding-3",
            "text-embedding-ada",
            "davinci-002",
            "babbage-002",
        ];
        let name = model.rsplit('/').next().unwrap_or(model);
        // gpt-4o, gpt-4.1 and gpt-4.5 are of the newer family.
        let gpt_4 = name
            .strip_prefix("gpt-4")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if gpt_4 || CL100K.iter().any(|family| name.starts_with(family)) {
            Self::Cl100k
        } else {
            Self::O200k
        }
    }

    /// The number of tokens of `text`, nothing of it read as a control token.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        let vocabulary = self.vocabulary();
        let tokens: usize = pieces(text)
            .map(|piece| vocabulary.count_ordinary(piece))
            .sum();
        tokens as u64
    }

    fn vocabulary(self) -> &'static CoreBPE {
        match self {
            Self::O200k => o200k_base_singleton(),
            Self::Cl100k => cl100k_base_singleton(),
        }
    }
}

/// A rough number of tokens, without a vocabulary: four bytes each, as in English.
#[must_use]
pub fn count_roughly(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

/// The text in pieces of at most [`PIECE_MAX`] bytes, cut before a space where one is near.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut cut = rest.len();
        if cut > PIECE_MAX {
            cut = boundary(rest, PIECE_MAX);
            let near = boundary(rest, cut - CUT_WITHIN);
            if let Some(space) = rest[near..cut].rfind(' ') {
                cut = near + space;
            }
        }
        let (piece, after) = rest.split_at(cut);
        rest = after;
        Some(piece)
    })
}

/// The last boundary between characters up to `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_the_encoding_of_their_family() {
        for (model, encoding) in [
            ("gpt-4", Encoding::Cl100k),
            ("gpt-4-0613", Encoding::Cl100k),
            ("gpt-4-turbo", Encoding::Cl100k),
            ("openai/gpt-4", Encoding::Cl100k),
            ("gpt-3.5-turbo", Encoding::Cl100k),
            ("gpt-35-turbo", Encoding::Cl100k),
            ("text-embedding-3-small", Encoding::Cl100k),
            ("gpt-4o-mini", Encoding::O200k),
            ("gpt-4.1", Encoding::O200k),
            ("gpt-4.5-preview", Encoding::O200k),
            ("gpt-5-mini", Encoding::O200k),
            ("o3", Encoding::O200k),
            ("claude-sonnet-4-5", Encoding::O200k),
            ("", Encoding::O200k),
        ] {
            assert_eq!(Encoding::of(model), encoding, "{model}");
        }
    }

    /// Counts of OpenAI's own tiktoken.
    #[test]
    fn counts_are_tiktokens() {
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("お誕生日おめでとう", 8, 9),
            ("<|endoftext|>", 7, 7),
        ] {
            assert_eq!(Encoding::O200k.count(text), o200k, "{text}");
            assert_eq!(Encoding::Cl100k.count(text), cl100k, "{text}");
        }
    }

    #[test]
    fn a_long_text_counts_as_its_pieces_do() {
        let text = "A sentence of some words, and a number: 12345. ".repeat(200);
        let whole = o200k_base_singleton().count_ordinary(&text) as u64;
        assert_eq!(Encoding::O200k.count(&text), whole);
        assert_eq!(pieces(&text).collect::<String>(), text);
        assert!(pieces(&text).all(|piece| piece.len() <= PIECE_MAX));
        let no_space = "é".repeat(3000);
        assert_eq!(pieces(&no_space).collect::<String>(), no_space);
    }
}
