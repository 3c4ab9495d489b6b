//! Closes what a dead edge left.
