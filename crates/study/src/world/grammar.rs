use rand::{Rng, RngExt};

/// The words of one subject; within a list, earlier words are more frequent.
struct Topic {
    people: [&'static str; 5],
    things: [&'static str; 6],
    verbs: [&'static str; 4],
    adjectives: [&'static str; 4],
    places: [&'static str; 3],
}

const TOPICS: [Topic; 4] = [
    Topic {
        people: ["farmer", "boy", "shepherd", "girl", "neighbour"],
        things: ["cow", "horse", "plough", "hay", "fence", "sheep"],
        verbs: ["feeds", "watches", "mends", "moves"],
        adjectives: ["old", "brown", "hungry", "quiet"],
        places: ["barn", "field", "hill"],
    },
    Topic {
        people: ["sailor", "captain", "fisher", "merchant", "stranger"],
        things: ["boat", "net", "rope", "anchor", "sail", "wave"],
        verbs: ["pulls", "sees", "paints", "follows"],
        adjectives: ["wet", "long", "grey", "strong"],
        places: ["harbour", "island", "shore"],
    },
    Topic {
        people: ["cook", "mother", "guest", "waiter", "child"],
        things: ["soup", "bread", "spoon", "pot", "knife", "cake"],
        verbs: ["brings", "tastes", "wants", "cuts"],
        adjectives: ["warm", "sweet", "fresh", "small"],
        places: ["kitchen", "table", "oven"],
    },
    Topic {
        people: ["teacher", "student", "writer", "friend", "master"],
        things: ["book", "letter", "map", "pen", "poem", "lesson"],
        verbs: ["reads", "writes", "keeps", "explains"],
        adjectives: ["new", "short", "famous", "difficult"],
        places: ["school", "library", "window"],
    },
];

const PREPOSITIONS: [&str; 3] = ["near", "behind", "at"];
const WEATHER: [&str; 4] = ["sunny", "rainy", "windy", "cold"];
const SEASONS: [&str; 4] = ["summer", "autumn", "spring", "winter"];

/// Draws from a list with frequencies falling as 1 / rank, as those of words do.
fn zipf(list: &[&'static str], rng: &mut impl Rng) -> &'static str {
    let total: f64 = (1..=list.len()).map(|rank| 1.0 / rank as f64).sum();
    let mut left = rng.random_range(0.0..total);
    for (i, word) in list.iter().enumerate() {
        left -= 1.0 / (i + 1) as f64;
        if left < 0.0 {
            return word;
        }
    }
    list.last().copied().unwrap_or_default()
}

impl Topic {
    fn clause(&self, out: &mut Vec<&'static str>, rng: &mut impl Rng) {
        out.push("the");
        if rng.random_bool(0.3) {
            out.push(zipf(&self.adjectives, rng));
        }
        out.extend([zipf(&self.people, rng), zipf(&self.verbs, rng), "the"]);
        if rng.random_bool(0.4) {
            out.push(zipf(&self.adjectives, rng));
        }
        out.push(zipf(&self.things, rng));
    }
}

/// Draws a sentence that stays with one topic and says nothing about any entity.
pub(super) fn sentence(rng: &mut impl Rng) -> String {
    let topic = &TOPICS[rng.random_range(0..TOPICS.len())];
    let mut words = Vec::new();
    topic.clause(&mut words, rng);
    if rng.random_bool(0.5) {
        words.extend([zipf(&PREPOSITIONS, rng), "the", zipf(&topic.places, rng)]);
    }
    match rng.random_range(0..4) {
        0 => {
            // The season follows from the weather, most of the time.
            let i = rng.random_range(0..WEATHER.len());
            let season = if rng.random_bool(0.85) { SEASONS[i] } else { zipf(&SEASONS, rng) };
            words.extend(["because", "it", "was", WEATHER[i], "that", season]);
        }
        1 => {
            words.push("and");
            topic.clause(&mut words, rng);
        }
        _ => {}
    }
    words.push(".");
    words.join(" ")
}

/// Every word of the grammar.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    ["the", ".", "because", "it", "was", "that", "and"]
        .into_iter()
        .chain(PREPOSITIONS)
        .chain(WEATHER)
        .chain(SEASONS)
        .chain(TOPICS.iter().flat_map(|t| {
            let lists: [&[&'static str]; 5] =
                [&t.people, &t.things, &t.verbs, &t.adjectives, &t.places];
            lists.into_iter().flatten().copied()
        }))
}
