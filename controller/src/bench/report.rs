//! What was found: as a table, JSON and CSV.

use std::fmt::Write;

use serde::Serialize;

use super::fleet::Sample;
use super::ledger::Counts;
use super::plan::{Cell, Conduct};
use super::statistics::{Spread, quantile};

/// Version of the JSON's form.
const FORMAT: u32 = 1;

/// What one measurement came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Packet-ins answered each second.
    pub responses_per_second: f64,
    /// Half of the timed packet-ins were answered within so many microseconds.
    pub latency_p50_us: f64,
    /// 99 of 100 timed packet-ins were answered within so many microseconds.
    pub latency_p99_us: f64,
    /// How many packet-ins were timed.
    pub timed: usize,
    /// Bytes sent to the controller.
    pub bytes_out: u64,
    /// Bytes from the controller.
    pub bytes_in: u64,
    /// OpenFlow errors from the controller.
    pub errors: u64,
    /// Type and code of the latest.
    pub latest_error: Option<(u16, u16)>,
    /// Processor time of the controller, in cores; `None`: it is not known.
    pub controller_cores: Option<f64>,
    /// All that was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Measurement {
    /// What a fleet found, as figures.
    pub fn of(mut sample: Sample, controller_cores: Option<f64>) -> Self {
        let seconds = sample.elapsed.as_secs_f64();
        Self {
            seconds,
            responses_per_second: sample.counts.answered as f64 / seconds,
            latency_p50_us: quantile(&mut sample.latencies, 0.5) as f64 / 1e3,
            latency_p99_us: quantile(&mut sample.latencies, 0.99) as f64 / 1e3,
            timed: sample.latencies.len(),
            bytes_out: sample.bytes_out,
            bytes_in: sample.bytes_in,
            errors: sample.errors,
            latest_error: sample.latest_error,
            controller_cores,
            counts: sample.counts,
        }
    }

    /// What the controller did wrong: errors, and messages about packets that nobody sent.
    fn wrong(&self) -> u64 {
        self.errors + self.counts.strange
    }
}

/// One controller under the conditions of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the controller.
    pub controller: String,
    /// The conditions.
    #[serde(flatten)]
    pub cell: Cell,
    /// The most memory that it had, while this was measured.
    pub peak_memory_kib: Option<u64>,
    /// Why it could not be measured, or not to the end.
    pub trouble: Option<String>,
    /// One for each repetition that was measured.
    pub measurements: Vec<Measurement>,
}

impl Row {
    /// A row without measurements.
    pub fn new(controller: &str, cell: Cell) -> Self {
        let controller = controller.to_owned();
        Self { controller, cell, peak_memory_kib: None, trouble: None, measurements: Vec::new() }
    }

    fn spread(&self, of: impl Fn(&Measurement) -> f64) -> Spread {
        Spread::of(self.measurements.iter().map(of))
    }

    fn total(&self, of: impl Fn(&Measurement) -> u64) -> u64 {
        self.measurements.iter().map(of).sum()
    }

    /// Answers for each second of the controller's processor time: what it can do, however much of a processor others
    /// left it.
    fn rate_of_core(&self) -> Option<f64> {
        let rate = |one: &Measurement| one.controller_cores.map(|cores| one.responses_per_second / cores.max(1e-6));
        let rates: Option<Vec<f64>> = self.measurements.iter().map(rate).collect();
        rates.filter(|rates| !rates.is_empty()).map(|rates| Spread::of(rates).median)
    }

    fn rate(&self) -> Spread {
        self.spread(|one| one.responses_per_second)
    }
}

/// What was measured of all controllers under all conditions.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    format: u32,
    generator: &'static str,
    /// The command line that measured it.
    command: Vec<String>,
    conduct: Conduct,
    baseline: String,
    /// In the order of measuring.
    pub rows: Vec<Row>,
}

const RULE: usize = 149;

impl Results {
    /// Nothing yet.
    pub fn new(command: Vec<String>, conduct: Conduct, baseline: String) -> Self {
        let generator = concat!("live-controller ", env!("CARGO_PKG_VERSION"));
        Self { format: FORMAT, generator, command, conduct, baseline, rows: Vec::new() }
    }

