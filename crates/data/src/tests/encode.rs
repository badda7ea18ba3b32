use super::{encoder::TestEncoder, *};

fn shown(record: Record, config: &EncodeConfig) -> (String, EncodeReport) {
    let encoder = TestEncoder::new();
    let (samples, report) = encode_records(&[record], &encoder, config).unwrap();
    (encoder.show(&samples[0]), report)
}

fn custom(text: &str) -> EncodeConfig {
    with_template(PromptTemplate::Custom(text.into()))
}

#[test]
fn answer_and_end_token_are_the_targets() {
    let config = custom("Q: {instruction} A:");
    let (text, report) = shown(instruction("capital of france", "", "paris ."), &config);
    assert_eq!(text, "<s> Q : capital of france A : [paris] [.] [</s>]");
    let expected =
        EncodeReport { samples: 1, tokens: 11, target_tokens: 3, ..EncodeReport::default() };
    assert_eq!(report, expected);
    let silent = EncodeConfig { append_eos: false, ..config };
    let (text, _) = shown(instruction("capital of france", "", "paris ."), &silent);
    assert_eq!(text, "<s> Q : capital of france A : [paris] [.]");
}

#[test]
fn a_merge_across_the_boundary_is_split_and_counted() {
    // Together "A:" and "." would be the one token ":.".
    let (text, report) = shown(instruction("a", "", ". b"), &custom("Q: {instruction} A:"));
    assert_eq!(text, "<s> Q : a A : [.] [b] [</s>]");
    assert_eq!(report.boundary_splits, 1);
}

#[test]
fn plain_separates_with_the_end_token() {
    let config = with_template(PromptTemplate::Plain);
    let (text, report) = shown(instruction("name it", "a", "b"), &config);
    assert_eq!(text, "<s> name it a </s> [b] [</s>]");
    assert_eq!(report.boundary_splits, 0);
}

#[test]
fn finished_prompts_are_literal_unless_chat() {
    for template in [PromptTemplate::Alpaca, PromptTemplate::Plain] {
        let (text, _) = shown(completion("a b", " c"), &with_template(template));
        assert_eq!(text, "<s> a b [c] [</s>]");
    }
    let (text, _) = shown(completion("a", "b"), &with_template(PromptTemplate::Chat));
    let expected = "<|im_start|> user a <|im_end|> <|im_start|> assistant [b] [<|im_end|>]";
    assert_eq!(text, expected);
    let (text, _) = shown(completion("", "a b"), &EncodeConfig::default());
    assert_eq!(text, "<s> [a] [b] [</s>]");
}

#[test]
fn all_of_a_text_is_learned() {
    let encoder = TestEncoder::new();
    for template in [PromptTemplate::Alpaca, PromptTemplate::Plain, PromptTemplate::Chat] {
        let text = record(RecordContent::Text("a b".into()));
        assert_eq!(encode_prompt(&text, &encoder, &template).unwrap(), [0]);
        assert_eq!(shown(text, &with_template(template)).0, "<s> [a] [b] [</s>]");
    }
}

#[test]
fn system_and_history_need_a_chat_template() {
    let mut record = instruction("thanks", "", "hello");
    let RecordContent::Instruction(content) = &mut record.content else { panic!("shape") };
    content.system = Some("be brief".into());
    content.history = vec![("name".into(), "paris".into())];
    let encoder = TestEncoder::new();
    for template in [PromptTemplate::Alpaca, PromptTemplate::Plain] {
        let one = std::slice::from_ref(&record);
        let error = encode_records(one, &encoder, &with_template(template)).unwrap_err();
        let expected = "test.jsonl, line 1: has `system`, which the prompt template drops; set \
                        `template` to \"chat\"";
        assert_eq!(error.to_string(), expected);
    }
    let (text, _) = shown(record, &with_template(PromptTemplate::Chat));
    let expected = "<|im_start|> system be brief <|im_end|> <|im_start|> user name <|im_end|> \
                    <|im_start|> assistant [paris] [<|im_end|>] <|im_start|> user thanks <|im_end|> \
                    <|im_start|> assistant [hello] [<|im_end|>]";
    assert_eq!(text, expected);
}

#[test]
fn train_on_prompt_leaves_out_only_the_first_position() {
    let config = EncodeConfig { train_on_prompt: true, ..EncodeConfig::default() };
    assert_eq!(shown(completion("a", "b"), &config).0, "<s> [a] [b] [</s>]");
}

#[test]
fn prompt_for_generation_is_the_masked_beginning() {
    let encoder = TestEncoder::new();
    let templates = [
        PromptTemplate::Alpaca,
        PromptTemplate::Plain,
        PromptTemplate::Chat,
        PromptTemplate::default(),
    ];
    for template in templates {
        for record in [instruction("name", "it", ". a"), completion("a", "b")] {
            let prompt = encode_prompt(&record, &encoder, &template).unwrap();
            let config = with_template(template.clone());
            let (samples, _) = encode_records(&[record], &encoder, &config).unwrap();
            let masked = samples[0].target_mask.iter().position(|&target| target).unwrap();
            assert_eq!(prompt, samples[0].input_ids[..masked]);
        }
    }
}

#[test]
fn truncation_and_dropping_are_counted() {
    let encoder = TestEncoder::new();
    let records =
        [completion("a", " b c"), completion("a b", " c d e"), completion("a b c d e", " f")];
    let config = EncodeConfig { max_length: 5, ..EncodeConfig::default() };
    let (samples, report) = encode_records(&records, &encoder, &config).unwrap();
    let texts: Vec<_> = samples.iter().map(|sample| encoder.show(sample)).collect();
    assert_eq!(texts, ["<s> a [b] [c] [</s>]", "<s> a b [c] [d]"]);
    let expected = EncodeReport {
        samples: 2,
        truncated: 2,
        dropped_without_target: 1,
        boundary_splits: 0,
        tokens: 10,
        target_tokens: 5,
    };
    assert_eq!(report, expected);
    let error = encode_records(&records[2..], &encoder, &config).unwrap_err();
    assert!(matches!(error, DataError::NoTargets { report } if report.truncated == 1), "{error}");
}

#[test]
fn task_types_are_kept_and_must_be_complete() {
    let encoder = TestEncoder::new();
    let typed = Record { task_type: Some(1), ..completion("a", "b") };
    let config = EncodeConfig::default();
    let (samples, _) = encode_records(std::slice::from_ref(&typed), &encoder, &config).unwrap();
    assert_eq!(samples[0].task_type, Some(1));
    let error = encode_records(&[typed, completion("a", "b")], &encoder, &config).unwrap_err();
    assert!(matches!(error, DataError::MixedTaskTypes { .. }), "{error}");
}

#[test]
fn a_missing_end_token_is_an_error_where_needed() {
    let mut encoder = TestEncoder::new();
    encoder.eos = None;
    let records = [instruction("a", "", "b")];
    let encode = |config: &EncodeConfig| encode_records(&records, &encoder, config);
    let error = encode(&EncodeConfig::default()).unwrap_err();
    assert!(error.to_string().contains("which `append_eos` needs"), "{error}");
    let silent = EncodeConfig { append_eos: false, ..EncodeConfig::default() };
    assert!(encode(&silent).is_ok());
    let plain = EncodeConfig { template: PromptTemplate::Plain, ..silent };
    assert!(matches!(encode(&plain), Err(DataError::NoEndToken { .. })));
    assert!(matches!(encode_records(&[], &encoder, &plain), Err(DataError::NoRecords(_))));
}
