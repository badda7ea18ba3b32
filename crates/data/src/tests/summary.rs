use super::{encoder::TestEncoder, *};

#[test]
fn rows_lengths_and_duplicates_are_counted() {
    let long = completion("a", " b c d e f g");
    let records = [
        completion("a", " b"),
        completion("a", " b"),
        completion("a", " b c"),
        long,
        completion("a b c d e f", " g"),
    ];
    let config = EncodeConfig { max_length: 6, ..EncodeConfig::default() };
    let encoded = encode_rows(&records, &TestEncoder::new(), &config).unwrap();
    assert_eq!(encoded.rows, [0, 1, 2, 3]);
    let summary = DataSummary::of(records.len(), &encoded);
    let expected = DataSummary {
        rows: 5,
        samples: 4,
        tokens: 4 + 4 + 5 + 6,
        learned_tokens: 2 + 2 + 3 + 4,
        min_length: 4,
        median_length: 4,
        p95_length: 6,
        max_length: 6,
        cut_rows: 2,
        dropped_rows: 1,
        duplicates: 1,
    };
    assert_eq!(summary, expected);
}
