//! Who is there, and when: the recipe's audience, many times over.

use std::time::Duration;

use super::super::agenda::Nanos;
use super::super::course::nanos;
use crate::plan::{Departure, Stream, Trial};

/// A viewer's time in a trial, on its timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spell {
    pub from: Nanos,
    /// `Nanos::MAX`: it stays until the stream has ended.
    pub until: Nanos,
    pub how: Departure,
}

/// All spells of all viewers.
#[derive(Debug, Default)]
pub(super) struct People {
    /// By viewer, where in `spells` its own begin.
    starts: Vec<u32>,
    spells: Vec<Spell>,
}

/// Of those that one of the recipe's viewers stands for, the one in the middle.
pub(super) fn middle(like: usize, viewers: usize, recipe: usize) -> usize {
    let start = |like: usize| (like as u64 * viewers as u64).div_ceil(recipe as u64);
    ((start(like) + start(like + 1).max(1) - 1) / 2) as usize
}

impl People {
    /// They come in the recipe's order and in the time that its viewers take to come. Each that comes and goes at random does so
    /// independently.
    pub fn of(trial: &Trial, stream: &Stream, viewers: usize) -> Self {
        let (mut starts, mut all) = (Vec::with_capacity(viewers + 1), Vec::with_capacity(viewers));
        let recipe = stream.viewers.len();
        let span =
            trial.timeline.view_every.saturating_mul(u32::try_from(recipe.saturating_sub(1)).unwrap_or(u32::MAX));
        for viewer in 0..viewers {
            starts.push(all.len() as u32);
            let share = viewer as f64 / viewers.saturating_sub(1).max(1) as f64;
            let from = trial.timeline.view_at + span.mul_f64(share);
            let name = &stream.viewers[Trial::stands_for(viewer, viewers, recipe)];
            let plain = crate::plan::Spell { from, end: None };
            let planned = trial.audience.planned.get(name);
            let drawn = trial.audience.churn.filter(|_| planned.is_none());
            let spells = match (planned, drawn) {
                (Some(planned), _) => planned.clone(),
                (None, Some(churn)) => churn.spells(from, trial.seed_of_viewer(viewer)),
                (None, None) => vec![plain],
            };
            all.extend(spells.iter().map(|spell| Spell {
                from: nanos(spell.from),
                until: spell.end.map_or(Nanos::MAX, |end| nanos(end.at)),
                how: spell.end.map_or(Departure::Leave, |end| end.how),
            }));
        }
        starts.push(all.len() as u32);
        Self { starts, spells: all }
    }

    /// The same as a plan has them.
    pub fn planned(&self, viewer: usize) -> Vec<crate::plan::Spell> {
        let spell = |spell: &Spell| crate::plan::Spell {
            from: Duration::from_nanos(spell.from),
            end: (spell.until < Nanos::MAX)
                .then(|| crate::plan::Parting { at: Duration::from_nanos(spell.until), how: spell.how }),
        };
        self.spells(viewer).iter().map(spell).collect()
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Those of one viewer, in the order of time.
    pub fn spells(&self, viewer: usize) -> &[Spell] {
        &self.spells[self.starts[viewer] as usize..self.starts[viewer + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_recipes_viewers_stands_for_as_many() {
        let all: Vec<usize> = (0..10).map(|viewer| Trial::stands_for(viewer, 10, 4)).collect();
        assert_eq!(all, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
        assert_eq!((0..4).map(|of| middle(of, 10, 4)).collect::<Vec<_>>(), [1, 3, 6, 8]);
        // As many as in the recipe: each stands for itself.
        assert_eq!((0..5).map(|of| middle(of, 5, 5)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        for (viewers, recipe) in [(1_000_000, 32), (33, 32), (100, 7)] {
            assert!((0..recipe).all(|of| Trial::stands_for(middle(of, viewers, recipe), viewers, recipe) == of));
        }
    }
}
