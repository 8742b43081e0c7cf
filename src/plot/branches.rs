//! A tree as it is drawn: layer below layer, each node under the one that it hangs from, its colour a value on a
//! scale.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::PlotError;
use super::canvas::{Align, Sheet, Type};
use super::chart::{Area, BLACK, GREY};
use super::piece::SMALLEST_TYPE;

/// Colour of branches.
const TWIG: RGBColor = RGBColor(150, 150, 150);
const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Colour of a node without a value.
const PALE: RGBColor = RGBColor(205, 205, 205);
/// From the least value to the greatest: viridis (van der Walt and Smith, 2015) from its light end on. Its lightness
/// falls evenly, so that it is read in grey and with any kind of colour vision.
const SCALE: [RGBColor; 5] = [
    RGBColor(253, 231, 37),
    RGBColor(94, 201, 98),
    RGBColor(33, 145, 140),
    RGBColor(59, 82, 139),
    RGBColor(68, 1, 84),
];
/// From so many times the least value on the scale is logarithmic, or one node would take all colours from the
/// others.
const WIDE: f64 = 10.0;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Node {
    /// Written under it.
    pub(super) name: String,
    /// Under its name; empty: nothing.
    pub(super) below: String,
    /// Which node it hangs from, and the share, 0 to 1, that the branch is as wide as; `None`: none.
    pub(super) parent: Option<(usize, f64)>,
    /// What its colour stands for, by the scale under the tree; `None`: it is pale.
    pub(super) value: Option<f64>,
    /// It stands in the uppermost layer and is black. Any other without a parent stands a layer below, at the end.
    pub(super) is_root: bool,
}

/// Trees side by side.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Branches {
    /// Nodes that hang from the same one are drawn in this order.
    pub(super) nodes: Vec<Node>,
    /// What the colours mean.
    pub(super) scale_label: String,
}

/// Where a node is: which layer, from 0, and how far from the left, in widths of a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spot {
    pub(super) layer: usize,
    pub(super) across: f64,
}

