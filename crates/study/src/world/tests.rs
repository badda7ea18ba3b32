use std::collections::{HashMap, HashSet};

use super::*;

fn world() -> World {
    World::new(&WorldConfig::default()).unwrap()
}

/// Everything the world says, in one list.
fn all_text(world: &World) -> Vec<String> {
    let exchanges = [
        world.instruction(3000, 1),
        world.knowledge_questions(),
        world.knowledge_statements(),
        world.tasks_eval(50),
    ];
    let mut text = world.pretraining(1, 6000);
    text.extend(exchanges.iter().flatten().map(Exchange::text));
    text.extend(world.general_text_eval(500));
    text
}

#[test]
fn same_seed_same_world_and_other_seeds_differ() {
    assert_eq!(all_text(&world()), all_text(&world()));
    let other = World::new(&WorldConfig { seed: 1, ..WorldConfig::default() }).unwrap();
    assert_ne!(world().facts(), other.facts());
    assert_ne!(world().pretraining(0, 50), world().pretraining(1, 50));
    assert_ne!(world().instruction(50, 0), world().instruction(50, 1));
}

#[test]
fn amounts_of_tuning_data_nest_and_hold_the_share_of_knowledge() {
    let large = world().instruction(4000, 3);
    assert_eq!(world().instruction(500, 3), large[..500]);
    let knowledge = large.iter().filter(|exchange| exchange.task_type == KNOWLEDGE).count();
    assert!((300..500).contains(&knowledge), "{knowledge}");
}

#[test]
fn rehearsed_and_evaluated_facts_share_no_entity_and_no_phrasing() {
    let world = world();
    let tuned: HashSet<String> = world.instruction(8000, 0).into_iter().map(|e| e.prompt).collect();
    let name = |prompt: &str| {
        let found = world.facts().iter().find(|fact| prompt.contains(fact.name.as_str()));
        found.map(|fact| fact.name.clone())
    };
    let rehearsed: HashSet<String> = tuned.iter().filter_map(|prompt| name(prompt)).collect();
    assert_eq!(rehearsed.len(), world.config().rehearsed_entities());

    let questions = world.knowledge_questions();
    let statements = world.knowledge_statements();
    assert_eq!((questions.len(), statements.len()), (90 * 4, 90 * 4));
    for (question, statement) in questions.iter().zip(&statements) {
        assert_eq!(question.answer, statement.answer);
        for prompt in [&question.prompt, &statement.prompt] {
            assert!(!rehearsed.contains(&name(prompt).unwrap()));
        }
    }
    for attribute in Attribute::ALL {
        let pattern = |phrasing| attribute.prompt(phrasing, "X");
        let distinct: HashSet<String> = Phrasing::ALL.into_iter().map(pattern).collect();
        assert_eq!(distinct.len(), Phrasing::ALL.len());
    }
}

#[test]
fn evaluated_inputs_of_tasks_do_not_occur_in_tuning() {
    let world = world();
    let tuned: HashSet<String> = world.instruction(8000, 0).into_iter().map(|e| e.prompt).collect();
    let evaluated = world.tasks_eval(100);
    assert!(evaluated.iter().all(|exchange| !tuned.contains(&exchange.prompt)));
    for task in Task::ALL {
        assert_eq!(evaluated.iter().filter(|e| e.kind == ExchangeKind::Task(task)).count(), 100);
    }
}

#[test]
fn every_prompt_has_one_answer() {
    let world = world();
    let mut answers = HashMap::new();
    let facts = Phrasing::ALL
        .into_iter()
        .flat_map(|phrasing| world.facts().iter().map(move |fact| fact.exchange(phrasing)));
    for exchange in facts.chain(world.instruction(5000, 0)).chain(world.tasks_eval(50)) {
        let answer = answers.entry(exchange.prompt).or_insert_with(|| exchange.answer.clone());
        assert_eq!(*answer, exchange.answer);
    }
}

