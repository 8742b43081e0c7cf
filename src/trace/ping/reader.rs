//! Reads what ping printed line by line: first line, answers, summary, and what others wrote between.

use std::collections::HashSet;
use std::net::IpAddr;

use super::clock::{self, Stamps};
use super::heading::heading;
use super::line::{Line, Number, Record, Reply, SEQUENCE_SPAN, answers, other, shown};
use super::prefix::Prefixes;
use super::stamp::{Stamp, stamp};
use super::summary::{Figure, Seen, Summary, is_rtt};
use super::text::{Text, TextLine};
use super::{PingFailure, PingLog, PingReply};

/// That many pings before the first answer are believed to be lost though no summary counts them.
const MOST_BEFORE: u32 = 100;

/// Understands what `ping` printed. Never fails: what is not understood is in [`PingLog::unreadable`].
#[must_use]
pub fn parse(text: &str) -> PingLog {
    read(&Text::of(text))
}

/// As [`parse`].
pub(super) fn read(text: &Text<'_>) -> PingLog {
    let mut reader = Reader::default();
    for (number, line) in text.lines().enumerate() {
        reader.line(number, &line);
        if reader.log.another_follows {
            break;
        }
    }
    reader.end(text.zeros_from)
}

#[derive(Default)]
struct Reader {
    log: PingLog,
    prefixes: Prefixes,
    /// What answers have before their number.
    word: Option<String>,
    /// What to add to the numbers; known from the first line, or else from the first number.
    base: Option<u32>,
    base_is_known: bool,
    counter: Counter,
    answered: HashSet<u32>,
    /// The greatest number of an answer.
    greatest: u32,
    /// Of each answer: what it says of its moment, how exact its time is, and whether it was damaged on the way.
    stamps: Vec<Option<Stamp>>,
    digits_ns: Vec<u64>,
    corrupt: Vec<usize>,
    /// Answers that came again, and were not marked so.
    unmarked: Unmarked,
    before: Before,
    sources: Vec<IpAddr>,
    /// The word for a unit that is not known.
    unit: Option<String>,
    /// Lines with more than one answer.
    joined: usize,
    /// A line that may be the heading of the summary was the last one.
    ahead: Option<String>,
    in_summary: bool,
}

/// Counts on past 16 bits.
#[derive(Default)]
struct Counter {
    previous: u32,
    wraps: u32,
}

#[derive(Default)]
struct Unmarked {
    count: usize,
    first: u32,
    /// One has a number below the greatest until then.
    is_below: bool,
    /// One comes from elsewhere than the first answer of the file.
    elsewhere: usize,
}

/// What stands before answers.
#[derive(Default)]
struct Before {
    first: Option<String>,
    varies: bool,
    /// Its last number less that of the line: the same everywhere where lines are numbered.
    offset: Option<i64>,
    is_no_counter: bool,
}

impl Before {
    fn take(&mut self, prefix: &str, line: usize) {
        let digits = |text: &str| text.contains(|c: char| c.is_ascii_digit());
        match &self.first {
            None => self.first = Some(prefix.to_owned()),
            Some(first) => self.varies |= first != prefix && (digits(prefix) || digits(first)),
        }
        let number = prefix.split(|c: char| !c.is_ascii_digit()).rfind(|text| !text.is_empty());
        let offset = number.and_then(|text| text.parse::<i64>().ok()).zip(i64::try_from(line).ok());
        let offset = offset.and_then(|(number, line)| number.checked_sub(line));
        self.is_no_counter |= offset.is_none() || self.offset.is_some_and(|known| Some(known) != offset);
        self.offset = offset;
    }
}

impl Counter {
    /// A number far below the one before belongs to the next round, one far above to the last.
    fn unwrap(&mut self, seq: u32) -> u32 {
        if seq + SEQUENCE_SPAN / 2 < self.previous {
            self.wraps = self.wraps.saturating_add(1);
            self.previous = seq;
        } else if seq > self.previous + SEQUENCE_SPAN / 2 && self.wraps > 0 {
            return (self.wraps - 1).saturating_mul(SEQUENCE_SPAN).saturating_add(seq);
        } else {
            self.previous = seq;
        }
        self.wraps.saturating_mul(SEQUENCE_SPAN).saturating_add(seq)
    }
}

