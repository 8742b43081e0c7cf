//! The summary as text for a terminal.

use std::collections::{HashMap, HashSet};

use super::rows::{AudienceRow, CrowdRow, EstimateRow, SummaryRow};
use super::summary::quantile;
use crate::plan::{CROWD, ENGINE, Parameters, Scheme};

/// Blanks between columns.
const GAP: usize = 2;

struct Column<T> {
    /// Written above the first of the columns that share it.
    group: &'static str,
    name: &'static str,
    /// Columns of text are flush left, numbers flush right.
    text: bool,
    /// The highest goes first when the terminal is narrow; 0 stays.
    dispensable: u8,
    cell: fn(&T) -> String,
}

const fn words<T>(name: &'static str, cell: fn(&T) -> String) -> Column<T> {
    Column { group: "", name, text: true, dispensable: 0, cell }
}

const fn number<T>(group: &'static str, name: &'static str, dispensable: u8, cell: fn(&T) -> String) -> Column<T> {
    Column { group, name, text: false, dispensable, cell }
}

const COLUMNS: [Column<SummaryRow>; 15] = [
    words("trial", trial),
    words("viewer", |r| r.viewer.clone()),
    number("", "frames", 0, |r| r.frames.to_string()),
    number("", "missing", 0, |r| count(r.missing)),
    number("", "late", 5, |r| count(r.late)),
    number("startup", "ms", 4, |r| milliseconds(r.startup_delay_ms)),
    number("delay ms", "p50", 0, |r| milliseconds(r.delay_p50_ms)),
    number("", "p95", 2, |r| milliseconds(r.delay_p95_ms)),
    number("", "max", 0, |r| milliseconds(r.delay_max_ms)),
    number("floor", "ms", 0, |r| milliseconds(r.floor_p50_ms)),
    number("excess ms", "p50", 0, |r| milliseconds(r.excess_p50_ms)),
    number("", "p95", 1, |r| milliseconds(r.excess_p95_ms)),
    number("", "max", 3, |r| milliseconds(r.excess_max_ms)),
    number("by peers", "%", 6, |r| percent(r.peer_offload)),
    number("handover", "ms", 7, |r| milliseconds(r.handover_gap_ms)),
];

/// Columns for trials of many viewers: a line for each stream.
const AUDIENCE_COLUMNS: [Column<Audience>; 16] = [
    words("trial", |a| a.common(trial)),
    words("stream", |a| a.common(|r| r.stream.clone())),
    number("", "viewers", 0, |a| a.rows.len().to_string()),
    number("", "frames", 5, |a| a.common(|r| r.frames.to_string())),
    number("", "missing", 0, |a| a.sum(|r| r.missing).map_or_else(|| "-".to_owned(), |n| n.to_string())),
    number("p50 ms", "best", 0, |a| milliseconds(a.at(0.0, |r| r.delay_p50_ms))),
    number("", "median", 0, |a| milliseconds(a.at(0.5, |r| r.delay_p50_ms))),
    number("", "worst", 0, |a| milliseconds(a.at(1.0, |r| r.delay_p50_ms))),
    number("p95 ms", "best", 2, |a| milliseconds(a.at(0.0, |r| r.delay_p95_ms))),
    number("", "median", 1, |a| milliseconds(a.at(0.5, |r| r.delay_p95_ms))),
    number("", "worst", 0, |a| milliseconds(a.at(1.0, |r| r.delay_p95_ms))),
    number("floor", "ms", 3, |a| milliseconds(a.at(0.5, |r| r.floor_p50_ms))),
    number("relay bound", "mean", 6, |a| milliseconds(a.at(1.0, |r| r.relay_bound_ms))),
    number("", "p95", 6, |a| milliseconds(a.at(1.0, |r| r.relay_bound_p95_ms))),
    number("by peers", "%", 4, |a| percent(a.share(|r| r.peer_offload))),
    number("by viewers", "%", 4, |a| percent(a.share(|r| r.viewer_offload))),
];

