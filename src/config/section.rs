//! Reads settings out of the tree, key by key.
//!
//! A key exists because somebody asks for it: what nobody asked for is unknown, and the names that
//! were asked for are what a misspelt one is compared with. So the list of keys cannot drift from
//! the keys that work.

use super::problem::Place;
use super::reader::{Given, Reader, Unknown};
use super::tree::{Entry, Node, Value, shown};
use super::units::{Refusal, months};

/// The keys of one mapping.
pub(crate) struct Section<'t> {
    entries: &'t [Entry],
    /// With indexes and a dot at the end, e.g. `channels[0].`; empty at the top.
    path: String,
    /// As `path`, without indexes.
    pattern: String,
    asked: Vec<&'static str>,
    /// Where the section stands; `None` when it is not there, or is no mapping and was told so.
    pub(crate) place: Option<Place>,
}

impl<'t> Section<'t> {
    /// Reads the mapping `root` (or nothing) as the top of the settings.
    pub(crate) fn top(
        reader: &mut Reader<'_>,
        root: Option<&'t Node>,
        read: impl FnOnce(&mut Self, &mut Reader<'_>),
    ) {
        Self::open(reader, root, String::new(), String::new(), read);
    }

    fn open(
        reader: &mut Reader<'_>,
        node: Option<&'t Node>,
        path: String,
        pattern: String,
        read: impl FnOnce(&mut Self, &mut Reader<'_>),
    ) {
        let mut place = node.map(|node| reader.at(node.at));
        let entries: &[Entry] = match node.map(|node| &node.value) {
            None | Some(Value::Null | Value::Refused) => &[],
            Some(Value::Map(entries)) => entries,
            Some(other) => {
                let place = place.take().unwrap_or(Place::Default);
                let message = format!("takes keys and values, not {}", other.shape());
                reader.problem(&place, path.trim_end_matches('.'), message, None);
                &[]
            }
        };
        let mut section = Self {
            entries,
            path,
            pattern,
            asked: Vec::new(),
            place,
        };
        read(&mut section, reader);
        section.close(reader);
    }

    fn close(self, reader: &mut Reader<'_>) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                let key = shown(&entry.key);
                reader.unknown.push(Unknown {
                    place: reader.at(entry.key_at),
                    path: format!("{}{key}", self.path),
                    pattern: format!("{}{key}", self.pattern),
                });
            }
        }
    }

    /// The full path of `key`, e.g. `channels[0].name`.
    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// Whether there is no key in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the file mentions `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Where the value of `key` is, when the file mentions it.
    pub(crate) fn place_of(&self, reader: &Reader<'_>, key: &str) -> Option<Place> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(reader.at(entry.node.at))
    }

    /// Reads the section `key`, there or not.
    pub(crate) fn section(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t>, &mut Reader<'_>),
    ) {
        let node = self.ask(reader, key).map(|entry| &entry.node);
        let (path, pattern) = (self.key(key), format!("{}{key}", self.pattern));
        Section::open(reader, node, path + ".", pattern + ".", read);
    }

    /// Reads every member of the list `key`. Returns where it is; `None` when it is not there or no
    /// list.
    pub(crate) fn list(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnMut(&mut Section<'t>, &mut Reader<'_>),
    ) -> Option<Place> {
        let entry = self.ask(reader, key)?;
        let pattern = format!("{}{key}[].", self.pattern);
        Self::members(reader, entry, &self.key(key), &pattern, read)
    }

    /// As [`Section::list`] for members that have the keys of this very section, which may go on so
    /// to any depth: they are known by one name.
    pub(crate) fn list_alike(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnMut(&mut Section<'t>, &mut Reader<'_>),
    ) -> Option<Place> {
        let entry = self.ask(reader, key)?;
        Self::members(reader, entry, &self.key(key), &self.pattern, read)
    }

    /// Reads every member of the list that is the value of `entry`, one of the names that the
    /// operator chose in the mapping `key`.
    pub(crate) fn named_list(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        entry: &'t Entry,
        read: impl FnMut(&mut Section<'t>, &mut Reader<'_>),
    ) -> Option<Place> {
        let name = shown(&entry.key);
        let pattern = format!("{}{key}.{name}[].", self.pattern);
        let path = format!("{}.{name}", self.key(key));
        Self::members(reader, entry, &path, &pattern, read)
    }

