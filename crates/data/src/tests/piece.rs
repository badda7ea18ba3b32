use model_zoo::TextTokenizer;

use super::{templates::bytes_tokenizer, *};

#[test]
fn pieces_are_the_text_cut_by_what_is_learned_and_special() {
    let tokenizer: TextTokenizer = bytes_tokenizer();
    let text = "<s>ab é</s>";
    let ids = tokenizer.encode(text, false).unwrap();
    let mut target_mask = vec![false; ids.len()];
    target_mask[2..].fill(true);
    let sample = Sample { input_ids: ids, target_mask, task_type: None, ..Sample::default() };
    let pieces = Piece::of(&sample, &tokenizer).unwrap();
    let shown: Vec<_> =
        pieces.iter().map(|piece| (piece.text.as_str(), piece.learned, piece.special)).collect();
    let expected =
        [("<s>", false, true), ("a", false, false), ("b é", true, false), ("</s>", true, true)];
    assert_eq!(shown, expected);
}
