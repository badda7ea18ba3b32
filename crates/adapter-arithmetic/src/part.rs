use moe_adapter::{is_model_router, is_start};

/// What a tensor of an adapter's folder is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The experts of the linear with this path.
    Expert(&'a str),
    /// A router.
    Routing,
    /// What a start took out of a frozen weight.
    Start,
    /// A parameter of the base model that was trained as a whole.
    Whole,
}

impl<'a> Part<'a> {
    /// What the tensor of this name is part of.
    pub(crate) fn of(name: &'a str) -> Self {
        const OF_EXPERTS: [&str; 5] = [
            ".lora_A.weight",
            ".lora_B.weight",
            ".lora_magnitude_vector",
            ".expert_scaling",
            ".ia3_l",
        ];
        if is_start(name) {
            Self::Start
        } else if name.contains(".router.") || is_model_router(name) {
            Self::Routing
        } else {
            let path = OF_EXPERTS.iter().find_map(|suffix| name.strip_suffix(suffix));
            path.map_or(Self::Whole, Self::Expert)
        }
    }
}