/// Columns for crowds: a line for each trial, over all its viewers and frames.
const CROWD_COLUMNS: [Column<CrowdRow>; 17] = [
    words("scheme", scheme_and_parameters),
    number("", "viewers", 0, |r| r.viewers.to_string()),
    number("delay ms", "p50", 0, |r| milliseconds(r.delay_p50_ms)),
    number("", "p95", 0, |r| milliseconds(r.delay_p95_ms)),
    number("", "worst", 0, |r| milliseconds(r.delay_max_ms)),
    number("excess ms", "p50", 4, |r| milliseconds(r.excess_p50_ms)),
    number("", "p95", 4, |r| milliseconds(r.excess_p95_ms)),
    number("relay bound", "mean", 1, |r| milliseconds(r.relay_bound_ms)),
    number("", "p95", 3, |r| milliseconds(r.relay_bound_p95_ms)),
    number("startup ms", "p50", 5, |r| milliseconds(r.startup_p50_ms)),
    number("found again ms", "p95", 5, |r| milliseconds(r.reattach_p95_ms)),
    number("missing", "%", 0, |r| percent(part(r.missing, r.owed))),
    number("by peers", "%", 0, |r| percent(r.peer_offload)),
    number("by viewers", "%", 2, |r| percent(r.viewer_offload)),
    number("", "bound", 2, |r| percent(r.viewer_offload_bound)),
    number("depth", "most", 6, |r| r.depth_max.to_string()),
    number("", "at least", 6, |r| r.depth_bound.map_or_else(|| "-".to_owned(), |depth| depth.to_string())),
];

/// Columns for what was on the viewers' screens.
const SCREEN_COLUMNS: [Column<SummaryRow>; 13] = [
    words("trial", trial),
    words("viewer", |r| r.viewer.clone()),
    words("player", |r| r.player.clone().unwrap_or_default()),
    number("", "shown", 0, |r| count(r.shown)),
    number("", "never", 0, |r| count(r.never_shown)),
    number("", "twice", 3, |r| count(r.shown_twice)),
    number("", "late", 4, |r| count(r.shown_late)),
    number("shown delay ms", "p50", 0, |r| milliseconds(r.shown_delay_p50_ms)),
    number("", "p95", 0, |r| milliseconds(r.shown_delay_p95_ms)),
    number("of it", "encoder", 1, |r| milliseconds(r.encode_p50_ms)),
    number("", "network", 1, |r| milliseconds(r.delay_p50_ms)),
    number("", "player", 0, |r| milliseconds(r.player_p50_ms)),
    number("read", "within ms", 2, |r| milliseconds(r.shown_unsure_p95_ms)),
];

/// Who carried the stream to many viewers, beside what can be at most or at least.
const CARRIAGE_COLUMNS: [Column<AudienceRow>; 14] = [
    words("trial", |a| if a.fit && !a.partial { a.trial.clone() } else { format!("{} !", a.trial) }),
    words("stream", |a| a.stream.clone()),
    number("", "viewers", 0, |a| a.viewers.to_string()),
    number("by viewers", "%", 0, |a| percent(a.viewer_offload)),
    number("", "bound", 0, |a| percent(a.viewer_offload_bound)),
    number("not the CDN", "%", 0, |a| percent(a.peer_offload)),
    number("copies from", "CDN", 0, |a| hundredths(a.cdn_copies)),
    number("", "broadcaster", 0, |a| hundredths(a.broadcaster_copies)),
    number("sent", "per video", 3, |a| hundredths(a.sent_per_video)),
    number("depth", "most", 2, |a| count(a.depth_max)),
    number("", "at least", 2, |a| count(a.depth_bound)),
    number("kbit/s", "a copy", 4, |a| kilobits(a.copy_bit_per_s)),
    number("", "at most", 4, |a| kilobits(a.greatest_bit_per_s)),
    number("CPU", "%", 1, |a| percent(a.cpu_mean)),
];

/// With more viewers in a trial there is a line for the trial, and none for each of them.
const MOST_CROWD: usize = 8;

