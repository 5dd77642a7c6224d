//! A receiver with everything that telling it takes.

use std::sync::Arc;

use crate::config::{NotifySettings, Place, Problem, Problems, ReceiverSettings};
use crate::notify::content::Templates;
use crate::notify::{Receiver, receiver};

/// A receiver, ready to be told.
#[derive(Clone, Debug)]
pub struct Destination {
    /// What the settings say of it.
    pub settings: ReceiverSettings,
    /// What tells it.
    pub receiver: Arc<dyn Receiver>,
    /// The words it is told in.
    pub templates: Arc<Templates>,
}

/// Every receiver of the settings, or everything that is wrong with them.
pub fn destinations(settings: &NotifySettings) -> Result<Vec<Destination>, Problems> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (index, of) in settings.receivers.iter().enumerate() {
        let templates = Templates::of(of, &settings.templates);
        match (receiver(of), templates) {
            (Ok(receiver), Ok(templates)) => found.push(Destination {
                settings: of.clone(),
                receiver,
                templates: Arc::new(templates),
            }),
            (receiver, templates) => {
                problems.extend(templates.err().into_iter().flat_map(|wrong| wrong.0));
                problems.extend(receiver.err().map(|error| Problem {
                    place: Place::Default,
                    key: format!("receivers[{index}]"),
                    message: format!("the receiver `{}` cannot be set up: {error}", of.name),
                    hint: None,
                }));
            }
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(Problems(problems))
    }
}
