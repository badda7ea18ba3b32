use crate::TokenInput;

/// What the host knows of one position of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// It is padding.
    Padding,
    /// It follows what the cache holds.
    Start,
    /// It follows this position of its row.
    After(usize),
}

/// Where the tokens of a pass stand in their sequences, where positions are not simply counted
/// along the rows.
#[derive(Debug)]
pub(crate) struct Placement {
    rows: usize,
    new_len: usize,
    /// `[B, past + new]`, the place of each key in its sequence; `None` for padding.
    keys: Vec<Option<usize>>,
    /// `[B, new]`.
    links: Vec<Link>,
}

impl Placement {
    /// The places of `input` after `past`, of which each row has the place of each cached key.
    pub(crate) fn new(input: &TokenInput, past: &[Vec<Option<usize>>]) -> Self {
        let [rows, new_len] = input.input_ids.dims();
        let links = match &input.links {
            Some(links) => links.clone(),
            None => {
                assert!(input.attention_mask.is_none(), "padding that the host does not know");
                let row = (0..new_len).map(|i| i.checked_sub(1).map_or(Link::Start, Link::After));
                let row: Vec<_> = row.collect();
                row.repeat(rows)
            }
        };
        let mut keys: Vec<Option<usize>> = Vec::new();
        for (row, links) in links.chunks(new_len.max(1)).enumerate() {
            keys.extend(&past[row]);
            let next = past[row].iter().flatten().max().map_or(0, |last| last + 1);
            let start = keys.len();
            for link in links {
                keys.push(match link {
                    Link::Padding => None,
                    Link::Start => Some(next),
                    Link::After(parent) => keys[start + parent].map(|place| place + 1),
                });
            }
        }
        Self { rows, new_len, keys, links }
    }

    /// The sizes `[B, new, past + new]`.
    pub(crate) fn dims(&self) -> [usize; 3] {
        [self.rows, self.new_len, self.keys()]
    }

    /// The number of keys of a row, new ones included.
    fn keys(&self) -> usize {
        self.keys.len() / self.rows.max(1)
    }

    /// The place of each key of each row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Option<usize>]> {
        self.keys.chunks(self.keys().max(1))
    }

    /// The place of each new position, `[B * new]`; 0 for padding.
    pub(crate) fn new_places(&self) -> Vec<usize> {
        let past = self.keys() - self.new_len;
        self.rows().flat_map(|row| row[past..].iter().map(|place| place.unwrap_or(0))).collect()
    }

    /// What is added to the scores, `[B, 1, new, keys]`: 0 for the tokens of the own sequence that
    /// are at most `window - 1` before, `hidden` for others. `None` where everything is seen.
    pub(crate) fn bias(&self, window: Option<usize>, hidden: f32) -> Option<Vec<f32>> {
        let keys = self.keys();
        let past = keys - self.new_len;
        let mut bias = vec![hidden; self.rows * self.new_len * keys];
        for (row, places) in self.rows().enumerate() {
            for i in 0..self.new_len {
                let at = (row * self.new_len + i) * keys;
                match self.links[row * self.new_len + i] {
                    Link::After(parent) => {
                        let parent = (row * self.new_len + parent) * keys;
                        bias.copy_within(parent..parent + keys, at);
                    }
                    Link::Start => {
                        for (bias, place) in bias[at..at + past].iter_mut().zip(places) {
                            *bias = if place.is_some() { 0.0 } else { hidden };
                        }
                    }
                    Link::Padding => {}
                }
                // Padding sees itself, so that its values stay finite.
                bias[at + past + i] = 0.0;
                let (Some(window), Some(place)) = (window, places[past + i]) else { continue };
                for (bias, key) in bias[at..at + keys].iter_mut().zip(places) {
                    if key.is_some_and(|key| key + window <= place) {
                        *bias = hidden;
                    }
                }
            }
        }
        bias.contains(&hidden).then_some(bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PaddingSide, TokenTree};
    use burn::tensor::Device;

    #[test]
    fn tokens_see_their_own_sequence_after_what_is_cached() {
        let mut branched = TokenTree::default();
        branched.insert(&[7, 8, 9]);
        branched.insert(&[7, 5]);
        let mut short = TokenTree::default();
        short.insert(&[7, 8]);
        let device = Device::flex();
        let input = TokenInput::from_trees(&[branched, short], 0, PaddingSide::Left, &device);
        let past = vec![vec![Some(0), Some(1)], vec![None, Some(0)]];
        let placement = Placement::new(&input, &past);
        assert_eq!(placement.new_places(), [2, 3, 4, 3, 0, 0, 1, 2]);
        let seen = |window| {
            let bias = placement.bias(window, -1.0).unwrap();
            let rows = bias.chunks(6);
            rows.map(|row| (0..6).filter(|i| row[*i] == 0.0).collect()).collect::<Vec<Vec<_>>>()
        };
        let all = [
            vec![0, 1, 2],
            vec![0, 1, 2, 3],
            vec![0, 1, 2, 3, 4],
            vec![0, 1, 2, 5],
            vec![2],
            vec![3],
            vec![1, 4],
            vec![1, 4, 5],
        ];
        assert_eq!(seen(None), all);
        let two = [
            vec![1, 2],
            vec![2, 3],
            vec![3, 4],
            vec![2, 5],
            vec![2],
            vec![3],
            vec![1, 4],
            vec![4, 5],
        ];
        assert_eq!(seen(Some(2)), two);
    }
}
