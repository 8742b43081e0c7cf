//! What OBS says of its own broadcast at the end of its log.
//!
//! Its words are those of `obs_output_actual_stop` and `log_frame_info` in OBS's libobs/obs-output.c, and of the end
//! of the encoders' thread in libobs/media-io/video-io.c (29.0). It leaves out lines about what did not happen.

use std::path::Path;

/// Bytes of a log that are looked at, from its end.
const TAIL: u64 = 1 << 20;

/// Counts of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObsTotals {
    /// Composed, from when it began to connect.
    pub drawn: u32,
    /// Encoded and not dropped. What waited to be sent when it ended is among them.
    pub output: u32,
    /// Dropped by its own decision because its connection took no more.
    pub dropped: u32,
    /// Not composed in time, so that the one before was encoded once more.
    pub lagged: u32,
    /// Not encoded because the encoder was still busy.
    pub skipped: u32,
}

impl std::fmt::Display for ObsTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ObsTotals { drawn, output, dropped, lagged, skipped } = self;
        write!(
            f,
            "OBS composed {drawn} frames and encoded {output}; {dropped} dropped because its connection took no more, {lagged} composed late, {skipped} not encoded"
        )
    }
}

impl ObsTotals {
    /// From the text of a log; `None`: it does not tell, as OBS did not come to its end or never was on the air.
    #[must_use]
    pub fn of(log: &str) -> Option<ObsTotals> {
        let after = |words: &str| {
            let line = log.lines().rev().find(|line| line.contains(words))?;
            let number = line.split_once(words)?.1.trim_start_matches([':', ' ']);
            number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let none = |words| after(words).unwrap_or(0);
        Some(ObsTotals {
            output: after("': Total frames output")?,
            drawn: none("': Total drawn frames"),
            dropped: none("': Number of dropped frames due to insufficient bandwidth/connection stalls"),
            lagged: none("': Number of lagged frames due to rendering lag/stalls"),
            skipped: none("number of skipped frames due to encoding lag"),
        })
    }

    /// From a stored log, which may have passed through other hands.
    #[must_use]
    pub fn read(path: &Path) -> Option<ObsTotals> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = crate::file::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes).ok()?;
        ObsTotals::of(&String::from_utf8_lossy(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded: OBS 29.0.2 on a machine that was busy.
    const BUSY: &str = "\
info: [rtmp stream: 'adv_stream'] User stopped the stream
info: Output 'adv_stream': stopping
info: Output 'adv_stream': Total frames output: 246
info: Output 'adv_stream': Total drawn frames: 252 (260 attempted)
info: Output 'adv_stream': Number of lagged frames due to rendering lag/stalls: 8 (3.1%)
info: [Scripting] Total detached callbacks: 0
";

    #[test]
    fn what_obs_says_at_its_end() {
        let totals = ObsTotals { drawn: 252, output: 246, dropped: 0, lagged: 8, skipped: 0 };
        assert_eq!(ObsTotals::of(BUSY), Some(totals));
        let before_its_end = &BUSY[..BUSY.find("info: Output").unwrap_or(0)];
        assert_eq!(ObsTotals::of(before_its_end), None);
    }
}