impl Branches {
    /// A spot for each node, and how many leaves there are. Each leaf has a width of its own, and whoever has
    /// children is in the middle of them. Nodes that hang from each other in a circle have none.
    pub(super) fn layout(&self) -> (Vec<Option<Spot>>, usize) {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            if let Some(siblings) = node.parent.and_then(|(parent, _)| children.get_mut(parent)) {
                siblings.push(place);
            }
        }
        let tops = self.nodes.iter().enumerate().filter(|(_, node)| node.parent.is_none());
        let (roots, loose): (Vec<_>, Vec<_>) = tops.partition(|(_, node)| node.is_root);
        let mut spots: Vec<Option<Spot>> = vec![None; self.nodes.len()];
        let mut leaves = 0;
        for (top, node) in roots.into_iter().chain(loose) {
            // Each is looked at twice: on the way down, and when all below it have their spots.
            let mut path = vec![(top, usize::from(!node.is_root), false)];
            while let Some((place, layer, is_done)) = path.pop() {
                let below = &children[place];
                let ends = below.first().zip(below.last()).filter(|_| is_done);
                let across = match ends {
                    Some((first, last)) => {
                        let at = |child: &usize| spots[*child].map_or(0.0, |spot| spot.across);
                        f64::midpoint(at(first), at(last))
                    }
                    None if below.is_empty() => {
                        leaves += 1;
                        leaves as f64 - 0.5
                    }
                    None => {
                        path.push((place, layer, true));
                        path.extend(below.iter().rev().map(|child| (*child, layer + 1, false)));
                        continue;
                    }
                };
                spots[place] = Some(Spot { layer, across });
            }
        }
        (spots, leaves)
    }

    /// The least and the greatest value of all nodes; `None`: none has one.
    fn range(&self) -> Option<(f64, f64)> {
        let values = || self.nodes.iter().filter_map(|node| node.value).filter(|value| value.is_finite());
        values().min_by(f64::total_cmp).zip(values().max_by(f64::total_cmp))
    }

    pub(super) fn draw<B: DrawingBackend>(&self, sheet: &Sheet<B>, area: Area, unit: f64) -> Result<(), PlotError> {
        let (spots, leaves) = self.layout();
        let layers = spots.iter().flatten().map(|spot| spot.layer + 1).max().unwrap_or(1);
        let slot = (area.right - area.left) / leaves.max(1) as f64;
        // Every layer has its nodes, two lines of names under them, and then the branches to the next.
        let layer_height = (area.bottom - area.top - 92.0 * unit) / layers.max(2) as f64;
        let radius = (0.34 * slot).min(0.15 * layer_height).min(17.0 * unit);
        let longest = |face: Type| {
            let texts = self.nodes.iter().flat_map(|node| [&node.name, &node.below]);
            texts.map(|text| sheet.text_width(text, face)).fold(1.0, f64::max)
        };
        let largest = Type { size: (0.17 * layer_height).min(19.0 * unit), bold: false, colour: BLACK };
        let size = largest.size * (0.94 * slot / longest(largest)).min(1.0);
        // Names that do not fit beside each other are written upwards, one line of them; where that is too small,
        // too, there are none.
        let upwards = size < SMALLEST_TYPE * unit;
        let size = if upwards { (0.8 * slot).min(12.0 * unit) } else { size };
        let face = Type { size, ..largest };
        let names = size >= 5.0 * unit;
        let under = match (names, upwards) {
            (false, _) => 0.0,
            (true, true) => longest(face) + 6.0 * unit,
            (true, false) => 2.5 * size + 4.0 * unit,
        };
        let (top, bottom) = (area.top + radius + 8.0 * unit, area.bottom - 92.0 * unit - under - radius);
        let step = ((bottom - top) / (layers.max(2) - 1) as f64).max(0.0);
        let at = |spot: Spot| (area.left + spot.across * slot, top + spot.layer as f64 * step.min(210.0 * unit));
        let placed: Vec<(&Node, Option<(f64, f64)>)> =
            self.nodes.iter().zip(&spots).map(|(node, spot)| (node, spot.map(at))).collect();
        let twigs = || {
            placed.iter().filter_map(|(node, to)| {
                let (parent, share) = node.parent?;
                Some((placed.get(parent)?.1?, (*to)?, share))
            })
        };
        for (from, to, share) in twigs() {
            // Down, across and down again: with many leaves a slanting branch would run through names.
            let from = (from.0, from.1 + radius + under);
            let fork = f64::midpoint(from.1, to.1 - radius);
            let corners = [from, (from.0, fork), (to.0, fork), (to.0, to.1 - radius)];
            sheet.line(&corners, (1.0 + 4.0 * share) * unit, TWIG, 1.0)?;
        }
        for (_, to, share) in twigs().filter(|(.., share)| *share < 0.995) {
            let text = format!("{:.0} %", share * 100.0);
            let face = Type { size: (0.85 * size).min(15.0 * unit), bold: false, colour: GREY };
            if upwards || face.size < 0.8 * SMALLEST_TYPE * unit {
                continue;
            }
            let (half, middle) = (sheet.text_width(&text, face) / 2.0 + 2.0 * unit, to.1 - radius - 0.8 * face.size);
            let high = 0.62 * face.size;
            sheet.rectangle((to.0 - half, middle - high), (to.0 + half, middle + high), WHITE)?;
            sheet.text(&text, (to.0, middle), Align::Centre, face)?;
        }
        let range = self.range();
        for (node, spot) in &placed {
            let Some((x, y)) = *spot else { continue };
            let colour = match node.value.zip(range) {
                _ if node.is_root => BLACK,
                Some((value, (low, high))) => colour_of(place_within(value, low, high)),
                None => PALE,
            };
            sheet.disc((x, y), radius, colour)?;
            if upwards && names {
                let half = sheet.text_width(&node.name, face) / 2.0;
                sheet.text_upwards(&node.name, (x, y + radius + 6.0 * unit + half), face)?;
            } else if names {
                let first = y + radius + 0.75 * size + 2.0 * unit;
                sheet.text(&node.name, (x, first), Align::Centre, face)?;
                sheet.text(&node.below, (x, first + 1.15 * size), Align::Centre, Type { colour: GREY, ..face })?;
            }
        }
        match range {
            Some(range) => self.draw_scale(sheet, area, unit, range),
            None => Ok(()),
        }
    }

    /// The scale along the lower edge.
    fn draw_scale<B: DrawingBackend>(
        &self,
        sheet: &Sheet<B>,
        area: Area,
        unit: f64,
        (low, high): (f64, f64),
    ) -> Result<(), PlotError> {
        let face = Type { size: 18.0 * unit, bold: false, colour: BLACK };
        let (top, bottom) = (area.bottom - 52.0 * unit, area.bottom - 32.0 * unit);
        let long = 460.0 * unit;
        let parts = if high > low { 92 } else { 1 };
        for part in 0..parts {
            let at = |part: f64| area.left + long * part / f64::from(parts);
            let within =
                if parts > 1 { (f64::from(part) + 0.5) / f64::from(parts) } else { place_within(low, low, high) };
            sheet.rectangle((at(f64::from(part)), top), (at(f64::from(part) + 1.0), bottom), colour_of(within))?;
        }
        let below = bottom + 16.0 * unit;
        let number = |value: f64| format!("{value:.0}");
        if high > low {
            let middle = if high > WIDE * low && low > 0.0 { (low * high).sqrt() } else { f64::midpoint(low, high) };
            for (part, value, align) in
                [(0.0, low, Align::Left), (0.5, middle, Align::Centre), (1.0, high, Align::Right)]
            {
                sheet.text(&number(value), (area.left + part * long, below), align, face)?;
            }
        } else {
            sheet.text(&number(low), (area.left + long / 2.0, below), Align::Centre, face)?;
        }
        let words = (area.left + long + 20.0 * unit, f64::midpoint(top, bottom));
        let wide = area.right - words.0;
        let width = sheet.text_width(&self.scale_label, face);
        let face = Type { size: face.size * (wide / width).min(1.0), ..face };
        sheet.text(&self.scale_label, words, Align::Left, face)
    }
}