impl Reader {
    fn line(&mut self, at: usize, line: &TextLine<'_>) {
        let text = line.text.as_ref();
        let records = answers(text, line.is_cut);
        if !records.is_empty() {
            // Answers behind the summary are another ping's.
            self.log.another_follows |= self.in_summary;
            self.ahead = None;
            self.joined += usize::from(records.len() > 1);
            let mut prefix = &text[..records[0].begins];
            // An error whose line end was lost.
            if let Line::Failure { seq } = other(prefix, self.word.as_deref()) {
                self.failure(seq, prefix);
                self.joined += 1;
                prefix = "";
            }
            for record in &records {
                self.record(record, prefix, at);
                prefix = "";
            }
            return;
        }
        if let Some((begins, heading)) = heading(text) {
            let log = &mut self.log;
            log.another_follows =
                log.headed || self.in_summary || !log.replies.is_empty() || !log.failures.is_empty();
            log.headed = true;
            log.target = heading.target;
            (self.base, self.base_is_known) = (heading.base, heading.base.is_some());
            self.ahead = None;
            self.prefixes.learn(&text[..begins]);
            return;
        }
        let own = self.prefixes.strip(text).unwrap_or(text);
        if own.trim().is_empty() {
            return;
        }
        let is_headed = self.ahead.is_some();
        if let Some(summary) = Summary::of(own, is_headed).or_else(|| Summary::of(text, is_headed)) {
            self.log.another_follows |= self.in_summary;
            // The line with the times follows where there are any; a file that ends here may be cut.
            if line.is_cut && (self.in_summary || summary.received != Some(0) && summary.lasted.is_none()) {
                self.log.unreadable.push(own.to_owned());
            }
            self.log.summary = summary;
            (self.in_summary, self.ahead) = (true, None);
            return;
        }
        self.ahead = rule(own).map(str::to_owned).or_else(|| rule(text).map(str::to_owned));
        if self.in_summary {
            match line.is_cut && is_rtt(own) && !own.trim_end().ends_with(char::is_alphabetic) {
                true => self.log.unreadable.push(own.to_owned()),
                false => self.log.summary.take(own),
            }
            return;
        }
        if line.is_cut {
            // The file ends inside this line.
            self.log.unreadable.push(own.to_owned());
            self.ahead = None;
            return;
        }
        match other(own, self.word.as_deref()) {
            Line::Failure { seq } => self.failure(seq, own),
            Line::Waiting { seq } => {
                let seq = self.number(seq);
                self.log.waiting = self.log.waiting.max(seq);
            }
            _ => self.log.notices += 1,
        }
    }

    fn record(&mut self, record: &Record<'_>, prefix: &str, at: usize) {
        self.prefixes.learn(prefix);
        match &record.line {
            Line::Reply(reply) => {
                self.word.get_or_insert_with(|| record.word.to_owned());
                self.before.take(prefix, at);
                self.reply(reply, stamp(prefix).or_else(|| stamp(reply.after)));
            }
            Line::Untimed { seq } => {
                let seq = self.number(*seq);
                self.log.untimed.push(seq);
            }
            _ => self.log.unreadable.push(record.text.to_owned()),
        }
    }

    fn failure(&mut self, seq: Number, line: &str) {
        let seq = self.number(seq);
        self.log.failures.push(PingFailure { seq, line: line.to_owned() });
    }

    fn number(&mut self, number: Number) -> u32 {
        let base = *self.base.get_or_insert(u32::from(number.from_zero || number.seq == 0));
        self.base_is_known |= number.from_zero || number.seq == 0;
        self.counter.unwrap(number.seq).saturating_add(base)
    }

