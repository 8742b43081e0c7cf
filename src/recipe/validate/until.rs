//! How often every point is tried.

use super::Notes;
use crate::plan::Until;
use crate::recipe::file::RecipeFile;
use crate::recipe::problem::Finding;
use crate::recipe::unit::{Share, Whole};

/// Before so many nothing is decided.
const LEAST: u64 = Until::LEAST as u64;
/// Repetitions at most where a recipe does not say so.
const MOST: u64 = 60;
/// Of a precision, a share.
const PRECISIONS: std::ops::RangeInclusive<f64> = 0.001..=0.5;

/// How many repetitions a plan lists, and until what is known they are tried. `None`: see the notes.
pub(super) fn validate_repetitions(file: &RecipeFile, notes: &mut Notes<'_>) -> Option<(u64, Option<Until>)> {
    let Some(written) = file.until.get() else {
        return notes.read_or("repetitions", &file.repetitions, Whole(1)).map(|repetitions| (repetitions.0, None));
    };
    let until = &written.value;
    let figure = notes.read("figure", &until.figure);
    let precision = notes.read_or("precision", &until.precision, Share(0.05));
    let least = notes.read_or("repetitions", &file.repetitions, Whole(LEAST));
    let most = notes.read_or("most", &until.most, Whole(MOST));
    let (figure, precision, least, most) = (figure?, precision?.0, least?.0, most?.0);
    let before = notes.errors.len();
    if let Some(text) = until.precision.get().filter(|_| !PRECISIONS.contains(&precision)) {
        notes.error(super::out_of_bounds("precision", &text.text, &text.span, "0.1 % to 50 %"));
    }
    if let Some(text) = file.repetitions.get().filter(|_| least < LEAST) {
        let message = format!("repetitions: {least} are too few to know anything about `until`'s figure");
        let finding = Finding::new(&text.span, message, "too few").also(&written.span, "until this is known");
        notes.error(
            finding.help(format!("write at least {LEAST}: every point runs that often before the first decision")),
        );
    }
    if most < least {
        let span = until.most.get().map_or(&written.span, |text| &text.span);
        let message = format!("most: {most} is less than the {least} repetitions that every point gets");
        notes.error(Finding::new(span, message, "too few").help(format!("write more than {least}")));
    }
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let until = Until { figure, precision, least: narrow(least), most: narrow(most) };
    (notes.errors.len() == before).then_some((most, Some(until)))
}
