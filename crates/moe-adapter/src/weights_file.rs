use crate::ADAPTER_WEIGHTS_FILE;

/// The file of an adapter's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFile {
    /// `adapter_model.safetensors`.
    #[default]
    Safetensors,
    /// `adapter_model.bin`, as `torch.save` writes it.
    PyTorch,
}

impl WeightsFile {
    /// Both, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Safetensors, Self::PyTorch];

    /// Its name in the folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Safetensors => ADAPTER_WEIGHTS_FILE,
            Self::PyTorch => "adapter_model.bin",
        }
    }
}
