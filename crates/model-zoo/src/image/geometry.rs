/// The size that an image is brought to; `size` in `preprocessor_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetSize {
    /// Whatever the shape of the image was.
    Exact { height: usize, width: usize },
    /// The shorter edge; the other follows, rounded down.
    ShortestEdge(usize),
}

impl TargetSize {
    /// Height and width of an image after its change of size.
    pub(super) fn of(self, height: usize, width: usize) -> [usize; 2] {
        match self {
            Self::Exact { height, width } => [height, width],
            // As transformers: in floating point, then cut off.
            Self::ShortestEdge(edge) => {
                let long =
                    |long: usize, short: usize| ((edge * long) as f64 / short as f64) as usize;
                if width <= height {
                    [long(height, width), edge]
                } else {
                    [edge, long(width, height)]
                }
            }
        }
    }
}

/// The middle of an image, `[height, width, channels]`; what it lacks is black. Where the margins
/// cannot be equal, the first is the smaller one of a crop, and the larger one of an addition.
pub(super) fn center_crop(
    data: &[u8],
    [height, width, channels]: [usize; 3],
    [new_height, new_width]: [usize; 2],
) -> Vec<u8> {
    let rows = Margin::new(height, new_height);
    let columns = Margin::new(width, new_width);
    let mut cropped = vec![0; new_height * new_width * channels];
    for row in 0..rows.len {
        let from = ((rows.from + row) * width + columns.from) * channels;
        let to = ((rows.to + row) * new_width + columns.to) * channels;
        let len = columns.len * channels;
        cropped[to..to + len].copy_from_slice(&data[from..from + len]);
    }
    cropped
}

/// Which part of a line is kept, and where.
struct Margin {
    from: usize,
    to: usize,
    len: usize,
}

impl Margin {
    fn new(size: usize, new_size: usize) -> Self {
        if size >= new_size {
            Self { from: (size - new_size) / 2, to: 0, len: new_size }
        } else {
            Self { from: 0, to: (new_size - size).div_ceil(2), len: size }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_edge_follows_rounded_down() {
        assert_eq!(TargetSize::ShortestEdge(224).of(331, 500), [224, 338]);
        assert_eq!(TargetSize::ShortestEdge(224).of(500, 331), [338, 224]);
        assert_eq!(TargetSize::ShortestEdge(16).of(8, 8), [16, 16]);
        assert_eq!(TargetSize::Exact { height: 3, width: 4 }.of(8, 9), [3, 4]);
    }

    #[test]
    fn the_middle_is_cut_out_or_set_into_black() {
        let line: Vec<u8> = (1..=5).collect();
        assert_eq!(center_crop(&line, [1, 5, 1], [1, 2]), [2, 3]);
        assert_eq!(center_crop(&line, [1, 5, 1], [1, 8]), [0, 0, 1, 2, 3, 4, 5, 0]);
        assert_eq!(center_crop(&line, [5, 1, 1], [2, 2]), [0, 2, 0, 3]);
    }
}
