//! Drives whole forks through the pure crates under a seeded virtual clock.
