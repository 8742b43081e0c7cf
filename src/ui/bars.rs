//! Bars on a terminal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, words};
use crate::run::event::{Happening, Phase, Stamped, Update};
use crate::run::present::Present;

/// Lines for hosts under a trial at most; a trial with more hosts shows the ones that spoke last.
const HOST_LINES: usize = 12;
/// How often clocks move.
const TICK: Duration = Duration::from_millis(100);

/// One bar for the run, one for each running trial, one line for each of its hosts.
pub(super) struct Bars {
    screen: MultiProgress,
    run: Option<ProgressBar>,
    trials: HashMap<String, Trial>,
}

struct Trial {
    bar: ProgressBar,
    /// True while the clock thread moves the bar.
    running: Arc<AtomicBool>,
    hosts: Vec<Host>,
    /// How all viewers stand, where there are several.
    audience: Option<ProgressBar>,
}

/// A host's line.
struct Host {
    name: String,
    line: ProgressBar,
    /// What happened there last.
    said: String,
    /// How its player stands.
    now: Option<String>,
}

impl Host {
    fn show(&self) {
        self.line.set_message(match &self.now {
            Some(now) => format!("{} · agent: {now}", self.said),
            None => self.said.clone(),
        });
    }
}

impl Bars {
    pub(super) fn new() -> Self {
        Bars {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            run: None,
            trials: HashMap::new(),
        }
    }

    fn say(&self, text: &str) {
        // A terminal that went away must not end an experiment.
        let _ = self.screen.println(text);
    }

    fn happened(&mut self, id: &str, what: &Stamped) {
        match &what.happening {
            Happening::Note { .. } | Happening::Warning { .. } | Happening::Path { .. } => {
                if let Some(text) = words::sentence(&what.happening) {
                    self.say(&format!("{id}: {text}"));
                }
            }
            _ => {}
        }
        let Some(trial) = self.trials.get_mut(id) else { return };
        match &what.happening {
            Happening::Phase { phase } => {
                if *phase > Phase::Stream {
                    trial.present(&self.screen, &[]);
                }
                trial.phase(id, *phase);
            }
            Happening::TimelineZero { length_ns } => trial.clock(id, Duration::from_nanos(*length_ns)),
            _ => {}
        }
        if let Some((host, text)) = words::state(&what.happening) {
            trial.host(&self.screen, host, &text);
        }
    }
}

impl Trial {
    fn phase(&mut self, id: &str, phase: Phase) {
        if phase != Phase::Stream {
            self.running.store(false, Ordering::Relaxed);
            self.bar.set_style(style("  {prefix:12} {spinner} {msg} {elapsed}"));
            self.bar.set_prefix(id.to_owned());
            self.bar.set_message(words::phase(phase));
            self.bar.reset_elapsed();
        }
    }

