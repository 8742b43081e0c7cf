//! Whether it matters on which machine a trial ran.
//!
//! Trials of a sweep that is spread over several machines are compared within what they share: scheme, parameters,
//! stream and viewer. If the machines are alike, any of these trials might have run on any of them; so their names
//! are shuffled among the trials that share all that, [`SHUFFLES`] times, and it is counted how often the machines
//! then differ as much as they really do (a permutation test in blocks: Good, *Permutation, Parametric, and Bootstrap
//! Tests of Hypotheses*, 3rd edition 2005, section 3.1). How much they differ is the sum over machines of n·m², with
//! m the mean over a machine's n figures of the logarithm's distance from the mean of its block. Viewers of one trial
//! share its machine, so a trial has one figure: the mean over its viewers.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::rows::SummaryRow;

/// How often names are shuffled.
const SHUFFLES: u32 = 2000;
/// The least chance at which machines are said to differ.
const LEVEL: f64 = 0.01;
/// Fewer trials on a machine, in blocks that other machines have part in, tell nothing.
const FEWEST: usize = 4;
/// Seeds the shuffles; any number would do, as long as it stays the same.
const SEED: u64 = 0x6e6f_6465_7300_0000;

/// What the trials tell of the machines.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEffect {
    /// How likely machines that are alike differ as much, 0 to 1.
    pub chance: f64,
    /// By which factor the figure of each is off the mean of all: 1.08 is 8 % more. In the order of their names.
    pub factors: Vec<(String, f64)>,
    /// Trials that were compared.
    pub trials: usize,
}

impl NodeEffect {
    /// Whether that is more than chance.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.chance <= LEVEL
    }

    /// A sentence for people; `None`: there is nothing to say.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let part = |(node, factor): &(String, f64)| format!("{node} {:+.1} %", (factor - 1.0) * 100.0);
        let parts: Vec<String> = self.factors.iter().map(part).collect();
        let (trials, chance, parts) = (self.trials, self.chance, parts.join(", "));
        self.is_real().then(|| {
            format!(
                "nodes differ by more than chance in delay_p95_ms: {parts} (p = {chance:.4}, permutation of {trials} \
                 trials within their points); `--by node` shows them apart"
            )
        })
    }
}

/// A trial's figure, and where it ran.
struct Figure<'a> {
    node: &'a str,
    /// The figure's logarithm less the mean of those of its block.
    off: f64,
}

/// Compares the machines by the 95th percentile of the delay. `None`: there is one machine, or too little of what
/// several of them did.
#[must_use]
pub fn node_effect(summary: &[SummaryRow]) -> Option<NodeEffect> {
    let mut blocks = blocks(summary);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for figure in blocks.iter().flatten() {
        *counts.entry(figure.node).or_default() += 1;
    }
    // A machine with few trials says nothing; its trials are no part of the others' either.
    blocks.iter_mut().for_each(|block| block.retain(|figure| counts.get(figure.node).is_some_and(|n| *n >= FEWEST)));
    blocks.retain(|block| block.iter().map(|figure| figure.node).collect::<BTreeSet<_>>().len() > 1);
    for block in &mut blocks {
        let mean = block.iter().map(|figure| figure.off).sum::<f64>() / block.len() as f64;
        block.iter_mut().for_each(|figure| figure.off -= mean);
    }
    let names: Vec<&str> =
        blocks.iter().flatten().map(|figure| figure.node).collect::<BTreeSet<_>>().into_iter().collect();
    if names.len() < 2 {
        return None;
    }
    let mut places: Vec<Vec<usize>> = blocks
        .iter()
        .map(|block| block.iter().filter_map(|figure| names.binary_search(&figure.node).ok()).collect())
        .collect();
    let means = |places: &[Vec<usize>]| {
        let mut sums = vec![(0.0_f64, 0.0_f64); names.len()];
        for (figure, place) in blocks.iter().flatten().zip(places.iter().flatten()) {
            if let Some((sum, count)) = sums.get_mut(*place) {
                (*sum, *count) = (*sum + figure.off, *count + 1.0);
            }
        }
        sums
    };
    let differ =
        |sums: &[(f64, f64)]| sums.iter().filter(|(_, n)| *n > 0.0).map(|(sum, n)| sum * sum / n).sum::<f64>();
    let real = means(&places);
    let (really, mut as_much, mut rng) = (differ(&real), 0, Rng::with_seed(SEED));
    for _ in 0..SHUFFLES {
        places.iter_mut().for_each(|block| rng.shuffle(block));
        // What is equal but for rounding is equal.
        as_much += u32::from(differ(&means(&places)) >= really * (1.0 - 1e-9));
    }
    let factor = |(name, (sum, n)): (&&str, &(f64, f64))| ((*name).to_owned(), (sum / n.max(1.0)).exp());
    Some(NodeEffect {
        chance: f64::from(as_much + 1) / f64::from(SHUFFLES + 1),
        factors: names.iter().zip(&real).map(factor).collect(),
        trials: blocks.iter().map(Vec::len).sum(),
    })
}

