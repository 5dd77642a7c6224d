//! Tollgate, the program.

fn main() {}
