//! What the page says of an audience that is more than one viewer: sentences for readers who know nothing of it yet.

use serde::Serialize;

use crate::plan::Scheme;
use crate::table::AudienceRow;

/// More trials are in the table alone.
const MOST_LINES: usize = 12;

/// What the bound is, and what it does not hold.
pub(super) const BOUND: &str = "The bound is the earliest moment at which the last viewer can have a frame of mean size if viewers pass it on in whole copies: \
    every host sends one copy after the other on its uplink, no more of them than the uplink carries of the stream, and whoever can deliver soonest sends \
    next. It is computed from the recipe's links alone and is the same for every scheme; a worst viewer near it means that neither the choice of who serves \
    whom nor the order costs much. It leaves out frames that queue behind each other, lost packets and the time that programs take. \
    A scheme that passes frames on before they are whole, or in which the network copies them, can be below it.";

/// What the figures do not say.
pub(super) const LIMITS: &str = "The delays end where a frame has reached the viewer's interface: what a player adds is under Playout. Shares and copies are of \
    bytes of TCP payload from the viewers' and senders' captures, from the first viewer to the last: they include what all needed to get started.";

/// A trial in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    scheme: String,
    trial: String,
    sentence: String,
    doubtful: bool,
}

/// A sentence for each audience of several viewers, measured trials first, and of those the sound ones; and how many more there are.
pub(super) fn lines(rows: &[AudienceRow]) -> (Vec<Line>, usize) {
    let mut shown: Vec<&AudienceRow> = rows.iter().filter(|row| row.viewers > 1).collect();
    shown.sort_by_key(|row| (row.point.is_predicted(), is_doubtful(row)));
    let more = shown.len().saturating_sub(MOST_LINES);
    (shown.into_iter().take(MOST_LINES).map(line).collect(), more)
}

fn is_doubtful(row: &AudienceRow) -> bool {
    row.partial || !row.fit
}

fn line(row: &AudienceRow) -> Line {
    let several = |streams: &str| format!("{} viewers of {streams}", row.viewers);
    let mut sentences = Vec::new();
    if row.point.is_predicted() {
        sentences.push("PREDICTED, not measured".to_owned());
    }
    match (row.delay_p50_best_ms, row.delay_p50_median_ms, row.delay_p50_worst_ms) {
        (Some(best), Some(median), Some(worst)) => {
            let mut text = format!(
                "Of {} the best has half of the frames within {best:.1} ms, the median one within {median:.1} ms, the worst within {worst:.1} ms",
                several(&row.stream)
            );
            if let Some(bound) = row.relay_bound_ms.filter(|bound| *bound > 0.0) {
                text += &format!("; the bound is {bound:.1} ms");
            }
            if let Some(floor) = row.floor_p50_ms {
                text += &format!(", the floor {floor:.1} ms");
            }
            sentences.push(text);
        }
        _ => sentences.push(format!("No frame reached any of {}", several(&row.stream))),
    }
    if let Some(share) = row.viewer_offload {
        let mut text = format!("Viewers carried {:.1} % of the bytes", share * 100.0);
        if let Some(most) = row.viewer_offload_bound.filter(|_| row.point.scheme == Scheme::Relay) {
            text += &format!(" ({:.1} % if the broadcaster's uplink is full)", most * 100.0);
        }
        if let Some(peers) = row.peer_offload {
            text += &format!(", all but the CDN {:.1} %", peers * 100.0);
        }
        sentences.push(text);
    }
    match (row.cdn_copies, row.broadcaster_copies) {
        (Some(cdn), Some(own)) => {
            sentences.push(format!("The CDN sent {cdn:.2} copies of the video, the broadcaster {own:.2}"));
        }
        (Some(cdn), None) => sentences.push(format!("The CDN sent {cdn:.2} copies of the video")),
        _ => {}
    }
    if let Some(missing) = row.missing.filter(|missing| *missing > 0) {
        // How many there were for all together is not in the row: each viewer has those born while it was there.
        sentences.push(format!("Of the frames for all viewers together {missing} never arrived"));
    }
    Line {
        scheme: row.point.scheme.to_string(),
        trial: row.trial.clone(),
        sentence: sentences.join(". ") + ".",
        doubtful: is_doubtful(row),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::{frame, record, trial};
    use crate::table::{ViewerFacts, audiences, summarise};

    fn row(delay_ms: Option<f64>) -> AudienceRow {
        let (mut summary, mut frames) = (Vec::new(), Vec::new());
        for viewer in ["hv1", "hv2"] {
            let mine: Vec<_> = (0..10).map(|n| frame("direct-1", viewer, n, delay_ms, Via::Cdn)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: viewer.into(),
                born: 10,
                captured: true,
                cdn_bytes: Some(1000),
                peer_bytes: Some(0),
                viewer_bytes: Some(0),
                ..ViewerFacts::default()
            };
            summary.extend(summarise(&record("direct-1"), &[facts], &mine));
            frames.extend(mine);
        }
        audiences(&record("direct-1"), &trial("direct-1", &["hv1", "hv2"]), &[], &summary, &frames).remove(0)
    }

    #[test]
    fn a_trial_is_told_in_sentences() {
        let told = |row: AudienceRow| lines(&[row]).0.remove(0);
        assert_eq!(
            told(row(Some(900.0))).sentence,
            "Of 2 viewers of hb the best has half of the frames within 900.0 ms, the median one within 900.0 ms, the worst within 900.0 ms, the floor \
             230.0 ms. Viewers carried 0.0 % of the bytes, all but the CDN 0.0 %."
        );
        let nothing = told(row(None)).sentence;
        assert!(
            nothing.starts_with("No frame reached any of 2 viewers of hb.") && nothing.ends_with("20 never arrived."),
            "{nothing}"
        );
        let bounded = AudienceRow { relay_bound_ms: Some(62.0), cdn_copies: Some(2.0), ..row(Some(70.0)) };
        let text = told(bounded).sentence;
        assert!(text.contains("; the bound is 62.0 ms") && text.contains("The CDN sent 2.00 copies"), "{text}");
    }

    #[test]
    fn one_viewer_is_no_audience_and_sound_trials_come_first() {
        let doubtful = AudienceRow { fit: false, ..row(Some(900.0)) };
        let (shown, more) = lines(&[doubtful.clone(), row(Some(900.0))]);
        assert_eq!((shown.iter().map(|line| line.doubtful).collect::<Vec<_>>(), more), (vec![false, true], 0));
        assert_eq!(lines(&[AudienceRow { viewers: 1, ..row(Some(900.0)) }]), (Vec::new(), 0));
        let many: Vec<AudienceRow> = (0..20).map(|_| doubtful.clone()).collect();
        assert_eq!((lines(&many).0.len(), lines(&many).1), (12, 8));
    }
}
