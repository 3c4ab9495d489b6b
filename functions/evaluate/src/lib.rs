//! Fetches a document, compiles it and returns the program.
