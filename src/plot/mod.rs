//! Tables as pictures: the only room that knows plotters.
//!
//! [`delay_picture`] and [`frame_delay_picture`] turn rows into the bytes of a PNG or SVG; [`draw_run`] does both for
//! a stored run and is what the end of a run calls. [`gallery`] draws any [`Family`] of pictures of any number of
//! [`Loaded`] runs, as a [`View`] chooses and groups their trials, and gives each with the figures behind it: what
//! `livectl plot` writes and reports show. Nothing here needs root, system fonts or the programs of the experiment.
//!
//! A picture is made in three steps: a [`Selection`](selection) of trials in groups, a chart as a value ([`family`]),
//! its bytes ([`canvas`]).
//!
//! Colours are from the palette of Okabe and Ito (*Color Universal Design*, 2008), which people with any kind of
//! colour vision can tell apart.

mod axis;
mod branches;
mod canvas;
mod cells;
mod chart;
mod family;
mod fit;
mod gallery;
mod happening;
mod key;
mod loaded;
mod pictures;
mod piece;
mod selection;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use canvas::{LARGEST, SMALLEST, lacking_characters};
pub use family::Family;
pub use gallery::{Gallery, LeftOut, Shown, gallery};
pub(crate) use key::known;
pub use key::{Condition, Key};
pub(crate) use loaded::counted_once;
pub use loaded::{Loaded, count_once, load};
pub use pictures::{Subject, delay_picture, frame_delay_picture};
pub use selection::MOST_GROUPS;

use crate::recipe::nearest;
use crate::store::{Manifest, RunDir, StoreError, write_atomic};
use crate::table::{self, TableError};

/// What the bytes of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A bitmap, PNG.
    #[default]
    Png,
    /// Shapes and text; the text is set in the reader's DejaVu Sans, or what is nearest to it.
    Svg,
}

impl Format {
    /// The end of the file's name: `png`.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Svg => "svg",
        }
    }
}

/// How delays are laid out on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// From 0 on: lengths compare as delays do.
    #[default]
    Linear,
    /// Equal factors are equally long; for delays of very different size. There is no 0 on it.
    Logarithmic,
}

/// Size, format, title and scale of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in pixels; type and lines grow with them.
    pub size: (u32, u32),
    /// What its bytes are: PNG or SVG.
    pub format: Format,
    /// Instead of the title made from the recipe.
    pub title: Option<String>,
    /// How its vertical axis is laid out.
    pub scale: Scale,
}

impl Default for Picture {
    fn default() -> Self {
        Picture { size: (1600, 900), format: Format::default(), title: None, scale: Scale::default() }
    }
}

/// Which trials pictures are of, and what of them is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Only trials and viewers that meet all of these.
    pub only: Vec<Condition>,
    /// What shares a colour or a bar; empty: the scheme, and the recipe where there are several.
    pub by: Vec<Key>,
    /// What is shown, where a family leaves the choice: `excess` (cdf, box), `stalls` (stalls), `delay_p95_ms`
    /// (sweep, heat).
    pub metric: Option<String>,
    /// What a sweep is drawn over, and a heat map from left to right; `None`: the first parameter that differs, if
    /// possible one with a unit.
    pub x: Option<Key>,
    /// What a heat map is drawn over upwards; `None`: the next one.
    pub y: Option<Key>,
    /// Takes trials in that are unfit or partial, and says so on the picture.
    pub include_unfit: bool,
}

/// More panels of a heat map would be too small to read.
const MOST_PANELS: usize = 8;

/// The words around a picture of several runs.
struct Around {
    /// Names of the recipes, or how many there are.
    subject: String,
    /// In small type under the title: runs, link kind, version.
    origin: String,
    /// What makes the runs hard to compare.
    warnings: Vec<String>,
}

/// What [`draw_run`] is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Size, format, title and scale of both pictures.
    pub picture: Picture,
    /// The folder to write them to, made if it does not exist; `None`: the run's own.
    pub out: Option<PathBuf>,
}

