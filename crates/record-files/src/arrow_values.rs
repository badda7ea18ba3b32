//! Columns of Arrow as JSON values.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, GenericListArray, OffsetSizeTrait};
use arrow_schema::DataType;
use serde_json::{Number, Value};

use crate::OrderedValue;

/// The values of a column: bytes become a list of numbers, a float that is not finite null, and a
/// value of a dictionary stands for itself. `Err` has the type that a row cannot hold: times,
/// decimals, maps, unions and run-ends.
pub(crate) fn values(array: &dyn Array) -> Result<Vec<OrderedValue>, DataType> {
    let len = array.len();
    Ok(match array.data_type() {
        DataType::Null => vec![OrderedValue::Null; len],
        DataType::Boolean => each(array.as_boolean().iter(), Value::from),
        DataType::Int8 => numbers::<Int8Type>(array, Value::from),
        DataType::Int16 => numbers::<Int16Type>(array, Value::from),
        DataType::Int32 => numbers::<Int32Type>(array, Value::from),
        DataType::Int64 => numbers::<Int64Type>(array, Value::from),
        DataType::UInt8 => numbers::<UInt8Type>(array, Value::from),
        DataType::UInt16 => numbers::<UInt16Type>(array, Value::from),
        DataType::UInt32 => numbers::<UInt32Type>(array, Value::from),
        DataType::UInt64 => numbers::<UInt64Type>(array, Value::from),
        DataType::Float16 => numbers::<Float16Type>(array, |value| float(value.to_f64())),
        DataType::Float32 => numbers::<Float32Type>(array, |value| float(value.into())),
        DataType::Float64 => numbers::<Float64Type>(array, float),
        DataType::Utf8 => each(array.as_string::<i32>().iter(), Value::from),
        DataType::LargeUtf8 => each(array.as_string::<i64>().iter(), Value::from),
        DataType::Utf8View => each(array.as_string_view().iter(), Value::from),
        DataType::Binary => each(array.as_binary::<i32>().iter(), Value::from),
        DataType::LargeBinary => each(array.as_binary::<i64>().iter(), Value::from),
        DataType::BinaryView => each(array.as_binary_view().iter(), Value::from),
        DataType::FixedSizeBinary(_) => each(array.as_fixed_size_binary().iter(), Value::from),
        DataType::List(_) => lists(array.as_list::<i32>())?,
        DataType::LargeList(_) => lists(array.as_list::<i64>())?,
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let items = values(array.as_fixed_size_list().values().as_ref())?;
            cut(array, items, |at| (at * size, (at + 1) * size))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let mut columns =
                columns.map(|column| values(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let object = |row: usize| {
                let fields = fields.iter().zip(&mut columns);
                let taken = fields.map(|(field, column)| {
                    (field.name().clone(), column.get_mut(row).map(take).unwrap_or_default())
                });
                OrderedValue::Object(taken.collect())
            };
            let mut all: Vec<OrderedValue> = (0..len).map(object).collect();
            blank(array, &mut all);
            all
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let known = values(dictionary.values().as_ref())?;
            // Without known values all are null, and there are no keys to ask for.
            let keys = match known.is_empty() {
                true => vec![0; len],
                false => dictionary.normalized_keys(),
            };
            let mut all: Vec<OrderedValue> =
                keys.into_iter().map(|key| known.get(key).cloned().unwrap_or_default()).collect();
            blank(array, &mut all);
            all
        }
        other => return Err(other.clone()),
    })
}

fn each<T>(
    items: impl Iterator<Item = Option<T>>,
    value: impl Fn(T) -> Value,
) -> Vec<OrderedValue> {
    items.map(|item| item.map_or(OrderedValue::Null, |item| value(item).into())).collect()
}

fn numbers<T: ArrowPrimitiveType>(
    array: &dyn Array,
    value: impl Fn(T::Native) -> Value,
) -> Vec<OrderedValue> {
    each(array.as_primitive::<T>().iter(), value)
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn lists<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<Vec<OrderedValue>, DataType> {
    let items = values(list.values().as_ref())?;
    let offsets = list.offsets();
    let end = |at: usize| offsets.get(at).map_or(0, |offset| offset.as_usize());
    Ok(cut(list, items, |at| (end(at), end(at + 1))))
}

/// The items of each list, which stand from one place to another.
fn cut(
    array: &dyn Array,
    mut items: Vec<OrderedValue>,
    range: impl Fn(usize) -> (usize, usize),
) -> Vec<OrderedValue> {
    let list = |at: usize| {
        let (from, to) = range(at);
        let items = items.get_mut(from..to).unwrap_or_default();
        OrderedValue::Array(items.iter_mut().map(take).collect())
    };
    let mut lists: Vec<OrderedValue> = (0..array.len()).map(list).collect();
    blank(array, &mut lists);
    lists
}

/// Puts null where the column has none.
fn blank(array: &dyn Array, values: &mut [OrderedValue]) {
    for (at, value) in values.iter_mut().enumerate() {
        if array.is_null(at) {
            *value = OrderedValue::Null;
        }
    }
}

fn take(value: &mut OrderedValue) -> OrderedValue {
    std::mem::take(value)
}
