use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{Device, Tensor};

/// A tensor that a module moves in its own forward passes, as running statistics are.
///
/// It is part of the module's record, so it is saved and loaded like a parameter, but it never has
/// a gradient, so no optimiser moves it. It is kept without autodiff: in an operation with tensors
/// that have gradients it is a constant.
///
/// Unlike Burn's `RunningState`, an update can be seen (and saved) at once, and a clone has a value
/// of its own, which does not follow the original.
pub struct Buffer<const D: usize> {
    id: ParamId,
    value: Mutex<Tensor<D>>,
}

impl<const D: usize> Buffer<D> {
    /// A buffer that starts at `value`.
    pub fn new(value: Tensor<D>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    /// The value now.
    pub fn value(&self) -> Tensor<D> {
        self.lock().clone()
    }

    /// Replaces the value; what it was computed from is forgotten.
    pub fn set(&self, value: Tensor<D>) {
        *self.lock() = value.without_autodiff();
    }

    fn with_id(id: ParamId, value: Tensor<D>) -> Self {
        Self { id, value: Mutex::new(value.without_autodiff()) }
    }

    /// A tensor cannot be left half written, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Tensor<D>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_value(self) -> Tensor<D> {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const D: usize> Clone for Buffer<D> {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl<const D: usize> fmt::Debug for Buffer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer {{ id: {}, shape: {:?} }}", self.id, self.value().dims())
    }
}

impl<const D: usize> fmt::Display for Buffer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer {:?}", self.value().dims())
    }
}

impl<const D: usize> ModuleDisplayDefault for Buffer<D> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.to_string()).optional()
    }
}

impl<const D: usize> ModuleDisplay for Buffer<D> {}

impl<const D: usize> Module for Buffer<D> {
    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn to_device(self, device: &Device) -> Self {
        let id = self.id;
        Self::with_id(id, self.into_value().to_device(device))
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let id = self.id;
        let (id, value, _) = mapper.map_float(Param::initialized(id, self.into_value())).consume();
        Self::with_id(id, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(buffer: &Buffer<1>) -> Vec<f32> {
        buffer.value().into_data().iter::<f32>().collect()
    }

    #[test]
    fn what_is_set_has_no_gradient_and_is_visited_at_once() {
        struct Found(Vec<f32>);
        impl ModuleVisitor for Found {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().iter::<f32>());
            }
        }
        let device = Device::flex().autodiff();
        let buffer = Buffer::new(Tensor::<1>::zeros([2], &device));
        let source = Tensor::<1>::from_data([1.0, 2.0], &device).require_grad();
        buffer.set(source * 2.0);
        assert!(!buffer.value().is_require_grad());
        let mut found = Found(Vec::new());
        buffer.visit(&mut found);
        assert_eq!(found.0, [2.0, 4.0]);
    }

    #[test]
    fn a_clone_does_not_follow_the_original() {
        let device = Device::flex();
        let buffer = Buffer::new(Tensor::<1>::zeros([1], &device));
        let clone = buffer.clone();
        buffer.set(Tensor::ones([1], &device));
        assert_eq!((values(&buffer), values(&clone)), (vec![1.0], vec![0.0]));
    }

    #[test]
    fn asking_all_parameters_for_gradients_leaves_it_without() {
        let device = Device::flex().autodiff();
        let buffer = Buffer::new(Tensor::<1>::zeros([1], &device)).unfreeze();
        assert!(!buffer.value().is_require_grad());
        let loss = (buffer.value() * Tensor::<1>::ones([1], &device).require_grad()).sum();
        loss.backward();
    }
}
