//! Caches of one row, and of rows in blocks.

use burn::tensor::Device;
use model_zoo::{BlockTable, CausalLm, Family, PagedCache};

use super::{IDS, close, family_config, input, tiny};
use crate::common::{Base, logits};

#[test]
fn cached_and_uncached_logits_are_equal_in_every_family() {
    for family in Family::ALL {
        let model = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let whole = logits(&model, &input(&IDS, 1), None);
        for parts in [vec![12], vec![5, 7], vec![1; 12], vec![3, 1, 1, 4, 3]] {
            let mut cache = model.new_cache();
            let mut found = Vec::new();
            let mut start = 0;
            for part in parts {
                let input = input(&IDS[start..start + part], 1);
                found.extend(logits(&model, &input, Some(&mut cache)));
                start += part;
            }
            assert_eq!(cache.len(), 12);
            close(&found, &whole);
        }
    }
}

#[test]
fn a_cache_grows_past_its_first_capacity() {
    let model = tiny();
    let ids: Vec<i64> = (0..150).map(|i| (i * 7) % 40).collect();
    let whole = logits(&model, &input(&ids, 1), None);
    let mut cache = model.new_cache();
    let mut found = logits(&model, &input(&ids[..60], 1), Some(&mut cache));
    for id in &ids[60..] {
        found.extend(logits(&model, &input(&[*id], 1), Some(&mut cache)));
    }
    close(&found, &whole);
}

/// The scores after each new token of rows over a cache of blocks.
fn paged(
    model: &Base,
    cache: &mut PagedCache,
    rows: &mut [(&mut BlockTable, &[i64])],
) -> Vec<Vec<f32>> {
    let vocab = model.vocab_size();
    let tokens: Vec<i64> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    for (table, ids) in rows.iter_mut() {
        assert!(cache.reserve(table, ids.len()));
    }
    let parts = rows.iter_mut().map(|(table, ids)| (&mut **table, ids.len()));
    let cache = cache.pass(parts);
    let all = logits(model, &input(&tokens, tokens.len()), Some(cache));
    all.chunks(vocab).map(<[f32]>::to_vec).collect()
}

#[test]
fn rows_in_blocks_are_those_of_any_family() {
    for family in Family::ALL {
        let model = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let vocab = model.vocab_size();
        let long: Vec<i64> = (0..45).map(|i| (i * 7 + i * i) % 40).collect();
        let alone = |ids: &[i64]| logits(&model, &input(ids, 1), None);
        let mut cache = PagedCache::new(&model, 100);
        let [mut first, mut second] = [BlockTable::default(), BlockTable::default()];
        let found =
            paged(&model, &mut cache, &mut [(&mut first, &long[..43]), (&mut second, &IDS)]);
        let found = [
            found,
            paged(&model, &mut cache, &mut [(&mut first, &long[43..44]), (&mut second, &[5])]),
            paged(&model, &mut cache, &mut [(&mut first, &long[44..])]),
        ]
        .concat();
        let of_long =
            [&found[..43], &[found[43 + IDS.len()].clone()], &[found[45 + IDS.len()].clone()]];
        close(&of_long.concat().concat(), &alone(&long));
        let of_other = [&found[43..43 + IDS.len()], &[found[44 + IDS.len()].clone()]];
        close(&of_other.concat().concat(), &alone(&[&IDS[..], &[5]].concat()));
        assert_eq!(found[0].len(), vocab);
    }
}

#[test]
fn rows_in_blocks_continue_as_alone_and_share_their_beginnings() {
    let model = tiny();
    let vocab = model.vocab_size();
    let alone = |ids: &[i64]| {
        let all = logits(&model, &input(ids, 1), None);
        all[all.len() - vocab..].to_vec()
    };
    let long: Vec<i64> = (0..37).map(|i| (i * 7 + i * i) % 40).collect();
    let mut cache = PagedCache::new(&model, 10 * PagedCache::BLOCK);
    let [mut first, mut second] = [BlockTable::default(), BlockTable::default()];
    // Rows of different lengths are read in one pass, and continued with different numbers.
    let found = paged(&model, &mut cache, &mut [(&mut first, &long), (&mut second, &IDS)]);
    close(&found[36], &alone(&long));
    close(&found[36 + IDS.len()], &alone(&IDS));
    let next = paged(&model, &mut cache, &mut [(&mut first, &[2]), (&mut second, &[9, 3])]);
    close(&next[0], &alone(&[&long[..], &[2]].concat()));
    close(&next[2], &alone(&[&IDS[..], &[9, 3]].concat()));
    // Of a beginning of 35 tokens, two blocks are shared and the third is a copy.
    assert_eq!((first.num_blocks(), second.num_blocks(), cache.free_blocks()), (3, 1, 6));
    let mut third = cache.share(&first, 35).unwrap();
    assert_eq!((third.len(), third.num_blocks(), cache.free_blocks()), (35, 3, 5));
    let kept = cache.keep(&first);
    let next = paged(&model, &mut cache, &mut [(&mut third, &[30, 2]), (&mut first, &[5])]);
    close(&next[1], &alone(&[&long[..35], &[30, 2]].concat()));
    close(&next[2], &alone(&[&long[..], &[2, 5]].concat()));
    // What was kept is as it was, also when the row is gone.
    cache.release(first);
    cache.release(third);
    let mut fourth = cache.share(&kept, 38).unwrap();
    let next = paged(&model, &mut cache, &mut [(&mut fourth, &[11])]);
    close(&next[0], &alone(&[&long[..], &[2, 11]].concat()));
    for table in [kept, second, fourth] {
        cache.release(table);
    }
    assert_eq!(cache.free_blocks(), cache.total_blocks());
    assert!(!cache.reserve(&mut BlockTable::default(), 161));
}

#[test]
fn a_beginning_is_copied_also_where_the_pool_has_to_grow_for_it() {
    let model = tiny();
    let vocab = model.vocab_size();
    let ids: Vec<i64> = (0..24).map(|i| (i * 7 + i * i) % 40).collect();
    let whole = logits(&model, &input(&[&ids[..], &[3]].concat(), 1), None);
    let mut cache = PagedCache::new(&model, 200 * PagedCache::BLOCK);
    let mut first = BlockTable::default();
    paged(&model, &mut cache, &mut [(&mut first, &ids)]);
    for _ in 0..150 {
        let mut other = cache.share(&first, 24).unwrap();
        let next = paged(&model, &mut cache, &mut [(&mut other, &[3])]);
        close(&next[0], &whole[24 * vocab..]);
    }
}
