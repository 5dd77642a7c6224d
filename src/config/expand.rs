//! `${NAME}` in values.

/// A value after expansion.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Whether anything of it came from the environment. Such a value is never shown: nobody can
    /// tell whether it is a secret.
    pub(super) from_environment: bool,
}

/// Why a value does not expand.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    #[error("`${{` has no closing `}}`")]
    Unclosed,
    #[error("what stands between `${{` and `}}` is no variable's name")]
    BadName,
}

/// Replaces `${NAME}` by the variable's value, `${NAME:-text}` by `text` when the variable is
/// unset or empty, and `$$` by a dollar. Any other dollar stays. What a variable holds is not
/// expanded again.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, ExpandError> {
    let mut expanded = Expanded {
        text: String::with_capacity(text.len()),
        from_environment: false,
    };
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (inside, after) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
            expanded.text.push_str(&variable(inside, env)?);
            expanded.from_environment = true;
            rest = after;
        } else {
            expanded.text.push('$');
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

fn variable(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    let well_formed = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !well_formed {
        return Err(ExpandError::BadName);
    }
    match (env(name), fallback) {
        (Some(value), Some(fallback)) if value.is_empty() => Ok(fallback.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(fallback)) => Ok(fallback.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, ExpandError> {
        let env = |name: &str| match name {
            "KEY" => Some("k-${NOT_AGAIN}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &env).map(|expanded| expanded.text)
    }

    #[test]
    fn replaces_variables_and_leaves_other_dollars() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a${KEY}b", "ak-${NOT_AGAIN}b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}${NONE:-e:-f}", "de:-f"),
            ("$$", "$"),
            ("$${KEY}", "${KEY}"),
            ("$5 $", "$5 $"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn names_what_is_missing() {
        assert_eq!(with("${NONE}"), Err(ExpandError::Unset("NONE".to_owned())));
        assert_eq!(with("${KEY"), Err(ExpandError::Unclosed));
        assert_eq!(with("${}"), Err(ExpandError::BadName));
        assert_eq!(with("${1A}"), Err(ExpandError::BadName));
        assert_eq!(with("${a b}"), Err(ExpandError::BadName));
    }
}
