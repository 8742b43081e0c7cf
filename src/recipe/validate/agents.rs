//! What agents do beside passing streams on.

use std::time::Duration;

use super::super::file::AgentsFile;
use super::super::unit::{Moment, UploadBuffer};
use super::{Notes, out_of_bounds};
use crate::plan::Agents;

/// Less does not hold the largest frames, and TCP's own buffers hold more.
const LEAST_BUFFER: u64 = 16_000;
/// More than any machine of these experiments has memory for.
const MOST_BUFFER: u64 = 4_000_000_000;
/// A group of pictures at least; what agents keep is bounded in bytes, too.
const CACHES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// Reads the section.
pub(super) fn validate_agents(written: Option<&AgentsFile>, notes: &mut Notes<'_>) -> Option<Agents> {
    let (default, usual) = (AgentsFile::default(), Agents::default());
    let written = written.unwrap_or(&default);
    let UploadBuffer(upload_buffer) =
        notes.read_or("upload_buffer", &written.upload_buffer, UploadBuffer(usual.upload_buffer))?;
    let Moment(cache) = notes.read_or("cache", &written.cache, Moment(usual.cache))?;
    let handover = notes.read_or("handover", &written.handover, usual.handover)?;
    let before = notes.errors.len();
    if let Some(text) = written.upload_buffer.get()
        && upload_buffer.is_some_and(|bytes| !(LEAST_BUFFER..=MOST_BUFFER).contains(&bytes))
    {
        let bounds =
            format!("{} to {}, or unlimited", UploadBuffer(Some(LEAST_BUFFER)), UploadBuffer(Some(MOST_BUFFER)));
        notes.error(out_of_bounds("upload_buffer", &text.text, &text.span, &bounds));
    }
    if let Some(text) = written.cache.get()
        && !CACHES.contains(&cache)
    {
        let bounds = format!("{} to {}", Moment(*CACHES.start()), Moment(*CACHES.end()));
        notes.error(out_of_bounds("cache", &text.text, &text.span, &bounds));
    }
    (notes.errors.len() == before).then_some(Agents { upload_buffer, cache, handover })
}
