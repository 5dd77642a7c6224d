//! Credentials out of the settings and the files they name.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::reader::{Given, Reader};
use super::secret::Secret;
use super::section::Section;
use super::tree::Entry;

/// Secrets and certificates are small; what is larger is the wrong file.
const MAX_SMALL_FILE_BYTES: u64 = 256 * 1024;

impl Section<'_> {
    /// A secret from `key` or from the file that `file_key` names. `None` when neither is given or
    /// what is given is refused.
    pub(super) fn secret(
        &mut self,
        reader: &mut Reader<'_>,
        key: Option<&'static str>,
        file_key: &'static str,
    ) -> Option<Secret> {
        self.secret_that(reader, key, file_key, unfit_for_header)
    }

    /// As [`Section::secret`] for a password, which goes into no header.
    pub(super) fn password(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Secret> {
        self.secret_that(reader, Some(key), file_key, unfit_for_login)
    }

    fn secret_that(
        &mut self,
        reader: &mut Reader<'_>,
        key: Option<&'static str>,
        file_key: &'static str,
        unfit: fn(&str) -> Option<&'static str>,
    ) -> Option<Secret> {
        let inline = key.and_then(|key| Some((self.inline_secret(reader, key)?, key)));
        let from_file = self.values(reader, file_key).pop();
        if let (Some((given, key)), Some(other)) = (&inline, &from_file) {
            let message = format!("both `{key}` and `{file_key}` are given");
            let place = std::cmp::max(&given.place, &other.place).clone();
            reader.problem(
                &place,
                &self.key(file_key),
                message,
                Some("keep one of the two"),
            );
            return None;
        }
        let (given, key, text) = match (inline, from_file) {
            (Some((given, key)), _) => {
                let text = given.text.clone();
                (given, key, text)
            }
            (None, Some(given)) => {
                if is_secret_itself(&given.text) {
                    let message = "takes the name of a file, and what it has is a secret itself";
                    let hint = key.map(|key| format!("write it as `{key}`, or into a file"));
                    reader.problem(&given.place, &self.key(file_key), message, hint.as_deref());
                    reader.note_secret(&given);
                    return None;
                }
                let mut text = reader.small_file(&given, &self.key(file_key), true)?;
                // Editors and `echo` end files with a newline that is no part of the secret.
                text.truncate(text.trim_end_matches(['\n', '\r']).len());
                (given, file_key, text)
            }
            (None, None) => return None,
        };
        match unfit(&text) {
            None => Some(Secret::new(text)),
            Some(reason) => {
                reader.problem(&given.place, &self.key(key), reason, None);
                None
            }
        }
    }

    fn inline_secret(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Given> {
        let entry = self.ask(reader, key)?;
        let given = reader.hidden_scalar(entry, &self.key(key))?;
        reader.note_secret(&given);
        Some(given)
    }
}

impl Reader<'_> {
    /// A single value that is never shown.
    pub(super) fn hidden_scalar(&mut self, entry: &Entry, path: &str) -> Option<Given> {
        let mut given = self.scalar(entry, path)?;
        "[secret]".clone_into(&mut given.shown);
        Some(given)
    }

    /// Remembers that the settings file itself holds a secret, unless `given` only names a
    /// variable.
    pub(super) fn note_secret(&mut self, given: &Given) {
        if !given.from_environment {
            self.secret_in_file.get_or_insert(given.place.clone());
        }
    }

    /// The text of a small file that settings name; a problem and `None` when it cannot be read.
    /// Warns when it is private and other users can read it.
    pub(super) fn small_file(&mut self, given: &Given, key: &str, private: bool) -> Option<String> {
        let path = self.resolve(given);
        match read_small(&path) {
            Ok((text, mode)) => {
                if private && mode & 0o004 != 0 {
                    self.warning(
                        &given.place,
                        key,
                        format!("every user of this machine can read {}", path.display()),
                        Some("take the right away: `chmod o-r` on the file"),
                    );
                }
                Some(text)
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.problem(&given.place, key, message, None);
                None
            }
        }
    }
}

/// Whether a text that is to name a file is surely none, but an address or a bot's token: errors
/// about a file show its name.
fn is_secret_itself(text: &str) -> bool {
    let is_token = |(number, rest): (&str, &str)| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && rest.len() >= 30
            && !rest.contains(['/', '.'])
    };
    text.contains("://") || text.split_once(':').is_some_and(is_token)
}

/// Why a text cannot be a password; it says nothing of the text itself.
fn unfit_for_login(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("the secret is empty")
    } else if text.contains(char::is_control) {
        Some("the secret holds a line break or another control character")
    } else {
        None
    }
}

/// Why a text cannot be a credential in a header; it says nothing of the text itself.
fn unfit_for_header(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("the secret is empty")
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        None
    } else {
        Some(
            "the secret holds a space, a line break or another character that an HTTP header cannot carry",
        )
    }
}

/// The text of a file and its permission bits.
fn read_small(path: &Path) -> io::Result<(String, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut text = String::new();
    file.take(MAX_SMALL_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SMALL_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((text, metadata.permissions().mode()))
}
