//! Moderations: `POST /v1/moderations`. They are free, and state no usage.

use super::super::json::Node;
use super::unread::unread;
use super::{Asked, Conventions};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = unread(
    Api::Moderations,
    &["moderations"],
    &["moderations"],
    &REQUEST,
);

static REQUEST: Node<Asked> = Node::group(Asked::Body, &[("model", Node::leaf(Asked::Model))]);
