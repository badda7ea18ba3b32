use tokenizers::{
    AddedToken, Tokenizer, models::wordlevel::WordLevel,
    pre_tokenizers::whitespace::WhitespaceSplit, processors::template::TemplateProcessing,
};

use super::{
    WorldError,
    vocabulary::{BOS, SPECIAL, UNK},
};

pub(super) fn build(vocabulary: &[String]) -> Result<Tokenizer, WorldError> {
    assemble(vocabulary).map_err(WorldError::Tokenizer)
}

fn assemble(vocabulary: &[String]) -> tokenizers::Result<Tokenizer> {
    let vocab = (0..).zip(vocabulary).map(|(id, word)| (word.clone(), id)).collect();
    let model =
        WordLevel::builder().vocab(vocab).unk_token(SPECIAL[UNK as usize].to_owned()).build()?;
    let bos = SPECIAL[BOS as usize];
    let template = TemplateProcessing::builder()
        .try_single(format!("{bos} $A"))?
        .special_tokens(vec![(bos, BOS)])
        .build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    tokenizer.with_post_processor(Some(template));
    tokenizer.add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)))?;
    Ok(tokenizer)
}
