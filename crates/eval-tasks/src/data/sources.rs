use std::path::PathBuf;

use super::HubSource;

/// Where data sets are looked for.
///
/// A data set `owner/name` of the hub with the configuration `c` is looked for in each root:
///
/// 1. in a folder `owner/name`, `owner__name`, `owner--name` or `name`, there in `c/`,
///    `dataset/c/`, `data/c/`, `data/` and the folder itself, and
/// 2. as a file `task.split.jsonl`, `c.split.jsonl`, `name.split.jsonl` or `name.c.split.jsonl` in
///    the root itself.
///
/// Case does not matter, `-` and `_` are the same, and any form of file that `record-files` reads
/// will do. In a folder the split's files are `split.jsonl`, `split-00000-of-00001.parquet`,
/// `anything.split.jsonl`, `c.split.jsonl` and the like; `validation` is also called `dev`, `valid`
/// and `val`. Where a file is found without the configuration in its path and its rows have a
/// column `subject`, `subset` or `config`, only the rows of the configuration are taken.
#[derive(Clone, Default)]
pub struct DataSources<'a> {
    /// Folders, in order.
    pub roots: Vec<PathBuf>,
    /// Asked where no root has the data.
    pub hub: Option<&'a dyn HubSource>,
}