/// Sound trials with a node, in blocks of those that share scheme and parameters.
fn blocks(summary: &[SummaryRow]) -> Vec<Vec<Figure<'_>>> {
    let mut trials: BTreeMap<&str, (&SummaryRow, Vec<f64>)> = BTreeMap::new();
    for row in summary.iter().filter(|row| row.fit && !row.partial && row.node.is_some()) {
        if let Some(delay) = row.delay_p95_ms.filter(|delay| *delay > 0.0) {
            trials.entry(&row.trial).or_insert((row, Vec::new())).1.push(delay.ln());
        }
    }
    let mut blocks: BTreeMap<_, Vec<Figure<'_>>> = BTreeMap::new();
    for (row, logarithms) in trials.into_values() {
        let Some(node) = row.node.as_deref() else { continue };
        let off = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
        blocks.entry(row.point.group()).or_default().push(Figure { node, off });
    }
    blocks.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::{frame, record};
    use crate::table::{ViewerFacts, summarise};

    /// Trials of two schemes on the nodes given, with delays that vary by chance, by scheme and by node.
    fn summary(nodes: &[(&str, f64)], trials: usize, seed: u64) -> Vec<SummaryRow> {
        let mut rng = Rng::with_seed(seed);
        let facts =
            ViewerFacts { stream: "hb".into(), viewer: "hv1".into(), born: 1, captured: true, ..Default::default() };
        let mut rows = Vec::new();
        for n in 0..trials {
            let (node, factor) = nodes[rng.usize(..nodes.len())];
            let scheme = ["direct", "bypass"][n % 2];
            let mut record = record(scheme);
            (record.id, record.node) = (format!("{scheme}-{n}"), Some(node.to_owned()));
            let usual = if n % 2 == 0 { 900.0 } else { 300.0 };
            let delay = usual * factor * (1.0 + 0.02 * rng.f64());
            let frame = frame(&record.id, "hv1", 0, Some(delay), Via::Cdn);
            rows.extend(summarise(&record, std::slice::from_ref(&facts), &[frame]));
        }
        rows
    }

    #[test]
    fn nodes_that_differ_are_told_and_those_that_are_alike_are_not() {
        let differ = node_effect(&summary(&[("n1", 1.0), ("n2", 1.1)], 24, 1)).unwrap();
        let told = differ.sentence().unwrap();
        assert!(told.contains("n2 +") && told.contains("n1 -") && told.contains("24 trials"), "{told}");
        let ratio = differ.factors[1].1 / differ.factors[0].1;
        assert!((ratio - 1.1).abs() < 0.02, "{ratio}");
        let alike = node_effect(&summary(&[("n1", 1.0), ("n2", 1.0), ("n3", 1.0)], 36, 1)).unwrap();
        assert_eq!((alike.is_real(), alike.sentence()), (false, None));
    }

    #[test]
    fn one_node_and_few_trials_tell_nothing() {
        assert_eq!(node_effect(&summary(&[("n1", 1.0)], 24, 1)), None);
        assert_eq!(node_effect(&summary(&[("n1", 1.0), ("n2", 1.5)], 5, 1)), None);
        let unfit = |row: SummaryRow| SummaryRow { fit: false, ..row };
        assert_eq!(
            node_effect(&summary(&[("n1", 1.0), ("n2", 1.1)], 24, 1).into_iter().map(unfit).collect::<Vec<_>>()),
            None
        );
    }

    /// A test at 1 % finds a difference where there is none once in a hundred times.
    #[test]
    fn of_alike_nodes_few_are_said_to_differ() {
        let found = (0..200).filter(|seed| {
            let rows = summary(&[("n1", 1.0), ("n2", 1.0)], 16, 1000 + seed);
            node_effect(&rows).is_some_and(|effect| effect.is_real())
        });
        let found = found.count();
        assert!(found <= 8, "{found} of 200");
    }
}
