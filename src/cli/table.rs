//! Tables for people: numbers to the right, no walls of lines, as wide as the terminal at most.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, Row, Table};

use super::output::Output;

/// Spaces between columns.
const GAP: u16 = 2;

/// A column.
struct Column {
    title: String,
    /// Numbers stand to the right.
    numeric: bool,
    /// On a narrow terminal the highest goes first; 0 always stays.
    spare: u8,
}

/// How a cell looks where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Something failed.
    Bad,
    /// Not the whole truth.
    Doubtful,
    /// The sum of it all.
    Strong,
}

/// A table in the making.
pub(super) struct Sheet {
    table: Table,
    columns: Vec<Column>,
    styled: bool,
    width: Option<u16>,
}

impl Sheet {
    pub(super) fn new(output: &Output) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        // Colours and width are decided in one place, not by what this crate finds out itself.
        table.force_no_tty();
        if output.is_styled() {
            table.enforce_styling();
        }
        Self {
            table,
            columns: Vec::new(),
            styled: output.is_styled(),
            width: output.width(),
        }
    }

    /// Adds a column; before any row. `numeric` ones stand to the right. On a narrow terminal the
    /// column with the highest `spare` goes first; 0 always stays.
    pub(super) fn column(&mut self, title: impl Into<String>, numeric: bool, spare: u8) {
        self.columns.push(Column {
            title: title.into(),
            numeric,
            spare,
        });
    }

    /// Adds a row with one cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let cells: Vec<Cell> = cells
            .into_iter()
            .zip(&self.columns)
            .map(|((text, tone), column)| self.cell(text, tone, column.numeric))
            .collect();
        self.table.add_row(Row::from(cells));
    }

    fn cell(&self, text: String, tone: Tone, numeric: bool) -> Cell {
        let cell = Cell::new_owned(text).set_alignment(if numeric {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        });
        match tone {
            _ if !self.styled => cell,
            Tone::Plain => cell,
            Tone::Bad => cell.fg(Color::Red),
            Tone::Doubtful => cell.fg(Color::Yellow),
            Tone::Strong => cell.add_attribute(Attribute::Bold),
        }
    }

    /// The text, each line ended.
    pub(super) fn render(mut self) -> String {
        let header: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| self.cell(column.title.clone(), Tone::Strong, column.numeric))
            .collect();
        self.table.set_header(Row::from(header));
        let widths = self.table.column_max_content_widths();
        let hidden = self.hidden(&widths);
        for (index, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            if hidden.contains(&index) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        let mut text = String::new();
        for line in self.table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The columns to leave out so that the rest fits the terminal.
    fn hidden(&self, widths: &[u16]) -> Vec<usize> {
        let Some(terminal) = self.width else {
            return Vec::new();
        };
        let mut needed: u32 = widths.iter().map(|&width| u32::from(width + GAP)).sum();
        let mut spare: Vec<(u8, usize)> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.spare > 0)
            .map(|(index, column)| (column.spare, index))
            .collect();
        spare.sort_unstable_by(|left, right| right.cmp(left));
        let mut hidden = Vec::new();
        for (_, index) in spare {
            if needed <= u32::from(terminal + GAP) {
                break;
            }
            needed -= u32::from(widths[index] + GAP);
            hidden.push(index);
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(width: Option<u16>) -> String {
        let mut sheet = Sheet::new(&Output::plain(width));
        sheet.column("model", false, 0);
        sheet.column("first token", true, 2);
        sheet.column("api", false, 1);
        sheet.column("tokens", true, 0);
        for (model, tokens) in [("gpt-5", "1,234"), ("ü", "–")] {
            let cells = [model, "0.5 s", "chat", tokens];
            sheet.row(cells.map(|text| (text.to_owned(), Tone::Plain)));
        }
        sheet.render()
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_trails() {
        let all = "\
model  first token  api   tokens
gpt-5        0.5 s  chat   1,234
ü            0.5 s  chat       –
";
        assert_eq!(sheet(None), all);
        assert_eq!(sheet(Some(32)), all);
    }

    #[test]
    fn a_narrow_terminal_loses_what_can_be_spared() {
        assert_eq!(
            sheet(Some(31)),
            "model  api   tokens\ngpt-5  chat   1,234\nü      chat       –\n"
        );
        let least = "model  tokens\ngpt-5   1,234\nü           –\n";
        assert_eq!(sheet(Some(15)), least);
        assert_eq!(sheet(Some(1)), least);
    }
}
