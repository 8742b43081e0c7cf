//! Measures what is planned, controllers in turn, and writes the results after every step.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::fleet::{Fleet, FleetError};
use super::options::{ITSELF, Measuring, Options, Task};
use super::plan::{Cell, Conduct, Plan, Target};
use super::process::{forget_peak, peak_memory, processor_time};
use super::report::{Measurement, Results, Row};
use super::responder::Responder;

/// Does what the options ask for; the exit code.
///
/// # Errors
/// When nothing can be measured, or results cannot be written.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.task() {
        Err(what) => {
            eprintln!("error: {what}\n\nFor more information, try 'live-controller bench --help'.");
            Ok(ExitCode::from(2))
        }
        Ok(Task::Respond(address)) => {
            let responder = Responder::listen(address).with_context(|| format!("cannot listen on {address}"))?;
            println!("listening on {}", responder.address()?);
            responder.serve().context("cannot wait for sockets")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Task::Measure(measuring)) => measure(measuring),
    }
}

fn measure(mut measuring: Measuring) -> anyhow::Result<ExitCode> {
    if measuring.against_itself {
        measuring.plan.targets.push(begin_responder().context("cannot start the responder")?);
    }
    let Measuring { plan, baseline, json, csv, .. } = measuring;
    let baseline = baseline.or_else(|| plan.targets.first().map(|target| target.name.clone())).unwrap_or_default();
    let mut results = Results::new(std::env::args().collect(), plan.conduct, baseline);
    print(&results.heading())?;
    for cell in &plan.cells {
        let rows = measure_cell(&plan, cell);
        let first = results.rows.len();
        results.rows.extend(rows);
        print(&results.table(first))?;
        // After every step, so that a later failure loses nothing.
        if let Some(path) = &json {
            write(path, &results.json()?)?;
        }
        if let Some(path) = &csv {
            write(path, &results.csv())?;
        }
    }
    print(&results.legend())?;
    Ok(if results.rows.iter().any(|row| row.trouble.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the table")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A responder in a thread that ends with this process.
fn begin_responder() -> anyhow::Result<Target> {
    let responder = Responder::listen(([127, 0, 0, 1], 0).into())?;
    let address = responder.address()?;
    std::thread::Builder::new().name(ITSELF.to_owned()).spawn(move || responder.serve())?;
    Ok(Target { name: ITSELF.to_owned(), address, pid: None })
}

/// Measures all controllers under the same conditions, in turn.
fn measure_cell(plan: &Plan, cell: &Cell) -> Vec<Row> {
    let conduct = &plan.conduct;
    let mut rows: Vec<Row> = plan.targets.iter().map(|target| Row::new(&target.name, *cell)).collect();
    let mut fleets = Vec::new();
    for (at, target) in plan.targets.iter().enumerate() {
        attend(&mut fleets, &mut rows);
        let Some(row) = rows.get_mut(at) else { continue };
        note(&format!("connecting {} switches to {}", cell.switches, target.name));
        let fleet = Fleet::connect(target.address, cell, conduct);
        fleets.push(fleet.map_err(|error| row.trouble = Some(error.to_string())).ok());
    }
    for repetition in 1..=conduct.repetitions {
        for (at, target) in plan.targets.iter().enumerate() {
            attend(&mut fleets, &mut rows);
            let (Some(row), Some(place)) = (rows.get_mut(at), fleets.get_mut(at)) else { continue };
            let Some(fleet) = place else { continue };
            note(&format!("{} of {}: {}, {} loop", repetition, conduct.repetitions, target.name, cell.drive));
            match measure_once(target, fleet, conduct, repetition == 1) {
                Ok(measurement) => row.measurements.push(measurement),
                Err(error) => {
                    row.trouble = Some(error.to_string());
                    *place = None;
                }
            }
        }
    }
    for (target, row) in plan.targets.iter().zip(&mut rows) {
        // Of one that was not measured it would be of an earlier measurement.
        row.peak_memory_kib = target.pid.filter(|_| !row.measurements.is_empty()).and_then(peak_memory);
    }
    note("");
    rows
}

/// Answers what controllers ask whose turn it is not.
fn attend(fleets: &mut [Option<Fleet>], rows: &mut [Row]) {
    for (place, row) in fleets.iter_mut().zip(rows) {
        if let Some(fleet) = place
            && let Err(error) = fleet.attend()
        {
            row.trouble = Some(error.to_string());
            *place = None;
        }
    }
}

fn measure_once(
    target: &Target,
    fleet: &mut Fleet,
    conduct: &Conduct,
    is_first: bool,
) -> Result<Measurement, FleetError> {
    let processor = || target.pid.and_then(processor_time);
    fleet.warm_up(conduct.warm_up)?;
    if is_first {
        // Only now: while these switches connected, it may still have been letting go of the last measurement's.
        target.pid.into_iter().for_each(forget_peak);
    }
    let before = processor();
    let mut sample = fleet.measure(conduct.duration)?;
    let share = before.zip(processor()).map(|(before, after)| {
        let used = after.saturating_sub(before);
        used.as_secs_f64() / sample.elapsed.as_secs_f64()
    });
    fleet.drain(&mut sample)?;
    Ok(Measurement::of(sample, share))
}

/// What is going on, on a terminal; in place of what was said before.
fn note(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}
