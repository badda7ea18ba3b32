use rand::{
    Rng, RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use super::{Exchange, Fact, Phrasing, Purpose, Task, World, grammar, stream, task};

impl World {
    /// `n` sentences to pre-train on, in random order: all facts in all phrasings, general text, runs of letters.
    ///
    /// Fact sentences are dealt from a shuffled deck that is renewed when it is used up, so within one call every
    /// fact in every phrasing occurs equally often, give or take one. Make one call for a whole run.
    pub fn pretraining(&self, seed: u64, n: usize) -> Vec<String> {
        let mut rng = stream(self.config.seed, Purpose::PreTraining, seed);
        let text = self.config.text_share;
        let letters = text + self.config.letters_share;
        let mut deck = Vec::new();
        (0..n)
            .map(|_| {
                let draw = rng.random::<f64>();
                if draw < text {
                    grammar::sentence(&mut rng)
                } else if draw < letters {
                    task::run_of_letters(&mut rng)
                } else {
                    self.deal(&mut deck, &mut rng)
                }
            })
            .collect()
    }

    fn deal(&self, deck: &mut Vec<(usize, Phrasing)>, rng: &mut impl Rng) -> String {
        if deck.is_empty() {
            deck.extend(
                (0..self.facts.len())
                    .flat_map(|fact| Phrasing::ALL.map(|phrasing| (fact, phrasing))),
            );
            deck.shuffle(rng);
        }
        deck.pop()
            .map(|(fact, phrasing)| self.facts[fact].exchange(phrasing).text())
            .unwrap_or_default()
    }

    /// `samples` exchanges to tune on: tasks, and questions about the rehearsed entities in the phrasing kept for
    /// that.
    ///
    /// The samples are the first of one endless stream per seed, so a smaller amount is part of every larger one.
    pub fn instruction(&self, samples: usize, seed: u64) -> Vec<Exchange> {
        let mut rng = stream(self.config.seed, Purpose::Tuning, seed);
        let rehearsed: Vec<&Fact> = self.facts.iter().filter(|fact| fact.rehearsed).collect();
        (0..samples)
            .map(|_| {
                if rng.random_bool(self.config.knowledge_share)
                    && let Some(fact) = rehearsed.choose(&mut rng)
                {
                    return fact.exchange(Phrasing::Rehearsal);
                }
                Task::ALL[rng.random_range(0..Task::ALL.len())].draw(false, &mut rng)
            })
            .collect()
    }

    /// Every fact that is never rehearsed, as a question. Shuffled: a prefix is a fair sample.
    pub fn knowledge_questions(&self) -> Vec<Exchange> {
        self.evaluated(Phrasing::Question)
    }

    /// The facts of [`World::knowledge_questions`] in the same order, as beginnings of statements.
    pub fn knowledge_statements(&self) -> Vec<Exchange> {
        self.evaluated(Phrasing::Statement)
    }

    fn evaluated(&self, phrasing: Phrasing) -> Vec<Exchange> {
        self.facts
            .iter()
            .filter(|fact| !fact.rehearsed)
            .map(|fact| fact.exchange(phrasing))
            .collect()
    }

    /// `per_task` exchanges of every task on inputs that no tuning data contains. The tasks take turns.
    pub fn tasks_eval(&self, per_task: usize) -> Vec<Exchange> {
        let mut rng = stream(self.config.seed, Purpose::TaskEvaluation, 0);
        (0..per_task * Task::ALL.len())
            .map(|i| Task::ALL[i % Task::ALL.len()].draw(true, &mut rng))
            .collect()
    }

    /// `n` sentences of general text to measure the language-modelling loss on, drawn as those of pre-training are.
    pub fn general_text_eval(&self, n: usize) -> Vec<String> {
        let mut rng = stream(self.config.seed, Purpose::TextEvaluation, 0);
        (0..n).map(|_| grammar::sentence(&mut rng)).collect()
    }
}