    fn reply(&mut self, reply: &Reply<'_>, stamp: Option<Stamp>) {
        let seq = self.number(reply.seq);
        let says_again = reply.after.contains("DUP!");
        let is_marked = reply.after.contains(['!', '(', '\u{ff08}']);
        let greatest = self.greatest;
        self.greatest = greatest.max(seq);
        let again = says_again || !self.answered.insert(seq);
        if again && !is_marked {
            let from_another = reply.source.is_some() && self.sources.first().copied() != reply.source;
            self.unmarked.count += 1;
            self.unmarked.first = seq;
            self.unmarked.is_below |= seq < greatest;
            self.unmarked.elsewhere += usize::from(from_another);
        }
        if let Some(source) = reply.source.filter(|source| !is_marked && !self.sources.contains(source))
            && self.sources.len() < 4
        {
            self.sources.push(source);
        }
        if let Some(unit) = reply.unit {
            self.unit.get_or_insert_with(|| unit.to_owned());
        }
        if reply.after.contains("BAD CHECKSUM") {
            self.corrupt.push(self.log.replies.len());
        }
        self.stamps.push(stamp);
        self.digits_ns.push(reply.digit_ns);
        self.log.replies.push(PingReply { seq, sent_ns: None, rtt_ns: reply.rtt_ns, duplicate: again });
    }

    fn end(mut self, zeros_from: Option<usize>) -> PingLog {
        self.log.another_follows |=
            self.unmarked.count > 1 && (self.unmarked.is_below || self.unmarked.elsewhere > 1);
        let figures = self.figures();
        let seen = Seen {
            once: &figures[0],
            again: &figures[1],
            corrupt: &figures[2],
            untimed: self.log.untimed.len(),
            highest: self.log.greatest(),
        };
        let told = self.log.summary.contradictions(seen);
        self.log.contradictions.extend(told);
        self.begin(figures[0].len());
        self.settle();
        self.finish(zeros_from);
        self.log
    }

    /// Times of first answers, of further ones, and of damaged ones. iputils does not count those: they go, unless
    /// the summary has them.
    fn figures(&mut self) -> [Vec<Figure>; 3] {
        let mut figures = [Vec::new(), Vec::new(), Vec::new()];
        let once = self.log.replies.iter().filter(|reply| !reply.duplicate).count() + self.log.untimed.len();
        let counts = self.log.received().is_some_and(|received| received as usize == once);
        let corrupt: HashSet<usize> = if counts { HashSet::new() } else { self.corrupt.drain(..).collect() };
        for (i, (reply, digit_ns)) in self.log.replies.iter().zip(&self.digits_ns).enumerate() {
            let kind = if corrupt.contains(&i) { 2 } else { usize::from(reply.duplicate) };
            figures[kind].push(Figure { ns: reply.rtt_ns, digit_ns: *digit_ns });
        }
        if !corrupt.is_empty() {
            let mut keep = (0..self.log.replies.len()).map(|i| !corrupt.contains(&i));
            let mut stamped = (0..self.stamps.len()).map(|i| !corrupt.contains(&i));
            self.log.replies.retain(|_| keep.next().unwrap_or(true));
            self.stamps.retain(|_| stamped.next().unwrap_or(true));
        }
        figures
    }

    /// Which ping is the first that the file tells of.
    fn begin(&mut self, answers: usize) {
        let log = &mut self.log;
        let numbers = log.replies.iter().map(|r| r.seq).chain(log.failures.iter().map(|f| f.seq));
        let Some(least) = numbers.chain(log.untimed.iter().copied()).min() else { return };
        let counted = log.received().is_some_and(|received| received as usize == answers + log.untimed.len());
        let seen = u32::try_from(answers).unwrap_or(u32::MAX);
        let is_believed = counted || log.headed && (log.transmitted().is_some() || least <= seen.max(MOST_BEFORE));
        log.first = if is_believed { 1 } else { least };
        if log.first > 1 {
            log.contradictions.push(format!("it begins with ping {least}, and what was before that is not known"));
        } else if !log.headed
            && !self.base_is_known
            && log.summary.lasted.is_none()
            && log.transmitted().is_some_and(|sent| sent > log.greatest())
        {
            log.contradictions.push(
                "its first line is missing: whether its pings count from 0 or from 1, and so which were lost, is not known"
                    .to_owned(),
            );
        }
    }

