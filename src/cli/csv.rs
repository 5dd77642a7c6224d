//! Comma-separated values (RFC 4180).

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Text from outside.
    Text(String),
    /// A number, or anything else this program wrote itself.
    Exact(String),
    /// Unknown.
    Empty,
}

impl Cell {
    /// A number that may be unknown.
    pub(super) fn number(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Empty, |value| Self::Exact(value.to_string()))
    }
}

/// Appends one line.
pub(super) fn line(text: &mut String, cells: impl IntoIterator<Item = Cell>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match cell {
            Cell::Empty => {}
            // A spreadsheet runs what begins so as a formula, and a client chooses its model's
            // name. An apostrophe makes it text again; JSON has the exact value.
            Cell::Text(value) if value.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                quote(text, &format!("'{value}"));
            }
            Cell::Text(value) | Cell::Exact(value) => quote(text, &value),
        }
    }
    text.push_str("\r\n");
}

fn quote(text: &mut String, value: &str) {
    if value.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_needs_it_and_defuses_formulas() {
        let mut text = String::new();
        let cells = [
            Cell::Text("plain".to_owned()),
            Cell::Text("a,\"b\"\nc".to_owned()),
            Cell::Text("=HYPERLINK(\"x\")".to_owned()),
            Cell::Exact("-1.5".to_owned()),
            Cell::Empty,
            Cell::number(Some(7)),
        ];
        line(&mut text, cells);
        assert_eq!(
            text,
            "plain,\"a,\"\"b\"\"\nc\",\"'=HYPERLINK(\"\"x\"\")\",-1.5,,7\r\n"
        );
    }
}
