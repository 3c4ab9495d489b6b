//! G.711 (ITU-T G.711): which of its two laws.

/// One of the two companding laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// µ-law, `PCMU`, static payload type 0.
    Mu,
    /// A-law, `PCMA`, static payload type 8.
    A,
}
