//! An incremental structural JSON scanner (RFC 8259).
//!
//! It walks only the places a [`Node`] tree names and skips everything else by counting brackets,
//! so a value that nobody asked for costs a search for its end and no memory, however large or
//! deep it is. It survives a cut at any byte. What it skips it does not validate, brackets of the
//! outer levels aside: it reads what providers and clients wrote for somebody
//! else, and judging that is somebody else's task.

mod lexical;
mod scanner;

pub(crate) use scanner::Scanner;

/// Longest scalar handed to a [`Sink`]; what is longer is cut, in the same place whatever the
/// fragments are. An error message of 1 KiB fits even when every character of it is escaped.
pub(crate) const SCALAR_MAX: usize = 6 * 1024;

/// What interests at one place of a document. `M` names places for the [`Sink`].
#[derive(Debug)]
pub(crate) struct Node<M: 'static> {
    mark: Option<M>,
    fields: &'static [(&'static str, Node<M>)],
    /// What [`trait_of`] says of the fields' names, one bit each: most names of a document are
    /// none of them, and are told so without a look at each.
    traits: u64,
    each: Option<&'static Node<M>>,
}

/// A bit that equal names have in common and few others.
const fn trait_of(name: &[u8]) -> u64 {
    match name {
        [] => 1,
        [first, ..] => 1 << ((*first as usize ^ (name.len() << 2)) & 63),
    }
}

impl<M> Node<M> {
    const fn traits(fields: &[(&'static str, Self)]) -> u64 {
        let mut traits = 0;
        let mut at = 0;
        while at < fields.len() {
            traits |= trait_of(fields[at].0.as_bytes());
            at += 1;
        }
        traits
    }

    /// The member called `name`.
    #[inline]
    fn field(&self, name: &[u8]) -> Option<&'static Self> {
        if self.traits & trait_of(name) == 0 {
            return None;
        }
        // Comparing bytes costs a call, and few names are equal in length and first byte.
        self.fields
            .iter()
            .find(|(field, _)| {
                let field = field.as_bytes();
                field.len() == name.len() && field.first() == name.first() && field == name
            })
            .map(|(_, node)| node)
    }

    /// A value of interest itself: a scalar, or whether there is a container.
    pub(crate) const fn leaf(mark: M) -> Self {
        Self {
            mark: Some(mark),
            fields: &[],
            traits: 0,
            each: None,
        }
    }

    /// An object of which some members interest.
    pub(crate) const fn object(fields: &'static [(&'static str, Self)]) -> Self {
        Self {
            mark: None,
            fields,
            traits: Self::traits(fields),
            each: None,
        }
    }

    /// An object of which some members interest, and its beginning and end too.
    pub(crate) const fn group(mark: M, fields: &'static [(&'static str, Self)]) -> Self {
        Self {
            mark: Some(mark),
            fields,
            traits: Self::traits(fields),
            each: None,
        }
    }

    /// An array of which every element interests.
    pub(crate) const fn each(element: &'static Self) -> Self {
        Self {
            mark: None,
            fields: &[],
            traits: 0,
            each: Some(element),
        }
    }

    /// An object of which some members interest, or an array of such objects.
    pub(crate) const fn one_or_each(
        fields: &'static [(&'static str, Self)],
        element: &'static Self,
    ) -> Self {
        Self {
            mark: None,
            fields,
            traits: Self::traits(fields),
            each: Some(element),
        }
    }
}

/// Where a value stands, in bytes from the start of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The opening quote of its member name; the value's own start in an array.
    pub(crate) key: usize,
    /// Its first byte.
    pub(crate) start: usize,
    /// The byte after its last one.
    pub(crate) end: usize,
}

/// What is told of the marked places, in document order. A member written twice is told twice.
pub(crate) trait Sink<M> {
    /// A string (with its quotes), number or literal as written, cut at [`SCALAR_MAX`].
    fn scalar(&mut self, mark: M, token: &[u8], place: Place);
    /// An object or `array` begins at byte `start`.
    fn open(&mut self, mark: M, start: usize, array: bool);
    /// It ends; `empty` when nothing was in it.
    fn close(&mut self, mark: M, place: Place, empty: bool);
}

/// How far the scanner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing but whitespace so far.
    Empty,
    /// Inside the document.
    Inside,
    /// The document is complete; what follows it is not read.
    Done,
    /// This is no JSON.
    Broken,
}