    /// From a spinner to a bar that follows the recipe's timeline.
    fn clock(&mut self, id: &str, length: Duration) {
        self.bar.set_style(style("  {prefix:12} {wide_bar:.cyan/dim} {msg}"));
        self.bar.set_prefix(id.to_owned());
        self.bar.set_length(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        self.bar.set_position(0);
        self.running.store(true, Ordering::Relaxed);
        let (bar, running, begun) = (self.bar.downgrade(), Arc::clone(&self.running), Instant::now());
        // Ends with the phase or with the bar, to which it holds only a weak reference.
        std::thread::spawn(move || {
            while let (Some(bar), true) = (bar.upgrade(), running.load(Ordering::Relaxed)) {
                let past = begun.elapsed();
                bar.set_position(u64::try_from(past.min(length).as_millis()).unwrap_or(u64::MAX));
                let (past, length) = (past.as_secs_f64(), length.as_secs_f64());
                bar.set_message(format!("{}, {past:.0} of {length:.0} s", words::phase(Phase::Stream)));
                drop(bar);
                std::thread::sleep(TICK);
            }
        });
    }

    fn host(&mut self, screen: &MultiProgress, host: String, text: &str) {
        if let Some(shown) = self.hosts.iter_mut().find(|shown| shown.name == host) {
            text.clone_into(&mut shown.said);
            return shown.show();
        }
        if self.hosts.len() == HOST_LINES {
            self.hosts.remove(0).line.finish_and_clear();
        }
        let above = self.audience.as_ref().unwrap_or(&self.bar);
        let after = self.hosts.last().map_or(above, |shown| &shown.line);
        let line = screen.insert_after(after, ProgressBar::new_spinner());
        line.set_style(style("    {prefix:10.dim} {wide_msg}"));
        line.set_prefix(host.clone());
        let shown = Host { name: host, line, said: text.to_owned(), now: None };
        shown.show();
        self.hosts.push(shown);
    }

    /// Lines that are there say how their viewers stand; none comes or goes for that.
    fn present(&mut self, screen: &MultiProgress, viewers: &[Present]) {
        for shown in &mut self.hosts {
            let now = viewers.iter().find(|of| of.viewer == shown.name).map(words::present);
            if now != shown.now {
                shown.now = now;
                shown.show();
            }
        }
        let Some(text) = words::audience(viewers).filter(|_| viewers.len() > 1) else {
            return self.audience.take().map_or((), |line| line.finish_and_clear());
        };
        let line = self.audience.get_or_insert_with(|| {
            let line = screen.insert_after(&self.bar, ProgressBar::new_spinner());
            line.set_style(style("    {wide_msg}"));
            line
        });
        line.set_message(text);
    }

    fn clear(self) {
        self.running.store(false, Ordering::Relaxed);
        for line in self.audience.iter().chain(self.hosts.iter().map(|shown| &shown.line)) {
            line.finish_and_clear();
        }
        self.bar.finish_and_clear();
    }
}

impl Reporter for Bars {
    fn show(&mut self, update: &Update) {
        match update {
            Update::RunStarted { recipe, folder, trials, expected } => {
                self.say(&words::beginning(recipe, folder, *trials, *expected));
                let bar = self.screen.add(ProgressBar::new(u64::try_from(*trials).unwrap_or(u64::MAX)));
                bar.set_style(style("{prefix:14} {wide_bar:.green/dim} {pos}/{len} trials, {elapsed}{msg}"));
                bar.set_prefix(recipe.clone());
                bar.enable_steady_tick(TICK);
                self.run = Some(bar);
            }
            Update::Next { trial, what, left, at_most } => {
                self.say(&format!("  {trial}: {what}"));
                if let Some(run) = &self.run {
                    // Repetitions until a figure is known are more than it began with.
                    if run.length().is_some_and(|length| run.position() >= length) {
                        run.inc_length(1);
                    }
                    run.set_message(format!(", {}", words::left(*left, *at_most)));
                }
            }
            Update::TrialStarted { trial } => {
                let bar = self.screen.add(ProgressBar::new_spinner());
                bar.enable_steady_tick(TICK);
                let mut shown = Trial { bar, running: Arc::default(), hosts: Vec::new(), audience: None };
                shown.phase(trial, Phase::Boot);
                self.trials.insert(trial.clone(), shown);
            }
            Update::Trial { trial, what } => self.happened(trial, what),
            Update::Present { trial, viewers, .. } => {
                if let Some(shown) = self.trials.get_mut(trial) {
                    shown.present(&self.screen, viewers);
                }
            }
            Update::TrialEnded { trial, ending } => {
                if let Some(shown) = self.trials.remove(trial) {
                    shown.clear();
                }
                let (verdict, good) = words::verdict(ending);
                self.say(&format!("{} {trial}: {verdict}", if good { "✓" } else { "✗" }));
                if let Some(run) = &self.run {
                    run.inc(1);
                }
            }
            Update::Settled { what, used, why } => self.say(&format!("{what} {used}: {why}")),
            Update::Problem { trial, text } => self.say(&format!("{trial}: {text}")),
            Update::RunEnded => {
                for (_, trial) in self.trials.drain() {
                    trial.clear();
                }
                if let Some(run) = self.run.take() {
                    run.finish_and_clear();
                }
            }
        }
    }
}

/// The templates are constants; a wrong one falls back to indicatif's own rather than ending a run.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