    /// The conditions that hold for all rows, and the columns' names.
    pub fn heading(&self) -> String {
        let Conduct { window, buffering, frame_size, warm_up, duration, repetitions, .. } = self.conduct;
        format!(
            "{repetitions} × {duration:?} after {warm_up:?}; frames of {frame_size} bytes, {buffering:?}; \
             open loop: {window} packet-ins in flight at each switch\n\n\
             {:<18} {:<6} {:>3} {:>8} {:>7} {:>10} {:>21} {:>6} {:>10} {:>6} {:>9} {:>9} {:>5} {:>4} {:>6} {:>6} {:>5}\n{}\n",
            "controller",
            "loop",
            "OF",
            "switches",
            "MACs",
            "answers/s",
            "min – max",
            "ratio",
            "per core",
            "ratio",
            "p50 µs",
            "p99 µs",
            "flows",
            "CPU",
            "MiB",
            "lost",
            "wrong",
            "─".repeat(RULE),
        )
    }

    /// The lines of all rows from `first` on.
    pub fn table(&self, first: usize) -> String {
        self.rows.get(first..).unwrap_or_default().iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &Row) -> String {
        let Cell { drive, openflow, switches, macs } = row.cell;
        let mut line = format!("{:<18} {drive:<6} {openflow:>3} {switches:>8} {macs:>7} ", row.controller);
        if !row.measurements.is_empty() {
            let rate = row.rate();
            let by_flow_mod = row.total(|one| one.counts.by_flow_mod) as f64;
            let answered = row.total(|one| one.counts.answered).max(1) as f64;
            let optional = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let two_places = |ratio| format!("{ratio:.2}");
            let cores = row.measurements.iter().filter_map(|one| one.controller_cores);
            let has_cores = row.measurements.iter().any(|one| one.controller_cores.is_some());
            let _ = write!(
                line,
                "{:>10.0} {:>21} {:>6} {:>10} {:>6} {:>9.1} {:>9.1} {:>4.0}% {:>4} {:>6} {:>6} {:>5}",
                rate.median,
                format!("{:.0} – {:.0}", rate.min, rate.max),
                optional(self.ratio(row, |row| Some(row.rate().median)).map(two_places)),
                optional(row.rate_of_core().map(|rate| format!("{rate:.0}"))),
                optional(self.ratio(row, Row::rate_of_core).map(two_places)),
                row.spread(|one| one.latency_p50_us).median,
                row.spread(|one| one.latency_p99_us).median,
                100.0 * by_flow_mod / answered,
                optional(has_cores.then(|| format!("{:.0}%", 100.0 * Spread::of(cores).median))),
                optional(row.peak_memory_kib.map(|kib| format!("{:.1}", kib as f64 / 1024.0))),
                row.total(|one| one.counts.unanswered),
                row.total(Measurement::wrong),
            );
        }
        if let Some(trouble) = &row.trouble {
            let _ = write!(line, " {trouble}");
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    /// What `of` says of a row by what it says of the baseline under the same conditions.
    fn ratio(&self, row: &Row, of: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        let is_base = |other: &&Row| other.controller == self.baseline && other.cell == row.cell;
        let base = of(self.rows.iter().find(is_base)?).filter(|base| *base > 0.0)?;
        of(row).map(|value| value / base)
    }

    /// What the columns mean.
    pub fn legend(&self) -> String {
        let baseline = &self.baseline;
        format!(
            "\nanswers/s: median of the repetitions; ratio: to {baseline}; per core: answers for each \
             second of the controller's processor time; p50, p99: {}; flows: answers by flow-mod; \
             CPU: of one core; MiB: most memory resident; lost: packet-ins without an answer; wrong: OpenFlow errors and messages about \
             packets that nobody sent\n",
            "time to an answer, in the open loop of one in 64 and with the wait in the window"
        )
    }

    /// Everything.
    ///
    /// # Errors
    /// When it cannot be said in JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// A line for each measurement; one for each row that has none.
    pub fn csv(&self) -> String {
        let mut text = "controller,loop,openflow,switches,macs,repetition,responses_per_second,latency_p50_us,\
                        latency_p99_us,sent,answered,by_flow_mod,unanswered,strange,errors,bytes_out,bytes_in,\
                        controller_cores,peak_memory_kib,trouble\n"
            .to_owned();
        for row in &self.rows {
            let Cell { drive, openflow, switches, macs } = row.cell;
            let head = format!("{},{drive},{openflow},{switches},{macs}", quoted(&row.controller));
            let memory = row.peak_memory_kib.map(|kib| kib.to_string()).unwrap_or_default();
            let trouble = quoted(row.trouble.as_deref().unwrap_or_default());
            for (index, one) in row.measurements.iter().enumerate() {
                let Counts { sent, answered, by_flow_mod, unanswered, strange, .. } = one.counts;
                let cores = one.controller_cores.map(|cores| format!("{cores:.3}")).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{head},{},{:.1},{:.3},{:.3},{sent},{answered},{by_flow_mod},{unanswered},{strange},{},{},{},{cores},\
                     {memory},{trouble}",
                    index + 1,
                    one.responses_per_second,
                    one.latency_p50_us,
                    one.latency_p99_us,
                    one.errors,
                    one.bytes_out,
                    one.bytes_in,
                );
            }
            if row.measurements.is_empty() {
                let _ = writeln!(text, "{head},,,,,,,,,,,,,,{memory},{trouble}");
            }
        }
        text
    }
}

/// RFC 4180, section 2.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::plan::Drive;
    use super::super::traffic::Buffering;
    use super::*;
    use crate::openflow::Version;
    use std::time::Duration;