#[test]
fn pretraining_shows_every_fact_equally_often() {
    let world = world();
    let sentences: HashSet<String> = Phrasing::ALL
        .into_iter()
        .flat_map(|phrasing| world.facts().iter().map(move |fact| fact.exchange(phrasing).text()))
        .collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for sentence in world.pretraining(0, 9000) {
        if sentences.contains(&sentence) {
            *counts.entry(sentence).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), sentences.len());
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(most - least <= 1);
}

#[test]
fn every_word_is_known_and_text_survives_the_tokenizer() {
    let world = world();
    let tokenizer = world.tokenizer().unwrap();
    assert_eq!(tokenizer.get_vocab_size(true), world.vocabulary().len());
    assert!(world.vocabulary().len() < 500, "{}", world.vocabulary().len());
    for text in all_text(&world) {
        let encoding = tokenizer.encode(text.as_str(), false).unwrap();
        assert!(!encoding.get_ids().contains(&UNK), "{text}");
        assert!(encoding.len() <= 20, "{text}");
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), text);
    }
}

#[test]
fn tokenizer_is_a_genuine_file_with_its_special_tokens_in_place() {
    let json = world().tokenizer().unwrap().to_string(true).unwrap();
    let tokenizer: tokenizers::Tokenizer = json.parse().unwrap();
    for (token, id) in [("<pad>", PAD), ("<s>", BOS), ("</s>", EOS), ("<unk>", UNK)] {
        assert_eq!(tokenizer.token_to_id(token), Some(id));
    }
    let ids = |text, special| tokenizer.encode(text, special).unwrap().get_ids().to_vec();
    assert_eq!(ids("a nonsense", true)[0], BOS);
    assert_eq!(ids("a nonsense </s>", false)[1..], [UNK, EOS]);
}

#[test]
fn tasks_answer_as_documented() {
    let letters = [2, 0, 15];
    let answers = Task::ALL.map(|task| task.answer(&letters));
    assert_eq!(answers, ["c a p", "p a c", "a c p", "d b a", "p a c", "c", "p", "C A P"]);
    assert_eq!(Task::Swap.answer(&[0, 1, 2, 3]), "d b c a");
    assert_eq!(Task::Reverse.exchange(&letters).text(), "reverse : c a p -> p a c");
    assert_eq!(Task::Last.answer(&[]), "");
}

#[test]
fn impossible_worlds_are_refused() {
    let refused = |config: WorldConfig| World::new(&config).unwrap_err().to_string();
    let config = WorldConfig::default;
    assert!(refused(WorldConfig { entities: 1601, ..config() }).contains("1600"));
    assert!(refused(WorldConfig { knowledge_share: 1.5, ..config() }).contains("knowledge_share"));
    assert!(refused(WorldConfig { text_share: f64::NAN, ..config() }).contains("text_share"));
    assert!(refused(WorldConfig { rehearsed: 1.0, ..config() }).contains("all entities"));
    assert!(refused(WorldConfig { rehearsed: 0.0, ..config() }).contains("no entity"));
}

#[test]
fn every_task_has_inputs_for_tuning_and_for_evaluation() {
    let world = World::new(&WorldConfig::default()).unwrap();
    let per_task = 50;
    let inputs = world.tasks_eval(per_task);
    for task in Task::ALL {
        let of_task = inputs.iter().filter(|exchange| exchange.kind == ExchangeKind::Task(task));
        let distinct: std::collections::BTreeSet<_> = of_task.map(|e| &e.prompt).collect();
        // Inputs are drawn with replacement, so a few may recur.
        assert!(distinct.len() > 45, "{}: {}", task.name(), distinct.len());
    }
}

#[test]
fn the_values_of_attributes_are_words_of_one_attribute_only() {
    let all: Vec<_> = Attribute::ALL.iter().flat_map(|attribute| attribute.values()).collect();
    assert_eq!(all.len(), 4 * 24);
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert!(all.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())), "{all:?}");
}
