//! Single rows of embeddings and of the output head that are trained by themselves, as PEFT's
//! `trainable_token_indices`.

mod indices;
mod module;
mod rows;

pub use indices::TokenIndices;
pub use module::TokenModule;
pub use rows::TokenRows;

use std::collections::BTreeMap;

use crate::ids::with_stable_ids;
use crate::target::ends_with;
use crate::{Adaptable, AdapterConfig, AdapterError, TargetModules};

/// What stands between the path of a module and the parameter of its rows.
pub(crate) const TOKEN_ADAPTER: &str = "token_adapter";

/// What the rows of tokens of a module are called in its state, behind its path.
pub const TOKEN_ROWS: &str = ".token_adapter.trainable_tokens_delta";

/// The tokens of each module, by its path in the model.
pub(crate) fn tokens_by_module<M: Adaptable>(
    model: &M,
    indices: &TokenIndices,
) -> Result<BTreeMap<String, Vec<usize>>, AdapterError> {
    let modules = model.token_shapes();
    let available = || modules.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ");
    let mut found = BTreeMap::new();
    for (name, tokens) in indices.by_module() {
        let path = modules.iter().find(|(path, _)| ends_with(path, name));
        let Some((path, [count, _])) = path else {
            let tied = model.tied_modules();
            return Err(match tied.iter().find(|(module, _)| ends_with(module, name)) {
                Some((module, owner)) => {
                    AdapterError::TiedTokens { module: (*module).into(), owner: (*owner).into() }
                }
                None => {
                    AdapterError::TokenModule { module: name.to_owned(), available: available() }
                }
            });
        };
        if let Some(index) = tokens.iter().find(|index| **index >= *count) {
            return Err(AdapterError::TokenIndex { index: *index, count: *count });
        }
        found.insert((*path).to_owned(), tokens.to_vec());
    }
    Ok(found)
}

/// Gives tokens rows of their own, which start as they are and train; those that others had before are
/// dropped.
pub(crate) fn attach_tokens<M: Adaptable>(
    model: &mut M,
    config: &AdapterConfig,
) -> Result<(), AdapterError> {
    let mut tokens = match &config.trainable_token_indices {
        Some(indices) => tokens_by_module(model, indices)?,
        None => BTreeMap::new(),
    };
    let whole = config.modules_to_save.as_ref().map(TargetModules::matcher).transpose()?;
    if let Some(whole) = &whole
        && let Some(module) = tokens.keys().find(|path| whole.is_match_within(path))
    {
        return Err(AdapterError::TokensOfWhole { module: module.clone() });
    }
    model.visit_token_modules_mut(&mut |path, module| {
        *module.rows = tokens.remove(path).map(|indices| {
            let rows = TokenRows::new(module.rows_of(&indices), indices);
            with_stable_ids(rows, &format!("{path}.{TOKEN_ADAPTER}"))
        });
    });
    Ok(())
}

/// Writes the rows that tokens have of their own into the weights, and takes them off; returns the names
/// of the weights that changed.
pub fn merge_tokens<M: Adaptable>(model: &mut M) -> Vec<String> {
    let mut changed = Vec::new();
    model.visit_token_modules_mut(&mut |path, mut module| {
        if module.merge() {
            changed.push(format!("{path}.weight"));
        }
    });
    changed
}
