use std::ops::Range;

use router::Reach;

use super::span::Span;

/// A shared beginning is worth a pass of its own when it saves so many tokens.
const WORTH_A_PASS: usize = 256;

/// What it costs to give a row the keys and values of one more token, in pairs of a query and a
/// key.
const COPY: usize = 6;

/// What a plan may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most tokens of one pass, padding included.
    pub(super) batch_tokens: usize,
    /// How many pairs of a query and a key cost as much as all the products of one token.
    pub(super) product: usize,
    /// What routings reach.
    pub(super) reach: Reach,
}

/// Spans that are computed one batch after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The number of tokens with which all begin, to be computed once; 0 for none.
    pub(super) prefix: usize,
    /// The batches, each of rows, each of spans in sorted order.
    pub(super) batches: Vec<Vec<Vec<usize>>>,
}

/// Neighbours in the sorted order that are one row.
#[derive(Debug, Clone)]
struct Row {
    members: Range<usize>,
    len: usize,
}

/// Neighbouring rows that begin alike.
#[derive(Debug, Clone)]
struct Family {
    rows: Range<usize>,
    prefix: usize,
}

impl Family {
    /// How many tokens are saved by computing the beginning once.
    fn saved(&self) -> usize {
        self.prefix * (self.rows.len() - 1)
    }
}

/// A family whose end is not known yet, with the best families inside of it.
struct Nest {
    start: usize,
    prefix: usize,
    inside: Vec<Family>,
}

/// One family, or those inside of it, whichever saves more.
fn nest_or(family: Family, inside: Vec<Family>) -> Vec<Family> {
    let saved: usize = inside.iter().map(Family::saved).sum();
    if family.saved() >= saved.max(WORTH_A_PASS) { vec![family] } else { inside }
}

/// The spans in sorted order.
struct Sorted<'a> {
    spans: &'a [Span],
    order: Vec<usize>,
    /// How many tokens each has in common with the one before.
    shared: Vec<usize>,
    limits: Limits,
}

/// Which spans are computed together.
pub(super) fn plan(spans: &[Span], limits: Limits) -> Vec<Group> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by(|a, b| spans[*a].tokens.cmp(&spans[*b].tokens));
    let pairs = order.windows(2).map(|pair| common(&spans[pair[0]].tokens, &spans[pair[1]].tokens));
    let shared = std::iter::once(0).chain(pairs).collect();
    let sorted = Sorted { spans, order, shared, limits };

    let rows = sorted.rows(0..spans.len(), 0);
    let mut groups = Vec::new();
    let mut alone = Vec::new();
    let mut done = 0;
    for Family { rows: family, prefix } in sorted.families(&rows) {
        alone.extend_from_slice(&rows[done..family.start]);
        done = family.end;
        let members = rows[family.start].members.start..rows[family.end - 1].members.end;
        groups.push(Group { prefix, batches: sorted.batches(sorted.rows(members, prefix)) });
    }
    alone.extend_from_slice(&rows[done..]);
    if !alone.is_empty() {
        groups.push(Group { prefix: 0, batches: sorted.batches(alone) });
    }
    groups
}

