use std::fmt;
use std::marker::PhantomData;

use indexmap::IndexMap;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The named values of one row, in the order of the file.
///
/// Two rows are equal if they have equal values under the same names, in any order. Objects below
/// the first level keep their keys in alphabetical order, unless the values are
/// [`OrderedValue`](crate::OrderedValue)s.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<V = Value>(IndexMap<String, V>);

impl<V> Default for Row<V> {
    fn default() -> Self {
        Self(IndexMap::new())
    }
}

impl<V> Row<V> {
    /// The value of a column.
    pub fn get(&self, column: &str) -> Option<&V> {
        self.0.get(column)
    }

    /// Sets a column; a new one comes last.
    pub fn insert(&mut self, column: impl Into<String>, value: impl Into<V>) {
        self.0.insert(column.into(), value.into());
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Columns and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(column, value)| (column.as_str(), value))
    }

    /// The values by column.
    pub(crate) fn into_values(self) -> IndexMap<String, V> {
        self.0
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> FromIterator<(String, V)> for Row<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for Row<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, value) in &self.0 {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Row<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor(PhantomData))
    }
}

struct RowVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for RowVisitor<V> {
    type Value = Row<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object, the values of a row by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<V>, A::Error> {
        let mut row = IndexMap::with_capacity(map.size_hint().unwrap_or(0));
        while let Some((column, value)) = map.next_entry()? {
            row.insert(column, value);
        }
        Ok(Row(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_order_and_equality_ignores_it() {
        let text = r#"{"z":1,"a":[true,null],"m":{"b":2}}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        assert_eq!(row.columns().collect::<Vec<_>>(), ["z", "a", "m"]);
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        let other: Row = serde_json::from_str(r#"{"m":{"b":2},"a":[true,null],"z":1}"#).unwrap();
        assert_eq!(row, other);
        assert!(serde_json::from_str::<Row>("[1]").is_err());
    }
}
