use super::{
    encoder::{ChatStyle, TestEncoder},
    templates::bytes_tokenizer,
    *,
};

const TALK: [(Role, &str); 6] = [
    (Role::System, "be brief"),
    (Role::User, "capital of france"),
    (Role::Assistant, "paris"),
    (Role::User, "thanks"),
    (Role::Assistant, " it is . "),
    (Role::User, "hello"),
];

fn shown(chat: ChatStyle) -> Result<(String, EncodeReport), DataError> {
    let mut encoder = TestEncoder::new();
    encoder.chat = chat;
    let (samples, report) =
        encode_records(&[conversation(&TALK)], &encoder, &EncodeConfig::default())?;
    Ok((encoder.show(&samples[0]), report))
}

#[test]
fn every_assistant_turn_with_its_marker_is_a_target() {
    let (text, report) = shown(ChatStyle::Marked).unwrap();
    let expected = "<|im_start|> system be brief <|im_end|> <|im_start|> user capital of france \
                    <|im_end|> <|im_start|> assistant [paris] [<|im_end|>] <|im_start|> user \
                    thanks <|im_end|> <|im_start|> assistant [it] [is] [.] [<|im_end|>]";
    assert_eq!(text, expected);
    assert_eq!((report.target_tokens, report.boundary_splits), (6, 0));
}

#[test]
fn the_end_token_closes_a_template_without_markers() {
    let (text, _) = shown(ChatStyle::Bare).unwrap();
    let expected = "system : be brief user : capital of france assistant : [paris] user : thanks \
                    assistant : [it] [is] [.] [</s>]";
    assert_eq!(text, expected);
}

#[test]
fn a_template_without_prefix_property_is_an_error() {
    let error = shown(ChatStyle::Counting).unwrap_err();
    assert!(matches!(error, DataError::ChatPrefix { turn: 2, .. }), "{error}");
    assert!(error.to_string().starts_with("test.jsonl, line 1: the chat template renders"));
}

fn trained_on(chat: ChatStyle, train_on: TrainOn) -> Result<Vec<String>, DataError> {
    let mut encoder = TestEncoder::new();
    encoder.chat = chat;
    let config = EncodeConfig { chat: ChatConfig { train_on }, ..EncodeConfig::default() };
    let (samples, _) = encode_records(&[conversation(&TALK)], &encoder, &config)?;
    Ok(samples.iter().map(|sample| encoder.show(sample)).collect())
}

#[test]
fn each_turn_is_a_sample_as_it_is_at_generation() {
    let first = "system : be brief <|im_end|> user : capital of france <|im_end|> assistant : \
                 [paris] [<|im_end|>]";
    let second = "system : be brief <|im_end|> user : capital of france <|im_end|> assistant : .. \
                  <|im_end|> user : thanks <|im_end|> assistant : [it] [is] [.] [<|im_end|>]";
    let found = trained_on(ChatStyle::Forgetful, TrainOn::EachTurn).unwrap();
    assert_eq!(found, [first, second]);
    assert_eq!(trained_on(ChatStyle::Forgetful, TrainOn::LastTurn).unwrap(), [second]);
    let error = trained_on(ChatStyle::Forgetful, TrainOn::AllTurns).unwrap_err();
    assert!(error.to_string().contains("each_turn"), "{error}");
}

#[test]
fn a_text_that_changes_before_the_turn_is_an_error() {
    for train_on in [TrainOn::LastTurn, TrainOn::EachTurn] {
        let error = trained_on(ChatStyle::Counting, train_on).unwrap_err();
        assert!(matches!(error, DataError::ChatPrefix { .. }), "{error}");
    }
}

#[test]
fn what_a_template_marks_is_learned_and_nothing_else() {
    let found = trained_on(ChatStyle::Marking, TrainOn::AllTurns).unwrap();
    let expected = "system : be brief <|im_end|> user : capital of france <|im_end|> assistant : \
                    [paris] <|im_end|> user : thanks <|im_end|> assistant : [it] [is] [.]";
    assert_eq!(found, [expected]);
    let last = expected.replace("[paris]", "paris");
    assert_eq!(trained_on(ChatStyle::Marking, TrainOn::LastTurn).unwrap(), [last]);
    assert_eq!(trained_on(ChatStyle::Marking, TrainOn::EachTurn).unwrap().len(), 2);
}

