/// Finds stop texts in a stream, and holds back what may become one.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// A matcher of these texts, none of which is empty.
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes more text; returns what is certainly before any stop text, and whether one was found.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(start) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let tail = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, tail), false)
    }

    /// What was held back, when the stream ends.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest end of `text` that `stop` begins with.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len().min(text.len() + 1))
        .rev()
        .find(|len| stop.is_char_boundary(*len) && text.ends_with(&stop[..*len]))
        .unwrap_or(0)
}

/// A text up to the stop texts, looked for one after the other.
pub(super) fn cut_at_stops(mut text: String, stops: &[String]) -> String {
    for stop in stops {
        if let Some(start) = text.find(stop) {
            text.truncate(start);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_never_comes_out_even_in_parts() {
        let stops = ["###".to_owned(), "\nQ:".to_owned()];
        let mut matcher = StopMatcher::new(stops.to_vec());
        assert_eq!(matcher.push("one#"), ("one".to_owned(), false));
        assert_eq!(matcher.push("two\n"), ("#two".to_owned(), false));
        assert_eq!(matcher.push("\nQ"), ("\n".to_owned(), false));
        assert_eq!(matcher.push(": three"), (String::new(), true));
    }

    #[test]
    fn what_was_held_back_comes_out_at_the_end() {
        let stops = ["END".to_owned()];
        let mut matcher = StopMatcher::new(stops.to_vec());
        assert_eq!(matcher.push("The EN"), ("The ".to_owned(), false));
        assert_eq!(matcher.finish(), "EN");
    }

    #[test]
    fn the_earliest_stop_text_counts() {
        let stops = ["b".to_owned(), "a".to_owned()];
        assert_eq!(StopMatcher::new(stops.to_vec()).push("xyab"), ("xy".to_owned(), true));
    }
}
