//! Prometheus metrics: counters and histograms as they happen, gauges when they are asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::adapters::Services;
use crate::core::CoreLoad;
use crate::media::MediaCounters;
use crate::net::kernel_drops;

/// Upper bounds of latency histograms, seconds.
const SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder, once in a process. `None` when another recorder is there already.
pub fn install() -> Option<PrometheusHandle> {
    if let Some(handle) = HANDLE.get() {
        return Some(handle.clone());
    }
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS).ok()?;
    let handle = builder.install_recorder().ok()?;
    describe();
    Some(HANDLE.get_or_init(|| handle).clone())
}

fn describe() {
    metrics::describe_gauge!("ringfork_calls", "Calls (parents) that are not over");
    metrics::describe_gauge!("ringfork_calls_finishing", "Calls that are over and owe writes or status callbacks");
    metrics::describe_gauge!("ringfork_legs", "Legs under way or answered");
    metrics::describe_gauge!("ringfork_transactions", "SIP transactions, lingering ones included");
    metrics::describe_gauge!("ringfork_dialogs", "Early and confirmed dialogs");
    metrics::describe_gauge!("ringfork_bindings", "Registered bindings");
    metrics::describe_gauge!("ringfork_waiting", "Requests of the core that wait for store or function");
    metrics::describe_gauge!("ringfork_media_ports", "RTP/RTCP port pairs lent to calls");
    metrics::describe_gauge!("ringfork_media_ports_bound", "RTP/RTCP port pairs bound");
    metrics::describe_gauge!("ringfork_media_ports_limit", "RTP/RTCP port pairs that may be bound");
    metrics::describe_gauge!("ringfork_media_sessions", "Media sessions that are relayed or hear a tone");
    metrics::describe_gauge!("ringfork_streams", "SIP connections over TCP");
    metrics::describe_gauge!("ringfork_work", "Requests to store and functions under way");
    metrics::describe_gauge!("ringfork_events", "Status callbacks not delivered yet");
    metrics::describe_gauge!("ringfork_call_records", "Calls and legs whose writes are followed");
    metrics::describe_gauge!("ringfork_lease_held", "1 while the lease is held");
    metrics::describe_gauge!("ringfork_draining", "1 while no new calls are taken because the process ends");
    metrics::describe_gauge!("ringfork_memory_rss_bytes", "Resident memory of the process");
    metrics::describe_gauge!("ringfork_open_files", "Open descriptors of the process");
    metrics::describe_counter!(
        "ringfork_udp_kernel_drops_total",
        "Datagrams dropped because a SIP socket's buffer was full"
    );
    metrics::describe_counter!("ringfork_udp_unsent_total", "Datagrams that could not be sent");
    metrics::describe_counter!("ringfork_sip_received_total", "SIP messages and keep-alives received");
    metrics::describe_counter!("ringfork_sip_sent_total", "SIP messages and keep-alives sent");
    metrics::describe_counter!("ringfork_rtp_relayed_total", "RTP and RTCP packets relayed");
    metrics::describe_counter!(
        "ringfork_rtp_strangers_total",
        "RTP and RTCP packets from a source that is not the party"
    );
    metrics::describe_counter!(
        "ringfork_rtp_unsent_total",
        "RTP and RTCP packets without target, or not taken by the kernel"
    );
    metrics::describe_counter!("ringfork_callbacks_total", "Status callbacks by outcome");
    metrics::describe_histogram!("ringfork_evaluate_seconds", "From a document's request to its program");
    metrics::describe_histogram!("ringfork_callback_seconds", "From a status callback's event to its delivery");
    metrics::describe_counter!(
        "ringfork_store_unit_tenths_total",
        "Capacity that the store consumed, in tenths of a unit"
    );
}

/// Where gauges come from.
pub struct ProcessMetrics {
    /// The recorder's handle.
    pub handle: PrometheusHandle,
    /// The core.
    pub core: Arc<CoreLoad>,
    /// The media shell.
    pub media: Arc<MediaCounters>,
    /// Store and functions.
    pub services: Arc<Services>,
    /// SIP listeners.
    pub listeners: Vec<SocketAddr>,
}

/// The state of the process that only its owner knows.
#[derive(Debug, Clone, Copy)]
pub struct Exposition {
    /// The lease is held.
    pub lease_held: bool,
    /// No new calls are taken.
    pub draining: bool,
}

impl ProcessMetrics {
    /// The page of `/metrics`.
    pub fn render(&self, state: Exposition) -> String {
        let gauge = |name: &'static str, value: usize| metrics::gauge!(name).set(value as f64);
        let core = |place: &std::sync::atomic::AtomicUsize| place.load(Ordering::Relaxed);
        gauge("ringfork_calls", core(&self.core.calls));
        gauge("ringfork_calls_finishing", core(&self.core.finishing));
        gauge("ringfork_legs", core(&self.core.legs));
        gauge("ringfork_transactions", core(&self.core.transactions));
        gauge("ringfork_dialogs", core(&self.core.dialogs));
        gauge("ringfork_bindings", core(&self.core.bindings));
        gauge("ringfork_waiting", core(&self.core.waiting));
        gauge("ringfork_media_ports", core(&self.core.ports_leased));
        gauge("ringfork_media_ports_bound", core(&self.core.ports_bound));
        gauge("ringfork_media_ports_limit", core(&self.core.ports_limit));
        gauge("ringfork_streams", core(&self.core.streams));
        gauge("ringfork_work", self.services.load.work());
        gauge("ringfork_events", self.services.load.events());
        gauge("ringfork_call_records", self.services.calls.len());
        gauge("ringfork_lease_held", usize::from(state.lease_held));
        gauge("ringfork_draining", usize::from(state.draining));
        metrics::gauge!("ringfork_media_sessions").set(self.media.sessions.get() as f64);
        metrics::counter!("ringfork_rtp_relayed_total").absolute(self.media.relayed.get());
        metrics::counter!("ringfork_rtp_strangers_total").absolute(self.media.strangers.get());
        metrics::counter!("ringfork_rtp_unsent_total").absolute(self.media.unsent.get());
        metrics::counter!("ringfork_rtp_sent_total").absolute(self.media.sent.get());
        metrics::counter!("ringfork_rtp_late_total").absolute(self.media.late.get());
        metrics::counter!("ringfork_keys_total").absolute(self.media.keys.get());
        metrics::counter!("ringfork_keys_dropped_total").absolute(self.media.keys_dropped.get());
        metrics::counter!("ringfork_recordings_failed_total").absolute(self.media.recordings_failed.get());
        metrics::counter!("ringfork_recording_samples_dropped_total").absolute(self.media.recording_dropped.get());
        metrics::counter!("ringfork_media_commands_dropped_total").absolute(self.media.commands_dropped.get());
        metrics::counter!("ringfork_udp_kernel_drops_total").absolute(kernel_drops(&self.listeners));
        if let Some(bytes) = resident_bytes() {
            metrics::gauge!("ringfork_memory_rss_bytes").set(bytes as f64);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            gauge("ringfork_open_files", files.count());
        }
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// Resident memory of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