    fn settle(&mut self) {
        let log = &mut self.log;
        let stamped = self.stamps.iter().flatten().count();
        if stamped * 2 >= log.replies.len() {
            log.stamps = clock::settle(&mut log.replies, &self.stamps, &log.summary);
        }
        let first = self.before.first.take().unwrap_or_default();
        if log.stamps == Stamps::None && is_of_minutes(&first) && !self.before.varies {
            let why = "the times before its lines are of whole minutes".to_owned();
            log.stamps = Stamps::Declined { why, contradicts: false };
        } else if log.stamps == Stamps::None && self.before.varies && self.before.is_no_counter {
            let why = format!("what stands before its lines is no time that is known ({:?})", shown(first.trim()));
            log.stamps = Stamps::Declined { why, contradicts: false };
        }
        let without = log.replies.iter().filter(|reply| reply.sent_ns.is_none()).count();
        if matches!(log.stamps, Stamps::Read(_)) && without > 0 {
            log.contradictions
                .push(format!("{without} of its {} answers have no time stamp that can be read", log.replies.len()));
        }
        if let Stamps::Declined { why, contradicts: true } = &log.stamps {
            log.contradictions.push(why.clone());
        }
    }

    /// What else there is to say.
    fn finish(&mut self, zeros_from: Option<usize>) {
        let log = &mut self.log;
        if self.joined > 0 {
            log.contradictions.push(format!("{} of its lines hold several answers", self.joined));
        }
        if self.unmarked.count > 0 && !log.another_follows {
            let seq = self.unmarked.first;
            log.contradictions.push(format!("ping {seq} is answered again, and ping does not say so (DUP!)"));
        }
        let is_of = |source: &IpAddr| log.target.is_none_or(|target| target == *source);
        if self.sources.len() > 1 && self.sources.iter().any(is_of) {
            log.contradictions.push(format!("it has answers of {} and of {}", self.sources[0], self.sources[1]));
        }
        let again = |reply: &&PingReply| reply.duplicate && !self.answered.contains(&reply.seq);
        if let Some(reply) = log.replies.iter().find(again) {
            let seq = reply.seq;
            log.contradictions.push(format!("ping {seq} is answered again (DUP!), and its first answer is missing"));
        }
        if let Some(unit) = self.unit.as_deref().filter(|_| log.summary.rtt.is_none()) {
            log.contradictions.push(format!("the unit {unit:?} is not known; its times are taken for milliseconds"));
        }
        if !log.untimed.is_empty() && !log.replies.is_empty() {
            log.contradictions.push(format!("{} of its answers have no times", log.untimed.len()));
        }
        if log.summary.late > 0 {
            let late = log.summary.late;
            log.notes
                .push(format!("{late} of its pings were answered too late to be printed, and are taken for lost"));
        }
        let is_ended = log.transmitted().is_some();
        if let Some(heading) = self.ahead.take()
            && (heading.to_lowercase().contains("ping")
                || log.target.is_some_and(|t| heading.contains(&t.to_string())))
            && !is_ended
        {
            log.unreadable.push(heading);
        }
        if let Some(zeros) = zeros_from.filter(|zeros| *zeros > 0) {
            let told = format!("it is zeros only from byte {zeros} on");
            if is_ended { &mut log.notes } else { &mut log.contradictions }.push(told);
        }
        if !is_ended && log.waiting >= log.greatest() && log.waiting > 0 {
            log.contradictions.push(format!(
                "it ends without a summary while pings have no answer: what was sent after number {} is not known",
                log.waiting
            ));
        } else if !is_ended && !log.replies.is_empty() {
            log.notes.push(format!(
                "it has no summary: pings that were lost after number {} are not known",
                log.greatest()
            ));
        }
    }
}

/// `14:13`
fn is_of_minutes(prefix: &str) -> bool {
    let is_two = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    let mut words = prefix.split(|c: char| c.is_whitespace() || "[]()|,_T".contains(c));
    words.any(|word| {
        word.trim_end_matches(':').split_once(':').is_some_and(|(hour, minute)| is_two(hour) && is_two(minute))
    })
}

/// What a line may be a heading of: `--- 10.0.0.3 ping statistics ---`, `----host PING Statistics----`.
fn rule(line: &str) -> Option<&str> {
    let from = if line.trim_start().starts_with("--") { line.find("--")? } else { line.find("---")? };
    let to = line.rfind("--")?;
    let text = line.get(from..to)?.trim_matches(['-', ' ']);
    (!text.is_empty()).then_some(text)
}
