//! RCML.md part 1 as scenarios: virtual time, scripted inputs, asserted outputs. `bench` is the harness, `walk` a random
//! walk over every input with the invariants checked after each step.

mod action;
mod bench;
mod callbacks;
mod fork;
mod journal;
mod screening;
mod verbs;
mod voice;
mod walk;
