use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;

use super::buffer::{Floats, contiguous};
use super::product::{constant_product, product_onto, sum_of_products};
use super::{Constant, attention, batched, routed};
use super::{HostGradients, HostOps};
use crate::ops::ActivationOps;
use crate::ops::{Attended, AttentionGradients, AttentionKind, AttentionOps};
use crate::ops::{KnownGradientOps, KnownGradientScaling};

impl HostOps for Flex {
    fn few_rows_product(a: Floats, b: Floats) -> Floats {
        batched::few_rows_product(a, b)
    }

    fn product(x: Floats, weight: Floats) -> Floats {
        sum_of_products([(x, weight)], None)
    }

    fn product_bias(x: Floats, weight: Floats, bias: Floats) -> Floats {
        sum_of_products([(x, weight)], Some(bias))
    }

    fn product_add(x: Floats, weight: Floats, h: Floats, b: Floats) -> Floats {
        sum_of_products([(x, weight), (h, b)], None)
    }

    fn constant_product(x: Floats, weight: Constant, transposed: bool) -> Floats {
        constant_product(x, &weight, transposed)
    }

    fn product_onto(y: Floats, h: Floats, b: Floats) -> Floats {
        product_onto(y, &h, &b)
    }

    fn dropout_linear(x: Floats, weight: Floats, p: f64, seed: u64) -> Floats {
        Self::product(Self::dropped(x, p, seed), Self::float_transpose(weight))
    }

    fn linear_routed(
        y: Floats,
        x: Floats,
        a: Floats,
        up: Floats,
        weights: Floats,
        selected: Floats,
    ) -> Floats {
        routed::forward(y, [x, a, up, weights, selected])
    }
}

impl HostGradients for Flex {
    fn linear_routed_backward(
        inputs: [Floats; 5],
        grad: Floats,
        x_too: bool,
    ) -> ([Floats; 3], Option<Floats>) {
        routed::backward(inputs, grad, x_too)
    }
}

impl KnownGradientOps for Flex {}

impl KnownGradientScaling for Flex {
    fn known_gradient(mut gradient: Floats, of_one: Floats) -> Floats {
        let factor = contiguous(of_one).storage::<f32>()[0];
        if factor != 1.0 {
            gradient = Self::float_mul_scalar(gradient, factor.into());
        }
        gradient
    }
}

impl AttentionOps for Flex {
    fn attention(q: Floats, k: Floats, v: Floats, kind: AttentionKind) -> Floats {
        attention::forward([q, k, v], None, kind).0
    }

    fn attention_padded(
        q: Floats,
        k: Floats,
        v: Floats,
        padding: Floats,
        kind: AttentionKind,
    ) -> Floats {
        attention::forward([q, k, v], Some(padding), kind).0
    }
}

impl AttentionGradients for Flex {
    fn attention_forward(
        inputs: [Floats; 3],
        padding: Option<Floats>,
        kind: AttentionKind,
    ) -> (Floats, Floats) {
        attention::forward(inputs, padding, kind)
    }

    fn attention_backward(attended: Attended<Floats>, grad: Floats) -> [Floats; 3] {
        attention::backward(attended, grad)
    }
}
