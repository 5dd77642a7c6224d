//! Buttons under a message.

use teloxide::types::{InlineKeyboardButton, InlineKeyboardButtonKind, InlineKeyboardMarkup};

use crate::notify::{Button, ButtonTarget};

/// The most that a button comes back with.
const LONGEST_CALLBACK_BYTES: usize = 64;
/// The longest label, in characters: more is not shown anywhere.
const LONGEST_LABEL: usize = 64;

/// Which buttons are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Those that come back.
    pub(super) callbacks: bool,
    /// Those that open an address.
    pub(super) addresses: bool,
}

impl Shown {
    /// All of them.
    pub(super) const ALL: Self = Self {
        callbacks: true,
        addresses: true,
    };
}

/// The keyboard of these rows. A button that Telegram cannot have is left out: a message without it is
/// better than none.
pub(super) fn of(rows: &[Vec<Button>], shown: Shown) -> InlineKeyboardMarkup {
    let rows = rows.iter().map(|row| {
        let buttons = row.iter().filter_map(|button| one(button, shown));
        buttons.collect::<Vec<_>>()
    });
    InlineKeyboardMarkup::new(rows.filter(|row| !row.is_empty()))
}

/// The rows of a keyboard, as far as its buttons are of a kind that [`of`] makes.
pub(super) fn read(keyboard: &InlineKeyboardMarkup) -> Vec<Vec<Button>> {
    let button = |button: &InlineKeyboardButton| {
        let target = match &button.kind {
            InlineKeyboardButtonKind::CallbackData(data) => ButtonTarget::Callback(data.clone()),
            InlineKeyboardButtonKind::Url(url) => ButtonTarget::Url(url.to_string()),
            _ => return None,
        };
        Some(Button {
            label: button.text.clone(),
            target,
        })
    };
    let rows = keyboard.inline_keyboard.iter();
    rows.map(|row| row.iter().filter_map(button).collect())
        .collect()
}

fn one(button: &Button, shown: Shown) -> Option<InlineKeyboardButton> {
    let label: String = button.label.chars().take(LONGEST_LABEL).collect();
    if label.trim().is_empty() {
        return None;
    }
    match &button.target {
        ButtonTarget::Callback(data)
            if shown.callbacks && !data.is_empty() && data.len() <= LONGEST_CALLBACK_BYTES =>
        {
            Some(InlineKeyboardButton::callback(label, data))
        }
        ButtonTarget::Url(url) if shown.addresses => {
            let url = url.parse().ok()?;
            Some(InlineKeyboardButton::url(label, url))
        }
        _ => None,
    }
}
