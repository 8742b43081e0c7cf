//! Event lines on standard output.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use livectl_wire::agent_event::{Event, Line};
use tokio::time::Instant;

/// Now, in nanoseconds of CLOCK_REALTIME.
pub(crate) fn now_ns() -> i64 {
    // Before 1970 or after 2262 nothing is measured.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Milliseconds since then.
pub(crate) fn ms_since(then: Instant) -> f64 {
    let microseconds = then.elapsed().as_secs_f64() * 1e6;
    microseconds.round() / 1000.0
}

/// Says that something has happened, now.
pub(crate) fn tell(event: Event) {
    let line = Line { time_ns: now_ns(), event };
    // Of strings and numbers, which JSON has room for.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    // Whoever listened may be gone; the work goes on.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
