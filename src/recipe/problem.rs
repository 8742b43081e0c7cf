//! What is wrong with a recipe, told with the place, the text around it and a hint.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};

use super::text::Span;
use super::word::is_unprintable;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What is wrong, naming key and text.
    pub message: String,
    /// Where; `None`: the file as a whole.
    pub span: Option<Span>,
    /// A few words at the place itself.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Another place that has to do with it.
    pub also: Option<(Span, String)>,
}

impl Finding {
    pub(super) fn new(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Finding { message: message.into(), span: Some(span.clone()), label: label.into(), help: None, also: None }
    }

    /// The same with nothing in it that a terminal would obey; texts of the recipe may have found their way into it.
    fn printable(self) -> Self {
        Finding {
            message: printable(&self.message),
            span: self.span,
            label: printable(&self.label),
            help: self.help.as_deref().map(printable),
            also: self.also.map(|(span, label)| (span, printable(&label))),
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also = Some((span.clone(), label.into()));
        self
    }
}

fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_unprintable(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// Findings with the text that they are about.
fn remarks(name: &str, source: &str, mut findings: Vec<Finding>, severity: Severity) -> Vec<Remark> {
    findings.sort_by_key(|f| f.span.as_ref().map(|s| s.start));
    findings.dedup_by(|a, b| a.span == b.span && a.message == b.message);
    let source = Arc::new(Excerpt::new(name, source));
    findings
        .into_iter()
        .map(|finding| Remark { finding: finding.printable(), source: source.clone(), severity })
        .collect()
}

/// One finding together with the recipe's text.
#[derive(Debug, Clone)]
struct Remark {
    finding: Finding,
    source: Arc<Excerpt>,
    severity: Severity,
}

/// Why a recipe cannot be run. Shown through [`miette`] it points at each place; [`fmt::Display`] gives one line
/// for each problem, beginning with `file:line:column: `.
#[derive(Debug, Clone)]
pub struct RecipeError {
    name: String,
    /// At least one, at most [`MOST_SHOWN`].
    remarks: Vec<Remark>,
    /// Number of all problems.
    count: usize,
}

/// Problems shown at most. A recipe can repeat one mistake thousands of times, by way of aliases.
const MOST_SHOWN: usize = 20;

impl RecipeError {
    /// `findings` is not empty.
    pub(super) fn new(name: &str, source: &str, findings: Vec<Finding>) -> Self {
        let name = printable(name);
        let mut remarks = remarks(&name, source, findings, Severity::Error);
        let count = remarks.len();
        remarks.truncate(MOST_SHOWN);
        RecipeError { name, remarks, count }
    }

    /// A file that could not be read or is not text: there is nothing to point at.
    pub(super) fn whole(path: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        let name = path.display().to_string();
        let finding = Finding {
            message: format!("{name}: {}", message.into()),
            span: None,
            label: String::new(),
            help: Some(help.into()),
            also: None,
        };
        RecipeError::new(&name, "", vec![finding])
    }

    /// How many things are wrong.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The report for people, with snippets; `color`: with ANSI colours and Unicode lines for a terminal.
    #[must_use]
    pub fn report(&self, color: bool, width: usize) -> String {
        match self.only() {
            Some(remark) => render(remark, color, width),
            None => render(&Overview(self), color, width),
        }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, remark) in self.remarks.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}{}", remark.place(), remark.finding.message)?;
        }
        match self.count - self.remarks.len() {
            0 => Ok(()),
            more => write!(f, "\n{}: … and {more} more problems", self.name),
        }
    }
}

impl std::error::Error for RecipeError {}

impl Diagnostic for RecipeError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only()?.help()
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.only()?.source_code()
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only()?.labels()
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Overview(self).remarks()
    }
}

impl RecipeError {
    /// The problem, if there is but one: the report is then about that alone.
    fn only(&self) -> Option<&Remark> {
        match self.remarks.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// Several problems under one headline.
#[derive(Debug)]
struct Overview<'e>(&'e RecipeError);

impl<'e> Overview<'e> {
    fn remarks<'a>(&self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>>
    where
        'e: 'a,
    {
        let remarks = &self.0.remarks;
        (remarks.len() > 1).then(|| Box::new(remarks.iter().map(|remark| remark as &dyn Diagnostic)) as Box<_>)
    }
}

impl fmt::Display for Overview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} problems", self.0.name, self.0.count)?;
        match self.0.count - self.0.remarks.len() {
            0 => Ok(()),
            _ => write!(f, ", of which these are the first {}", self.0.remarks.len()),
        }
    }
}

