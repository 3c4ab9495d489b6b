//! Matching, limits, failed flows and other things of the layer as a whole.
