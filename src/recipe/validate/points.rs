//! Every point of a matrix, validated as the recipe that it is.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use livectl_wire::frame::FrameId;

use super::{Common, Files, Notes, validate_common};
use crate::plan::{Point, Scheme};
use crate::recipe::file::RecipeFile;
use crate::recipe::matrix::{Draft, Matrix};
use crate::recipe::problem::Finding;

/// What was said of points: each thing once, with the first point that it was said of and how many there were.
#[derive(Default)]
struct Said(BTreeMap<(usize, usize, String), (Finding, String, usize)>);

impl Said {
    fn add(&mut self, findings: Vec<Finding>, label: &str) {
        for finding in findings {
            let place = finding.span.as_ref().map_or((0, 0), |span| (span.start, span.end));
            let key = (place.0, place.1, finding.message.clone());
            self.0.entry(key).or_insert_with(|| (finding, label.to_owned(), 0)).2 += 1;
        }
    }

    /// What holds for some points only says for which.
    fn findings(self, points: usize) -> impl Iterator<Item = Finding> {
        self.0.into_values().map(move |(mut finding, label, count)| {
            if count < points {
                let others = match count - 1 {
                    0 => String::new(),
                    1 => ", and at one point more".to_owned(),
                    more => format!(", and at {more} points more"),
                };
                finding.message += &format!(" (where {label}{others})");
            }
            finding
        })
    }
}

/// What the trials of each point have in common. `None`: see the notes. Unless `known`, the schemes are wrong
/// already, and nothing that depends on them is said.
pub(super) fn validate_points(
    file: &RecipeFile,
    matrix: &Matrix<'_>,
    files: &Files<'_>,
    known: bool,
    notes: &mut Notes<'_>,
) -> Option<Vec<Common>> {
    // Many points name the same files.
    let texts: RefCell<HashMap<PathBuf, Result<String, String>>> = RefCell::default();
    let reader =
        |path: &Path| texts.borrow_mut().entry(path.to_owned()).or_insert_with(|| (files.reader)(path)).clone();
    let files = Files { reader: &reader, ..*files };
    let (mut errors, mut warnings) = (Said::default(), Said::default());
    let mut commons = Vec::with_capacity(matrix.points.len());
    for point in &matrix.points {
        let mut own = Notes::new(notes.source);
        let schemes: Option<&[Scheme]> = known.then_some(&point.schemes);
        let recipe = matrix.recipe(file, point);
        let common = validate_common(&recipe, &files, schemes, &mut own);
        let label = matrix.label(point);
        let parameters = matrix.parameters(point);
        commons.extend(common.map(|common| Common { parameters: common.engine.mark(&parameters), ..common }));
        errors.add(own.errors, &label);
        warnings.add(own.warnings, &label);
    }
    notes.errors.extend(errors.findings(matrix.points.len()));
    notes.warnings.extend(warnings.findings(matrix.points.len()));
    let whole = commons.len() == matrix.points.len() && notes.errors.is_empty();
    whole.then(|| differ(&commons, matrix, notes)).flatten()?;
    Some(commons)
}

/// Two points may be written differently and mean the same. `None`: some do.
fn differ(commons: &[Common], matrix: &Matrix<'_>, notes: &mut Notes<'_>) -> Option<()> {
    if commons.len() < 2 {
        return Some(());
    }
    let mut seen: HashMap<FrameId, &Draft<'_>> = HashMap::new();
    for (common, point) in commons.iter().zip(&matrix.points) {
        let trial = common.trial(Point::new(Scheme::Direct, 1), 0);
        let meaning = FrameId::of(&serde_json::to_vec(&(trial, common.engine)).unwrap_or_default());
        if let Some(first) = seen.insert(meaning, point) {
            let (here, there) = matrix.difference(point, first).unwrap_or_default();
            let message =
                format!("matrix: two points are the same: {}; and {}", matrix.label(first), matrix.label(point));
            let finding = Finding::new(&here, message, "the same in other words");
            notes.errors.push(finding.also(&there, "as this").help("leave one of them out"));
            return None;
        }
    }
    Some(())
}
