//! Answers of classifiers are scored by their logits.
#![allow(clippy::unwrap_used)]

use std::fs;

use eval_tasks::{DataSources, MetricValue, Response, Task, TaskIndex};

#[test]
fn a_value_is_compared_with_the_number_that_is_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    let text = "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n\
                test_split: test\noutput_type: sequence_classification\n\
                doc_to_text: '{{sentence}}'\ndoc_to_target: score\n\
                metric_list: [{metric: pearson}, {metric: spearman}]\n";
    fs::write(&path, text).unwrap();
    let rows = "{\"sentence\": \"a\", \"score\": 2.5}\n{\"sentence\": \"b\", \"score\": 4.0}\n";
    fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    let selection = TaskIndex::shipped().unwrap().select(&[path.to_str().unwrap()]).unwrap();
    let (_, config) = selection.tasks.into_iter().next().unwrap();
    let task = Task::load(config, &DataSources::default(), None).unwrap();
    let score = task.score(1, &[vec![Response::Logits(vec![3.25])]]).unwrap();
    let metrics = &score.filters[0].metrics;
    assert_eq!(metrics.len(), 2);
    for metric in metrics {
        assert_eq!(metric.value, MetricValue::Values { target: 4.0, prediction: 3.25 });
    }
}
