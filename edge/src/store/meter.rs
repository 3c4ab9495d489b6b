//! What the store consumes, as metrics: `ringfork_store_unit_tenths_total` (tenths of a unit) by table and operation.

use ringfork_state::dynamodb::Meter;

/// Counts every operation's units and requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreMetrics;

impl Meter for StoreMetrics {
    fn consumed(&self, table: &'static str, operation: &'static str, units: f64) {
        // Counters are whole numbers; a read of half a unit counts as five tenths.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let tenths = (units * 10.0).round().max(0.0) as u64;
        metrics::counter!("ringfork_store_unit_tenths_total", "table" => table, "operation" => operation)
            .increment(tenths);
        metrics::counter!("ringfork_store_requests_total", "table" => table, "operation" => operation).increment(1);
    }
}