impl std::error::Error for Overview<'_> {}

impl Diagnostic for Overview<'_> {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.remarks()
    }
}

/// Something about a recipe that can be run but may not do what was meant.
#[derive(Debug, Clone)]
pub struct Warning(Remark);

impl Warning {
    pub(super) fn all(name: &str, source: &str, findings: Vec<Finding>) -> Vec<Warning> {
        remarks(&printable(name), source, findings, Severity::Warning).into_iter().map(Warning).collect()
    }

    /// The report for people, as [`RecipeError::report`].
    #[must_use]
    pub fn report(&self, color: bool, width: usize) -> String {
        render(&self.0, color, width)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.place(), self.0.finding.message)
    }
}

impl std::error::Error for Warning {}

impl Diagnostic for Warning {
    fn severity(&self) -> Option<Severity> {
        self.0.severity()
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source_code()
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.labels()
    }
}

impl Remark {
    /// Whether the text around the place can be shown.
    fn has_snippet(&self) -> bool {
        self.finding.span.as_ref().is_some_and(|span| self.source.fits(span))
    }

    /// `file:line:column: `, or nothing for the file as a whole.
    fn place(&self) -> String {
        match &self.finding.span {
            Some(span) => {
                let (line, column) = self.source.position(span.start);
                format!("{}:{line}:{column}: ", self.source.named.name())
            }
            None => String::new(),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_snippet() {
            f.write_str(&self.place())?;
        }
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Remark {}

impl Diagnostic for Remark {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.finding.help.as_ref().map(|help| Box::new(help) as Box<_>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.has_snippet().then_some(&self.source.named as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.finding.span.as_ref().filter(|span| self.source.fits(span))?;
        let here =
            LabeledSpan::new_primary_with_span(Some(self.finding.label.clone()), self.source.on_one_line(span));
        let also = self.finding.also.as_ref().filter(|(span, _)| self.source.fits(span));
        let also =
            also.map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), self.source.on_one_line(span)));
        Some(Box::new(std::iter::once(here).chain(also)))
    }
}

/// The recipe's text, fit to be shown: of the same length, without anything a terminal would obey.
#[derive(Debug)]
struct Excerpt {
    named: NamedSource<String>,
}

impl Excerpt {
    /// Lines longer than this are not shown; the message then has only line and column.
    const LONGEST_LINE: usize = 400;

    fn new(name: &str, source: &str) -> Excerpt {
        let mut text = String::with_capacity(source.len());
        for c in source.chars() {
            match c {
                '\n' | '\t' => text.push(c),
                // Spans count bytes, so a character gives way to as many.
                c if is_unprintable(c) => {
                    text.extend(std::iter::repeat_n(if c == '\r' { ' ' } else { '?' }, c.len_utf8()))
                }
                c => text.push(c),
            }
        }
        Excerpt { named: NamedSource::new(name, text) }
    }

    fn text(&self) -> &str {
        self.named.inner()
    }

    /// The whole line around a byte.
    fn line(&self, at: usize) -> Span {
        let text = self.text().as_bytes();
        let at = at.min(text.len());
        let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n);
        start..end
    }

    fn fits(&self, span: &Span) -> bool {
        // The lines before and after are shown too.
        let line = self.line(span.start);
        let around = [line.start.saturating_sub(1), line.start, line.end + 1];
        span.start <= self.text().len() && around.iter().all(|at| self.line(*at).len() <= Self::LONGEST_LINE)
    }

    /// The part of the span on its first line, and not too much of that; more is hard to read.
    fn on_one_line(&self, span: &Span) -> Span {
        const LONGEST: usize = 60;
        let line = self.line(span.start);
        let end = span.end.clamp(span.start, line.end.max(span.start)).min(span.start + LONGEST);
        span.start..(span.start..=end).rev().find(|n| self.text().is_char_boundary(*n)).unwrap_or(span.start)
    }

    /// Line and column from 1, the column in characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text().as_bytes()[..at.min(self.text().len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let start = self.line(at).start;
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

fn render(diagnostic: &dyn Diagnostic, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    match handler.render_report(&mut out, diagnostic) {
        Ok(()) => out,
        // Writing to a String does not fail; should the handler refuse, the message alone still says it.
        Err(_) => diagnostic.to_string(),
    }
}
