//! What people and machines see of a running edge: structured logs and Prometheus metrics.

mod log;
mod metrics;
#[cfg(test)]
pub mod testing;

pub use self::log::{LogGuard, init as init_log};
pub use self::metrics::{Exposition, ProcessMetrics, install as install_metrics};
