//! The figures of a study.

mod amounts;
mod cost;
mod difference;
mod losses;
mod plane;
mod routing;

use report::Figure;

use super::view::View;

/// A figure and the name of its file, without its ending.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) figure: Figure,
}

/// The figures, by the section of the page that shows them.
pub(super) struct Figures {
    pub(super) results: Vec<Named>,
    pub(super) routing: Vec<Named>,
    pub(super) training: Vec<Named>,
}

impl Figures {
    pub(super) fn all(&self) -> impl Iterator<Item = &Named> {
        self.results.iter().chain(&self.routing).chain(&self.training)
    }
}

pub(super) fn all(view: View<'_>) -> Figures {
    let named = |name: &str, figure: Figure| Named { name: name.to_owned(), figure };
    let mut results = vec![named("forgetting", amounts::knowledge(view))];
    results.push(named("plane", plane::plane(view)));
    results.extend(difference::differences(view).map(|figure| named("differences", figure)));
    results.push(named("learning", amounts::tasks(view)));
    results.push(named("text", amounts::text(view)));
    results.extend(cost::training(view).map(|figure| named("cost-training", figure)));
    results.extend(cost::generation(view).map(|figure| named("cost-generation", figure)));
    let mut routing: Vec<Named> = Vec::new();
    for (method, figure) in routing::routing(view) {
        let mut name = format!("routing-{}", file_name(method));
        if routing.iter().any(|known| known.name == name) {
            name = format!("{name}-{}", routing.len() + 1);
        }
        routing.push(Named { name, figure });
    }
    let training = losses::losses(view).map(|figure| named("losses", figure));
    Figures { results, routing, training: training.into_iter().collect() }
}

/// A method's name with nothing in it that a path could not hold.
fn file_name(method: &str) -> String {
    let lower = method.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
