//! What a model is asked, and what it answers.
//!
//! These types are the border between tasks and whatever scores them: a [`Request`] holds text,
//! not tokens. How text becomes tokens (the empty context, truncation, the trailing white space of
//! a context) is the matter of the side that holds the model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A question to a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The log-likelihood of a continuation after a context.
    LogLikelihood {
        /// What comes before; may be empty.
        context: String,
        /// What is scored, with its leading delimiter.
        continuation: String,
    },
    /// The log-likelihood of a whole text, in disjoint windows as long as the model reads.
    LogLikelihoodRolling {
        /// The text.
        text: String,
    },
    /// A text that continues the context until one of the stops.
    GenerateUntil {
        /// What comes before.
        context: String,
        /// When to stop, and how to draw.
        generation: GenerationArguments,
    },
    /// The logits of an encoder's classification head.
    SequenceClassification {
        /// The text.
        text: String,
        /// The second text of a pair.
        text_pair: Option<String>,
    },
    /// The logits of an image classifier.
    ImageClassification {
        /// The image.
        image: ImageSource,
        /// The text of each class, for models that compare images with texts.
        labels: Vec<String>,
    },
}

/// Where the pixels of an image are.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// A file.
    File(PathBuf),
    /// The value of the column itself: numbers `[rows, columns]` or `[channels, rows, columns]`.
    Pixels(Value),
}

/// How text is generated, the `generation_kwargs` of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationArguments {
    /// Texts that end the generation; they are cut off.
    pub until: Vec<String>,
    /// How many tokens at most.
    pub max_gen_toks: usize,
    /// Whether tokens are drawn; otherwise the most likely one is taken.
    pub do_sample: bool,
    /// Divides the logits where tokens are drawn; 0 is greedy.
    pub temperature: f64,
    /// The smallest set of tokens with this much probability is drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Only so many of the most likely tokens are drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
}

/// One request of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The document's index in the split that is evaluated.
    pub document: usize,
    /// The place among the requests of the document.
    pub index: usize,
    /// How many answers are wanted: more than one only where tokens are drawn.
    pub repeats: usize,
    /// The question.
    pub request: Request,
}

/// An answer to a [`Request`] of the same kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// Of [`Request::LogLikelihood`].
    LogLikelihood {
        /// The sum over the continuation's tokens of `ln p(token | before)`.
        log_likelihood: f64,
        /// Whether every token of the continuation was the most likely one.
        is_greedy: bool,
    },
    /// Of [`Request::LogLikelihoodRolling`].
    LogLikelihoodRolling {
        /// The sum over all tokens of the text.
        log_likelihood: f64,
    },
    /// Of [`Request::GenerateUntil`], without the stop.
    Generated(String),
    /// Of the two classifications: a logit for each class, or the one value of a regression.
    Logits(Vec<f64>),
}
