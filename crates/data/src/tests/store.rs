use std::sync::{Arc, Mutex};

use super::{templates::bytes_tokenizer, *};

/// Two files of which the second has several samples a record.
fn files(folder: &Path) -> Vec<DataFile> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        DataFile::new(path).with_task_type(7)
    };
    let row =
        |n: usize| format!("{{\"question\": \"q{n}\", \"answer\": \"a{}\"}}\n", "é".repeat(n % 50));
    let turn = |role: &str, n: usize| format!("{{\"role\": \"{role}\", \"content\": \"{n}\"}}");
    let chat = |n: usize| {
        let turns: Vec<_> =
            (0..n % 4 + 1).flat_map(|at| [turn("user", at), turn("assistant", n)]).collect();
        format!("{{\"messages\": [{}]}}\n", turns.join(", "))
    };
    vec![
        write("a.jsonl", (0..700).map(row).collect()),
        write("b.jsonl", (0..30).map(chat).collect()),
    ]
}

fn config() -> EncodeConfig {
    let chat = ChatConfig { train_on: TrainOn::EachTurn };
    EncodeConfig {
        template: PromptTemplate::Plain,
        max_length: 80,
        chat,
        ..EncodeConfig::default()
    }
}

fn tokenizer() -> model_zoo::TextTokenizer {
    const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}|{% endfor %}\
                            {% if add_generation_prompt %}<assistant>{% endif %}";
    bytes_tokenizer().with_chat_template(TEMPLATE).unwrap()
}

fn stored(folder: &Path) -> (SampleStore, Encoded) {
    let (tokenizer, files) = (tokenizer(), files(folder));
    let done = Mutex::new(Vec::new());
    let note = |count| done.lock().unwrap().push(count);
    let at = folder.join("store");
    let made_of = serde_json::json!({"a": 1});
    let store = store_samples(&at, &files, &tokenizer, &config(), made_of, &note).unwrap();
    assert_eq!(*done.lock().unwrap(), [256, 512, 700, 730]);
    (store, encode_rows(&read_records(&files).unwrap(), &tokenizer, &config()).unwrap())
}

#[test]
fn stored_samples_are_those_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (store, encoded) = stored(folder.path());
    assert!(encoded.report.truncated > 0 && encoded.samples.len() > 700);
    assert_eq!(store.info().report, encoded.report);
    assert_eq!(store.info().ends, [700, encoded.samples.len()]);
    assert_eq!((store.info().rows, store.len()), (730, encoded.samples.len()));
    let again = SampleStore::open(&folder.path().join("store")).unwrap().unwrap();
    for store in [store, again] {
        for (at, sample) in encoded.samples.iter().enumerate().rev() {
            assert_eq!(store.read(at).unwrap(), *sample);
            assert_eq!(
                (store.tokens(at), store.targets(at)),
                (sample.len(), sample.target_count())
            );
            assert_eq!(store.task_type(at), Some(7));
        }
        let error = store.read(store.len()).unwrap_err().to_string();
        assert!(error.contains("is asked for of"), "{error}");
    }
    let left: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(SampleStore::open(&folder.path().join("absent")).unwrap().is_none());
}

#[test]
fn packed_rows_of_a_store_are_those_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (store, Encoded { samples, .. }) = stored(folder.path());
    let places: Vec<usize> = (0..samples.len()).filter(|at| at % 3 > 0).collect();
    let held: Vec<Sample> = places.iter().map(|at| samples[*at].clone()).collect();
    let stored = Samples::stored(Arc::new(store), places);
    for (stored, held) in [
        (stored.clone(), Samples::from(held.clone())),
        (stored.packed(200), Samples::from(held).packed(200)),
    ] {
        assert_eq!((stored.len(), stored.has_packed()), (held.len(), held.has_packed()));
        for at in 0..held.len() {
            assert_eq!(stored.get(at).unwrap(), held.get(at).unwrap());
            assert_eq!(stored.tokens(at), held.tokens(at));
            assert_eq!(stored.targets(at), held.targets(at));
            assert_eq!(stored.task_type(at), held.task_type(at));
        }
        assert!(stored.get(held.len()).is_err() && held.get(held.len()).is_err());
        assert_eq!(stored.first(3).unwrap(), held.first(3).unwrap());
    }
}

#[test]
fn a_store_that_fails_leaves_nothing_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a.jsonl");
    let at = folder.path().join("store");
    let store = |text: &str| {
        std::fs::write(&data, text).unwrap();
        let files = [data.clone().into()];
        store_samples(&at, &files, &tokenizer(), &config(), ().into(), &|_| ())
    };
    let row = "{\"question\": \"a\", \"answer\": \"b\"}\n";
    let error = store(&format!("{row}{{}}\n")).unwrap_err().to_string();
    assert!(error.contains("line 2: `question` is absent"), "{error}");
    let typed = row.replace('}', ", \"task_type\": 1}");
    let error = store(&format!("{row}{typed}")).unwrap_err().to_string();
    assert!(error.contains("line 1 has no `task_type` but"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);

    store(&row.repeat(3)).unwrap();
    for name in ["samples.bin", "index.bin", "store.json"] {
        let whole = std::fs::read(at.join(name)).unwrap();
        std::fs::write(at.join(name), &whole[..whole.len() - 1]).unwrap();
        let error = SampleStore::open(&at).unwrap_err().to_string();
        assert!(error.contains("remove the folder"), "{error}");
        std::fs::write(at.join(name), whole).unwrap();
    }
    let mut index = std::fs::read(at.join("index.bin")).unwrap();
    index[28] ^= 1;
    std::fs::write(at.join("index.bin"), index).unwrap();
    let error = SampleStore::open(&at).unwrap_err().to_string();
    assert!(
        error.contains("where the last one ends") || error.contains("the samples end"),
        "{error}"
    );
}