/// Where a value lies between the least and the greatest, 0 to 1.
fn place_within(value: f64, low: f64, high: f64) -> f64 {
    let place = if low > 0.0 && high > WIDE * low {
        (value / low).ln() / (high / low).ln()
    } else {
        (value - low) / (high - low)
    };
    if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.5 }
}

/// The colour at a place of the scale, 0 to 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn colour_of(place: f64) -> RGBColor {
    let along = place.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let before = (along.floor() as usize).min(SCALE.len() - 2);
    let (from, to, part) = (SCALE[before], SCALE[before + 1], along - before as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    fn tree(parents: &[Option<usize>], roots: usize) -> Branches {
        let node = |(place, parent): (usize, &Option<usize>)| Node {
            name: format!("n{place}"),
            parent: parent.map(|parent| (parent, 1.0)),
            is_root: place < roots,
            ..Node::default()
        };
        Branches { nodes: parents.iter().enumerate().map(node).collect(), scale_label: String::new() }
    }

    fn spots(branches: &Branches) -> Vec<Option<(usize, f64)>> {
        branches.layout().0.into_iter().map(|spot| spot.map(|spot| (spot.layer, spot.across))).collect()
    }

    #[test]
    fn a_parent_is_over_the_middle_of_its_children() {
        // 0 has 2 and 3, 2 has 4, 5 and 6; 1 is a root without anyone.
        let branches = tree(&[None, None, Some(0), Some(0), Some(2), Some(2), Some(2)], 2);
        let expected = [(0, 2.5), (0, 4.5), (1, 1.5), (1, 3.5), (2, 0.5), (2, 1.5), (2, 2.5)].map(Some);
        assert_eq!((spots(&branches), branches.layout().1), (expected.to_vec(), 5));
    }

    #[test]
    fn who_hangs_nowhere_is_at_the_end_and_a_circle_is_left_out() {
        let branches = tree(&[None, None, Some(0), Some(4), Some(3), Some(99)], 1);
        // n1 has no parent and is no root; n3 and n4 hang from each other, n5 from a node that is not there.
        assert_eq!(spots(&branches), [Some((0, 0.5)), Some((1, 1.5)), Some((1, 0.5)), None, None, None]);
        assert_eq!(tree(&[], 0).layout(), (Vec::new(), 0));
    }

    #[test]
    fn leaves_never_share_a_spot() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in 1..60 {
            let parents: Vec<Option<usize>> = (0..count).map(|n| (n > 0).then(|| random.usize(..n))).collect();
            let (spots, leaves) = tree(&parents, 1).layout();
            let mut taken: Vec<(usize, f64)> =
                spots.iter().map(|spot| spot.unwrap()).map(|spot| (spot.layer, spot.across)).collect();
            taken.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            // A whole leaf's width for each, so that names of equal width fit.
            assert!(
                taken.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[1].1 - pair[0].1 >= 1.0 - 1e-9),
                "{taken:?}"
            );
            assert!(taken.iter().all(|(_, across)| (0.5..=leaves as f64 - 0.5).contains(across)));
        }
    }

    #[test]
    fn the_scale_goes_from_light_to_dark_and_bends_where_values_differ_much() {
        assert_eq!([colour_of(0.0), colour_of(0.5), colour_of(1.0)], [SCALE[0], SCALE[2], SCALE[4]]);
        assert_eq!(place_within(30.0, 20.0, 40.0), 0.5);
        assert!((place_within(100.0, 10.0, 1000.0) - 0.5).abs() < 1e-9);
        assert_eq!(place_within(5.0, 5.0, 5.0), 0.5);
    }
}
