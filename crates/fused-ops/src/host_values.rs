use std::ops::Deref;

#[cfg(feature = "flex")]
use burn::backend::Flex;
#[cfg(feature = "flex")]
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};

/// The numbers of a tensor on the host as f32, in row-major order: where they lie, for a tensor of f32 on a CPU, and
/// a copy of others.
#[derive(Debug, Clone)]
pub struct HostValues(Held);

#[derive(Debug, Clone)]
enum Held {
    #[cfg(feature = "flex")]
    InPlace(FloatTensor<Flex>),
    Copied(Vec<f32>),
}

impl HostValues {
    /// Those of a tensor, without its autodiff. Waits for the device where that is another than the host.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        let tensor = tensor.clone().without_autodiff();
        #[cfg(feature = "flex")]
        if tensor.dtype() == DType::F32
            && let Ok(primitive) = tensor.clone().try_into_primitive::<Flex>()
        {
            return Self(Held::InPlace(primitive.to_contiguous()));
        }
        Self(Held::Copied(tensor.cast(DType::F32).into_data().iter::<f32>().collect()))
    }
}

impl From<HostValues> for Vec<f32> {
    fn from(values: HostValues) -> Self {
        match values.0 {
            #[cfg(feature = "flex")]
            Held::InPlace(tensor) => tensor.storage::<f32>().to_vec(),
            Held::Copied(values) => values,
        }
    }
}

impl Deref for HostValues {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            #[cfg(feature = "flex")]
            Held::InPlace(tensor) => tensor.storage::<f32>(),
            Held::Copied(values) => values,
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn values_are_those_of_the_tensor_wherever_they_lie() {
        let tensor = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
        let of = |tensor: &Tensor<2>| HostValues::of(tensor).to_vec();
        assert_eq!(of(&tensor), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(of(&tensor.clone().transpose()), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(of(&tensor.clone().narrow(0, 1, 1)), [4.0, 5.0, 6.0]);
        assert_eq!(of(&tensor.clone().autodiff().require_grad())[5], 6.0);
        assert_eq!(of(&tensor.clone().cast(DType::BF16))[5], 6.0);
    }

    #[test]
    fn a_vector_of_them_is_a_copy() {
        let tensor = Tensor::<1>::from_data([1.0, 2.0], &Device::flex());
        let mut values = Vec::from(HostValues::of(&tensor));
        values[0] = 7.0;
        assert_eq!(HostValues::of(&tensor)[..], [1.0, 2.0]);
    }
}
