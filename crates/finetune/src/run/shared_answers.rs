use std::cell::Cell;

use eval_tasks::{Request, Response};
use evaluation::run::{Answer, AnswerError, LanguageModel, answer_from_line, answer_to_line};
use evaluation::scoring::Progress;
use model_zoo::CausalLm;
use ranks::{Ranks, RanksError};

/// A model that answers together with those of other ranks: each computes a part of what is computed
/// together, so that each answer has the bits that it has on one rank.
///
/// Rank 0 is asked, and has all answers; the others [`follow`](Self::follow).
pub(super) struct SharedAnswers<'a, M: CausalLm> {
    model: LanguageModel<'a, M>,
    ranks: &'a dyn Ranks,
    asked: Cell<bool>,
}

/// What rank 0 tells the others first: that there is nothing to answer, or which answers are known.
const NOTHING: u8 = 2;

impl<'a, M: CausalLm> SharedAnswers<'a, M> {
    pub(super) fn new(model: LanguageModel<'a, M>, ranks: &'a dyn Ranks) -> Self {
        Self { model, ranks, asked: Cell::new(false) }
    }

    /// On rank 0, after all: lets the others go where nothing was asked, as all was known already.
    pub(super) fn end(&self) -> Result<(), RanksError> {
        match self.asked.get() {
            true => Ok(()),
            false => self.ranks.broadcast(&mut vec![NOTHING]),
        }
    }

    /// On another rank: does its part of what rank 0 is asked.
    pub(super) fn follow(&self, requests: &[Request]) -> Result<(), AnswerError> {
        let mut known = Vec::new();
        self.ranks.broadcast(&mut known).map_err(lost)?;
        if known == [NOTHING] {
            return Ok(());
        }
        let known: Vec<bool> = known.iter().map(|of| *of == 1).collect();
        self.together(requests, &known, &mut |_, _, _| Ok(())).map(drop)
    }

    /// Answers this rank's part, and returns the answers of all ranks, each once.
    fn together(
        &self,
        requests: &[Request],
        known: &[bool],
        done: &mut dyn FnMut(usize, Response, Progress) -> Result<(), AnswerError>,
    ) -> Result<Vec<(usize, Response)>, AnswerError> {
        let parts = self.model.parts(requests, self.ranks.size())?;
        let others = |at: usize| known[at] || parts[at] != self.ranks.rank();
        let passed: Vec<bool> = (0..requests.len()).map(others).collect();
        let mut lines = String::new();
        self.model.answer(requests, &passed, &mut |index, response, progress| {
            if passed[index] {
                // It was computed beside others.
                return Ok(());
            }
            let line = answer_to_line(index, &response);
            lines += &line.map_err(|error| AnswerError::Model(error.to_string()))?;
            lines.push('\n');
            done(index, response, progress)
        })?;
        let all = self.ranks.gather(lines.as_bytes()).map_err(lost)?;
        let mut answers = Vec::new();
        for (rank, bytes) in all.iter().enumerate() {
            if rank != self.ranks.rank() {
                answers.extend(String::from_utf8_lossy(bytes).lines().filter_map(answer_from_line));
            }
        }
        Ok(answers)
    }
}

impl<M: CausalLm> Answer for SharedAnswers<'_, M> {
    fn answer(
        &self,
        requests: &[Request],
        known: &[bool],
        done: &mut dyn FnMut(usize, Response, Progress) -> Result<(), AnswerError>,
    ) -> Result<(), AnswerError> {
        self.asked.set(true);
        self.ranks.broadcast(&mut known.iter().map(|of| u8::from(*of)).collect()).map_err(lost)?;
        let mut last = Progress::default();
        let answers = self.together(requests, known, &mut |index, response, progress| {
            last = progress;
            done(index, response, progress)
        })?;
        for (index, response) in answers {
            last.requests += 1;
            done(index, response, last)?;
        }
        Ok(())
    }
}

fn lost(error: RanksError) -> AnswerError {
    AnswerError::Model(error.to_string())
}