/// The summary as an aligned table with units in its header, and below it a line for each trial that is partial or
/// unfit. Where a trial has more viewers than [a few](MOST_CROWD), the table has a line for each trial. Columns
/// that `width` characters have no room for are left out, the least telling first; `summary.csv` has them all. 80 is
/// wide enough for those that stay, with names of up to twelve characters. Milliseconds lose their decimals from
/// 10,000 on.
#[must_use]
pub fn summary_text(rows: &[SummaryRow], width: usize) -> String {
    let audiences = audiences(rows);
    let mut laid = if audiences.iter().any(|audience| audience.rows.len() > MOST_CROWD) {
        let mut laid = within(&AUDIENCE_COLUMNS, &audiences, width);
        laid.push(
            "Best, median and worst of the viewers, for each figure by itself. Relay bound: the earliest at which the last of them can have a frame \
             of mean or 95th-percentile size, if viewers pass it on in whole copies. summary.csv has each viewer."
                .to_owned(),
        );
        laid
    } else {
        within(&COLUMNS, rows, width)
    };
    let mut noted: Vec<String> = Vec::new();
    for row in rows.iter().filter(|r| !r.note.is_empty()) {
        let note = format!("! {}: {}", row.trial, row.note);
        if !noted.contains(&note) {
            noted.push(note);
        }
    }
    laid.extend(noted);
    laid.join("\n") + "\n"
}

/// Who carried the stream, a line for each trial; `None` where no trial has more viewers than [a few](MOST_CROWD).
/// `audience.csv` has it all.
#[must_use]
pub fn audience_text(rows: &[AudienceRow], width: usize) -> Option<String> {
    if !rows.iter().any(|row| row.viewers as usize > MOST_CROWD) {
        return None;
    }
    let mut laid = vec!["who carried the stream:".to_owned()];
    laid.extend(within(&CARRIAGE_COLUMNS, rows, width));
    laid.push(
        "Copies: bytes sent over bytes of the video. Bound: what viewers carry if the broadcaster's uplink is full. Depth, most: hosts that passed a frame on. At least, and kbit/s at most: what the uplinks allow any tree of whole \
         copies. audience.csv has more."
            .to_owned(),
    );
    Some(laid.join("\n") + "\n")
}

/// What tells a crowd's trial from others beside its size: `relay givers=16 takers=16 repetition 2`; the first repetition is not called that.
fn scheme_and_parameters(row: &CrowdRow) -> String {
    let others = row.point.parameters.iter().filter(|(name, _)| ![ENGINE, CROWD].contains(name));
    let others: String = others.map(|(name, value)| format!(" {name}={value}")).collect();
    let repetition = match row.point.repetition {
        1 => String::new(),
        repetition => format!(" repetition {repetition}"),
    };
    format!("{}{others}{repetition}", row.point.scheme)
}

/// What predictions for crowds came to, a line for each trial; `None` where there is none. `crowds.csv` has it all.
#[must_use]
pub fn crowds_text(rows: &[CrowdRow], width: usize) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let mut laid = vec!["predicted, over all viewers and frames:".to_owned()];
    laid.extend(within(&CROWD_COLUMNS, rows, width));
    let bound = if rows.iter().any(|row| row.relay_bound_ms.is_some()) {
        "Relay bound: the earliest at which the last viewer could have a frame, in whole copies. "
    } else {
        ""
    };
    laid.push(format!(
        "{bound}crowds.csv has more. The tables below have the viewers of the recipe, each in the middle of those it stands for."
    ));
    Some(laid.join("\n") + "\n")
}