    fn members(
        reader: &mut Reader<'_>,
        entry: &'t Entry,
        path: &str,
        pattern: &str,
        mut read: impl FnMut(&mut Section<'t>, &mut Reader<'_>),
    ) -> Option<Place> {
        let place = reader.at(entry.key_at);
        match &entry.node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}].");
                    Section::open(reader, Some(item), path, pattern.to_owned(), &mut read);
                }
                Some(place)
            }
            Value::Null | Value::Refused => None,
            other => {
                let message = format!("takes a list, not {}", other.shape());
                let hint = Some("begin each member with `- `");
                reader.problem(&place, path, message, hint);
                None
            }
        }
    }

    /// The members of the free-form mapping `key`: names that the operator chooses.
    pub(crate) fn names(&mut self, reader: &mut Reader<'_>, key: &'static str) -> &'t [Entry] {
        let Some(entry) = self.ask(reader, key) else {
            return &[];
        };
        match &entry.node.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Refused => &[],
            other => {
                let message = format!("takes names and values, not {}", other.shape());
                let place = reader.at(entry.node.at);
                reader.problem(&place, &self.key(key), message, None);
                &[]
            }
        }
    }

    /// Reads `key`, from the file and from its environment twin, which wins; `target` keeps its
    /// value when neither has an acceptable one. Returns where an accepted value came from.
    pub(crate) fn set<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        target: &mut T,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Place> {
        self.set_with(reader, key, target, parse, |_| None)
    }

    /// As [`Section::set`] for a duration: warns of months.
    pub(crate) fn set_duration<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        target: &mut T,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Place> {
        self.set_with(reader, key, target, parse, months)
    }

    fn set_with<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        target: &mut T,
        parse: impl Fn(&str) -> Result<T, Refusal>,
        caution: impl Fn(&str) -> Option<Refusal>,
    ) -> Option<Place> {
        let mut from = None;
        for given in self.values(reader, key) {
            let path = self.key(key);
            match parse(&given.text) {
                Ok(value) => {
                    if let Some(doubt) = caution(&given.text) {
                        reader.doubt(&given, &path, &doubt);
                    }
                    *target = value;
                    from = Some(given.place);
                }
                Err(refusal) => reader.refuse(&given, &path, &refusal),
            }
        }
        from
    }

    /// The file's value of `key` and then its environment twin's, as far as they are given.
    pub(crate) fn values(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Given> {
        let entry = self.ask(reader, key);
        let path = self.key(key);
        let in_file = entry.and_then(|entry| reader.scalar(entry, &path));
        let twin = reader.twin(&path);
        in_file.into_iter().chain(twin).collect()
    }

    /// The members of the list `key`, each a single value; none when it is not there.
    pub(crate) fn texts(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Given> {
        self.listed(reader, key)
            .map_or_else(Vec::new, |list| list.1)
    }

    /// As [`Section::texts`], with the place of the list; `None` when it is not there or no list.
    pub(crate) fn listed(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<(Place, Vec<Given>)> {
        let entry = self.ask(reader, key)?;
        let path = self.key(key);
        let place = reader.at(entry.key_at);
        match &entry.node.value {
            Value::List(items) => {
                let texts = items
                    .iter()
                    .filter_map(|item| reader.text(item, item.at, &path))
                    .collect();
                Some((place, texts))
            }
            Value::Null | Value::Refused => None,
            other => {
                let message = format!("takes a list, not {}", other.shape());
                let hint = Some("begin each member with `- `");
                reader.problem(&place, &path, message, hint);
                None
            }
        }
    }

    /// Whether `key` has a list without members.
    pub(crate) fn lists_nothing(&mut self, reader: &mut Reader<'_>, key: &'static str) -> bool {
        self.ask(reader, key).is_some_and(
            |entry| matches!(&entry.node.value, Value::List(items) if items.is_empty()),
        )
    }

    pub(crate) fn ask(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<&'t Entry> {
        reader.known.insert(format!("{}{key}", self.pattern));
        self.asked.push(key);
        self.entries.iter().find(|entry| entry.key == key)
    }
}
