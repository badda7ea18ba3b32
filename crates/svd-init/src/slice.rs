use crate::{BankShape, InitError};

/// Which singular triplets of the weight the experts start from, `d` for each of `E` experts,
/// in falling order of the singular values `0..h`, `h = min(O, I)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpectrumSlice {
    /// The `E d` largest; expert `j` takes `[j d, (j + 1) d)`. For one expert, arXiv 2404.02948.
    Pissa,
    /// The `E d` smallest; expert `j` takes `[h - E d + j d, ...)`. For one expert, arXiv
    /// 2406.09044.
    Milora,
    /// The `floor(E d / 2)` largest, then the smallest, split consecutively.
    PissaMilora,
    /// The largest `d` of each of `E` segments of length `t = floor(h / E)`: expert `j` takes
    /// `[j t, j t + d)`. arXiv 2502.16894, section 3.2.
    Goat,
    /// The smallest `d` of each segment: expert `j` takes `[(j + 1) t - d, (j + 1) t)`.
    GoatMini,
}

impl SpectrumSlice {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pissa => "pissa",
            Self::Milora => "milora",
            Self::PissaMilora => "pissa_milora",
            Self::Goat => "goat",
            Self::GoatMini => "goat_mini",
        }
    }

    /// The positions of the triplets, `E d`, expert after expert.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the weight or a segment has too few of them.
    pub fn indices(self, shape: &BankShape) -> Result<Vec<usize>, InitError> {
        let (experts, rank) = (shape.num_experts, shape.rank);
        let (total, available) = (shape.total_rank(), shape.num_triplets());
        shape.check_directions("weight", total, available)?;
        let segment = available / experts.max(1);
        let from_segments = |offset: usize| {
            (0..experts)
                .flat_map(move |j| (0..rank).map(move |k| j * segment + offset + k))
                .collect()
        };
        match self {
            Self::Pissa => Ok((0..total).collect()),
            Self::Milora => Ok((available - total..available).collect()),
            Self::PissaMilora => {
                let first = total / 2;
                Ok((0..first).chain(available - (total - first)..available).collect())
            }
            Self::Goat | Self::GoatMini if rank > segment => {
                Err(InitError::SegmentTooShort { num_experts: experts, segment, rank })
            }
            Self::Goat => Ok(from_segments(0)),
            Self::GoatMini => Ok(from_segments(segment - rank)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(num_experts: usize, rank: usize, in_features: usize) -> BankShape {
        BankShape { num_experts, rank, in_features, out_features: 100, scaling: 2.0 }
    }

    #[test]
    fn slices_take_the_triplets_of_their_definition() {
        let shape = shape(3, 2, 20);
        let taken = |slice: SpectrumSlice| slice.indices(&shape).unwrap();
        assert_eq!(taken(SpectrumSlice::Pissa), [0, 1, 2, 3, 4, 5]);
        assert_eq!(taken(SpectrumSlice::Milora), [14, 15, 16, 17, 18, 19]);
        assert_eq!(taken(SpectrumSlice::PissaMilora), [0, 1, 2, 17, 18, 19]);
        assert_eq!(taken(SpectrumSlice::Goat), [0, 1, 6, 7, 12, 13]);
        assert_eq!(taken(SpectrumSlice::GoatMini), [4, 5, 10, 11, 16, 17]);
    }

    #[test]
    fn too_large_a_rank_is_refused() {
        let error = SpectrumSlice::Pissa.indices(&shape(3, 7, 20)).unwrap_err();
        let matrix = "weight";
        let expected =
            InitError::RankTooLarge { matrix, num_experts: 3, rank: 7, needed: 21, available: 20 };
        assert_eq!(error, expected);
    }

    #[test]
    fn a_whole_segment_can_be_taken_and_no_more() {
        assert_eq!(SpectrumSlice::Goat.indices(&shape(3, 6, 20)).unwrap().len(), 18);
        // 3 * 6 = 18 of 19 fit, 4 segments of 4 do not hold 5.
        let error = SpectrumSlice::Goat.indices(&shape(4, 5, 20)).map(|taken| taken.len());
        assert_eq!(error, Ok(20));
        let error = SpectrumSlice::GoatMini.indices(&shape(2, 1, 1)).unwrap_err();
        assert!(matches!(error, InitError::RankTooLarge { .. }));
    }
}