/// `part` of `all`, 0 to 1; `None`: there are none at all.
#[allow(clippy::cast_precision_loss)]
fn part(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// What was on the screens, a line for each viewer that has one; `None` where there are none. `shown.parquet` has
/// each frame.
#[must_use]
pub fn screens_text(rows: &[SummaryRow], width: usize) -> Option<String> {
    let rows: Vec<SummaryRow> = rows.iter().filter(|row| row.shown.is_some()).cloned().collect();
    if rows.is_empty() {
        return None;
    }
    let mut laid = vec!["on the screens:".to_owned()];
    laid.extend(within(&SCREEN_COLUMNS, &rows, width));
    laid.push(
        "Shown delay: from taking a picture to seeing it on the screen; its parts are medians, each by itself. Never: not shown after the first one that was. \
         Twice: there for 1.5 frame intervals, or again. Late: an interval over the median."
            .to_owned(),
    );
    Some(laid.join("\n") + "\n")
}

/// The table without the columns that there is no room for.
fn within<T>(columns: &[Column<T>], rows: &[T], width: usize) -> Vec<String> {
    let mut columns: Vec<&Column<T>> = columns.iter().collect();
    let mut laid = lay_out(&columns, rows);
    while laid.iter().any(|line| length(line) > width) {
        let Some(least) = columns.iter().map(|c| c.dispensable).max().filter(|d| *d > 0) else { break };
        columns.retain(|c| c.dispensable != least);
        laid = lay_out(&columns, rows);
    }
    laid
}

/// The viewers of a stream in a trial.
struct Audience {
    rows: Vec<SummaryRow>,
}

/// One for each stream and trial, in the order of the summary.
fn audiences(rows: &[SummaryRow]) -> Vec<Audience> {
    let mut audiences: Vec<Audience> = Vec::new();
    for row in rows {
        let same = |audience: &&mut Audience| {
            audience.rows.first().is_some_and(|first| (&first.trial, &first.stream) == (&row.trial, &row.stream))
        };
        match audiences.iter_mut().find(same) {
            Some(audience) => audience.rows.push(row.clone()),
            None => audiences.push(Audience { rows: vec![row.clone()] }),
        }
    }
    audiences
}

impl Audience {
    /// That of its first viewer: what the viewers have in common.
    fn common(&self, of: impl Fn(&SummaryRow) -> String) -> String {
        self.rows.first().map(of).unwrap_or_default()
    }

    /// The `p`-quantile over the viewers that have this figure.
    fn at(&self, p: f64, figure: impl Fn(&SummaryRow) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.rows.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, p)
    }

    /// The sum over the viewers that have this figure; `None`: none has it.
    fn sum(&self, figure: impl Fn(&SummaryRow) -> Option<u32>) -> Option<u64> {
        self.rows.iter().filter_map(figure).map(u64::from).fold(None, |sum, n| Some(sum.unwrap_or(0) + n))
    }

    fn share(&self, share: impl Fn(&SummaryRow) -> Option<f64>) -> Option<f64> {
        shared(self.rows.iter(), share)
    }
}

/// A share of the bytes that came to all of these viewers.
pub(super) fn shared<'a>(
    rows: impl Iterator<Item = &'a SummaryRow>,
    share: impl Fn(&SummaryRow) -> Option<f64>,
) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    let bytes = |row: &SummaryRow| Some((row.cdn_bytes? + row.peer_bytes? + row.group_bytes.unwrap_or(0)) as f64);
    let parts: Vec<(f64, f64)> = rows.filter_map(|row| Some((share(row)?, bytes(row)?))).collect();
    let all: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    (all > 0.0).then(|| parts.iter().map(|(share, bytes)| share * bytes).sum::<f64>() / all)
}

fn lay_out<T>(columns: &[&Column<T>], rows: &[T]) -> Vec<String> {
    let body: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|c| (c.cell)(row)).collect()).collect();
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| body.iter().map(|line| length(&line[i])).chain([length(column.name)]).max().unwrap_or(0))
        .collect();
    for (i, column) in columns.iter().enumerate() {
        // A group's name reaches over the columns that follow without one.
        let others = columns[i + 1..].iter().take_while(|next| next.group.is_empty()).count();
        let over = widths[i..=i + others].iter().sum::<usize>() + others * GAP;
        widths[i] += length(column.group).saturating_sub(over);
    }
    let line = |cells: Vec<&str>| -> String {
        let mut line = String::new();
        for ((cell, width), column) in cells.into_iter().zip(&widths).zip(columns) {
            let blanks = " ".repeat(width - length(cell));
            let padded = if column.text { format!("{cell}{blanks}") } else { format!("{blanks}{cell}") };
            line.push_str(&padded);
            line.push_str(&" ".repeat(GAP));
        }
        line.trim_end().to_owned()
    };
    let mut groups = String::new();
    let mut begins = 0;
    for (i, column) in columns.iter().enumerate() {
        if !column.group.is_empty() {
            let alone = columns.get(i + 1).is_none_or(|next| !next.group.is_empty());
            let inset = if alone { widths[i] - length(column.group) } else { 0 };
            groups.push_str(&" ".repeat((begins + inset).saturating_sub(length(&groups))));
            groups.push_str(column.group);
        }
        begins += widths[i] + GAP;
    }
    let mut lines = vec![groups, line(columns.iter().map(|c| c.name).collect())];
    lines.extend(body.iter().map(|cells| line(cells.iter().map(String::as_str).collect())));
    lines
}

/// With a mark if its figures are not to be relied on.
fn trial(row: &SummaryRow) -> String {
    if row.fit && !row.partial { row.trial.clone() } else { format!("{} !", row.trial) }
}