impl Sorted<'_> {
    /// Rows of spans whose first `prefix` tokens are computed elsewhere.
    fn rows(&self, members: Range<usize>, prefix: usize) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for i in members {
            let len = self.span(i).tokens.len() - prefix;
            let Some(row) = rows.last_mut() else {
                rows.push(Row { members: i..i + 1, len });
                continue;
            };
            let common = self.shared[i] - prefix;
            if self.joins(row.len, len, common, prefix) {
                row.members.end = i + 1;
                row.len += len - common;
            } else {
                rows.push(Row { members: i..i + 1, len });
            }
        }
        rows
    }

    /// Whether a span of `len` tokens, `common` of them in a row of `row_len`, is better in that
    /// row: it saves the products of what is common and a copy of the prefix, but all tokens of a
    /// row are paired, whether they see each other or not.
    fn joins(&self, row_len: usize, len: usize, common: usize, prefix: usize) -> bool {
        let added = len - common;
        if self.limits.reach != Reach::Token {
            return added == 0 && row_len == len;
        }
        let saved = common * self.limits.product + prefix * COPY;
        row_len + added <= self.limits.batch_tokens && saved >= 2 * row_len * added
    }

    /// The neighbouring rows whose beginning is worth a pass of its own, so that the most tokens
    /// are saved.
    ///
    /// Rows that begin alike nest, as do the ranges of neighbours that have at least so many tokens
    /// in common; each such range is either one family, or falls into those inside of it.
    fn families(&self, rows: &[Row]) -> Vec<Family> {
        // What all of a row begin with, before the first state that is needed.
        let free = |row: &Row| {
            let first = row.members.clone().map(|i| self.span(i).first());
            let shared = row.members.clone().skip(1).map(|i| self.shared[i]);
            first.chain(shared).min().unwrap_or(0)
        };
        let frees: Vec<usize> = rows.iter().map(free).collect();
        let mut open: Vec<Nest> = Vec::new();
        for i in 1..=rows.len() {
            let common = match rows.get(i) {
                Some(row) if self.limits.reach == Reach::Token => {
                    self.shared[row.members.start].min(frees[i - 1]).min(frees[i])
                }
                _ => 0,
            };
            let mut start = i - 1;
            let mut inside = Vec::new();
            while let Some(nest) = open.pop_if(|nest| nest.prefix > common) {
                start = nest.start;
                let mut families = nest.inside;
                families.append(&mut inside);
                inside = nest_or(Family { rows: start..i, prefix: nest.prefix }, families);
            }
            match open.last_mut() {
                Some(nest) if nest.prefix == common => nest.inside.append(&mut inside),
                _ => open.push(Nest { start, prefix: common, inside }),
            }
        }
        open.pop().map_or_else(Vec::new, |nest| nest.inside)
    }

    /// Batches of rows of similar length, the longest first.
    fn batches(&self, mut rows: Vec<Row>) -> Vec<Vec<Vec<usize>>> {
        rows.sort_by_key(|row| std::cmp::Reverse(row.len));
        let per_batch = |longest: usize| match self.limits.reach {
            Reach::Batch => 1,
            _ => (self.limits.batch_tokens / longest.max(1)).max(1),
        };
        let mut batches = Vec::new();
        let mut rest = rows.as_slice();
        while let Some(longest) = rest.first() {
            let (batch, after) = rest.split_at(per_batch(longest.len).min(rest.len()));
            let spans = |row: &Row| self.order[row.members.clone()].to_vec();
            batches.push(batch.iter().map(spans).collect());
            rest = after;
        }
        batches
    }

    fn span(&self, i: usize) -> &Span {
        &self.spans[self.order[i]]
    }
}

