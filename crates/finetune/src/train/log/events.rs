use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::crc32c::masked_crc32c;
use crate::train::TrainError;

/// A file of events as TensorBoard reads them: TensorFlow's records, each a protocol buffer `Event`.
///
/// Source: tensorflow/core/util/event.proto, and tensorflow/core/lib/io/record_writer.h.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in a folder, for a run that has made `steps` steps: what earlier files of the
    /// folder have of later steps counts no more.
    pub(super) fn create(folder: &Path, steps: usize) -> Result<Self, TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        // The name that TensorFlow gives, by which files are ordered; a process may begin two in a
        // second.
        let name = format!("events.out.tfevents.{:017.6}.{}", now(), std::process::id());
        let path = folder.join(name);
        let file = File::create(&path).map_err(TrainError::io(&path))?;
        let mut events = Self { path, file };
        let mut version = Message::event(0);
        version.bytes(3, b"brain.Event:2");
        events.record(version)?;
        if steps > 0 {
            let mut start = Message::event(steps + 1);
            let mut session = Message::default();
            session.varint(1, 1);
            start.bytes(7, &session.0);
            events.record(start)?;
        }
        Ok(events)
    }

    /// Writes the numbers of a line of metrics, by the names that transformers gives them: `eval_loss`
    /// is `eval/loss`, and `loss` is `train/loss`.
    pub(super) fn write(&mut self, line: &Value) -> Result<(), TrainError> {
        let Some(fields) = line.as_object() else { return Ok(()) };
        let mut summary = Message::default();
        for (name, value) in fields {
            let Some(number) = value.as_f64().filter(|_| name != "step") else { continue };
            let tag = match name.strip_prefix("eval_") {
                Some(name) => format!("eval/{name}"),
                None if name.contains('/') => name.clone(),
                None => format!("train/{name}"),
            };
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, number as f32);
            summary.bytes(1, &value.0);
        }
        if summary.0.is_empty() {
            return Ok(());
        }
        let mut event = Message::event(line["step"].as_u64().unwrap_or(0) as usize);
        event.bytes(5, &summary.0);
        self.record(event)
    }

    fn record(&mut self, Message(data): Message) -> Result<(), TrainError> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked_crc32c(&length).to_le_bytes());
        record.extend(&data);
        record.extend(masked_crc32c(&data).to_le_bytes());
        self.file.write_all(&record).map_err(TrainError::io(&self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A protocol buffer under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An event of a step.
    fn event(step: usize) -> Self {
        let mut event = Self::default();
        // Field 1 is the time, of 64 bits.
        event.key(1, 1);
        event.0.extend(now().to_le_bytes());
        event.varint(2, step as u64);
        event
    }

    fn key(&mut self, field: u8, kind: u8) {
        self.0.push(field << 3 | kind);
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u8, value: u64) {
        self.key(field, 0);
        self.number(value);
    }

    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, 2);
        self.number(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u8, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The data of the records of a file, whose checks are right.
    fn records(path: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (check, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*check), masked_crc32c(length));
            let (data, after) = after.split_at(u64::from_le_bytes(*length) as usize);
            let (check, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*check), masked_crc32c(data));
            found.push(data.to_vec());
            rest = after;
        }
        found
    }

    #[test]
    fn numbers_of_a_line_are_scalars_of_their_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 0).unwrap();
        events.write(&json!({ "step": 300, "loss": 1.5, "eval_loss": 2.0, "note": "x" })).unwrap();
        events.write(&json!({ "step": 301, "note": "x" })).unwrap();
        let records = records(&events.path);
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with(b"brain.Event:2"));
        let expected =
            [&b"\x0a\x09eval/loss\x15\0\0\0\x40"[..], b"\x0a\x0atrain/loss\x15\0\0\xc0\x3f"];
        let mut summary = Vec::new();
        for value in expected {
            summary.extend([0x0a, value.len() as u8]);
            summary.extend(value);
        }
        // The step, 300, is two bytes.
        assert_eq!(records[1][9..12], [0x10, 0xac, 0x02]);
        assert_eq!(records[1][12..14], [0x2a, summary.len() as u8]);
        assert_eq!(records[1][14..], summary);
    }

    #[test]
    fn a_run_that_goes_on_says_from_where() {
        let folder = tempfile::tempdir().unwrap();
        let events = EventFile::create(folder.path(), 7).unwrap();
        let records = records(&events.path);
        // A session that starts with step 8.
        assert!(records[1].ends_with(&[0x10, 8, 0x3a, 2, 8, 1]), "{:?}", records[1]);
    }
}