#[test]
fn turns_that_are_not_to_be_learned_are_read_only() {
    let learned = |chat, train_on, unlearned: usize| {
        let mut encoder = TestEncoder::new();
        encoder.chat = chat;
        let mut record = conversation(&TALK);
        let RecordContent::Dialogue(dialogue) = &mut record.content else { panic!("shape") };
        dialogue.messages[unlearned].train = false;
        let config = EncodeConfig { chat: ChatConfig { train_on }, ..EncodeConfig::default() };
        let (samples, _) = encode_records(&[record], &encoder, &config).unwrap();
        samples.iter().map(|sample| encoder.show(sample)).collect::<Vec<_>>()
    };
    for chat in [ChatStyle::Bare, ChatStyle::Marking] {
        for train_on in [TrainOn::AllTurns, TrainOn::LastTurn, TrainOn::EachTurn] {
            let first = learned(chat, train_on, 4);
            assert_eq!(first.len(), 1);
            assert!(first[0].contains("assistant : [paris]"), "{first:?}");
            assert!(!first[0].contains("thanks"), "what follows teaches nothing: {first:?}");
            let second = learned(chat, train_on, 2);
            assert_eq!(second.len(), 1);
            assert!(second[0].contains("assistant : paris"), "{second:?}");
            assert!(second[0].contains("[it] [is] [.]"), "{second:?}");
        }
    }
}

#[test]
fn a_conversation_without_a_turn_to_learn_is_dropped_and_counted() {
    let mut record = conversation(&TALK[..3]);
    let RecordContent::Dialogue(dialogue) = &mut record.content else { panic!("shape") };
    dialogue.messages[2].train = false;
    let records = [record, conversation(&TALK[..3])];
    let encoded = encode_rows(&records, &TestEncoder::new(), &EncodeConfig::default()).unwrap();
    assert_eq!((encoded.rows, encoded.dropped_rows), (vec![1], [0].into()));
    assert_eq!(encoded.report.dropped_without_target, 1);
}

#[test]
fn a_failing_template_is_named_with_its_record() {
    let error = shown(ChatStyle::Missing).unwrap_err().to_string();
    let expected = "test.jsonl, line 1: rendering the chat template failed: no chat template";
    assert_eq!(error, expected);
}

#[test]
fn prompt_of_a_conversation_ends_before_its_last_answer() {
    let encoder = TestEncoder::new();
    let record = conversation(&TALK);
    let prompt = encode_prompt(&record, &encoder, &PromptTemplate::Alpaca).unwrap();
    let (samples, _) = encode_records(&[record], &encoder, &EncodeConfig::default()).unwrap();
    assert_eq!(samples[0].input_ids[..prompt.len()], prompt);
    assert_eq!(encoder.words(&samples[0].input_ids[prompt.len()..]), "it is . <|im_end|>");
}

#[test]
fn an_answer_that_begins_like_the_thought_of_the_prompt_is_whole() {
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}\
                    {% if add_generation_prompt %}<assistant><think>\n{% endif %}";
    let tokenizer = bytes_tokenizer().with_chat_template(template).unwrap();
    let talk = [(Role::User, "a"), (Role::Assistant, "<table>"), (Role::User, "b")];
    for train_on in [TrainOn::AllTurns, TrainOn::LastTurn, TrainOn::EachTurn] {
        let config = EncodeConfig { chat: ChatConfig { train_on }, ..EncodeConfig::default() };
        let (samples, report) =
            encode_records(&[conversation(&talk)], &tokenizer, &config).unwrap();
        let pieces = Piece::of(&samples[0], &tokenizer).unwrap();
        let learned = pieces.iter().filter(|piece| piece.learned);
        let learned: Vec<_> = learned.map(|piece| piece.text.as_str()).collect();
        assert_eq!(learned, ["<table>", "</s>"], "{pieces:?}");
        assert_eq!(report.boundary_splits, 0);
    }
}
