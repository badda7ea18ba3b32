/// What a model is to answer to a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The number of the right class.
    Class(usize),
    /// Of each class, whether it is right.
    Classes(Vec<bool>),
    /// The number itself.
    Value(f32),
}

impl Target {
    /// How many terms of a loss it is: one, or one a class.
    pub fn terms(&self) -> usize {
        match self {
            Self::Class(_) | Self::Value(_) => 1,
            Self::Classes(classes) => classes.len(),
        }
    }

    /// The same as numbers: of a class its number, of several 0 or 1 each.
    pub fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Class(class) => vec![*class as f32],
            Self::Classes(classes) => classes.iter().map(|class| f32::from(*class)).collect(),
            Self::Value(value) => vec![*value],
        }
    }
}
