//! Sells tickets until it is asked to stop.

fn main() {}
