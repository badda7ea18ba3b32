//! Whether the parts of an Arrow file are as large as it says, before a reader takes memory for them.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

use arrow_ipc::{Block, Message, RecordBatch, root_as_footer, root_as_message};

/// What a file ends with.
const MAGIC: u64 = "ARROW1".len() as u64;

/// What stands before the length of a message.
const CONTINUATION: u32 = u32::MAX;

/// How much larger than it is stored the uncompressed content of a buffer may be, and from how many
/// bytes on that counts: texts and numbers stay far below.
const MOST_TIMES: u64 = 1000;
const SMALL: u64 = 1 << 28;

/// A byte of content is that of so many values at most: of booleans 8, and structures have none of their own.
const VALUES_PER_BYTE: u64 = 64;

/// So many values of a file may be without content, as those of columns that hold nulls alone.
const EMPTY_VALUES: u64 = 1 << 20;

/// Checks the parts that the footer of a file lists.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] or [`ErrorKind::UnexpectedEof`] where a part is not within the file or
/// claims to be larger than can be; others where the file cannot be read.
pub(crate) fn check_file<R: Read + Seek>(reader: &mut R) -> Result<()> {
    let mut file = Sizes::of(reader)?;
    let size = file.size;
    let end = size.checked_sub(4 + MAGIC).ok_or_else(|| damaged("it has no footer"))?;
    let length = u64::from(file.word(end)?);
    let start = end
        .checked_sub(length)
        .ok_or_else(|| damaged(&format!("its footer has {length} bytes, the file {size}")))?;
    let bytes = file.bytes(start, length)?;
    let footer = root_as_footer(&bytes).map_err(|error| damaged(&error.to_string()))?;
    let blocks = footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten();
    let mut places = blocks.map(|block| file.block(block)).collect::<Result<Vec<_>>>()?;
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(damaged(&format!("messages overlap at {}", pair[1].0))),
        None => file.rewind(),
    }
}

/// Checks the messages of a stream, one after the other.
///
/// # Errors
///
/// As [`check_file`].
pub(crate) fn check_stream<R: Read + Seek>(reader: &mut R) -> Result<()> {
    let mut file = Sizes::of(reader)?;
    let mut at = 0;
    while at < file.size {
        match file.message(at)? {
            Some(next) => at = next,
            None => break,
        }
    }
    file.rewind()
}

/// A file of `size` bytes.
struct Sizes<'r, R> {
    reader: &'r mut R,
    size: u64,
    /// How many values have had no content so far.
    empty_values: u64,
}

