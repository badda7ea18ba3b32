use indexmap::IndexMap;

use crate::TaskError;
use crate::yaml::{Fields, Node, NodeKind, Place};

/// Tasks under one name, with a weighted mean of their results.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// The name.
    pub group: String,
    /// The name in tables.
    pub group_alias: Option<String>,
    /// The members.
    pub task: Vec<GroupMember>,
    /// What is averaged over all tasks below.
    pub aggregate_metric_list: Vec<AggregateMetric>,
    /// Keys of tasks that are set for all members.
    pub overrides: IndexMap<String, Node>,
    /// Where it is defined.
    pub place: Place,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub enum GroupMember {
    /// The name of a task, a group or a tag.
    Name(String),
    /// A task by name with other values for some keys, or a whole task.
    Task {
        /// The name.
        name: String,
        /// The keys.
        keys: IndexMap<String, Node>,
        /// Where it stands.
        place: Place,
    },
    /// A group by name with other values for some keys, or a whole group.
    Group(Box<GroupConfig>),
}

/// An entry of `aggregate_metric_list`.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateMetric {
    /// The metric.
    pub metric: String,
    /// The filters; all that the tasks have if `None`.
    pub filter_list: Option<Vec<String>>,
    /// Whether a task counts by its documents; otherwise all tasks count the same.
    pub weight_by_size: bool,
}

impl GroupConfig {
    pub(crate) fn read(place: Place, map: IndexMap<String, Node>) -> Result<Self, TaskError> {
        let mut fields = Fields::new(place.clone(), "", map);
        let group = fields.need("group", "it is the name")?.name("group")?;
        let group_alias = fields.take_with("group_alias", Node::name)?;
        let aggregate_metric_list =
            fields.take_with("aggregate_metric_list", aggregates)?.unwrap_or_default();
        fields.take("metadata");
        fields.take("tag");
        let task = match fields.take("task") {
            None => Vec::new(),
            Some(node) => match &node.kind {
                NodeKind::Sequence(items) => {
                    items.iter().map(GroupMember::read).collect::<Result<_, _>>()?
                }
                _ => vec![GroupMember::Name(node.name("task")?)],
            },
        };
        Ok(Self {
            group,
            group_alias,
            task,
            aggregate_metric_list,
            overrides: fields.rest(),
            place,
        })
    }
}

impl GroupMember {
    fn read(node: &Node) -> Result<Self, TaskError> {
        let NodeKind::Mapping(map) = &node.kind else {
            return Ok(Self::Name(node.name("task")?));
        };
        let mut keys = map.clone();
        if keys.contains_key("group") {
            return Ok(Self::Group(Box::new(GroupConfig::read(node.place.clone(), keys)?)));
        }
        match keys.shift_remove("task") {
            Some(name) => {
                Ok(Self::Task { name: name.name("task")?, keys, place: node.place.clone() })
            }
            None => Err(node.wrong("task", "a name, or a mapping with `task` or `group`")),
        }
    }
}

fn aggregates(node: &Node, key: &str) -> Result<Vec<AggregateMetric>, TaskError> {
    let entries = match &node.kind {
        NodeKind::Mapping(_) => std::slice::from_ref(node),
        _ => node.items(key)?,
    };
    entries
        .iter()
        .map(|entry| {
            let mut fields = Fields::of(entry, key)?;
            let metric = fields.need("metric", "it names what is averaged")?.name(key)?;
            let filter_list = fields.take_with("filter_list", Node::texts)?;
            if let Some(aggregation) = fields.take("aggregation")
                && aggregation.scalar().and_then(|value| value.as_str()) != Some("mean")
            {
                return Err(aggregation.wrong("aggregate_metric_list.aggregation", "mean"));
            }
            let weight_by_size = fields.take_with("weight_by_size", Node::boolean)?.unwrap_or(true);
            fields.finish()?;
            Ok(AggregateMetric { metric, filter_list, weight_by_size })
        })
        .collect()
}
