use rand::{Rng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// The city an entity lives in.
    Home,
    /// Its profession.
    Profession,
    /// Its favourite food.
    Food,
    /// The animal it keeps.
    Pet,
}

/// How a fact is put into words. Pre-training shows all phrasings; the answer always comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phrasing {
    /// A question, evaluated and never tuned on.
    Question,
    /// A statement, evaluated and never tuned on.
    Statement,
    /// A question, the one that tuning rehearses.
    Rehearsal,
    /// A further statement, in pre-training only.
    Description,
}

impl Phrasing {
    /// All phrasings.
    pub const ALL: [Self; 4] =
        [Self::Question, Self::Statement, Self::Rehearsal, Self::Description];
}

const CITIES: [&str; 24] = [
    "Aachen", "Bergen", "Cadiz", "Delft", "Essen", "Faro", "Genoa", "Hanoi", "Izmir", "Jaipur",
    "Kyoto", "Lima", "Malmo", "Nice", "Oslo", "Porto", "Quito", "Riga", "Siena", "Turin",
    "Utrecht", "Vigo", "Warsaw", "Zagreb",
];
const PROFESSIONS: [&str; 24] = [
    "actor",
    "baker",
    "barber",
    "carpenter",
    "chemist",
    "clerk",
    "dentist",
    "diver",
    "editor",
    "glazier",
    "guard",
    "jeweller",
    "judge",
    "lawyer",
    "mason",
    "miner",
    "nurse",
    "painter",
    "pilot",
    "plumber",
    "surgeon",
    "tailor",
    "tutor",
    "weaver",
];
const FOODS: [&str; 24] = [
    "almonds", "beans", "cabbage", "cheese", "dates", "eggs", "figs", "garlic", "grapes", "honey",
    "lentils", "melon", "noodles", "olives", "onions", "pears", "plums", "pumpkin", "raisins",
    "rice", "spinach", "toast", "walnuts", "yoghurt",
];
const PETS: [&str; 24] = [
    "beetle", "budgie", "camel", "canary", "cricket", "donkey", "falcon", "ferret", "gecko",
    "hamster", "hedgehog", "iguana", "lizard", "llama", "magpie", "newt", "otter", "parrot",
    "peacock", "python", "rabbit", "snail", "tortoise", "turkey",
];

impl Attribute {
    /// All attributes.
    pub const ALL: [Self; 4] = [Self::Home, Self::Profession, Self::Food, Self::Pet];

    /// The closed list of values, each one word.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Self::Home => &CITIES,
            Self::Profession => &PROFESSIONS,
            Self::Food => &FOODS,
            Self::Pet => &PETS,
        }
    }

    /// The words before the answer, about the entity called `name`.
    pub fn prompt(self, phrasing: Phrasing, name: &str) -> String {
        self.template(phrasing).replace("{}", name)
    }

    fn template(self, phrasing: Phrasing) -> &'static str {
        use Phrasing::{Description, Question, Rehearsal, Statement};
        match (self, phrasing) {
            (Self::Home, Question) => "question : where does {} live ? answer :",
            (Self::Home, Statement) => "{} lives in",
            (Self::Home, Rehearsal) => "question : which city is the home of {} ? answer :",
            (Self::Home, Description) => "the home of {} is",
            (Self::Profession, Question) => "question : what work does {} do ? answer :",
            (Self::Profession, Statement) => "{} works as",
            (Self::Profession, Rehearsal) => "question : which profession is that of {} ? answer :",
            (Self::Profession, Description) => "the profession of {} is",
            (Self::Food, Question) => "question : what does {} like to eat ? answer :",
            (Self::Food, Statement) => "{} likes to eat",
            (Self::Food, Rehearsal) => "question : which food is the favourite of {} ? answer :",
            (Self::Food, Description) => "the favourite food of {} is",
            (Self::Pet, Question) => "question : which animal does {} keep ? answer :",
            (Self::Pet, Statement) => "{} keeps",
            (Self::Pet, Rehearsal) => "question : what is the pet of {} ? answer :",
            (Self::Pet, Description) => "the pet of {} is",
        }
    }

    /// Words of the templates, without the place of the name.
    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .flat_map(|attribute| Phrasing::ALL.map(|phrasing| attribute.template(phrasing)))
            .flat_map(str::split_whitespace)
            .filter(|word| *word != "{}")
    }

    pub(super) fn draw(self, rng: &mut impl Rng) -> &'static str {
        self.values().choose(rng).copied().unwrap_or_default()
    }
}
