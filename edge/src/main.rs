//! The `ringfork` binary.
fn main() {}
