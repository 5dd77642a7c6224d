//! What commands answer.
