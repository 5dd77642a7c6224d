//! The words of a filter by name.

use std::fmt::{self, Write as _};

use super::NameFilterError;
use crate::ledger::query::timeseries::OTHER;

/// What has no name: no channel was found, no key was shown.
pub(super) const NONE: &str = "(none)";

/// A character, and whether a backslash was before it.
pub(super) type Letter = (char, bool);

/// What one of a filter's words lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// What has no name.
    Nameless,
    /// What has this name.
    Name(String),
    /// Whose name fits these.
    Pattern(Vec<Symbol>),
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// Any characters, also none.
    Any,
    /// One character.
    One,
    /// This character.
    This(char),
}

impl Choice {
    /// This name and no other.
    pub(super) fn exactly(name: &str) -> Self {
        if name.is_empty() {
            return Self::Nameless;
        }
        Self::Name(name.to_owned())
    }

    /// Whether it lets through what has this name.
    pub(super) fn matches(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::Nameless, name) => name.is_none(),
            (Self::Name(wanted), name) => name == Some(wanted),
            (Self::Pattern(symbols), name) => name.is_some_and(|name| fits(symbols, name)),
        }
    }

    /// What a name that nothing escapes stands for.
    pub(super) fn of_name(name: String) -> Result<Self, NameFilterError> {
        match &*name {
            OTHER => Err(NameFilterError::Rest),
            NONE | "" => Ok(Self::Nameless),
            _ => Ok(Self::Name(name)),
        }
    }

    /// What one of [`words`] says; `None` of nothing at all.
    pub(super) fn of_word(word: &[Letter]) -> Result<Option<Self>, NameFilterError> {
        let is_kept = |(letter, escaped): &Letter| *escaped || !letter.is_whitespace();
        let (Some(first), Some(last)) = (
            word.iter().position(is_kept),
            word.iter().rposition(is_kept),
        ) else {
            return Ok(None);
        };
        let word = &word[first..=last];
        let symbols: Vec<Symbol> = word.iter().copied().map(Symbol::of).collect();
        if symbols.contains(&Symbol::Any) || symbols.contains(&Symbol::One) {
            return Ok(Some(Self::Pattern(symbols)));
        }
        let name: String = word.iter().map(|(letter, _)| letter).collect();
        if word.iter().any(|(_, escaped)| *escaped) {
            return Ok(Some(Self::Name(name)));
        }
        Self::of_name(name).map(Some)
    }

    /// Whether it is everything, also what has no name.
    pub(super) fn is_everything(&self) -> bool {
        match self {
            Self::Pattern(symbols) => {
                matches!(symbols.as_slice(), [Symbol::This('.'), Symbol::Any])
                    || symbols.iter().all(|symbol| *symbol == Symbol::Any)
            }
            Self::Nameless | Self::Name(_) => false,
        }
    }
}

impl Symbol {
    const fn of((letter, escaped): Letter) -> Self {
        match letter {
            '*' if !escaped => Self::Any,
            '?' if !escaped => Self::One,
            letter => Self::This(letter),
        }
    }
}

/// Whether all of `name` is what `symbols` stand for.
fn fits(symbols: &[Symbol], name: &str) -> bool {
    let (mut symbols, mut letters) = (symbols, name.chars());
    // Behind the last `*`, and what it has not taken in yet: where to go on when the rest does not fit.
    let mut retry = None;
    loop {
        match symbols.split_first() {
            Some((Symbol::Any, rest)) => {
                symbols = rest;
                retry = Some((rest, letters.clone()));
                continue;
            }
            Some((symbol, rest)) => {
                let letter = letters.next();
                if letter
                    .is_some_and(|letter| *symbol == Symbol::One || *symbol == Symbol::This(letter))
                {
                    symbols = rest;
                    continue;
                }
            }
            None if letters.as_str().is_empty() => return true,
            None => {}
        }
        let Some((rest, left)) = &mut retry else {
            return false;
        };
        if left.next().is_none() {
            return false;
        }
        (symbols, letters) = (rest, left.clone());
    }
}

/// As SQL's GLOB writes it. In brackets, what is a character and no sign.
pub(super) fn sql_pattern(symbols: &[Symbol]) -> String {
    let mut pattern = String::new();
    for symbol in symbols {
        match symbol {
            Symbol::Any => pattern.push('*'),
            Symbol::One => pattern.push('?'),
            Symbol::This(sign @ ('*' | '?' | '[')) => pattern.extend(['[', *sign, ']']),
            Symbol::This(letter) => pattern.push(*letter),
        }
    }
    pattern
}

/// What is between commas, each character with whether a backslash was before it.
pub(super) fn words(text: &str) -> Vec<Vec<Letter>> {
    let (mut words, mut letters) = (vec![Vec::new()], text.chars());
    while let Some(letter) = letters.next() {
        let letter = match letter {
            ',' => {
                words.push(Vec::new());
                continue;
            }
            '\\' => letters.next().map_or(('\\', true), |letter| (letter, true)),
            letter => (letter, false),
        };
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols = match self {
            Self::Nameless => return f.write_str(NONE),
            Self::Name(name) => name.chars().map(Symbol::This).collect(),
            Self::Pattern(symbols) => symbols.clone(),
        };
        let last = symbols.len().saturating_sub(1);
        for (at, symbol) in symbols.iter().enumerate() {
            match symbol {
                Symbol::Any => f.write_char('*')?,
                Symbol::One => f.write_char('?')?,
                Symbol::This(letter) => {
                    let is_sign = matches!(letter, '\\' | ',' | '*' | '?');
                    // What would begin a list, or a word that stands for something else.
                    let is_opening = at == 0 && matches!(letter, '[' | '(');
                    let is_margin = (at == 0 || at == last) && letter.is_whitespace();
                    if is_sign || is_opening || is_margin {
                        f.write_char('\\')?;
                    }
                    f.write_char(*letter)?;
                }
            }
        }
        Ok(())
    }
}