    fn results() -> Results {
        let conduct = Conduct {
            window: 512,
            buffering: Buffering::Buffered,
            frame_size: 60,
            warm_up: Duration::from_millis(500),
            duration: Duration::from_secs(1),
            repetitions: 3,
            pause: Duration::from_millis(20),
        };
        let mut results = Results::new(vec!["bench".to_owned()], conduct, "b".to_owned());
        let cell = Cell { drive: Drive::Open, openflow: Version::V10, switches: 16, macs: 1000 };
        for (name, answered) in [("a", [300, 100, 200]), ("b", [50, 50, 50])] {
            let mut row = Row::new(name, cell);
            row.measurements.extend(answered.map(|answered| {
                let counts = Counts { sent: answered, answered, by_flow_mod: answered / 2, ..Counts::default() };
                let latencies = vec![1000, 2000, 3000];
                let elapsed = Duration::from_secs(2);
                Measurement::of(Sample { elapsed, counts, latencies, ..Sample::default() }, Some(0.5))
            }));
            results.rows.push(row);
        }
        let mut failed = Row::new("c", cell);
        failed.trouble = Some("it closed, \"why\"".to_owned());
        results.rows.push(failed);
        results
    }

    #[test]
    fn the_table_has_medians_and_ratios() {
        let table = results().table(0);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = [
            "a", "open", "1.0", "16", "1000", "100", "50", "–", "150", "4.00", "200", "4.00", "2.0", "3.0", "50%",
            "50%", "-", "0", "0",
        ];
        assert_eq!(lines.first().unwrap(), &expected);
        assert_eq!(lines.get(1).unwrap().get(9), Some(&"1.00"));
        assert!(table.lines().last().unwrap().ends_with("it closed, \"why\""));
        assert_eq!(results().table(2).lines().count(), 1);
    }

    #[test]
    fn files() {
        let csv = results().csv();
        let commas = |line: &str| line.matches(',').count();
        let columns = commas(csv.lines().next().unwrap());
        assert_eq!(csv.lines().count(), 1 + 3 + 3 + 1);
        assert!(csv.lines().take(7).all(|line| commas(line) == columns), "{csv}");
        assert!(csv.lines().last().unwrap().ends_with(",\"it closed, \"\"why\"\"\""));
        let json: serde_json::Value = serde_json::from_str(&results().json().unwrap()).unwrap();
        assert_eq!(json["rows"][0]["measurements"][1]["answered"], 100);
        assert_eq!(json["rows"][0]["openflow"], "1.0");
        assert_eq!(json["conduct"]["window"], 512);
    }
}
