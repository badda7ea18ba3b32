use burn::tensor::Tensor;
use fused_ops::host_read;

/// The numbers that the passes of a step found, on their device until all are read together: each read
/// waits for all that was computed before.
#[derive(Default)]
pub(super) struct NumbersFound {
    unread: Vec<Tensor<1>>,
    passes: Vec<Pass>,
}

/// Where the numbers of a pass are.
struct Pass {
    losses: usize,
    scale: f64,
    balance: bool,
}

impl NumbersFound {
    /// Adds the losses of a pass with the factor of their sum, and its loss on routings.
    pub(super) fn push(&mut self, losses: Tensor<1>, scale: f64, balance: Option<Tensor<1>>) {
        let [count] = losses.dims();
        self.passes.push(Pass { losses: count, scale, balance: balance.is_some() });
        self.unread.push(losses);
        self.unread.extend(balance);
    }

    /// The loss and the loss on routings of each pass, and the number in `last`, 0 without it.
    pub(super) fn read(mut self, last: Option<Tensor<1>>) -> (Vec<(f64, Option<f64>)>, f64) {
        self.unread.extend(last);
        if self.unread.is_empty() {
            return (Vec::new(), 0.0);
        }
        let numbers = host_read(Tensor::cat(self.unread, 0));
        let mut numbers = numbers.iter::<f32>().map(f64::from);
        let passes = self.passes.into_iter().map(|Pass { losses, scale, balance }| {
            // Summed in f64: a batch has thousands of them.
            let sum: f64 = numbers.by_ref().take(losses).sum();
            (sum * scale, if balance { numbers.next() } else { None })
        });
        (passes.collect(), numbers.next().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn each_number_is_found_where_it_was_put() {
        let of = |values: &[f32]| Tensor::<1>::from_data(values, &Device::flex());
        let mut numbers = NumbersFound::default();
        numbers.push(of(&[1.0, 2.0, 5.0]), 0.5, None);
        numbers.push(of(&[3.0]), 2.0, Some(of(&[0.25])));
        let (passes, last) = numbers.read(Some(of(&[9.0])));
        assert_eq!(passes, [(4.0, None), (6.0, Some(0.25))]);
        assert_eq!(last, 9.0);
        assert_eq!(NumbersFound::default().read(None), (Vec::new(), 0.0));
    }
}
