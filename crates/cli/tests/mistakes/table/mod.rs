mod commands;
mod data;
mod evaluation;
mod folders;
mod training;

/// A mistake, the command that makes it, and what the error says, with `…` for what is left out. `DIR`
/// is the folder that [`Place`](crate::place::Place) makes.
pub type Mistake = (&'static str, &'static str, &'static str);

/// The table.
pub fn mistakes() -> impl Iterator<Item = &'static Mistake> {
    [folders::FOLDERS, training::TRAINING, data::DATA, evaluation::EVALUATION, commands::COMMANDS]
        .into_iter()
        .flatten()
}