/// The number of tokens with which both begin.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(reach: Reach) -> Limits {
        Limits { batch_tokens: 64, product: 1000, reach }
    }

    fn span(tokens: &[u32], targets: usize) -> Span {
        Span { tokens: tokens.to_vec(), targets: vec![0; targets] }
    }

    #[test]
    fn choices_share_a_row_and_rows_a_batch() {
        let spans = [
            span(&[1, 2, 3, 9], 2),
            span(&[4, 4], 1),
            span(&[1, 2, 3], 1),
            span(&[1, 2, 3, 8, 8], 3),
        ];
        let groups = plan(&spans, limits(Reach::Token));
        assert_eq!(groups, [Group { prefix: 0, batches: vec![vec![vec![2, 3, 0], vec![1]]] }]);
    }

    #[test]
    fn a_span_joins_a_row_where_more_products_are_saved_than_pairs_are_added() {
        let joins = |limits: Limits, of: [usize; 4]| {
            let sorted = Sorted { spans: &[], order: Vec::new(), shared: Vec::new(), limits };
            sorted.joins(of[0], of[1], of[2], of[3])
        };
        // 20 tokens in common save 20 products of 1, and cost pairs of 20 with each that is added.
        let cheap = Limits { batch_tokens: 64, product: 1, reach: Reach::Token };
        assert!(!joins(cheap, [20, 21, 20, 0]) && joins(cheap, [10, 21, 20, 0]));
        // A prefix of so many tokens need not be copied.
        assert!(joins(cheap, [20, 21, 20, 4]) && !joins(cheap, [20, 21, 20, 3]));
        assert!(joins(limits(Reach::Token), [60, 24, 20, 0]));
        assert!(!joins(limits(Reach::Token), [61, 24, 20, 0]), "a row of more than the batch");
        assert!(joins(limits(Reach::Batch), [20, 20, 20, 0]));
        assert!(!joins(limits(Reach::Batch), [20, 21, 20, 0]));
    }

    #[test]
    fn a_long_beginning_of_many_rows_is_computed_once() {
        let question = |i: u32| {
            let mut tokens: Vec<u32> = (0..50).collect();
            tokens.extend([100 + i; 10]);
            span(&tokens, 1)
        };
        let mut spans: Vec<Span> = (0..20).map(question).collect();
        spans.push(span(&[7; 30], 2));
        let groups = plan(&spans, limits(Reach::Token));
        assert_eq!(groups.iter().map(|group| group.prefix).collect::<Vec<_>>(), [50, 0]);
        let mut seen: Vec<usize> = groups[0].batches.iter().flatten().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        for batch in &groups[0].batches {
            let rows = batch.iter().map(|row| row.len() * 10);
            assert!(rows.clone().max().unwrap() * rows.count() <= 64, "{batch:?}");
        }
    }

    #[test]
    fn families_are_found_beside_rows_that_share_little() {
        let spans: Vec<Span> = (0..40u32)
            .map(|i| {
                let mut tokens = vec![1, 1];
                tokens.extend([5 + i / 20; 60]);
                tokens.extend([100 + i; 40]);
                span(&tokens, 1)
            })
            .chain((0..30).map(|i| span(&[1, 1, 50 + i, 7], 1)))
            .collect();
        let groups = plan(&spans, limits(Reach::Token));
        assert_eq!(groups.iter().map(|group| group.prefix).collect::<Vec<_>>(), [62, 62, 0]);
    }

    #[test]
    fn rows_that_branch_early_have_no_long_prefix() {
        // Neighbouring rows have much in common, but not all that is in them.
        let spans: Vec<Span> = (0..60u32)
            .map(|i| {
                let mut tokens = vec![1; 10];
                tokens.extend([2 + i / 3; 50]);
                tokens.extend([100 + i; 2]);
                span(&tokens, 1)
            })
            .collect();
        for batch_tokens in [64, 120, 200, 1000] {
            let limits = Limits { batch_tokens, ..limits(Reach::Token) };
            let count: usize = plan(&spans, limits)
                .iter()
                .flat_map(|group| group.batches.iter().flatten())
                .map(Vec::len)
                .sum();
            assert_eq!(count, 60);
        }
    }

    #[test]
    fn what_must_be_computed_is_no_prefix() {
        // All but the last token is common, but states are needed from the 6th on.
        let spans: Vec<Span> = (0..300)
            .map(|i| span(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100 + i], 11))
            .collect();
        for group in plan(&spans, limits(Reach::Token)) {
            assert!(group.prefix <= 5, "{}", group.prefix);
        }
    }

    #[test]
    fn routings_that_reach_further_keep_spans_apart() {
        let spans = [span(&[1, 2, 3], 1), span(&[1, 2], 1), span(&[1, 2, 3], 1), span(&[1], 1)];
        let groups = plan(&spans, limits(Reach::Sample));
        let rows = vec![vec![0, 2], vec![1], vec![3]];
        assert_eq!(groups, [Group { prefix: 0, batches: vec![rows] }]);
        let groups = plan(&spans, limits(Reach::Batch));
        let batches = vec![vec![vec![0, 2]], vec![vec![1]], vec![vec![3]]];
        assert_eq!(groups, [Group { prefix: 0, batches }]);
    }
}