/// What [`draw_run`] did.
#[derive(Debug)]
pub struct Drawn {
    /// Paths of the pictures that were written.
    pub pictures: Vec<PathBuf>,
    /// Why a picture was left out: the run has no such data.
    pub left_out: Vec<PlotError>,
}

/// ` (did you mean delay?)`, or nothing.
fn meant(word: &str, known: &[String]) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    nearest(word, &known).map(|meant| format!(" (did you mean {meant}?)")).unwrap_or_default()
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// There is nothing to show; an empty picture would look like a result.
    #[error("there is no {picture} to draw: {why}")]
    Empty {
        /// The picture's name: `delay-plot`.
        picture: &'static str,
        /// What data is missing, and why.
        why: String,
    },
    /// No picture can have that size.
    #[error(
        "a picture of {width}x{height} pixels cannot be drawn: choose a size from {}x{} to {}x{}",
        canvas::SMALLEST.0, canvas::SMALLEST.1, canvas::LARGEST.0, canvas::LARGEST.1
    )]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// No trial has a value for the key that was given.
    #[error("no trial has {key:?}: {hint}")]
    Key {
        /// The key as it was written.
        key: String,
        /// Keys that there are, in words.
        hint: String,
    },
    /// The picture has no such metric.
    #[error("there is no metric {metric:?} for these pictures{}: choose from {}", meant(metric, known), known.join(", "))]
    Metric {
        /// The metric as it was written.
        metric: String,
        /// The metrics that there are.
        known: Vec<String>,
    },
    /// There are more groups than could be told apart.
    #[error(
        "{count} groups are too many for one picture (at most {most}): select with --where, or group --by fewer keys"
    )]
    Groups {
        /// How many groups there are.
        count: usize,
        /// How many groups one picture can have.
        most: usize,
    },
    /// plotters cannot draw the picture; what it says.
    #[error("cannot draw: {0}")]
    Drawing(String),
    /// The run cannot be read, or the picture not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table of the run cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Draws `delay-plot` and `frame-delay-plot` of a stored run, from its manifest and tables alone.
///
/// A picture for which the run has no data (a recipe without pings, a run cut short) is left out and said to be, as
/// long as the other can be drawn.
///
/// # Errors
/// [`PlotError::Empty`] if neither can be drawn, and whatever goes wrong with reading, drawing or writing.
pub fn draw_run(run: &Path, options: &Options) -> Result<Drawn, PlotError> {
    let run = RunDir::open(run)?;
    let manifest = Manifest::load(&run)?;
    let pings = loaded::if_there(&run.pings(), table::read_pings)?;
    let frames = loaded::if_there(&run.frames(), table::read_frames)?;
    let subject = Subject::of(&manifest);
    let delays: Vec<_> = manifest.plan.trials.iter().flat_map(|t| table::ping_delays(t, &pings)).collect();
    let streaming = pictures::streaming_interval(&manifest, &frames);
    let drawn = [
        ("delay-plot", run.pings(), delay_picture(&subject, &delays, streaming, &options.picture)),
        ("frame-delay-plot", run.frames(), frame_delay_picture(&subject, &frames, streaming, &options.picture)),
    ];
    let folder = options.out.clone().unwrap_or_else(|| run.path().to_owned());
    std::fs::create_dir_all(&folder).map_err(|e| StoreError::writing(&folder, e))?;
    let (mut pictures, mut left_out) = (Vec::new(), Vec::new());
    for (name, table, bytes) in drawn {
        match bytes {
            Ok(bytes) => {
                let path = folder.join(name).with_extension(options.picture.format.extension());
                write_atomic(&path, &bytes)?;
                pictures.push(path);
            }
            Err(PlotError::Empty { picture, .. }) if !table.exists() => {
                let why = format!("the run has no {}", table.file_name().unwrap_or_default().display());
                left_out.push(PlotError::Empty { picture, why });
            }
            Err(empty @ PlotError::Empty { .. }) => left_out.push(empty),
            Err(other) => return Err(other),
        }
    }
    match left_out.pop() {
        Some(empty) if pictures.is_empty() => Err(empty),
        last => {
            left_out.extend(last);
            Ok(Drawn { pictures, left_out })
        }
    }
}
