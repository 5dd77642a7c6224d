//! The command line.

mod banner;

pub use banner::banner;
