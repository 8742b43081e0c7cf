//! What passed between switches, by the counters of their ports.

use std::io;
use std::path::Path;

use super::rows::{AudienceRow, TrunkRow};
use super::text::hundredths;
use crate::file;
use crate::store::{TrialRecord, TrunkTraffic};

/// A row for each direction of each link between switches of which `ports` tells; `planned` are all of them. Where there has never been such a file, as in
/// older runs and on one switch, there is none.
pub(super) fn trunk_rows(
    record: &TrialRecord,
    ports: &Path,
    planned: usize,
    audience: &[AudienceRow],
    problems: &mut Vec<String>,
) -> Vec<TrunkRow> {
    let was_stored = || record.files.contains_key("ports.json");
    let all = match read(ports) {
        Ok(all) => all,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !was_stored() => return Vec::new(),
        Err(error) => {
            problems.push(format!("ports.json: {error}; what passed between switches is not known"));
            return Vec::new();
        }
    };
    if all.len() < planned {
        problems.push(format!("ports.json: it tells of {} directions of {planned} between switches", all.len()));
    }
    let streams = u32::try_from(audience.len()).unwrap_or(u32::MAX);
    let video_bytes = audience.iter().map(|row| row.video_bytes).sum::<Option<u64>>().filter(|bytes| *bytes > 0);
    let row = |one: TrunkTraffic| TrunkRow {
        trial: record.id.clone(),
        point: record.point.clone(),
        from: one.from,
        to: one.to,
        bytes: one.received_bytes,
        packets: one.received_packets,
        lost_bytes: one.sent_bytes.saturating_sub(one.received_bytes),
        streams,
        video_bytes,
        #[allow(clippy::cast_precision_loss)]
        copies: video_bytes.map(|video| (one.received_bytes as f64 / video as f64 * 1e6).round() / 1e6),
        partial: record.is_partial(),
        fit: record.unfit.is_empty(),
    };
    all.into_iter().map(row).collect()
}

fn read(path: &Path) -> io::Result<Vec<TrunkTraffic>> {
    Ok(serde_json::from_reader(io::BufReader::new(file::open(path)?))?)
}

/// A line for each direction of each link between switches; `None` if there is none.
#[must_use]
pub fn trunks_text(rows: &[TrunkRow]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let mut lines = vec![["trial", "from", "to", "MB", "copies of the video"].map(str::to_owned)];
    for row in rows {
        let mark = if row.fit && !row.partial { "" } else { " !" };
        #[allow(clippy::cast_precision_loss)]
        let megabytes = format!("{:.2}", row.bytes as f64 / 1e6);
        lines.push([
            format!("{}{mark}", row.trial),
            row.from.clone(),
            row.to.clone(),
            megabytes,
            hundredths(row.copies),
        ]);
    }
    let widths: [usize; 5] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    let mut text = String::from("between switches, by the counters of their ports:\n");
    for line in lines {
        let [trial, from, to, megabytes, copies] = &line;
        let [first, second, third, fourth, fifth] = widths;
        let padded = format!("{trial:first$}  {from:second$}  {to:third$}  {megabytes:>fourth$}  {copies:>fifth$}");
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text.push_str("Copies: all bytes that passed, headers included, over the bytes of all streams' frames: a copy over TCP is about 1.1.\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::FileRecord;
    use crate::table::tests::record;
    use crate::table::{read_trunks, write_trunks};

    fn traffic(from: &str, to: &str, sent: u64, received: u64) -> TrunkTraffic {
        TrunkTraffic {
            from: from.into(),
            to: to.into(),
            sent_bytes: sent,
            received_bytes: received,
            received_packets: 9,
            dropped_packets: 0,
        }
    }

    #[test]
    fn what_ports_counted_becomes_rows_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let ports = folder.path().join("ports.json");
        let mut problems = Vec::new();
        assert_eq!(trunk_rows(&record("relay-1"), &ports, 0, &[], &mut problems), [], "one switch");
        assert_eq!(trunk_rows(&record("relay-1"), &ports, 2, &[], &mut problems), [], "an older run");
        assert_eq!(problems, [""; 0]);
        let mut stored = record("relay-1");
        stored.files.insert("ports.json".into(), FileRecord { bytes: 9, xxh3_128: "ab".into() });
        assert_eq!(trunk_rows(&stored, &ports, 2, &[], &mut problems), [], "somebody deleted it");
        assert!(problems[0].ends_with("what passed between switches is not known"), "{problems:?}");
        problems.clear();
        TrunkTraffic::write(&ports, &[traffic("s1", "s2", 1000, 900), traffic("s2", "s1", 10, 10)]).unwrap();
        let rows = trunk_rows(&record("relay-1"), &ports, 2, &[], &mut problems);
        assert_eq!((rows[0].bytes, rows[0].lost_bytes, rows[0].copies), (900, 100, None), "no video is known");
        assert_eq!(problems, [""; 0]);
        let counted = TrunkRow { copies: Some(1.0625), video_bytes: Some(847), ..rows[0].clone() };
        let text = trunks_text(&[counted.clone(), rows[1].clone()]).unwrap();
        assert!(text.contains("relay-1  s1    s2  0.00"), "{text}");
        assert!(text.contains("1.06\n"), "{text}");
        assert_eq!(trunks_text(&[]), None);
        let table = folder.path().join("trunks.csv");
        write_trunks(&table, &[]).unwrap();
        assert!(!table.exists());
        write_trunks(&table, std::slice::from_ref(&counted)).unwrap();
        assert_eq!(read_trunks(&table).unwrap(), [counted]);
        assert_eq!(trunk_rows(&record("relay-1"), &ports, 4, &[], &mut problems).len(), 2);
        assert_eq!(problems, ["ports.json: it tells of 2 directions of 4 between switches"]);
        std::fs::write(&ports, "[{").unwrap();
        assert_eq!(trunk_rows(&record("relay-1"), &ports, 2, &[], &mut problems), []);
        assert!(problems[1].starts_with("ports.json: "), "{problems:?}");
    }
}
