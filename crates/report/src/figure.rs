use serde::Serialize;

use crate::Drawing;
use crate::page::{PageError, render_named};

/// A drawing and what it shows.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its title.
    pub title: String,
    /// What is to be seen, what the marks mean, and what cannot be told apart.
    pub caption: String,
    drawing: Drawing,
}

impl Figure {
    /// A drawing with its title and caption.
    pub fn new(title: impl Into<String>, caption: impl Into<String>, drawing: Drawing) -> Self {
        Self { title: title.into(), caption: caption.into(), drawing }
    }

    /// The drawing as an SVG file: with a size, a text colour and a background of its own.
    ///
    /// # Errors
    ///
    /// [`PageError`] when the file cannot be made.
    pub fn file(&self) -> Result<String, PageError> {
        render_named("figure.svg", self)
    }
}