/// Characters, which for the names allowed are columns of the terminal.
fn length(text: &str) -> usize {
    text.chars().count()
}

fn count(value: Option<u32>) -> String {
    value.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

pub(super) fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(v) if v.abs() >= 9999.95 => format!("{v:.0}"),
        Some(v) => format!("{v:.1}"),
    }
}

pub(super) fn hundredths(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn kilobits(bit_per_s: Option<f64>) -> String {
    bit_per_s.map_or_else(|| "-".to_owned(), |bits| format!("{:.0}", bits / 1e3))
}

pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |s| format!("{:.1}", s * 100.0))
}

/// What [`estimates_text`] shows of all figures.
const SHOWN: [(&str, &str); 5] = [
    ("delay_p50_ms", "delay p50 ms"),
    ("delay_p95_ms", "delay p95 ms"),
    ("excess_p50_ms", "excess p50 ms"),
    ("startup_delay_ms", "startup ms"),
    ("missing", "missing"),
];

/// The main figures over repetitions with their 95 % confidence intervals; `None` if no scheme was repeated.
/// `estimates.csv` has them all.
#[must_use]
pub fn estimates_text(rows: &[EstimateRow]) -> Option<String> {
    if rows.iter().all(|row| row.low_95.is_none()) {
        return None;
    }
    let mut viewers: Vec<&EstimateRow> = Vec::new();
    type Key<'r> = (Scheme, &'r Parameters, &'r str, &'r str);
    fn key(row: &EstimateRow) -> Key<'_> {
        (row.scheme, &row.parameters, &row.stream, &row.viewer)
    }
    let mut figures: HashMap<(Key<'_>, &str), &EstimateRow> = HashMap::new();
    let mut known: HashSet<Key<'_>> = HashSet::new();
    for row in rows {
        if known.insert(key(row)) {
            viewers.push(row);
        }
        figures.entry((key(row), row.metric.as_str())).or_insert(row);
    }
    let mut lines = vec![vec!["scheme".to_owned(), "viewer".to_owned(), "trials".to_owned()]];
    let varied = rows.iter().any(|row| !row.parameters.is_empty());
    lines[0].splice(1..1, varied.then(|| "at".to_owned()));
    lines[0].extend(SHOWN.iter().map(|(_, heading)| (*heading).to_owned()));
    for viewer in viewers {
        let mut line = vec![viewer.scheme.name().to_owned(), viewer.viewer.clone(), viewer.trials.to_string()];
        line.splice(1..1, varied.then(|| viewer.parameters.to_string()));
        for (metric, _) in SHOWN {
            let row = figures.get(&(key(viewer), metric));
            let cell = |row: &&EstimateRow| interval(row.value, row.low_95.zip(row.high_95), milliseconds);
            line.push(row.map_or_else(|| "-".to_owned(), cell));
        }
        lines.push(line);
    }
    let mut text = String::from("over repetitions, with 95 % confidence intervals:\n");
    text.push_str(&aligned(&lines));
    if let Some(left_out) = rows.iter().map(|row| row.left_out).max().filter(|count| *count > 0) {
        text.push_str(&format!("without those that are partial or unfit: up to {left_out} of a scheme\n"));
    }
    Some(text)
}

/// Cells under each other, flush left; the first line is the head.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |i: usize| lines.iter().filter_map(|line| line.get(i)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|i| widest(i).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let padded =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - length(cell))));
        text.push_str(padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end());
        text.push('\n');
    }
    text
}

/// `245.0 (240.1 to 250.0)`.
pub(super) fn interval(value: f64, interval: Option<(f64, f64)>, shown: fn(Option<f64>) -> String) -> String {
    let value = shown(Some(value));
    match interval {
        Some((low, high)) => format!("{value} ({} to {})", shown(Some(low)), shown(Some(high))),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_never_touch() {
        let columns = [
            number("a long name", "x", 0, |n: &u32| n.to_string()),
            number("", "y", 0, |n| n.to_string()),
            number("of it", "z", 0, |n| n.to_string()),
            number("", "w", 0, |n| n.to_string()),
        ];
        let columns: Vec<_> = columns.iter().collect();
        assert_eq!(lay_out(&columns, &[7]), ["a long name  of it", "       x  y   z  w", "       7  7   7  7"]);
    }
}