impl<'r, R: Read + Seek> Sizes<'r, R> {
    fn of(reader: &'r mut R) -> Result<Self> {
        let size = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader, size, empty_values: 0 })
    }

    fn rewind(self) -> Result<()> {
        self.reader.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Checks a message of which the footer says where it and its content are, and gives where it begins
    /// and ends: the reader goes by that, whatever the message says itself.
    fn block(&mut self, block: &Block) -> Result<(u64, u64)> {
        let (at, own, content) = (block.offset(), block.metaDataLength(), block.bodyLength());
        let unsigned = |value: i64| u64::try_from(value).ok();
        let place = || {
            let at = unsigned(at)?;
            let body = at.checked_add(unsigned(own.into())?)?;
            let end = body.checked_add(unsigned(content)?)?;
            // The mark before the message, and its length.
            (end <= self.size && body - at >= 8).then_some((at, body, end))
        };
        let (at, body, end) = place().ok_or_else(|| {
            let size = self.size;
            damaged(&format!(
                "a message of {own} bytes and {content} of content begin at {at} of {size}"
            ))
        })?;
        let start = if self.word(at)? == CONTINUATION { at + 8 } else { at + 4 };
        let bytes = self.bytes(start, body - start)?;
        let message = root_as_message(&bytes).map_err(|error| damaged(&error.to_string()))?;
        self.content(&message, body, end)?;
        Ok((at, end))
    }

    /// Checks the message at `at` of a stream, and gives where it ends; `None` for the mark of the end.
    fn message(&mut self, at: u64) -> Result<Option<u64>> {
        let size = self.size;
        let mut length = self.word(at)?;
        let mut start = at + 4;
        // Before format 0.15 the length came first.
        if length == CONTINUATION {
            length = self.word(start)?;
            start += 4;
        }
        if length == 0 {
            return Ok(None);
        }
        let length = u64::from(length);
        if length > size.saturating_sub(start) {
            return Err(damaged(&format!("a message of {length} bytes begins at {at} of {size}")));
        }
        let bytes = self.bytes(start, length)?;
        let message = root_as_message(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let body = start + length;
        let end =
            u64::try_from(message.bodyLength()).ok().and_then(|length| body.checked_add(length));
        let Some(end) = end.filter(|end| *end <= size) else {
            let length = message.bodyLength();
            return Err(damaged(&format!("{length} bytes of content begin at {body} of {size}")));
        };
        self.content(&message, body, end)?;
        Ok(Some(end))
    }

    /// Checks the batch of a message that has one: its content is from `body` to `end`, and its values are
    /// as many as that can hold.
    fn content(&mut self, message: &Message<'_>, body: u64, end: u64) -> Result<()> {
        let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
        let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(()) };
        let bytes = self.buffers(&batch, body, end)?;
        let lengths = batch.nodes().into_iter().flatten().map(|node| node.length());
        let values = lengths.chain([batch.length()]).try_fold(0u64, |sum, length| {
            u64::try_from(length).ok().and_then(|length| sum.checked_add(length))
        });
        let values = values.ok_or_else(|| damaged("a column has fewer than 0 values"))?;
        let empty = values.saturating_sub(bytes.saturating_mul(VALUES_PER_BYTE));
        self.empty_values = self.empty_values.saturating_add(empty);
        if self.empty_values > EMPTY_VALUES {
            let message = format!("a batch of {bytes} bytes says that it has {values} values");
            return Err(damaged(&message));
        }
        Ok(())
    }

    /// Checks what the compressed buffers of a batch say that they hold, eight bytes before each; gives how
    /// many bytes all buffers hold.
    fn buffers(&mut self, batch: &RecordBatch<'_>, body: u64, end: u64) -> Result<u64> {
        let mut sum = 0u64;
        for buffer in batch.buffers().into_iter().flatten() {
            let of_file = |value: i64| u64::try_from(value).ok();
            let within = of_file(buffer.offset()).zip(of_file(buffer.length())).and_then(
                |(offset, length)| {
                    let start = body.checked_add(offset)?;
                    (start.checked_add(length)? <= end).then_some((start, length))
                },
            );
            let Some((start, stored)) = within else {
                return Err(damaged("a buffer is not within its message"));
            };
            if batch.compression().is_none() || stored < 8 {
                sum = sum.saturating_add(stored);
                continue;
            }
            self.reader.seek(SeekFrom::Start(start))?;
            let mut claimed = [0; 8];
            self.reader.read_exact(&mut claimed)?;
            // Below 0 is for content that is not compressed.
            let claimed = u64::try_from(i64::from_le_bytes(claimed)).unwrap_or(stored - 8);
            if claimed > SMALL && claimed / MOST_TIMES > stored {
                return Err(damaged(&format!(
                    "{stored} bytes say that they hold {claimed}, more than {MOST_TIMES} times as many"
                )));
            }
            sum = sum.saturating_add(claimed);
        }
        Ok(sum)
    }

    fn word(&mut self, at: u64) -> Result<u32> {
        let mut word = [0; 4];
        self.reader.seek(SeekFrom::Start(at))?;
        self.reader.read_exact(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    /// `length` bytes from `start` on, which the caller knows to be there.
    fn bytes(&mut self, start: u64, length: u64) -> Result<Vec<u8>> {
        self.reader.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("damaged: {what}"))
}
