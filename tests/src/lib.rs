//! What crosses packages: real clients against the running edge.
